"""What a published prediction turns out to be worth once its target is known: loss, error, and their running sums.

All that record i let us score is summed up in ``scratch.scored`` and then reported at once: a value that was forecast
at several horizons scores several predictions. Naive rivals (``rivals``) are scored on the same targets.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import classes, counts, losses, rivals, scaler, scales, surprise, targets
from streamrnn.core.arrays import F1, F2, Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.jit import internal, jit

N, LOSS, ERROR, COMPARED, LAST_ERROR, TYPICAL_ERROR, INTERVALS, WIDTH = range(8)
"""Entries of ``scratch.scored``: the number of known fields, and the sums over them of the loss in the model's scale
and of the errors, absolute in the target's unit at the middle quantile, 0 or 1 for a class; the number of those of
which the rivals said something, and the sums of their errors; the number of intervals, and the sum of their widths."""


@internal
def begin(plan: Plan, model: Model, scratch: Scratch, y: F1) -> None:
    """A record brings the targets y (F,). To be done before they enter any statistics."""
    for k in range(scratch.scored.shape[0]):
        scratch.scored[k] = 0.0
    targets.reach(plan, model, scratch, y)


@internal
def score(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, prediction: F1, said: F2,
    y: F1, column: int,
) -> None:  # fmt: skip
    """Compare a published prediction (O,), and what the rivals said (F, 2), with the fields y (F,).

    The fields stand at the prediction's columns from ``column`` on; ``scratch.reached`` holds them as far as they can
    be reached. The loss is that of what is learned, the error that of the true value, though no further out than lags
    may be: one absurd value would be all that running sums ever show.
    """
    if plan.classes > 0:
        score_class(plan, model, scratch, prediction, said, y[0])
        return
    per_target = scratch.levels.shape[0]
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            learned = targets.within_bounds(plan, model, streams, scratch, slot, f, y[f])
            _, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, column + f)
            first = (column + f) * per_target
            for q in range(per_target):
                value, _ = losses.element_loss(
                    plan.loss, (prediction[first + q] - learned) / width, scratch.levels[q], hyper.huber_delta
                )
                scratch.scored[LOSS] += value / per_target
            add_errors(model, scratch, f, prediction[first + per_target // 2], said, scratch.reached[f])
            if per_target > 1:
                score_interval(model, scratch, prediction[first], prediction[first + per_target - 1], y[f])


@internal
def add_errors(model: Model, scratch: Scratch, f: int, point: float, said: F2, y: float) -> None:
    """The absolute errors of a prediction of field f and of the rivals'."""
    error, last, typical = abs(point - y), abs(said[f, rivals.LAST] - y), abs(said[f, rivals.TYPICAL] - y)
    add_to_sums(scratch, error, last, typical)
    rivals.sum_up(model.recent_errors[f], error, last, typical)


@internal
def add_to_sums(scratch: Scratch, error: float, last: float, typical: float) -> None:
    """One more known field, with these errors; NaN where the rivals said nothing."""
    scratch.scored[N] += 1.0
    scratch.scored[ERROR] += error
    if not (np.isnan(last) or np.isnan(typical)):
        scratch.scored[COMPARED] += 1.0
        scratch.scored[LAST_ERROR] += last
        scratch.scored[TYPICAL_ERROR] += typical


@internal
def score_interval(model: Model, scratch: Scratch, low: float, high: float, y: float) -> None:
    """An interval between the outermost quantiles; where they crossed it is empty, and its width 0."""
    model.counters[counts.INTERVAL_TARGETS] += 1
    if low <= y and y <= high:
        model.counters[counts.INTERVAL_HITS] += 1
    scratch.scored[INTERVALS] += 1.0
    scratch.scored[WIDTH] += max(0.0, high - low)


@internal
def score_class(plan: Plan, model: Model, scratch: Scratch, prediction: F1, said: F2, y: float) -> None:
    """Compare probabilities (O,) with a class index; NaN = unknown.

    A class of an open set that was not in use yet when they were published has none, and "other" is what could have
    been said of it: another stream may have brought it into use since.
    """
    if np.isnan(y):
        return
    y = classes.as_learned(plan, model, y)
    if plan.open_classes == 1 and prediction[int(y)] == 0.0:
        y = 0.0
    value, error = class_score(plan.loss, prediction, y)
    scratch.scored[LOSS] += value
    last, typical = rivals.class_error(said[0, rivals.LAST], y), rivals.class_error(said[0, rivals.TYPICAL], y)
    add_to_sums(scratch, error, last, typical)
    rivals.sum_up(model.recent_errors[0], error, last, typical)


@jit
def class_score(loss: int, prediction: F1, y: float) -> tuple[float, float]:
    """Loss of probabilities (O,) where the class is y, and 0 or 1 for right or wrong."""
    index = int(y)
    if loss == losses.LOGISTIC:  # the one probability is that of class 1
        p = prediction[0] if index == 1 else 1.0 - prediction[0]
        right = (prediction[0] > 0.5) == (index == 1)
    else:
        p = prediction[index]
        right = np.argmax(prediction) == index
    return -math.log(max(p, 1e-15)), 0.0 if right else 1.0


@internal
def report(model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, closes: bool) -> None:
    """Note what record i let us score, and how surprising it was, or the text that it ``closes``."""
    scored = scratch.scored
    n = scored[N]
    if n > 0.0:
        records.loss[i] = scored[LOSS] / n
        records.error[i] = scored[ERROR] / n
        model.gauges[counts.SCORED] += n
        model.gauges[counts.LOSS_SUM] += scored[LOSS]
        model.gauges[counts.ERROR_SUM] += scored[ERROR]
        model.gauges[counts.LAST_ERROR_SUM] += scored[LAST_ERROR]
        model.gauges[counts.TYPICAL_ERROR_SUM] += scored[TYPICAL_ERROR]
    if scored[COMPARED] > 0.0:
        records.rivals[i, rivals.LAST] = scored[LAST_ERROR] / scored[COMPARED]
        records.rivals[i, rivals.TYPICAL] = scored[TYPICAL_ERROR] / scored[COMPARED]
    if scored[INTERVALS] > 0.0:
        records.width[i] = scored[WIDTH] / scored[INTERVALS]
    surprise.note(model, streams, scratch, records, i, closes)
