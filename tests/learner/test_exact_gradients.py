"""What an exact cell carries along is the slope of its losses by each of its weights, through the whole learner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replace_spec

from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle import exact
from tests.oracle.network import Weights, class_loss, read_out, read_out_backward, regression_loss
from tests.support.slopes import slope

CELLS = {"lru": {"cell": "glru", "gates": False}, "glru": {"cell": "glru"}, "elstm": {"cell": "elstm"}}
HEADS: dict[str, dict[str, object]] = {
    "squared": {"readout": "linear"},
    "absolute": {"readout": "linear", "loss": "absolute"},
    "huber": {"readout": "linear", "loss": "huber"},
    "quantile": {"readout": "linear", "loss": "quantile"},
    "softmax": {"readout": "softmax"},
    "logistic": {"readout": "logistic"},
}
STILL = 10**6
"""Events in a batch, so that weights stand still and gradients add up."""
D, N, STEPS = 3, 9, 25
"""Inputs; units, of which the last vector holds but one; steps of the sequence."""


def spec_of(cell: str, head: str = "squared", hidden: int = 0, **changes: object) -> LearnerSpec:
    classes = {"softmax": ("p", "q", "r"), "logistic": ("p", "q")}.get(head)
    made = LearnerSpec(
        n_features=D,
        target=TargetSpec(fields=("y",) if classes else ("y", "z"), classes=classes),
        model=ModelSpec(**CELLS[cell], **HEADS[head], hidden_size=N, hidden_layer=hidden, dtype="float64"),
        learning=LearningSpec(k1=STILL, scale=False),
        streams=StreamSpec(max_streams=2),
        inputs=InputSpec(dt=False, previous_target=False),
    )  # fmt: skip
    return replace_spec(made, **changes)


def weights_of(spec: LearnerSpec, seed: int = 0) -> Weights:
    """Random ones, with which no step back of an eLSTM is held within its bounds: that would be no slope."""
    sizes = spec.n_multiplied, N, spec.model.hidden_units, spec.n_outputs
    weights = exact.random_weights(np.random.default_rng(seed), exact.kind_of(spec.model), *sizes)
    for name, share in (("rnn.weight_cf", 0.2), ("rnn.weight_cz", 0.1)):
        if name in weights:
            weights[name] *= share
    return weights


def log_of(spec: LearnerSpec, n: int = STEPS, seed: int = 1) -> Block:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, spec.n_targets)) if not spec.n_classes else rng.integers(0, spec.n_classes, (n, 1))
    y = np.where(rng.random(y.shape) < 0.2, np.nan, y)
    symbols = tuple([str(k) for k in rng.integers(0, symbols.size, n)] for symbols in spec.symbols)
    log = Block.events([b"a"] * n, rng.normal(size=(n, D)), y, time_ms=1000 * np.arange(n))
    return replace(log, symbols=symbols)


def learned(spec: LearnerSpec, weights: Weights, log: Block) -> Weights:
    """The sum of the gradients of all events, by name, where weights stand still."""
    learner = Learner(spec, seed=1)
    learner.set_weights(weights)
    learner.process(log)
    assert learner.counters()["updates"] == 0
    return {name: g.copy() for name, g in learner.layout.named(learner.model_arrays()["accumulated"]).items()}


def loss_of(spec: LearnerSpec, weights: Weights, log: Block) -> float:
    """The same losses, from what the learner says of each event."""
    learner = Learner(spec, seed=1)
    learner.set_weights(weights)
    return float(np.nansum(learner.process(log).loss))


def check_slopes(spec: LearnerSpec, weights: Weights, log: Block, gradient: np.ndarray, name: str) -> None:
    """The last element of a tensor, which is the last unit's, and a few others, against central differences."""
    values = weights[name].reshape(-1)  # no copy: what is moved here is moved in weights
    chosen = {values.size - 1, *np.random.default_rng(2).integers(0, values.size, 4).tolist()}
    for at in chosen:
        expected = slope(lambda: loss_of(spec, weights, log), values[at : at + 1])
        np.testing.assert_allclose(gradient.reshape(-1)[at], expected[0], rtol=1e-6, atol=1e-7, err_msg=f"{name} {at}")


@pytest.mark.parametrize("hidden", [0, 4])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_learned_is_the_slope_of_the_losses(cell: str, head: str, hidden: int) -> None:
    spec = spec_of(cell, head, hidden)
    weights, log = weights_of(spec), log_of(spec)
    gradients = learned(spec, weights, log)
    assert set(gradients) == set(weights)
    for name in weights:
        check_slopes(spec, weights, log, gradients[name], name)


@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_learned_of_symbols_is_the_slope_of_the_losses(cell: str, size: int) -> None:
    symbols = (Symbols(values=tuple(map(str, range(size)))),)
    spec = spec_of(cell, "softmax", 4, symbols=symbols, inputs=InputSpec(dt=True, previous_target=True))
    weights, log = weights_of(spec), log_of(spec)
    gradients = learned(spec, weights, log)
    for name in ("rnn.B_re", "rnn.B_im", "rnn.weight_f", "rnn.weight_z", "hidden.weight", "head.weight"):
        if name in weights:
            check_slopes(spec, weights, log, gradients[name], name)


@pytest.mark.parametrize("head", ["squared", "softmax"])
@pytest.mark.parametrize("hidden", [0, 4])
@pytest.mark.parametrize("cell", CELLS)
def test_where_weights_stand_still_it_is_that_of_full_back_propagation_through_time(
    cell: str, hidden: int, head: str
) -> None:
    # Far longer than any window, and with units that remember all of it.
    spec = spec_of(cell, head, hidden)
    kind, weights = exact.kind_of(spec.model), weights_of(spec)
    if cell != "elstm":
        weights["rnn.nu_log"] = np.linspace(-6.5, 0.5, N)
    else:
        weights["rnn.bias_f"] = np.linspace(0.0, 6.0, N)
    log = log_of(spec, 400)
    expected = {name: np.zeros_like(w) for name, w in weights.items()}
    state, life = exact.zero(kind, N, np.float64), []
    for t in range(len(log)):
        x, y = log.x[t], log.y[t : t + 1]
        life.append((weights, x, state))
        state = exact.step(kind, weights, x, state)
        known = np.isfinite(y)
        if not known.any():
            continue
        up = exact.handed_up(kind, weights, x, state)
        outputs = read_out(weights, up, x)[0][None]
        if head == "softmax":
            _, d_outputs = class_loss("softmax", outputs, y[:, 0], known[:, 0])
        else:
            _, d_outputs = regression_loss("squared", outputs, y, known, np.full(2, 0.5), 1.0)
        grads, d_up = read_out_backward(weights, up, x, d_outputs[0])
        for name, g in (grads | exact.gradient(kind, weights, life, state, d_up)).items():
            expected[name] += g
    for name, g in learned(spec, weights, log).items():
        np.testing.assert_allclose(g, expected[name], rtol=1e-9, atol=1e-9 * np.abs(expected[name]).max(), err_msg=name)
