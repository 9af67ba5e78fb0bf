"""One window through the whole network: PyTorch's golden passes, the oracle, and gradients checked by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.core import tbptt, trunk
from streamrnn.core.arrays import Hyper, Layer, Model, Plan, Scratch
from streamrnn.core.cells import CELLS
from streamrnn.core.jit import jit
from streamrnn.core.losses import CROSS_ENTROPIES, REGRESSION_LOSSES
from streamrnn.core.tables import interpreted
from streamrnn.learner.lowering import hyper_of, layout_of, new_model, new_scratch, plan_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle.network import class_loss, network_backward, network_forward, random_weights, regression_loss
from tests.support.golden import CELL_CASES, load, tensors
from tests.support.slopes import slope

LOSSES = (*REGRESSION_LOSSES, *CROSS_ENTROPIES)


@jit
def window_gradient(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, state: np.ndarray, steps: int) -> float:
    """What a window does between loading its state and reporting its loss; its parts cannot be called from Python."""
    trunk.load_state(state, scratch)
    return tbptt.window_gradient(plan, hyper, model, scratch, steps)


class Window:
    """The kernels' work space for one window of ``steps`` steps, set up the way a learner sets up its own."""

    def __init__(self, spec: LearnerSpec, weights: dict[str, np.ndarray]) -> None:
        self.layout = layout_of(spec)
        self.theta = self.layout.initialise(0, np.float64)
        self.layout.set_weights(self.theta, weights)
        self.plan, self.hyper, self.model = plan_of(spec), hyper_of(spec), new_model(spec, self.theta)
        self.scratch = new_scratch(self.layout, spec, self.theta)

    def layers(self) -> list[Layer]:
        """The rows of the table of layers."""
        read = interpreted(Layer)
        return [read(self.scratch.x, row, 0) for row in self.scratch.layers]

    def gradient(
        self, x: np.ndarray, y: np.ndarray, state: np.ndarray, lags: np.ndarray | None = None
    ) -> tuple[float, dict[str, Any]]:
        """Mean loss and weight gradients of inputs x (T, D), targets y (T, Y) and the state before, (L, C, H)."""
        steps = len(x)
        self.scratch.x[:steps], self.scratch.targets[:steps] = x, y
        if lags is not None:
            self.scratch.lags[:steps] = lags
        loss = window_gradient(self.plan, self.hyper, self.model, self.scratch, state, steps)
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
    scratch, stack = window.scratch, window.layers()
    outputs_by_step = scratch.h[:steps] @ scratch.head_w.T + scratch.head_b
    np.testing.assert_allclose(outputs_by_step, case["pred"], rtol=1e-12, atol=1e-12)
    for part, name in enumerate(("last_h", "last_c")[: window.layout.state_count]):
        last = np.stack([layer.state[part, steps] for layer in stack])
        np.testing.assert_allclose(last, case[name], rtol=1e-12, atol=1e-12)
    dx = stack[0].d_ih[:steps] @ stack[0].w_ih.T  # backward ends with the first layer
    np.testing.assert_allclose(dx, case["dx"], rtol=1e-10, atol=1e-10)


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
    value, gradients = window.gradient(x, y, state)

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

    check_central_differences(window, gradients, lambda: window.gradient(x, y, state)[0])


def check_central_differences(window: Window, gradients: dict[str, np.ndarray], value: Callable[[], float]) -> None:
    """``gradients`` are the slopes of ``value()`` by every weight."""
    for name, w in window.layout.named(window.theta).items():
        assert gradients[name] == pytest.approx(slope(value, w), rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("width", [3, 9])
def test_a_layer_between_state_and_readout_is_learned_with_the_window(cell: str, width: int) -> None:
    rng, steps, hidden = np.random.default_rng(11), 4, 5
    plain = spec_for(cell, hidden, 1, steps, 2)
    spec = replace(plain, model=replace(plain.model, hidden_layer=width))
    layout = layout_of(spec)
    window = Window(spec, layout.get_weights(0.5 * rng.standard_normal(layout.size)))
    x, y = rng.standard_normal((steps, 3)), 2 * rng.standard_normal((steps, 2))
    state = rng.uniform(-0.5, 0.5, (1, 2 if cell == "lstm" else 1, hidden))
    y[1, 0] = y[2, :] = np.nan
    _, gradients = window.gradient(x, y, state)
    assert gradients["hidden.weight"].shape == (width, hidden)
    check_central_differences(window, gradients, lambda: window.gradient(x, y, state)[0])


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_trunk_is_trained_through_the_weights_of_the_rls_readout(cell: str) -> None:
    rng = np.random.default_rng(10)
    steps, hidden, layers, fields, lags = 5, 3, 2, 2, 2
    linear = spec_for(cell, hidden, layers, steps, fields)
    spec = replace(linear, model=replace(linear.model, readout="rls", lags=lags))
    weights = random_weights(rng, cell, 3, hidden, layers, fields, 0.8)
    trunk = {name: w for name, w in weights.items() if not name.startswith("head")}
    window = Window(spec, trunk)
    readout = rng.standard_normal((fields, hidden + 3 + lags * fields + 1))
    window.model.readout.full.weight[:] = readout
    window.model.readout.plain.weight[:] = np.nan  # it has no part in this
    x, past = rng.standard_normal((steps, 3)), rng.standard_normal((steps, lags * fields))
    state = rng.uniform(-0.5, 0.5, (layers, 2 if cell == "lstm" else 1, hidden))
    y = 2 * rng.standard_normal((steps, fields))
    y[1, 0] = y[2, :] = np.nan

    value, gradients = window.gradient(x, y, state, lags=past)

    head = weights | {"head.weight": readout[:, :hidden], "head.bias": readout[:, -1]}
    outputs, _, tape = network_forward(cell, head, x, [tuple(part for part in layer) for layer in state])
    outputs += x @ readout[:, hidden : hidden + 3].T + past @ readout[:, hidden + 3 : -1].T
    expected, d_outputs = regression_loss("squared", outputs, y, np.isfinite(y), np.full(fields, 0.5), 1.0)
    assert value == pytest.approx(expected, rel=1e-12)
    oracle = network_backward(cell, head, tape, d_outputs)[0]
    assert gradients.keys() == trunk.keys()
    for name, g in gradients.items():
        np.testing.assert_allclose(g, oracle[name], rtol=1e-10, atol=1e-12, err_msg=name)
    check_central_differences(window, gradients, lambda: window.gradient(x, y, state, lags=past)[0])
    np.testing.assert_array_equal(window.model.readout.full.weight, readout)
