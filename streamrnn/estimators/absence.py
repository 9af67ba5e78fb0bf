"""What it means that an event lacks the key of a feature: 0, or a value that is missing.

River's transformers leave zeros out (``BagOfWords``, ``FeatureHasher``, ``OneHotEncoder(drop_zeros=True)``), and
River's models take an absent feature for 0. A dense sensor that drops its key now and then had some value, and its mean
is the better guess. Which of the two it is, is a property of the column, and the events learned so far tell. An absent
feature counts as 0 where

- all its values so far were the same: then only whether it is there says anything, and its mean would hide that; or
- it was absent more often than there; or
- it was absent in more than a quarter of the events, and 0 is no further from its values than these lie apart.

Events from before a feature first came count as such in which it was absent, but only ``EARLIER`` of them: a sensor
that is installed late soon counts as dense. Everywhere else, and for None and NaN always, the value is missing.

An event is judged by the events before it, so that what is predicted of it and what is learned of it are the same; and
an event that has all keys costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Row = Sequence[float] | Floats
Flags = npt.NDArray[np.bool_]

EARLIER = 8
"""Events before a feature's first that count at most as such in which it was absent."""


class Absence:
    """How often each column's feature was absent, and between which values it moves, in the events learned so far.

    >>> absence = Absence()
    >>> absence.note([True, True], [1.0, 20.5]) is None
    True
    >>> absence.note([True, True], [1.0, 21.0]) is None
    True
    >>> absence.values()  # the first never varied, the second was never absent
    [0.0, nan]
    """

    def __init__(self) -> None:
        self.events = 0
        self._complete = 0
        """Events that lacked no key: counted once for all columns."""
        self._before = np.zeros(0, np.int64)  # per column: events before its first
        self._there = np.zeros(0, np.int64)  # those with its key, less the complete ones
        self._low = np.zeros(0)  # least and greatest of the values looked at, NaN before there was one
        self._high = np.zeros(0)
        self._look = False
        """Whether the next complete event is looked at: one after each other, for complete ones may be all there is."""
        self._counted = np.zeros(0, np.int64)  # events that lacked it and stand in the statistics as a 0
        self._constant: dict[int, float] = {}  # the columns whose values were all the same, NaN before there was one
        self._judged = -1, 0
        self._zero = np.zeros(0, np.bool_)
        self._values: list[float] = []

    def values(self) -> list[float]:
        """What each column is worth in an event that lacks its key: 0, or NaN, which is missing."""
        self._judge()
        return self._values

    def _judge(self) -> Flags:
        """Which columns are 0 in an event that lacks their key; asked again only after another event."""
        if self._judged != (now := (self.events, len(self._before))):
            self._judged, self._zero = now, self._is_zero()
            self._values = np.where(self._zero, 0.0, np.nan).tolist()
        return self._zero

    def _is_zero(self) -> Flags:
        there = self._there + self._complete
        absent = self._absent() - self._before + np.minimum(self._before, EARLIER)
        spread = self._high - self._low
        near = (self._low - spread <= 0.0) & (self._high + spread >= 0.0)
        zero: Flags = ~(spread > 0.0) | (absent > there) | (near & (3 * absent > there))
        return zero

    def grow(self, columns: int) -> None:
        """More columns, whose features come with the next event."""
        if new := columns - len(self._before):
            start = len(self._before)
            self._before = np.append(self._before, np.full(new, self.events))
            self._there = np.append(self._there, np.full(new, -self._complete))
            self._low, self._high = (np.append(bound, np.full(new, np.nan)) for bound in (self._low, self._high))
            self._counted = np.append(self._counted, np.zeros(new, np.int64))
            self._constant.update(dict.fromkeys(range(start, columns), math.nan))

    def note_complete(self, row: Row) -> None:
        """An event that lacked no key was learned."""
        self.events += 1
        self._complete += 1
        if self._look:
            self._look = False
            self._extend(np.arange(len(self._low)), np.array(row, np.float64))
        elif self._constant:
            self._compare(row)

    def _compare(self, row: Row) -> None:
        varied = [k for k, value in self._constant.items() if row[k] != value and row[k] == row[k]]
        for k in varied:
            self._extend(np.array([k]), np.array([row[k]]))

    def _extend(self, columns: Integers, values: Floats) -> None:
        self._low[columns] = np.fmin(self._low[columns], values)
        self._high[columns] = np.fmax(self._high[columns], values)
        for k in columns.tolist():
            if k in self._constant:
                if self._low[k] < self._high[k]:
                    del self._constant[k]
                else:
                    self._constant[k] = float(self._low[k])

    def note(self, there: Sequence[int], row: Row) -> Integers | None:
        """An event is learned that had the keys of these columns only.

        Returns how many zeros the statistics of each column lack that stand for earlier events; None where they lack
        none.
        """
        zero, columns = self._judge(), np.array(there, np.int64)
        lacking = np.where(zero, self._absent() - self._counted, 0)
        self._there[columns] += 1
        self._extend(columns, np.array([row[k] for k in there], np.float64))
        self.events += 1
        self._look = True
        self._counted = np.where(zero, self._absent(), self._counted)
        return lacking if lacking.any() else None

    def _absent(self) -> Integers:
        """Events that lacked each column's key, those before its first included."""
        absent: Integers = self.events - self._there - self._complete
        return absent

    def note_complete_rows(self, rows: Floats) -> None:
        """``note_complete`` for each of some rows (n, columns)."""
        if self._look and len(rows):
            self.note_complete(np.where(np.isfinite(rows[0]), rows[0], np.nan))
            rows = rows[1:]
        self.events += len(rows)
        self._complete += len(rows)
        for k in list(self._constant):
            values = rows[:, k]
            for _ in range(2):  # the first value, and the first other one
                other = np.isfinite(values) & (values != self._constant.get(k, values))
                if other.any():
                    self._extend(np.array([k]), values[other.argmax()][None])

    def state(self) -> dict[str, Any]:
        """All it knows as JSON values."""
        return {
            "events": self.events,
            "complete": self._complete,
            "look": self._look,
            "before": self._before.tolist(),
            "there": self._there.tolist(),
            "low": _to_json(self._low),
            "high": _to_json(self._high),
            "counted": self._counted.tolist(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Absence:
        """The one whose ``state`` this is."""
        absence = cls()
        absence.events, absence._complete = state["events"], state["complete"]
        absence._look = state["look"]
        absence._before = np.array(state["before"], np.int64)
        absence._there = np.array(state["there"], np.int64)
        absence._low, absence._high = _from_json(state["low"]), _from_json(state["high"])
        absence._counted = np.array(state["counted"], np.int64)
        varied = absence._low < absence._high
        absence._constant = {k: float(absence._low[k]) for k in np.flatnonzero(~varied).tolist()}
        return absence


def _to_json(values: Floats) -> list[float | None]:
    return [value if value == value else None for value in values.tolist()]


def _from_json(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], np.float64)
