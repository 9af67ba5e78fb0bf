"""Writes one partition's checkpoints on a thread of its own, so that the loop only pays for the memory copy.

At most one snapshot is being written and one waits. A newer one replaces the one that waits: the checkpoint in between
is skipped, its touched segments are not, since they are merged into the newer one. The same holds after a failed write.
Invariant: the segments of everything handed in since ``base`` are either durable in ``base`` or in memory here.

What a restart would refuse to read is not written, or it would drive out those that can be read.

A failure does not stop the loop: the previous checkpoint stays valid and recovery only replays more. It is told once,
by ``outcomes()``. Deciding when to checkpoint, or when failures have lasted too long, is the loop's.
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


class _HandedIn(NamedTuple):
    snapshot: Snapshot
    progress: Progress
    committed: int | None


class BackgroundWriter:
    """Writes snapshots of one lineage into ``store``.

    ``base`` is the checkpoint the learner was restored from (None for a new lineage): what its snapshots leave out
    is there. ``retain`` newest checkpoints are kept. Make each snapshot like this::

        touched = None if writer.needs_complete() else learner.pop_touched_segments()
        writer.submit(take_snapshot(..., touched), progress, committed)
    """

    def __init__(self, store: CheckpointStore, *, base: Manifest | None = None, retain: int = 3) -> None:
        self._store = store
        # One cut into segments of another size cannot be built upon.
        self._base = base if base is not None and base.slots_per_segment == SEGMENT_SLOTS else None
        self._retain = retain
        self._changed = threading.Condition()
        self._waiting: _HandedIn | None = None
        self._running: _HandedIn | None = None
        self._unwritten: Snapshot | None = None  # of failed writes
        self._failed = False  # the last attempt
        self._outcomes: list[Outcome] = []
        self._closed = False
        name = f"checkpoint-{store.topic}-{store.partition}"
        # A daemon: an fsync that hangs on a dead disk must not keep the process from leaving within its budget.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def needs_complete(self) -> bool:
        """Whether the next snapshot must hold every segment: there is nothing on disk or in memory to add it to."""
        with self._changed:
            held = (self._waiting and self._waiting.snapshot, self._running and self._running.snapshot, self._unwritten)
            return self._base is None and not any(snapshot is not None and snapshot.complete for snapshot in held)

    def submit(self, snapshot: Snapshot, progress: Progress, committed: int | None) -> None:
        """Hand in a snapshot; returns at once. ``committed`` is the committed position, for the retention.

        Raises CheckpointError once the writer is closed.
        """
        with self._changed:
            if self._closed:
                raise CheckpointError("the checkpoint writer is closed")
            waiting = self._waiting.snapshot if self._waiting else None
            # The one that waited will never be written; its segments live on in this one.
            self._waiting = _HandedIn(snapshot.over(waiting), progress, committed)
            self._changed.notify_all()

    @property
    def behind(self) -> bool:
        """Whether the last attempt failed and nothing newer was handed in."""
        with self._changed:
            return self._failed and self._idle()

    def outcomes(self) -> list[Outcome]:
        """The attempts finished since the last call, oldest first."""
        with self._changed:
            finished, self._outcomes = self._outcomes, []
            return finished

    def close(self, timeout_s: float) -> bool:
        """Write what was handed in, then stop; True when all of it is durable.

        What is not written within ``timeout_s`` is dropped: the log still has it. A second call does nothing more.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            done = self._changed.wait_for(self._idle, timeout_s)
            self._waiting = None
        if done:  # otherwise it hangs in the disk, and would keep us from leaving
            self._thread.join()
        return done and not self._failed

    def _idle(self) -> bool:
        return self._waiting is None and self._running is None

    def _run(self) -> None:
        while self._write_next():
            pass

    def _write_next(self) -> bool:
        """Wait for a snapshot and write it; False once the writer is closed and all is done.

        Not in the loop itself, whose variable would keep a written snapshot in memory until the next one comes.
        """
        if (handed_in := self._next()) is None:
            return False
        self._settle(handed_in, self._attempt(handed_in))
        return True

    def _next(self) -> _HandedIn | None:
        """What is to be written now, together with what earlier failures left unwritten; None once all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            if self._waiting is None:
                return None
            # Not in ``submit``: before the attempt under way has ended, nobody knows what it leaves unwritten.
            snapshot = self._waiting.snapshot.over(self._unwritten)
            self._running = self._waiting._replace(snapshot=snapshot)
            self._waiting, self._unwritten = None, None
            return self._running

    def _settle(self, handed_in: _HandedIn, outcome: Outcome) -> None:
        with self._changed:
            self._failed = outcome.manifest is None
            if outcome.manifest is not None:
                self._base = outcome.manifest
            else:
                self._unwritten = handed_in.snapshot
                # What it was to build on is damaged: nothing may build on that again.
                if isinstance(outcome.error, CorruptCheckpoint):
                    self._base = None
            self._outcomes.append(outcome)
            self._running = None
            self._changed.notify_all()

    def _attempt(self, handed_in: _HandedIn) -> Outcome:
        started = time.perf_counter()
        try:
            handed_in.snapshot.require_sound()
            manifest = self._store.write(handed_in.snapshot, handed_in.progress, self._base)
        except Exception as error:  # whatever it is, this thread must live on and the loop must hear of it
            _log.error("checkpoint at %d failed: %s", handed_in.progress.position, error)
            failure = error if isinstance(error, CheckpointError) else CheckpointError(f"unexpected {error!r}")
            failure.__cause__ = failure.__cause__ or (None if failure is error else error)
            _drop_tracebacks(failure)
            return Outcome(None, failure, time.perf_counter() - started)
        duration_s = time.perf_counter() - started
        try:
            self._store.retire(handed_in.progress.lineage, retain=self._retain, committed=handed_in.committed)
        except Exception as error:  # as above; and the checkpoint is written, whatever becomes of the old ones
            _log.warning("old checkpoints could not be removed: %s", error)
        return Outcome(manifest, None, duration_s)


def _drop_tracebacks(error: BaseException | None) -> None:
    """Of an error and what led to it: the frames in them hold the snapshot, and this error, in a cycle."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
