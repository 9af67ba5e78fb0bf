"""A window of steps that look ahead: its gradient is that of its loss, and it reads what lies behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.learner.block import Block
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle.lookahead import shape_of

TARGETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "numbers": ({"fields": ("y", "z")}, {}),
    "quantiles": ({"fields": ("y", "z")}, {"loss": "quantile"}),
    "classes": ({"fields": ("y",), "classes": ("p", "q", "r")}, {"readout": "softmax"}),
    "one of two classes": ({"fields": ("y",), "classes": ("p", "q")}, {"readout": "logistic"}),
}


def spec_of(target: str, cell: str, lookahead: int = 2, **learning: Any) -> LearnerSpec:
    """Plain gradient descent on raw numbers, nothing clipped or shortened."""
    fields, model = TARGETS[target]
    return LearnerSpec(
        n_features=2, target=TargetSpec(**fields), has_end=True, inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(cell=cell, direction="both", lookahead=lookahead, hidden_size=3, dtype="float64", **model),
        learning=LearningSpec(**{
            "k1": 20, "k2": 20, "optimizer": "sgd", "lr": 0.01, "clip_norm": None, "polyak_bound": None,
            "scale": False, **learning,
        }),
    )  # fmt: skip


def some_steps(spec: LearnerSpec, n: int, *, ends: bool = True, seed: int = 0) -> Block:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, spec.n_targets))
    if spec.n_classes:
        y = rng.integers(0, spec.n_classes, (n, 1)).astype(float)
    y[2] = np.nan
    end = np.zeros(n, np.bool_)
    end[-1] = ends
    return Block.events([b"a"] * n, x=rng.normal(size=(n, 2)), y=y, end=end, event=np.arange(1, n + 1))


def learner_with(spec: LearnerSpec, weights: dict[str, np.ndarray]) -> LookaheadLearner:
    learner = LookaheadLearner(spec, 0)
    learner.set_weights(weights)
    return learner


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_window_follows_the_gradient_of_its_loss(target: str, cell: str) -> None:
    spec = spec_of(target, cell)
    block = some_steps(spec, 7)
    before = shape_of(spec).random_weights(np.random.default_rng(0))
    learner = learner_with(spec, before)
    said = learner.process(block)
    assert learner.counters()["windows"] == 1
    gradient = {name: (before[name] - w) / spec.learning.lr for name, w in learner.get_weights().items()}
    norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))
    assert said.grad_norm[-1] == pytest.approx(norm, rel=1e-9)
    rng, step = np.random.default_rng(1), 1e-5
    for name, g in gradient.items():
        direction = rng.normal(size=g.shape)
        losses = []
        for sign in (1, -1):
            moved = learner_with(spec, {**before, name: before[name] + sign * step * direction})
            moved.process(block)
            losses.append(moved.gauges()["window_loss"])
        assert (g * direction).sum() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-8), name


def test_steps_behind_the_window_are_read_though_their_targets_are_not_known() -> None:
    """The last step of a window in the middle of a sequence depends on the two behind it, and on none further on."""
    spec = spec_of("numbers", "gru", k1=4, k2=4)
    norms = []
    for changed in (None, 5, 6):
        block = some_steps(spec, 7, ends=False)
        if changed is not None:
            block.x[changed] += 1.0
            block.y[changed] += 100.0
        norms.append(LookaheadLearner(spec, 1).process(block).grad_norm)
    assert np.flatnonzero(~np.isnan(norms[0])).tolist() == [3]
    assert norms[1][3] != norms[0][3]
    assert norms[2][3] == norms[0][3]


def test_a_target_is_learned_in_one_window_alone() -> None:
    spec = spec_of("numbers", "gru", k1=2, k2=6)
    block = some_steps(spec, 12)
    block.y[:] = np.nan
    block.y[4] = 1.0
    learner = LookaheadLearner(spec, 1)
    said = learner.process(block)
    assert np.flatnonzero(~np.isnan(said.grad_norm)).tolist() == [5]
    assert learner.counters()["windows"] == 1


def test_a_batch_is_one_step_with_the_mean_of_its_gradients() -> None:
    plain, batch = spec_of("numbers", "lstm"), spec_of("numbers", "lstm", batch_size=2)
    blocks = [some_steps(plain, 5, seed=seed) for seed in (1, 2)]
    start = shape_of(plain).random_weights(np.random.default_rng(0))
    moves = []
    for block in blocks:
        learner = learner_with(plain, start)
        learner.process(block)
        moves.append({name: w - start[name] for name, w in learner.get_weights().items()})
    learner = learner_with(batch, start)
    for block in blocks:
        learner.process(block)
    for name, w in learner.get_weights().items():
        np.testing.assert_allclose(w - start[name], (moves[0][name] + moves[1][name]) / 2, rtol=1e-9, atol=1e-12)
