"""The slow, obvious cells whose units hear only themselves: GLRU, LRU and eLSTM, forwards as their sources have them.

Complex units are complex numbers here. The gradient is that of full backward differentiation: back from the loss of one
step through all steps of the sequence as they were lived, each with the weights that it was computed with, down to its
first. Nothing is carried forwards, so nothing here is like the traces that the package's kernels carry.

Where weights have moved, three things are a matter of definition. A step back goes through that step's own
weights, since it was lived with them. Radius and phase, nu and omega, are reached through lambda = exp(-exp(nu) +
i exp(omega)), and through gamma = sqrt(1 - |lambda|^2), of which a unit knows only its product with B; both as they
are now. And of the eLSTM, a step back is no longer than one in c: dc'/dc is held within -1 and 1.

A *life* is what happened in a sequence: per step (weights of the time, inputs [D], state before [N]). Dimensions: D
inputs, N units. Names and shapes of weights: ``shapes``. Gradients by a complex number z are dL/dRe z + i dL/dIm z.
Sources: Orvieto et al. 2023 (LRU), De et al. 2024 (gates), Irie et al. 2023 (eLSTM).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.oracle.network import Array, Weights, sigmoid

Life = list[tuple[Weights, Array, Array]]

SLOW = frozenset({"rnn.nu_log", "rnn.theta_log"})
"""Tensors that learn at a tenth of the rate."""
LARGEST_NU, LEAST_OMEGA, LARGEST_OMEGA = 2.0, -20.0, 1.1447  # the phase is below pi, nearly
LEAST_DECAY = 1e-3  # of the slowest unit's radius, but 1 / (10 T) of a memory of T steps
LARGEST_WF, LARGEST_WZ = 2.0, 4.0  # what an eLSTM's unit says to itself
CODE_SEED = 201


def kind_of(model: Any) -> str:
    """Which of the three a model's cell is."""
    if model.cell == "elstm":
        return "elstm"
    return "glru" if model.cell == "glru" and model.gates else "lru"


def shapes(kind: str, D: int, N: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a cell's weights."""
    if kind == "elstm":
        of_gates = {
            f"{what}_{gate}": (N, D) if what == "weight" else (N,) for gate in "fzo" for what in ("weight", "bias")
        }
        return {f"rnn.{name}": shape for name, shape in of_gates.items()} | {
            "rnn.weight_cf": (N,),
            "rnn.weight_cz": (N,),
        }
    out: dict[str, tuple[int, ...]] = {
        "rnn.nu_log": (N,),
        "rnn.theta_log": (N,),
        "rnn.B_re": (N, D),
        "rnn.B_im": (N, D),
    }
    if kind == "glru":
        out |= {"rnn.weight_f": (N, D), "rnn.bias_f": (N,), "rnn.weight_i": (N, D), "rnn.bias_i": (N,)}
    return out


def readout_shapes(seen: int, D: int, M: int, O: int) -> dict[str, tuple[int, ...]]:  # noqa: E741
    """Those of what is behind a cell that hands up ``seen`` numbers: M tanh units, if any, and a head of O outputs."""
    hidden = {"hidden.weight": (M, seen + D), "hidden.bias": (M,)} if M else {}
    return hidden | {"head.weight": (O, (M or seen) + D), "head.bias": (O,)}


def random_weights(rng: np.random.Generator, kind: str, D: int, N: int, M: int, O: int) -> Weights:  # noqa: E741
    """Uniform weights, so wide that bounds are reached now and then; no term of a formula is hidden by a zero."""
    wide = {
        "rnn.nu_log": (-5.0, 0.5),
        "rnn.theta_log": (-3.0, 1.1),
        "rnn.weight_cf": (-1.9, 1.9),
        "rnn.weight_cz": (-3.9, 3.9),
    }
    names = shapes(kind, D, N) | readout_shapes(N if kind == "elstm" else 2 * N, D, M, O)
    return {name: rng.uniform(*wide.get(name, (-0.7, 0.7)), shape) for name, shape in names.items()}


def zero(kind: str, N: int, dtype: Any) -> Array:
    """The state that a sequence begins with."""
    return np.zeros(N, np.result_type(dtype, dtype if kind == "elstm" else np.complex64))


def parts(state: Array) -> list[Array]:
    """Its real vectors."""
    return [state.real, state.imag] if np.iscomplexobj(state) else [state]


# ---- one step


def radius_and_phase(w: Weights) -> tuple[Array, Array]:
    """lambda, and gamma, which keeps the state as long as its inputs."""
    nu, omega = w["rnn.nu_log"].astype(np.float64), w["rnn.theta_log"].astype(np.float64)
    lam, gamma = np.exp(-np.exp(nu) + 1j * np.exp(omega)), np.sqrt(-np.expm1(-2 * np.exp(nu)))
    narrow = np.result_type(w["rnn.nu_log"].dtype, np.complex64)
    return lam.astype(narrow), gamma.astype(w["rnn.nu_log"].dtype)


def gate(w: Weights, name: str, x: Array) -> Array:
    """A gate of inputs alone; all open where there are none."""
    if f"rnn.weight_{name}" not in w:
        return np.ones(len(w["rnn.nu_log"]), x.dtype)
    return sigmoid(w[f"rnn.weight_{name}"] @ x + w[f"rnn.bias_{name}"])


def complex_step(w: Weights, x: Array, h: Array) -> Array:
    """h' = f lambda h + gamma i u with u = B x."""
    lam, gamma = radius_and_phase(w)
    return np.asarray(gate(w, "f", x) * lam * h + gamma * gate(w, "i", x) * driven(w, x))


def driven(w: Weights, x: Array) -> Array:
    """u = B x."""
    return np.asarray(w["rnn.B_re"] @ x + 1j * (w["rnn.B_im"] @ x))


def elstm_gates(w: Weights, x: Array, c: Array) -> tuple[Array, Array]:
    """f and z, which hear their own unit's c."""
    f = sigmoid(w["rnn.weight_f"] @ x + w["rnn.bias_f"] + w["rnn.weight_cf"] * c)
    z = np.tanh(w["rnn.weight_z"] @ x + w["rnn.bias_z"] + w["rnn.weight_cz"] * c)
    return f, z


def elstm_step(w: Weights, x: Array, c: Array) -> Array:
    """c' = f c + (1 - f) z"""
    f, z = elstm_gates(w, x, c)
    return np.asarray(f * c + (1 - f) * z)


def step(kind: str, w: Weights, x: Array, state: Array) -> Array:
    """The state after this one."""
    return elstm_step(w, x, state) if kind == "elstm" else complex_step(w, x, state)


def handed_up(kind: str, w: Weights, x: Array, after: Array) -> Array:
    """What the readout is given of a step, inputs apart: real and imaginary parts, or c through a gate."""
    if kind == "elstm":
        return sigmoid(w["rnn.weight_o"] @ x + w["rnn.bias_o"]) * after
    return np.concatenate(parts(after))


# ---- backwards


def gradient(kind: str, w: Weights, life: Life, after: Array, d_up: Array) -> Weights:
    """By the cell's weights, from the gradient by what the life's last step, which led to ``after``, handed up."""
    grads = {name: np.zeros_like(g) for name, g in w.items() if name.startswith("rnn.")}
    if kind != "elstm":
        real, imaginary = np.split(d_up, 2)
        complex_backward(w, life, real + 1j * imaginary, grads)
        return grads
    x = life[-1][1]
    o = sigmoid(w["rnn.weight_o"] @ x + w["rnn.bias_o"])
    da = d_up * after * o * (1 - o)
    grads["rnn.weight_o"] += np.outer(da, x)
    grads["rnn.bias_o"] += da
    elstm_backward(life, d_up * o, grads)
    return grads


def complex_backward(now: Weights, life: Life, dh: Array, grads: Weights) -> None:
    """Adds to grads, from the gradient by the last state."""
    d_lam, dB = np.zeros_like(dh), np.zeros((len(dh), len(life[-1][1])), dh.dtype)
    for w, x, before in reversed(life):
        (lam, gamma), f, i, u = radius_and_phase(w), gate(w, "f", x), gate(w, "i", x), driven(w, x)
        d_lam += np.conj(f * before) * dh
        dB += np.outer(gamma * i * dh, x)
        if "rnn.weight_f" in w:
            df, di = np.real(np.conj(dh) * lam * before), np.real(np.conj(dh) * gamma * u)
            for name, da in (("f", df * f * (1 - f)), ("i", di * i * (1 - i))):
                grads[f"rnn.weight_{name}"] += np.outer(da, x)
                grads[f"rnn.bias_{name}"] += da
        dh = np.conj(f * lam) * dh
    grads["rnn.B_re"] += dB.real
    grads["rnn.B_im"] += dB.imag
    lam, gamma = radius_and_phase(now)
    B = now["rnn.B_re"] + 1j * now["rnn.B_im"]
    d_gamma = np.real(np.conj(dB) * B).sum(axis=1) / gamma  # h knows gamma B alone
    r, decay = np.abs(lam), np.exp(now["rnn.nu_log"])
    d_r = np.real(np.conj(d_lam) * lam) / r - d_gamma * r / gamma
    grads["rnn.nu_log"] += -decay * r * d_r
    grads["rnn.theta_log"] += np.exp(now["rnn.theta_log"]) * np.real(np.conj(d_lam) * 1j * lam)


def elstm_backward(life: Life, dc: Array, grads: Weights) -> None:
    """Adds to grads, from the gradient by the last c."""
    for w, x, before in reversed(life):
        f, z = elstm_gates(w, x, before)
        by_f, by_z = (before - z) * f * (1 - f), (1 - f) * (1 - z * z)
        for name, da in (("f", dc * by_f), ("z", dc * by_z)):
            grads[f"rnn.weight_{name}"] += np.outer(da, x)
            grads[f"rnn.bias_{name}"] += da
            grads[f"rnn.weight_c{name}"] += da * before
        dc = dc * np.clip(f + by_f * w["rnn.weight_cf"] + by_z * w["rnn.weight_cz"], -1, 1)


# ---- bounds, codes


def constrain(kind: str, w: Weights, memory: int | str | None) -> None:
    """Weights back within their bounds, in place."""
    if kind == "elstm":
        np.clip(w["rnn.weight_cf"], -LARGEST_WF, LARGEST_WF, out=w["rnn.weight_cf"])
        np.clip(w["rnn.weight_cz"], -LARGEST_WZ, LARGEST_WZ, out=w["rnn.weight_cz"])
        return
    decay = min(LEAST_DECAY, 1 / (10 * memory)) if isinstance(memory, int) else LEAST_DECAY
    np.clip(w["rnn.nu_log"], np.log(-np.log(1 - decay)), LARGEST_NU, out=w["rnn.nu_log"])
    np.clip(w["rnn.theta_log"], LEAST_OMEGA, LARGEST_OMEGA, out=w["rnn.theta_log"])


def codes(sizes: list[int], columns: int) -> Array:
    """What each symbol of sets of these sizes is to the network: a column of its own where there are enough of them.

    Else it is numbers over all columns, of variance 1 / columns, drawn for its set and its number there.
    """
    if sum(sizes) <= columns:
        return np.eye(sum(sizes), columns)
    generators = [
        np.random.Generator(np.random.PCG64([CODE_SEED, of, k])) for of, size in enumerate(sizes) for k in range(size)
    ]
    return np.array([generator.uniform(-1, 1, columns) for generator in generators]) * np.sqrt(3 / columns)
