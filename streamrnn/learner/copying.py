"""A copy of what a learner keeps of its streams, as it is at one moment, made bit by bit while the learner goes on.

To copy all of a million streams at once takes seconds, in which nothing is predicted. So a copy begins with nothing,
and segments of slots are copied one after the other between two batches. What a batch is about to change and has not
been copied yet, is put aside first, row by row (copy on write); once its segment's turn comes it takes the place of
what stands there by then. Invariant: a segment that was copied, and the rows that were put aside, are as they were when
the copy began; all else has not changed since.

Rows of the kernels' arrays and what the index knows of a slot change at different moments, so they are put aside apart.
``Foundation`` and ``StreamIndex`` say before they change either. Slots given out since the copy began are none of it.

Room for what is put aside is asked for at the start for all rows, and costs memory only as far as it is used. Where it
is refused, no copy begins; later, in the middle of a batch, nothing could be done about it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.streams import SEEN_COLUMNS, SEGMENT_SLOTS, StreamIndex

Array = npt.NDArray[Any]


class CopiedRows(NamedTuple):
    """A segment of slots: its number, its rows of each array of ``state.STREAMS``, and its keys."""

    number: int
    arrays: dict[str, Array]
    keys: list[bytes | None]


class StreamsCopy:
    """The segments ``numbers`` of ``arrays`` (live, a row for each slot) and ``index``, as they are now.

    Attributes
    ----------
    n_slots
        How many slots there are in all.
    left
        Segments that have not been copied.

    Raises MemoryError, and changes nothing, where there is no room for what may have to be put aside.
    """

    def __init__(self, arrays: Mapping[str, Array], index: StreamIndex, numbers: Collection[int]) -> None:
        self.n_slots = index.n_slots
        self.left = sorted(numbers)
        self._arrays, self._index = arrays, index
        self._open = np.zeros(1 + self.n_slots // SEGMENT_SLOTS, np.bool_)
        self._open[self.left] = True
        rows = self.n_slots if self.left else 0
        self._aside = {name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in arrays.items()}
        self._place = np.zeros(rows, np.int64)  # of a slot's row in there, from 1; 0 = not put aside
        self._n_aside = 0
        self._keys_aside: list[bytes | None] = []
        self._seen_aside = np.empty((rows, SEEN_COLUMNS), np.int64)
        self._index_place = np.zeros(rows, np.int64)  # of what the index knew of a slot in these two, from 1
        if self.left:
            index.before_change = self.before_index_changes

    def before_rows_change(self, slots: npt.NDArray[np.int64]) -> None:
        """Put the rows of these slots aside, as far as that is needed."""
        slots = self._not_aside(slots, self._place)
        if not len(slots):
            return
        first, end = self._n_aside, self._n_aside + len(slots)
        for name, array in self._arrays.items():
            np.take(array, slots, axis=0, out=self._aside[name][first:end], mode="clip")  # which needs no buffer
        self._place[slots] = np.arange(first + 1, end + 1)
        self._n_aside = end

    def before_index_changes(self, slots: Sequence[int]) -> None:
        """The same for what the index knows of them."""
        if len(slots) == 1:  # as it is where records go one by one
            slot = slots[0]
            if slot >= self.n_slots or self._index_place[slot] or not self._open[slot // SEGMENT_SLOTS]:
                return
        new = self._not_aside(np.array(slots, np.int64), self._index_place)
        keys, seen = self._index.rows(new.tolist())
        first, end = len(self._keys_aside), len(self._keys_aside) + len(new)
        self._keys_aside += keys
        self._seen_aside[first:end] = seen
        self._index_place[new] = np.arange(first + 1, end + 1)

    def _not_aside(self, slots: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those of the slots that are part of the copy, were not copied and have no ``place`` yet, once each."""
        slots = np.unique(slots)
        slots = slots[: np.searchsorted(slots, self.n_slots)]
        slots = slots[self._open[slots // SEGMENT_SLOTS]]
        new: npt.NDArray[np.int64] = slots[place[slots] == 0]
        return new

    def room(self) -> dict[str, Array]:
        """New arrays for a segment."""
        rows = min(SEGMENT_SLOTS, self.n_slots)
        return {name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in self._arrays.items()}

    def copy_next(self, room: Mapping[str, Array]) -> CopiedRows:
        """Copy the next segment of ``left`` into ``room``, of which the arrays returned are parts."""
        number = self.left[0]
        first, end = number * SEGMENT_SLOTS, min((number + 1) * SEGMENT_SLOTS, self.n_slots)
        places = self._place[first:end]
        changed = np.flatnonzero(places)
        aside = places[changed] - 1
        arrays = {}
        for name, array in self._arrays.items():
            arrays[name] = room[name][: end - first]
            arrays[name][...] = array[first:end]
            if len(changed):
                arrays[name][changed] = self._aside[name][aside]
        keys, arrays["seen"] = self._index.rows(range(first, end))
        places = self._index_place[first:end]
        changed = np.flatnonzero(places)
        aside = places[changed] - 1
        arrays["seen"][changed] = self._seen_aside[aside]
        for row, place in zip(changed.tolist(), aside.tolist(), strict=True):
            keys[row] = self._keys_aside[place]
        self._open[number] = False
        del self.left[0]
        if not self.left:
            self.end()
        return CopiedRows(number, arrays, keys)

    def end(self) -> None:
        """Nothing more is copied: whatever is put aside is let go of."""
        self.left = []
        self._aside, self._keys_aside, self._seen_aside = {}, [], self._seen_aside[:0].copy()
        self._open[:] = False
        self._index.before_change = None
