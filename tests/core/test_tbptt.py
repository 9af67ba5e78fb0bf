"""One window through the whole network: PyTorch's golden passes, the oracle, and gradients checked by differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core import arrays, tbptt
from streamrnn.core.cells import CELLS
from streamrnn.core.heads import CROSS_ENTROPIES, REGRESSION_LOSSES
from streamrnn.core.jit import entry_point
from streamrnn.core.layout import Layout
from streamrnn.learner import Learner
from streamrnn.spec import InputSpec, LearnerSpec, LearningSpec, ModelSpec, TargetSpec
from tests.golden import CELL_CASES, load, tensors
from tests.naive_network import class_loss, network_backward, network_forward, random_weights, regression_loss

LOSSES = (*REGRESSION_LOSSES, *CROSS_ENTROPIES)


@entry_point
def window_gradient(
    plan: Any, hyper: Any, scratch: Any, ring: Any, state: Any, first: int, steps: int, known: int
) -> float:
    """What a window does between loading its state and reporting its loss; its parts cannot be called from Python."""
    tbptt.load_state(plan, state, scratch)
    return tbptt.window_gradient(plan, hyper, scratch, ring, first, steps, known)


class Window:
    """The kernels' work space for one window of ``steps`` steps, set up the way a learner sets up its own."""

    def __init__(self, spec: LearnerSpec, weights: dict[str, np.ndarray]) -> None:
        learner = Learner(spec, seed=0)
        learner.set_weights(weights)
        self.layout: Layout = learner.layout
        self.plan: arrays.Plan = learner._plan
        self.hyper: arrays.Hyper = learner._hyper
        self.scratch: arrays.Scratch = learner._scratch
        self.theta: np.ndarray = learner._model.theta

    def gradient(self, x: np.ndarray, y: np.ndarray, state: np.ndarray, first: int = 0) -> tuple[float, dict[str, Any]]:
        """Mean loss and weight gradients of inputs x (T, D), targets y (T, Y) and the state before, (L, C, H)."""
        ring = np.full((self.plan.k2, y.shape[1]), np.nan)
        for t in range(len(x)):
            self.scratch.x[t] = x[t]
            ring[(first + t) % self.plan.k2] = y[t]
        columns = 1 if self.plan.classes else self.layout.n_outputs // y.shape[1]
        known = int(np.isfinite(y).sum()) * columns
        loss = window_gradient(self.plan, self.hyper, self.scratch, ring, state, first, len(x), known)
        return loss, self.layout.get_weights(self.scratch.grad.copy())


def spec_for(cell: str, hidden: int, layers: int, steps: int, fields: int, loss: str = "squared") -> LearnerSpec:
    classes = {"softmax": ("p", "q", "r"), "logistic": ("p", "q")}.get(loss)
    return LearnerSpec(
        n_features=3,
        target=TargetSpec(fields=tuple(f"y{i}" for i in range(fields)), classes=classes),
        model=ModelSpec(
            cell=cell,
            hidden_size=hidden,
            num_layers=layers,
            dtype="float64",
            readout=loss if classes else "linear",
            loss="cross_entropy" if classes else loss,
            huber_delta=0.7,
        ),
        learning=LearningSpec(k1=1, k2=steps),
        inputs=InputSpec(dt=False, previous_target=False),
    )


@pytest.mark.parametrize("name", CELL_CASES)
def test_a_pass_reproduces_pytorch(name: str) -> None:
    case, cell = load(name), name.split("_")[1]
    layers, hidden = case["last_h"].shape
    steps, outputs = case["y"].shape
    window = Window(spec_for(cell, hidden, layers, steps, outputs), tensors(case, "w"))
    zero = np.zeros((layers, window.layout.state_count, hidden))
    loss, gradients = window.gradient(case["x"], case["y"], zero)
    assert loss == pytest.approx(float(case["loss"]), rel=1e-12)
    for key, expected in tensors(case, "g").items():
        np.testing.assert_allclose(gradients[key], expected, rtol=1e-10, atol=1e-10, err_msg=key)
    scratch, w = window.scratch, window.scratch.weights
    outputs_by_step = scratch.h[-1, 1 : steps + 1] @ w.head_w.T + w.head_b
    np.testing.assert_allclose(outputs_by_step, case["pred"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scratch.h[:, steps], case["last_h"], rtol=1e-12, atol=1e-12)
    if cell == "lstm":
        np.testing.assert_allclose(scratch.c[:, steps], case["last_c"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scratch.d_ih[:steps] @ w.w_ih_first.T, case["dx"], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cell", list(CELLS))
def test_window_gradient_matches_the_oracle_and_central_differences(cell: str, loss: str) -> None:
    rng = np.random.default_rng(9)
    steps, hidden, layers, fields = 4, 2, 2, 1 if loss in CROSS_ENTROPIES else 2
    spec = spec_for(cell, hidden, layers, steps, fields, loss)
    weights = random_weights(rng, cell, 3, hidden, layers, spec.n_outputs, 0.8)
    x = rng.standard_normal((steps, 3))
    state = rng.uniform(-0.5, 0.5, (layers, 2 if cell == "lstm" else 1, hidden))
    y = rng.integers(0, 2, (steps, 1)).astype(float) if fields == 1 else 2 * rng.standard_normal((steps, fields))
    y[1, 0] = np.nan

    window = Window(spec, weights)
    value, gradients = window.gradient(x, y, state, first=7)

    naive_state = [tuple(part for part in layer) for layer in state]
    outputs, _, tape = network_forward(cell, weights, x, naive_state)
    if loss in CROSS_ENTROPIES:
        expected, d_outputs = class_loss(loss, outputs, y[:, 0], np.isfinite(y[:, 0]))
    else:
        levels = np.array(spec.model.quantiles if loss == "quantile" else (0.5,))
        targets = np.repeat(y, len(levels), axis=1)
        expected, d_outputs = regression_loss(
            loss, outputs, targets, np.isfinite(targets), np.tile(levels, fields), spec.model.huber_delta
        )
    assert value == pytest.approx(expected, rel=1e-12)
    for name, g in network_backward(cell, weights, tape, d_outputs)[0].items():
        np.testing.assert_allclose(gradients[name], g, rtol=1e-10, atol=1e-12, err_msg=name)

    step = 1e-5
    for name, w in window.layout.named(window.theta).items():
        for index in np.ndindex(w.shape):
            kept = w[index]
            w[index] = kept + step
            above = window.gradient(x, y, state, first=7)[0]
            w[index] = kept - step
            below = window.gradient(x, y, state, first=7)[0]
            w[index] = kept
            assert gradients[name][index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-8), name
