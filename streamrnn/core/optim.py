"""SGD, momentum, RMSprop, Adam and AdamW with PyTorch's formulas, and clipping by global norm.

All weights are one flat vector, so an optimiser is one loop over it. ``moment1`` and ``moment2`` have its length;
momentum uses the first, RMSprop the second. The clip factor is folded into the loop instead of a pass of its own.
Constants are cast to the vector's precision first: a float64 scalar would promote the whole float32 loop.

Adam: Kingma & Ba 2015; AdamW (decay decoupled from the gradient): Loshchilov & Hutter 2019; RMSprop: Tieleman & Hinton
2012; clipping: Pascanu et al. 2013, factor ``min(1, c / (norm + 1e-6))`` as in torch.nn.utils.clip_grad_norm_.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.arrays import T1, Hyper
from streamrnn.core.jit import jit
from streamrnn.core.vector import fma, load_32, total, widen, zeros_32

SGD, MOMENTUM, RMSPROP, ADAM, ADAMW = 0, 1, 2, 3, 4
OPTIMIZERS = {"sgd": SGD, "momentum": MOMENTUM, "rmsprop": RMSPROP, "adam": ADAM, "adamw": ADAMW}


@jit
def global_norm(grad: T1) -> float:
    """Euclidean norm of grad (P,), summed in float64: finite exactly when every element is (for float32)."""
    lanes, P = widen(zeros_32(grad)), grad.shape[0]
    for p in range(0, P - 31, 32):
        g = widen(load_32(grad, p))
        lanes = fma(g, g, lanes)
    squares = total(lanes)
    for p in range(P - P % 32, P):
        squares += np.float64(grad[p]) * np.float64(grad[p])
    return math.sqrt(squares)


@jit
def clip_factor(norm: float, clip_norm: float) -> float:
    """What the gradient is multiplied by: min(1, clip_norm / (norm + 1e-6)); ``clip_norm <= 0`` never clips."""
    return min(1.0, clip_norm / (norm + 1e-6)) if clip_norm > 0.0 else 1.0


@jit
def update(
    optimizer: int, hyper: Hyper, theta: T1, grad: T1, factor: float, moment1: T1, moment2: T1, step: int
) -> None:
    """One step (numbered from 1) on theta (P,) with gradient ``factor * grad``; writes theta and both moments."""
    T = theta.dtype.type
    one = T(1)
    lr, eps, scale = T(hyper.lr), T(hyper.eps), T(factor)
    # Below, g = factor * grad. A kernel cannot raise: ``handle`` refuses codes beyond the last case, the default.
    if optimizer == SGD:  # theta -= lr g
        for p in range(theta.shape[0]):
            theta[p] -= lr * (scale * grad[p])
    elif optimizer == MOMENTUM:  # m = mu m + g; theta -= lr m. As in PyTorch, g is not damped by 1 - mu
        mu = T(hyper.momentum)
        for p in range(theta.shape[0]):
            moment1[p] = mu * moment1[p] + scale * grad[p]
            theta[p] -= lr * moment1[p]
    elif optimizer == RMSPROP:  # v = alpha v + (1 - alpha) g^2; theta -= lr g / (sqrt(v) + eps)
        alpha = T(hyper.rmsprop_alpha)
        rest = one - alpha
        for p in range(theta.shape[0]):
            g = scale * grad[p]
            moment2[p] = alpha * moment2[p] + rest * (g * g)
            theta[p] -= lr * g / (T(math.sqrt(moment2[p])) + eps)
    else:
        # m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; theta -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
        # Both corrections for the start from zero are constants of the step, computed before the loop. They are
        # float64 until then: in float32, 1 - b2 would keep four digits.
        # AdamW shrinks theta by lr * weight_decay first, beside the moments, which never see the decay.
        b1, b2 = T(hyper.beta1), T(hyper.beta2)
        rest1, rest2 = T(1.0 - hyper.beta1), T(1.0 - hyper.beta2)
        step_size = T(hyper.lr / (1.0 - hyper.beta1**step))
        root2 = T(1.0 / math.sqrt(1.0 - hyper.beta2**step))
        keep = T(1.0 - hyper.lr * hyper.weight_decay) if optimizer == ADAMW else one
        for p in range(theta.shape[0]):
            g = scale * grad[p]
            m = b1 * moment1[p] + rest1 * g
            v = b2 * moment2[p] + rest2 * (g * g)
            moment1[p] = m
            moment2[p] = v
            theta[p] = keep * theta[p] - step_size * m / (T(math.sqrt(v)) * root2 + eps)
