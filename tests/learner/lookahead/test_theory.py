"""What can be known of a step from those around it is learned, and no more: coins before it and behind it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.learner.block import Block
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.tagging import AWAY, tagged

BIT = math.log(2)


def steps_of(n: int) -> Block:
    """The coins of n sequences as single records, three sequences side by side, the label of each step with it."""
    whole = tagged(n, xor=False)
    assert whole.frames is not None
    assert whole.answers is not None
    bounds = whole.frames.bounds
    lanes = [[] for _ in range(3)]
    for i in range(n):
        lanes[i % 3] += [(i, at) for at in range(bounds[i], bounds[i + 1])]
    order = [step for turn in range(max(map(len, lanes))) for lane in lanes for step in lane[turn : turn + 1]]
    places = np.array([at for _, at in order])
    return Block.events(
        [whole.keys[i] for i, _ in order],
        x=whole.frames.x[places],
        y=whole.answers.value[places][:, None],
        end=np.array([at == bounds[i + 1] - 1 for i, at in order]),
        event=np.arange(1, len(order) + 1),
    )


def learned(lookahead: int, n: int = 1000) -> tuple[float, float]:
    """Error and loss over the last fifth of what was told, each step before its label was learned."""
    spec = LearnerSpec(
        n_features=1, indicator=(True,), has_end=True, inputs=InputSpec(dt=False, previous_target=False),
        target=TargetSpec(fields=("y",), classes=(0, 1, 2, 3)),
        model=ModelSpec(cell="gru", hidden_size=16, readout="softmax", direction="both", lookahead=lookahead),
        learning=LearningSpec(lr=1e-2, clip_norm=1.0, k1=8, k2=16),
    )  # fmt: skip
    said = LookaheadLearner(spec, seed=1).process(steps_of(n))
    known = ~np.isnan(said.loss)
    errors, losses = said.error[known], said.loss[known]
    last = slice(len(errors) - len(errors) // 5, None)
    return float(errors[last].mean()), float(losses[last].mean())


@pytest.mark.slow
@pytest.mark.parametrize("lookahead", [AWAY, AWAY + 2])
def test_who_looks_three_steps_ahead_knows_both_coins(lookahead: int) -> None:
    error, loss = learned(lookahead)
    assert error < 0.002
    assert loss < 0.05


@pytest.mark.slow
def test_who_looks_two_steps_ahead_knows_one_coin_and_guesses_the_other() -> None:
    error, loss = learned(AWAY - 1)
    assert error == pytest.approx(0.5, abs=0.04)
    assert BIT - 0.01 < loss < BIT + 0.06
