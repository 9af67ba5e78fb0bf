"""From a block of records to the rows that the kernels read, and from what they say to predictions.

A record is one row. Before it comes one for each stream that leaves for it, with which all that waits of that stream is
said. Nothing here computes, and no row depends on how the log was cut into blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import LEAVE
from streamrnn.core.sequences.stepwise_arrays import StepRows, ToldSteps
from streamrnn.learner.axes import lookahead
from streamrnn.learner.predictions import Predictions, Told
from streamrnn.learner.rows import Placed, bring_classes, ends, looked_up, write_classes
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary

Array = npt.NDArray[Any]


class Rows:
    """The rows of some records, and room for what is said with them.

    Parameters
    ----------
    records
        The records; symbols and classes that come first are given their numbers.
    steps
        The steps of each slot's sequence before the first of them.

    Attributes
    ----------
    rows, told
        What the kernels read, and what they write to.
    """

    def __init__(
        self,
        records: Placed,
        spec: LearnerSpec,
        vocabularies: tuple[Vocabulary, ...],
        classes: Vocabulary | None,
        steps: Array,
    ) -> None:
        block, n = records.block, len(records.slot)
        if block.labels is not None and classes is not None:
            write_classes(block.labels, records.kind, bring_classes(spec), classes, block.y)
        symbols = looked_up(block.symbols, records.kind, vocabularies)
        before = np.array([each.row for each in records.leaving], np.int64)
        self._records, self._n = records, n
        # The record of each row; those of streams that leave stand before the record that they leave for.
        self._of = np.insert(np.arange(n), before, before)
        self._leaves = np.insert(np.zeros(n, np.bool_), before, True)
        self.rows = self._rows(symbols, block.end & ends(spec))
        slots = np.unique(self.rows.slot)
        room = int((self.rows.kind != LEAVE).sum()) + int(np.minimum(steps[slots], lookahead(spec)).sum())
        self.told = _room(room, spec)

    def _rows(self, symbols: Array, end: Array) -> StepRows:
        records, block, of = self._records, self._records.block, self._of
        rows = StepRows(
            slot=_array(records.slot[of], np.int64),
            fresh=_array(records.fresh[of], np.bool_),
            time_ms=_array(records.time_ms[of], np.int64),
            given_ms=_array(block.time_ms[of], np.int64),
            x=_array(block.x[of], np.float64),
            symbols=_array(symbols[of], np.int64),
            y=_array(block.y[of], np.float64),
            end=_array(end[of], np.bool_),
            kind=_array(records.kind[of], np.uint8),
            event=_array(block.event[of], np.uint64),
        )
        rows.slot[self._leaves] = [each.slot for each in records.leaving]
        rows.kind[self._leaves], rows.fresh[self._leaves] = LEAVE, False
        return rows

    def predictions(self) -> Predictions:
        """What was said with them, once they went through."""
        told = self.told
        m = int(told.n[0])
        names = ("updates", "loss", "error", "grad_norm", "rivals", "width", "rank")
        return Predictions(
            value=told.prediction[:m],
            **{name: getattr(told, name)[:m] for name in names},
            delay=np.full(m, np.nan),
            told=self._told(m),
        )

    def _told(self, m: int) -> Told:
        told, records = self.told, self._records
        rows = told.row[:m]
        of, leaves = self._of[rows], self._leaves[rows]
        key_at = dict(zip(np.flatnonzero(self._leaves).tolist(), (each.key for each in records.leaving), strict=True))
        keys = [
            key_at[row] if gone else records.block.keys[record]
            for row, record, gone in zip(rows.tolist(), of.tolist(), leaves.tolist(), strict=True)
        ]
        return Told(of, keys, told.event[:m], told.time_ms[:m], told.y[:m], self._n)


def _room(m: int, spec: LearnerSpec) -> ToldSteps:
    """Room for so many predictions."""
    return ToldSteps(
        n=np.zeros(1, np.int64),
        row=np.zeros(m, np.int64),
        slot=np.zeros(m, np.int64),
        event=np.zeros(m, np.uint64),
        time_ms=np.zeros(m, np.int64),
        y=np.empty((m, spec.n_targets)),
        prediction=np.empty((m, spec.n_outputs)),
        updates=np.zeros(m, np.int64),
        loss=np.empty(m),
        error=np.empty(m),
        grad_norm=np.empty(m),
        rivals=np.empty((m, 2)),
        width=np.empty(m),
        rank=np.empty((m, 2)),
    )


def _array(values: Array, dtype: npt.DTypeLike) -> Array:
    return np.require(values, dtype, ["C", "W"])
