"""Cells that learn by exact gradients under the RLS readout: their gradient passes through its weights.

Least squares are held still here by a prior without any doubt, so that central differences of the loss see the same
weights at each step; how they move beside a trunk that learns is the oracle's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn import Block, Learner, LearnerSpec
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec

N = 12
STEP = 1e-5
STILL = {"rls_forgetting": 1.0, "rls_prior": 1e-30}
CELLS: dict[str, dict[str, Any]] = {
    "glru": {"cell": "glru"}, "lru": {"cell": "glru", "gates": False}, "elstm": {"cell": "elstm"},
}  # fmt: skip
TARGETS: dict[str, dict[str, Any]] = {"record": {}, "forecast": {"known": "forecast", "horizon": (1, 3)}}


def learner(model: dict[str, Any], target: dict[str, Any], **learning: Any) -> Learner:
    spec = LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",), **target),
        inputs=InputSpec(dt=False),
        model=ModelSpec(readout="rls", hidden_size=2, dtype="float64", lags=2, **model),
        learning=LearningSpec(scale=False, **learning),
        streams=StreamSpec(max_streams=1),
    )
    return Learner(spec, 0)


def events() -> Block:
    rng = np.random.default_rng(5)
    return Block.events([b"a"] * N, rng.normal(size=(N, 2)), rng.normal(size=(N, 1)))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("hidden_layer", [None, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_through_the_readout_s_weights_matches_central_differences(
    cell: str, hidden_layer: int | None, target: str
) -> None:
    model, rng = {**CELLS[cell], **STILL, "hidden_layer": hidden_layer}, np.random.default_rng(6)

    def summed(weights: dict[str, Any] | None) -> Learner:
        # A batch that never ends: its gradients and losses are summed up, and nothing moves.
        one = learner(model, TARGETS[target], k1=10**6, lr=1e-12)
        if weights is not None:
            one.set_weights(weights)
            one.process(events())
        return one

    weights = {name: w + 0.3 * rng.normal(size=w.shape) for name, w in summed(None).get_weights().items()}
    if "rnn.theta_log" in weights:
        weights["rnn.theta_log"] = np.minimum(weights["rnn.theta_log"], 1.1)
    found = summed(weights)
    gradient = found.layout.named(found._model.accumulated)
    # Rounding of the loss leaves the same error in all differences, of large gradients and of small ones.
    largest = max(float(np.abs(tensor).max()) for tensor in gradient.values())
    for name, tensor in gradient.items():
        expected = np.zeros_like(tensor)
        for at in np.ndindex(*tensor.shape):
            losses = []
            for step in (STEP, -STEP):
                moved = {k: w.copy() for k, w in weights.items()}
                moved[name][at] += step
                losses.append(float(summed(moved)._model.accumulated_loss[0]))
            expected[at] = (losses[0] - losses[1]) / (2 * STEP)
        assert np.abs(expected).max() > 1e-4, name
        np.testing.assert_allclose(tensor, expected, rtol=1e-6, atol=1e-8 * largest, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_the_trunk_learns_through_the_weights_from_before_the_target(cell: str) -> None:
    one, blind = (learner(CELLS[cell], {}, lr=0.01, optimizer="sgd") for _ in range(2))
    for each in (one, blind):
        each.process(events())
    # Where the readout gives no weight to the cell, there is nothing to learn through until the target has come.
    weights = blind.get_weights()
    weights["rls.weight"][:, : blind.spec.n_read] = 0.0
    blind.set_weights(weights)
    target = Block.events([b"a"], np.array([[0.5, -1.0]]), np.array([[2.0]]))
    for each, moves in ((one, True), (blind, False)):
        before = each.get_weights()
        each.process(target)
        after = each.get_weights()
        assert not np.array_equal(before["rls.weight"], after["rls.weight"])
        moved = [name for name in before if name.startswith("rnn.") and not np.array_equal(before[name], after[name])]
        assert bool(moved) == moves
        assert each.counters()["updates"] == N + 1
