"""Puts a snapshot's arrays where checkpoints are, segment by segment, and says what a manifest calls them.

Nothing is copied on the way: what is hashed and written are the arrays themselves. Several threads may share the
segments, where nobody else needs the processor; each has one in hand at a time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator

from streamrnn.errors import CheckpointError
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.blobs import Blobs
from streamrnn.storage.manifest import SegmentEntry, StreamsEntry
from streamrnn.storage.segments import Segment, pack_segment
from streamrnn.storage.snapshot import Snapshot
from streamrnn.storage.tensors import Arrays, Pieces, pieces
from streamrnn.system.side_by_side import side_by_side
from streamrnn.system.writing import Data


class Putting:
    """Puts ``snapshot`` into ``blobs``. ``name_of`` says what the blob of a digest is called."""

    def __init__(self, blobs: Blobs, name_of: Callable[[str], str], snapshot: Snapshot) -> None:
        self._blobs, self._name_of, self._snapshot = blobs, name_of, snapshot
        self._segments, self._lock = iter(snapshot.segments.items()), threading.Lock()
        self._failed = threading.Event()
        self._entries: dict[int, StreamsEntry] = {}

    def __call__(self, *, only_sound: bool, at_once: int) -> tuple[SegmentEntry, dict[int, StreamsEntry]]:
        """Put the model and all segments, by so many threads; return how the manifest names them.

        ``only_sound``: raise CheckpointError where a checkpoint of it would be refused when it is read.
        """
        if only_sound:
            self._snapshot.require_sound()
        model = pieces(self._snapshot.model)
        entry = SegmentEntry(sha256=_sha256(model), bytes=sum(map(len, model)))

        def put(number: int) -> None:
            try:
                self._blobs.put(self._named((self._name_of(entry.sha256), model), number, only_sound))
            except BaseException:
                self._failed.set()
                raise

        side_by_side(put, range(at_once), at_once)
        return entry, self._entries

    def _named(self, model: tuple[str, Data], number: int, only_sound: bool) -> Iterator[tuple[str, Data]]:
        """What one of the threads puts; the model is the first one's."""
        if number == 0:
            yield model
        while not self._failed.is_set() and (following := self._next()) is not None:
            index, segment = following
            if only_sound:
                self._snapshot.require_sound(segment)
            data = pieces(_stored(segment, index, self._snapshot.n_slots))
            entry = StreamsEntry(index=index, sha256=_sha256(data), rows=segment.rows, bytes=sum(map(len, data)))
            self._entries[index] = entry
            yield self._name_of(entry.sha256), data

    def _next(self) -> tuple[int, Segment] | None:
        with self._lock:
            return next(self._segments, None)


def _sha256(data: Pieces) -> str:
    digest = hashlib.sha256()
    for piece in data:
        digest.update(piece)
    return digest.hexdigest()


def _stored(segment: Segment, index: int, n_slots: int) -> Arrays:
    """What is stored for a segment. Raises CheckpointError where it has not the rows that it should have."""
    if segment.rows != (rows := min(SEGMENT_SLOTS, n_slots - index * SEGMENT_SLOTS)):
        raise CheckpointError(f"segment {index} has {segment.rows} rows, {n_slots} slots need {rows}")
    return pack_segment(segment, index)
