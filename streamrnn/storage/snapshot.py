"""A learner's state on its way to a checkpoint and back: cut into segments of slots, whole or only what was touched."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState, no_streams
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.learner.validity import require_sound_model, require_sound_streams
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.segments import Segment
from streamrnn.storage.tensors import Arrays


@dataclass(frozen=True)
class Snapshot:
    """A consistent copy of a learner: the model, and the segments touched since the snapshot before (or all)."""

    spec: LearnerSpec
    model: Arrays
    segments: dict[int, Segment]
    n_slots: int

    @property
    def complete(self) -> bool:
        """Whether it holds every segment, so that no earlier checkpoint is needed to write it."""
        return len(self.segments) == n_segments(self.n_slots)

    def require_sound(self) -> None:
        """Raise CheckpointError where a checkpoint of it would be refused when it is read.

        That takes a pass over all that it holds, so it is for the thread that writes.
        """
        try:
            require_sound_model(self.spec, self.model)
            for segment in self.segments.values():
                require_sound_streams(self.spec, self.model, segment.arrays, segment.keys)
        except ValueError as error:
            raise CheckpointError(
                f"it is not written, since it could not be read again, and those before stay: {error}"
            ) from error

    def over(self, earlier: Snapshot | None) -> Snapshot:
        """This snapshot, with the segments of an ``earlier`` one that was never written and that this one lacks."""
        if earlier is None:
            return self
        return Snapshot(self.spec, self.model, {**earlier.segments, **self.segments}, self.n_slots)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory: its manifest, and a learner's state but for the specification."""

    manifest: Manifest
    model: Arrays
    streams: Arrays  # one row for each of the ``n_slots``; none at all where there is no slot
    keys: list[bytes | None]

    def state(self) -> LearnerState:
        """What a learner goes on from. Whether it fits is for the learner to say."""
        spec = self.manifest.spec
        return LearnerState(spec, self.model, self.streams if self.keys else no_streams(spec), self.keys)


def join_segments(segments: Iterable[Segment], n_slots: int) -> tuple[Arrays, list[bytes | None]]:
    """The stream arrays and keys of consecutive segments, ``n_slots`` rows in all.

    Each segment is let go of before the next is asked for: of a large checkpoint there is one copy in memory, not two.
    Raises CorruptCheckpoint when one holds other arrays than the first.
    """
    streams: Arrays = {}
    keys: list[bytes | None] = []
    numbers = itertools.count()  # enumerate() would hold on to the segment before
    for segment in segments:
        index = next(numbers)
        if index == 0:
            streams = {name: np.empty((n_slots, *a.shape[1:]), a.dtype) for name, a in segment.arrays.items()}
        layout = {name: (a.dtype, a.shape[1:]) for name, a in segment.arrays.items()}
        if layout != {name: (a.dtype, a.shape[1:]) for name, a in streams.items()}:
            raise CorruptCheckpoint(f"segment {index} holds other arrays than segment 0")
        for name in layout:
            streams[name][len(keys) : len(keys) + segment.rows] = segment.arrays[name]
        keys += segment.keys
        del segment
    return streams, keys


def n_segments(n_slots: int) -> int:
    """How many segments ``n_slots`` slots occupy.

    >>> [n_segments(n) for n in (0, 1, 4096, 4097)]
    [0, 1, 1, 2]
    """
    return -(-n_slots // SEGMENT_SLOTS)


def take_snapshot(state: LearnerState, touched: Collection[int] | None = None) -> Snapshot:
    """Copy a learner's state, memory to memory, so that it may go on while the copy is written.

    Of what is kept per stream only the segments numbered in ``touched`` are copied (None: all). A segment counts as
    touched when any of its rows, keys or its number of rows changed since the previous snapshot.
    """
    n_slots = len(state.keys)
    last = n_segments(n_slots)
    chosen = range(last) if touched is None else sorted(touched)
    segments = {}
    for index in chosen:
        if not 0 <= index < last:
            raise CheckpointError(f"touched: segment {index} does not exist, {n_slots} slots make {last}")
        rows = slice(index * SEGMENT_SLOTS, min((index + 1) * SEGMENT_SLOTS, n_slots))
        arrays = {name: array[rows].copy() for name, array in state.streams.items()}
        segments[index] = Segment(arrays, tuple(state.keys[rows]))
    # The model changes with nearly every record, so all of it is copied, and into C order, which tensors are stored in.
    model = {name: np.array(array, order="C") for name, array in state.model.items()}
    return Snapshot(state.spec, model, segments, n_slots)
