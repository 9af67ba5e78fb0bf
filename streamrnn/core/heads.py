"""Readouts and losses: one prediction, its loss and the gradient of the raw output, together.

A head computes ``raw = W h + b`` with O outputs; ``publish`` turns raw outputs into the prediction (softmax and
logistic into probabilities, the others as they are). Targets come as Y numbers, NaN where unknown; output o belongs to
target ``o // (O // Y)``, so the quantile levels of one target stand together. For cross-entropy the one target is the
class index. Sums, not means, are returned, with the number of elements they run over (outputs; one for cross-entropy):
the caller divides by the number of known elements of its whole window.

Squared is PyTorch's MSELoss, huber its HuberLoss(delta), quantile the pinball loss of Koenker & Bassett 1978.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core.jit import jit

SQUARED, ABSOLUTE, HUBER, QUANTILE, SOFTMAX, LOGISTIC = 0, 1, 2, 3, 4, 5
REGRESSION_LOSSES = {"squared": SQUARED, "absolute": ABSOLUTE, "huber": HUBER, "quantile": QUANTILE}
CROSS_ENTROPIES = {"softmax": SOFTMAX, "logistic": LOGISTIC}


@jit
def linear_forward(h: Any, w: Any, b: Any, raw: Any) -> None:
    """raw (O,) = w (O, H) h (H,) + b (O,)."""
    for o in range(raw.shape[0]):
        row = w[o]
        s = b[o]
        for j in range(h.shape[0]):
            s += row[j] * h[j]
        raw[o] = s


@jit
def linear_backward(h: Any, w: Any, draw: Any, dw: Any, db: Any, dh: Any) -> None:
    """Adds to dw (O, H), db (O,) and dh (H,) from draw (O,), the gradient of the raw output."""
    zero = draw.dtype.type(0)
    for o in range(draw.shape[0]):
        d = draw[o]
        if d == zero:
            continue
        row, drow = w[o], dw[o]
        for j in range(h.shape[0]):
            drow[j] += d * h[j]
            dh[j] += d * row[j]
        db[o] += d


@jit
def publish(loss: int, raw: Any, out: Any) -> None:
    """out (O,) float64: the prediction that raw (O,) stands for."""
    n = raw.shape[0]
    if loss == SOFTMAX:
        highest = np.float64(raw[0])
        for o in range(1, n):
            highest = max(highest, np.float64(raw[o]))
        total = 0.0
        for o in range(n):
            out[o] = math.exp(np.float64(raw[o]) - highest)
            total += out[o]
        for o in range(n):
            out[o] /= total
    elif loss == LOGISTIC:
        for o in range(n):
            out[o] = 0.5 + 0.5 * math.tanh(0.5 * np.float64(raw[o]))
    else:
        for o in range(n):
            out[o] = np.float64(raw[o])


@jit
def classifies(loss: int) -> bool:
    """Whether the loss is a cross-entropy: its one target is a class index."""
    return loss in (SOFTMAX, LOGISTIC)


@jit
def known_elements(loss: int, y: Any, n_outputs: int) -> int:
    """How many elements of the loss the target row y (Y,) makes known."""
    known = 0
    for k in range(y.shape[0]):
        if not np.isnan(y[k]):
            known += 1
    return known if classifies(loss) else known * (n_outputs // y.shape[0])


@jit
def element_loss(loss: int, e: float, level: float, delta: float) -> tuple[float, float]:
    """Loss and its slope for one regression error e = output - target."""
    if loss == SQUARED:
        return e * e, 2.0 * e
    if loss == ABSOLUTE:
        return abs(e), np.sign(e)
    if loss == HUBER:
        if abs(e) <= delta:
            return 0.5 * e * e, e
        return delta * (abs(e) - 0.5 * delta), delta * np.sign(e)
    slope = 1.0 - level if e > 0.0 else -level
    return slope * e, slope if e != 0.0 else 0.0


@jit
def loss_gradient(loss: int, raw: Any, y: Any, levels: Any, delta: float, draw: Any) -> float:
    """Sum of losses of one step over its known elements; draw (O,) receives the gradient of that sum.

    raw (O,), y (Y,) and draw in the model's precision, levels (Q,) float64 (quantile only). The value is float64.
    """
    n = raw.shape[0]
    T = raw.dtype.type
    draw[:] = T(0)
    total = 0.0
    if loss == LOGISTIC:
        if np.isnan(y[0]):
            return 0.0
        z, target = np.float64(raw[0]), np.float64(y[0])
        draw[0] = T(0.5 + 0.5 * math.tanh(0.5 * z) - target)
        return max(z, 0.0) - z * target + math.log1p(math.exp(-abs(z)))
    if loss == SOFTMAX:
        if np.isnan(y[0]):
            return 0.0
        index = int(y[0])
        highest = np.float64(raw[0])
        for o in range(1, n):
            highest = max(highest, np.float64(raw[o]))
        for o in range(n):
            total += math.exp(np.float64(raw[o]) - highest)
        for o in range(n):
            draw[o] = T(math.exp(np.float64(raw[o]) - highest) / total)
        draw[index] -= T(1)
        return math.log(total) + highest - np.float64(raw[index])
    per_target = n // y.shape[0]
    for o in range(n):
        target = np.float64(y[o // per_target])
        if not np.isnan(target):
            value, slope = element_loss(loss, np.float64(raw[o]) - target, levels[o % per_target], delta)
            total += value
            draw[o] = T(slope)
    return total
