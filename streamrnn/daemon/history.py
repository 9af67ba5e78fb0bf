"""Throughput, errors and latency of the past hour, in steps of some seconds, also while nobody looks.

Counters of a partition grow from its assignment on and are gone with it, so their growth is added up partition by
partition. Bounded: ``MOST`` steps are kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from streamrnn.daemon.samples import Samples

STEP_S = 5.0
MOST = 720
POINTS = 120
"""Points of a chart; steps are put together for it."""

RECORDS = "streamrnn_records_consumed_total"
ERROR, RIVAL, LATENCY = "streamrnn_absolute_error", "streamrnn_rival_error", "streamrnn_prediction_latency_seconds"
_NAMES = (RECORDS, *(f"{name}_{part}" for name in (ERROR, RIVAL) for part in ("sum", "count")), f"{LATENCY}_bucket")

_Key = tuple[str, str]
"""What is counted, by the name of the metric and the value of its label."""


class _Step(NamedTuple):
    at: float
    seconds: float
    grown: dict[_Key, float]


class History:
    """Call ``step`` every ``STEP_S`` seconds. ``clock`` tells seconds since the epoch."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._registry, self._clock = registry, clock
        self._steps: deque[_Step] = deque(maxlen=MOST)
        self._before: dict[tuple[_Key, Any], float] = {}
        self._at: float | None = None
        self._lock = threading.Lock()

    def step(self) -> None:
        """See how far the counters have come since the last step."""
        samples, at = Samples.of(self._registry, _NAMES), self._clock()
        now = {((name, ""), tp): value for name in _NAMES[:3] for tp, value in samples.by_partition(name).items()}
        for name, label in ((f"{RIVAL}_sum", "rival"), (f"{RIVAL}_count", "rival"), (f"{LATENCY}_bucket", "le")):
            for of, values in samples.by_label(name, label).items():
                now |= {((name, of), tp): value for tp, value in values.items()}
        grown: dict[_Key, float] = {}
        for (key, tp), value in now.items():
            before = self._before.get((key, tp), 0.0)
            # Less than before: the partition was here before and came back, with counters that began anew.
            grown[key] = grown.get(key, 0.0) + (value - before if value >= before else value)
        with self._lock:
            if self._at is not None and at > self._at:
                self._steps.append(_Step(at, at - self._at, grown))
            self._at, self._before = at, now

    def rate(self) -> float | None:
        """Records a second in the newest step."""
        steps = self._kept()
        return steps[-1].grown.get((RECORDS, ""), 0.0) / steps[-1].seconds if steps else None

    def rates(self) -> list[list[float | None]]:
        """Records a second: time and value of each point."""
        return [
            [at, grown.get((RECORDS, ""), 0.0) / seconds if seconds else None]
            for at, seconds, grown in _together(self._kept())
        ]

    def errors(self) -> dict[str, Any]:
        """Mean error of each point: its times, the network's, and each rival's by name; None where nothing came."""
        points = _together(self._kept())
        rivals = dict.fromkeys(of for point in points for name, of in point.grown if name == f"{RIVAL}_count")
        return {
            "at": [point.at for point in points],
            "network": [_mean(point.grown, ERROR, "") for point in points],
            "rivals": {of: [_mean(point.grown, RIVAL, of) for point in points] for of in rivals},
        }

    def latency(self, share: float, over_s: float = 60.0) -> float | None:
        """What this share of the predictions of the last ``over_s`` seconds took at most, as its bucket tells."""
        grown: dict[float, float] = {}
        steps = self._kept()
        for step in steps:
            if step.at > steps[-1].at - over_s:
                for (name, of), value in step.grown.items():
                    if name == f"{LATENCY}_bucket":
                        grown[float(of)] = grown.get(float(of), 0.0) + value
        return _quantile(sorted(grown.items()), share)

    def _kept(self) -> list[_Step]:
        with self._lock:
            return list(self._steps)


def _together(steps: list[_Step]) -> list[_Step]:
    """The same in no more than ``POINTS`` steps, the newest of which ends where the newest did."""
    size = -(-len(steps) // POINTS) or 1
    joined = []
    for end in range(len(steps), 0, -size):
        part = steps[max(0, end - size) : end]
        grown: dict[_Key, float] = {}
        for step in part:
            for key, value in step.grown.items():
                grown[key] = grown.get(key, 0.0) + value
        joined.append(_Step(part[-1].at, sum(step.seconds for step in part), grown))
    return joined[::-1]


def _mean(grown: dict[_Key, float], name: str, of: str) -> float | None:
    count = grown.get((f"{name}_count", of), 0.0)
    return grown.get((f"{name}_sum", of), 0.0) / count if count else None


def _quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """As Prometheus has it: straight lines between the bounds of cumulative buckets."""
    if not buckets or not buckets[-1][1]:
        return None
    wanted, lower, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below) if count > below else bound
        lower, below = bound, count
    return None
