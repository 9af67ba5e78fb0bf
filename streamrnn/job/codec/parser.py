"""The seam for formats: a parser makes a document of a record's bytes, and knows nothing of what its fields mean.

Whatever the format, a document is a struct that a ``DocumentLayout`` describes: it has one attribute for each top-level
field that the job names and none for others, so that a parser can skip what nobody asks for. A value is
what JSON could hold: None, a boolean, number or string, a list, a mapping; missing and null are both None. NaN stands
for what a producer wrote as a number that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Protocol

import msgspec

from streamrnn.errors import RecordError
from streamrnn.learner.paths import Step, parse_path
from streamrnn.learner.values import descend

FieldReader = Callable[[Any], Any]
"""The value of one field of a document."""


class Parser(Protocol):
    """One format. ``expected`` names, in messages, what a value should be, as in ``a JSON object``."""

    expected: str

    def parse(self, value: bytes) -> Any:
        """The document that ``value`` holds, a struct with the layout's attributes.

        Raises RecordError: ``malformed`` for what is not of the format, ``not_an_object`` for a value without fields,
        ``out_of_range`` for a number in a field of the job that is beyond float64. The outcome depends on the bytes
        alone, never on how deep the caller's stack is, and takes time in proportion to their number at most.
        """


class DocumentLayout:
    """What a job's documents have, and access to their fields by path (see ``streamrnn.learner.paths``).

    Attributes
    ----------
    attributes
        A document's attribute for each top-level field, by the field's name. A field's name may be any text, an
        attribute's may not.
    """

    def __init__(self, fields: Iterable[str]) -> None:
        names: dict[str, None] = {}
        for field in fields:
            top, *rest = parse_path(field)
            names[str(top)] = None
            if rest:  # the whole path may be the name of one field
                names[field] = None
        self.attributes = {name: f"f{i}" for i, name in enumerate(names)}

    def document(self, rename: Mapping[str, str] | None = None) -> type[msgspec.Struct]:
        """A struct with these attributes, None where nothing is given; ``rename`` is what a decoder calls them."""
        attributes = [(attribute, Any, None) for attribute in self.attributes.values()]
        return msgspec.defstruct("Document", attributes, rename=rename, gc=False)

    def reader(self, field: str) -> FieldReader:
        """A function that gives the field's value."""
        top, *rest = parse_path(field)
        get = attrgetter(self.attributes[str(top)])
        if not rest:
            return get
        return _nested(attrgetter(self.attributes[field]), get, rest, field)

    def finder(self, field: str) -> FieldReader:
        """As ``reader``, of records of any shape: None where something on the way is of the wrong kind."""
        read = self.reader(field)

        def find(document: Any) -> Any:
            try:
                return read(document)
            except RecordError:
                return None

        return find

    def readers(self, fields: Sequence[str]) -> Callable[[Any], Sequence[Any]]:
        """A function that gives the values of several fields; one call in C where none of them is nested."""
        paths = [parse_path(field) for field in fields]
        if len(fields) > 1 and all(len(path) == 1 for path in paths):
            return attrgetter(*(self.attributes[str(name)] for (name,) in paths))
        reads = [self.reader(field) for field in fields]
        return lambda document: [read(document) for read in reads]


def _nested(whole: FieldReader, top: FieldReader, rest: Sequence[Step], field: str) -> FieldReader:
    if len(rest) > 1 or isinstance(rest[0], int):

        def deep(document: Any) -> Any:
            value = whole(document)
            return descend(top(document), rest, field) if value is None else value

        return deep
    name = rest[0]

    def read(document: Any) -> Any:
        value = whole(document)
        if value is None:
            outer = top(document)
            value = outer.get(name) if type(outer) is dict else descend(outer, rest, field)
        return value

    return read
