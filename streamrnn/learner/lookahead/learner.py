"""LookaheadLearner: one partition's model of single steps that looks ahead; a pure function of specification, seed and
log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamrnn.core.kinds import CLOSE
from streamrnn.core.sequences.handle import SequenceHandle
from streamrnn.learner.block import Block
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lookahead.lowering import new_work_space, sequence_plan_of
from streamrnn.learner.lookahead.rows import Rows
from streamrnn.learner.lookahead.waiting import waiting
from streamrnn.learner.lowering import hyper_of, plan_of
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.rows import Placed, ends, require_fit
from streamrnn.learner.sequences.lowering import new_step_scratch
from streamrnn.learner.spec import LearnerSpec


class LookaheadLearner(Foundation):
    """A recurrent network that reads both ways, the way back over the next ``model.lookahead`` steps of the sequence.

    What it says of an event waits until so many more of the stream's sequence have come, or until the sequence ends;
    ``Predictions.told`` tells of which events it is. See ``Foundation`` for the parameters.

    Examples
    --------
    >>> from streamrnn import LearnerSpec, TargetSpec
    >>> from streamrnn.learner.model_spec import ModelSpec
    >>> from streamrnn.learner.spec import InputSpec
    >>> spec = LearnerSpec(
    ...     n_features=1, target=TargetSpec(fields=("y",)), has_end=True, inputs=InputSpec(previous_target=False),
    ...     model=ModelSpec(direction="both", lookahead=2),
    ... )
    >>> learner = LookaheadLearner(spec, seed=1)
    >>> block = Block.events(
    ...     [b"a"] * 4, x=[[1.0], [2.0], [3.0], [4.0]], y=[[1.0], [2.0], [3.0], [4.0]], event=[1, 2, 3, 4],
    ...     end=[False, False, False, True],
    ... )
    >>> told = learner.process(block).told
    >>> told.event.tolist(), told.row.tolist()
    ([1, 2, 3, 4], [2, 3, 3, 3])
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        super().__init__(spec, seed)
        scratch = new_step_scratch(spec, self._model.theta)
        work, network = new_work_space(spec, self._model, scratch)
        self._handle = SequenceHandle(
            plan_of(spec), hyper_of(spec), sequence_plan_of(spec), self._model, self._per_stream, scratch, work,
            network, network,
        )  # fmt: skip

    @property
    def n_waiting(self) -> int:
        """How many events wait, of all streams."""
        return int(waiting({"steps": self._per_stream.steps[: self.streams.n_slots]}, self.spec).sum())

    def _require_fit(self, block: Block) -> None:
        require_fit(block, self.spec, self.classes)

    def _predictions(self, records: Placed) -> Predictions:
        rows = Rows(records, self.spec, self.vocabularies, self.classes, self._per_stream.steps)
        self._handle.process(rows.rows, rows.told)
        return rows.predictions()

    def predict(self, block: Block) -> Predictions:
        """As of any learner: row i is what would be said of record i if it were the last of its sequence."""
        return replace(super().predict(block), told=None)

    def close(self, key: bytes) -> Predictions:
        """End the stream's sequence: what waits of it is said, scored and learned; the state goes back to zero.

        The stream does not count as seen by that; of one that is not there nothing is said. Raises ValueError unless
        the specification ``has_end``: only then is the state kept that a last window of any length starts from.
        """
        if not ends(self.spec):
            raise ValueError("a sequence can be closed where has_end says so: its last window may start at any step")
        spec, slot = self.spec, self.streams.find(key)
        block = Block(
            [key], np.zeros(1, np.int64), np.full((1, spec.n_features), np.nan), np.full((1, spec.n_targets), np.nan),
            np.zeros(1, np.bool_), np.full(1, CLOSE, np.uint8), np.zeros(1, np.uint64),
            symbols=tuple([None] for _ in spec.symbols),
        )  # fmt: skip
        self.streams.touch(slot)
        self._rows_change(np.array([slot]))
        slots, fresh = np.full(1, slot, np.int64), np.zeros(1, np.bool_)
        return self._predictions(Placed(block, slots, fresh, block.time_ms, block.kind))
