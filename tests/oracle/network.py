"""The slow, obvious network: cells, readouts, losses, optimisers and clipping in plain NumPy.

One time step, one layer, one matrix product at a time, in whatever dtype the weights have. Every formula is written
as PyTorch documents it; forward and backward of an operation stand side by side, and gradients are named ``d`` + name.
This is what the kernels are compared with, so it shares no code with them and leaves out everything that makes them
fast. Dimensions: T steps, I inputs, H hidden units, O outputs, Q quantile levels.

Weights are a dictionary under PyTorch's names: ``rnn.weight_ih_l{k}`` [G*H, I or H], ``rnn.weight_hh_l{k}`` [G*H, H],
``rnn.bias_ih_l{k}`` and ``rnn.bias_hh_l{k}`` [G*H], ``head.weight`` [O, H], ``head.bias`` [O]; G is 1, 4 or 3. With a
tanh layer between state and head there are ``hidden.weight`` [M, H] and ``hidden.bias`` [M], and the head is [O, M].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]
State = list[tuple[Array, ...]]  # per layer: (h,) or, for the LSTM, (h, c)

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def shapes(
    cell: str, n_inputs: int, hidden: int, layers: int, n_outputs: int, hidden_layer: int = 0
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, in PyTorch's order."""
    rows = GATES[cell] * hidden
    out: dict[str, tuple[int, ...]] = {}
    for k in range(layers):
        out[f"rnn.weight_ih_l{k}"] = (rows, n_inputs if k == 0 else hidden)
        out[f"rnn.weight_hh_l{k}"] = (rows, hidden)
        out[f"rnn.bias_ih_l{k}"] = (rows,)
        out[f"rnn.bias_hh_l{k}"] = (rows,)
    if hidden_layer:
        out |= {"hidden.weight": (hidden_layer, hidden), "hidden.bias": (hidden_layer,)}
    return out | {"head.weight": (n_outputs, hidden_layer or hidden), "head.bias": (n_outputs,)}


def random_weights(
    rng: np.random.Generator, cell: str, n_inputs: int, hidden: int, layers: int, n_outputs: int, scale: float = 0.5,
    hidden_layer: int = 0,
) -> Weights:  # fmt: skip
    """Uniform weights in [-scale, scale], biases too: no term of a formula is hidden by a zero."""
    names = shapes(cell, n_inputs, hidden, layers, n_outputs, hidden_layer)
    return {name: rng.uniform(-scale, scale, shape) for name, shape in names.items()}


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), dtype=np.asarray(x).dtype)


# ---- cells
# A forward returns the new state and what its backward needs. A backward takes the gradient of the new state and
# returns the gradients of the input, of the state before, and of the two products (by W_ih and by W_hh).


def rnn_forward(w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, x: Array, state: tuple[Array, ...]) -> Any:
    (h_before,) = state
    h = np.tanh(w_ih @ x + b_ih + w_hh @ h_before + b_hh)
    return (h,), h


def rnn_backward(w_ih: Array, w_hh: Array, kept: Any, d_state: tuple[Array, ...]) -> Any:
    h = kept
    (dh,) = d_state
    da = dh * (1 - h * h)
    return w_ih.T @ da, (w_hh.T @ da,), da, da


def lstm_forward(w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, x: Array, state: tuple[Array, ...]) -> Any:
    h_before, c_before = state
    a_i, a_f, a_g, a_o = np.split(w_ih @ x + b_ih + w_hh @ h_before + b_hh, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * c_before + i * g
    h = o * np.tanh(c)
    return (h, c), (i, f, g, o, c, c_before)


def lstm_backward(w_ih: Array, w_hh: Array, kept: Any, d_state: tuple[Array, ...]) -> Any:
    i, f, g, o, c, c_before = kept
    dh, dc_after = d_state
    dc = dc_after + dh * o * (1 - np.tanh(c) ** 2)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_before * f * (1 - f)
    da_g = dc * i * (1 - g * g)
    da_o = dh * np.tanh(c) * o * (1 - o)
    da = np.concatenate([da_i, da_f, da_g, da_o])
    return w_ih.T @ da, (w_hh.T @ da, dc * f), da, da


def gru_forward(w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array, x: Array, state: tuple[Array, ...]) -> Any:
    (h_before,) = state
    p_r, p_z, p_n = np.split(w_ih @ x + b_ih, 3)
    q_r, q_z, q_n = np.split(w_hh @ h_before + b_hh, 3)
    r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
    n = np.tanh(p_n + r * q_n)
    h = (1 - z) * n + z * h_before
    return (h,), (r, z, n, q_n, h_before)


def gru_backward(w_ih: Array, w_hh: Array, kept: Any, d_state: tuple[Array, ...]) -> Any:
    r, z, n, q_n, h_before = kept
    (dh,) = d_state
    da_n = dh * (1 - z) * (1 - n * n)
    da_z = dh * (h_before - n) * z * (1 - z)
    da_r = da_n * q_n * r * (1 - r)
    dp = np.concatenate([da_r, da_z, da_n])
    dq = np.concatenate([da_r, da_z, da_n * r])
    return w_ih.T @ dp, (w_hh.T @ dq + dh * z,), dp, dq


FORWARD = {"rnn": rnn_forward, "lstm": lstm_forward, "gru": gru_forward}
BACKWARD = {"rnn": rnn_backward, "lstm": lstm_backward, "gru": gru_backward}


def zero_state(cell: str, hidden: int, layers: int, dtype: Any = np.float64) -> State:
    parts = 2 if cell == "lstm" else 1
    return [tuple(np.zeros(hidden, dtype) for _ in range(parts)) for _ in range(layers)]


def network_step(cell: str, weights: Weights, x: Array, state: State) -> tuple[Array, State, list[Any]]:
    """One step of the stack and its readout: outputs [O], the new state, and what the backward needs by layer."""
    new_state, kept, below = [], [], x
    for k, before in enumerate(state):
        w_ih, w_hh = weights[f"rnn.weight_ih_l{k}"], weights[f"rnn.weight_hh_l{k}"]
        b_ih, b_hh = weights[f"rnn.bias_ih_l{k}"], weights[f"rnn.bias_hh_l{k}"]
        after, keep = FORWARD[cell](w_ih, w_hh, b_ih, b_hh, below, before)
        kept.append((below, before[0], keep))
        new_state.append(after)
        below = after[0]
    return read_out(weights, below)[0], new_state, [*kept, below]


def read_out(weights: Weights, handed_up: Array, x: Array | None = None) -> tuple[Array, Array]:
    """Outputs [O] of what a cell hands up, and what the head saw of it: a tanh layer of it, where there is one.

    With x the inputs are beside both.
    """
    beside = handed_up[:0] if x is None else x
    seen = np.concatenate([handed_up, beside])
    if "hidden.weight" in weights:
        seen = np.concatenate([np.tanh(weights["hidden.weight"] @ seen + weights["hidden.bias"]), beside])
    return weights["head.weight"] @ seen + weights["head.bias"], seen


def read_out_backward(weights: Weights, handed_up: Array, x: Array | None, d_outputs: Array) -> tuple[Weights, Array]:
    """Gradients of the readout's weights and by what the cell handed up."""
    beside = handed_up[:0] if x is None else x
    seen = read_out(weights, handed_up, x)[1]
    grads = {"head.weight": np.outer(d_outputs, seen), "head.bias": d_outputs}
    d_seen = weights["head.weight"].T @ d_outputs
    if "hidden.weight" in weights:
        M = len(weights["hidden.bias"])
        da = d_seen[:M] * (1 - seen[:M] ** 2)
        grads |= {"hidden.weight": np.outer(da, np.concatenate([handed_up, beside])), "hidden.bias": da}
        d_seen = weights["hidden.weight"].T @ da
    return grads, d_seen[: len(handed_up)]


def network_forward(cell: str, weights: Weights, xs: Array, state: State) -> tuple[Array, State, list[Any]]:
    """Outputs [T, O] of a sequence ``xs`` [T, I], the state after it, and what the backward needs by step."""
    outputs, tape = [], []
    for x in xs:
        out, state, kept = network_step(cell, weights, x, state)
        outputs.append(out)
        tape.append(kept)
    return np.array(outputs), state, tape


def network_backward(cell: str, weights: Weights, tape: list[Any], d_outputs: Array) -> tuple[Weights, Array]:
    """Gradients of all weights and of the inputs [T, I], from the gradient of the outputs [T, O]."""
    grads = {name: np.zeros_like(w) for name, w in weights.items()}
    layers = len(tape[0]) - 1
    d_inputs: list[Array] = []
    d_state: list[tuple[Array, ...]] = [
        tuple(np.zeros_like(tape[0][-1]) for _ in range(2 if cell == "lstm" else 1)) for _ in range(layers)
    ]
    for kept, d_out in zip(reversed(tape), reversed(d_outputs), strict=True):
        of_readout, d_above = read_out_backward(weights, kept[-1], None, d_out)
        for name, g in of_readout.items():
            grads[name] += g
        for k in reversed(range(layers)):
            below, h_before, keep = kept[k]
            w_ih, w_hh = weights[f"rnn.weight_ih_l{k}"], weights[f"rnn.weight_hh_l{k}"]
            dh, *d_rest = d_state[k]
            d_above, d_state[k], dp, dq = BACKWARD[cell](w_ih, w_hh, keep, (dh + d_above, *d_rest))
            grads[f"rnn.weight_ih_l{k}"] += np.outer(dp, below)
            grads[f"rnn.bias_ih_l{k}"] += dp
            grads[f"rnn.weight_hh_l{k}"] += np.outer(dq, h_before)
            grads[f"rnn.bias_hh_l{k}"] += dq
        d_inputs.append(d_above)
    return grads, np.array(d_inputs[::-1])


# ---- readouts and losses


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max())
    return np.asarray(e / e.sum())


def probabilities_in_use(logits: Array, in_use: int) -> Array:
    """The softmax over the first ``in_use`` classes; the others have none."""
    return np.concatenate([softmax(logits[:in_use]), np.zeros_like(logits[in_use:])])


def element_loss(loss: str, error: float, level: float, delta: float) -> tuple[float, float]:
    """Value and derivative by the prediction of one regression element; ``error`` is prediction minus target."""
    if loss == "squared":
        return error * error, 2 * error
    if loss == "absolute":
        return abs(error), np.sign(error)
    if loss == "huber":
        if abs(error) <= delta:
            return 0.5 * error * error, error
        return delta * (abs(error) - 0.5 * delta), delta * np.sign(error)
    if loss == "quantile":
        # The pinball loss of target minus prediction: level * u above the prediction, (level - 1) * u below it.
        if error < 0:
            return -level * error, -level
        return (1 - level) * error, (1 - level) if error > 0 else 0.0
    raise ValueError(loss)


def regression_loss(
    loss: str, outputs: Array, targets: Array, known: Array, levels: Array, delta: float
) -> tuple[float, Array]:
    """Mean loss over the known elements and its gradient by the outputs; all arrays [T, O], ``levels`` [O]."""
    total, count, d_outputs = 0.0, int(known.sum()), np.zeros_like(outputs)
    for t, o in np.argwhere(known):
        value, slope = element_loss(loss, outputs[t, o] - targets[t, o], levels[o], delta)
        total += value
        d_outputs[t, o] = slope / count
    return total / count, d_outputs


def class_loss(
    readout: str, outputs: Array, classes: Array, known: Array, in_use: int | None = None
) -> tuple[float, Array]:
    """Mean cross-entropy over the known steps and its gradient; outputs [T, O] are logits, the others [T].

    Classes from ``in_use`` on are none yet.
    """
    total, count, d_outputs = 0.0, int(known.sum()), np.zeros_like(outputs)
    for t in np.flatnonzero(known):
        label = int(classes[t])
        if readout == "softmax":
            logits = outputs[t, :in_use]
            total += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label]
            d_outputs[t, :in_use] = softmax(logits) / count
            d_outputs[t, label] -= 1 / count
        else:
            logit = outputs[t, 0]
            total += np.logaddexp(0, logit) - label * logit
            d_outputs[t, 0] = (sigmoid(logit) - label) / count
    return total / count, d_outputs


# ---- optimisation


def global_norm(grads: Weights) -> float:
    return float(np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads.values())))


def clip_by_global_norm(grads: Weights, clip_norm: float | None) -> tuple[Weights, float]:
    """The gradient scaled by min(1, clip_norm / (norm + 1e-6)) and its norm before that."""
    norm = global_norm(grads)
    factor = 1.0 if clip_norm is None else min(1.0, clip_norm / (norm + 1e-6))
    return {name: (g * factor).astype(g.dtype) for name, g in grads.items()}, norm


def learning_rate(schedule: str, lr: float, falls_after: int, least: float, steps_before: int) -> float:
    """The rate of a step; ``falls_after`` steps on it is lower by a factor of e, or of the root of 2."""
    share = {
        "constant": 1.0,
        "inverse_sqrt": 1 / np.sqrt(1 + steps_before / falls_after),
        "exponential": np.exp(-steps_before / falls_after),
    }[schedule]
    return lr if schedule == "constant" else lr * max(least, float(share))


@dataclass
class Optimizer:
    """PyTorch's formulas, one weight tensor at a time; ``step`` changes ``weights`` in place."""

    name: str
    lr: float
    momentum: float = 0.9
    rmsprop_alpha: float = 0.99
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    schedule: str = "constant"
    schedule_updates: int = 10_000
    schedule_least: float = 0.0
    slow: frozenset[str] = frozenset()  # tensors that learn at a tenth of the rate
    steps: int = 0
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The learning rate of the step at work, which is counted already."""
        return learning_rate(self.schedule, self.lr, self.schedule_updates, self.schedule_least, self.steps - 1)

    def rate_of(self, name: str) -> float:
        """The same of one tensor, decay included, as if it were in a parameter group of its own."""
        return self.rate * (0.1 if name in self.slow else 1.0)

    def step(
        self,
        weights: Weights,
        grads: Weights,
        unclipped: Weights | None = None,
        limit: float = np.inf,
        in_use: Mapping[str, Array] | None = None,
    ) -> bool:
        """One step; whether it was shortened: by the unclipped gradient it may lower the loss by ``limit`` at most.

        Momentum is shortened with it. ``in_use`` says of some tensors, by masks of their shape, which elements the
        step is about; the others keep their weights and moments, as rows do that PyTorch's SparseAdam has no gradient
        of, while all steps count for the bias corrections.
        """
        self.steps += 1
        masks = {name: np.ones(w.shape, bool) for name, w in weights.items()} | dict(in_use or {})
        kept = {name: [m.get(name, np.zeros(1)).copy() for m in (self.first, self.second)] for name in weights}
        moves = {name: np.where(masks[name], self.move(name, grads[name]), 0) for name in weights}
        share = 1.0
        if np.isfinite(limit):
            slopes = grads if unclipped is None else unclipped
            promise = sum(float((slopes[n].astype(np.float64) * moves[n].astype(np.float64)).sum()) for n in weights)
            if promise > limit:
                share = limit / promise
        for name, w in weights.items():
            mask = masks[name]
            if self.name == "adamw":
                w[mask] *= w.dtype.type(1 - self.rate_of(name) * self.weight_decay)
            w -= w.dtype.type(share) * moves[name]
            self.first[name] *= w.dtype.type(share)
            for moment, before in zip((self.first, self.second), kept[name], strict=True):
                moment[name] = np.where(mask, moment[name], before)
        return share < 1.0

    def move(self, name: str, g: Array) -> Array:
        """What one tensor's step subtracts."""
        m = self.first.setdefault(name, np.zeros_like(g))
        v = self.second.setdefault(name, np.zeros_like(g))
        if self.name == "sgd":
            return self.rate_of(name) * g
        if self.name == "momentum":
            m[...] = self.momentum * m + g
            return self.rate_of(name) * m
        if self.name == "rmsprop":
            v[...] = self.rmsprop_alpha * v + (1 - self.rmsprop_alpha) * g * g
            return self.rate_of(name) * g / (np.sqrt(v) + self.eps)
        if self.name in ("adam", "adamw"):
            b1, b2 = self.betas
            m[...] = b1 * m + (1 - b1) * g
            v[...] = b2 * v + (1 - b2) * g * g
            m_hat = m / (1 - b1**self.steps)
            v_hat = v / (1 - b2**self.steps)
            return self.rate_of(name) * m_hat / (np.sqrt(v_hat) + self.eps)
        raise ValueError(self.name)
