"""A learner's state on its way to a checkpoint and back: cut into segments of slots, whole or only what was touched."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamrnn.errors import CheckpointError
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.segments import Segment
from streamrnn.storage.tensors import Array, Arrays


@dataclass(frozen=True)
class Snapshot:
    """A consistent copy of a learner: the model, and the segments touched since the snapshot before (or all)."""

    model: Arrays
    segments: dict[int, Segment]
    n_slots: int

    @property
    def complete(self) -> bool:
        """Whether it holds every segment, so that no earlier checkpoint is needed to write it."""
        return len(self.segments) == n_segments(self.n_slots)

    def over(self, earlier: Snapshot | None) -> Snapshot:
        """This snapshot, with the segments of an ``earlier`` one that was never written and that this one lacks."""
        if earlier is None:
            return self
        return Snapshot(self.model, {**earlier.segments, **self.segments}, self.n_slots)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory."""

    manifest: Manifest
    model: Arrays
    segments: tuple[Segment, ...]

    @property
    def keys(self) -> list[bytes | None]:
        """The key of each slot below ``n_slots``; None marks a free one."""
        return [key for segment in self.segments for key in segment.keys]

    def restore_streams(self, streams: Mapping[str, Array]) -> list[bytes | None]:
        """Copy the stream arrays into ``streams`` and return the key of each slot.

        Every array of ``streams`` has the slot as its leading dimension. Rows from ``n_slots`` on are left as they are.
        Raises CheckpointError, before anything is copied, when names, dtypes or shapes differ or the slots do not fit.
        """
        for index, segment in enumerate(self.segments):
            if segment.arrays.keys() != streams.keys():
                raise CheckpointError(
                    f"the checkpoint at {self.manifest.progress.position} holds stream arrays "
                    f"{sorted(segment.arrays)}, this build keeps {sorted(streams)}; replay from an older "
                    "checkpoint or start a new lineage"
                )
            for name, array in segment.arrays.items():
                want = streams[name]
                if array.dtype != want.dtype or array.shape[1:] != want.shape[1:]:
                    raise CheckpointError(
                        f"stream array {name!r} in segment {index} has rows of {array.dtype}{list(array.shape[1:])}, "
                        f"expected {want.dtype}{list(want.shape[1:])}; replay from an older checkpoint or start a new "
                        "lineage"
                    )
                if self.manifest.n_slots > len(want):
                    raise CheckpointError(
                        f"the checkpoint at {self.manifest.progress.position} has {self.manifest.n_slots} slots, "
                        f"stream array {name!r} has room for {len(want)}; raise streams.max_streams"
                    )
        for index, segment in enumerate(self.segments):
            start = index * self.manifest.slots_per_segment
            for name, array in segment.arrays.items():
                streams[name][start : start + segment.rows] = array
        return self.keys


def n_segments(n_slots: int) -> int:
    """How many segments ``n_slots`` slots occupy.

    >>> [n_segments(n) for n in (0, 1, 4096, 4097)]
    [0, 1, 1, 2]
    """
    return -(-n_slots // SEGMENT_SLOTS)


def take_snapshot(
    model: Mapping[str, Array],
    streams: Mapping[str, Array],
    keys: Sequence[bytes | None],
    n_slots: int,
    touched: Collection[int] | None = None,
) -> Snapshot:
    """Copy a learner's state, memory to memory, so that it may go on while the copy is written.

    ``streams`` have the slot as leading dimension; only rows below ``n_slots`` are copied, and of those only the
    segments numbered in ``touched`` (None: all). A segment counts as touched when any of its rows, keys or its number
    of rows changed since the previous snapshot.
    """
    last = n_segments(n_slots)
    chosen = range(last) if touched is None else sorted(touched)
    segments = {}
    for index in chosen:
        if not 0 <= index < last:
            raise CheckpointError(f"touched: segment {index} does not exist, {n_slots} slots make {last}")
        rows = slice(index * SEGMENT_SLOTS, min((index + 1) * SEGMENT_SLOTS, n_slots))
        segments[index] = Segment({name: array[rows].copy() for name, array in streams.items()}, tuple(keys[rows]))
    return Snapshot({name: np.array(array, order="C") for name, array in model.items()}, segments, n_slots)
