"""Events that an estimator has seen and whose labels have not come yet.

The learner remembers what it predicted of the newest ``memory`` events of each stream and what it predicted from. Here
stands which of them still wait, and how their labels are recognised: by a name, or by the event's values. Two events
may look alike; then the older one gets the first label.

A transformer in front that goes on learning (River's ``StandardScaler``) changes an event's values between prediction
and lesson. Where events are rarely met again by their exact values, ``order`` says which one is meant.

Everything is bounded: an event waits while its stream's next ``memory`` events come. Memory grows with the delay, not
with labels that are lost: an event that newer ones have overtaken is given up.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from streamrnn.estimators.order import HAD_ITS_LABEL, Order
from streamrnn.estimators.parameters import Natural

FIRST_MEMORY = 64
"""Events of a stream that are remembered at first."""
ROOMY = 256
"""As many are remembered before an event is given up that others have overtaken."""
LARGEST_MEMORY = 4096
"""More are not remembered, however late labels come."""
NAMES = 10_000
"""Newest events with names that are known to need no label any more."""
GUESSES = 8
"""So many labels whose event their values did not tell are worth a warning."""
UNLEARNED = 16_384
"""Events that are remembered while there is no learner for them yet, all streams together."""


class Seen(StrEnum):
    """By what an event counts as seen, besides ``learn_one``."""

    NAMED = "named"  # by any call that names it
    PREDICTED = "predicted"  # by its prediction
    EVALUATED = "evaluated"  # by its prediction in River's evaluation with delayed labels
    OBSERVED = "observed"  # by observe_one


class Waiting(NamedTuple):
    """An event that waits for its label."""

    place: int  # among the events of its stream
    mark: bytes  # its values
    name: str | None


class Found(NamedTuple):
    """The event a label belongs to: its number, and how many events of its stream came after it."""

    number: int
    age: int


class Unlearned(NamedTuple):
    """An event that was seen before there was a learner for it."""

    key: bytes
    row: list[float]


@dataclass(slots=True)
class Stream:
    """One stream's events since the oldest that waits."""

    seen: int = 0
    labelled: int = -1  # place of the newest event whose label came
    waiting: dict[int, Waiting] = field(default_factory=dict)  # by number, oldest first
    marks: dict[int, bytes] = field(default_factory=dict)  # their values by number
    numbers: dict[bytes, dict[int, None]] = field(default_factory=dict)  # the other way round, oldest first
    order: Order = field(default_factory=Order)

    def add(self, number: int, event: Waiting) -> None:
        self.waiting[number] = event
        self.marks[number] = event.mark
        self.numbers.setdefault(event.mark, {})[number] = None

    def drop(self, number: int) -> Waiting:
        event = self.waiting.pop(number)
        alike = self.numbers[self.marks.pop(number)]
        del alike[number]
        if not alike:
            del self.numbers[event.mark]
        return event


def mark_of(row: Iterable[float]) -> bytes:
    """An event's values to recognise it by. Columns that are new since it was predicted are no difference."""
    return array("d", (value if value == value else 0.0 for value in row)).tobytes().rstrip(b"\0")


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """``Awaited.state``."""

    mode: Seen
    memory: Annotated[int, Meta(ge=1, le=2 * LARGEST_MEMORY)]
    in_order: bool
    recognised: tuple[Natural, Natural]
    newest: Natural
    counts: dict[str, Natural]
    unlearned: list[tuple[Natural, str, list[float | None]]]
    streams: list[tuple[str, Natural, int, list[tuple[Natural, Natural, str, str | None]], list[Any]]]
    finished: list[tuple[str, str, bool]]


class Awaited:
    """Which events wait for labels.

    >>> awaited = Awaited(Seen.PREDICTED, max_streams=1)
    >>> first, second = (awaited.add(b"", mark_of([value]), None) for value in (1.0, 2.0))
    >>> awaited.take(b"", mark_of([1.0]), None)
    Found(number=1, age=1)
    """

    def __init__(self, mode: Seen, max_streams: int) -> None:
        self.mode = mode
        self.memory = FIRST_MEMORY
        self.in_order = False  # labels are known to come in the order of their events
        self.unlearned: dict[int, Unlearned] = {}  # by number
        self.counts = {"given_up": 0, "repeated_labels": 0, "forgotten_labels": 0}
        self.has_dropped = False  # a stream was dropped while its events waited
        self.max_streams = max_streams
        self._newest = 0
        self._recognised, self._unrecognised = 0, 0  # events met again by their exact values, and lessons without any
        self._streams: OrderedDict[bytes, Stream] = OrderedDict()  # the one that an event or label came for last behind
        self._numbers: dict[tuple[bytes, str], int] = {}
        self._finished: OrderedDict[tuple[bytes, str], bool] = OrderedDict()  # whether the label came

    def __len__(self) -> int:
        """Events that wait."""
        return sum(len(stream.waiting) for stream in self._streams.values())

    def add(self, key: bytes, mark: bytes, name: str | None) -> int:
        """An event was seen; returns its number."""
        self._newest += 1
        stream = self._streams.setdefault(key, Stream())
        self._streams.move_to_end(key)
        stream.add(self._newest, Waiting(stream.seen, mark, name))
        stream.seen += 1
        if name is not None:
            self._numbers[key, name] = self._newest
        if len(self._streams) > self.max_streams:
            self.forget(next(iter(self._streams)))
        return self._newest

    def put_off(self, number: int, key: bytes, row: list[float]) -> None:
        """There is no learner yet for an event that was seen."""
        self.unlearned[number] = Unlearned(key, row)
        if len(self.unlearned) > UNLEARNED:
            oldest, event = next(iter(self.unlearned.items()))
            if (stream := self._streams.get(event.key)) is not None and oldest in stream.waiting:
                self._give_up(event.key, stream, oldest)
            self.unlearned.pop(oldest, None)

    def pass_by(self, key: bytes) -> None:
        """An event was seen that will have no label."""
        if (stream := self._streams.get(key)) is not None:
            stream.seen += 1

    def number(self, key: bytes, name: str) -> int | None:
        """The number of a named event that waits."""
        return self._numbers.get((key, name))

    def has_finished(self, key: bytes, name: str) -> bool:
        """Whether the event with this name has had its label, or was given up."""
        return (key, name) in self._finished

    def refuse(self, key: bytes, name: str) -> None:
        """A label came for an event that has finished."""
        self.counts["repeated_labels" if self._finished[key, name] else "forgotten_labels"] += 1

    def take(self, key: bytes, mark: bytes, name: str | None) -> Found | None:
        """The event a label belongs to, which waits no longer; None where none is meant."""
        stream = self._streams.get(key)
        if stream is None:
            return None
        number = self._numbers.get((key, name)) if name is not None else self._of_values(stream, mark)
        if number is None:
            return None
        self._streams.move_to_end(key)
        if number == HAD_ITS_LABEL:
            return Found(number, 0)
        place = stream.waiting[number].place
        stream.labelled = max(stream.labelled, place)
        age = stream.seen - 1 - place
        self._drop(key, stream, number, labelled=True)
        while stream.waiting and stream.order.is_past(oldest := next(iter(stream.waiting))):
            self._give_up(key, stream, oldest)
        return Found(number, age)

    def _of_values(self, stream: Stream, mark: bytes) -> int | None:
        alike = stream.numbers.get(mark)
        if alike is not None:
            self._recognised += mark != b""  # zeros stay zeros, scaled or not
            if not self._are_changed:
                return next(iter(alike))
            # Of few values, scaled ones are those of another event now and then.
        elif self._recognised > self._unrecognised:
            return None
        else:
            self._unrecognised += 1
        if self.in_order:
            return next(iter(stream.waiting))
        return stream.order.choose(stream.marks, mark)

    @property
    def _are_changed(self) -> bool:
        return self._unrecognised >= GUESSES and self._unrecognised > self._recognised

    @property
    def is_guessing(self) -> bool:
        """Whether most labels belong to an event that their values do not tell."""
        return not self.in_order and self._are_changed

    def is_full(self, key: bytes) -> bool:
        """Whether one more event of the stream would push out one that waits."""
        stream = self._streams.get(key)
        if stream is None or not stream.waiting:
            return False
        return stream.seen - next(iter(stream.waiting.values())).place >= self.memory

    def deserves_memory(self, key: bytes) -> bool:
        """Whether the stream's oldest event may wait longer: while none overtook it, labels may just be that late."""
        stream = self._streams[key]
        overtaken = stream.labelled > next(iter(stream.waiting.values())).place
        return self.memory < (ROOMY if overtaken else LARGEST_MEMORY)

    def give_up(self, key: bytes) -> None:
        """The stream's oldest event waits no longer."""
        stream = self._streams[key]
        self._give_up(key, stream, next(iter(stream.waiting)))

    def forget(self, key: bytes) -> None:
        """The stream is no longer known, and its events wait for nothing."""
        while key in self._streams:
            self.has_dropped = True
            self.give_up(key)

    def _give_up(self, key: bytes, stream: Stream, number: int) -> None:
        self.counts["given_up"] += 1
        self.unlearned.pop(number, None)
        self._drop(key, stream, number, labelled=False)

    def _drop(self, key: bytes, stream: Stream, number: int, *, labelled: bool) -> None:
        name = stream.drop(number).name
        if name is not None:
            del self._numbers[key, name]
            self._finished[key, name] = labelled
            if len(self._finished) > NAMES:
                self._finished.popitem(last=False)
        if not stream.waiting:
            del self._streams[key]

    def state(self) -> dict[str, Any]:
        """All it knows, as JSON values."""
        return {
            "mode": self.mode.value,
            "memory": self.memory,
            "in_order": self.in_order,
            "recognised": [self._recognised, self._unrecognised],
            "newest": self._newest,
            "counts": self.counts,
            "unlearned": [[n, each.key.hex(), _to_json(each.row)] for n, each in self.unlearned.items()],
            "streams": [
                [
                    key.hex(),
                    stream.seen,
                    stream.labelled,
                    [[n, e.place, e.mark.hex(), e.name] for n, e in stream.waiting.items()],
                    stream.order.state(),
                ]
                for key, stream in self._streams.items()
            ],
            "finished": [[key.hex(), name, labelled] for (key, name), labelled in self._finished.items()],
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], max_streams: int) -> Awaited:
        """The one whose ``state`` this is."""
        saved = msgspec.convert(state, _Saved)
        self = cls(saved.mode, max_streams)
        if saved.counts.keys() != self.counts.keys():
            raise ValueError(f"counts: expected {', '.join(self.counts)}, got {', '.join(saved.counts)}")
        self.memory, self.in_order = saved.memory, saved.in_order
        self._recognised, self._unrecognised = saved.recognised
        self._newest, self.counts = saved.newest, saved.counts
        self.unlearned = {n: Unlearned(bytes.fromhex(key), _from_json(row)) for n, key, row in saved.unlearned}
        for text, seen, newest, waiting, order in saved.streams:
            key = bytes.fromhex(text)
            self._streams[key] = stream = Stream(seen, newest, order=Order.restored(order))
            for n, place, mark, name in waiting:
                stream.add(n, Waiting(place, bytes.fromhex(mark), name))
                if name is not None:
                    self._numbers[key, name] = n
        self._finished = OrderedDict(((bytes.fromhex(key), name), came) for key, name, came in saved.finished)
        return self


def _to_json(row: Sequence[float]) -> list[float | None]:
    return [value if value == value else None for value in row]


def _from_json(row: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in row]
