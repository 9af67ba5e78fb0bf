"""How far back a gradient reaches: against central differences of the oracle, wherever a window may end and begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.core import counts, reach, tbptt, trunk
from streamrnn.core.arrays import Hyper, Model, Plan, Scratch
from streamrnn.core.cells import CELLS
from streamrnn.core.jit import jit
from streamrnn.core.losses import CROSS_ENTROPIES, REGRESSION_LOSSES
from tests.core.test_tbptt import Window, spec_for
from tests.oracle.network import class_loss, network_forward, random_weights, regression_loss

CASES = [(loss, 1 if loss in CROSS_ENTROPIES else 2) for loss in (*REGRESSION_LOSSES, *CROSS_ENTROPIES)]


@jit
def measure(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, state: np.ndarray, steps: int) -> None:
    """What a window does between loading its state and its optimiser step; its parts cannot be called from Python."""
    trunk.load_state(state, scratch)
    tbptt.window_gradient(plan, hyper, model, scratch, steps)
    reach.measure(plan, model, scratch, steps)


@jit
def due(model: Model, steps: int) -> bool:
    return reach.due(model, steps)


def draw(cell: str, layers: int, steps: int, loss: str = "squared", fields: int = 1, **settings: Any) -> Any:
    """A window: its spec, weights, inputs, targets and the state before."""
    rng, hidden = np.random.default_rng(7), 3
    spec = spec_for(cell, hidden, layers, 9, fields, loss)
    spec = replace(spec, model=replace(spec.model, **settings))
    weights = random_weights(rng, cell, 3, hidden, layers, spec.n_outputs, 0.9)
    state = rng.uniform(-0.5, 0.5, (layers, 2 if cell == "lstm" else 1, hidden))
    y = rng.integers(0, 2, (steps, 1)).astype(float) if spec.target.classes else 2 * rng.normal(size=(steps, fields))
    return spec, weights, rng.normal(size=(steps, 3)), y, state


def measured(spec: Any, weights: Any, x: np.ndarray, y: np.ndarray, state: np.ndarray) -> tuple[Window, list[float]]:
    window = Window(spec, weights)
    steps = len(x)
    window.scratch.x[:steps], window.scratch.targets[:steps] = x, y
    measure(window.plan, window.hyper, window.model, window.scratch, state, steps)
    return window, window.model.state_gradient.tolist()


def loss_of_newest(spec: Any, outputs: np.ndarray, y: np.ndarray) -> float:
    """The mean loss of the last step alone."""
    if spec.target.classes:
        return float(class_loss(spec.model.readout, outputs[None], y[None, 0], np.array([True]))[0])
    levels = np.array(spec.model.quantiles if spec.model.loss == "quantile" else (0.5,))
    targets, each = np.repeat(y, len(levels)), np.tile(levels, len(y))
    known = np.isfinite(targets)[None]
    return regression_loss(spec.model.loss, outputs[None], targets[None], known, each, spec.model.huber_delta)[0]


def differences(spec: Any, weights: Any, x: np.ndarray, y: np.ndarray, state: np.ndarray) -> dict[int, float]:
    """Norms of the gradient at the state 0, 1, 2, 4, ... steps back, by nudging every number of it."""
    cell, steps = spec.model.cell, len(x)
    norms = {}
    for back in (0, *(1 << i for i in range(8) if 1 << i <= steps)):
        naive = [tuple(layer) for layer in state]
        before = np.array(network_forward(cell, weights, x[: steps - back], naive)[1] if back < steps else naive)

        def loss(at: np.ndarray, back: int = back) -> float:
            if back == 0:  # nothing is left to run: the readout reads the state
                return loss_of_newest(spec, weights["head.weight"] @ at[-1, 0] + weights["head.bias"], y[-1])
            outputs = network_forward(cell, weights, x[steps - back :], [tuple(layer) for layer in at])[0]
            return loss_of_newest(spec, outputs[-1], y[-1])

        gradient = np.zeros_like(before)
        for index in np.ndindex(*before.shape):
            nudge = np.zeros_like(before)
            nudge[index] = 1e-6
            gradient[index] = (loss(before + nudge) - loss(before - nudge)) / 2e-6
        norms[back] = float(np.linalg.norm(gradient))
    return norms


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 9], ids=lambda steps: f"{steps} steps")
@pytest.mark.parametrize("layers", [1, 2], ids=["one layer", "two layers"])
@pytest.mark.parametrize("cell", list(CELLS))
def test_norms_are_those_of_central_differences_as_far_as_the_window_has_steps(
    cell: str, layers: int, steps: int
) -> None:
    case = draw(cell, layers, steps)
    window, norms = measured(*case)
    expected = differences(*case)
    assert window.model.gauges[counts.REACH_STEPS] == steps
    assert [reach.steps_back(i) for i in range(len(norms))] == [0, 1, 2, 4, 8]  # k2 is 9
    np.testing.assert_allclose(
        norms[: len(expected)], list(expected.values()), rtol=1e-7, atol=1e-9
    )  # a loss is rounded to 1e-16, the nudge is 1e-6
    assert not any(norms[len(expected) :])


@pytest.mark.parametrize(("loss", "fields"), CASES)
def test_norms_are_of_the_newest_steps_own_mean_loss_whatever_else_the_window_learns_from(
    loss: str, fields: int
) -> None:
    spec, weights, x, y, state = draw("gru", 2, 6, loss, fields)
    y[1, 0] = np.nan
    _, norms = measured(spec, weights, x, y, state)
    np.testing.assert_allclose(norms[:4], list(differences(spec, weights, x, y, state).values()), rtol=1e-6)
    alone = y.copy()
    alone[:-1] = np.nan
    _, of_one_target = measured(spec, weights, x, alone, state)
    np.testing.assert_allclose(norms, of_one_target, rtol=1e-12)


def test_a_step_of_which_one_field_is_known_counts_as_that_field() -> None:
    spec, weights, x, y, state = draw("lstm", 1, 6, fields=2)
    y[-1, 1] = np.nan
    _, norms = measured(spec, weights, x, y, state)
    np.testing.assert_allclose(norms[:4], list(differences(spec, weights, x, y, state).values()), rtol=1e-6)


def test_a_weak_recurrence_lets_the_gradient_vanish_and_an_open_forget_gate_carries_it_on() -> None:
    spec, weights, x, y, state = draw("rnn", 1, 9)
    weights["rnn.weight_hh_l0"] *= 0.1 / np.linalg.norm(weights["rnn.weight_hh_l0"], 2)
    _, norms = measured(spec, weights, x, y, state)
    assert norms[3] < 1e-3 * norms[0]  # four steps back, a tenth of it is left with each
    assert norms[3] > 0.0
    spec, weights, x, y, state = draw("lstm", 1, 9)
    weights["rnn.bias_ih_l0"][3:6] = 20.0  # forget gates: c goes on as it is
    _, norms = measured(spec, weights, x, y, state)
    assert min(norms[1:]) > 0.3 * max(norms[1:])


def test_measuring_changes_nothing_that_is_learned_from() -> None:
    spec, weights, x, y, state = draw("lstm", 2, 9)
    window, _ = measured(spec, weights, x, y, state)
    other = Window(spec, weights)
    other.gradient(x, y, state)
    assert window.scratch.grad.tobytes() == other.scratch.grad.tobytes()
    assert window.theta.tobytes() == other.theta.tobytes()


def test_the_first_window_is_measured_longer_ones_at_once_one_as_long_of_many_and_a_shorter_one_if_none_comes() -> None:
    window = Window(*draw("gru", 1, 9)[:2])
    longest = window.plan.k2 - 1  # of forecasts, say: what the newest step's target is comes to be known later

    def after(windows: int, steps: int) -> bool:
        window.model.counters[counts.WINDOWS] = 1 + windows
        return due(window.model, steps)

    assert after(0, 1)
    window.model.gauges[counts.REACH_WINDOW], window.model.gauges[counts.REACH_STEPS] = 1, longest
    assert after(1, longest + 1)
    assert not after(1, longest)
    assert not after(reach.EVERY - 1, longest)
    assert after(reach.EVERY, longest)
    assert not after(reach.EVERY, longest - 1)
    assert not after(reach.PATIENCE - 1, longest - 1)
    assert after(reach.PATIENCE, longest - 1)
