"""A copy of what a learner keeps of its streams, as it is at one moment, made bit by bit while the learner goes on.

To copy all of a million streams at once takes seconds, in which nothing is predicted. So a copy begins with nothing,
and segments of slots are copied one after the other between two batches. What a batch is about to change and has not
been copied yet, is put aside first, row by row (copy on write); once its segment's turn comes it takes the place of
what stands there by then. Invariant: a segment that was copied, and the rows that were put aside, are as they were when
the copy began; all else has not changed since.

Rows of the kernels' arrays and what the index knows of a slot change at different moments, so they are put aside apart.
``Foundation`` and ``StreamIndex`` say before they change either. Slots given out since the copy began are none of it.

Room for what is put aside is asked for at the start for all rows, and costs memory only as far as it is used: a row
whose segment was copied makes room for another one, so that no more of it is used than there are rows aside at a time.
Where it is refused, no copy begins; later, in the middle of a batch, nothing could be done about it. It may be kept for
the next copy, of this learner or another (``Spare``), unless much of it was used or the copy was given up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.streams import SEEN_COLUMNS, SEGMENT_SLOTS, StreamIndex

Array = npt.NDArray[Any]

_AT_ONCE = 128
"""Rows that are put aside at a time: what lies in between stays in the processor's cache, where a batch's would not."""


ROOMS = 4
"""Most segments that are copied and not yet written: one is written, one is hashed, the loop copies some more."""
KEPT_SHARE = 0.25
"""Of rows that were put aside, the most after which their memory is kept: at full speed and with a disk that has other
work a fifth was measured. Where all were, as with a disk that hangs, it is as much as the learner itself has."""


class CopiedRows(NamedTuple):
    """A segment of slots: its number, its rows of each array of ``state.STREAMS``, and its keys."""

    number: int
    arrays: dict[str, Array]
    keys: list[bytes | None]


class Spare:
    """Memory of a copy that has ended, for the next one: of one copy, whoever shares this.

    Fresh memory is what costs most: each first touch of a page takes as long as copying some of it.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def take(self, arrays: Mapping[str, Array], slots: int) -> dict[str, Array]:
        """So many rows of each of ``arrays``, what was kept where it fits. Raises MemoryError."""
        kept, self.arrays = self.arrays, {}
        if kept.keys() == arrays.keys() and all(_holds(kept[name], array, slots) for name, array in arrays.items()):
            return kept
        del kept  # before there is more
        return {name: np.empty((slots, *array.shape[1:]), array.dtype) for name, array in arrays.items()}


def _holds(kept: Array, array: Array, slots: int) -> bool:
    return len(kept) >= slots and kept.shape[1:] == array.shape[1:] and kept.dtype == array.dtype


class Aside:
    """Rows that are put aside, at most one for each slot."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """None is put aside any more, and none can be."""
        self.arrays: dict[str, Array] = {}
        self._place = np.zeros(0, np.int32)  # of a slot's row in there, from 1; 0 = not put aside
        self._free = np.zeros(0, np.int32)  # places whose rows are of no use any more, the newest last
        self._n_free = self._n_used = 0

    def begin(self, arrays: Mapping[str, Array], slots: int, spare: Spare) -> None:
        """From here on rows of these ``arrays`` are put aside. Raises MemoryError where there is no room for all."""
        place, free = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
        self.arrays = spare.take(arrays, slots)
        self._place, self._free = place, free

    @property
    def used_share(self) -> float:
        """How much of its memory was in use at a time."""
        return self._n_used / max((len(array) for array in self.arrays.values()), default=1)

    def __contains__(self, slot: int) -> bool:
        return bool(self._place[slot])

    def lacking(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Those that are not put aside."""
        found: npt.NDArray[np.int64] = slots[self._place[slots] == 0]
        return found

    def places(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Where the rows of these slots go, none of which is put aside: first where memory is in use already."""
        again = min(self._n_free, len(slots))
        self._n_free -= again
        free = self._free[self._n_free : self._n_free + again]
        places = np.concatenate([free, np.arange(self._n_used, self._n_used + len(slots) - again, dtype=np.int32)])
        self._n_used += len(slots) - again
        self._place[slots] = places + 1
        return places

    def taken_back(self, first: int, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Of the slots from ``first`` on those that are put aside, less ``first``, and where; nobody asks again.

        What stands there is whole until other rows are put aside.
        """
        places = self._place[first:end]
        rows = np.flatnonzero(places)
        where = places[rows] - 1
        self._free[self._n_free : self._n_free + len(where)] = where
        self._n_free += len(where)
        return rows, where


class StreamsCopy:
    """The segments ``numbers`` of ``arrays`` (live, a row for each slot) and ``index``, as they are now.

    ``spare`` holds the memory of a copy before, and that of this one once all is copied; else it is let go of.

    Attributes
    ----------
    n_slots
        How many slots there are in all.
    left
        Segments that have not been copied.

    Raises MemoryError, and changes nothing, where there is no room for what may have to be put aside.
    """

    def __init__(
        self, arrays: Mapping[str, Array], index: StreamIndex, numbers: Collection[int], spare: Spare | None = None
    ) -> None:
        self.n_slots = index.n_slots
        self.left = sorted(numbers)
        self._arrays, self._index = arrays, index
        self._open = np.zeros(1 + self.n_slots // SEGMENT_SLOTS, np.bool_)
        self._open[self.left] = True
        rows = self.n_slots if self.left else 0
        self._spare = spare or Spare()
        self._aside, self._known_aside = Aside(), Aside()
        self._aside.begin(arrays, rows, self._spare if rows else Spare())
        # What the index knew of a slot: when it was seen, and its key.
        self._known_aside.begin({"seen": np.empty((0, SEEN_COLUMNS), np.int64)}, rows, Spare())
        self._keys_aside: list[bytes | None] = []
        if self.left:
            index.before_change = self.before_index_changes

    def before_rows_change(self, slots: npt.NDArray[np.int64]) -> None:
        """Put the rows of these slots aside, as far as that is needed."""
        slots = self._not_aside(slots, self._aside)
        if len(slots):
            places = self._aside.places(slots)
            for at in range(0, len(slots), _AT_ONCE):
                part = slice(at, at + _AT_ONCE)
                for name, array in self._arrays.items():
                    self._aside.arrays[name][places[part]] = array[slots[part]]

    def before_index_changes(self, slots: Sequence[int]) -> None:
        """The same for what the index knows of them."""
        if len(slots) == 1:  # as it is where records go one by one
            slot = slots[0]
            if slot >= self.n_slots or not self._open[slot // SEGMENT_SLOTS] or slot in self._known_aside:
                return
        new = self._not_aside(np.array(slots, np.int64), self._known_aside)
        keys, seen = self._index.rows(new.tolist())
        places = self._known_aside.places(new)
        self._known_aside.arrays["seen"][places] = seen
        for place, key in zip(places.tolist(), keys, strict=True):
            if place == len(self._keys_aside):
                self._keys_aside.append(key)
            else:
                self._keys_aside[place] = key

    def _not_aside(self, slots: npt.NDArray[np.int64], aside: Aside) -> npt.NDArray[np.int64]:
        """Those of the slots that are part of the copy, were not copied and are not ``aside`` yet, once each."""
        slots = np.unique(slots)
        slots = slots[: np.searchsorted(slots, self.n_slots)]
        return aside.lacking(slots[self._open[slots // SEGMENT_SLOTS]])

    def room(self) -> dict[str, Array]:
        """New arrays for a segment."""
        rows = min(SEGMENT_SLOTS, self.n_slots)
        return {name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in self._arrays.items()}

    def copy_next(self, room: Mapping[str, Array]) -> CopiedRows:
        """Copy the next segment of ``left`` into ``room``, of which the arrays returned are parts."""
        number = self.left[0]
        first, end = number * SEGMENT_SLOTS, min((number + 1) * SEGMENT_SLOTS, self.n_slots)
        rows, where = self._aside.taken_back(first, end)
        arrays = {}
        for name, array in self._arrays.items():
            arrays[name] = room[name][: end - first]
            arrays[name][...] = array[first:end]
            if len(rows):
                arrays[name][rows] = self._aside.arrays[name][where]
        keys, arrays["seen"] = self._index.rows(range(first, end))
        rows, where = self._known_aside.taken_back(first, end)
        arrays["seen"][rows] = self._known_aside.arrays["seen"][where]
        for row, place in zip(rows.tolist(), where.tolist(), strict=True):
            keys[row] = self._keys_aside[place]
        self._open[number] = False
        del self.left[0]
        if not self.left:
            if self._aside.used_share <= KEPT_SHARE:
                self._spare.arrays = self._aside.arrays
            self.end()
        return CopiedRows(number, arrays, keys)

    def end(self) -> None:
        """Nothing more is copied, and nothing more put aside."""
        self.left = []
        self._aside.clear()
        self._known_aside, self._keys_aside = Aside(), []
        self._open[:] = False
        self._index.before_change = None
