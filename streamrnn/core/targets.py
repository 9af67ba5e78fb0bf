"""What a stream remembers of its targets, how they are standardised, and the baseline forecasts start from.

A target y is learned as ``(y - centre) / width``. Centre and width are the running mean and deviation of its stream,
shrunk towards the partition's (the partition's alone with the RLS readout). Where forecasts are differences to a
baseline, that is the centre, and the width is the root mean square of these differences, kept per horizon. The
baseline of the value j steps ahead is the newest value one or more whole periods before it,

    y[t + j - period * ceil(j / period)]        (period 1: the last value)

and the last value while the stream is younger than that.

A *column* is one target of a step: field f at the k-th of the steps ahead stands in column k * F + f, and is
``scratch.ahead[k]`` steps ahead. ``history`` holds the newest
known values of the running sequence, for lags and baselines. Where targets are the stream's own future it holds one
value per step, an unknown one being replaced by the value before it. ``ago`` counts steps back from its newest value.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core import classes, counts, kinds, rls, scaler, scales
from streamrnn.core.arrays import F1, F2, I1, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import copy

LARGEST_LAG = 1e6
"""Lags are clamped here, in deviations."""


@jit
def value_before(history: F2, counts: I1, field: int, ago: int) -> float:
    """The value ``ago`` steps before a sequence's newest one, NaN where there is none or it is forgotten.

    history (Q, F) and counts (F,) of one stream.
    """
    size, count = history.shape[0], counts[field]
    known = ago < min(count, size)
    return history[(count - 1 - ago) % size, field] if known else np.nan


@internal
def baseline(plan: Plan, model: Model, streams: Streams, slot: int, field: int, j: int, ago: int) -> float:
    """What a forecast of a field j steps ahead starts from that was made ``ago`` steps before the newest value.

    The partition's mean where the sequence had no value then.
    """
    periods = (j + plan.period - 1) // plan.period * plan.period
    # y[t + j - periods] lies periods - j steps before t, and t itself ``ago`` steps before the newest value.
    history, counts = streams.history[slot], streams.history_count[slot]
    value = value_before(history, counts, field, periods - j + ago)
    if np.isnan(value):
        value = value_before(history, counts, field, ago)
    return model.y_mean[field] if np.isnan(value) else value


@internal
def change(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int, field: int,
    lag: int, limit: float,
) -> float:  # fmt: skip
    """Difference over one period, ``lag`` steps before the newest value, in widths; 0 where unknown.

    It is cut off at ``limit`` deviations of its own stream. Here and in ``lag_value`` slot's statistics are in force
    for the values of source's sequence.
    """
    history, counts = streams.history[source], streams.history_count[source]
    newer = value_before(history, counts, field, lag)
    older = value_before(history, counts, field, lag + plan.period)
    if np.isnan(newer) or np.isnan(older):
        return 0.0
    difference = newer - older
    if plan.scale == 1:
        difference = scaler.clipped(difference, 0.0, limit * scales.own_change(hyper, model, streams, slot, field))
    _, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, field)
    return min(LARGEST_LAG, max(-LARGEST_LAG, difference / width))


@internal
def lag_value(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int, field: int,
    lag: int,
) -> float:  # fmt: skip
    """Regressor ``lag`` of a field: a known value, or with a baseline a difference; 0 where unknown."""
    if plan.period > 0:
        limit = lag_limit(plan, streams, slot, field)
        return change(plan, hyper, model, streams, scratch, slot, source, field, lag, limit)
    value = value_before(streams.history[source], streams.history_count[source], field, lag)
    if np.isnan(value):
        return 0.0
    value = level(plan, scratch, field, value, lag_limit(plan, streams, slot, field))
    return min(LARGEST_LAG, max(-LARGEST_LAG, value))


@internal
def lag_limit(plan: Plan, streams: Streams, slot: int, field: int) -> float:
    """Deviations at which a stream's lags are cut off: far out while it is new, or in a run that may be a new level.

    Else a value out of bounds is likely to be alone, and would be felt in all lags, one after the other.
    """
    count, run = streams.y_count[slot, field], streams.y_watch[slot, field, scaler.RUN]
    if plan.period > 0:
        count, run = streams.change_count[slot, field], streams.change_watch[slot, field, scaler.RUN]
    return scaler.FAR if count <= scaler.SETTLED or run <= -2.0 else scaler.BOUND


@internal
def level(plan: Plan, scratch: Scratch, field: int, value: float, limit: float) -> float:
    """A remembered value of a field, standardised; cut off at ``limit`` deviations of its own stream."""
    if plan.scale == 1:
        own_centre, own_width = scales.own_scale(scratch, field)
        value = scaler.clipped(value, own_centre, limit * own_width)
    centre, width = scales.level_scale(plan, scratch, field)
    return (value - centre) / width


@internal
def absorb(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, y: F1) -> None:
    """Known fields of y (F,) enter the statistics; scratch says as what they count, and what to remember of them.

    A stream's own statistics begin when the partition has some to hold its values against. A value far off is
    remembered only if the one before it was out of bounds, too: forecasts from "the last value" should not start there.
    """
    if plan.classes > 0:
        classes.absorb(plan, model, scratch, y[0])
        return
    for f in range(plan.fields):
        scratch.counted[f] = scratch.kept[f] = y[f]
        if scaler.usable(y[f]):
            absorb_field(plan, hyper, model, streams, scratch, slot, f, y[f])
    scales.measure(plan, hyper, model, streams, scratch, slot)


@internal
def absorb_field(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, f: int, y: float
) -> None:
    """The known value y of field f, as above."""
    if scaler.is_young(model.y_count, f):
        scaler.begin(model.y_count, model.y_mean, model.y_m2, model.y_first, f, y)
        scales.measure_field(plan, hyper, model, streams, scratch, slot, f)
        counted, lone = within_bounds(plan, model, streams, scratch, slot, f, y), False
    else:
        watch = streams.y_watch[slot]
        centre, width = scales.own_scale(scratch, f)
        lone = scaler.is_lone(watch, f, y, centre, width)
        counted = scaler.absorb(
            streams.y_count[slot], streams.y_mean[slot], streams.y_m2[slot], watch, f, y, centre, width, hyper.memory
        )
        # In the partition's only if the stream takes it for its own, or is too young to tell: none speaks for others.
        if counted == y or streams.y_count[slot, f] < scaler.NEWCOMERS:
            scaler.take_in(
                model.y_count, model.y_mean, model.y_m2, model.y_watch, model.y_first, f, counted, hyper.memory
            )
    if plan.scale == 1:
        if counted != y:
            model.counters[counts.OUTLYING_TARGETS] += 1
            model.y_clamped[f] += 1
        scratch.counted[f] = counted
        scratch.kept[f] = np.nan if lone else y


@internal
def reach(plan: Plan, model: Model, scratch: Scratch, y: F1) -> None:
    """scratch.reached (F,) = the known fields of y as far as errors are those to them. To be done before ``absorb``."""
    for f in range(plan.fields):
        if not scaler.usable(y[f]):
            scratch.reached[f] = np.nan
        elif plan.classes > 0:
            scratch.reached[f] = y[f]
        else:
            scratch.reached[f] = within_reach(plan, model, scratch, f, y[f])


@internal
def within_reach(plan: Plan, model: Model, scratch: Scratch, field: int, y: float) -> float:
    """A value of the stream as far as errors are those to it; as it is while no deviation is known."""
    if plan.scale == 0 or model.y_count[field] < 3.0 or not model.y_m2[field] > 0.0:
        return y
    centre, width = scales.own_scale(scratch, field)
    return scaler.clipped(y, centre, scaler.FAR * width)


@internal
def within_bounds(
    plan: Plan, model: Model, streams: Streams, scratch: Scratch, slot: int, field: int, y: float
) -> float:
    """A value of the stream as far as it counts now; the first two of a partition as they are."""
    if plan.scale == 0 or model.y_count[field] < 3.0:
        return y
    centre, width = scales.own_scale(scratch, field)
    return scaler.clipped(y, centre, scaler.reach(streams.y_watch[slot], field, width))


@internal
def remember(plan: Plan, streams: Streams, slot: int, y: F1) -> None:
    """Known fields of y (F,) become the newest known values, and enter the sequence's history."""
    size = streams.history.shape[1]
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            streams.newest[slot, f] = y[f]
        elif plan.known != kinds.KNOWN_BY_FORECAST or np.isnan(streams.newest[slot, f]):
            continue
        # An unknown value of a forecast series is entered as the one before it: lags and seasons count steps.
        if size > 0:
            streams.history[slot, streams.history_count[slot, f] % size, f] = streams.newest[slot, f]
            streams.history_count[slot, f] += 1


@internal
def absorb_change(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, slot: int, y: float, column: int, ago: int
) -> None:
    """The difference of a known value to the baseline it had ``ago`` steps before enters the statistics.

    Squares around zero, not around their mean: an output of zero has to mean the baseline itself.
    """
    if not scaler.usable(y):
        return
    counted = change = y - baseline(plan, model, streams, slot, column % plan.fields, ago, ago)
    if not scaler.is_young(model.change_count, column):
        width = scales.own_change(hyper, model, streams, slot, column)
        counted = scaler.absorb_square(
            streams.change_count[slot], streams.change_m2[slot], streams.change_watch[slot], column, change, width,
            hyper.memory,
        )  # fmt: skip
    if counted == change or streams.change_count[slot, column] < scaler.NEWCOMERS:
        scaler.take_in_square(
            model.change_count, model.change_m2, model.change_watch, model.change_first, column, counted, hyper.memory
        )


@internal
def difference(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, slot: int, y: float, column: int, ago: int
) -> float:
    """The known value minus the baseline it had ``ago`` steps before, as far as it counts."""
    change = y - baseline(plan, model, streams, slot, column % plan.fields, ago, ago)
    if plan.scale == 0:
        return change
    width = scales.own_change(hyper, model, streams, slot, column)
    return scaler.clipped(change, 0.0, scaler.reach(streams.change_watch[slot], column, width))


@internal
def enqueue(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, step: int, y: float,
    column: int, ago: int,
) -> None:  # fmt: skip
    """A known target, standardised, waits in its column of the given step for the next window."""
    if scaler.usable(y):
        centre, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, column)
        distance = difference(plan, hyper, model, streams, slot, y, column, ago) if plan.period > 0 else y - centre
        streams.y[slot, step % plan.k2, column] = streams.y.dtype.type(distance / width)


# -- the RLS readout --------------------------------------------------------------------------------------------------
#
# Its regressors hold lags, standardised when the prediction was made; centre and width move on until the target is
# known. A target is therefore brought into the scaling of its regressors before the readout learns it.


@internal
def write_scaling(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int
) -> None:
    """scratch.scaling (F, 3) = centre and width that the lags are in now, and whether to learn from them: 1 or 0.

    The width is NaN while no deviation is known: standardised by nothing, a target would come in as the raw number it
    is. Nothing is learned while a lag is out of bounds: least squares would rather give up its weight than leave such
    an error.
    """
    sound, scaling = True, scratch.scaling
    for f in range(plan.fields):
        sound = sound and lags_within_bounds(plan, hyper, model, streams, scratch, slot, source, f)
    for f in range(plan.fields):
        scaling[f, 0], scaling[f, 1] = scales.column_scale(plan, hyper, model, streams, scratch, slot, f)
        scaling[f, 2] = 1.0 if sound or plan.scale == 0 else 0.0
        deviations = model.change_m2[f] if plan.period > 0 else model.y_m2[f]
        if plan.scale == 1 and not deviations > 0.0:
            scaling[f, 1] = np.nan


@internal
def lags_within_bounds(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int, field: int
) -> bool:
    """Whether no lag of a field lies beyond ten deviations of its own stream."""
    history, known = streams.history[source], streams.history_count[source]
    centre, width = scales.own_scale(scratch, field)
    if plan.period > 0:
        centre, width = 0.0, scales.own_change(hyper, model, streams, slot, field)
    for lag in range(plan.lags):
        value = value_before(history, known, field, lag)
        if plan.period > 0:
            value -= value_before(history, known, field, lag + plan.period)
        if abs(value - centre) > scaler.BOUND * width:
            return False
    return True


@internal
def is_learnable(plan: Plan, model: Model, streams: Streams, slot: int, scaling: F2, column: int) -> bool:
    """Whether weights may learn a column's newest value from what was predicted.

    Of a run out of bounds only the first: whether they are a new level is not known before the last. Least squares, and
    the trunk beneath them, learn none of it, be it of the stream or of the partition, in whose units their weights are;
    and nothing where ``scaling`` (F, 3) of the prediction says so.
    """
    field = column % plan.fields
    if plan.rls == 0:
        return is_first_or_within(plan, streams, slot, field)
    if plan.period > 0:
        own, pool = streams.change_watch[slot, column], model.change_watch[column]
    else:
        own, pool = streams.y_watch[slot, field], model.y_watch[field]
    in_question = own[scaler.RUN] < 0.0 or pool[scaler.RUN] < 0.0
    known = scaling[field, 2] > 0.0 and not np.isnan(scaling[field, 1])
    return bool(known and (plan.scale == 0 or not in_question))


@internal
def is_first_or_within(plan: Plan, streams: Streams, slot: int, field: int) -> bool:
    """Whether a field's newest value is within bounds, or the first of a run that is not."""
    return bool(plan.scale == 0 or streams.y_watch[slot, field, scaler.RUN] > -2.0)


@internal
def is_learnable_from(plan: Plan, model: Model, streams: Streams, slot: int, place: int, column: int) -> bool:
    """As ``is_learnable``, from what was predicted and is remembered at ``place``."""
    if plan.rls == 0:  # nothing remembers a scaling
        return is_first_or_within(plan, streams, slot, column % plan.fields)
    return is_learnable(plan, model, streams, slot, streams.scaling[slot, place], column)


@internal
def fit_readout(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, phi: F1, scaling: F2,
    predictions: F2,
) -> None:  # fmt: skip
    """The readout learns the known targets of the record at work, from what the prediction was made with.

    phi (R,) are its regressors, scaling (F, 3) theirs, predictions (O, 2) those of its models.
    """
    for f in range(plan.fields):
        y = scratch.counted[f]
        if scaler.usable(y) and not np.isnan(scaling[f, 1]):
            target = (y - scaling[f, 0]) / scaling[f, 1]
            if is_learnable(plan, model, streams, slot, scaling, f):
                learn_by_readout(plan, hyper, model, scratch, f, phi, predictions[f], target)
            else:
                target = (judged(streams, scratch, slot, f) - scaling[f, 0]) / scaling[f, 1]
                rls.judge(model.readout, f, phi, plan.newest_at, predictions[f], target)


@internal
def learn_by_readout(
    plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, column: int, phi: F1, predictions: F1, target: float
) -> None:
    """One step of least squares; where nothing else learns, that is what updates are."""
    rls.update(model.readout, hyper, column, phi, plan.newest_at, predictions, target, scratch.workspace)
    if plan.rule == kinds.FIXED:
        model.counters[counts.UPDATES] += 1


@internal
def judged(streams: Streams, scratch: Scratch, slot: int, field: int) -> float:
    """What experts are judged by where nothing is fitted: the value remembered, as far out as lags may be.

    NaN where it is the first out of bounds. None of them foresaw it, and equal errors would make all look alike.
    """
    if streams.y_watch[slot, field, scaler.RUN] == -1.0:
        return np.nan
    centre, width = scales.own_scale(scratch, field)
    return scaler.clipped(scratch.kept[field], centre, scaler.FAR * width)


@internal
def fit_readout_to_forecast(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, place: int, y: float,
    column: int, ago: int,
) -> None:  # fmt: skip
    """The readout learns y, which was forecast ``ago`` steps before in this column and remembered at ``place``.

    The regressors of then stand in ``scratch.phi_replayed``.

    With a baseline, columns of different horizons have different widths, but the lags were in the width of the first
    as it was then. The target is brought to it in the same proportion:

        (y - baseline) / width now * (first width now / first width then)
    """
    field = column % plan.fields
    scaling = streams.scaling[slot, place, field]
    if not scaler.usable(y) or np.isnan(scaling[1]):
        return
    if plan.period > 0:
        _, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, column)
        _, first = scales.column_scale(plan, hyper, model, streams, scratch, slot, field)
        target = difference(plan, hyper, model, streams, slot, y, column, ago) / width * (first / scaling[1])
    else:
        target = (y - scaling[0]) / scaling[1]
    phi, predictions = scratch.phi_replayed, scratch.expert_predictions[column]
    copy(predictions, streams.expert_predictions[slot, place, column])
    if is_learnable_from(plan, model, streams, slot, place, column):
        learn_by_readout(plan, hyper, model, scratch, column, phi, predictions, target)
    else:
        seen = judged(streams, scratch, slot, field)
        if plan.period == 0 or np.isnan(seen):
            target = (seen - scaling[0]) / scaling[1]
        rls.judge(model.readout, column, phi, plan.newest_at, predictions, target)
