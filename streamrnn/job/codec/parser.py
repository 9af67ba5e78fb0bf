"""The seam for formats: a parser makes a document of a record's bytes, and knows nothing of what its fields mean.

Whatever the format, a document is an instance of one class that a ``DocumentLayout`` makes: it has one attribute for
each top-level field that the job names and none for others, so that a parser can skip what nobody asks for. A value is
what JSON could hold: None, a boolean, number or string, a list, a mapping; missing and null are both None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from streamrnn.learner.features import descend

FieldReader = Callable[[Any], Any]
"""The value of one field of a document."""


class Parser(Protocol):
    """One format. ``expected`` names, in messages, what a value should be, as in ``a JSON object``."""

    expected: str

    def parse(self, value: bytes) -> Any:
        """The document that ``value`` holds, as an instance of the layout's class.

        Raises RecordError: ``malformed`` for what is not of the format, ``not_an_object`` for a value without fields,
        ``out_of_range`` for a number in a field of the job that is beyond float64. The outcome depends on the bytes
        alone, never on how deep the caller's stack is.
        """


class DocumentLayout:
    """The class of a job's documents, and access to their fields by path (``a.b`` is field b inside a)."""

    def __init__(self, fields: Iterable[str]) -> None:
        names = dict.fromkeys(field.split(".")[0] for field in fields)
        # A field's name may be any text, an attribute's may not.
        self._attributes = {name: f"f{i}" for i, name in enumerate(names)}
        self.document: type[msgspec.Struct] = msgspec.defstruct(
            "Document",
            [(attribute, Any, None) for attribute in self._attributes.values()],
            rename={attribute: name for name, attribute in self._attributes.items()},
            gc=False,
        )

    def reader(self, field: str) -> FieldReader:
        """A function that gives the field's value."""
        top, *rest = field.split(".")
        get = attrgetter(self._attributes[top])
        if not rest:
            return get
        return lambda document: descend(get(document), rest, field)

    def readers(self, fields: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
        """A function that gives the values of several fields; one call in C where none of them is nested."""
        if len(fields) > 1 and not any("." in field for field in fields):
            return attrgetter(*(self._attributes[field] for field in fields))
        reads = [self.reader(field) for field in fields]
        return lambda document: [read(document) for read in reads]
