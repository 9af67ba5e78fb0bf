"""SGD, momentum, RMSprop, Adam and AdamW with PyTorch's formulas, clipping by global norm, and a bound by the loss.

All weights are one flat vector, and an optimiser is one loop over the spans of it that a step concerns (``spans``).
``moment1`` and ``moment2`` have its length; momentum uses the first, RMSprop the second. The clip factor is folded into
the loop instead of a pass of its own.
A step is worked out aside before it is taken, because the bound looks at all of it.

The bound: going by its gradient g, a step d takes g . d off the loss. No loss can fall below zero, so a step that
promises much more goes where the gradient means nothing; one such step can undo all that was learned, and clipping does
not prevent it: RMSprop and Adam make up for the length of a gradient, and a short one can be just as steep. The step is
shortened until it promises no more than ``polyak_bound`` times the loss. With plain SGD this is the stochastic Polyak
step with a largest rate (Loizou et al. 2021); for momentum and Adam, whose direction is of the past as well, compare
Schaipp et al. 2024. These keep less of the momentum by the same factor, or it would be taken in the steps after.

Constants are cast to the vector's precision first: a float64 scalar would promote the whole float32 loop.

Adam: Kingma & Ba 2015; AdamW (decay decoupled from the gradient): Loshchilov & Hutter 2019; RMSprop: Tieleman & Hinton
2012; clipping: Pascanu et al. 2013, factor ``min(1, c / (norm + 1e-6))`` as in torch.nn.utils.clip_grad_norm_.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.arrays import I2, T1, Hyper
from streamrnn.core.jit import jit
from streamrnn.core.schedules import power
from streamrnn.core.vector import (
    add,
    fma,
    load_8,
    load_32,
    load_64,
    mul,
    size,
    total,
    widen,
    zeros_8,
    zeros_32,
    zeros_64,
)

SGD, MOMENTUM, RMSPROP, ADAM, ADAMW = 0, 1, 2, 3, 4
OPTIMIZERS = {"sgd": SGD, "momentum": MOMENTUM, "rmsprop": RMSPROP, "adam": ADAM, "adamw": ADAMW}
SLOW_SHARE = 0.1
"""Of the learning rate, for parameters that are exponents of exponents: radii and phases (``exact.layout``)."""


@jit
def inner_product(a: T1, b: T1) -> float:
    """a (P,) times b (P,), summed in float64."""
    lanes, P = widen(zeros_32(a)), a.shape[0]
    for p in range(0, P - 31, 32):
        lanes = fma(widen(load_32(a, p)), widen(load_32(b, p)), lanes)
    s: float = total(lanes)
    for p in range(P - P % 32, P):
        s += np.float64(a[p]) * np.float64(b[p])
    return s


@jit
def product_over(spans: I2, a: T1, b: T1) -> float:
    """The same over these spans (n, 2) of a and b alone."""
    s = 0.0
    for i in range(spans.shape[0]):
        s += inner_product(a[spans[i, 0] : spans[i, 1]], b[spans[i, 0] : spans[i, 1]])
    return s


@jit
def global_norm(spans: I2, grad: T1) -> float:
    """Euclidean norm of these spans of grad (P,): finite exactly when every element is (for float32)."""
    return math.sqrt(product_over(spans, grad, grad))


@jit
def nothing_if_finite(spans: I2, grad: T1) -> float:
    """0 where every element of these spans of grad (P,) is finite, else NaN."""
    blank = lanes = zeros_64(grad)
    few_blank = few = zeros_8(grad)
    rest = grad.dtype.type(0)
    for i in range(spans.shape[0]):
        part = grad[spans[i, 0] : spans[i, 1]]
        P = part.shape[0]
        for p in range(0, P - 63, 64):
            lanes = fma(load_64(part, p), blank, lanes)
        for p in range(P - P % 64, P - 7, 8):
            few = fma(load_8(part, p), few_blank, few)
        for p in range(P - P % 8, P):
            rest = fma(part[p], grad.dtype.type(0), rest)
    return np.float64(total(lanes) + total(few) + rest)


@jit
def clip_factor(norm: float, clip_norm: float) -> float:
    """What the gradient is multiplied by: min(1, clip_norm / (norm + 1e-6)); ``clip_norm <= 0`` never clips."""
    return min(1.0, clip_norm / (norm + 1e-6)) if clip_norm > 0.0 else 1.0


@jit
def update(
    optimizer: int, hyper: Hyper, lr: float, spans: I2, theta: T1, grad: T1, factor: float, limit: float, slow: int,
    step: T1, moment1: T1, moment2: T1, number: int,
) -> bool:  # fmt: skip
    """One step, the ``number``-th from 1, with gradient ``factor * grad``; writes these spans of theta and moments.

    ``limit`` is the most that grad . step may be, inf = no bound. Of the first ``slow`` parameters, which the first
    span begins with, the step is a tenth. step (P,) is overwritten. Returns whether the step was shortened.
    """
    # Both corrections for Adam's start from zero are constants of the step, computed before any loop. They are float64
    # until then: in float32, 1 - b2 would keep four digits.
    correction1 = correction(hyper.beta1, number) if optimizer >= ADAM else 1.0
    correction2 = correction(hyper.beta2, number) if optimizer >= ADAM else 1.0
    for i in range(spans.shape[0]):
        a, b = spans[i, 0], spans[i, 1]
        propose(
            optimizer, hyper, lr, correction1, correction2, grad[a:b], factor, step[a:b], moment1[a:b], moment2[a:b]
        )
    scale(step[:slow], SLOW_SHARE)
    share = share_within(promise(spans, grad, step, limit), limit) if limit < math.inf else 1.0
    # AdamW shrinks theta by lr * weight_decay first, beside the moments, which never see the decay.
    keep = 1.0 - lr * hyper.weight_decay if optimizer == ADAMW else 1.0
    for i in range(spans.shape[0]):
        a, b = spans[i, 0], spans[i, 1]
        take(theta[a:b], step[a:b], keep, share)
        if share < 1.0 and (optimizer == MOMENTUM or optimizer >= ADAM):
            scale(moment1[a:b], share)
    return share < 1.0


@jit
def correction(beta: float, number: int) -> float:
    """1 - beta^number. Of e^-40 nothing is left in it, so it is not worked out."""
    return 1.0 if number * (1.0 - beta) > 40.0 else 1.0 - power(beta, number)


@jit
def promise(spans: I2, grad: T1, step: T1, limit: float) -> float:
    """What grad . step is, or, where the sum of its parts' sizes tells that it stays below ``limit``, that sum.

    Sizes are summed up in the vectors' own precision, which takes a fraction of the time of the sum in float64. They
    may be wrong by a millionth; what rounds to zero among them is far below the least limit for which they are asked.
    """
    if limit > 1e-30:
        sizes = 1.001 * sum_of_sizes(spans, grad, step)
        if sizes <= limit:
            return sizes
    return product_over(spans, grad, step)


@jit
def sum_of_sizes(spans: I2, a: T1, b: T1) -> float:
    """The sum of |a b| over these spans, in their precision."""
    lanes, rest = zeros_32(a), a.dtype.type(0)
    for i in range(spans.shape[0]):
        x, y = a[spans[i, 0] : spans[i, 1]], b[spans[i, 0] : spans[i, 1]]
        P = x.shape[0]
        for p in range(0, P - 31, 32):
            lanes = add(lanes, size(mul(load_32(x, p), load_32(y, p))))
        for p in range(P - P % 32, P):
            rest += abs(x[p] * y[p])
    return np.float64(total(lanes) + rest)


@jit
def take(theta: T1, step: T1, keep: float, share: float) -> None:
    """theta (p,) = keep theta - share step."""
    T = theta.dtype.type
    kept, taken = T(keep), T(share)
    for p in range(theta.shape[0]):
        theta[p] = kept * theta[p] - taken * step[p]


@jit
def scale(vector: T1, factor: float) -> None:
    """vector (p,) *= factor."""
    times = vector.dtype.type(factor)
    for p in range(vector.shape[0]):
        vector[p] *= times


@jit
def propose(
    optimizer: int, hyper: Hyper, rate: float, correction1: float, correction2: float, grad: T1, factor: float,
    step: T1, moment1: T1, moment2: T1,
) -> None:  # fmt: skip
    """What the optimiser would subtract from theta goes to step (P,); writes both moments."""
    T = grad.dtype.type
    one = T(1)
    lr, eps, scale = T(rate), T(hyper.eps), T(factor)
    # Below, g = factor * grad. A kernel cannot raise: ``handle`` refuses codes beyond the last case, the default.
    if optimizer == SGD:  # lr g
        for p in range(grad.shape[0]):
            step[p] = lr * (scale * grad[p])
    elif optimizer == MOMENTUM:  # m = mu m + g; lr m. As in PyTorch, g is not damped by 1 - mu
        mu = T(hyper.momentum)
        for p in range(grad.shape[0]):
            moment1[p] = mu * moment1[p] + scale * grad[p]
            step[p] = lr * moment1[p]
    elif optimizer == RMSPROP:  # v = alpha v + (1 - alpha) g^2; lr g / (sqrt(v) + eps)
        alpha = T(hyper.rmsprop_alpha)
        rest = one - alpha
        for p in range(grad.shape[0]):
            g = scale * grad[p]
            moment2[p] = alpha * moment2[p] + rest * (g * g)
            step[p] = lr * g / (T(math.sqrt(moment2[p])) + eps)
    else:
        # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
        b1, b2 = T(hyper.beta1), T(hyper.beta2)
        rest1, rest2 = T(1.0 - hyper.beta1), T(1.0 - hyper.beta2)
        step_size = T(rate / correction1)
        root2 = T(1.0 / math.sqrt(correction2))
        for p in range(grad.shape[0]):
            g = scale * grad[p]
            m = b1 * moment1[p] + rest1 * g
            v = b2 * moment2[p] + rest2 * (g * g)
            moment1[p] = m
            moment2[p] = v
            step[p] = step_size * m / (T(math.sqrt(v)) * root2 + eps)


@jit
def share_within(promise: float, limit: float) -> float:
    """The share of a step to take so that grad . step, now ``promise``, is at most ``limit``."""
    # The loss of a certain and right class may round to just below zero.
    return max(0.0, limit) / promise if promise > max(0.0, limit) else 1.0


@jit
def step_length(spans: I2, grad: T1, step: T1, limit: float) -> float:
    """Euclidean norm of what ``update`` with these took off theta, AdamW's decay apart; step (P,) is as it left it."""
    share = share_within(product_over(spans, grad, step), limit) if limit < math.inf else 1.0
    return share * global_norm(spans, step)
