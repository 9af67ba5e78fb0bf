"""From a block of sequences to the rows that the kernels read, and back to one line for each record.

Nothing here computes, and no row depends on how the log was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from streamrnn.core.sequences.arrays import SequenceRecords
from streamrnn.learner.block import EVENT, PREDICT, Answers, Block, Frames
from streamrnn.learner.predictions import Predictions, SequenceScores
from streamrnn.learner.rows import (
    Placed,
    bring_classes,
    looked_up,
    require_classes,
    require_symbols_of,
    write_classes,
)
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary

MOST_SAID = 1 << 20
"""Elements that there is room for in one call: as many records go through the kernels at once."""

Whole = npt.NDArray[np.int64]


class Rows:
    """Makes the kernels' rows of a learner's records, and predictions of what comes out.

    ``vocabularies`` and ``classes`` give symbols that come first their numbers.
    """

    def __init__(self, spec: LearnerSpec, vocabularies: tuple[Vocabulary, ...], classes: Vocabulary | None) -> None:
        assert spec.sequence is not None
        self._spec, self._sequence = spec, spec.sequence
        self._vocabularies, self._classes = vocabularies, classes

    def pieces(self, records: Placed) -> Iterator[Placed]:
        """The records in pieces, for each of which there is room to say all of it."""
        start, room = 0, 0
        for i, most in enumerate(self._most_said(records).tolist()):
            if room + most > MOST_SAID and i > start:
                yield records.rows(slice(start, i))
                start, room = i, 0
            room += most
        yield records.rows(slice(start, len(records.slot)))

    def _most_said(self, records: Placed) -> Whole:
        """How many elements are said of each record at most."""
        target, n = self._spec.target, len(records.slot)
        if target.kind == "label":
            return np.zeros(n, np.int64)
        if target.kind != "labels":
            return np.full(n, target.furthest if target.says_numbers else target.max_symbols, np.int64)
        frames = np.diff(_frames_of(records.block).bounds)
        if self._sequence.chunks:
            return np.where(records.block.end, self._sequence.max_steps, np.minimum(frames, self._sequence.max_steps))
        return np.minimum(frames, self._sequence.max_steps)

    def records(self, records: Placed) -> SequenceRecords:
        """The rows of the records, and room for what comes out."""
        block, n, spec = records.block, len(records.slot), self._spec
        frames, answers = _frames_of(block), self._answers(records)
        if block.labels is not None and self._classes is not None:
            labels = [label if told else None for label, told in zip(block.labels, self._tell(records), strict=True)]
            write_classes(labels, records.kind, bring_classes(spec), self._classes, block.y)
        first_said = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._most_said(records))])
        of_frames = np.repeat(records.kind, np.diff(frames.bounds))
        return SequenceRecords(
            slot=_array(records.slot, np.int64),
            fresh=_array(records.fresh, np.bool_),
            time_ms=_array(records.time_ms, np.int64),
            kind=_array(records.kind, np.uint8),
            end=_array(block.end, np.bool_) if self._sequence.chunks else np.ones(n, np.bool_),
            first=_array(frames.bounds, np.int64),
            x=_array(frames.x, np.float64),
            symbols=looked_up(frames.symbols, of_frames, self._vocabularies),
            y=_array(block.y, np.float64),
            known=_array(answers.known, np.bool_),
            first_answer=_array(answers.bounds, np.int64),
            answer=_array(answers.value, np.float64),
            out=np.arange(n),
            prediction=np.full((n, spec.n_published), np.nan),
            first_said=first_said[:-1].copy(),
            said=np.zeros(first_said[-1], np.int64),
            said_value=np.full(first_said[-1], np.nan),
            n_said=np.zeros(n, np.int64),
            updates=np.zeros(n, np.int64),
            loss=np.full(n, np.nan),
            error=np.full(n, np.nan),
            grad_norm=np.full(n, np.nan),
            rivals=np.full((n, 2), np.nan),
            width=np.full(n, np.nan),
            rank=np.full((n, 2), np.nan),
            wrong=np.full(n, np.nan),
            length=np.full(n, np.nan),
            reason=np.zeros(n, np.uint8),
        )

    def _answers(self, records: Placed) -> Answers:
        """What the records turn out to be, in numbers."""
        answers = records.block.answers
        if answers is None:
            n = len(records.slot)
            return Answers(np.zeros(n + 1, np.int64), np.zeros(0), np.zeros(n, np.bool_))
        if answers.labels is None or self._classes is None:
            return answers
        known = answers.known & self._tell(records) & (records.kind == EVENT)
        value = np.full(len(answers.labels), np.nan)
        for i in np.flatnonzero(known).tolist():
            start, end = answers.bounds[i : i + 2].tolist()
            if self._spec.target.kind == "labels":
                end = min(end, start + self._sequence.max_steps)  # no step is behind them
            elif None in answers.labels[start:end]:
                known[i] = False
                continue
            for at in range(start, end):
                if (label := answers.labels[at]) is not None:
                    value[at] = self._classes.assign(label)
        answers.value[:] = value  # as ``y`` is written, for whoever scores
        return Answers(answers.bounds, value, known)

    def _tell(self, records: Placed) -> npt.NDArray[np.bool_]:
        """Of which records the answer is looked at: of chunks the last one's alone.

        Classes of an open set are given their numbers then, and are in use from then on.
        """
        return records.block.end if self._sequence.chunks else np.ones(len(records.slot), np.bool_)

    def predictions(self, rows: SequenceRecords) -> Predictions:
        """What came out."""
        count = rows.n_said
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
        # Of each element said: where it stands in the room for all that could have been said.
        at = np.arange(bounds[-1]) + np.repeat(rows.first_said - bounds[:-1], count)
        return Predictions(
            value=rows.prediction,
            updates=rows.updates,
            loss=rows.loss,
            error=rows.error,
            grad_norm=rows.grad_norm,
            rivals=rows.rivals,
            width=rows.width,
            rank=rows.rank,
            delay=np.full(len(count), np.nan),
            sequences=SequenceScores(
                bounds=bounds,
                number=rows.said[at],
                value=rows.said_value[at],
                wrong=rows.wrong,
                length=rows.length,
                reason=rows.reason,
                complete=rows.end & np.isin(rows.kind, (EVENT, PREDICT)),
            ),
        )


def _frames_of(block: Block) -> Frames:
    assert block.frames is not None
    return block.frames


def _array(values: npt.ArrayLike, dtype: type) -> npt.NDArray[np.generic]:
    """As the kernels read it: C-contiguous, writable, and of their type; copied only where it is not."""
    return np.require(values, dtype, ["C", "W"])


def require_sequences(block: Block, spec: LearnerSpec, classes: Vocabulary | None) -> None:
    """Refuse what would make a kernel read or write outside its arrays; codecs never give such blocks."""
    n, frames, answers = len(block), block.frames, block.answers
    for name in ("time_ms", "end", "kind", "event"):
        if (shape := np.shape(getattr(block, name))) != (n,):
            raise ValueError(f"block.{name} has shape {shape}, expected {(n,)}: one row for each of the {n} keys")
    if frames is None:
        raise ValueError("block.frames: needed by a learner of whole sequences")
    if np.shape(block.y) != (n, spec.n_targets):
        raise ValueError(f"block.y has shape {np.shape(block.y)}, expected {(n, spec.n_targets)}")
    _require_bounds("block.frames", frames.bounds, n, len(frames.x))
    if np.shape(frames.x) != (len(frames.x), spec.n_features):
        raise ValueError(f"block.frames.x has shape {np.shape(frames.x)}, expected (frames, {spec.n_features})")
    require_symbols_of("block.frames.symbols", frames.symbols, spec, len(frames.x))
    whole = spec.target.kind == "label"
    if whole != (answers is None):
        raise ValueError(f"block.answers: {'none' if whole else 'needed'} where target.kind is {spec.target.kind}")
    opened = (block.labels if answers is None else answers.labels) is not None
    if opened != spec.target.is_open:
        raise ValueError("labels are the texts of classes of an open set; others are numbers")
    if answers is not None:
        _require_bounds("block.answers", answers.bounds, n, len(answers.value))
        if np.shape(answers.known) != (n,) or (answers.labels or answers.value).__len__() != len(answers.value):
            raise ValueError("block.answers: known needs one entry for each record, labels one for each element")
    if not opened:
        require_classes(block.y if answers is None else answers.value, classes)


def _require_bounds(name: str, bounds: Whole, n: int, size: int) -> None:
    if np.shape(bounds) != (n + 1,) or bounds[0] != 0 or bounds[-1] != size or (np.diff(bounds) < 0).any():
        raise ValueError(f"{name}.bounds must rise from 0 to {size} in {n + 1} numbers")
