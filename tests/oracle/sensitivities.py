"""Real-time recurrent learning by its definition: how each unit's state depends on each of its weights, step by step.

    dh'/dw = (dh'/dh) dh/dw + (the step's own dh'/dw)

Both Jacobians of a step come from carrying out the step itself with dual numbers: a value and its slopes, one by each
weight of a unit and one by its state. What is differentiated is written here once more, over numbers of any sort.
This says the same as ``exact``, which goes backwards, and neither knows of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.oracle.network import Array, Weights

Step = Callable[[list[Any], Array, Any], Any]


@dataclass
class Dual:
    """Values [N], and their slopes [N, Q] by Q quantities."""

    value: Array
    slopes: Array

    def __add__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.slopes + other.slopes)
        return Dual(self.value + other, self.slopes)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            slopes = self.slopes * other.value[:, None] + other.slopes * self.value[:, None]
            return Dual(self.value * other.value, slopes)
        return Dual(self.value * other, self.slopes * np.broadcast_to(other, self.value.shape)[:, None])

    __radd__, __rmul__ = __add__, __mul__

    def apply(self, value: Array, slope: Array) -> Dual:
        return Dual(value, self.slopes * slope[:, None])


def sigmoid(a: Dual) -> Dual:
    s = 1 / (1 + np.exp(-a.value))
    return a.apply(s, s * (1 - s))


def tanh(a: Dual) -> Dual:
    t = np.tanh(a.value)
    return a.apply(t, 1 - t * t)


def total(columns: list[Dual], x: Array) -> Dual:
    """sum_j columns_j x_j"""
    out = columns[0] * x[0]
    for column, value in zip(columns[1:], x[1:], strict=True):
        out = out + column * value
    return out


# ---- steps, over the columns of a unit's weights; what follows from nu and omega is gamma and the column lambda


def columns_of(kind: str, w: Weights) -> tuple[list[str], list[Array]]:
    """Names and values [N] of what sensitivities are kept of."""
    names: list[str] = []
    values: list[Array] = []

    def take(name: str, value: Array) -> None:
        for j, column in enumerate(np.atleast_2d(value.T)):
            names.append(name if value.ndim == 1 else f"{name}.{j}")
            values.append(column)

    if kind == "elstm":
        for part in "fz":
            for name in (f"weight_{part}", f"bias_{part}", f"weight_c{part}"):
                take(name, w[f"rnn.{name}"])
        return names, values
    take("lambda", np.exp(-np.exp(w["rnn.nu_log"]) + 1j * np.exp(w["rnn.theta_log"])))
    take("B", w["rnn.B_re"] + 1j * w["rnn.B_im"])
    if kind == "glru":
        for name in ("weight_f", "bias_f", "weight_i", "bias_i"):
            take(name, w[f"rnn.{name}"])
    return names, values


def step_of(kind: str, w: Weights) -> Step:
    """The step as a function of columns, inputs and state."""
    if kind == "elstm":
        return elstm
    gamma = np.sqrt(1 - np.exp(-2 * np.exp(w["rnn.nu_log"])))
    return lambda columns, x, h: gated(kind == "glru", gamma, columns, x, h)


def gated(gates: bool, gamma: Array, columns: list[Any], x: Array, h: Any) -> Any:
    D = len(x)
    lam, B, F, I = columns[0], columns[1 : 1 + D], columns[1 + D : 2 + 2 * D], columns[2 + 2 * D :]  # noqa: E741
    kept, let_in = lam * h, total(B, x) * gamma
    if not gates:
        return kept + let_in
    one = np.append(x, 1.0)
    return kept * sigmoid(total(F, one)) + let_in * sigmoid(total(I, one))


def elstm(columns: list[Any], x: Array, c: Any) -> Any:
    n = len(x) + 1
    one = np.append(x, 1.0)
    f = sigmoid(total(columns[:n], one) + columns[n] * c)
    z = tanh(total(columns[n + 1 : 2 * n + 1], one) + columns[2 * n + 1] * c)
    return f * c + (f * -1.0 + 1.0) * z


@dataclass
class Sensitivities:
    """A sequence so far: state [N] and its slopes [N, Q] by the columns."""

    kind: str
    state: Array
    slopes: Array

    @classmethod
    def at_rest(cls, kind: str, w: Weights) -> Sensitivities:
        names, values = columns_of(kind, w)
        dtype = float if kind == "elstm" else complex
        return cls(kind, np.zeros(len(values[0]), dtype), np.zeros((len(values[0]), len(names)), dtype))

    def advance(self, w: Weights, x: Array) -> None:
        """One step with these weights."""
        _, values = columns_of(self.kind, w)
        Q, N = len(values), len(self.state)
        units = np.broadcast_to(np.eye(Q + 1), (N, Q + 1, Q + 1))
        duals = [Dual(value, units[:, q]) for q, value in enumerate(values)]
        after = step_of(self.kind, w)(duals, x, Dual(self.state, units[:, Q]))
        by_state = after.slopes[:, Q:]
        if self.kind == "elstm":
            by_state = np.clip(by_state, -1, 1)
        self.state, self.slopes = after.value, by_state * self.slopes + after.slopes[:, :Q]

    def gradient(self, w: Weights, d_state: Array) -> Weights:
        """By the cell's weights but the output gate's, from dL/dRe h + i dL/dIm h, or dL/dc."""
        names, values = columns_of(self.kind, w)
        by = {name: np.conj(d_state) * self.slopes[:, q] for q, name in enumerate(names)}
        out: Weights = {}

        def matrix(name: str, part: Callable[[Array], Array] = np.real) -> Array:
            return np.stack([part(by[n]) for n in names if n.split(".")[0] == name], axis=1)

        vectors = [n for n in names if "." not in n and n != "lambda"]
        for name in dict.fromkeys(n.split(".")[0] for n in names if n.split(".")[0] not in ("lambda", "B")):
            out[f"rnn.{name}"] = np.real(by[name]) if name in vectors else matrix(name)
        if self.kind == "elstm":
            return out
        out["rnn.B_re"] = matrix("B")
        out["rnn.B_im"] = matrix("B", lambda s: np.real(1j * s))  # B moves along i
        decay, turn, lam = np.exp(w["rnn.nu_log"]), np.exp(w["rnn.theta_log"]), values[0]
        r2 = np.exp(-2 * decay)
        scaled = sum(by[n] * value for n, value in zip(names, values, strict=True) if n.split(".")[0] == "B")
        out["rnn.nu_log"] = np.real(by["lambda"] * -decay * lam + scaled * decay * r2 / (1 - r2))
        out["rnn.theta_log"] = np.real(by["lambda"] * 1j * turn * lam)
        return out
