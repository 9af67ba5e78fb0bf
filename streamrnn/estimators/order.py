"""Whose label comes next where an event's values do not tell: labels are taken to come in the order of the events.

A transformer in front that goes on learning (River's ``StandardScaler``) changes an event's values a little between
prediction and lesson, and most of its other values are about as near by chance. So order decides, label by label, and
values only say when the order was left: where a lesson is as far from the event that is due as from any, and by an
order of magnitude nearer to another one, ``PROOFS`` times in a row, and each time as many events ahead or behind. Then
labels were lost (the events between are passed over) or there were some too many (as many are dropped). So a label that
never comes costs about ``PROOFS`` labels more, which go to the event before theirs; several features tell sooner than
one. Events that hardly change from one to the next, or repeat themselves, or whose scaler moves fast, may tell nothing;
then the order stays as it was.

At most ``AHEAD + BEHIND`` events are compared with a lesson, as a rule one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import sqrt
from typing import Any

import msgspec
import numpy as np

from streamrnn.estimators.parameters import Natural

AHEAD = 8
"""So many events that wait are looked at, in their order."""
BEHIND = 8
"""So many events before the one that is due are remembered; those of them whose labels did not come still wait."""
PROOFS = 8
"""So many lessons in a row have to say the same of where the order goes on."""
NEARER = 0.1
"""Another event is meant where its distance is at most so much of that of the one that is due, and of the mean."""
FAR = 0.5
"""A lesson is far from the event that is due at so much of the mean distance between events."""
SETTLED = 16
"""Lessons after which that mean is believed."""
ANCHORED = 64
"""For so many lessons the distance to the same one is what the mean is of."""
HAD_ITS_LABEL = 0
"""Stands for the number of an event that no longer waits."""


_Saved = tuple[Natural, list[tuple[Natural, str]], Natural, list[tuple[int, int]], Natural, float, str]
"""What ``Order.state`` gives."""


@dataclass(slots=True)
class Order:
    """Where one stream's labels are."""

    due: int = 0  # events from this number on are due
    behind: dict[int, bytes] = field(default_factory=dict)  # values by number of the newest events before it
    surplus: int = 0  # labels still to come of events that had theirs
    proofs: dict[int, int] = field(default_factory=dict)  # by how far ahead of the one that is due; negative: behind
    lessons: int = 0
    spread: float = 0.0  # mean distance between events
    anchor: bytes = b""

    def choose(self, waiting: Mapping[int, bytes], mark: bytes) -> int:
        """The event that a lesson with these values belongs to, of those that wait, oldest first (at least one)."""
        self._measure(mark)
        if self.surplus:
            self.surplus -= 1
            return HAD_ITS_LABEL
        ahead = list(islice((number for number in waiting if number >= self.due), AHEAD))
        if not ahead:
            return next(iter(waiting))
        due = ahead[0]
        distance = _distance(waiting[due], mark)
        if self.lessons < SETTLED or not distance >= FAR * self.spread:
            return self._go_on(ahead[:1], waiting)
        events = [*self.behind.items(), *((number, waiting[number]) for number in ahead)]
        near_by = NEARER * min(distance, self.spread)
        near = {i - len(self.behind): n for i, (n, values) in enumerate(events) if _distance(values, mark) <= near_by}
        if passed := [number for i, number in near.items() if i < 0 and number in waiting]:
            return passed[0]
        self.proofs = {i: self.proofs.get(i, 0) + 1 for i in near}
        proven = [i for i, lessons in self.proofs.items() if lessons >= PROOFS]
        if len(proven) != 1:
            return self._go_on(ahead[:1], waiting)
        (i,), self.proofs = proven, {}
        if i > 0:
            return self._go_on(ahead[: i + 1], waiting)
        self.surplus = -i - 1
        return HAD_ITS_LABEL

    def is_past(self, number: int) -> bool:
        """Whether the event was passed over so long ago that its label is not looked for."""
        return number < self.due and number not in self.behind

    def _measure(self, mark: bytes) -> None:
        if self.lessons:
            distance = _distance(self.anchor, mark)
            self.spread += (distance - self.spread) / min(self.lessons, ANCHORED)
        if self.lessons % ANCHORED == 0:
            self.anchor = mark
        self.lessons += 1

    def _go_on(self, events: Collection[int], waiting: Mapping[int, bytes]) -> int:
        """The order goes on after these events; returns the last of them."""
        number = 0
        for number in events:
            self.behind[number] = waiting[number]
        while len(self.behind) > BEHIND:
            del self.behind[next(iter(self.behind))]
        self.due = number + 1
        return number

    def state(self) -> list[Any]:
        """All it knows, as JSON values."""
        behind, proofs = [[n, m.hex()] for n, m in self.behind.items()], list(self.proofs.items())
        return [self.due, behind, self.surplus, proofs, self.lessons, self.spread, self.anchor.hex()]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Order:
        """The one whose ``state`` this is."""
        due, behind, surplus, proofs, lessons, spread, anchor = msgspec.convert(state, _Saved)
        marks = {n: bytes.fromhex(mark) for n, mark in behind}
        return cls(due, marks, surplus, dict(proofs), lessons, spread, bytes.fromhex(anchor))


def _distance(one: bytes, other: bytes) -> float:
    size = -(-max(len(one), len(other)) // 8) * 8
    difference = np.frombuffer(one.ljust(size, b"\0")) - np.frombuffer(other.ljust(size, b"\0"))
    return sqrt(difference @ difference)
