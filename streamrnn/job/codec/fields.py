"""What the fields of a document mean: stream keys, event ids, end marks, times and targets.

Each function here makes, from the configuration, a reader: a function of a document that gives the field's meaning,
or raises RecordError naming the field, what was found and what was expected. Missing and null are the same everywhere,
and so is NaN, which alone differs from itself; only of a target is it told apart, since no producer leaves NaN out.

With ``input.numbers: lenient`` text may hold a number, as CSV converters, proto3 (64-bit integers, "NaN") and Debezium
(``decimal.handling.mode: string``) write it: decimal, with an exponent or without, spaces around it. Text that is empty
or a usual word for nothing is missing. Debezium's default writes decimals as base64 of an integer whose scale stands in
the schema alone, which nobody can tell from text; such a field is refused, with that remedy.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from streamrnn.errors import AbsentError, RecordError
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.input_config import InputConfig
from streamrnn.learner.features import FeatureSpec, Hash, OneHot, Symbol
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import canonical_text, describe, number

LEFT_OUT = math.inf
"""What a reader of targets gives for one that is missing or null and means zero, as no number is infinite."""

# The years 1 to 9999, in milliseconds since the epoch.
MIN_TIME_MS = -62_135_596_800_000
MAX_TIME_MS = 253_402_300_799_999

_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

# Possessive: digits that something else follows would otherwise be divided in every possible way.
_NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,9})?", re.ASCII)
_NOTHING = frozenset(("", "nan", "-nan", "+nan", "na", "null", "none"))
_INFINITE = frozenset(sign + word for sign in ("", "+", "-") for word in ("inf", "infinity"))
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_SPACES = " \t\r\n"
_LONGEST_DECIMAL = 64

Quantity = Callable[[object, str], float]
"""A value of a field as a number, NaN when missing or not finite."""


def _id_text(value: Any, field: str) -> str:
    # By exact type: to isinstance, True is an integer. Decoded JSON holds no subclasses.
    if type(value) is str:
        return value
    if type(value) is int or type(value) is bool:
        return canonical_text(value, field)
    raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a string, integer or boolean")


def number_or_text(value: object, field: str) -> float:
    """As ``number``, of text too.

    >>> number_or_text(" -1.5e3 ", "price"), number_or_text("true", "late"), number_or_text("NaN", "price")
    (-1500.0, 1.0, nan)
    """
    return number(value if type(value) is not str else number_in(value, field), field)


def number_in(text: str, field: str) -> float | bool:
    """The number, or truth value, that a text holds; NaN for nothing and for what is not finite."""
    plain = text.strip(_SPACES)
    if _NUMBER.fullmatch(plain):
        value = float(plain)
        if math.isinf(value):
            raise RecordError(
                "out_of_range", f"field {field!r}: found {describe(text)}, expected a number within float64"
            )
        return value
    word = plain[:10].lower() if len(plain) <= 10 else "long"
    if word in _NOTHING or word in _INFINITE:
        return _NAN
    if word in ("true", "false"):
        return word == "true"
    remedy = ""
    if len(plain) <= _LONGEST_DECIMAL and plain.strip("0123456789") and _BASE64.fullmatch(plain):
        remedy = " (if it is a decimal of Debezium in base64: set its decimal.handling.mode to string)"
    raise RecordError("wrong_type", f"field {field!r}: found {describe(text)}, expected a number{remedy}")


def numbers_in(values: Sequence[Any], specs: Sequence[FeatureSpec]) -> list[Any]:
    """Values of features, in which text that stands for a number has become one."""
    return [
        number_in(value, spec.field) if type(value) is str and not isinstance(spec, OneHot | Hash | Symbol) else value
        for value, spec in zip(values, specs, strict=True)
    ]


def key_reader(field: str, layout: DocumentLayout, max_bytes: int) -> Callable[[Any], bytes]:
    """The stream's key: the canonical text of a field that must be there, and no longer than this."""
    read = layout.reader(field)

    def key(document: Any) -> bytes:
        value = read(document)
        if value is None or value != value:
            raise AbsentError("null_key", f"field {field!r}: missing or null, expected the name of the stream")
        name = _id_text(value, field).encode()
        if len(name) > max_bytes:
            raise too_large_key(f"field {field!r}: found a stream key", name, max_bytes)
        return name

    return key


def too_large_key(found: str, key: bytes, max_bytes: int) -> RecordError:
    """The refusal of a key that is longer than the job allows."""
    return RecordError("too_large", f"{found} of {len(key)} bytes, expected at most {max_bytes} (input.max_key_bytes)")


def event_id(text: str) -> int:
    """The 64-bit id of an event's canonical text; never 0, which means none."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def event_reader(field: str, layout: DocumentLayout) -> Callable[[Any], int]:
    """The id of the event that the field names; 0 when it names none."""
    read = layout.reader(field)

    def identify(document: Any) -> int:
        value = read(document)
        return 0 if value is None or value != value else event_id(_id_text(value, field))

    return identify


def end_reader(field: str, layout: DocumentLayout, lenient: bool) -> Callable[[Any], bool | None]:
    """Whether the record is the last of its sequence; None, which is no, where the field is missing."""
    read = layout.reader(field)

    def end(document: Any) -> bool | None:
        value = read(document)
        if value is None or value is True or value is False:
            return value
        if lenient and not isinstance(value, list | dict):
            meant = number_or_text(value, field)
            if meant != meant:
                return None
            if meant in (0.0, 1.0):
                return meant == 1.0
        raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected true or false")

    return end


def target_reader(target: TargetSpec, layout: DocumentLayout, quantity: Quantity) -> Callable[[Any], Sequence[float]]:
    """The targets, NaN where unknown, LEFT_OUT where that means zero; of classes, the index of the class."""
    left_out = _NAN if math.isnan(target.left_out) else LEFT_OUT
    if target.labels is not None:
        return _class_reader(target.fields[0], target.labels, left_out, layout)
    fields = target.fields
    if len(fields) == 1:
        field, read = fields[0], layout.reader(fields[0])

        def one(document: Any) -> Sequence[float]:
            value = read(document)
            if type(value) is float and value - value == 0.0:  # by far the most frequent
                return (value,)
            return (left_out if value is None else quantity(value, field),)

        return one
    read_all = layout.readers(fields)
    return lambda document: [
        left_out if value is None else quantity(value, field)
        for value, field in zip(read_all(document), fields, strict=True)
    ]


def _class_reader(
    field: str, classes: Sequence[str | int | bool], left_out: float, layout: DocumentLayout
) -> Callable[[Any], Sequence[float]]:
    read = layout.reader(field)
    index_of = {canonical_text(label, field): float(i) for i, label in enumerate(classes)}
    listed = ", ".join(list(index_of)[:10]) + (", ..." if len(index_of) > 10 else "")

    def target(document: Any) -> Sequence[float]:
        value = read(document)
        if value is None:
            return (left_out,)
        if value != value:
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
    read, in_ms = layout.reader(field), time_converter(source)
    expected = "ISO 8601 text" if unit == "iso8601" else f"a number ({unit} since the epoch)"

    def time(document: Any) -> int:
        value = read(document)
        ms = in_ms(value)
        if ms is None or not MIN_TIME_MS <= ms <= MAX_TIME_MS:
            absent = value is None or value != value
            raise (AbsentError if absent else RecordError)(
                "bad_timestamp",
                f"field {field!r}: found {'nothing' if absent else describe(value)}, expected {expected} in the years "
                "1 to 9999",
            )
        return ms

    return time


def time_converter(source: InputConfig) -> Callable[[Any], int | None]:
    """A function of a value of the field: milliseconds since the epoch, None for what is no time."""
    unit = source.timestamp.unit
    return _iso8601_in_ms if unit == "iso8601" else _number_in_ms(unit, source.numbers == "lenient")


def _iso8601_in_ms(value: Any) -> int | None:
    """Milliseconds since the epoch, None for what is no time. Without an offset, the text means UTC."""
    if type(value) is not str:
        return None
    try:
        time = datetime.fromisoformat(value)
        return ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return None


def _number_in_ms(unit: str, lenient: bool) -> Callable[[Any], int | None]:
    """As ``_iso8601_in_ms``, of a number in ``unit``. Rounded down: a record belongs to the millisecond it falls in."""

    def in_ms(value: Any) -> int | None:
        if lenient and type(value) is str:
            value = _time_in(value)
        if type(value) is int:
            return value if unit == "ms" else value * 1000 if unit == "s" else value // 1000
        if type(value) is float and abs(value) < 1e18:
            return math.floor(value if unit == "ms" else value * 1000.0 if unit == "s" else value / 1000.0)
        return None

    return in_ms


def _time_in(text: str) -> int | float | None:
    """The number in a text, whole ones exactly."""
    plain = text.strip(_SPACES)
    if len(plain) > 40 or not _NUMBER.fullmatch(plain):  # no time in any unit is longer
        return None
    return int(plain) if plain.lstrip("+-").isdigit() else float(plain)
