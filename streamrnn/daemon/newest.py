"""The newest prediction of every stream, kept beside the learner for whoever asks for one by its key.

A learner remembers only predictions that it has yet to score. Here are all, by the slot of their stream, as the
output records have them (of thousands of classes the most probable ones): three arrays, into which a batch goes at
once. A slot's new stream begins with an event, which takes the place of what was said of
the stream before; so what is here of a stream that is remembered is its own. It is no part of the learner's state:
after a restart there is nothing of a stream before its next record, but what is replayed.

Where events wait for those behind them a slot's new stream begins with nothing that is said of it; so what was said is
forgotten when its stream leaves, and it is kept beside it whose it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.job.codec.told import offsets_of
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.predictions import SequenceScores, Told
from streamrnn.learner.streams import StreamIndex

SEQUENCES = 1_000
"""Streams of which what was said of their newest sequence is kept: it may be thousands of elements of each."""
_FIRST_SLOTS = 256
_NOTHING = -1


class Said(NamedTuple):
    """A prediction, the time of its record, and the model's updates before it, where known; of a whole sequence the
    numbers and values of what is said, unless that is one label; where events wait, the offset of the one it is of."""

    time_ms: int
    updates: int | None
    value: list[float]
    sequence: tuple[list[int], list[float]] | None = None
    offset: int | None = None


class NewestPredictions:
    """By slot, for streams of which there was an event since this began.

    ``so_far``: whether something is said of a sequence in chunks before its end.
    """

    def __init__(self, width: int, *, so_far: bool = True) -> None:
        self._so_far = so_far
        self._value = np.empty((0, width))
        self._time_ms = np.empty(0, np.int64)
        self._updates = np.empty(0, np.int64)
        self._whose: list[tuple[bytes, int] | None] = []  # key and offset, of events that waited
        self._sequences: OrderedDict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = OrderedDict()

    def note(
        self,
        slots: npt.NDArray[np.int64],
        block: Block,
        value: npt.NDArray[np.float64],
        updates: npt.NDArray[np.int64],
        sequences: SequenceScores | None = None,
        silent: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """What was predicted of the records of a block, whose streams have these slots: ``value`` [n, width], after so
        many ``updates`` of the model. ``sequences``: what is said of whole ones. A ``silent`` row takes back what was
        said of its stream, whose slot it may have taken over from another."""
        if silent is not None:
            updates = np.where(silent, _NOTHING, updates)
        time_ms = block.time_ms
        events = block.kind == EVENT  # labels are not predicted, and may be of streams that are not there
        if sequences is not None and not self._value.shape[1]:
            says = sequences.complete | self._so_far
            self._note_sequences(slots, events, says if silent is None else says & ~silent, sequences)
        if not events.all():
            slots, value, time_ms, updates = slots[events], value[events], time_ms[events], updates[events]
        if not len(slots):
            return
        self._make_room(int(slots.max()) + 1)
        # Of several records of one stream the last one stays.
        self._value[slots], self._time_ms[slots], self._updates[slots] = value, time_ms, updates

    def note_told(
        self,
        streams: StreamIndex,
        block: Block,
        told: Told,
        value: npt.NDArray[np.float64],
        updates: npt.NDArray[np.int64],
    ) -> None:
        """The same of events that have waited, ``value`` [m, width]; nothing of streams that are gone by now, nor of
        what was said when they left of those that have come back since."""
        newest = dict(zip(told.keys, range(len(told.keys)), strict=True))
        before = streams.records - len(block)
        for number, slot, key in streams.newest_leaving:
            if slot < len(self._updates):
                self._updates[slot] = _NOTHING
            record = number - 1 - before
            # Of what comes out with the record for which it left, only that record itself may be of what it began then.
            row = newest.get(key)
            if row is not None and told.row[row] <= record and told.event[row] != block.event[record]:
                del newest[key]
        there = [(row, slot, key) for key, row in newest.items() if (slot := streams.find(key)) != streams.blank]
        if not there:
            return
        rows, slots = np.array([(row, slot) for row, slot, _ in there]).T
        self._make_room(int(slots.max()) + 1)
        self._value[slots], self._time_ms[slots], self._updates[slots] = value[rows], told.time_ms[rows], updates[rows]
        self._whose += [None] * (len(self._updates) - len(self._whose))
        for (_, slot, key), offset in zip(there, offsets_of(told.event[rows]).tolist(), strict=True):
            self._whose[slot] = key, offset

    def of(self, slot: int, key: bytes | None = None) -> Said | None:
        """The newest prediction of the stream in this slot, whose ``key`` counts where events wait."""
        if slot >= len(self._updates) or self._updates[slot] == _NOTHING:
            return None
        found, offset = self._sequences.get(slot), None
        if self._whose:
            if (whose := self._whose[slot]) is None or whose[0] != key:
                return None
            offset = whose[1]
        sequence = None if found is None else (found[0].tolist(), found[1].tolist())
        return Said(int(self._time_ms[slot]), int(self._updates[slot]), self._value[slot].tolist(), sequence, offset)

    def _note_sequences(
        self,
        slots: npt.NDArray[np.int64],
        events: npt.NDArray[np.bool_],
        says: npt.NDArray[np.bool_],
        sequences: SequenceScores,
    ) -> None:
        bounds = sequences.bounds
        for i in np.flatnonzero(events).tolist():
            slot, said = int(slots[i]), slice(bounds[i], bounds[i + 1])
            if not says[i]:
                self._sequences.pop(slot, None)
                continue
            self._sequences[slot] = sequences.number[said].copy(), sequences.value[said].copy()
            self._sequences.move_to_end(slot)
        while len(self._sequences) > SEQUENCES:
            self._sequences.popitem(last=False)

    def _make_room(self, n_slots: int) -> None:
        had = len(self._updates)
        if n_slots <= had:
            return
        n = max(_FIRST_SLOTS, 2 * had, n_slots)
        self._value = np.concatenate([self._value, np.zeros((n - had, self._value.shape[1]))])
        self._time_ms = np.concatenate([self._time_ms, np.zeros(n - had, np.int64)])
        self._updates = np.concatenate([self._updates, np.full(n - had, _NOTHING, np.int64)])
