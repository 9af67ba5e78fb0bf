"""What it means that an event lacks the key of a feature: 0, or a value that is missing.

River's transformers leave zeros out (``BagOfWords``, ``FeatureHasher``, ``OneHotEncoder(drop_zeros=True)``), and
River's models take an absent feature for 0. A dense sensor that drops its key now and then had some value, and its mean
is the better guess. Which of the two it is, is a property of the column, and the events learned so far tell. An absent
feature counts as 0 where

- all its values so far were the same: then only whether it is there says anything, and its mean would hide that; or
- it counts something: its values were whole numbers from 1 on, and 0 was never sent; or
- it was absent too often: more often than it was there; or, where 0 is no further from its values than these lie
  apart, in more than a tenth of the events: a dense sensor loses little by that (its error grew or fell by a fifth
  where a tenth to a fifth of its values were dropped), a sparse feature everything by its mean.

Otherwise, and for None and NaN always, the value is missing.

What was learned of a column rests on what its absence meant, so that changes only past a clear margin. A column is
first judged when its values turn out to differ. Once 0, it becomes missing where it is there more than ``MARGIN`` times
as often as would do; once missing, 0 where it is absent too often, by more than one event. In between it stays. So
sensors that take turns are judged once: to take either meaning teaches the network something, to take now one and now
the other does not. How far 0 is from the values is judged by the first ``SETTLED`` of them, for their range goes on
growing.

Events from before a feature first came count as such in which it was absent, but only ``EARLIER`` of them, and only
until it has come more often than that: a sensor that is installed late soon counts as dense.

An event is judged by the events before it, so that what is predicted of it and what is learned of it are the same; and
an event that has all keys costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from streamrnn.estimators.parameters import Natural

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Row = Sequence[float] | Floats
Flags = npt.NDArray[np.bool_]

EARLIER = 8
"""Events before a feature's first that count at most as such in which it was absent."""
FAR, NEAR, ALWAYS = 1, 9, 0
"""Events with a feature that it takes, for each without it, so that its absence is not ordinary: depending on how far 0
is is from its values. ALWAYS: no number of them makes it so."""
MARGIN = 2
"""How many times as many it takes for a column that is 0 to become missing."""
SETTLED = 30
"""Events with a feature after which it is settled whether 0 is near its values."""


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """``Absence.state``."""

    events: Natural
    complete: Natural
    look: bool
    before: list[int]
    there: list[int]
    low: list[float | None]
    high: list[float | None]
    counts: list[bool]
    needed: list[Annotated[int, Meta(ge=ALWAYS, le=NEAR)]]
    zero: list[bool]
    in_force: list[bool]
    counted: list[int]


class Absence:
    """How often each column's feature was absent, and between which values it moves, in the events learned so far.

    >>> absence = Absence()
    >>> absence.grow(2)
    >>> absence.note_complete([1.0, 20.5])
    >>> absence.note([0, 1], [1.0, 21.0]) is None  # no zero that stands for an earlier event
    True
    >>> absence.values()  # the first never varied, the second was never absent
    [0.0, nan]
    """

    def __init__(self) -> None:
        self.columns = 0
        self.events = 0
        self._complete = 0
        """Events that lacked no key: counted once for all columns."""
        self._look = False
        """Whether the next complete event is looked at: one after each other, for complete ones may be all there is."""
        # Of each column:
        self._before = np.zeros(0, np.int64)  # events before its feature's first
        self._there = np.zeros(0, np.int64)  # those with its key, less the complete ones
        self._low: list[float] = []  # least and greatest of the values looked at, NaN before there was one
        self._high: list[float] = []
        self._counts: list[bool] = []  # whether they were all whole numbers from 1 on
        self._needed = np.zeros(0, np.int64)  # what follows: events there, for each absent one, that make it missing
        self._in_force = np.zeros(0, np.bool_)  # whether it was 0 in the last event that lacked keys
        self._counted = np.zeros(0, np.int64)  # when it ceased to be: events in which the statistics have a 0 for it
        self._constant: dict[int, float] = {}  # the columns whose values were all the same, NaN before there was one
        self._judged = -1, 0
        self._zero = np.zeros(0, np.bool_)  # as it was judged last: where it is near, it stays
        self._values: list[float] = []

    def values(self) -> list[float]:
        """What each column is worth in an event that lacks its key: 0, or NaN, which is missing."""
        self._judge()
        return self._values

    def _judge(self) -> Flags:
        """Which columns are 0 in an event that lacks their key; the same array for as long as they are the same.

        Whether it is called after each event makes no difference, as long as it is after one that lacks keys and before
        and after ``_needed`` changes: complete events only lead from 0 to missing.
        """
        if self._judged != (now := (self.events, self.columns)):
            self._judged = now
            there = self._there + self._complete
            earlier = np.where(there > EARLIER, 0, np.minimum(self._before, EARLIER))
            weight = self._needed * (self.events - self._before - there + earlier)
            zero = (weight > there + 1) | (self._zero & (there <= MARGIN * weight)) | (self._needed == ALWAYS)
            if len(zero) != len(self._values) or (zero != self._zero).any():
                self._zero, self._values = zero, np.where(zero, 0.0, np.nan).tolist()
        return self._zero

    def _absent(self) -> Integers:
        """Events that lacked each column's key, those before its first included."""
        absent: Integers = self.events - self._there - self._complete
        return absent

    def grow(self, columns: int) -> None:
        """More columns, whose features come with the next event."""
        if new := columns - self.columns:
            start, nan = self.columns, [math.nan] * new
            self.columns = columns
            self._before = np.append(self._before, np.full(new, self.events))
            self._there = np.append(self._there, np.full(new, -self._complete))
            self._low, self._high = [*self._low, *nan], [*self._high, *nan]
            self._counts = [*self._counts, *[True] * new]
            self._needed = np.append(self._needed, np.full(new, ALWAYS))
            self._zero = np.append(self._zero, np.ones(new, np.bool_))
            self._in_force = np.append(self._in_force, np.zeros(new, np.bool_))
            self._counted = np.append(self._counted, np.zeros(new, np.int64))
            self._constant.update(dict.fromkeys(range(start, columns), math.nan))

    def note_complete(self, row: Row) -> None:
        """An event that lacked no key was learned."""
        look, self._look = self._look, False
        if look:
            self._judge()
        self.events += 1
        self._complete += 1
        if look:
            self._extend(range(len(self._low)), row)
            self._judge()
        elif self._constant:
            self._extend([k for k, value in self._constant.items() if row[k] != value], row)

    def _extend(self, columns: Iterable[int], row: Row) -> None:
        """The values of these columns are looked at."""
        low, high, counts = self._low, self._high, self._counts
        for k in columns:
            value = row[k]
            if not low[k] <= value <= high[k] or (counts[k] and value % 1.0):
                self._look_at(k, float(value), int(self._there[k]) + self._complete)

    def _look_at(self, k: int, value: float, there: int) -> None:
        """A value of column k that may tell something new, in the event that is the ``there``-th to have one."""
        if not math.isfinite(value):
            return
        known = self._low[k] == self._low[k]
        low = self._low[k] = min(self._low[k], value) if known else value
        high = self._high[k] = max(self._high[k], value) if known else value
        self._counts[k] = self._counts[k] and low >= 1.0 and value % 1.0 == 0.0
        if low == high:
            self._constant[k] = value
            return
        if self._counts[k] and low == 1.0:
            self._needed[k] = ALWAYS
        elif self._needed[k] == ALWAYS or there <= SETTLED:
            spread = high - low
            self._needed[k] = NEAR if low - spread <= 0.0 <= high + spread else FAR
        if k in self._constant:
            del self._constant[k]
            self._judge_first(k, there)

    def _judge_first(self, k: int, there: int) -> None:
        """What the absence of column k means as soon as its values are known to differ."""
        before, absent = int(self._before[k]), int(self.events - self._before[k] - self._there[k]) - self._complete
        weight = int(self._needed[k]) * (absent + (0 if there > EARLIER else min(before, EARLIER)))
        self._zero = self._zero.copy()
        self._zero[k] = weight > there + 1
        self._judged, self._values = (-1, 0), []

    def note(self, there: Sequence[int], row: Row) -> Integers | None:
        """An event is learned that had the keys of these columns only.

        Returns how many zeros the statistics of each column lack that stand for earlier events; None where they lack
        none.
        """
        zero, lacking = self._judge(), None
        if zero is not self._in_force:
            absent, begun, ended = self._absent(), zero & ~self._in_force, self._in_force & ~zero
            lacking = np.where(begun, absent - self._counted, 0)
            self._counted = np.where(ended, absent, self._counted)
            self._in_force = zero
        self.events += 1
        self._there[list(there)] += 1
        self._extend(there, row)
        self._look = True
        return lacking if lacking is not None and lacking.any() else None

    def note_complete_rows(self, rows: Floats) -> None:
        """``note_complete`` for each of some rows (n, columns)."""
        if self._look and len(rows):
            self.note_complete(rows[0])
            rows = rows[1:]
        complete = self._complete
        self.events += len(rows)
        self._complete += len(rows)
        for k in list(self._constant):
            values = rows[:, k]
            for _ in range(2):  # the first value, and the first other one
                other = np.isfinite(values) & (values != self._constant.get(k, values))
                if other.any():
                    i = int(other.argmax())
                    self._look_at(k, float(values[i]), int(self._there[k]) + complete + i + 1)

    def state(self) -> dict[str, Any]:
        """All it knows as JSON values."""
        return {
            "events": self.events,
            "complete": self._complete,
            "look": self._look,
            "before": self._before.tolist(),
            "there": self._there.tolist(),
            "low": [None if value != value else value for value in self._low],
            "high": [None if value != value else value for value in self._high],
            "counts": self._counts,
            "needed": self._needed.tolist(),
            "zero": self._judge().tolist(),
            "in_force": self._in_force.tolist(),
            "counted": self._counted.tolist(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Absence:
        """The one whose ``state`` this is."""
        saved = msgspec.convert(state, _Saved)
        columns = {len(getattr(saved, name)) for name in _Saved.__struct_fields__[3:]}
        if len(columns) != 1:
            raise ValueError(f"absence: expected as many entries of each kind, got {sorted(columns)}")
        absence = cls()
        absence.grow(columns.pop())
        absence._low, absence._high = (
            [math.nan if value is None else value for value in values] for values in (saved.low, saved.high)
        )
        ends = enumerate(zip(absence._low, absence._high, strict=True))
        absence._constant = {k: low for k, (low, high) in ends if not low < high}
        absence._counts, absence._needed = saved.counts, np.array(saved.needed, np.int64)
        absence.events, absence._complete, absence._look = saved.events, saved.complete, saved.look
        absence._before = np.array(saved.before, np.int64)
        absence._there = np.array(saved.there, np.int64)
        absence._zero = np.array(saved.zero, np.bool_)
        absence._in_force = np.array(saved.in_force, np.bool_)
        absence._counted = np.array(saved.counted, np.int64)
        return absence
