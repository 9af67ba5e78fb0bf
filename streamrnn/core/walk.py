"""The walk through a block of records in log order: predict, score, advance, learn, one record after the other.

This is the only loop that touches a learner: live records, silent replay and single calls from Python all run
through it, and no arithmetic mixes two records of a block. How the log was cut into blocks therefore cannot matter.

Per event of a stream: its inputs are standardised with the statistics before it; the prediction is a pure function of
them and the carried state; it is scored against targets known now; only then do state, window and statistics take
the record in; a window is learned at every k1-th step of the sequence and at its last record. Forecasts differ in that
the record's own value is known at once: it scores and completes earlier steps before the next prediction.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core import arrays, cells, heads, kinds, scaler
from streamrnn.core.jit import entry_point, internal
from streamrnn.core.linear import copy
from streamrnn.core.tbptt import learn_window, load_state, trunk_forward

LARGEST = 1e30
"""Inputs are clamped here even unscaled, so that a float32 product with a weight stays finite."""


ONE, ZERO = np.int64(1), np.int64(0)
"""Typed, because Numba compiles a callee once more for every literal it is given."""


@entry_point
def walk(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any) -> None:
    """Process ``records`` in order; writes model, streams and the output columns of records."""
    for i in range(records.slot.shape[0]):
        slot = records.slot[i]
        records.loss[i] = np.nan
        records.error[i] = np.nan
        records.grad_norm[i] = np.nan
        if records.fresh[i]:
            forget_stream(streams, slot)
        if records.kind[i] == kinds.LABEL:
            records.prediction[i, :] = np.nan
            records.updates[i] = model.counters[arrays.UPDATES]
            take_label(plan, hyper, model, streams, scratch, records, i)
            continue
        gap = gap_before(plan, streams, slot, records.time_ms[i])
        closing = gap and records.kind[i] == kinds.EVENT
        # A gap ends the stream's sequence before the record is looked at, an end mark after it. The loop runs twice for
        # a gap, so that there is one place that learns: compiling it twice would double the kernel.
        while True:
            if not closing:
                prepare(plan, hyper, model, streams, scratch, records, i, gap)
                trunk_forward(plan, scratch, ONE)
                publish(plan, model, streams, scratch, records, i)
                if records.kind[i] == kinds.PREDICT:
                    break
                settle(plan, hyper, model, streams, scratch, records, i)
            last = closing or records.end[i]
            due = last or streams.steps[slot] % plan.k1 == 0
            if due and learn_window(plan, hyper, model, streams, scratch, slot):
                records.grad_norm[i] = model.gauges[arrays.GRAD_NORM]
            if last:
                reset_sequence(streams, slot)
                model.counters[arrays.SEQUENCES] += 1
            if not closing:
                break
            closing = False


@internal
def prepare(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int, gap: bool) -> None:
    """What comes before the prediction of record i: earlier targets its value completes, its inputs, its state."""
    slot = records.slot[i]
    event = records.kind[i] == kinds.EVENT
    # A record that would open a new sequence is predicted from the blank row when nothing may change.
    source = streams.steps.shape[0] - 1 if gap and not event else slot
    if event and plan.known == kinds.KNOWN_BY_FORECAST:
        score_forecasts(plan, hyper, model, streams, scratch, records, i)
        absorb_target(plan, model, streams, slot, records.y[i])
        complete_forecasts(plan, model, streams, slot, records.y[i])
    records.updates[i] = model.counters[arrays.UPDATES]
    missing = encode(plan, model, streams, scratch, records, i, slot, source)
    if event:
        model.counters[arrays.IMPUTED] += missing
    load_state(plan, streams.state[source], scratch)


@internal
def publish(plan: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """records.prediction[i], in the target's unit, from the state just computed."""
    w = scratch.weights
    heads.linear_forward(scratch.h[plan.layers - 1, 1], w.head_w, w.head_b, scratch.raw)
    out = records.prediction[i]
    heads.publish(plan.loss, scratch.raw, out)
    if plan.classes == 0:
        per_target = out.shape[0] // streams.y.shape[2]
        for o in range(out.shape[0]):
            centre, width = target_scale(plan, model, streams, records.slot[i], (o // per_target) % plan.fields)
            out[o] = centre + width * out[o]


@internal
def settle(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """What follows the prediction of event i: its score where the target is known, and the step forward."""
    if plan.known == kinds.KNOWN_IN_RECORD:
        slot = records.slot[i]
        n, loss, error = score(plan, hyper, model, streams, scratch, slot, records.prediction[i], records.y[i], ZERO)
        report(model, records, i, n, loss, error)
    advance(plan, model, streams, scratch, records, i)


@internal
def gap_before(plan: Any, streams: Any, slot: int, time_ms: int) -> bool:
    """Whether an event at time_ms comes too late to continue the stream's sequence."""
    return (
        plan.reset_after_ms >= 0 and streams.steps[slot] > 0 and time_ms - streams.last_ms[slot] > plan.reset_after_ms
    )


@internal
def reset_sequence(streams: Any, slot: int) -> None:
    """Back to the zero state with an empty window; the stream's target statistics stay."""
    streams.state[slot] = streams.state.dtype.type(0)
    streams.steps[slot] = 0
    streams.y[slot] = streams.y.dtype.type(np.nan)
    streams.last_y[slot] = np.nan
    streams.event_step[slot] = -1


@internal
def forget_stream(streams: Any, slot: int) -> None:
    """Everything about the slot's previous stream."""
    reset_sequence(streams, slot)
    streams.y_count[slot] = 0.0
    streams.y_mean[slot] = 0.0
    streams.y_m2[slot] = 0.0
    streams.event[slot] = 0
    streams.event_count[slot] = 0


@internal
def target_scale(plan: Any, model: Any, streams: Any, slot: int, field: int) -> tuple[float, float]:
    """Centre and width of the stream's target in force now."""
    if plan.scale == 0 or plan.classes > 0:
        return 0.0, 1.0
    return scaler.shrunk(
        streams.y_count[slot, field], streams.y_mean[slot, field], streams.y_m2[slot, field],
        model.y_count[field], model.y_mean[field], model.y_m2[field], plan.shrinkage,
    )  # fmt: skip


@internal
def encode(plan: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int, slot: int, source: int) -> int:
    """Standardised inputs of record i into scratch.x[0]; returns how many were missing. Changes nothing else."""
    T = scratch.x.dtype.type
    x = scratch.x[0]
    missing = ZERO
    for k in range(plan.features):
        value = records.x[i, k]
        if not math.isfinite(value):
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
                centre, width = target_scale(plan, model, streams, slot, f)
                x[column + f] = T(min(LARGEST, max(-LARGEST, (value - centre) / width)))
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
        if math.isfinite(y[f]):
            n += 1
            _, width = target_scale(plan, model, streams, slot, f)
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
        model.gauges[arrays.SCORED] += n
        model.gauges[arrays.LOSS_SUM] += loss
        model.gauges[arrays.ERROR_SUM] += error


@internal
def advance(plan: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """State, window and statistics take the record in."""
    slot = records.slot[i]
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
    streams.y[slot, place, :] = streams.y.dtype.type(np.nan)
    for k in range(plan.features):
        if math.isfinite(records.x[i, k]):
            scaler.absorb(model.x_count, model.x_mean, model.x_m2, k, records.x[i, k])
    if plan.with_dt == 1:
        since = log_seconds_since(streams, slot, records.time_ms[i])
        scaler.absorb(model.x_count, model.x_mean, model.x_m2, plan.features, since)
    streams.steps[slot] = step + 1
    # A record stamped in the past must not make the stream's next one look like one after a gap.
    streams.last_ms[slot] = records.time_ms[i] if step == 0 else max(streams.last_ms[slot], records.time_ms[i])
    model.counters[arrays.EVENTS] += 1
    if plan.known == kinds.KNOWN_IN_RECORD:
        absorb_target(plan, model, streams, slot, records.y[i])
        store_target(plan, model, streams, slot, step, records.y[i], ZERO)
    elif plan.known == kinds.KNOWN_BY_FORECAST:
        copy(streams.remembered[slot, step % plan.horizon], records.prediction[i])
    else:
        place = streams.event_count[slot] % streams.event.shape[1]
        copy(streams.remembered[slot, place], records.prediction[i])
        streams.event[slot, place] = records.event[i]
        streams.event_step[slot, place] = step
        streams.event_count[slot] += 1


@internal
def absorb_target(plan: Any, model: Any, streams: Any, slot: int, y: Any) -> None:
    """Known fields of y (F,) enter the statistics and become the newest known target."""
    for f in range(plan.fields):
        if math.isfinite(y[f]):
            streams.last_y[slot, f] = y[f]
            if plan.classes == 0:
                scaler.absorb(model.y_count, model.y_mean, model.y_m2, f, y[f])
                scaler.absorb(streams.y_count[slot], streams.y_mean[slot], streams.y_m2[slot], f, y[f])


@internal
def store_target(plan: Any, model: Any, streams: Any, slot: int, step: int, y: Any, first: int) -> None:
    """Known fields of y (F,), standardised, wait at target columns from ``first`` on of the given step."""
    T = streams.y.dtype.type
    for f in range(plan.fields):
        if math.isfinite(y[f]):
            centre, width = target_scale(plan, model, streams, slot, f)
            streams.y[slot, step % plan.k2, first + f] = T((y[f] - centre) / width)


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
def complete_forecasts(plan: Any, model: Any, streams: Any, slot: int, y: Any) -> None:
    """The value y (F,) at the coming step is the horizon-j target of the step j before it."""
    step = streams.steps[slot]
    for j in range(1, min(plan.horizon, step) + 1):
        store_target(plan, model, streams, slot, step - j, y, (j - 1) * plan.fields)


@internal
def take_label(plan: Any, hyper: Any, model: Any, streams: Any, scratch: Any, records: Any, i: int) -> None:
    """A late label: scored if its event is remembered, learned if its step is inside the stream's next window."""
    slot = records.slot[i]
    memory = streams.event.shape[1]
    count = streams.event_count[slot]
    model.counters[arrays.LABELS] += 1
    for back in range(1, min(count, memory) + 1):
        place = (count - back) % memory
        if streams.event[slot, place] == records.event[i] and records.event[i] != 0:
            y = records.y[i]
            n, loss, error = score(plan, hyper, model, streams, scratch, slot, streams.remembered[slot, place], y, ZERO)
            report(model, records, i, n, loss, error)
            absorb_target(plan, model, streams, slot, y)
            for f in range(plan.fields):
                if math.isfinite(y[f]):
                    streams.event[slot, place] = 0  # a repeated label must not be learned again
            step = streams.event_step[slot, place]
            next_window = (streams.steps[slot] // plan.k1 + 1) * plan.k1
            if step >= 0 and step >= next_window - plan.k2:
                store_target(plan, model, streams, slot, step, y, ZERO)
            else:
                model.counters[arrays.LABELS_LATE] += 1
            return
    model.counters[arrays.LABELS_UNMATCHED] += 1
