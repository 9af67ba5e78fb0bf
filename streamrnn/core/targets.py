"""What a stream remembers of its targets, in which units they are learned, and the baseline forecasts start from.

A target is learned standardised: by the running mean and deviation of its stream, shrunk towards the partition's (by
the partition's alone with the RLS readout); or, where forecasts are differences to a baseline, by the root mean square
of these differences, kept per horizon. The baseline of the value j steps ahead is the newest value one or more whole
periods before it, ``y[t + j - period * ceil(j / period)]`` (period 1: the last value), and the last value while the
stream is younger than that.

``history`` holds the newest known values of the running sequence, for lags and baselines. Where targets are the
stream's own future it holds one value per step, an unknown one being replaced by the value before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamrnn.core import kinds, rls, scaler
from streamrnn.core.jit import internal, jit

LARGEST_LAG = 1e6
"""Lags are clamped here, in deviations."""


@internal
def level_scale(plan: Any, hyper: Any, model: Any, streams: Any, slot: int, field: int) -> tuple[float, float]:
    """Centre and width of the stream's field in force now."""
    if plan.scale == 0 or plan.classes > 0:
        return 0.0, 1.0
    if plan.rls == 1:  # all streams share its weights, which would mean something else in each stream's own units
        return scaler.shrunk(0.0, 0.0, 0.0, model.y_count[field], model.y_mean[field], model.y_m2[field], 1.0)
    return scaler.shrunk(
        streams.y_count[slot, field], streams.y_mean[slot, field], streams.y_m2[slot, field],
        model.y_count[field], model.y_mean[field], model.y_m2[field], hyper.shrinkage,
    )  # fmt: skip


@internal
def column_scale(plan: Any, hyper: Any, model: Any, streams: Any, slot: int, column: int) -> tuple[float, float]:
    """Centre and width of a target column in force now; of a difference to the baseline the centre is 0."""
    if plan.period == 0:
        return level_scale(plan, hyper, model, streams, slot, column % plan.fields)
    if plan.scale == 0:
        return 0.0, 1.0
    if plan.rls == 1:
        return 0.0, scaler.shrunk_rms(0.0, 0.0, model.change_count[column], model.change_m2[column], 1.0)
    return 0.0, scaler.shrunk_rms(
        streams.change_count[slot, column], streams.change_m2[slot, column],
        model.change_count[column], model.change_m2[column], hyper.shrinkage,
    )  # fmt: skip


@jit
def value_before(history: Any, counts: Any, field: int, back: int) -> float:
    """The value ``back`` steps before a sequence's newest one, NaN where there is none or it is forgotten.

    history (Q, F) and counts (F,) of one stream.
    """
    size, count = history.shape[0], counts[field]
    if back >= count or back >= size:
        return np.nan
    return history[(count - 1 - back) % size, field]


@internal
def baseline(plan: Any, model: Any, streams: Any, slot: int, column: int, ago: int) -> float:
    """What a forecast made ``ago`` steps before the newest value starts from in this column.

    The partition's mean where the sequence had no value then.
    """
    j, field = column // plan.fields + 1, column % plan.fields
    whole = (j + plan.period - 1) // plan.period * plan.period
    history, counts = streams.history[slot], streams.history_count[slot]
    value = value_before(history, counts, field, whole - j + ago)
    if np.isnan(value):
        value = value_before(history, counts, field, ago)
    return model.y_mean[field] if np.isnan(value) else value


@internal
def change(plan: Any, hyper: Any, model: Any, streams: Any, slot: int, source: int, field: int, lag: int) -> float:
    """Difference over one period, ``lag`` steps before the newest value, in widths; 0 where unknown."""
    history, counts = streams.history[source], streams.history_count[source]
    newer = value_before(history, counts, field, lag)
    older = value_before(history, counts, field, lag + plan.period)
    if np.isnan(newer) or np.isnan(older):
        return 0.0
    _, width = column_scale(plan, hyper, model, streams, slot, field)
    return min(LARGEST_LAG, max(-LARGEST_LAG, (newer - older) / width))


@internal
def lag_value(plan: Any, hyper: Any, model: Any, streams: Any, slot: int, source: int, field: int, lag: int) -> float:
    """Regressor ``lag`` of a field: a known value, or with a baseline a difference; 0 where unknown."""
    if plan.period > 0:
        return change(plan, hyper, model, streams, slot, source, field, lag)
    value = value_before(streams.history[source], streams.history_count[source], field, lag)
    if np.isnan(value):
        return 0.0
    centre, width = level_scale(plan, hyper, model, streams, slot, field)
    return min(LARGEST_LAG, max(-LARGEST_LAG, (value - centre) / width))


@internal
def absorb(plan: Any, model: Any, streams: Any, slot: int, y: Any) -> None:
    """Known fields of y (F,) enter the statistics."""
    for f in range(plan.fields):
        if scaler.usable(y[f]) and plan.classes == 0:
            scaler.absorb(model.y_count, model.y_mean, model.y_m2, f, y[f])
            scaler.absorb(streams.y_count[slot], streams.y_mean[slot], streams.y_m2[slot], f, y[f])


@internal
def note(plan: Any, streams: Any, slot: int, y: Any) -> None:
    """Known fields of y (F,) become the newest known target, and enter the sequence's history."""
    size = streams.history.shape[1]
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            streams.last_y[slot, f] = y[f]
        elif plan.known != kinds.KNOWN_BY_FORECAST or np.isnan(streams.last_y[slot, f]):
            continue
        if size > 0:
            streams.history[slot, streams.history_count[slot, f] % size, f] = streams.last_y[slot, f]
            streams.history_count[slot, f] += 1


@internal
def absorb_change(plan: Any, model: Any, streams: Any, slot: int, y: float, column: int, ago: int) -> None:
    """The difference of a known value to the baseline it had ``ago`` steps before enters the statistics."""
    if scaler.usable(y):
        difference = y - baseline(plan, model, streams, slot, column, ago)
        model.change_count[column] += 1.0
        model.change_m2[column] += difference * difference
        streams.change_count[slot, column] += 1.0
        streams.change_m2[slot, column] += difference * difference


@internal
def store(
    plan: Any, hyper: Any, model: Any, streams: Any, slot: int, step: int, y: float, column: int, ago: int
) -> None:
    """A known target, standardised, waits in its column of the given step for the next window."""
    if scaler.usable(y):
        centre, width = column_scale(plan, hyper, model, streams, slot, column)
        if plan.period > 0:
            centre = baseline(plan, model, streams, slot, column, ago)
        streams.y[slot, step % plan.k2, column] = streams.y.dtype.type((y - centre) / width)


@internal
def in_units(
    plan: Any, hyper: Any, model: Any, streams: Any, slot: int, units: Any, y: float, column: int, ago: int
) -> float:
    """What the RLS readout should have said in this column ``ago`` steps before; NaN = unknown, or too early to tell.

    ``units`` (F, 2) are those of the regressors then: centre and width have moved on since.
    """
    field = column % plan.fields
    if not scaler.usable(y) or np.isnan(units[field, 1]):
        return np.nan
    if plan.period > 0:
        # The lags among the regressors were in the width of then; the target is brought to it in the same proportion.
        _, width = column_scale(plan, hyper, model, streams, slot, column)
        _, first = column_scale(plan, hyper, model, streams, slot, field)
        return (y - baseline(plan, model, streams, slot, column, ago)) / width * (first / units[field, 1])
    return (y - units[field, 0]) / units[field, 1]


@internal
def note_units(plan: Any, hyper: Any, model: Any, streams: Any, slot: int, units: Any) -> None:
    """units (F, 2) = centre and width that a prediction's lags are in; NaN while no deviation is known.

    Standardised by nothing, a target would come in as the raw number it is.
    """
    for f in range(plan.fields):
        units[f, 0], units[f, 1] = column_scale(plan, hyper, model, streams, slot, f)
        seen = model.change_m2[f] if plan.period > 0 else model.y_m2[f]
        if plan.scale == 1 and not seen > 0.0:
            units[f, 1] = np.nan


@internal
def teach(plan: Any, hyper: Any, model: Any, scratch: Any, phi: Any, units: Any, said: Any, y: Any) -> None:
    """The RLS readout takes in the known fields of y (F,): see ``Streams`` for phi (R,), units (F, 2), said (O, 2)."""
    for f in range(plan.fields):
        if scaler.usable(y[f]) and not np.isnan(units[f, 1]):
            teach_column(plan, hyper, model, scratch, phi, said, f, (y[f] - units[f, 0]) / units[f, 1])


@internal
def teach_column(
    plan: Any, hyper: Any, model: Any, scratch: Any, phi: Any, said: Any, column: int, target: float
) -> None:
    """The RLS readout takes in one standardised target."""
    R, tail = model.readout.full.weight.shape[1], model.readout.plain.weight.shape[1]
    rls.update(model.readout, column, phi, plan.newest, said[column], target, hyper.forgetting, hyper.prior,
               scratch.room[0, :R], scratch.room[1, :tail])  # fmt: skip
