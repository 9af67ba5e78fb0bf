"""Whether the worker is alive and whether it is ready, judged from what the loop reports.

Alive follows progress, never the broker: a partition is stalled when there were records to read (lag above zero) and
its position has not moved for ``stall_after_s``. Time spent idle does not count: the clock starts when lag is first
seen. An unknown lag (None) is no evidence of a stall, so a broker that is away makes nobody restart this process. The
loop itself must keep reporting: silence for ``stall_after_s`` is a hang, unless a partition is being restored, which
may wait for the broker.

Ready means that partitions are assigned and all of them restored, or that the group answered that there is none
for this worker (``standby``). No network, no files; the clock is injected and must be monotonic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from streamrnn.broker.protocol import TopicPartition
from streamrnn.errors import ConfigError


class _Partition(NamedTuple):
    restored: bool = False
    position: int | None = None
    lag: int | None = None
    behind_since: float | None = None  # lag above zero and position unmoved since then


class Health:
    """Collects reports from the loop and answers probes from other threads.

    ``stall_after_s`` should exceed the longest time one batch may take, commit deadline included.
    """

    def __init__(self, stall_after_s: float = 120.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not stall_after_s > 0:
            raise ConfigError(f"stall_after_s: must be above 0, got {stall_after_s}")
        self._stall_after_s = stall_after_s
        self._clock = clock
        self._lock = threading.Lock()
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._standby = False
        self._reported_at: float | None = None  # None until the loop reports for the first time

    def beat(self) -> None:
        """The loop is turning. Called once per iteration, with or without partitions and records."""
        with self._lock:
            self._reported_at = self._clock()

    def standby(self) -> None:
        """The group answered, and no partition is for this worker."""
        with self._lock:
            self._standby = True
            self._reported_at = self._clock()

    def assigned(self, tp: TopicPartition) -> None:
        """A partition came; it is not restored yet."""
        with self._lock:
            self._partitions[tp] = _Partition()
            self._standby = False
            self._reported_at = self._clock()

    def restored(self, tp: TopicPartition) -> None:
        """A partition's learner is where the committed offset says; from now on records are predicted."""
        with self._lock:
            if tp in self._partitions:
                self._partitions[tp] = self._partitions[tp]._replace(restored=True)
            self._reported_at = self._clock()

    def removed(self, tp: TopicPartition) -> None:
        """A partition was revoked or lost."""
        with self._lock:
            self._partitions.pop(tp, None)
            self._reported_at = self._clock()

    def progress(self, tp: TopicPartition, position: int, lag: int | None) -> None:
        """Where a partition is, and how many records are waiting (None: unknown or stale)."""
        with self._lock:
            now = self._reported_at = self._clock()
            state = self._partitions.get(tp)
            if state is None:
                return
            behind_since = state.behind_since
            if not lag:  # None as well: what is not known is no evidence
                behind_since = None
            elif behind_since is None or position != state.position:
                behind_since = now
            self._partitions[tp] = _Partition(state.restored, position, lag, behind_since)

    def healthy(self) -> tuple[bool, dict[str, Any]]:
        """Liveness, with the reasons per partition, as JSON values."""
        partitions, _, reported_at = self._reports()
        now = self._clock()
        restoring = any(not state.restored for _, state in partitions)
        silent_s = 0.0 if reported_at is None else max(0.0, now - reported_at)
        hung = silent_s > self._stall_after_s and not restoring
        shown = []
        for tp, state in partitions:
            stalled_s = 0.0 if state.behind_since is None else max(0.0, now - state.behind_since)
            shown.append(
                {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "position": state.position,
                    "lag": state.lag,
                    "unmoved_s": round(stalled_s, 3),
                    "healthy": stalled_s <= self._stall_after_s,
                }
            )
        healthy = not hung and all(partition["healthy"] for partition in shown)
        return healthy, {
            "healthy": healthy,
            "stall_after_s": self._stall_after_s,
            "loop_silent_s": round(silent_s, 3),
            "partitions": shown,
        }

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Readiness, with the state of each partition, as JSON values."""
        partitions, standby, _ = self._reports()
        shown = [{"topic": tp.topic, "partition": tp.partition, "restored": state.restored} for tp, state in partitions]
        ready = all(state.restored for _, state in partitions) if partitions else standby
        return ready, {"ready": ready, "standby": standby, "partitions": shown}

    def _reports(self) -> tuple[list[tuple[TopicPartition, _Partition]], bool, float | None]:
        with self._lock:  # no longer than it takes to copy: the loop may be waiting
            partitions, standby, reported_at = self._partitions.copy(), self._standby, self._reported_at
        return sorted(partitions.items(), key=lambda item: item[0]), standby, reported_at
