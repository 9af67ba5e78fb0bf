"""The walk through a block of records in log order: predict, score, advance, learn, one record after the other.

This is the only loop that touches a learner: live records, silent replay and single calls from Python all run
through it, and no arithmetic mixes two records of a block. How the log was cut into blocks therefore cannot matter.

Per event of a stream: its inputs are standardised with the statistics before it; the prediction is a pure function of
them and the carried state; it is scored against targets known now; only then do state, window and statistics take
the record in; a window is learned at every k1-th step of the sequence and at its last record. Forecasts differ in that
the record's own value is known at once: it scores and completes earlier steps before the next prediction.

The RLS readout takes a record's target in after the window that ends with it was learned, so that its part of the
trunk's gradient passes through the weights from before; where targets are forecasts, before the next prediction, which
may use them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core import cells, clearing, counts, heads, kinds, rls, scaler, targets
from streamrnn.core.jit import internal, merged
from streamrnn.core.linear import copy
from streamrnn.core.tbptt import learn_window, load_state, regressors, trunk_forward

LARGEST = 1e30
"""Inputs are clamped here even unscaled, so that a float32 product with a weight stays finite."""


ONE, ZERO = np.int64(1), np.int64(0)
"""Typed, because Numba compiles a callee once more for every literal it is given."""


@merged
def walk(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any) -> None:
    """Process ``records`` in order; writes model, streams and the output columns of records."""
    for i in range(records.slot.shape[0]):
        slot = records.slot[i]
        records.loss[i] = np.nan
        records.error[i] = np.nan
        records.grad_norm[i] = np.nan
        if records.fresh[i]:
            clearing.forget_stream(streams, slot)
        if records.kind[i] == kinds.LABEL:
            records.prediction[i, :] = np.nan
            records.updates[i] = model.counters[counts.UPDATES]
            take_label(plan, hyper, model, streams, scratch, records, i)
            continue
        kind = records.kind[i]
        gap = gap_before(plan, streams, slot, records.time_ms[i])
        closing = (gap and kind == kinds.EVENT) or kind == kinds.CLOSE
        if kind == kinds.CLOSE:
            records.prediction[i, :] = np.nan
            records.updates[i] = model.counters[counts.UPDATES]
        # A gap ends the stream's sequence before the record is looked at, an end mark after it. The loop runs twice for
        # a gap, so that there is one place that learns: compiling it twice would double the kernel.
        while True:
            if not closing:
                # A record that would open a new sequence is predicted from the blank row when nothing may change.
                source = streams.steps.shape[0] - 2 if gap and kind != kinds.EVENT else slot
                prepare(plan, hyper, model, streams, scratch, records, i, source)
                trunk_forward(plan, scratch, ONE)
                publish(plan, hyper, model, streams, scratch, records, i, source)
                if kind == kinds.PREDICT:
                    break
                settle(plan, hyper, model, streams, scratch, records, i)
                if kind == kinds.IMAGINE:
                    break
            last = closing or records.end[i]
            due = last or streams.steps[slot] % plan.k1 == 0
            if due and learn_window(plan, hyper, model, streams, scratch, slot):
                records.grad_norm[i] = model.gauges[counts.GRAD_NORM]
            if not closing and plan.rls == 1 and plan.known == kinds.KNOWN_IN_RECORD:
                targets.teach(plan, hyper, model, scratch, scratch.phi, scratch.units, scratch.said, records.y[i])
            if last and streams.steps[slot] > 0:
                clearing.reset_sequence(streams, slot)
                model.counters[counts.SEQUENCES_ENDED] += 1
            if not closing or kind == kinds.CLOSE:
                break
            closing = False


@internal
def prepare(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int, source: int) -> None:
    """What comes before the prediction of record i: earlier targets its value completes, its inputs, its state."""
    slot = records.slot[i]
    event = records.kind[i] == kinds.EVENT
    if plan.known == kinds.KNOWN_BY_FORECAST and records.kind[i] != kinds.PREDICT:
        if event:
            score_forecasts(plan, hyper, model, streams, scratch, records, i)
            targets.absorb(plan, model, streams, slot, records.y[i])
        targets.note(plan, streams, slot, records.y[i])
        if event:
            complete_forecasts(plan, hyper, model, streams, scratch, slot, records.y[i])
    records.updates[i] = model.counters[counts.UPDATES]
    missing = encode(plan, hyper, model, streams, scratch, records, i, slot, source)
    if event:
        model.counters[counts.IMPUTED_INPUTS] += missing
    load_state(plan, streams.state[source], scratch)


@internal
def publish(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int, source: int) -> None:
    """records.prediction[i], in the target's unit, from the state just computed."""
    w, slot = scratch.weights, records.slot[i]
    out = records.prediction[i]
    if plan.rls == 1:
        targets.note_units(plan, hyper, model, streams, slot, scratch.units)
        regressors(plan, scratch, scratch.phi, ZERO)
        R, tail = model.readout.full.weight.shape[1], model.readout.plain.weight.shape[1]
        rls.predict(model.readout, scratch.phi, plan.newest, scratch.room[0, :R], scratch.room[1, :tail],
                    scratch.said, out)  # fmt: skip
    else:
        heads.linear_forward(scratch.h[plan.layers - 1, 1], w.head_w, w.head_b, scratch.raw)
        heads.publish(plan.loss, scratch.raw, out)
    if plan.classes == 0:
        per_target = out.shape[0] // streams.y.shape[2]
        for o in range(out.shape[0]):
            column = o // per_target
            centre, width = targets.column_scale(plan, hyper, model, streams, slot, column)
            if plan.period > 0:
                centre = targets.baseline(plan, model, streams, source, column, ZERO)
            out[o] = centre + width * out[o]


@internal
def settle(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """What follows the prediction of event i: its score where the target is known, and the step forward."""
    if plan.known == kinds.KNOWN_IN_RECORD and records.kind[i] == kinds.EVENT:
        slot = records.slot[i]
        n, loss, error = score(plan, hyper, model, streams, scratch, slot, records.prediction[i], records.y[i], ZERO)
        report(model, records, i, n, loss, error)
    advance(plan, hyper, model, streams, scratch, records, i)


@internal
def gap_before(plan: Any, streams: Any, slot: int, time_ms: int) -> bool:
    """Whether an event at time_ms comes too late to continue the stream's sequence."""
    return (
        plan.reset_after_ms >= 0 and streams.steps[slot] > 0 and time_ms - streams.last_ms[slot] > plan.reset_after_ms
    )


@internal
def encode(
    plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int, slot: int, source: int
) -> int:
    """Standardised inputs and lags of record i into row 0 of scratch; returns how many inputs were missing.

    Changes nothing else. ``slot`` has the statistics in force, ``source`` the memory of the running sequence.
    """
    T = scratch.x.dtype.type
    x = scratch.x[0]
    missing = ZERO
    for k in range(plan.features):
        value = records.x[i, k]
        if not scaler.usable(value):
            missing += 1
            value = 0.0 if plan.scale == 1 or scratch.indicator[k] else model.x_mean[k]
        elif plan.scale == 1 and not scratch.indicator[k]:
            value = scaler.standardise(model.x_count, model.x_mean, model.x_m2, k, value)
        x[k] = T(min(LARGEST, max(-LARGEST, value)))
    column = plan.features
    if plan.with_dt == 1:
        value = log_seconds_since(streams, source, records.time_ms[i])
        if plan.scale == 1:
            value = scaler.standardise(model.x_count, model.x_mean, model.x_m2, plan.features, value)
        x[column] = T(value)
        column += 1
    if plan.previous > 0:
        flags = column + plan.previous
        x[column:] = T(0)
        for f in range(plan.fields):
            value = streams.last_y[source, f]
            if np.isnan(value):
                continue
            x[flags + f] = T(1)
            if plan.classes > 0:
                x[column + int(value)] = T(1)
            else:
                centre, width = targets.level_scale(plan, hyper, model, streams, slot, f)
                x[column + f] = T(min(LARGEST, max(-LARGEST, (value - centre) / width)))
                if plan.period > 0:
                    x[column + plan.fields + f] = T(targets.change(plan, hyper, model, streams, slot, source, f, ZERO))
    for lag in range(plan.lags):
        for f in range(plan.fields):
            value = targets.lag_value(plan, hyper, model, streams, slot, source, f, lag)
            scratch.lags[0, lag * plan.fields + f] = T(value)
    return missing


@internal
def log_seconds_since(streams: Any, slot: int, time_ms: int) -> float:
    """log(1 + seconds since the sequence's previous event); 0 for its first, and when time runs backwards."""
    if streams.steps[slot] == 0:
        return 0.0
    return math.log1p(max(0.0, 0.001 * (time_ms - streams.last_ms[slot])))


@internal
def score(
    plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, slot: int, prediction: Any, y: Any, target: int
) -> tuple[int, float, float]:
    """Compare a published prediction (O,) with the fields y (F,), standing at its targets from ``target`` on.

    Returns the number of known fields and the sums of their losses (in the model's scale) and errors (absolute in the
    target's unit, at the middle quantile; 0 or 1 for a class).
    """
    n, loss, error = ZERO, 0.0, 0.0
    if plan.classes > 0:
        if not np.isnan(y[0]):
            n = ONE
            index = int(y[0])
            if plan.loss == heads.LOGISTIC:
                p = prediction[0] if index == 1 else 1.0 - prediction[0]
                error = 0.0 if (prediction[0] > 0.5) == (index == 1) else 1.0
            else:
                p = prediction[index]
                error = 0.0 if np.argmax(prediction) == index else 1.0
            loss = -math.log(max(p, 1e-15))
        return n, loss, error
    per_target = prediction.shape[0] // streams.y.shape[2]
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            n += 1
            _, width = targets.column_scale(plan, hyper, model, streams, slot, target + f)
            first = (target + f) * per_target
            for q in range(per_target):
                value, _ = heads.element_loss(
                    plan.loss, (prediction[first + q] - y[f]) / width, scratch.levels[q], hyper.huber_delta
                )
                loss += value / per_target
            error += abs(prediction[first + per_target // 2] - y[f])
    return n, loss, error


@internal
def report(model: Any, records: Any, i: int, n: int, loss: float, error: float) -> None:
    """Note what record i let us score: n elements with these sums."""
    if n > 0:
        records.loss[i] = loss / n
        records.error[i] = error / n
        model.gauges[counts.SCORED] += n
        model.gauges[counts.LOSS_SUM] += loss
        model.gauges[counts.ERROR_SUM] += error


@internal
def advance(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """State, window and statistics take the record in; an imagined one changes state and window only."""
    slot, event = records.slot[i], records.kind[i] == kinds.EVENT
    step = streams.steps[slot]
    if (step + plan.k2) % plan.stride == 0:
        place = ((step + plan.k2) // plan.stride) % streams.before.shape[1]
        for layer in range(plan.layers):
            for part in range(streams.state.shape[2]):
                copy(streams.before[slot, place, layer, part], streams.state[slot, layer, part])
    for layer in range(plan.layers):
        copy(streams.state[slot, layer, 0], scratch.h[layer, 1])
        if plan.cell == cells.LSTM:
            copy(streams.state[slot, layer, 1], scratch.c[layer, 1])
    place = step % plan.k2
    copy(streams.x[slot, place], scratch.x[0])
    copy(streams.lags[slot, place], scratch.lags[0])
    streams.y[slot, place, :] = streams.y.dtype.type(np.nan)
    since = log_seconds_since(streams, slot, records.time_ms[i])
    streams.steps[slot] = step + 1
    # A record stamped in the past must not make the stream's next one look like one after a gap.
    streams.last_ms[slot] = records.time_ms[i] if step == 0 else max(streams.last_ms[slot], records.time_ms[i])
    if not event:
        return
    for k in range(plan.features):
        if scaler.usable(records.x[i, k]):
            scaler.absorb(model.x_count, model.x_mean, model.x_m2, k, records.x[i, k])
    if plan.with_dt == 1:
        scaler.absorb(model.x_count, model.x_mean, model.x_m2, plan.features, since)
    model.counters[counts.RECORDS_PREDICTED] += 1
    if plan.known == kinds.KNOWN_IN_RECORD:
        targets.absorb(plan, model, streams, slot, records.y[i])
        targets.note(plan, streams, slot, records.y[i])
        for f in range(plan.fields):
            targets.store(plan, hyper, model, streams, slot, step, records.y[i, f], f, ZERO)
        return
    place = step % plan.horizon
    if plan.known == kinds.KNOWN_BY_LABEL:
        place = streams.event_count[slot] % streams.event.shape[1]
        streams.event[slot, place] = records.event[i]
        streams.event_step[slot, place] = step
        streams.event_count[slot] += 1
    copy(streams.remembered[slot, place], records.prediction[i])
    if plan.rls == 1:
        copy(streams.regressors[slot, place], scratch.phi)
        for f in range(plan.fields):
            copy(streams.units[slot, place, f], scratch.units[f])
        for o in range(scratch.said.shape[0]):
            copy(streams.said[slot, place, o], scratch.said[o])


@internal
def score_forecasts(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """Score all earlier predictions of the value that record i brings."""
    slot = records.slot[i]
    step = streams.steps[slot]
    n, loss, error = ZERO, 0.0, 0.0
    for j in range(1, min(plan.horizon, step) + 1):
        prediction = streams.remembered[slot, (step - j) % plan.horizon]
        more = score(plan, hyper, model, streams, scratch, slot, prediction, records.y[i], (j - 1) * plan.fields)
        n += more[0]
        loss += more[1]
        error += more[2]
    report(model, records, i, n, loss, error)


@internal
def complete_forecasts(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, slot: int, y: Any) -> None:
    """The value y (F,) at the coming step is the horizon-j target of the step j before it."""
    step = streams.steps[slot]
    for j in range(1, min(plan.horizon, step) + 1):
        place = (step - j) % plan.horizon
        for f in range(plan.fields):
            column = (j - 1) * plan.fields + f
            if plan.period > 0:
                targets.absorb_change(plan, model, streams, slot, y[f], column, j)
            if plan.rls == 1:
                target = targets.in_units(
                    plan, hyper, model, streams, slot, streams.units[slot, place], y[f], column, j
                )
                if math.isfinite(target):
                    phi, said = streams.regressors[slot, place], streams.said[slot, place]
                    targets.teach_column(plan, hyper, model, scratch, phi, said, column, target)
            targets.store(plan, hyper, model, streams, slot, step - j, y[f], column, j)


@internal
def take_label(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """A late label: scored if its event is remembered, learned if its step is inside the stream's next window."""
    slot = records.slot[i]
    memory = streams.event.shape[1]
    count = streams.event_count[slot]
    model.counters[counts.LABEL_RECORDS] += 1
    for back in range(1, min(count, memory) + 1):
        place = (count - back) % memory
        if streams.event[slot, place] == records.event[i] and records.event[i] != 0:
            y = records.y[i]
            n, loss, error = score(plan, hyper, model, streams, scratch, slot, streams.remembered[slot, place], y, ZERO)
            report(model, records, i, n, loss, error)
            targets.absorb(plan, model, streams, slot, y)
            targets.note(plan, streams, slot, y)
            if plan.rls == 1:
                phi, units = streams.regressors[slot, place], streams.units[slot, place]
                targets.teach(plan, hyper, model, scratch, phi, units, streams.said[slot, place], y)
            for f in range(plan.fields):
                if scaler.usable(y[f]):
                    streams.event[slot, place] = 0  # a repeated label must not be learned again
            step = streams.event_step[slot, place]
            next_window = (streams.steps[slot] // plan.k1 + 1) * plan.k1
            if step >= 0 and step >= next_window - plan.k2:
                for f in range(plan.fields):
                    targets.store(plan, hyper, model, streams, slot, step, y[f], f, ZERO)
            else:
                model.counters[counts.LATE_LABELS] += 1
            return
    model.counters[counts.UNMATCHED_LABELS] += 1
