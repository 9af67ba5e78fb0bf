"""Sequences that are empty, absurd or very long, and answers that no path could say: what comes of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.core.sequences.reasons import EMPTY, IMPOSSIBLE, NONE, TOO_LONG, TOO_MANY, UNKNOWN
from streamrnn.learner.block import Answers, Block, Frames
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions, SequenceScores
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.learners import bits_of, differing
from tests.support.sequence_learners import Comparison

NO_INPUTS = InputSpec(dt=False, previous_target=False)


def spec_for(kind: str, *, classes: tuple[int, ...] | None = (0, 1, 2), target: Any = (), **given: Any) -> LearnerSpec:
    model = {"cell": "gru", "hidden_size": 4, "dtype": "float64", "readout": "softmax" if classes else "linear"}
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",), kind=kind, classes=classes, **dict(target)),
        sequence=SequenceSpec(**given.pop("sequence", {})),
        model=ModelSpec(**(model | given.pop("model", {}))),
        learning=LearningSpec(**given),
        inputs=NO_INPUTS,
    )


def block_of(frames: list[np.ndarray], answers: list[list[float] | None] | None = None, labels: Any = None) -> Block:
    """A record of one stream for each array of frames [T, 2]."""
    n = len(frames)
    given = [answer or [] for answer in answers or []]
    return Block(
        keys=[b"a"] * n,
        time_ms=np.zeros(n, np.int64),
        x=np.zeros((n, 0)),
        y=np.full((n, 1), np.nan) if labels is None else np.array(labels, float)[:, None],
        end=np.ones(n, np.bool_),
        kind=np.zeros(n, np.uint8),
        event=np.zeros(n, np.uint64),
        frames=Frames(np.cumsum([0, *map(len, frames)]), np.concatenate(frames)),
        answers=None
        if answers is None
        else Answers(
            np.cumsum([0, *map(len, given)]),
            np.array([x for answer in given for x in answer], float),
            np.array([answer is not None for answer in answers], np.bool_),
        ),
    )


def some(steps: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, 2))


def said(predictions: Predictions) -> SequenceScores:
    assert predictions.sequences is not None
    return predictions.sequences


def test_an_empty_sequence_has_no_prediction_and_teaches_nothing_and_the_next_one_is_learned() -> None:
    learner = SequenceLearner(spec_for("label"), 1)
    weights = learner.get_weights()
    predictions = learner.process(block_of([some(0), some(3)], labels=[1, 2]))
    assert np.isnan(predictions.value[0]).all()
    assert said(predictions).reason.tolist() == [EMPTY, NONE]
    assert predictions.updates.tolist() == [0, 0]
    assert learner.counters()["unlearned_sequences_empty"] == 1
    assert learner.counters()["updates"] == 1
    assert any((weights[name] != w).any() for name, w in learner.get_weights().items())


@pytest.mark.parametrize(
    ("steps", "answer", "expected"),
    [(3, None, UNKNOWN), (0, [1], EMPTY), (6, [1], TOO_LONG), (5, [1, 2, 0, 1], TOO_MANY), (2, [1, 1], IMPOSSIBLE),
     (3, [1, 1], NONE), (2, [1, 2, 0], IMPOSSIBLE), (3, [], NONE)],
)  # fmt: skip
def test_a_transcript_that_cannot_be_learned_says_why_and_moves_no_weight(
    steps: int, answer: list[float] | None, expected: int
) -> None:
    spec = spec_for("transcript", target={"max_symbols": 3}, sequence={"max_steps": 5})
    learner = SequenceLearner(spec, 1)
    before = learner.get_weights()
    predictions = learner.process(block_of([some(steps)], [answer]))
    assert said(predictions).reason.tolist() == [expected]
    moved = any((before[name] != w).any() for name, w in learner.get_weights().items())
    assert moved == (expected == NONE)
    for cause, reason in (("empty", EMPTY), ("too_long", TOO_LONG), ("too_many", TOO_MANY), ("impossible", IMPOSSIBLE)):
        assert learner.counters()[f"unlearned_sequences_{cause}"] == int(expected == reason)
    is_scored = expected not in (UNKNOWN, EMPTY, TOO_MANY)
    assert np.isfinite(predictions.error[0]) == is_scored
    assert np.isfinite(predictions.loss[0]) == (is_scored and expected != IMPOSSIBLE)


def test_of_a_sequence_that_is_too_long_what_fits_is_predicted_and_the_rest_leaves_no_trace() -> None:
    spec, rest = spec_for("label", sequence={"max_steps": 5}), some(30, seed=9)
    long, other, fitting = (SequenceLearner(spec, 1) for _ in range(3))
    frames = some(5)
    a = long.process(block_of([np.concatenate([frames, rest])], labels=[1]))
    b = other.process(block_of([np.concatenate([frames, rest[::-1]])], labels=[1]))
    c = fitting.process(block_of([frames], labels=[np.nan]))
    assert a.value.tolist() == b.value.tolist() == c.value.tolist()
    assert not differing(bits_of(long), bits_of(other))
    assert long.counters()["frames_dropped"] == 30
    assert long.counters()["frames"] == 5


@pytest.mark.parametrize("normalise", ["running", "sequence"])
def test_a_sequence_of_nans_is_predicted_as_one_of_means_and_learned_with_finite_weights(normalise: str) -> None:
    spec = spec_for("labels", sequence={"normalise": normalise}, model={"direction": "both"})
    learner = SequenceLearner(spec, 1)
    predictions = learner.process(block_of([np.full((4, 2), np.nan), some(4)], [[0, 1, 2, 0], [0, 1, 2, 0]]))
    assert np.isfinite(said(predictions).value).all()
    assert learner.counters()["imputed_inputs"] == 8
    assert all(np.isfinite(w).all() for w in learner.get_weights().values())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "direction"), [("label", "forward"), ("labels", "both")])
def test_ten_thousand_frames_are_learned_as_the_naive_learner_does(kind: str, direction: str) -> None:
    spec = spec_for(kind, sequence={"max_steps": 10_000}, model={"direction": direction, "hidden_size": 2}, lr=0.01)
    both, frames = Comparison(spec, 1e-9), [some(10_000), some(7)]
    labels = np.random.default_rng(1).integers(0, 3, 10_007).astype(float).tolist()
    answers = None if kind == "label" else [labels[:10_000], labels[10_000:]]
    both.process(block_of(frames, answers, labels=[1, 2] if kind == "label" else None))
    both.check_state()


@pytest.mark.slow
def test_a_transcript_of_ten_thousand_frames_is_learned_without_overflow() -> None:
    spec = spec_for("transcript", target={"max_symbols": 500}, sequence={"max_steps": 10_000}, optimizer="sgd", lr=0.01)
    learner = SequenceLearner(spec, 1)
    answer = np.random.default_rng(1).integers(0, 3, 500).astype(float).tolist()
    losses = [float(learner.process(block_of([some(10_000)], [answer])).loss[0]) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.slow
def test_a_transcript_of_a_thousand_frames_is_learned_as_the_naive_learner_does() -> None:
    spec = spec_for("transcript", sequence={"max_steps": 1000}, model={"hidden_size": 2})
    both = Comparison(spec, 1e-9)
    both.process(block_of([some(1000)], [[0, 1, 1, 2, 0, 0]]))
    both.check_state()


def test_attention_is_of_the_steps_that_are_run_in_how_many_chunks_they_came() -> None:
    spec = spec_for("sequence", classes=None, target={"horizon": 2})
    chunks = SequenceSpec(max_steps=3, chunks=True)
    learner = SequenceLearner(replace(spec, sequence=chunks, has_end=True, streams=StreamSpec(reset_after_s=1.0)), 1)
    chunk = block_of([some(2)], [None])
    chunk.end[:] = False
    learner.process(chunk)
    # None more, one more, more than are read, and one after a gap, before which all is over.
    for frames, later_ms, steps in ((0, 0, 2), (1, 0, 3), (4, 0, 3), (1, 1_001, 1)):
        last = block_of([some(frames)], [None])
        last.time_ms[:] = later_ms
        learner.predict(last)
        looked = learner.attention()
        assert looked.shape == (2, steps)
        np.testing.assert_allclose(looked.sum(axis=1), 1.0)
    learner.predict(block_of([some(1), some(2)], [None, None]))
    assert learner.attention().shape == (0, 0)
