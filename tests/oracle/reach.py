"""How far back a gradient reaches, and how inputs drift, worked out the long way from everything that was kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.oracle.network import BACKWARD, Array, Weights, read_out_backward

EVERY, PATIENCE = 128, 512  # windows from one that is measured to the next as long; until a shorter one is, too
CHUNK, FAST, SLOW = 16, 1_000, 100_000  # values that enter a mean together; values that the two means remember


def gradient_norms(cell: str, weights: Weights, tape: list[Any], d_output: Array) -> list[float]:
    """Norms of a loss's gradient at the state 0, 1, 2, ... steps back, from that of the tape's last output [O].

    At the last step the state is what the readout reads of it; before that, all that the step behind it is handed.
    """
    layers = len(tape[0]) - 1
    _, d_top = read_out_backward(weights, tape[-1][-1], None, d_output)
    norms = [float(np.linalg.norm(d_top))]
    d_state = [tuple(np.zeros_like(d_top) for _ in range(2 if cell == "lstm" else 1)) for _ in range(layers)]
    for kept in reversed(tape):
        d_above = d_top
        for k in reversed(range(layers)):
            dh, *d_rest = d_state[k]
            products = weights[f"rnn.weight_ih_l{k}"], weights[f"rnn.weight_hh_l{k}"]
            d_above, d_state[k], _, _ = BACKWARD[cell](*products, kept[k][2], (dh + d_above, *d_rest))
        d_top = np.zeros_like(d_top)  # one step alone has a loss
        norms.append(float(np.sqrt(sum((part**2).sum() for state in d_state for part in state))))
    return norms


class Reach:
    """The newest window measured: when that was, how long it was, and the norms found."""

    def __init__(self) -> None:
        self.windows, self.at, self.steps = 0, 0, 0
        self.norms: dict[int, float] = {}

    def due(self, steps: int) -> bool:
        since = self.windows - self.at
        return steps > self.steps or (since >= EVERY and steps == self.steps) or since >= PATIENCE

    def take(self, norms: list[float]) -> None:
        self.at, self.steps = self.windows, len(norms) - 1
        self.norms = {j: norm for j, norm in enumerate(norms) if j & (j - 1) == 0}  # 0 and powers of two


def drift_means(values: list[float]) -> tuple[float, float]:
    """Fast and slow mean of an input's values, as they counted, in whole chunks."""
    fast = slow = 0.0
    for i in range(len(values) // CHUNK):
        mean, count = float(np.mean(values[i * CHUNK : (i + 1) * CHUNK])), (i + 1) * CHUNK
        fast += CHUNK / min(count, FAST) * (mean - fast)
        slow += CHUNK / min(count, SLOW) * (mean - slow)
    return fast, slow
