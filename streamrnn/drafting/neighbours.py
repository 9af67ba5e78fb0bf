"""Which fields hold the target of another record of the stream: the next one, or the previous one.

The next value is known only later, whatever is predicted; the previous one is fair, but the job knows it already. What
is compared are records in which the target changes: of a series that mostly stands still, any field that does so too
would seem to know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from streamrnn.drafting.fields import Field, Floats, Kind

AHEAD: Final = 3
"""Records of its stream that a field is compared with the target of, from the next one on."""
_ENOUGH: Final = 30
_NEARLY_ALL: Final = 0.98
_LEFT: Final = 1e-4
"""Of the variance of the target's changes, what a linear function of it may leave."""


def holds_next(field: Field, target: Field, keys: Sequence[str | None]) -> int | None:
    """How many records ahead the target is that a field holds; None where it holds none."""
    return next((n for n in range(1, AHEAD + 1) if _holds(field, target, keys, n)), None)


def holds_previous(field: Field, target: Field, keys: Sequence[str | None]) -> bool:
    """Whether a field holds the target of the stream's previous record."""
    return _holds(field, target, keys, -1)


def moved(n_records: int, keys: Sequence[str | None], ahead: int) -> list[int]:
    """For each record the place of the one so many ahead in its stream, -1 where the stream has none."""
    rows: dict[str | None, list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    places = [-1] * n_records
    for key, row in rows.items():
        for at, i in enumerate(row):
            if key is not None and 0 <= at + ahead < len(row):
                places[i] = row[at + ahead]
    return places


def previous(target: Field, keys: Sequence[str | None]) -> Floats:
    """The target of the previous record of each one's stream, NaN where there is none."""
    places = np.array(moved(len(keys), keys, -1))
    return np.where(places < 0, np.nan, target.numbers[places])


def _holds(field: Field, target: Field, keys: Sequence[str | None], ahead: int) -> bool:
    there = moved(len(keys), keys, ahead)
    moves = changes(target, keys)
    after = moved(len(keys), keys, 1)
    # Where the other record's target is not that before it, or not that behind it.
    pairs = [(i, at) for i, at in enumerate(there) if at >= 0 and (moves[at] or (after[at] >= 0 and moves[after[at]]))]
    if field.kind is Kind.ARRAY or len(pairs) < _ENOUGH:
        return False
    if field.is_numeric and target.is_numeric:
        here, other = np.array(pairs).T
        return _linear(field.numbers[here], target.numbers[other], target.numbers[here])
    both = [(i, at) for i, at in pairs if field.texts[i] is not None and target.texts[at] is not None]
    same = sum(field.texts[i] == target.texts[at] for i, at in both)
    return len(both) >= _ENOUGH and same >= _NEARLY_ALL * len(both)


def _linear(x: Floats, other: Floats, own: Floats) -> bool:
    """Whether a number is a linear function of another record's target, and not just near it as its own is."""
    known = ~(np.isnan(x) | np.isnan(other) | np.isnan(own))
    x, other, own = x[known], other[known], own[known]
    if len(x) < _ENOUGH or len(np.unique(x)) < 2 or len(np.unique(other)) < 2 or not (other != own).any():
        return False
    slope, constant = np.polyfit(other, x, 1)
    left = np.square(x - constant - slope * other)
    change = np.square(slope * (other - own))[other != own]
    nearly = max(1, int(_NEARLY_ALL * len(left)))
    return bool(slope != 0 and np.sort(left)[:nearly].mean() < _LEFT * np.median(change))


def changes(target: Field, keys: Sequence[str | None]) -> list[bool]:
    """Whether a record's target differs from that of the previous one of its stream."""
    texts = target.texts
    places = moved(len(keys), keys, -1)
    return [at < 0 or texts[at] != text for at, text in zip(places, texts, strict=True)]
