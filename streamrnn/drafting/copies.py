"""Which fields give a target away, and which say what another says already.

A field that equals the target, is a function of it, writes it as text, or has one value of it for each of its own, is
known only when the target is: a model that is shown it learns to copy, looks brilliant on past records, and is useless
for the ones to come. That is decided from the sample alone, so it can be wrong in both directions: what is left out is
said with its reason, for somebody who knows the data.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from streamrnn.drafting.curves import curve, ranges
from streamrnn.drafting.encoders import period_of
from streamrnn.drafting.fields import Field, Floats, Kind, field_of
from streamrnn.drafting.neighbours import changes, previous
from streamrnn.drafting.written import numbers_within

_NEARLY_ALL: Final = 0.995
_SELDOM: Final = 0.9
"""The share that has to agree of the records in which two fields are not what they mostly are."""
_ENOUGH: Final = 30
"""Records below which a relation may be chance; equality of as many values as that is none."""
_FEWEST_VALUES: Final = 5
_LINEAR: Final = 1.0 - 1e-5
"""Squared correlation; what is left is what rounding makes."""
_MONOTONE: Final = 1.0 - 1e-6
_ORDERED: Final = 100
"""Records from which on one order of all is no chance; a few lie in the same one for any strong correlation."""
_EXPLAINED: Final = 1.0 - 1e-6
_BULK: Final = 0.01
"""Of the spread of nearly all values, what a linear function may leave in nearly all: else a few outliers made it."""


def gives_away(field: Field, target: Field, *, classes: bool) -> str | None:
    """Why a field is known only when the target is; None where nothing says so."""
    if field.kind in (Kind.ARRAY, Kind.NOTHING) or field is target:
        return None
    if equals(field, target):
        return "the same as the target"
    if classes:
        return _tells_class(field, target)
    if field.is_numeric:
        return _function_of(field.numbers, target.numbers)
    return _tells_number(field, target)


def writes(field: Field, target: Field, keys: Sequence[str | None], *, classes: bool) -> str | None:
    """Why a text gives the target away by the numbers in it; None where it does not."""
    if field.kind is not Kind.TEXT:
        return None
    for column in numbers_within(field.texts):
        read = field_of(field.path, [None if value != value else value for value in column])
        if read.kind is not Kind.NUMBER:
            continue
        why = gives_away(read, target, classes=classes)
        if why is None and not classes:
            why = follows(read, target, keys)
        if why:
            return f"by the number in it, {why}"
    return None


def follows(field: Field, target: Field, keys: Sequence[str | None]) -> str | None:
    """Why a field is a function of a numeric target, or this of it, that is no straight line; None where it is not.

    Looked at are records in which the target is another one than before in its stream: of a series that mostly stands
    still, whatever does so too would seem to lie on a curve.
    """
    moves = np.array(changes(target, keys))
    y = target.numbers
    if field.kind in (Kind.TEXT, Kind.MIXED):
        there = [i for i in np.flatnonzero(moves & ~np.isnan(y)).tolist() if field.texts[i] is not None]
        return "it stands for ranges of the target" if ranges([field.texts[i] for i in there], y[there]) else None
    if not field.is_numeric or period_of(field):
        return None
    known = moves & ~(np.isnan(y) | np.isnan(field.numbers))
    a, b = field.numbers[known], y[known]
    if ranges(a.tolist(), b):
        return "it stands for ranges of the target, as what is rounded does"
    if ranges(b.tolist(), a):
        return "the target stands for ranges of it, as what is rounded does"
    if curve(a, b):
        return "a function of the target"
    return "the target is a function of it" if curve(b, a) else None


def equals(a: Field, b: Field) -> bool:
    """Whether two fields have the same value in nearly all records that have both, and enough of these.

    Also in those where one of them is not what both mostly are: two that are seldom anything but 0 are not the same.
    """
    if a.is_numeric and b.is_numeric:
        known = ~(np.isnan(a.numbers) | np.isnan(b.numbers))
        x, y = a.numbers[known], b.numbers[known]
        places, counts = np.unique(x, return_counts=True)
        enough = known.sum() >= _ENOUGH or len(places) > 2
        same = np.isclose(x, y, rtol=1e-9, atol=0)
        if not enough or len(places) < 2 or same.mean() < _NEARLY_ALL:
            return False
        usual = places[counts.argmax()]
        return bool(same[(x != usual) | (y != usual)].mean() >= _SELDOM)
    if Kind.ARRAY in (a.kind, b.kind):
        return False
    pairs = [(x, y) for x, y in zip(a.texts, b.texts, strict=True) if x is not None and y is not None]
    if len(pairs) < 3 or sum(x == y for x, y in pairs) < _NEARLY_ALL * len(pairs):
        return False
    most = Counter(x for x, _ in pairs).most_common(1)[0][0]
    others = [x == y for x, y in pairs if x != most or y != most]
    return len({x for x, _ in pairs}) > 1 and sum(others) >= _SELDOM * len(others)


def _function_of(x: Floats, y: Floats) -> str | None:
    known = ~(np.isnan(x) | np.isnan(y))
    a, b = x[known], y[known]
    if len(a) < _ENOUGH or min(len(np.unique(a)), len(np.unique(b))) < _FEWEST_VALUES:
        return None
    if _is_linear(a, b):
        slope = float(np.cov(a, b)[0, 1] / np.var(b, ddof=1))
        return f"a linear function of the target ({slope:.4g} times it{_plus(float(a.mean() - slope * b.mean()))})"
    if len(a) >= _ORDERED and len(np.unique(b)) >= 20 and abs(_correlation(_ranks(a), _ranks(b))) > _MONOTONE:
        return "rises and falls with the target in every record"
    return None


def _plus(constant: float) -> str:
    return f" {'+' if constant > 0 else '-'} {abs(constant):.4g}" if abs(constant) > 1e-9 else ""


def _tells_number(field: Field, target: Field) -> str | None:
    """A category each of whose values has one value of the target."""
    y = target.numbers
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for text, value in zip(field.texts, y.tolist(), strict=True):
        if text is not None and value == value:
            groups[text].append(value)
    values = [value for group in groups.values() for value in group]
    if len(values) < max(_ENOUGH, 5 * len(groups)) or len(set(values)) < _FEWEST_VALUES:
        return None
    within = sum(float(np.var(group)) * len(group) for group in groups.values())
    return (
        "each of its values has one value of the target"
        if within < (1 - _EXPLAINED) * np.var(values) * len(values)
        else None
    )


def _tells_class(field: Field, target: Field) -> str | None:
    """A category, or ranges of a number, each with one class."""
    pairs = [(x, y) for x, y in zip(field.texts, target.texts, strict=True) if x is not None and y is not None]
    classes = {y for _, y in pairs}
    if len(pairs) < _ENOUGH or len(classes) < 2:
        return None
    by_value: defaultdict[str, set[str]] = defaultdict(set)
    for x, y in pairs:
        by_value[x].add(y)
    if len(pairs) >= 5 * len(by_value) and all(len(found) == 1 for found in by_value.values()):
        return "each of its values has one class of the target"
    if not field.is_numeric:
        return None
    known = [(x, y) for x, y in zip(field.numbers.tolist(), target.texts, strict=True) if x == x and y is not None]
    ordered = [y for _, y in sorted(known)]
    changes = sum(a != b for a, b in pairwise(ordered))
    rarest = min(ordered.count(label) for label in classes)
    return "its ranges tell the classes of the target apart" if changes == len(classes) - 1 and rarest >= 10 else None


def together(fields: Sequence[Field], target: Field, keys: Sequence[str | None]) -> tuple[list[str], bool]:
    """Fields of which the target is a sum, each times a number: mostly its parts, known no sooner than it is.

    And whether the stream's previous target, which a job is shown, is one of the parts: then they are its change.
    """
    y = target.numbers
    usable = [f for f in fields if f.kind is Kind.NUMBER and np.isnan(f.numbers).mean() < 0.05]
    columns = [field.numbers for field in usable]
    before = previous(target, keys)
    if known_before := bool(np.isnan(before).mean() < 0.5 and np.nanstd(before) > 0):
        columns.append(before)
    known = ~np.isnan(y)
    for column in columns:
        known &= ~np.isnan(column)
    if not usable or known.sum() < max(_ENOUGH, 5 * len(columns)) or len(np.unique(y[known])) < _FEWEST_VALUES:
        return [], False
    x = np.stack([_standard(column[known]) for column in columns], axis=1)
    z = _standard(y[known])
    weights = np.linalg.lstsq(x, z, rcond=1e-9)[0].tolist()
    if float(np.mean((z - x @ np.array(weights)) ** 2)) > 1 - _EXPLAINED:
        return [], False
    parts = [field.path for field, weight in zip(usable, weights, strict=False) if abs(weight) > 0.01]
    with_previous = known_before and abs(weights[-1]) > 0.01
    return (parts, with_previous) if len(parts) + with_previous > 1 else ([], False)


def repeated(fields: Mapping[str, Field]) -> dict[str, str]:
    """Fields that say what one before them says: the same values, a linear function, or other words for the same."""
    found: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    numbers: list[Field] = []
    for path, field in fields.items():
        if field.kind in (Kind.TEXT, Kind.MIXED):
            codes: dict[str | None, int] = {None: -1}
            row = np.array([codes.setdefault(text, len(codes)) for text in field.texts], np.int64).tobytes()
            if len(codes) > 2 and (first := seen.setdefault(row, path)) != path:
                found[path] = f"says what {first} says, by other words"
        elif field.is_numeric and len(np.unique(field.numbers[~np.isnan(field.numbers)])) > 2:
            numbers.append(field)
    if len(numbers) < 2:
        return found
    rough = np.nan_to_num(np.stack([_standard(field.numbers) for field in numbers]))
    alike = np.abs(rough @ rough.T) / rough.shape[1] > 0.9999
    for j, field in enumerate(numbers):
        for other in (numbers[i] for i in range(j) if alike[i, j] and numbers[i].path not in found):
            if equals(field, other):
                found[field.path] = f"the same as {other.path}"
            elif _correlated(field, other):
                found[field.path] = f"a linear function of {other.path}"
    return found


def _correlated(a: Field, b: Field) -> bool:
    known = ~(np.isnan(a.numbers) | np.isnan(b.numbers))
    same = bool((np.isnan(a.numbers) == np.isnan(b.numbers)).all())
    return same and int(known.sum()) >= _ENOUGH and _is_linear(a.numbers[known], b.numbers[known])


def _is_linear(a: Floats, b: Floats) -> bool:
    """Whether one number is a linear function of the other, for the many as for the few that lie far out."""
    if _correlation(a, b) ** 2 <= _LINEAR:
        return False
    low, high = np.percentile(a, (5.0, 95.0))
    x, y = _standard(a), _standard(b)
    left = np.abs(x - np.sign(_correlation(a, b)) * y) * float(a.std())
    return bool(np.percentile(left, 95.0) <= _BULK * (high - low)) or low == high


def _correlation(a: Floats, b: Floats) -> float:
    x, y = _standard(a), _standard(b)
    return float(np.mean(x * y))


def _standard(values: Floats) -> Floats:
    """To mean 0 and deviation 1, what is missing left out of both."""
    deviation = float(np.nanstd(values))
    result: Floats = (values - np.nanmean(values)) / (deviation if deviation > 0 else 1.0)
    return result


def _ranks(values: Floats) -> Floats:
    """Places in order; equal values share one."""
    _, places = np.unique(values, return_inverse=True)
    return places.astype(np.float64)
