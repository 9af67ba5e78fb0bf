"""What the fields of a document mean: stream keys, event ids, end marks, times and targets.

Each function here makes, from the configuration, a reader: a function of a document that gives the field's meaning,
or raises RecordError naming the field, what was found and what was expected. Missing and null are the same everywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from streamrnn.errors import RecordError
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.config import InputConfig
from streamrnn.learner.features import canonical_text, describe, number
from streamrnn.learner.spec import TargetSpec

# The years 1 to 9999, in milliseconds since the epoch.
MIN_TIME_MS = -62_135_596_800_000
MAX_TIME_MS = 253_402_300_799_999

_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def _id_text(value: Any, field: str) -> str:
    # By exact type: to isinstance, True is an integer. Decoded JSON holds no subclasses.
    if type(value) is str:
        return value
    if type(value) is int or type(value) is bool:
        return canonical_text(value, field)
    raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a string, integer or boolean")


def key_reader(field: str, layout: DocumentLayout) -> Callable[[Any], bytes]:
    """The stream's key: the canonical text of a field that must be there."""
    read = layout.reader(field)

    def key(document: Any) -> bytes:
        value = read(document)
        if value is None:
            raise RecordError("null_key", f"field {field!r}: missing or null, expected the name of the stream")
        return _id_text(value, field).encode()

    return key


def event_id(text: str) -> int:
    """The 64-bit id of an event's canonical text; never 0, which means none."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def event_reader(field: str, layout: DocumentLayout) -> Callable[[Any], int]:
    """The id of the event that the field names; 0 when it names none."""
    read = layout.reader(field)

    def identify(document: Any) -> int:
        value = read(document)
        return 0 if value is None else event_id(_id_text(value, field))

    return identify


def end_reader(field: str, layout: DocumentLayout) -> Callable[[Any], bool]:
    """Whether the record is the last of its sequence."""
    read = layout.reader(field)

    def end(document: Any) -> bool:
        value = read(document)
        if value is None or value is False:
            return False
        if value is True:
            return True
        raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected true or false")

    return end


def target_reader(target: TargetSpec, layout: DocumentLayout) -> Callable[[Any], Sequence[float]]:
    """The targets, NaN where unknown; of classes, the index of the class."""
    if target.classes is not None:
        return _class_reader(target.fields[0], target.classes, layout)
    fields = target.fields
    read_all = layout.readers(fields)
    if len(fields) == 1:
        field, read = fields[0], layout.reader(fields[0])
        return lambda document: (number(read(document), field),)
    return lambda document: [number(v, field) for v, field in zip(read_all(document), fields, strict=True)]


def _class_reader(
    field: str, classes: Sequence[str | int | bool], layout: DocumentLayout
) -> Callable[[Any], Sequence[float]]:
    read = layout.reader(field)
    index_of = {canonical_text(label, field): float(i) for i, label in enumerate(classes)}
    listed = ", ".join(list(index_of)[:10]) + (", ..." if len(index_of) > 10 else "")

    def target(document: Any) -> Sequence[float]:
        value = read(document)
        if value is None:
            return (_NAN,)
        index = index_of.get(canonical_text(value, field))
        if index is None:
            raise RecordError("unknown_class", f"field {field!r}: found {describe(value)}, expected one of {listed}")
        return (index,)

    return target


def time_reader(source: InputConfig, layout: DocumentLayout) -> Callable[[Any], int]:
    """The record's time in milliseconds since the epoch, from the field and in the unit that the job names."""
    field, unit = source.timestamp.field, source.timestamp.unit
    assert field is not None
    read = layout.reader(field)
    in_ms = _iso8601_in_ms if unit == "iso8601" else _number_in_ms(unit)
    expected = "ISO 8601 text" if unit == "iso8601" else f"a number ({unit} since the epoch)"

    def time(document: Any) -> int:
        value = read(document)
        ms = in_ms(value)
        if ms is None or not MIN_TIME_MS <= ms <= MAX_TIME_MS:
            found = "nothing" if value is None else describe(value)
            raise RecordError(
                "bad_timestamp", f"field {field!r}: found {found}, expected {expected} in the years 1 to 9999"
            )
        return ms

    return time


def _iso8601_in_ms(value: Any) -> int | None:
    """Milliseconds since the epoch, None for what is no time. Without an offset, the text means UTC."""
    if type(value) is not str:
        return None
    try:
        time = datetime.fromisoformat(value)
        return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return None


def _number_in_ms(unit: str) -> Callable[[Any], int | None]:
    """As ``_iso8601_in_ms``, of a number in ``unit``. Rounded down: a record belongs to the millisecond it falls in."""

    def in_ms(value: Any) -> int | None:
        if type(value) is int:
            return value if unit == "ms" else value * 1000 if unit == "s" else value // 1000
        if type(value) is float and abs(value) < 1e18:
            return math.floor(value if unit == "ms" else value * 1000.0 if unit == "s" else value / 1000.0)
        return None

    return in_ms
