"""When a partition is checkpointed, and how that is not felt.

A checkpoint is begun right after a commit: what it says of the log and the model are copied at once, which takes less
than a millisecond, and what is kept of streams bit by bit between batches (``learner.copying``), by ``Copier``. It is
written meanwhile, in the background. While one is copied no other is begun, of this partition or another.

The last one, before a partition is given up or the worker stops, copies nothing: nobody changes the learner any more,
so it is written from where it is, by several threads. One that has not been copied completely is given up for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.job.job import Job
from streamrnn.learner.foundation import Foundation
from streamrnn.storage.arriving import ArrivingSegments
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import Snapshot, copied_model, take_snapshot
from streamrnn.storage.writer import BackgroundWriter
from streamrnn.system.side_by_side import threads

COPY_SHARE = 0.25
"""Of the loop's time, while a checkpoint is copied: at full speed a million streams take some seconds."""
COPY_S = 0.02
"""Most that is copied between two batches takes. One segment is, whatever it takes: some milliseconds."""


class Saved(Protocol):
    """The partition, as far as it matters here."""

    job: Job
    tp: TopicPartition
    learner: Foundation
    position: int
    committed: int
    caught_up: bool

    def progress(self) -> Progress:
        """Where its learner is, for a manifest."""


class Saving:
    """The checkpoints of one partition, on top of ``base`` (None: the next one is complete)."""

    def __init__(self, partition: Saved, base: Manifest | None) -> None:
        self._partition, self._settings = partition, partition.job.config.checkpoint
        store = partition.job.checkpoints(partition.tp)
        self.writer = BackgroundWriter(store, base=base, retain=self._settings.retain)
        self._arriving: ArrivingSegments | None = None  # while it is copied
        self._begun_anew()

    def _begun_anew(self) -> None:
        self.records, self.asked = 0, False
        self._begun_at = time.monotonic()

    def learned(self, records: int) -> None:
        """The learner has been given so many more."""
        self.records += records

    @property
    def changed(self) -> bool:
        """Whether there is more than the last checkpoint holds: records since then, or one that was not written."""
        return self.records > 0 or self.writer.behind

    @property
    def copying(self) -> bool:
        """Whether a checkpoint is begun and not yet copied."""
        return self._arriving is not None

    @property
    def possible(self) -> bool:
        """Whether what the learner knows is committed: a checkpoint ahead of that could not be recovered from."""
        return self._partition.caught_up and self._partition.position == self._partition.committed

    def due(self) -> bool:
        """Whether time or records since the last checkpoint ask for one that can be begun now."""
        if not self.possible or not self.changed or self.copying:
            return False
        waited = time.monotonic() - self._begun_at
        long_ago = waited >= self._settings.interval_s or self.records >= self._settings.max_replay_records
        return self.asked or long_ago

    def begin(self) -> None:
        """Begin a checkpoint of the present position; ``copy_on`` goes on with it, unless a segment is all there is."""
        partition, learner = self._partition, self._partition.learner
        copy = learner.copy_streams(self.writer.needed(learner.pop_touched_segments()))
        model, segments = copied_model(learner.model_state()), ArrivingSegments(copy)
        if len(segments) == 1:
            segments.copy_next()
        self._arriving = None if segments.copied else segments
        self.writer.submit(Snapshot(learner.spec, model, segments, copy.n_slots), partition.progress(), self._committed)
        self._begun_anew()

    def copy_on(self, until: Callable[[], bool]) -> None:
        """Copy segments, one at least, ``until`` it is time to stop or there is no room for more."""
        if self._arriving is None:
            return
        while self._arriving.copy_next() and not until():
            pass
        if self._arriving.copied:  # or ended, because it could not be written
            self._arriving = None

    def last(self) -> None:
        """Have the present position written as the learner stands, which must not change any more."""
        self._give_up_copy()
        learner = self._partition.learner
        needed = self.writer.needed(learner.pop_touched_segments())
        snapshot = take_snapshot(learner.state(), needed, copied=False)
        self.writer.submit(snapshot, self._partition.progress(), self._committed, at_once=threads())
        self._begun_anew()

    def close(self, timeout_s: float) -> bool:
        """Wait for what was handed in; whether it is durable. What is not copied by now is not written."""
        self._give_up_copy()
        return self.writer.close(timeout_s)

    @property
    def _committed(self) -> int:
        return self._partition.committed

    def _give_up_copy(self) -> None:
        if self._arriving is not None:
            self._arriving.give_up()
            self._arriving = None


class HasSaving(Protocol):
    """A partition."""

    saving: Saving


class Copier:
    """Has the checkpoints of a worker's partitions begun and copied, a little at a time."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics, self._clock = metrics, clock
        self._left_at = clock()

    @staticmethod
    def busy(partitions: Iterable[HasSaving]) -> bool:
        """Whether a checkpoint is begun and not yet copied."""
        return any(partition.saving.copying for partition in partitions)

    def begin_due(self, partitions: Collection[HasSaving]) -> None:
        """Begin the checkpoints that are due, as far as there is time for; the others' turn comes later."""
        began_at = self._clock()
        for partition in partitions:
            if self.busy(partitions):
                break
            if partition.saving.due():
                partition.saving.begin()
                if self._clock() - began_at >= COPY_S:
                    break
        self._metrics.phase("checkpoint", self._clock() - began_at)

    def go_on(self, partitions: Iterable[HasSaving]) -> None:
        """Copy on where that is under way, for a share of the time since the last call."""
        began_at = self._clock()
        for_s = min(COPY_S, COPY_SHARE * (began_at - self._left_at))
        for partition in partitions:  # of which one at most is copied at a time
            partition.saving.copy_on(lambda: self._clock() - began_at >= for_s)
        self._left_at = self._clock()
        self._metrics.phase("checkpoint", self._left_at - began_at)
