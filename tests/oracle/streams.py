"""What the naive learner remembers: records, streams with everything that happened in them, time.

A stream's sequence keeps all its inputs, targets and carried
states, so that "the newest k2 steps" and "the value a period ago" are slices and indices, not ring buffers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from streamrnn.learner.block import Block
from tests.oracle.exact import Life
from tests.oracle.network import Array, State
from tests.oracle.statistics import RunningMoments

CONFIRMATIONS = 3  # streams that must agree before a far jump of time counts
ESTABLISHED = 4  # records that make a stream one with history
RETURNS = 10  # records in a row that take it back
UNCONTRADICTED = 100  # records in a row after which whoever is left decides
EVENT, LABEL, PREDICT, IMAGINE, CLOSE, FORGET = range(6)  # kinds of records


@dataclass
class Record:
    """One decoded record; ``y`` holds NaN where a target is unknown now."""

    key: bytes
    time_ms: int
    x: Sequence[float]
    y: Sequence[float]
    end: bool = False
    kind: int = EVENT
    event: int = 0
    symbols: Sequence[str | None] = ()  # of each symbol input
    label: str | None = None  # the class, where the set of classes is open
    text: bytes | Sequence[str] | None = None  # its units
    numbers: Sequence[int] = ()  # the symbols', -1 where one is missing


def records_of(block: Block) -> Iterator[Record]:
    """A block's records, one by one."""
    for n, key in enumerate(block.keys):
        yield Record(
            key, int(block.time_ms[n]), block.x[n], block.y[n], bool(block.end[n]), int(block.kind[n]),
            int(block.event[n]), [column[n] for column in block.symbols],
            None if block.labels is None else block.labels[n], None if block.texts is None else block.texts[n],
        )  # fmt: skip


@dataclass
class History:
    """Everything since a stream's last reset. ``before[t]`` is the carried state step t was predicted from.

    ``values[i]`` are field i's known values in their order of arrival; of forecasts one per step from the first known
    one on, an unknown one being the one before it.
    """

    state: State
    values: list[list[float]]
    before: list[State] = field(default_factory=list)
    inputs: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)  # scaled, NaN where unknown; a class index for classes
    known: list[Array] = field(default_factory=list)
    injected: list[Array] = field(default_factory=list)
    predictions: list[Array] = field(default_factory=list)  # as published
    in_use: list[int] = field(default_factory=list)  # how many classes there were then
    regressors: list[Array] = field(default_factory=list)  # of the RLS readout, at the time of the prediction
    expert_predictions: list[list[list[float]]] = field(default_factory=list)  # its two models' then, by output
    units: list[list[tuple[float, float]]] = field(default_factory=list)  # the fields' centres and widths then
    sound: list[bool] = field(default_factory=list)  # whether weights may be learned from them
    rivals: list[list[tuple[float, float]]] = field(default_factory=list)  # what they said of the fields then
    events: list[Event] = field(default_factory=list)  # where labels name them: what each step waits for
    behind: State = field(default_factory=list)  # with exact gradients: of the steps learned or passed by
    life: Life = field(default_factory=list)  # and how each of them was computed
    newest_answered: int = -1  # the newest step whose label came
    last_time_ms: int | None = None
    last_x: dict[int, float] = field(default_factory=dict)  # each feature's newest known value

    @property
    def steps(self) -> int:
        return len(self.inputs)

    @property
    def learned(self) -> int:
        """With exact gradients: steps that are behind whoever learns."""
        return len(self.life)

    def value(self, i: int, back: int) -> float:
        """Field i's value ``back`` before its newest one; NaN where there is none."""
        return self.values[i][-1 - back] if back < len(self.values[i]) else np.nan


@dataclass
class Stream:
    sequence: History
    moments: list[RunningMoments]  # per field
    changes: list[RunningMoments]  # per horizon and field: differences to the baseline
    last_seen_ms: int = 0
    last_lived_ms: int = 0  # the time lived through by then
    last_number: int = 0  # that record's
    lived: list[int] = field(default_factory=list)  # the time lived through by each of its records
    events: list[Event] = field(default_factory=list)  # the newest
    newest: dict[int, float] = field(default_factory=dict)  # each field's newest value, as far as errors are to it
    surprises: list[float] = field(default_factory=list)  # mean losses of its records

    @property
    def waiting(self) -> int:
        """Events whose label has not come."""
        return sum(event.id != 0 for event in self.events)


@dataclass
class Event:
    """What a label may come for; its id is 0 once one did."""

    id: int
    sequence: History
    step: int
    time_ms: int


@dataclass
class Sighting:
    """A record that is far from stream time: ``history`` says when its stream was seen before, None = never."""

    time_ms: int
    number: int
    key: bytes
    history: int | None
    live: int


class Clock:
    """Stream time: the running maximum of record times, deaf to a far jump until several streams agree on it.

    The first time is provisional until a record within a jump of it (or enough that agree ahead of it) confirm it: a
    record further back than that starts time again. ``row`` are the records in a row that are far from now on the same
    side, ``agreeing`` those at its end that agree with the first of them. ``lived_ms`` is time without its jumps.
    """

    def __init__(self, max_jump_ms: float) -> None:
        self.max_jump_ms = max_jump_ms
        self.now_ms: int | None = None
        self.lived_ms = 0
        self.provisional = False
        self.went_back = False
        self.row: list[Sighting] = []
        self.agreeing: list[Sighting] = []
        self.trial: tuple[int, int] | None = None  # the time before the newest jump, and what was lived until then
        self.doublings = 0
        self.counts: Counter[str] = Counter()

    def near(self, a: int, b: int) -> bool:
        return abs(a - b) <= self.max_jump_ms

    def advance(self, time_ms: int, key: bytes = b"", seen: Mapping[bytes, int] | None = None, number: int = 0) -> int:
        """Take one record's time; returns its effective time. ``seen``: the newest record of each remembered stream."""
        self.went_back = False
        if self.now_ms is None:
            self.now_ms, self.provisional = time_ms, True
            return time_ms
        ahead = time_ms > self.now_ms
        far = not self.near(time_ms, self.now_ms)
        if not far or (self.provisional and not ahead):
            if far:
                self.now_ms, self.went_back = time_ms, True
            else:
                self.provisional = False
            return self.usual(time_ms)
        if self.trial and self.lived_ms - self.trial[1] > self.max_jump_ms:
            self.trial, self.doublings = None, 0
        if self.trial and not ahead:
            if not self.near(time_ms, self.trial[0]):
                return time_ms
            self.trial = max(self.trial[0], time_ms), self.trial[1]
        if self.row and (self.row[-1].time_ms > self.now_ms) != ahead:
            self.row, self.agreeing = [], []
        seen = seen or {}
        live = sum(n > number - 1 - UNCONTRADICTED for n in seen.values())
        self.row.append(Sighting(time_ms, number, key, seen.get(key), live))
        if self.agreeing and not self.near(time_ms, self.agreeing[0].time_ms):
            self.agreeing = []
        self.agreeing.append(self.row[-1])
        return self.far_ahead(time_ms) if ahead else self.far_behind(time_ms)

    def usual(self, time_ms: int) -> int:
        assert self.now_ms is not None
        self.lived_ms += max(0, time_ms - self.now_ms)
        self.now_ms = max(self.now_ms, time_ms)
        self.row, self.agreeing = [], []
        return time_ms

    def enough(self, records: int, streams: int) -> bool:
        """Whether so many records agree, of so many streams that were seen before, or all that were live."""
        first = self.agreeing[0]
        old = {s.key for s in self.agreeing if s.history is not None and s.history < first.number}
        return len(self.agreeing) >= records and len(old) >= min(streams, first.live)

    def far_ahead(self, time_ms: int) -> int:
        assert self.now_ms is not None
        needed = CONFIRMATIONS * 2**self.doublings
        believed = None
        if self.enough(needed, 0 if self.provisional else needed):
            believed = time_ms
        elif len(self.row) >= UNCONTRADICTED:
            believed = min(s.time_ms for s in self.row)
        if believed is not None:
            self.trial = self.now_ms, self.lived_ms
            self.now_ms, self.provisional = believed, False
            self.row, self.agreeing = [], []
            self.counts["time_jumps_believed"] += 1
            if self.near(time_ms, believed):
                return self.usual(time_ms)
        self.counts["time_jumps_refused"] += 1
        return self.now_ms

    def far_behind(self, time_ms: int) -> int:
        if self.trial:
            wrong = self.enough(RETURNS, CONFIRMATIONS) or len(self.agreeing) >= UNCONTRADICTED
        else:
            wrong = self.enough(UNCONTRADICTED, CONFIRMATIONS)
        if wrong:
            self.now_ms, self.went_back, self.trial = time_ms, True, None
            self.row, self.agreeing = [], []
            self.doublings = min(self.doublings + 1, 5)
            self.counts["time_jumps_taken_back"] += 1
        return time_ms
