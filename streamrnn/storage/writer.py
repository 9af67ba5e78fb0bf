"""Writes one partition's checkpoints on a thread of its own, so that the loop only pays for the memory copy.

At most one snapshot is being written and one waits. A newer one replaces the one that waits. What a snapshot that was
not written held is not kept in memory, which may be as much as the learner itself: its segments are *owing*, and the
next snapshot has to hold them as they are by then. Invariant: the segments of everything handed in since ``base`` are
durable in ``base``, or ``needed`` names them.

What a restart would refuse to read is not written, or it would drive out those that can be read.

A failure does not stop the loop: the previous checkpoint stays valid and recovery only replays more. It is told once,
by ``outcomes()``; of a write that hangs that is while it does (``hangs``), and not again when it fails in the end.
Deciding when to checkpoint, when a write hangs, or when failures have lasted too long, is the loop's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from typing import NamedTuple

from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.arriving import ArrivingSegments, CopyGivenUpError
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
    at_once: int


class BackgroundWriter:
    """Writes snapshots of one lineage into ``store``.

    ``base`` is the checkpoint the learner was restored from (None for a new lineage): what its snapshots leave out
    is there. ``retain`` newest checkpoints are kept. Make each snapshot like this::

        needed = writer.needed(learner.pop_touched_segments())
        writer.submit(take_snapshot(..., needed), progress, committed)

    Nobody changes its arrays until it is written.
    """

    def __init__(self, store: CheckpointStore, *, base: Manifest | None = None, retain: int = 3) -> None:
        self._store = store
        # One cut into segments of another size cannot be built upon.
        self._base = base if base is not None and base.slots_per_segment == SEGMENT_SLOTS else None
        self._retain = retain
        self._changed = threading.Condition()
        self._waiting: _HandedIn | None = None
        self._running: _HandedIn | None = None
        self._told: _HandedIn | None = None  # that it hangs
        self._owing: set[int] = set()  # segments of what was not written
        self._failed = False  # the last attempt
        self._outcomes: list[Outcome] = []
        self._closed = False
        name = f"checkpoint-{store.topic}-{store.partition}"
        # A daemon: an fsync that hangs on a dead disk must not keep the process from leaving within its budget.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def needed(self, touched: Collection[int]) -> set[int] | None:
        """The segments that the next snapshot must hold, where these were touched since the last one.

        None: all, as there is nothing on the disk to add it to.
        """
        with self._changed:
            if self._base is None:
                return None
            held = [handed_in.snapshot.segments for handed_in in (self._waiting, self._running) if handed_in]
            return self._owing.union(touched, *held)

    @property
    def idle(self) -> bool:
        """Whether nothing is being written, or waits for it."""
        with self._changed:
            return self._idle()

    def submit(self, snapshot: Snapshot, progress: Progress, committed: int | None, *, at_once: int = 1) -> None:
        """Hand in a snapshot; returns at once. ``committed`` is the committed position, for the retention.

        ``at_once``: how many threads may write it. Raises CheckpointError once the writer is closed.
        """
        with self._changed:
            if self._closed:
                raise CheckpointError("the checkpoint writer is closed")
            # The one that waited will never be written; ``needed`` saw to it that this one holds its segments.
            self._waiting = _HandedIn(snapshot, progress, committed, at_once)
            self._changed.notify_all()

    @property
    def behind(self) -> bool:
        """Whether the last attempt failed and nothing newer was handed in."""
        with self._changed:
            return self._failed and self._idle()

    def not_begun(self, error: CheckpointError) -> None:
        """Have ``outcomes`` tell of one that could not be handed in; its segments are the caller's to keep in mind."""
        with self._changed:
            self._outcomes.append(Outcome(None, error, 0.0))

    def hangs(self, error: CheckpointError, waited_s: float) -> None:
        """Have ``outcomes`` tell of what is being written, which may still succeed, as of a failure, and log it."""
        with self._changed:
            handed_in = self._running or self._waiting
            if handed_in is None or handed_in is self._told:
                return
            self._told = handed_in
            self._outcomes.append(Outcome(None, error, waited_s))
        _log.error("checkpoint at %d failed: %s", handed_in.progress.position, error)

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
        """What is to be written now; None once all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._closed)
            self._running, self._waiting = self._waiting, None
            return self._running

    def _settle(self, handed_in: _HandedIn, outcome: Outcome) -> None:
        with self._changed:
            if outcome.manifest is not None:
                self._base, self._failed = outcome.manifest, False
                self._owing.clear()  # it held them
            else:
                self._owing.update(handed_in.snapshot.segments)
                # What it was to build on is damaged: nothing may build on that again.
                if isinstance(outcome.error, CorruptCheckpoint):
                    self._base = None
            if not isinstance(outcome.error, CopyGivenUpError):  # which is nobody's failure
                self._failed = outcome.manifest is None
                if outcome.manifest is not None or handed_in is not self._told:
                    self._outcomes.append(outcome)
            self._running = self._told = None
            self._changed.notify_all()

    def _attempt(self, handed_in: _HandedIn) -> Outcome:
        started = time.perf_counter()
        snapshot, progress, committed, at_once = handed_in
        try:
            manifest = self._store.write(snapshot, progress, self._base, only_sound=True, at_once=at_once)
        except Exception as error:  # whatever it is, this thread must live on and the loop must hear of it
            if not isinstance(error, CopyGivenUpError) and handed_in is not self._told:
                _log.error("checkpoint at %d failed: %s", progress.position, error)
            failure = error if isinstance(error, CheckpointError) else CheckpointError(f"unexpected {error!r}")
            failure.__cause__ = failure.__cause__ or (None if failure is error else error)
            _drop_tracebacks(failure)
            return Outcome(None, failure, time.perf_counter() - started)
        finally:
            if isinstance(snapshot.segments, ArrivingSegments):
                snapshot.segments.done()
        duration_s = time.perf_counter() - started
        try:
            self._store.retire(progress.lineage, retain=self._retain, committed=committed)
        except Exception as error:  # as above; and the checkpoint is written, whatever becomes of the old ones
            _log.warning("old checkpoints could not be removed: %s", error)
        return Outcome(manifest, None, duration_s)


def _drop_tracebacks(error: BaseException | None) -> None:
    """Of an error and what led to it: the frames in them hold the snapshot, and this error, in a cycle."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
