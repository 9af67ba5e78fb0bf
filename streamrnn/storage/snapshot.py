"""A learner's state on its way to a checkpoint and back: cut into segments of slots, whole or only what was touched."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from streamrnn.errors import CheckpointError
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState, no_streams
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.learner.validity import require_sound_model, require_sound_streams
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.segments import Segment
from streamrnn.storage.tensors import Array, Arrays


@dataclass(frozen=True)
class Snapshot:
    """A learner at one moment: the model, and the segments touched since the snapshot before (or all).

    ``segments`` may be there already, or come one by one while the snapshot is written (``arriving``): whoever writes
    it asks for one after the other, and has done with each before the next.
    """

    spec: LearnerSpec
    model: Arrays
    segments: Mapping[int, Segment]
    n_slots: int

    @property
    def complete(self) -> bool:
        """Whether it holds every segment, so that no earlier checkpoint is needed to write it."""
        return len(self.segments) == n_segments(self.n_slots)

    def require_sound(self, segment: Segment | None = None) -> None:
        """Raise CheckpointError where a checkpoint with this segment (None: the model) would be refused when read.

        That takes a pass over all that it holds, so it is for the thread that writes.
        """
        try:
            if segment is None:
                require_sound_model(self.spec, self.model)
            else:
                require_sound_streams(self.spec, self.model, segment.arrays, segment.keys)
        except ValueError as error:
            raise CheckpointError(
                f"it is not written, since it could not be read again, and those before stay: {error}"
            ) from error


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


def n_segments(n_slots: int) -> int:
    """How many segments ``n_slots`` slots occupy.

    >>> [n_segments(n) for n in (0, 1, 4096, 4097)]
    [0, 1, 1, 2]
    """
    return -(-n_slots // SEGMENT_SLOTS)


def take_snapshot(state: LearnerState, touched: Collection[int] | None = None) -> Snapshot:
    """A learner's state cut into segments, which are the state's own: nobody may change it until they are written.

    Of what is kept per stream there are only the segments numbered in ``touched`` (None: all). A segment counts as
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
        arrays = {name: array[rows] for name, array in state.streams.items()}
        segments[index] = Segment(arrays, tuple(state.keys[rows]))
    return Snapshot(state.spec, dict(state.model), segments, n_slots)


def copied_model(model: Mapping[str, Array]) -> Arrays:
    """All of a model, which changes with nearly every record, in the order in which tensors are stored."""
    return {name: np.array(array, order="C") for name, array in model.items()}
