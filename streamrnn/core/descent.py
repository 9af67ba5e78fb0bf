"""What becomes of a gradient, whatever rule it is of: it is accepted or dropped, joins a batch, leads to a step.

A rule computes the gradient of a window (an exact cell's is one step) aside, in ``scratch.grad``. One that is not
finite is counted and dropped. ``plan.lessons_per_step`` of the others are summed up, and their mean is one optimiser
step; weights stand still meanwhile. Only the parameters that the gradients concern are looked at (``spans``).
"""

from __future__ import annotations

import math

from streamrnn.core import counts, optim, schedules, spans
from streamrnn.core.arrays import I2, T1, Hyper, Model, Plan, Scratch
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_vector

LARGEST_STEP = 1e18
"""A gradient that is still longer than this after clipping is dropped: its square would not fit a float32 moment, and
the sum of a batch may overflow although each window was finite."""
STEPS_PER_NORM = 16
"""Optimiser steps from one whose length is noted to the next: a pass over all weights each time would be felt."""


@internal
def clear(within: I2, vector: T1) -> None:
    """These spans of a vector become zero."""
    for i in range(within.shape[0]):
        vector[within[i, 0] : within[i, 1]] = vector.dtype.type(0)


@internal
def norm(plan: Plan, within: I2, gradient: T1) -> float:
    """The norm of these spans of a gradient, not finite where an element is not.

    Sums of squares in float64: the norm is finite exactly when every element is, so one test serves them all. Of one
    that joins a batch nothing else is asked, so there zero stands for all that are finite.
    """
    return (
        optim.global_norm(within, gradient) if plan.lessons_per_step == 1 else optim.nothing_if_finite(within, gradient)
    )


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
        a, b = within[i, 0], within[i, 1]
        add_vector(model.accumulated[a:b], scratch.grad[a:b])
    for i in range(scratch.n_rows[0]):
        model.in_batch[scratch.rows[i]] = 1
    model.accumulated_loss[0] += loss
    model.counters[counts.WINDOWS_IN_BATCH] += 1


@internal
def finish_window(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, loss: float, norm: float) -> bool:
    """Take the optimiser step if scratch.grad, of that loss and norm, completes the batch; returns whether it did."""
    gradient, mean = scratch.grad, 1.0
    if plan.lessons_per_step > 1:
        add_to_batch(plan, model, scratch, loss)
        if model.counters[counts.WINDOWS_IN_BATCH] < plan.lessons_per_step:
            return False
        spans.note_batch(model, scratch)
        gradient, loss, mean = model.accumulated, model.accumulated_loss[0], 1.0 / plan.lessons_per_step
    within = scratch.spans[: spans.lay_out(plan, model, scratch)]
    if plan.lessons_per_step > 1:
        norm = mean * optim.global_norm(within, gradient)  # clipping looks at the step to be made
    taken = take_step(plan, hyper, model, within, gradient, scratch.step, loss, norm, mean)
    if plan.lessons_per_step > 1:  # dropped or not, the batch is over
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
