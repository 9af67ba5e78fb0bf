"""Throughput and errors of the past hour, in steps of some seconds, looked at or not; latency, while somebody looks.

Counters of a partition grow from its assignment on and are gone with it, so their growth is added up partition by
partition. Bounded: ``MOST`` steps are kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint.samples import Samples

STEP_S = 5.0
MOST = 720
POINTS = 120
"""Points of a chart; steps are put together for it."""

RECORDS, ERROR, RIVAL = "streamrnn_records_consumed_total", "streamrnn_absolute_error", "streamrnn_rival_error"
_BUCKET = "streamrnn_prediction_latency_seconds_bucket"
LATENCY_S = 60.0
"""Over how long latency is told."""

_Key = tuple[str, str]
"""What is counted, by the name of the metric and the value of its label."""


class _Growth:
    """How far counters have come since it was last asked, all partitions together.

    ``labels`` has the label that a metric carries beside topic and partition, None where there is none.
    """

    def __init__(self, registry: CollectorRegistry, labels: Mapping[str, str | None]) -> None:
        self._registry, self._labels = registry, labels
        self._before: dict[tuple[_Key, TopicPartition], float] = {}

    def take(self) -> dict[_Key, float]:
        samples = Samples.of(self._registry, self._labels)
        now: dict[tuple[_Key, TopicPartition], float] = {}
        for name, label in self._labels.items():
            by_label = {"": samples.by_partition(name)} if label is None else samples.by_label(name, label)
            now |= {((name, of), tp): value for of, values in by_label.items() for tp, value in values.items()}
        grown: dict[_Key, float] = {}
        for (key, tp), value in now.items():
            before = self._before.get((key, tp), 0.0)
            # Less than before: the partition was here before and came back, with counters that began anew.
            grown[key] = grown.get(key, 0.0) + (value - before if value >= before else value)
        self._before = now
        return grown


class _Step(NamedTuple):
    at: float
    seconds: float
    grown: dict[_Key, float]


class History:
    """Call ``step`` every ``STEP_S`` seconds. ``clock`` tells seconds since the epoch."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        own, rivals = (f"{ERROR}_sum", f"{ERROR}_count"), (f"{RIVAL}_sum", f"{RIVAL}_count")
        self._growth = _Growth(registry, dict.fromkeys((RECORDS, *own)) | dict.fromkeys(rivals, "rival"))
        self._steps: deque[_Step] = deque(maxlen=MOST)
        self._at: float | None = None
        self._lock = threading.Lock()

    def step(self) -> None:
        """See how far the counters have come since the last step."""
        grown, at = self._growth.take(), self._clock()
        with self._lock:
            if self._at is not None and at > self._at:
                self._steps.append(_Step(at, at - self._at, grown))
            self._at = at

    def rate(self) -> float | None:
        """Records a second in the newest step."""
        steps = self._kept()
        return steps[-1].grown.get((RECORDS, ""), 0.0) / steps[-1].seconds if steps else None

    def charts(self) -> dict[str, Any]:
        """Of each point: the time, records a second, the network's mean error and each rival's; None where none was."""
        points = _together(self._kept())
        rivals = dict.fromkeys(of for point in points for name, of in point.grown if name == f"{RIVAL}_count")
        return {
            "at": [point.at for point in points],
            "records_per_second": [point.grown.get((RECORDS, ""), 0.0) / point.seconds for point in points],
            "network": [_mean(point.grown, ERROR, "") for point in points],
            "rivals": {of: [_mean(point.grown, RIVAL, of) for point in points] for of in rivals},
        }

    def _kept(self) -> list[_Step]:
        with self._lock:
            return list(self._steps)


class Latency:
    """What predictions took of late, as long as somebody looks: call ``look`` for each document."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._growth = _Growth(registry, {_BUCKET: "le"})
        self._looks: deque[tuple[float, dict[_Key, float]]] = deque()

    def look(self) -> None:
        """See what came since the last look."""
        at, grown = self._clock(), self._growth.take()
        if not self._looks or at - self._looks[-1][0] > LATENCY_S:
            self._looks.clear()
            grown = {}  # of the time before somebody looked
        self._looks.append((at, grown))
        while self._looks[0][0] <= at - LATENCY_S:
            self._looks.popleft()

    def quantile(self, share: float) -> float | None:
        """What this share of the predictions of the last minute took at most, as its bucket tells."""
        buckets: dict[float, float] = {}
        for _, grown in self._looks:
            for (_, bound), count in grown.items():
                buckets[float(bound)] = buckets.get(float(bound), 0.0) + count
        return _quantile(sorted(buckets.items()), share)


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
