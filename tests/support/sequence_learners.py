"""A learner of sequences beside its naive twin: made with the same weights, given the same log, compared in all."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from streamrnn.core.counts import COUNTS, EVICTIONS
from streamrnn.learner.block import Block
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.skill import rivals_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import EVICTIONS_IN_USE
from tests.oracle.reach import drift_means
from tests.oracle.sequences import NaiveSequenceLearner, shape_of
from tests.support.learners import BESIDE, Bits

SHARED_COUNTS = [
    count.name
    for count in (*COUNTS, *EVICTIONS, EVICTIONS_IN_USE, *JUMPS)
    if count.name not in {"updates", "windows_in_batch"}
]


def pair(spec: LearnerSpec, seed: int = 0) -> tuple[SequenceLearner, NaiveSequenceLearner]:
    """A learner and its twin with the same random weights, biases included."""
    learner = SequenceLearner(spec, seed=1)
    weights = shape_of(spec).random_weights(np.random.default_rng(seed))
    learner.set_weights(weights)
    if spec.learning.average is not None:
        learner.layout.set_weights(learner.model_arrays()["average"], weights)
    return learner, NaiveSequenceLearner(spec, weights)


def restored(learner: SequenceLearner) -> SequenceLearner:
    """Another learner, which knows what this one does."""
    other = SequenceLearner(learner.spec, seed=2)
    other.resume(copy.deepcopy(learner.state()))
    return other


class Comparison:
    """Both go through a log, piece by piece; whatever can be seen of them is compared."""

    def __init__(self, spec: LearnerSpec, tolerance: float, seed: int = 0) -> None:
        self.spec, self.tolerance = spec, tolerance
        self.learner, self.naive = pair(spec, seed)

    def close(self, actual: Any, expected: Any, what: str) -> None:
        if np.size(actual) == np.size(expected) == 0:  # of no records, whatever the shape
            return
        np.testing.assert_allclose(actual, expected, rtol=self.tolerance, atol=self.tolerance, err_msg=what)

    def process(self, block: Block) -> None:
        """Both take the block and must say the same of it."""
        first = len(self.naive.said)
        predictions = self.learner.process(block)
        value, updates = self.naive.process(block)
        self.close(predictions.value, value, "predictions")
        assert predictions.updates.tolist() == updates.tolist()
        self.check_said(predictions, self.naive.said[first:])
        self.check_scores(predictions, first)

    def check_questions(self, block: Block) -> None:
        """Both are asked about the block, and must say the same."""
        asked, expected = self.learner.predict(block), self.naive.predict_all(block)
        self.close(asked.value, [value for value, _ in expected], "questions")
        self.check_said(asked, [said for _, said in expected])

    def check_said(self, predictions: Predictions, said: list[Any]) -> None:
        sequences = predictions.sequences
        assert sequences is not None
        assert np.diff(sequences.bounds).tolist() == [len(of_one.symbols) for of_one in said]
        assert sequences.number.tolist() == [symbol for of_one in said for symbol in of_one.symbols]
        self.close(sequences.value, [value for of_one in said for value in of_one.values], "what is said")

    def check_scores(self, predictions: Predictions, first: int) -> None:
        naive, sequences = self.naive, predictions.sequences
        assert sequences is not None
        assert sequences.reason.tolist() == naive.reasons[first:]
        assert sequences.complete.tolist() == naive.complete[first:]
        self.close(sequences.wrong, [wrong for wrong, _ in naive.edits[first:]], "wrong")
        self.close(sequences.length, [length for _, length in naive.edits[first:]], "length")
        self.close(predictions.loss, [loss for loss, _ in naive.scores[first:]], "losses")
        self.close(predictions.error, [error for _, error in naive.scores[first:]], "errors")
        self.close(predictions.rivals, naive.rival_scores[first:], "errors of the rivals")
        self.close(predictions.width, naive.widths[first:], "widths of intervals")
        norms = np.full(len(naive.scores) - first, np.nan)
        for record, norm in naive.steps:
            if record >= first:
                norms[record - first] = norm
        self.close(predictions.grad_norm, norms, "gradient norms")
        for rank, surprise in zip(predictions.rank, naive.ranked[first:], strict=True):
            if surprise is None:
                assert np.isnan(rank).all()
                continue
            error = self.tolerance * (1 + surprise.loss)
            least, most = surprise.ranks(-error), surprise.ranks(error)
            np.testing.assert_array_equal(np.isnan(rank), np.isnan(least))
            assert not np.any((rank < np.array(least) - self.tolerance) | (rank > np.array(most) + self.tolerance))

    def check_state(self) -> None:
        """Counts, gauges, weights, statistics, streams."""
        learner, naive = self.learner, self.naive
        counts = learner.counters()
        assert {name: counts[name] for name in SHARED_COUNTS} == {name: naive.counts[name] for name in SHARED_COUNTS}
        assert counts["updates"] == naive.updates
        for name, weights in learner.get_weights().items():
            self.close(weights, naive.weights[name], name)
        arrays, gauges = learner.state().model, learner.gauges()
        if self.spec.learning.average is not None:
            for name, weights in learner.layout.get_weights(arrays["average"]).items():
                self.close(weights, naive.average[name], f"average of {name}")
        if naive.windows:
            self.close(gauges["window_loss"], naive.losses[-1], "window loss")
        if naive.updates:
            self.close(gauges["grad_norm"], naive.grad_norms[-1], "gradient norm")
        if self.spec.optimizer != "adamw":  # a decay is no step
            self.close(gauges["update_norm"], naive.step_length, "length of the step")
        sums = [gauges[name] for name in ("scored", "loss_sum", "error_sum", "last_error_sum", "typical_error_sum")]
        self.close(sums, naive.sums, "sums of scores")
        assert arrays["x_clamped"][: self.spec.n_features].tolist() == naive.x_clamped
        assert arrays["y_clamped"].tolist() == naive.y_clamped
        for column, values in enumerate(naive.drifting):
            held, _, count, fast, slow = arrays["x_drift"][column]
            assert held + count == len(values)
            self.close((fast, slow), drift_means(values), f"drift of input {column}")
        self.close(arrays["recent_errors"], [naive.rivals.recent(i) for i in naive.rivals.fields], "recent errors")
        skill = [learner.skill().get(name, np.nan) for name in rivals_of(self.spec)]
        if all(naive.rivals.recent(i)[2] > self.tolerance for i in naive.rivals.fields):
            self.close(skill, naive.rivals.skill(), "skill")
        self.check_vocabularies()
        self.check_streams()

    def check_vocabularies(self) -> None:
        learner, naive = self.learner, self.naive
        pairs = [*zip(learner.vocabularies, naive.vocabularies, strict=True)]
        if learner.classes is not None and naive.classes is not None:
            pairs.append((learner.classes, naive.classes))
            if naive.classes.open:
                assert learner.state().model["outputs_in_use"].tolist() == [naive.in_use]
        for mine, theirs in pairs:
            assert mine.overflowed == theirs.overflowed
            if theirs.open:
                assert [mine.label(number) for number in range(mine.known)] == theirs.numbered

    def check_streams(self) -> None:
        assert self.learner.streams.keys() == list(self.naive.streams)
        assert self.spec.sequence is not None
        if not self.spec.sequence.carry:
            return
        for key, stream in self.naive.streams.items():
            state = self.learner.row_of(key)["state"]
            for c in range(state.shape[1]):
                self.close(state[:, c], [layer[c] for layer in stream.sequence.state], f"state of {key!r}")


def bits_of_sequences(*parts: Predictions) -> Bits:
    """All that is said of consecutive blocks, bit for bit."""
    joined = Predictions.joined(parts)
    names = [name for name in Predictions.__slots__ if name not in BESIDE]
    bits = {name: getattr(joined, name).tobytes() for name in names}
    assert joined.sequences is not None
    return bits | {
        f"sequences.{name}": getattr(joined.sequences, name).tobytes() for name in joined.sequences.__slots__
    }
