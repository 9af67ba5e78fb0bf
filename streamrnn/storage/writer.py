"""Writes one partition's checkpoints on a thread of its own, so that the loop only pays for the memory copy.

At most one snapshot is being written and one waits. A newer one replaces the one that waits: the checkpoint in between
is skipped, its touched segments are not, since they are merged into the newer one. The same holds after a failed write.
Invariant: the segments of everything handed in since ``base`` are either durable in ``base`` or in memory here.

A failure does not stop the loop: the previous checkpoint stays valid and recovery only replays more. It shows in
``failure()`` until a write succeeds, and in ``outcomes()`` once. Deciding when to checkpoint, or when failures have
lasted too long, is the loop's.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import NamedTuple

from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import Snapshot

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """One attempt to write: ``manifest`` when it succeeded, else ``error``; exactly one is None."""

    manifest: Manifest | None
    error: CheckpointError | None
    duration_s: float


class _Job(NamedTuple):
    snapshot: Snapshot
    progress: Progress
    committed: int | None


class BackgroundWriter:
    """Writes snapshots of one lineage into ``store``.

    ``base`` is the checkpoint the learner was restored from (None for a new lineage): what its snapshots leave out is
    taken from there. ``retain`` newest checkpoints are kept. Take each snapshot like this::

        touched = None if writer.needs_complete() else learner.touched
        writer.submit(take_snapshot(..., touched), progress, committed)
    """

    def __init__(self, store: CheckpointStore, *, base: Manifest | None = None, retain: int = 3) -> None:
        self._store = store
        # One cut into segments of another size cannot be built upon.
        self._base = base if base is not None and base.slots_per_segment == SEGMENT_SLOTS else None
        self._retain = retain
        self._state = threading.Condition()
        self._waiting: _Job | None = None
        self._running: _Job | None = None
        self._unwritten: Snapshot | None = None  # of failed writes
        self._failure: CheckpointError | None = None
        self._outcomes: list[Outcome] = []
        self._closed = False
        name = f"checkpoint-{store.topic}-{store.partition}"
        # A daemon: an fsync that hangs on a dead disk must not keep the process from leaving within its budget.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def base(self) -> Manifest | None:
        """The newest checkpoint written (or restored from)."""
        with self._state:
            return self._base

    def needs_complete(self) -> bool:
        """Whether the next snapshot must hold every segment: there is nothing on disk or in memory to add it to."""
        with self._state:
            held = (self._waiting and self._waiting.snapshot, self._running and self._running.snapshot, self._unwritten)
            return self._base is None and not any(snapshot is not None and snapshot.complete for snapshot in held)

    def submit(self, snapshot: Snapshot, progress: Progress, committed: int | None) -> None:
        """Hand in a snapshot; returns at once. ``committed`` is the committed position, for the retention.

        Raises CheckpointError once the writer is closed.
        """
        with self._state:
            if self._closed:
                raise CheckpointError("the checkpoint writer is closed")
            waiting = self._waiting.snapshot if self._waiting else None
            self._waiting = _Job(snapshot.over(waiting), progress, committed)
            self._state.notify_all()

    def failure(self) -> CheckpointError | None:
        """The error of the last attempt, None when it succeeded."""
        with self._state:
            return self._failure

    def outcomes(self) -> list[Outcome]:
        """The attempts finished since the last call, oldest first."""
        with self._state:
            finished, self._outcomes = self._outcomes, []
            return finished

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is waiting or being written; False when ``timeout_s`` passed first."""
        with self._state:
            return self._state.wait_for(self._idle, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write what was handed in, then stop; True when all of it is durable.

        What is not written within ``timeout_s`` is dropped: the log still has it. A second call does nothing more.
        """
        with self._state:
            self._closed = True
            self._state.notify_all()
            done = self._state.wait_for(self._idle, timeout_s)
            self._waiting = None
        if done:
            self._thread.join()
        return done and self._failure is None

    def _idle(self) -> bool:
        return self._waiting is None and self._running is None

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting is not None or self._closed)
                if self._waiting is None:
                    return
                job = self._waiting
                job = job._replace(snapshot=job.snapshot.over(self._unwritten))
                self._running, self._waiting, self._unwritten = job, None, None
                base = self._base
            outcome = self._attempt(job, base)
            with self._state:
                self._failure = outcome.error
                if outcome.manifest is not None:
                    self._base = outcome.manifest
                else:
                    self._unwritten = job.snapshot
                    if isinstance(outcome.error, CorruptCheckpoint):
                        self._base = None
                self._outcomes.append(outcome)
                self._running = None
                self._state.notify_all()

    def _attempt(self, job: _Job, base: Manifest | None) -> Outcome:
        started = time.perf_counter()
        try:
            manifest = self._store.write(job.snapshot, job.progress, base)
        except Exception as error:  # whatever it is, this thread must live on and the loop must hear of it
            _log.error("checkpoint at %d failed: %s", job.progress.position, error)
            failure = error if isinstance(error, CheckpointError) else CheckpointError(f"unexpected {error!r}")
            failure.__cause__ = failure.__cause__ or (None if failure is error else error)
            return Outcome(None, failure, time.perf_counter() - started)
        duration_s = time.perf_counter() - started
        try:
            self._store.retire(job.progress.lineage, retain=self._retain, committed=job.committed)
        except Exception as error:  # as above; and the checkpoint is written, whatever becomes of the old ones
            _log.warning("old checkpoints could not be removed: %s", error)
        return Outcome(manifest, None, duration_s)
