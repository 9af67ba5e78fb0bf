"""Truncated back-propagation through time over one stream's window, and the optimiser step it may lead to.

A window replays the newest k2 steps (fewer at a sequence's start) with the current weights, from the carried state
that preceded them, and injects the targets that became known since the stream's previous window, each exactly once. The
loss is the mean over those known elements. Carried states are never rewritten: the next prediction continues from the
state that was computed when its record arrived, with the weights of that time (Williams & Peng 1990, TBPTT(k1, k2)).

A gradient is computed aside; one that is not finite is counted and dropped with its window.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core import cells, counts, heads, optim, rls
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_transposed, copy

LARGEST_STEP = 1e18
"""A gradient that is still longer than this after clipping is dropped: its square would not fit a float32 moment, and
the sum of a batch may overflow although each window was finite."""


@internal
def load_state(plan: Any, source: Any, scratch: Any) -> None:
    """source (L, C, H) becomes the state before the run."""
    for layer in range(plan.layers):
        copy(scratch.h[layer, 0], source[layer, 0])
        if plan.cell == cells.LSTM:
            copy(scratch.c[layer, 0], source[layer, 1])


@internal
def trunk_forward(plan: Any, scratch: Any, steps: int) -> None:
    """Run scratch.x[:steps] through all layers from the loaded state."""
    w = scratch.weights
    for layer in range(plan.layers):
        x = scratch.x if layer == 0 else scratch.h[layer - 1][1:]
        w_ih = w.w_ih_first if layer == 0 else w.w_ih_above[layer - 1]
        cells.forward(plan.cell, steps, x, w_ih, w.w_hh[layer], w.b_ih[layer], w.b_hh[layer],
                      scratch.gates[layer], scratch.h[layer], scratch.c[layer], scratch.aux[layer])  # fmt: skip


@internal
def trunk_backward(plan: Any, scratch: Any, steps: int) -> None:
    """Back-propagate scratch.dh of the top layer (steps, H) into scratch.grads; the other layers' dh is written."""
    w, g = scratch.weights, scratch.grads
    for layer in range(plan.layers - 1, -1, -1):
        x = scratch.x if layer == 0 else scratch.h[layer - 1][1:]
        dw_ih = g.w_ih_first if layer == 0 else g.w_ih_above[layer - 1]
        cells.backward(plan.cell, steps, x, w.w_hh[layer], scratch.gates[layer], scratch.h[layer], scratch.c[layer],
                       scratch.aux[layer], scratch.dh[layer], scratch.carry, scratch.d_ih, scratch.d_hh,
                       dw_ih, g.w_hh[layer], g.b_ih[layer], g.b_hh[layer])  # fmt: skip
        if layer > 0:
            w_ih, below = w.w_ih_above[layer - 1], scratch.dh[layer - 1]
            for t in range(steps):
                below[t, :] = below.dtype.type(0)
                add_transposed(below[t], w_ih, scratch.d_ih[t])


@internal
def regressors(plan: Any, scratch: Any, phi: Any, t: int) -> None:
    """phi (R,) of step t of the run in scratch: [h, x, lags, 1]."""
    h, x, lags = scratch.h[plan.layers - 1, t + 1], scratch.x[t], scratch.lags[t]
    H, D = h.shape[0], x.shape[0]
    copy(phi[:H], h)
    copy(phi[H : H + D], x)
    copy(phi[H + D : phi.shape[0] - 1], lags)
    phi[phi.shape[0] - 1] = 1.0


@internal
def window_gradient(
    plan: Any, hyper: Any, model: Any, scratch: Any, y: Any, first: int, steps: int, known: int
) -> float:
    """Mean loss of one window; its gradient overwrites scratch.grad.

    The window's inputs stand in scratch.x[:steps] (and scratch.lags) and its initial state is loaded; y (k2, Y) is the
    stream's ring of targets, the window's first step being number ``first``; ``known`` elements of it are known, the
    last one at the last step.
    """
    zero = scratch.grad.dtype.type(0)
    scratch.grad[:] = zero
    trunk_forward(plan, scratch, steps)
    top = plan.layers - 1
    h, dh = scratch.h[top], scratch.dh[top]
    scale = scratch.grad.dtype.type(1.0 / known)
    total = 0.0
    for t in range(steps):
        dh[t, :] = zero
        target = y[(first + t) % plan.k2]
        if heads.known_elements(plan.loss, target, scratch.raw.shape[0]) > 0:
            if plan.rls == 1:
                regressors(plan, scratch, scratch.phi_replayed, t)
                rls.replay(model.readout, scratch.phi_replayed, scratch.raw)
            else:
                heads.linear_forward(h[t + 1], scratch.weights.head_w, scratch.weights.head_b, scratch.raw)
            total += heads.loss_gradient(
                plan.loss, scratch.raw, target, scratch.levels, hyper.huber_delta, scratch.draw
            )
            for o in range(scratch.draw.shape[0]):
                scratch.draw[o] *= scale
            if plan.rls == 1:
                rls.backward(model.readout.full.weight, scratch.draw, dh[t])
            else:
                heads.linear_backward(
                    h[t + 1], scratch.weights.head_w, scratch.draw, scratch.grads.head_w, scratch.grads.head_b, dh[t]
                )
    trunk_backward(plan, scratch, steps)
    return total / known


@internal
def learn_window(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, slot: int) -> bool:
    """Learn the stream's newest window if any target of it waits; takes the optimiser step when the batch is full.

    Returns whether it took one.
    """
    taken = streams.steps[slot]
    length = min(taken, plan.k2)
    first = taken - length
    y = streams.y[slot]
    known = used = np.int64(0)  # typed: a literal would compile its callees once more
    for t in range(length):
        n = heads.known_elements(plan.loss, y[(first + t) % plan.k2], scratch.raw.shape[0])
        if n > 0:
            known += n
            used = t + 1  # steps after the last known target have no part in the gradient
    if known == 0:
        return False
    for t in range(used):
        copy(scratch.x[t], streams.x[slot, (first + t) % plan.k2])
        copy(scratch.lags[t], streams.lags[slot, (first + t) % plan.k2])
    if first == 0:
        scratch.h[:, 0, :] = scratch.h.dtype.type(0)
        scratch.c[:, 0, :] = scratch.c.dtype.type(0)
    else:
        place = ((first + plan.k2) // plan.stride) % streams.before.shape[1]
        load_state(plan, streams.before[slot, place], scratch)
    loss = window_gradient(plan, hyper, model, scratch, y, first, used, known)
    for t in range(used):
        y[(first + t) % plan.k2, :] = np.nan

    counters, gauges = model.counters, model.gauges
    norm = optim.global_norm(scratch.grad)
    counters[counts.WINDOWS] += 1
    if not math.isfinite(loss):
        counters[counts.WINDOWS_DROPPED_LOSS] += 1
        return False
    if not math.isfinite(norm):
        counters[counts.WINDOWS_DROPPED_GRADIENT] += 1
        return False
    gauges[counts.WINDOW_LOSS] = loss
    gauges[counts.WINDOW_LOSS_SUM] += loss
    mean = 1.0
    gradient = scratch.grad
    if plan.batch_size > 1:
        for p in range(scratch.grad.shape[0]):
            model.accumulated[p] += scratch.grad[p]
        counters[counts.WINDOWS_IN_BATCH] += 1
        if counters[counts.WINDOWS_IN_BATCH] < plan.batch_size:
            return False
        mean = 1.0 / plan.batch_size
        gradient = model.accumulated
        norm = mean * optim.global_norm(gradient)
    factor = optim.clip_factor(norm, hyper.clip_norm)
    if not norm * factor <= LARGEST_STEP:
        counters[counts.WINDOWS_DROPPED_GRADIENT] += 1
        start_batch(plan, model)
        return False
    counters[counts.UPDATES] += 1
    counters[counts.GRADIENT_CLIPS] += 1 if factor < 1.0 else 0
    gauges[counts.GRAD_NORM] = norm
    gauges[counts.GRAD_NORM_SUM] += norm
    optim.update(
        plan.optimizer,
        hyper,
        model.theta,
        gradient,
        mean * factor,
        model.moment1,
        model.moment2,
        counters[counts.UPDATES],
    )
    start_batch(plan, model)
    return True


@internal
def start_batch(plan: Any, model: Any) -> None:
    """Forget the gradients gathered so far."""
    if plan.batch_size > 1:
        model.accumulated[:] = model.accumulated.dtype.type(0)
        model.counters[counts.WINDOWS_IN_BATCH] = 0
