"""What a published prediction turns out to be worth once its target is known: loss, error, and their running sums."""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import counts, losses, scaler, targets
from streamrnn.core.arrays import F1, Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.jit import ZERO, internal, jit

Score = tuple[int, float, float]
"""The number of known fields, and the sums over them of the loss in the model's scale and of the error: absolute in the
target's unit, at the middle quantile; 0 or 1 for a class."""


@internal
def score(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, prediction: F1, y: F1,
    column: int,
) -> Score:  # fmt: skip
    """Compare a published prediction (O,) with the fields y (F,), standing at its columns from ``column`` on.

    The loss is that of what is learned, the error that of the true value, though no further out than lags may be: one
    absurd value would be all that running sums ever show.
    """
    if plan.classes > 0:
        return score_class(plan.loss, prediction, y[0])
    n, loss, error = ZERO, 0.0, 0.0
    per_target = prediction.shape[0] // streams.y.shape[2]
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            n += 1
            learned = targets.within_bounds(plan, hyper, model, streams, slot, f, y[f])
            scored = targets.within_reach(plan, hyper, model, streams, slot, f, y[f])
            _, width = targets.column_scale(plan, hyper, model, streams, slot, column + f)
            first = (column + f) * per_target
            for q in range(per_target):
                value, _ = losses.element_loss(
                    plan.loss, (prediction[first + q] - learned) / width, scratch.levels[q], hyper.huber_delta
                )
                loss += value / per_target
            error += abs(prediction[first + per_target // 2] - scored)
    return n, loss, error


@jit
def score_class(loss: int, prediction: F1, y: float) -> Score:
    """Compare probabilities (O,) with a class index; NaN = unknown."""
    if np.isnan(y):
        return ZERO, 0.0, 0.0
    index = int(y)
    if loss == losses.LOGISTIC:  # the one probability is that of class 1
        p = prediction[0] if index == 1 else 1.0 - prediction[0]
        right = (prediction[0] > 0.5) == (index == 1)
    else:
        p = prediction[index]
        right = np.argmax(prediction) == index
    return ZERO + 1, -math.log(max(p, 1e-15)), 0.0 if right else 1.0


@internal
def report(model: Model, records: Records, i: int, scored: Score) -> None:
    """Note what record i let us score."""
    n, loss, error = scored
    if n > 0:
        records.loss[i] = loss / n
        records.error[i] = error / n
        model.gauges[counts.SCORED] += n
        model.gauges[counts.LOSS_SUM] += loss
        model.gauges[counts.ERROR_SUM] += error
