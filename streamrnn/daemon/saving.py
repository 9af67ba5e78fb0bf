"""When a partition is checkpointed, and how that is not felt.

A checkpoint is begun right after a commit: what it says of the log and the model are copied at once, which takes less
than a millisecond, and what is kept of streams bit by bit between batches (``learner.copying``), by ``Copier``. It is
written meanwhile, in the background. While one is copied no other is begun, of this partition or another: they go to
the same directory, and use the same memory for what is put aside. Of those that are due, the one begins that has waited
longest. Where a disk hangs and takes nothing of one for half a minute, that one counts as failed; what is left to copy
is given up, and its partition begins no other until the disk is done with it. A turn counts for two seconds at most: in
a longer one the whole process may have been halted, and the disk could not take anything.

The last one, before a partition is given up or the worker stops, copies nothing: nobody changes the learner any more,
so it is written from where it is, by several threads. One that has not been copied completely is given up for it. Where
the learner is ahead of what is committed, as at a stop in a rebalance, the one that was begun is copied to its end.

Where there is no memory for a copy, that checkpoint is given up and counts as failed, and records go on.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.errors import CheckpointError
from streamrnn.job.job import Job
from streamrnn.learner.copying import Spare
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
HURRY_S = 1.0
"""How long nothing could be copied until nobody waits for that any more: the disk hangs, or is slow."""

GIVE_UP_S = 30.0
"""And until the copy is given up, so that other partitions' checkpoints begin, and memory is let go of."""
LATE_S = 2.0
"""As much of a turn counts for that."""

_log = logging.getLogger(__name__)


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
        # It holds this: a circle would keep the memory of a partition that went away until garbage is collected, which
        # counts objects and not bytes.
        self._partition: Saved = weakref.proxy(partition)
        self._settings = partition.job.config.checkpoint
        store = partition.job.checkpoints(partition.tp)
        self.writer = BackgroundWriter(store, base=base, retain=self._settings.retain)
        self._arriving: ArrivingSegments | None = None  # while it is copied
        self._touched: set[int] = set()  # segments of one that could not be begun
        self._missed = False  # one could not be begun, or was given up, and no other was begun since
        self._waited_s = 0.0  # while the disk took nothing
        self._begun_anew()

    def _begun_anew(self) -> None:
        self.records, self.asked = 0, False
        self.begun_at = time.monotonic()

    def learned(self, records: int) -> None:
        """The learner has been given so many more."""
        self.records += records

    @property
    def changed(self) -> bool:
        """Whether there is more than the last complete checkpoint holds: records since, or one that was not written."""
        return self.records > 0 or self.copying or self._missed or self.writer.behind

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
        hangs = self._waited_s >= GIVE_UP_S and not self.writer.idle  # the disk, which has one before to be done with
        if not self.possible or not self.changed or self.copying or hangs:
            return False
        waited = time.monotonic() - self.begun_at
        long_ago = waited >= self._settings.interval_s or self.records >= self._settings.max_replay_records
        return self.asked or long_ago

    def begin(self, spare: Spare | None = None) -> None:
        """Begin a checkpoint of the present position; ``copy_on`` goes on with it, unless a segment is all there is.

        ``spare``: memory for what is put aside.
        """
        learner = self._partition.learner
        needed = self._needed()
        try:
            model = copied_model(learner.model_state())
            copy = learner.copy_streams(needed, spare)
        except MemoryError as error:
            failure = self._no_memory(error)
            _log.error("%s: checkpoint at %d failed: %s", self._partition.tp, self._partition.position, failure)
            self.writer.not_begun(failure)
            self._missed = True
            self._begun_anew()
            return
        self._arriving = ArrivingSegments(copy)
        self._submit(Snapshot(learner.spec, model, self._arriving, copy.n_slots))
        if len(self._arriving) <= 1:
            self.copy_on(lambda: True)

    def copy_on(self, until: Callable[[], bool]) -> bool:
        """Copy segments, one at least, ``until`` it is time to stop or there is no room for more; whether any was."""
        arriving, copied = self._arriving, False
        if arriving is None:
            return False
        try:
            while arriving.copy_next():
                copied = True
                if until():
                    break
        except MemoryError as error:
            arriving.give_up(self._no_memory(error))  # who writes says so, and owes its segments
        if arriving.copied:  # or ended, because it could not be written
            self._arriving = None
        if copied:
            self._waited_s = 0.0
        return copied

    def waits(self, turn_s: float) -> None:
        """Nothing could be copied for so long; where the disk took nothing either for long, say that it hangs."""
        if self.writer.idle:
            self._waited_s = 0.0
            return
        before_s, self._waited_s = self._waited_s, self._waited_s + turn_s
        if before_s < GIVE_UP_S <= self._waited_s:
            self._hangs()

    def _hangs(self) -> None:
        """Count it as failed, and copy nothing more of it; the next holds what it was to."""
        failure = CheckpointError(f"{self._partition.tp}: the disk took nothing of it for {self._waited_s:.0f} s")
        self.writer.hangs(failure, self._waited_s)
        if self._arriving is not None:
            self._arriving.give_up(failure)
            self._arriving, self._missed = None, True

    def last(self) -> None:
        """Have the present position written as the learner stands, which must not change any more."""
        self._give_up_copy()
        needed = self._needed()
        self._submit(take_snapshot(self._partition.learner.state(), needed), at_once=threads())

    def close(self, timeout_s: float) -> bool:
        """Copy to the end what is begun, and wait until it is written; whether it is durable."""
        until = time.monotonic() + timeout_s
        while self._arriving is not None and (left_s := until - time.monotonic()) > 0:
            self._arriving.wait_for_room(left_s)
            self.copy_on(lambda: time.monotonic() >= until)
        if self.copying:
            self._give_up_copy()
            self._missed = True
        return self.writer.close(max(0.0, until - time.monotonic())) and not self._missed

    def _needed(self) -> set[int] | None:
        """The segments that a snapshot of now must hold; kept in mind until it is handed in."""
        self._touched |= self._partition.learner.pop_touched_segments()
        return self.writer.needed(self._touched)

    def _submit(self, snapshot: Snapshot, at_once: int = 1) -> None:
        partition = self._partition
        self.writer.submit(snapshot, partition.progress(), partition.committed, at_once=at_once)
        self._touched, self._missed, self._waited_s = set(), False, 0.0
        self._begun_anew()

    @staticmethod
    def _no_memory(error: MemoryError) -> CheckpointError:
        return CheckpointError(f"there is no memory for a copy of what it is to hold ({error}); records go on")

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
        self._metrics, self._clock, self._spare = metrics, clock, Spare()
        self._left_at = self._copied_at = clock()

    @staticmethod
    def busy(partitions: Iterable[HasSaving]) -> bool:
        """Whether a checkpoint is begun and not yet copied."""
        return any(partition.saving.copying for partition in partitions)

    def hurries(self, partitions: Iterable[HasSaving]) -> bool:
        """Whether there will soon be something to copy: not where a disk hangs, and nothing could be for a while."""
        return self.busy(partitions) and self._clock() - self._copied_at < HURRY_S

    def begin_due(self, partitions: Collection[HasSaving]) -> None:
        """Begin the checkpoints that are due, the one that waited longest first, as far as there is time for."""
        began_at = self._clock()
        for partition in sorted(partitions, key=lambda partition: partition.saving.begun_at):
            if self.busy(partitions):
                break
            if partition.saving.due():
                partition.saving.begin(self._spare)
                self._copied_at = self._clock()
                if self._copied_at - began_at >= COPY_S:
                    break
        self._metrics.phase("checkpoint", self._clock() - began_at)

    def go_on(self, partitions: Iterable[HasSaving]) -> None:
        """Copy on where that is under way, for a share of the time since the last call."""
        began_at = self._clock()
        turn_s = began_at - self._left_at
        for_s = min(COPY_S, COPY_SHARE * turn_s)
        for partition in partitions:  # of which one at most is copied at a time
            if partition.saving.copy_on(lambda: self._clock() - began_at >= for_s):
                self._copied_at = self._clock()
            else:
                partition.saving.waits(min(turn_s, LATE_S))
        self._left_at = self._clock()
        self._metrics.phase("checkpoint", self._left_at - began_at)
