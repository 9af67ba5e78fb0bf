"""How a field enters the network, or why it is left out.

By what its values are, in this order: nothing, constants, times, names that never repeat, text that people wrote; then
truth values, numbers (those that go round, codes, heavy tails, all others) and categories by how many there are. Names
decide only what numbers alone cannot: an hour is a number up to 23, and 7 o'clock is near 23 to nobody but a clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any, Final

import numpy as np

from streamrnn.drafting.fields import Field, Floats, Kind, standard
from streamrnn.escaping import name, one_line

MOST_CATEGORIES: Final = 30
"""Values up to which each gets a column of its own; beyond, they are hashed."""
_LONGEST: Final = 1_000
"""Characters of all categories together; longer ones are hashed too, as nobody wants to read them."""
_BUCKETS: Final = ((64, 16), (256, 32), (4_096, 64), (math.inf, 128))
_HEAVY: Final = 3.0
"""Skewness from which on logarithms are tried."""
_ENOUGH: Final = 20
_MOSTLY: Final = 0.5
"""The share of texts that may differ for them to be categories."""
_SHOWN: Final = 24

CODE = re.compile(
    r"(?:^|_)(?:id|code|number|no|nr|zip|zipcode|postcode|type|kind|class|category|status|state|mode|flag|port|group|version)$|[a-z](?:Id|ID|Code|Type|No)$"
)
_FREE = re.compile(r"\S+\s+\S+\s+\S+")
_PERIODS: Final = (
    (r"minutes?_?of_?(?:the_?)?day|minutes", 0, 1_440, 1_440.0),
    (r"minutes?_?of_?(?:the_?)?week", 0, 10_080, 10_080.0),
    (r"seconds?_?of_?(?:the_?)?day", 0, 86_400, 86_400.0),
    (r"hours?_?of_?(?:the_?)?week", 0, 168, 168.0),
    (r"(?:.*_)?(?:hour|hr|hh)(?:_?of_?(?:the_?)?day)?", 0, 24, 24.0),
    (r"(?:.*_)?(?:minute|min|second|sec)", 0, 59, 60.0),
    (r"(?:.*_)?(?:weekday|dow|wday|day_?of_?(?:the_?)?week)", 0, 7, 7.0),
    (r"(?:.*_)?(?:month|mon|moy|month_?of_?(?:the_?)?year)", 0, 12, 12.0),
    (r"(?:.*_)?(?:doy|yday|day_?of_?(?:the_?)?year|julian)", 0, 366, 365.25),
    (r"(?:.*_)?(?:day|mday|dom|day_?of_?(?:the_?)?month)", 1, 31, 31.0),
    (r"(?:.*_)?(?:week|iso_?week|week_?of_?(?:the_?)?year)", 0, 53, 52.18),
    (r"(?:.*_)?(?:quarter|qtr)", 1, 4, 4.0),
)
_ANGLE = re.compile(
    r"(?:.*_)?(?:angle|heading|bearing|azimuth|yaw|course|phase|direction|dir|deg|degrees|rad|radians)(?:_?(?:deg|degrees|rad|radians))?|wd|winddir|theta"
)


@dataclass(frozen=True)
class Feature:
    """A field that enters the network: its encoder, the encoder's settings, and why."""

    path: str
    encoder: str
    why: str
    settings: dict[str, Any] = default(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """A field that does not, and why."""

    path: str
    why: str


@dataclass(frozen=True, eq=False)
class Habits:
    """What a producer leaves out of its records: zeros, as proto3 and ``omitempty`` do. ``keys`` name their streams."""

    zeros_left_out: bool
    keys: Sequence[str | None]


def encoded(field: Field, habits: Habits) -> Feature | LeftOut:
    """What becomes of a field."""
    if why := _useless(field):
        return LeftOut(field.path, why)
    if field.kind is Kind.BOOLEAN:
        yes = float(np.nanmean(field.numbers))
        return Feature(field.path, "numeric", f"true in {percent(yes)}{_absent(field)}", _missing(field, habits))
    if field.kind is Kind.NUMBER:
        return _number(field, habits)
    return _category(field)


def _useless(field: Field) -> str | None:
    """Why a field can teach nothing by itself, None where it may."""
    if field.kind is Kind.NOTHING:
        return "null in every record"
    if field.kind is Kind.ARRAY:
        return (
            "no single values: an array of changing length, objects too deep, or numbers beyond float64; where it "
            "holds the steps of a whole sequence, such as a session or sound, learn that in a job of its own: input: "
            f"{{sequence: {{field: {field.path}}}}} (deploy/SEQUENCES.md)"
        )
    if field.kind is Kind.UNEVEN:
        return f"{field.kind.value}; have the producer write the same everywhere"
    if field.kind is Kind.BEYOND:
        return f"no single values that a job can hold: {field.kind.value}, and such a record would be a dead letter"
    if field.kind is Kind.TIME:
        return _time(field)
    if field.distinct == 1:
        (value,) = field.counts
        absent = f" or missing ({percent(field.missing_share)})" if field.missing_share else ""
        return f"the same in every record: {one_line(value, _SHOWN)}{absent}"
    if field.written is not None and field.distinct > MOST_CATEGORIES:
        return field.written
    if field.kind in (Kind.TEXT, Kind.MIXED) and _is_free_text(field):
        return (
            f"free text, {field.distinct:,} different ones in {field.present:,}; make numbers or categories of it, or "
            f"learn the text itself, in a job of its own: input: {{text: {{field: {field.path}, unit: word}}}} "
            "without a target (deploy/SYMBOLS.md)"
        )
    if only_grows(field) and not period_of(field):
        return "a counter: it grows with every record, so as a number it teaches nothing that lasts"
    if is_identifier(field):
        return f"an identifier: {field.distinct:,} different values in {field.present:,} records"
    if field.kind in (Kind.TEXT, Kind.MIXED) and field.distinct > max(MOST_CATEGORIES, _MOSTLY * field.present):
        return (
            f"an identifier or free text: {field.distinct:,} different values in {field.present:,} records, of which a "
            "category would be hashed together with others"
        )
    return None


def _time(field: Field) -> str:
    assert field.format is not None
    if not field.format.readable:
        unit = "nanoseconds" if field.format.value == "ns" else "a form other than ISO 8601"
        return f"a time in {unit}, which a job does not read"
    return f"a time ({field.format.value}); it only grows, so as a number it teaches nothing that lasts"


def is_identifier(field: Field) -> bool:
    """Whether a field names each record: no value, or hardly any, comes twice, and they measure nothing."""
    if field.present < _ENOUGH or field.distinct < 0.98 * field.present:
        return False
    if field.kind in (Kind.TEXT, Kind.MIXED):
        return True
    if field.kind is not Kind.NUMBER or not field.whole:
        return False
    return CODE.search(field.name) is not None


def only_grows(field: Field) -> bool:
    """Whether a number is greater in each record than in the one before, but for where a partition begins."""
    if field.kind is not Kind.NUMBER or field.present < _ENOUGH:
        return False
    return bool((np.diff(field.numbers[~np.isnan(field.numbers)]) > 0).mean() > 0.99)


def _is_free_text(field: Field) -> bool:
    """Whether people or programs wrote sentences: several words, long, and mostly different."""
    texts = list(field.counts)
    words = sum(_FREE.search(text) is not None for text in texts)
    length = sum(map(len, texts)) / len(texts)
    return (words > 0.5 * len(texts) and field.distinct > min(MOST_CATEGORIES, 0.2 * field.present)) or length > 100


def _number(field: Field, habits: Habits) -> Feature:
    known = field.numbers[~np.isnan(field.numbers)]
    low, high = float(known.min()), float(known.max())
    seen = f"{number(low)} to {number(high)}{', as text' if field.is_text else ''}{_absent(field)}"
    if period := period_of(field):
        return Feature(field.path, "cyclic", f"{seen}; goes round", {"period": period} | _missing(field, habits))
    if field.whole and CODE.search(field.name) and low >= 0 and field.distinct > 2:
        return _category(field)
    missing = _missing(field, habits)
    if is_heavy(known):
        middle = float(np.median(known))
        return Feature(field.path, "log1p", f"{seen}, median {number(middle)}: a heavy tail", missing)
    return Feature(field.path, "numeric", seen, missing)


def period_of(field: Field) -> float | None:
    """The value at which a field begins anew, going by name and range; None where it does not."""
    known = field.numbers[~np.isnan(field.numbers)]
    low, high = float(known.min()), float(known.max())
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.path.rpartition(".")[2]).lower()
    for pattern, first, last, period in _PERIODS:
        if re.fullmatch(pattern, word) and first <= low and high <= last and (field.whole or period >= 24.0):
            return period
    if _ANGLE.fullmatch(word):
        if -math.pi - 1e-3 <= low and high <= 2 * math.pi + 1e-3 and not field.whole:
            return 2 * math.pi
        if low >= -180.0 and high <= 360.0 and high - low > 90.0:
            return 360.0
    return None


def is_heavy(known: Floats) -> bool:
    """Whether numbers that are not negative span orders of magnitude, so that their logarithms are easier to learn."""
    if len(known) < _ENOUGH or known.min() < 0 or known.max() < 20.0:
        return False
    plain, logarithm = skewness(known), skewness(np.log1p(known))
    return plain > _HEAVY and abs(logarithm) < 0.5 * plain


def skewness(values: Floats) -> float:
    """How lopsided values lie about their mean; 0 for symmetric and constant ones."""
    return float((standard(values) ** 3).mean())


def _category(field: Field) -> Feature:
    most, count = field.counts.most_common(1)[0]
    seen = f"{field.distinct:,} values, {one_line(most, _SHOWN)} in {percent(count / field.present)}{_absent(field)}"
    if field.distinct <= MOST_CATEGORIES and sum(map(len, field.counts)) <= _LONGEST:
        return Feature(field.path, "onehot", seen, {"categories": sorted(field.counts, key=_in_order)})
    buckets = next(buckets for most_values, buckets in _BUCKETS if field.distinct <= most_values)
    return Feature(field.path, "hash", f"{seen}: hashed", {"buckets": buckets})


def _in_order(text: str) -> tuple[float, str]:
    """Numbers by size, then text by letters."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _missing(field: Field, habits: Habits) -> dict[str, Any]:
    if not field.missing_share:
        return {}
    if habits.zeros_left_out and field.absent:
        return {"missing": "zero"}
    return {"missing": "last" if sent_on_change(field, habits.keys) else "mean"}


def sent_on_change(field: Field, keys: Sequence[str | None]) -> bool:
    """Whether a stream's number comes seldom, and never twice the same: then it is sent when it changes, and lasts."""
    if field.missing_share < 0.5 or field.distinct < 3:
        return False
    last: dict[str | None, float] = {}
    same = different = 0
    for key, value in zip(keys, field.numbers.tolist(), strict=True):
        if value == value:
            if key in last:
                same, different = same + (last[key] == value), different + (last[key] != value)
            last[key] = value
    # Of a measurement with many digits, none comes twice anyway.
    return different >= _ENOUGH and not same and field.distinct <= 0.5 * field.present


def habits_of(fields: Sequence[Field], keys: Sequence[str | None]) -> Habits:
    """The habits of whoever writes these records.

    Zeros are left out where numbers and truth values are absent from records, never null, and never 0 nor false where
    they are there.
    """
    told = [f for f in fields if f.is_numeric and f.present]
    absent = [f for f in told if f.absent]
    null = any(f.absent != len(f.values) - f.present for f in fields)
    zero = any((f.numbers == 0.0).any() for f in told)
    counted = any(f.kind is Kind.BOOLEAN or f.whole for f in absent)
    return Habits(bool(absent) and not null and not zero and counted, keys)


def _absent(field: Field) -> str:
    return f"; missing in {percent(field.missing_share)}" if field.missing_share else ""


def number(value: float) -> str:
    """A number for people: no more digits than are needed to tell it.

    >>> number(1440.0), number(0.123456), number(1.5e9), number(12880.4)
    ('1440', '0.1235', '1.5e+09', '12880')
    """
    whole = value == math.floor(value) or abs(value) >= 1_000.0
    return f"{value:.0f}" if whole and abs(value) < 1e7 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share for people; nothing that is there is 0 %, and nothing that is not all is 100 %."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def shown(path: str) -> str:
    """A field's path in a comment."""
    return name(path)
