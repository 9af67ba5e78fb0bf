"""Losses of one step: their value, the gradient of the raw output, and the prediction that raw outputs stand for.

Raw outputs are O numbers; ``publish`` turns them into the prediction (softmax and logistic into probabilities, the
others as they are). Targets come as Y numbers, NaN where unknown; output o belongs to target ``o // (O // Y)``, so the
quantile levels of one target stand together. For cross-entropy the one target is the class index. Sums, not means, are
returned: the caller divides by the number of known elements of its whole window (``known_elements``).

Arithmetic is float64 whatever the model's precision: it costs nothing beside the trunk, and sums are shown. A kernel
cannot raise, so the last case of each choice is the default; ``handle`` refuses codes that are in neither table.

Squared is PyTorch's MSELoss, huber its HuberLoss(delta), quantile the pinball loss of Koenker & Bassett 1978.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.activations import exponential
from streamrnn.core.arrays import F1, T1
from streamrnn.core.jit import jit

SQUARED, ABSOLUTE, HUBER, QUANTILE, SOFTMAX, LOGISTIC = 0, 1, 2, 3, 4, 5
REGRESSION_LOSSES = {"squared": SQUARED, "absolute": ABSOLUTE, "huber": HUBER, "quantile": QUANTILE}
CROSS_ENTROPIES = {"softmax": SOFTMAX, "logistic": LOGISTIC}


@jit
def largest(raw: T1) -> float:
    """The largest of raw (O,), float64. Taken off before exponentials, which would overflow otherwise."""
    n = raw.shape[0]
    a = b = c = d = raw[0]  # in four lanes, as below
    for o in range(0, n - 3, 4):
        a, b, c, d = max(a, raw[o]), max(b, raw[o + 1]), max(c, raw[o + 2]), max(d, raw[o + 3])
    for o in range(n - n % 4, n):
        a = max(a, raw[o])
    return np.float64(max(max(a, b), max(c, d)))


@jit
def total(values: F1 | T1) -> float:
    """The sum of values (n,) in float64, in four lanes: one alone would wait for each addition."""
    n = values.shape[0]
    a = b = c = d = 0.0
    for o in range(0, n - 3, 4):
        a += np.float64(values[o])
        b += np.float64(values[o + 1])
        c += np.float64(values[o + 2])
        d += np.float64(values[o + 3])
    s = (a + b) + (c + d)
    for o in range(n - n % 4, n):
        s += np.float64(values[o])
    return s


@jit
def publish(loss: int, raw: T1, out: F1) -> None:
    """out (O,) float64: the prediction that raw (O,) stands for."""
    n = raw.shape[0]
    if loss == SOFTMAX:
        highest = largest(raw)
        for o in range(n):
            out[o] = exponential(np.float64(raw[o]) - highest)
        share = 1.0 / total(out)
        for o in range(n):
            out[o] *= share
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
def known_elements(loss: int, y: T1, n_outputs: int) -> int:
    """How many elements of the loss the target row y (Y,) makes known."""
    known = 0
    for k in range(y.shape[0]):
        if not np.isnan(y[k]):
            known += 1
    return known if classifies(loss) else known * (n_outputs // y.shape[0])


@jit
def any_known(y: T1) -> bool:
    """Whether the target row y (Y,) makes any element of a loss known."""
    known = False
    for k in range(y.shape[0]):
        known = known or not np.isnan(y[k])
    return known


@jit
def element_loss(loss: int, e: float, level: float, delta: float) -> tuple[float, float]:
    """Loss and its slope for one regression error e = output - target.

        squared   e^2                                            2 e
        absolute  |e|                                            sign(e)
        huber     e^2 / 2 where |e| <= delta                     e
                  delta (|e| - delta / 2) beyond                 delta sign(e)
        quantile  (1 - level) e where e > 0, -level e elsewhere  the factor of e

    At e = 0 the slope is 0 where the loss has a kink: a target that was met asks for no change.
    """
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
def loss_gradient(loss: int, raw: T1, y: T1, levels: F1, delta: float, draw: T1) -> float:
    """Sum of losses of one step over its known elements; draw (O,) receives the gradient of that sum.

    raw (O,), y (Y,) and draw in the model's precision, levels (Q,) float64, one of them where
    the loss is none of quantiles. The value is float64.
    """
    draw[:] = raw.dtype.type(0)  # an output whose target is unknown has no gradient, and is not visited below
    if classifies(loss):
        if np.isnan(y[0]):
            return 0.0
        return logistic_gradient(raw, y[0], draw) if loss == LOGISTIC else softmax_gradient(raw, int(y[0]), draw)
    total = 0.0
    per_target = levels.shape[0]
    for k in range(y.shape[0]):
        target = np.float64(y[k])
        if not np.isnan(target):
            for q in range(per_target):
                o = k * per_target + q
                value, slope = element_loss(loss, np.float64(raw[o]) - target, levels[q], delta)
                total += value
                draw[o] = raw.dtype.type(slope)
    return total


@jit
def logistic_gradient(raw: T1, y: float, draw: T1) -> float:
    """log(1 + exp(z)) - y z of the one logit z and the class y, 0 or 1; the gradient is 1 / (1 + exp(-z)) - y.

    The logarithm is written max(z, 0) + log(1 + exp(-|z|)), and the logistic function by tanh: so no exponential
    overflows.
    """
    z, target = np.float64(raw[0]), np.float64(y)
    draw[0] = raw.dtype.type(0.5 + 0.5 * math.tanh(0.5 * z) - target)
    return max(z, 0.0) - z * target + math.log1p(math.exp(-abs(z)))


@jit
def softmax_gradient(raw: T1, index: int, draw: T1) -> float:
    """log(sum exp(z)) - z[index] of the logits z = raw (O,); the gradient is exp(z) / sum exp(z), less 1 at index."""
    T = raw.dtype.type
    highest = largest(raw)
    for o in range(raw.shape[0]):
        draw[o] = T(exponential(np.float64(raw[o]) - highest))
    sum_of_all = total(draw)
    share = T(1.0 / sum_of_all)
    for o in range(raw.shape[0]):
        draw[o] *= share
    draw[index] -= T(1)
    return math.log(sum_of_all) + highest - np.float64(raw[index])
