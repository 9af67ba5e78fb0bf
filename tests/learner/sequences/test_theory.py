"""Which network can know what: coins that lie before a step, and behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import LearningSpec
from tests.support.tagging import tagged, tagging_spec

BIT = math.log(2)


def learned(model: ModelSpec, xor: bool, n: int, classes: int, seed: int = 1, lr: float = 1e-2) -> tuple[float, float]:
    """Error and loss of a label, of the last fifth of n sequences, each predicted before it was learned."""
    learner = SequenceLearner(tagging_spec(model, classes, LearningSpec(lr=lr, clip_norm=1.0)), seed)
    predictions = learner.process(tagged(n, xor))
    last = slice(n - n // 5, n)
    assert predictions.sequences is not None
    wrong, length = predictions.sequences.wrong[last], predictions.sequences.length[last]
    return float(wrong.sum() / length.sum()), float(np.average(predictions.loss[last], weights=length))


def network(**given: object) -> ModelSpec:
    return ModelSpec(**({"cell": "gru", "hidden_size": 16, "readout": "softmax"} | given))  # type: ignore[arg-type]


def test_who_reads_forwards_knows_one_coin_of_two_and_guesses_the_other() -> None:
    error, loss = learned(network(), xor=False, n=1250, classes=4)
    assert error == pytest.approx(0.5, abs=0.04)
    assert BIT - 0.01 < loss < BIT + 0.05


@pytest.mark.parametrize("lookahead", [None, 3])
def test_who_reads_both_ways_or_three_steps_ahead_knows_both_coins(lookahead: int | None) -> None:
    error, loss = learned(network(direction="both", lookahead=lookahead), xor=False, n=1250, classes=4)
    assert error == 0.0
    assert loss < 0.05


def test_who_looks_two_steps_ahead_knows_no_more_than_who_reads_forwards() -> None:
    error, loss = learned(network(direction="both", lookahead=2), xor=False, n=1250, classes=4)
    assert error == pytest.approx(0.5, abs=0.04)
    assert loss > BIT - 0.01


def test_one_layer_both_ways_cannot_tell_whether_two_coins_differ_since_its_readout_adds_what_it_knows_of_each() -> (
    None
):
    error, loss = learned(network(direction="both"), xor=True, n=2500, classes=2)
    assert error == pytest.approx(0.5, abs=0.06)
    assert loss > BIT - 0.01


def test_two_layers_both_ways_can() -> None:
    model = network(direction="both", num_layers=2, hidden_size=32)
    error, loss = learned(model, xor=True, n=4000, classes=2, seed=2, lr=3e-3)
    assert error < 0.01
    assert loss < 0.1
