"""What a learner says about the records of a block, and what the block let it score."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class TextScores:
    """The units of n records that are texts.

    Attributes
    ----------
    bounds : int64 [n + 1]
        Record i has the units from ``bounds[i]`` to ``bounds[i + 1]``, the end of the text among them where it is a
        symbol; a record that is no event has none.
    loss : float64 [units]
        Surprise of each, in nats; NaN = it was not scored.
    number : int64 [units]
        Which symbol it is, -1 = one that is not in a closed set.
    """

    bounds: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    number: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[TextScores]) -> TextScores:
        """The same of consecutive blocks."""
        lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.bounds) for part in parts)])
        loss, number = ([getattr(part, name) for part in parts] for name in ("loss", "number"))
        return cls(np.cumsum(lengths), np.concatenate(loss), np.concatenate(number))


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScores:
    """What is said of n records that are whole sequences, beyond one label, and how wrong it was.

    Attributes
    ----------
    bounds : int64 [n + 1]
        Of record i the elements from ``bounds[i]`` to ``bounds[i + 1]`` are said: a class for each step, the symbols of
        a transcript or another sequence, or numbers. Of one label there are none.
    number : int64 [elements]
        The class or symbol; 0 where numbers are said.
    value : float64 [elements]
        Its probability, or the number.
    wrong, length : float64 [n]
        How much of it was wrong (steps, edits, or the sum of absolute errors), of how many known steps, true symbols or
        numbers; NaN = not scored.
    reason : uint8 [n]
        Why nothing was learned (``core.sequences.reasons``).
    complete : bool [n]
        Whether the sequence ends with this record.
    """

    bounds: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.float64]
    length: npt.NDArray[np.float64]
    reason: npt.NDArray[np.uint8]
    complete: npt.NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[SequenceScores]) -> SequenceScores:
        """The same of consecutive blocks."""
        lengths = np.concatenate([np.zeros(1, np.int64), *(np.diff(part.bounds) for part in parts)])
        rest = [name for name in cls.__slots__ if name != "bounds"]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in rest}
        return cls(bounds=np.cumsum(lengths), **joined)

    def digest(self, value: npt.NDArray[np.float64], before: int) -> int:
        """CRC-32 over what is said, record by record; ``value`` are the predictions [n, n_published]."""
        for i, (start, end) in enumerate(itertools.pairwise(self.bounds.tolist())):
            for said in (value[i], self.number[start:end], self.value[start:end]):
                before = zlib.crc32(said.data, before)
        return before


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Where predictions wait for what comes behind their events: of which events the m that a block led to are.

    They stand in the order in which they were made, which is not that of the events across streams.

    Attributes
    ----------
    row : int64 [m]
        The record of the block with which it came out.
    keys
        The event's stream, which may be another than that record's: one that left for it.
    event : uint64 [m]
        The event, as ``Block.event`` named it.
    time_ms : int64 [m]
        Its time, as ``Block.time_ms`` gave it.
    y : float64 [m, n_targets]
        The event's own target, NaN = unknown; a class is its number.
    n_records
        How many records the block has.
    """

    row: npt.NDArray[np.int64]
    keys: list[bytes]
    event: npt.NDArray[np.uint64]
    time_ms: npt.NDArray[np.int64]
    y: npt.NDArray[np.float64]
    n_records: int

    @classmethod
    def joined(cls, parts: Sequence[Told]) -> Told:
        """The same of consecutive blocks."""
        records = [part.n_records for part in parts]
        firsts = itertools.accumulate(records[:-1], initial=0)
        rest = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ("event", "time_ms", "y")}
        return cls(
            row=np.concatenate([part.row + first for part, first in zip(parts, firsts, strict=True)]),
            keys=[key for part in parts for key in part.keys],
            n_records=sum(records),
            **rest,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the learner says about a block of n records; where they wait for what comes behind, of what is ``told``.

    Attributes
    ----------
    value : float64 [n, n_outputs]
        Prediction in the target's unit (probabilities for classes); NaN for label records.
    updates : int64 [n]
        Optimiser steps the model had taken when it predicted the record.
    loss : float64 [n]
        Mean loss, in the model's scale, over what the record let us score; NaN = nothing.
    error : float64 [n]
        Mean absolute error of the same in the target's unit (classes: 0 right, 1 wrong).
    grad_norm : float64 [n]
        Gradient norm, before clipping, of the optimiser step the record led to; NaN = none.
    rivals : float64 [n, 2]
        Mean absolute errors of the naive rivals (``learner.skill``) on what ``error`` is of.
    width : float64 [n]
        Mean width of the outermost intervals that were scored, in the target's unit; NaN = none.
    rank : float64 [n, 2]
        Of a class or a text: how many of the n newest surprises of its stream, and of the partition, lie strictly
        below its own, as a share of n + 1, so among equals it ranks low; beyond all of them the closer to 1 the larger
        it is. NaN = not scored, or nothing to compare with.
    delay : float64 [n]
        Seconds of event time from an event to its label, which this record is; NaN = it is none, or of no event.
    texts
        Where records are texts, their units; else None. ``value`` is of the symbol that comes next then, ``updates``
        and ``grad_norm`` are the newest, and the others means over the text's units.
    sequences
        Where records are whole sequences, what is said of them; else None. ``value`` is of one label then, and has no
        columns where it is not one label that is predicted.
    told
        None: row i is of record i. Else there are as many rows as predictions were made, and this says of which events.
    """

    value: npt.NDArray[np.float64]
    updates: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    grad_norm: npt.NDArray[np.float64]
    rivals: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    rank: npt.NDArray[np.float64]
    delay: npt.NDArray[np.float64]
    texts: TextScores | None = None
    sequences: SequenceScores | None = None
    told: Told | None = None

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """What is said about consecutive blocks as what is said about all their records."""
        arrays = [name for name in cls.__slots__ if name not in ("texts", "sequences", "told")]
        texts = [part.texts for part in parts if part.texts is not None]
        sequences = [part.sequences for part in parts if part.sequences is not None]
        told = [part.told for part in parts if part.told is not None]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return cls(
            **joined,
            texts=TextScores.joined(texts) if texts else None,
            sequences=SequenceScores.joined(sequences) if sequences else None,
            told=Told.joined(told) if told else None,
        )

    def digest(self, before: int) -> int:
        """CRC-32 over the values, and the losses of texts, of all records so far; ``before`` is that of those before.

        Record by record, so that it does not tell how the log was cut.
        """
        if self.sequences is not None:
            return self.sequences.digest(self.value, before)
        if self.texts is None:
            return zlib.crc32(self.value.data, before)
        bounds, loss = self.texts.bounds.tolist(), self.texts.loss
        for i, (start, end) in enumerate(itertools.pairwise(bounds)):
            before = zlib.crc32(loss[start:end].data, zlib.crc32(self.value[i].data, before))
        return before
