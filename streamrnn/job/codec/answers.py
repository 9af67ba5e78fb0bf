"""What a whole sequence turns out to be, as numbers of classes, texts of classes of an open set, or numbers.

An answer that is missing or null is unknown; one that is there must be whole: a symbol that is null, or none of a
closed set, makes a dead letter. Labels alone may have gaps, as steps that nobody labelled are only predicted.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from streamrnn.errors import RecordError
from streamrnn.job.codec.fields import number_or_text
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.config import Config
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import canonical_text, describe, number

_NAN = math.nan


class Answer(NamedTuple):
    """``values`` are numbers, of classes or as they are; ``labels`` are the texts of classes of an open set."""

    known: bool
    values: Sequence[float] = ()
    labels: Sequence[str | None] = ()


UNKNOWN = Answer(known=False)


class AnswerReader:
    """Reads the answers of the records of one job, whose kind is labels, transcript or sequence."""

    def __init__(self, config: Config, layout: DocumentLayout, *, lenient: bool) -> None:
        target = config.target
        self._field, self._unit, self._lenient = target.fields[0], config.unit, lenient
        self._read = layout.reader(self._field)
        self._of_labels = target.kind == "labels"
        self._horizon = target.furthest if target.says_numbers else None
        self._open = target.is_open
        labels = target.labels
        self._index_of: dict[str, float] | None = None
        if labels is not None:
            self._index_of = {canonical_text(label, self._field): float(i) for i, label in enumerate(labels)}
        self._listed = ", ".join(list(self._index_of or ())[:10]) + (", ..." if len(labels or ()) > 10 else "")

    def read(self, document: Any, n_frames: int) -> Answer:
        """The answer to a sequence, or of labels a chunk, of so many frames. Raises RecordError."""
        found = self._read(document)
        if found is None or found != found:
            return UNKNOWN
        elements = self._elements(found)
        if self._of_labels and len(elements) != n_frames:
            self._refuse_length(len(elements), "labels", f"{n_frames}, one for each frame")
        if self._horizon not in (None, len(elements)):
            self._refuse_length(len(elements), "numbers", f"{self._horizon} (target.horizon)")
        if self._open:
            return Answer(known=True, labels=[self._label(value, i) for i, value in enumerate(elements)])
        return Answer(known=True, values=self._numbers(elements) if self._index_of is None else self._classes(elements))

    def _elements(self, found: Any) -> Sequence[Any]:
        if self._unit == "element":
            if type(found) is not list:
                raise RecordError("wrong_type", f"field {self._field!r}: found {describe(found)}, expected an array")
            return found
        if type(found) is not str:
            raise RecordError("wrong_type", f"field {self._field!r}: found {describe(found)}, expected a text")
        return list(units_of(found, self._unit))

    def _refuse_length(self, found: int, what: str, expected: str) -> None:
        raise RecordError("wrong_length", f"field {self._field!r}: found {found} {what}, expected {expected}")

    def _label(self, value: Any, at: int) -> str | None:
        if type(value) is str:
            return value
        if value is not None and value == value:
            return canonical_text(value, f"{self._field}[{at}]")
        if not self._of_labels:
            raise RecordError("wrong_type", f"field {self._field!r}, element {at}: found nothing, expected a symbol")
        return None

    def _classes(self, elements: Sequence[Any]) -> Sequence[float]:
        index_of = self._index_of
        assert index_of is not None
        try:
            return [index_of[value] for value in elements]  # all of them texts, by far the most frequent
        except (KeyError, TypeError):
            return [self._class(value, at, index_of) for at, value in enumerate(elements)]

    def _class(self, value: Any, at: int, index_of: dict[str, float]) -> float:
        label = self._label(value, at)
        if label is None:
            return _NAN
        if (index := index_of.get(label)) is None:
            found = f"field {self._field!r}, element {at}: found {describe(value)}"
            raise RecordError("unknown_class", f"{found}, expected one of {self._listed}")
        return index

    def _numbers(self, elements: Sequence[Any]) -> Sequence[float]:
        try:
            struct.pack(f"{len(elements)}d", *elements)
        except (struct.error, OverflowError):
            quantity: Callable[[object, str], float] = number_or_text if self._lenient else number
            return [quantity(value, f"{self._field}[{at}]") for at, value in enumerate(elements)]
        return elements
