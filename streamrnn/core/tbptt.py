"""Truncated back-propagation through time over one stream's window, and the optimiser step it may lead to.

A window replays the newest k2 steps (fewer at a sequence's start) with the current weights, from the carried state
that preceded them, and injects the targets that became known since the stream's previous window, each exactly once. The
loss is the mean over those known elements. Carried states are never rewritten: the next prediction continues from the
state that was computed when its record arrived, with the weights of that time (Williams & Peng 1990, TBPTT(k1, k2)).

A gradient is computed aside; one that is not finite is counted and dropped with its window.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import counts, heads, losses, optim, reach, schedules, spans, trunk
from streamrnn.core.arrays import I2, T1, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import ZERO, internal
from streamrnn.core.linear import copy

LARGEST_STEP = 1e18
"""A gradient that is still longer than this after clipping is dropped: its square would not fit a float32 moment, and
the sum of a batch may overflow although each window was finite."""
STEPS_PER_NORM = 16
"""Optimiser steps from one whose length is noted to the next: a pass over all weights each time would be felt."""


@internal
def learn(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, last: bool) -> bool:
    """Learn the stream's newest window if one is due and a target in it waits. Returns whether weights moved.

    One is due at every k1-th step of a sequence and at its last.
    """
    if not last and streams.steps[slot] % plan.k1 != 0:
        return False
    first = streams.steps[slot] - min(streams.steps[slot], plan.k2)
    steps = steps_to_replay(plan, streams, slot, first)
    if steps == 0:
        return False
    load_window(plan, streams, scratch, slot, first, steps)
    loss = window_gradient(plan, hyper, model, scratch, steps)
    # Sums of squares in float64: the norm is finite exactly when every element is, so one test serves them all.
    norm = optim.global_norm(scratch.spans[: spans.lay_out(plan, model, scratch)], scratch.grad)
    # Accepted before it enters a batch, where one NaN would spoil the gradients of all other windows.
    if not accept(model, loss, norm):
        return False
    if reach.due(model, steps):  # before weights move: the tape is of these
        reach.measure(plan, model, scratch, steps)
    return finish_window(plan, hyper, model, scratch, loss, norm)


@internal
def forward(streams: Streams, scratch: Scratch, source: int) -> None:
    """The step of the inputs in scratch from the carried state of ``source``, which is not changed."""
    trunk.load_state(streams.state[source], scratch)
    trunk.forward(scratch, ZERO + 1)


@internal
def advance(plan: Plan, streams: Streams, scratch: Scratch, slot: int) -> None:
    """After it: the carried state follows, and the one before is kept where a window will start from it."""
    step = streams.steps[slot]
    if (step + plan.k2) % plan.stride == 0:  # a window that ends k2 steps from here starts from this state
        place = ((step + plan.k2) // plan.stride) % streams.before.shape[1]
        for layer in range(streams.state.shape[1]):
            for part in range(streams.state.shape[2]):
                copy(streams.before[slot, place, layer, part], streams.state[slot, layer, part])
    trunk.keep_state(scratch, streams.state[slot])


@internal
def steps_to_replay(plan: Plan, streams: Streams, slot: int, first: int) -> int:
    """Steps from the window's first to the last one whose target waits; 0 = no target does.

    Those after it have no part in the gradient.
    """
    steps = ZERO
    for t in range(streams.steps[slot] - first):
        if losses.any_known(streams.y[slot, (first + t) % plan.k2]):
            steps = ZERO + t + 1
    return steps


@internal
def load_window(plan: Plan, streams: Streams, scratch: Scratch, slot: int, first: int, steps: int) -> None:
    """The window's inputs, targets and the state before it go to scratch; its targets wait no longer."""
    for t in range(steps):
        place = (first + t) % plan.k2
        copy(scratch.x[t], streams.x[slot, place])
        copy(scratch.looked_up[t], streams.looked_up[slot, place])
        copy(scratch.lags[t], streams.lags[slot, place])
        copy(scratch.targets[t], streams.y[slot, place])
        streams.y[slot, place, :] = np.nan  # windows overlap when k1 < k2; a target is learned from once
    if first == 0:
        trunk.zero_state(scratch)
    else:
        # Windows end at multiples of the stride and start k2 steps before: states are kept, and found, by first + k2.
        place = ((first + plan.k2) // plan.stride) % streams.before.shape[1]
        trunk.load_state(streams.before[slot, place], scratch)


@internal
def window_gradient(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, steps: int) -> float:
    """Mean loss of the first ``steps`` steps in scratch from the loaded state; the gradient overwrites scratch.grad.

    As far as it is not zero anyway: see ``spans``.
    """
    spans.note_rows(scratch, steps)
    clear(scratch.spans[: spans.lay_out(plan, model, scratch)], scratch.grad)
    trunk.forward(scratch, steps)
    h, x, lags, targets = scratch.h[:steps], scratch.x[:steps], scratch.lags[:steps], scratch.targets[:steps]
    loss = heads.window_gradient(plan, hyper, model, scratch, h, x, lags, targets, scratch.dh[:steps])
    trunk.backward(scratch, steps)
    return loss


@internal
def clear(within: I2, vector: T1) -> None:
    """These spans of a vector become zero."""
    for i in range(within.shape[0]):
        vector[within[i, 0] : within[i, 1]] = vector.dtype.type(0)


@internal
def accept(model: Model, loss: float, norm: float) -> bool:
    """Count the window and note its loss; False if its loss or its gradient is not finite."""
    model.counters[counts.WINDOWS] += 1
    if not math.isfinite(loss):
        model.counters[counts.WINDOWS_DROPPED_LOSS] += 1
        return False
    if not math.isfinite(norm):
        model.counters[counts.WINDOWS_DROPPED_GRADIENT] += 1
        return False
    model.gauges[counts.WINDOW_LOSS] = loss
    model.gauges[counts.WINDOW_LOSS_SUM] += loss
    return True


@internal
def add_to_batch(plan: Plan, model: Model, scratch: Scratch, loss: float) -> None:
    """scratch.grad, of that loss, joins the batch."""
    within = scratch.spans[: spans.lay_out(plan, model, scratch)]
    for i in range(within.shape[0]):
        for p in range(within[i, 0], within[i, 1]):
            model.accumulated[p] += scratch.grad[p]
    for i in range(scratch.n_rows[0]):
        model.in_batch[scratch.rows[i]] = 1
    model.accumulated_loss[0] += loss
    model.counters[counts.WINDOWS_IN_BATCH] += 1


@internal
def finish_window(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, loss: float, norm: float) -> bool:
    """Take the optimiser step if scratch.grad, of that loss and norm, completes the batch; returns whether it did."""
    gradient, mean = scratch.grad, 1.0
    if plan.batch_size > 1:
        add_to_batch(plan, model, scratch, loss)
        if model.counters[counts.WINDOWS_IN_BATCH] < plan.batch_size:
            return False
        spans.note_batch(model, scratch)
        gradient, loss, mean = model.accumulated, model.accumulated_loss[0], 1.0 / plan.batch_size
    within = scratch.spans[: spans.lay_out(plan, model, scratch)]
    if plan.batch_size > 1:
        norm = mean * optim.global_norm(within, gradient)  # clipping looks at the step to be made
    taken = take_step(plan, hyper, model, within, gradient, scratch.step, loss, norm, mean)
    if plan.batch_size > 1:  # dropped or not, the batch is over
        end_batch(model, within)
    return taken


@internal
def take_step(
    plan: Plan, hyper: Hyper, model: Model, within: I2, gradient: T1, step: T1, loss: float, norm: float, mean: float
) -> bool:
    """One optimiser step with ``mean * gradient``, whose norm is given; returns whether it was taken."""
    factor = optim.clip_factor(norm, hyper.clip_norm)
    taken = norm * factor <= LARGEST_STEP  # False for NaN too
    if taken:
        model.counters[counts.UPDATES] += 1
        model.counters[counts.GRADIENT_CLIPS] += 1 if factor < 1.0 else 0
        model.gauges[counts.GRAD_NORM] = norm
        model.gauges[counts.GRAD_NORM_SUM] += norm
        # Gradient and loss are both means over the batch or, as here, both sums.
        limit = hyper.polyak_bound * loss if hyper.polyak_bound > 0.0 else math.inf
        number = model.counters[counts.UPDATES]
        lr = schedules.rate(plan.schedule, hyper, number - 1)
        shortened = optim.update(plan.optimizer, hyper, lr, within, model.theta, gradient, mean * factor, limit,
                                 plan.slow, step, model.moment1, model.moment2, number)  # fmt: skip
        model.counters[counts.STEPS_SHORTENED] += 1 if shortened else 0
        if number % STEPS_PER_NORM == 0 or model.gauges[counts.UPDATE_NORM] == 0.0:
            model.gauges[counts.UPDATE_NORM] = optim.step_length(within, gradient, step, limit)
    else:
        model.counters[counts.WINDOWS_DROPPED_GRADIENT] += 1
    return taken


@internal
def end_batch(model: Model, within: I2) -> None:
    """The next batch begins; ``within`` are the spans of this one."""
    clear(within, model.accumulated)
    model.in_batch[:] = 0
    model.accumulated_loss[0] = 0.0
    model.counters[counts.WINDOWS_IN_BATCH] = 0
