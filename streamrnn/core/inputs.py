"""A record's columns of numbers become the network's inputs: imputed, standardised, with what the stream brings along.

The inputs of a step are, in this order: U encoded features; dt, the logarithm of the time since the stream's previous
event; the previous target with one flag per field that says it is known. Symbols are inputs, too, and so is the
previous target where it is a class: they are not multiplied but looked up, each being a row of the input weights, with
one more that says a class is known (``looked_up``; -1 = none, nothing is added). Beside them stand the lags, which only
the RLS readout sees. Nothing is changed but row 0 of the work space, so predicting alone and predicting before learning
are the same.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import drift, scaler, targets
from streamrnn.core.arrays import T1, Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.jit import ZERO, internal, jit

LARGEST = 1e6
"""Inputs are clamped here even unscaled, as lags are. A linear unit keeps its input for thousands of steps, and its
traces are products with it: of 1e30 they overflowed, and no gradient of the stream was finite ever after. A sum of 1e9
is kept by a unit, 1e12 by a trace; their products with an error fit float32."""


@internal
def encode(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, source: int
) -> int:
    """Inputs and lags of record i into row 0 of scratch; returns how many features were missing.

    The record's slot has the statistics in force, ``source`` the memory of the running sequence.
    """
    slot, x = records.slot[i], scratch.x[0]  # row 0: the record is a run of one step
    column, values = plan.features, scratch.values
    values[column] = log_seconds_since(streams, source, records.time_ms[i]) if plan.with_dt == 1 else np.nan
    missing = encode_features(plan, model, streams, scratch, records, i, source)
    if plan.with_dt == 1:
        x[column] = x.dtype.type(scratch.standardised[column] if plan.scale == 1 else values[column])
        column += 1
    missing += encode_symbols(plan, streams, scratch, records, i, source)
    if plan.previous > 0:
        encode_previous(plan, hyper, model, streams, scratch, slot, source, x[column:])
    for lag in range(plan.lags):
        for f in range(plan.fields):
            value = targets.lag_value(plan, hyper, model, streams, scratch, slot, source, f, lag)
            scratch.lags[0, lag * plan.fields + f] = x.dtype.type(value)
    return missing


@internal
def encode_features(
    plan: Plan, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, source: int
) -> int:
    """The U features; one that is missing becomes what ``imputed`` says. Returns how many were.

    They stand in scratch.values (U + 1,), where dt may already be, and the deviations of all in scratch.widths.
    """
    x, values, missing = scratch.x[0], scratch.values, ZERO
    for k in range(plan.features):
        values[k] = records.x[i, k]
        if not scaler.usable(values[k]):
            missing += 1
            values[k] = imputed(streams, scratch, source, k)
    scaler.deviations(model.x_count, model.x_m2, scratch.widths)
    scaler.standardise(model.x_count, model.x_mean, scratch.widths, values, scratch.standardised)
    for k in range(plan.features):
        value = values[k]
        if np.isnan(value):  # the mean is the best guess; standardised it is 0, and so is an indicator that is missing
            value = 0.0 if plan.scale == 1 or scratch.indicator[k] else model.x_mean[k]
        elif plan.scale == 1 and not scratch.indicator[k]:
            value = scratch.standardised[k]
        x[k] = x.dtype.type(clamped(value))
    return missing


@internal
def absorb(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch) -> None:
    """scratch.values (U + 1,) enter the statistics, and those of no indicator the means of their drift.

    They are held against scratch.widths (U + 1,), the deviations of now.
    """
    values = scratch.values
    scaler.take_in_each(
        model.x_count, model.x_mean, model.x_m2, model.x_watch, model.x_first, values, scratch.widths,
        scratch.standardised, hyper.memory,
    )  # fmt: skip
    for k in range(values.shape[0]):
        if not np.isnan(values[k]) and (k == plan.features or not scratch.indicator[k]):
            drift.absorb(model.x_drift, k, values[k])


@internal
def encode_symbols(plan: Plan, streams: Streams, scratch: Scratch, records: Records, i: int, source: int) -> int:
    """The rows that record i looks up: of its symbols, then of the previous class and that it is known.

    Returns how many symbols were missing.
    """
    rows, missing = scratch.looked_up[0], ZERO
    for k in range(plan.symbols):
        rows[k] = records.symbols[i, k]
        missing += 1 if rows[k] < 0 else 0
    if plan.previous_class >= 0:
        value = streams.newest[source, 0]
        unknown = np.isnan(value)
        rows[plan.symbols] = -1 if unknown else plan.previous_class + int(value)
        rows[plan.symbols + 1] = -1 if unknown else plan.previous_class + plan.classes
    return missing


@internal
def imputed(streams: Streams, scratch: Scratch, source: int, k: int) -> float:
    """What feature k counts as where it is missing; NaN where that is the running mean."""
    at = scratch.last_at[k]
    value: float = scratch.imputed[k] if at < 0 else streams.last_x[source, at]
    return value


@internal
def remember_last(plan: Plan, streams: Streams, scratch: Scratch, records: Records, i: int) -> None:
    """The known features of record i become the last values of its stream, where these are kept."""
    if streams.last_x.shape[1] > 0:
        for k in range(plan.features):
            if scratch.last_at[k] >= 0 and scaler.usable(records.x[i, k]):
                streams.last_x[records.slot[i], scratch.last_at[k]] = records.x[i, k]


@internal
def encode_previous(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int, x: T1
) -> None:
    """x becomes the newest known value of each field, then the flags; 0 where unknown.

    With a baseline the newest change of each field stands behind the values.
    """
    T = x.dtype.type
    x[:] = T(0)
    for f in range(plan.fields):
        value = streams.newest[source, f]
        if np.isnan(value):
            continue
        x[plan.previous + f] = T(1)
        x[f] = T(clamped(targets.level(plan, scratch, f, value, scaler.LIMIT)))
        if plan.period > 0:
            newest = targets.change(plan, hyper, model, streams, scratch, slot, source, f, ZERO, scaler.LIMIT)
            x[plan.fields + f] = T(newest)


@jit
def clamped(value: float) -> float:
    """The value, or ``LARGEST`` with its sign."""
    return min(LARGEST, max(-LARGEST, value))


@internal
def log_seconds_since(streams: Streams, slot: int, time_ms: int) -> float:
    """log(1 + seconds since the sequence's previous event); 0 for its first, and when time runs backwards."""
    if streams.steps[slot] == 0:
        return 0.0
    return math.log1p(max(0.0, 0.001 * (time_ms - streams.last_ms[slot])))
