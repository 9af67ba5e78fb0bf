"""What the naive learner remembers: records, streams with everything that happened in them, time.

A stream's sequence keeps all its inputs, targets and carried
states, so that "the newest k2 steps" and "the value a period ago" are slices and indices, not ring buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.oracle.network import Array, State
from tests.oracle.statistics import RunningMoments

CONFIRMATIONS = 3  # records that must agree before a far jump of time counts
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
    regressors: list[Array] = field(default_factory=list)  # of the RLS readout, at the time of the prediction
    expert_predictions: list[list[list[float]]] = field(default_factory=list)  # its two models' then, by output
    units: list[list[tuple[float, float]]] = field(default_factory=list)  # the fields' centres and widths then
    sound: list[bool] = field(default_factory=list)  # whether weights may be learned from them
    last_time_ms: int | None = None

    @property
    def steps(self) -> int:
        return len(self.inputs)

    def value(self, i: int, back: int) -> float:
        """Field i's value ``back`` before its newest one; NaN where there is none."""
        return self.values[i][-1 - back] if back < len(self.values[i]) else np.nan


@dataclass
class Stream:
    sequence: History
    moments: list[RunningMoments]  # per field
    changes: list[RunningMoments]  # per horizon and field: differences to the baseline
    last_seen_ms: int = 0
    events: list[tuple[int, History, int]] = field(default_factory=list)  # id, its sequence, its step


class Clock:
    """Stream time: the running maximum of record times, deaf to a far jump until several records agree on it.

    The first time is provisional until a record within a jump of it (or three that agree ahead of it) confirm it: a
    record further back than that starts time again. ``candidates`` must agree with the first of them.
    """

    def __init__(self, max_jump_ms: float) -> None:
        self.max_jump_ms = max_jump_ms
        self.now_ms: int | None = None
        self.provisional = False
        self.restarted = False
        self.candidates: list[int] = []

    def advance(self, time_ms: int) -> int:
        """Take one record's time; returns its effective time."""
        self.restarted = False
        if self.now_ms is None:
            self.now_ms, self.provisional = time_ms, True
            return time_ms
        if self.provisional and self.now_ms - time_ms > self.max_jump_ms:
            self.now_ms, self.restarted, self.candidates = time_ms, True, []
            return time_ms
        if time_ms - self.now_ms > self.max_jump_ms:
            if self.candidates and abs(time_ms - self.candidates[0]) > self.max_jump_ms:
                self.candidates = []
            self.candidates.append(time_ms)
            if len(self.candidates) < CONFIRMATIONS:
                return self.now_ms
        self.provisional, self.candidates = False, []
        self.now_ms = max(self.now_ms, time_ms)
        return time_ms
