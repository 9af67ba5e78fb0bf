"""A copy of what a learner keeps of its streams, as it is at one moment, made bit by bit while the learner goes on.

To copy all of a million streams at once takes seconds, in which nothing is predicted. So a copy begins with nothing,
and segments of slots are copied one after the other between two batches. What a batch is about to change and has not
been copied yet, is put aside first, row by row (copy on write); once its segment's turn comes it takes the place of
what stands there by then. Invariant: a segment that was copied, and the rows that were put aside, are as they were when
the copy began; all else has not changed since.

Rows of the kernels' arrays and what the index knows of a slot change at different moments, so they are put aside apart.
``Foundation`` and ``StreamIndex`` say before they change either. Slots given out since the copy began are none of it.

Room for what is put aside is asked for at once for all rows, and costs memory only as far as it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.streams import SEGMENT_SLOTS, StreamIndex

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
    """

    def __init__(self, arrays: Mapping[str, Array], index: StreamIndex, numbers: Collection[int]) -> None:
        self.n_slots = index.n_slots
        self.left = sorted(numbers)
        self._arrays, self._index = arrays, index
        self._open = np.zeros(1 + self.n_slots // SEGMENT_SLOTS, np.bool_)
        self._open[self.left] = True
        self._aside: dict[str, Array] = {}
        self._place = np.zeros(self.n_slots, np.int64)  # of a slot's row in there, from 1; 0 = not put aside
        self._n_aside = 0
        self._index_rows: dict[int, dict[int, tuple[bytes | None, Array]]] = {number: {} for number in self.left}
        if self.left:
            index.before_change = self.before_index_changes

    def before_rows_change(self, slots: npt.NDArray[np.int64]) -> None:
        """Put the rows of these slots aside, as far as that is needed."""
        slots = np.unique(slots)
        slots = slots[: np.searchsorted(slots, self.n_slots)]
        slots = slots[self._open[slots // SEGMENT_SLOTS]]
        slots = slots[self._place[slots] == 0]
        if not len(slots):
            return
        if not self._aside:
            self._aside = {name: np.empty((self.n_slots, *a.shape[1:]), a.dtype) for name, a in self._arrays.items()}
        first, end = self._n_aside, self._n_aside + len(slots)
        for name, array in self._arrays.items():
            np.take(array, slots, axis=0, out=self._aside[name][first:end], mode="clip")  # which needs no buffer
        self._place[slots] = np.arange(first + 1, end + 1)
        self._n_aside = end

    def before_index_changes(self, slots: Sequence[int]) -> None:
        """The same for what the index knows of them."""
        n, asides = self.n_slots, self._index_rows
        new = [s for s in slots if s < n and (aside := asides.get(s // SEGMENT_SLOTS)) is not None and s not in aside]
        for slot, key, seen in zip(new, *self._index.rows(new), strict=True):
            asides[slot // SEGMENT_SLOTS][slot] = key, seen

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
        for slot, (key, seen) in self._index_rows.pop(number).items():
            keys[slot - first] = key
            arrays["seen"][slot - first] = seen
        self._open[number] = False
        del self.left[0]
        if not self.left:
            self.end()
        return CopiedRows(number, arrays, keys)

    def end(self) -> None:
        """Nothing more is copied: whatever is put aside is let go of."""
        self.left = []
        self._aside, self._index_rows = {}, {}
        self._open[:] = False
        self._index.before_change = None
