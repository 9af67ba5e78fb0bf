"""Whether the worker is alive and whether it is ready, judged from what the loop reports.

Alive follows progress, never the broker: a partition is stalled when there were records to read (lag above zero) and
its position has not moved for ``stall_after_s``. Time spent idle does not count: the clock starts when lag is first
seen. An unknown lag (None) is no evidence of a stall, so a broker that is away makes nobody restart this process, which
would not bring it back. The loop itself must keep reporting: silence for ``stall_after_s`` is a hang, unless a
partition is being restored or the broker is away, either of which may keep the loop waiting.

Ready means that records are predicted as they come: partitions are assigned and all of them restored, or the group
answered that there is none for this worker (``standby``); and the broker answers. A worker whose broker is away
predicts nothing, so it is not ready: that takes no traffic from anybody, since records are not brought by a load
balancer, while whoever looks at pods, and a rollout that replaces one after the other, should see it.

No network, no files; the clock is injected and must be monotonic.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from streamrnn.broker.protocol import Connectivity, TopicPartition
from streamrnn.errors import ConfigError
from streamrnn.escaping import one_line

State = Literal["restoring", "replaying", "live", "stalled"]
STATES: tuple[State, ...] = ("restoring", "replaying", "live", "stalled")


class _Partition(NamedTuple):
    state: State = "restoring"  # never stalled here, which depends on the time
    position: int | None = None
    lag: int | None = None
    behind_since: float | None = None  # lag above zero and position unmoved since then
    unknown_since: float | None = None  # what there is to read could not be found out since then, position unmoved
    judged_position: int | None = None
    judged_at: float = -math.inf


def _nobody_knows() -> Connectivity:
    return Connectivity()


def _nobody_shows(tp: TopicPartition, state: State | None) -> None:
    pass


class Health:
    """Collects reports from the loop and answers probes from other threads.

    ``stall_after_s`` should exceed the longest time one batch may take, commit deadline included. ``show`` is told of
    each partition's state as it changes, by the thread that reports; None: it is gone. ``connectivity`` says whether
    the broker answers, whichever thread asks.
    """

    def __init__(
        self,
        stall_after_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[TopicPartition, State | None], None] = _nobody_shows,
        connectivity: Callable[[], Connectivity] = _nobody_knows,
    ) -> None:
        if not stall_after_s > 0:
            raise ConfigError(f"stall_after_s: must be above 0, got {stall_after_s}")
        self._stall_after_s = stall_after_s
        self._clock, self._show, self._connectivity = clock, show, connectivity
        self._lock = threading.Lock()
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._standby = False
        self._away_at: float | None = None  # when the broker was last seen away, by whoever asked
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
        self._show(tp, "restoring")

    def replaying(self, tp: TopicPartition) -> None:
        """A partition has its learner, which is on its way to the committed offset."""
        self._is_now(tp, "replaying")

    def restored(self, tp: TopicPartition) -> None:
        """A partition's learner is where the committed offset says; from now on records are predicted."""
        self._is_now(tp, "live")

    def _is_now(self, tp: TopicPartition, state: State) -> None:
        with self._lock:
            self._reported_at = self._clock()
            if tp not in self._partitions:
                return
            self._partitions[tp] = self._partitions[tp]._replace(state=state)
        self._show(tp, state)

    def removed(self, tp: TopicPartition) -> None:
        """A partition was revoked or lost."""
        with self._lock:
            self._partitions.pop(tp, None)
            self._reported_at = self._clock()
        self._show(tp, None)

    def seen(self, tp: TopicPartition, position: int, lag: int | None) -> None:
        """Where a partition is, and how many records wait as far as the client has heard. To be shown, not judged."""
        with self._lock:
            if (state := self._partitions.get(tp)) is not None:
                self._partitions[tp] = state._replace(position=position, lag=lag)

    def progress(self, tp: TopicPartition, position: int, lag: int | None) -> None:
        """Where a partition is, and how many records can be read there (None: unknown or stale)."""
        with self._lock:
            now = self._reported_at = self._clock()
            before = self._partitions.get(tp)
            if before is None:
                return
            moved = position != before.judged_position
            behind_since, unknown_since = before.behind_since, before.unknown_since
            if not lag:  # None as well: what is not known is no evidence
                behind_since = None
            elif behind_since is None or moved:
                behind_since = now
            if lag is not None:
                unknown_since = None
            elif unknown_since is None or moved:
                unknown_since = now
            after = _Partition(before.state, position, lag, behind_since, unknown_since, position, now)
            self._partitions[tp] = after
        self._show(tp, self._state(after, now, self._broker(now)))

    def caught_up(self, within_s: float) -> bool:
        """Whether all partitions predict, and none had anything to read when that was asked in the last seconds."""
        partitions, _, _ = self._reports()
        since = self._clock() - within_s
        return all(p.state == "live" and p.judged_at >= since and p.lag == 0 for _, p in partitions)

    def healthy(self) -> tuple[bool, dict[str, Any]]:
        """Liveness, with the reasons per partition, as JSON values."""
        partitions, _, reported_at = self._reports()
        now = self._clock()
        broker = self._broker(now)
        waiting = broker.away_since is not None or any(partition.state != "live" for _, partition in partitions)
        silent_s = 0.0 if reported_at is None else max(0.0, now - reported_at)
        hung = min(silent_s, self._answered_s(now)) > self._stall_after_s and not waiting
        shown = []
        for tp, partition in partitions:
            behind_s = 0.0 if partition.behind_since is None else max(0.0, now - partition.behind_since)
            stalled_s = min(behind_s, self._answered_s(now))
            shown.append(
                {
                    "topic": tp.topic,
                    "partition": tp.partition,
                    "state": self._state(partition, now, broker),
                    "position": partition.position,
                    "lag": partition.lag if broker.away_since is None else None,
                    "unmoved_s": round(stalled_s, 3),
                    "healthy": stalled_s <= self._stall_after_s,
                }
            )
        healthy = not hung and all(partition["healthy"] for partition in shown)
        return healthy, {
            "healthy": healthy,
            "stall_after_s": self._stall_after_s,
            "loop_silent_s": round(silent_s, 3),
            "broker": _as_data(broker),
            "partitions": shown,
        }

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Readiness, with the state of each partition, as JSON values."""
        partitions, standby, _ = self._reports()
        now = self._clock()
        broker = self._broker(now)
        shown = [
            {
                "topic": tp.topic,
                "partition": tp.partition,
                "state": self._state(partition, now, broker),
                "restored": partition.state == "live",
            }
            for tp, partition in partitions
        ]
        restored = all(partition.state == "live" for _, partition in partitions) if partitions else standby
        ready = restored and broker.away_since is None
        return ready, {"ready": ready, "standby": standby, "broker": _as_data(broker), "partitions": shown}

    def _state(self, partition: _Partition, now: float, broker: Connectivity) -> State:
        """A partition's state at this moment. Records that may be there and cannot be asked for are a stall as well.

        It is shown, and no reason to restart: a partition without a leader is the cluster's affair.
        """
        if partition.state != "live" or broker.away_since is not None:
            return partition.state
        since = [at for at in (partition.behind_since, partition.unknown_since) if at is not None]
        stalled_s = min(now - min(since), self._answered_s(now)) if since else 0.0
        return "stalled" if stalled_s > self._stall_after_s else "live"

    def _broker(self, now: float) -> Connectivity:
        found = self._connectivity()
        if found.away_since is not None:
            self._away_at = now
        return found

    def _answered_s(self, now: float) -> float:
        """For how long the broker has not been seen away. What did not move in an outage has to move only after it."""
        return math.inf if self._away_at is None else now - self._away_at

    def _reports(self) -> tuple[list[tuple[TopicPartition, _Partition]], bool, float | None]:
        with self._lock:  # no longer than it takes to copy: the loop may be waiting
            partitions, standby, reported_at = self._partitions.copy(), self._standby, self._reported_at
        return sorted(partitions.items(), key=lambda item: item[0]), standby, reported_at


def _as_data(broker: Connectivity) -> dict[str, Any]:
    """What a probe says of the broker. ``connected`` is null before anything was asked of it."""
    known = broker.answered_at is not None or broker.away_since is not None
    return {
        "connected": broker.away_since is None if known else None,
        "last_answer": _utc(broker.answered_at),
        "away_since": _utc(broker.away_since),
        "cause": one_line(broker.cause, 500) or None,
    }


def _utc(at_s: float | None) -> str | None:
    return None if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
