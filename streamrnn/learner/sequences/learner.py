"""SequenceLearner: one partition's model of whole sequences; a pure function of its specification, seed and log."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.sequences.arrays import SequenceRecords
from streamrnn.core.sequences.handle import SequenceHandle
from streamrnn.learner.block import Block
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lowering import hyper_of, plan_of
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.rows import Placed
from streamrnn.learner.sequences.lowering import new_networks, new_sequence_scratch, new_step_scratch, sequence_plan_of
from streamrnn.learner.sequences.rows import Rows, require_sequences
from streamrnn.learner.spec import LearnerSpec


class SequenceLearner(Foundation):
    """A recurrent network that predicts and learns sequence by sequence, by back-propagation through all of each.

    See ``Foundation`` for its parameters.

    Examples
    --------
    >>> from streamrnn import LearnerSpec, TargetSpec
    >>> from streamrnn.learner.block import Frames
    >>> from streamrnn.learner.sequence_spec import SequenceSpec
    >>> from streamrnn.learner.spec import InputSpec
    >>> spec = LearnerSpec(
    ...     n_features=1, target=TargetSpec(fields=("y",), kind="label"), sequence=SequenceSpec(),
    ...     inputs=InputSpec(dt=False, previous_target=False),
    ... )
    >>> learner = SequenceLearner(spec, seed=1)
    >>> frames = Frames(np.array([0, 3]), np.array([[1.0], [2.0], [3.0]]))
    >>> block = Block(
    ...     [b"a"], np.zeros(1, np.int64), np.zeros((1, 0)), np.array([[2.0]]), np.ones(1, np.bool_),
    ...     np.zeros(1, np.uint8), np.zeros(1, np.uint64), frames=frames,
    ... )
    >>> learner.process(block).value.shape, learner.counters()["frames"]
    ((1, 1), 3)
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        super().__init__(spec, seed)
        self._rows = Rows(spec, self.vocabularies, self.classes)
        scratch, work = new_step_scratch(spec, self._model.theta), new_sequence_scratch(spec)
        learned, predicting = new_networks(spec, self._model, scratch)
        self._work, self._newest = work, (0, 0)
        self._handle = SequenceHandle(
            plan_of(spec), hyper_of(spec), sequence_plan_of(spec), self._model, self._per_stream, scratch, work,
            learned, predicting,
        )  # fmt: skip

    def attention(self) -> npt.NDArray[np.float64]:
        """Of the newest record that went through alone: how much each symbol looked at each step, (symbols, T).

        T are the steps of the whole sequence, in how many chunks it may have come. Empty where there is no decoder that
        looks, nothing that was said, and after several records at once.
        """
        said, steps = self._newest
        return self._work.weights[:said, :steps].astype(np.float64)

    def get_weights(self, *, average: bool = False) -> dict[str, npt.NDArray[Any]]:
        """Copies of all weights under PyTorch's names and shapes; the ``average`` is what predicts, if there is one."""
        predicting = self._model.average if average and self._model.average.size else self._model.theta
        return self.layout.get_weights(predicting)

    def _require_fit(self, block: Block) -> None:
        require_sequences(block, self.spec, self.classes)

    def _predictions(self, records: Placed) -> Predictions:
        parts = [self._piece(piece) for piece in self._rows.pieces(records)]
        return parts[0] if len(parts) == 1 else Predictions.joined(parts)

    def _piece(self, records: Placed) -> Predictions:
        rows = self._rows.records(records)
        steps = self._steps(rows) if len(rows.slot) == 1 else 0
        self._handle.process(rows)
        self._newest = (int(rows.n_said[0]), steps) if len(rows.slot) == 1 else (0, 0)
        return self._rows.predictions(rows)

    def _steps(self, rows: SequenceRecords) -> int:
        """The steps of the sequence that a record belongs to, which has yet to go through, with those before it."""
        sequence, slot = self.spec.sequence, int(rows.slot[0])
        assert sequence is not None
        streams, gap = self._per_stream, self.spec.streams.reset_after_s
        before = 0 if rows.fresh[0] else int(streams.frames[slot])
        if gap is not None and rows.time_ms[0] - streams.last_ms[slot] > round(1000 * gap):
            before = 0  # what was under way is over
        return sequence.steps(min(sequence.max_frames, before + int(rows.first[1])))
