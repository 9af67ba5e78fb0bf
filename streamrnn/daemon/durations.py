"""How long what takes more than one turn of the loop took: batches, rebalances, and partitions until they predict.

The loop says what happened, this remembers when it began and reports to the metrics when it ends. What is given up
before its end is forgotten and not reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.metrics import Metrics


class Durations:
    """Beginnings of one worker; ``clock`` must be monotonic."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._batch_since: float | None = None
        self._unstable_since: float | None = None
        self._assigned_at: dict[TopicPartition, float] = {}
        self._restored_at: dict[TopicPartition, float] = {}

    def polled(self, *, stable: bool) -> None:
        """A poll came back, and found the group at rest or not."""
        now = self._clock()
        if not stable and self._unstable_since is None:
            self._unstable_since = now
        elif stable and self._unstable_since is not None:
            self._metrics.observe("streamrnn_rebalance_duration_seconds", now - self._unstable_since)
            self._unstable_since = None

    def handed_over(self) -> None:
        """Records that a poll has just brought are to be predicted; replayed ones belong to no batch."""
        if self._batch_since is None:
            self._batch_since = self._clock()

    def committed(self, waiting: int = 0) -> None:
        """What was predicted is committed, but for that of so many partitions."""
        if self._batch_since is not None and not waiting:
            self._metrics.observe("streamrnn_batch_latency_seconds", self._clock() - self._batch_since)
            self._batch_since = None

    def given_up(self, waiting: int = 0) -> None:
        """A partition is somebody else's; without others that wait for a commit, the batch is gone with it."""
        if not waiting:
            self._batch_since = None

    def assigned(self, tp: TopicPartition) -> None:
        """A partition came, and waits for its learner."""
        self._assigned_at[tp] = self._clock()

    def restored(self, tp: TopicPartition) -> None:
        """Its learner is loaded."""
        self._restored_at[tp] = self._clock()
        if (since := self._assigned_at.pop(tp, None)) is not None:
            self._metrics.observe("streamrnn_restore_duration_seconds", self._restored_at[tp] - since)

    def caught_up(self, tp: TopicPartition) -> None:
        """Its learner is where the committed offset says."""
        if (since := self._restored_at.pop(tp, None)) is not None:
            self._metrics.observe("streamrnn_replay_duration_seconds", self._clock() - since)

    def dropped(self, tp: TopicPartition) -> None:
        """It is somebody else's, or begins anew."""
        self._assigned_at.pop(tp, None)
        self._restored_at.pop(tp, None)
