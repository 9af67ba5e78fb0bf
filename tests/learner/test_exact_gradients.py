"""What an exact cell carries along is the slope of its losses by each of its weights, through the whole learner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replace_spec

from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle import exact
from tests.oracle.learner import NaiveLearner
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


@pytest.mark.parametrize("head", HEADS)
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
    log = log_of(spec, 400 if head in ("squared", "softmax") else 100)
    levels = np.tile(spec.model.quantiles, spec.n_targets) if head == "quantile" else np.full(spec.n_outputs, 0.5)
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
        if spec.n_classes:
            _, d_outputs = class_loss(head, outputs, y[:, 0], known[:, 0])
        else:
            each = len(levels) // spec.n_targets  # of quantiles, levels run fastest
            y, known = np.repeat(y, each, axis=1), np.repeat(known, each, axis=1)
            _, d_outputs = regression_loss(head, outputs, y, known, levels, spec.model.huber_delta)
        grads, d_up = read_out_backward(weights, up, x, d_outputs[0])
        for name, g in (grads | exact.gradient(kind, weights, life, state, d_up)).items():
            expected[name] += g
    for name, g in learned(spec, weights, log).items():
        np.testing.assert_allclose(g, expected[name], rtol=1e-9, atol=1e-9 * np.abs(expected[name]).max(), err_msg=name)


# ---- targets that come late


LATE: dict[str, TargetSpec] = {
    "label": TargetSpec(fields=("y",), known="label", event_field="id", label_field="of", label_memory=9),
    "forecast": TargetSpec(fields=("y",), known="forecast", horizon=(3,)),
}


@pytest.mark.parametrize("hidden", [0, 4])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("known", LATE)
@pytest.mark.parametrize("cell", CELLS)
def test_a_target_that_comes_late_has_the_gradient_of_one_known_at_once(
    cell: str, known: str, head: str, hidden: int
) -> None:
    target, classes = LATE[known], {"softmax": ("p", "q", "r"), "logistic": ("p", "q")}.get(head)
    if classes:  # of classes the next one alone is forecast
        target = replace_spec(target, classes=classes, horizon=1)
    late = spec_of(cell, head, hidden, target=target)
    now = spec_of(cell, head, hidden, target=replace_spec(TargetSpec(fields=("y",)), classes=classes))
    weights, log = weights_of(now), log_of(now, 40)
    if known == "forecast":
        ahead = target.furthest
        y = np.concatenate([log.y[ahead:], np.full((ahead, 1), np.nan)])
        together, later = replace(log, y=y), log
    else:
        together = replace(log, y=np.nan_to_num(log.y))  # an event without a label keeps others waiting to the end
        later = answered_later(together, 5)
    expected, found = learned(now, weights, together), learned(late, weights, later)
    assert any(g.any() for g in expected.values())
    for name, g in expected.items():
        np.testing.assert_allclose(found[name], g, rtol=1e-12, atol=1e-12 * np.abs(g).max(), err_msg=name)


def answered_later(log: Block, wait: int) -> Block:
    """Its events, each answered so many events later, or at the end."""
    n, rows = len(log), []
    for t in range(n + wait):
        if t < n:
            rows.append((EVENT, t + 1, log.x[t], np.full(log.y.shape[1], np.nan)))
        if t >= wait:
            rows.append((LABEL, t - wait + 1, np.full(D, np.nan), log.y[t - wait]))
    kinds, events, x, y = zip(*rows, strict=True)
    times = 1000 * np.arange(len(rows))
    return Block.events([b"a"] * len(rows), np.array(x), np.array(y), time_ms=times, kind=kinds, event=events)


# ---- bounds

BOUNDED = ("rnn.weight_cf", "rnn.weight_cz", "rnn.nu_log", "rnn.theta_log")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_that_a_step_takes_out_of_their_bounds_are_brought_back_as_the_twin_has_them(
    cell: str, optimizer: str
) -> None:
    spec = spec_of(cell, learning=LearningSpec(k1=1, lr=0.05, optimizer=optimizer, scale=False))
    learner, weights = Learner(spec, seed=1), weights_of(spec)
    edges = [name for name in BOUNDED if name in weights]
    for name in edges:
        weights[name][:] = 1e3 * np.resize([1, -1], N)  # brought to the bounds as they are set
    learner.set_weights(weights)
    given = learner.get_weights()
    naive = NaiveLearner(spec, learner.get_weights())
    log = log_of(spec, 60)
    learner.process(log)
    naive.process(log)
    for name, found in learner.get_weights().items():
        np.testing.assert_allclose(found, naive.weights[name], rtol=1e-9, atol=1e-9, err_msg=name)
    held = {name: int((learner.get_weights()[name] == given[name]).sum()) for name in edges}
    assert any(0 < n < N for n in held.values())  # steps were held at a bound, others led away from it
