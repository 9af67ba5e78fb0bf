"""What a document says in symbols: the text of a record as its units, and the class of an open set as its text.

Numbers are the learner's to give, as they depend on the records before; here it is only told what came. A text that
cannot be learned makes a dead letter, as half of it would teach what nobody wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamrnn.errors import AbsentError, RecordError
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.input_config import TextConfig
from streamrnn.learner.block import Units
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import canonical_text, describe


def text_reader(source: TextConfig, layout: DocumentLayout) -> Callable[[Any], Units]:
    """The units of a record's text."""
    field, unit, most, read = source.field, source.unit, source.max_units, layout.reader(source.field)
    values = source.units.values
    known = None if values is None else frozenset(canonical_text(value, field) for value in values)

    def text(document: Any) -> Units:
        value = read(document)
        if value is None or value != value:
            raise AbsentError("null_text", f"field {field!r}: missing or null, expected a text")
        if type(value) is not str:
            raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a text")
        units = units_of(value, unit)
        if len(units) > most:
            raise RecordError(
                "too_large",
                f"field {field!r}: found a text of {len(units)} {unit}s, expected at most {most} "
                "(input.text.max_units)",
            )
        if known is not None and not known.issuperset(units):
            strange = next(each for each in units if each not in known)
            raise RecordError(
                "unknown_class",
                f"field {field!r}: found the {unit} {str(strange)[:60]!r}, which is not one of input.text.symbols",
            )
        return units

    return text


def label_reader(field: str, layout: DocumentLayout) -> Callable[[Any], str | None]:
    """The class of a record as its canonical text, where the set of classes is open; None where it is unknown."""
    read = layout.reader(field)

    def label(document: Any) -> str | None:
        value = read(document)
        if type(value) is str:
            return value
        return None if value is None or value != value else canonical_text(value, field)

    return label
