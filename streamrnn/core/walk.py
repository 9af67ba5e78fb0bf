"""The walk through a block of records in log order: predict, score, advance, learn, one record after the other.

This is the only loop that touches a learner: live records, silent replay and single calls from Python all run
through it, and no arithmetic mixes two records of a block. How the log was cut into blocks therefore cannot matter.

Per event of a stream: its inputs are standardised with the statistics before it; the prediction is a pure function of
them and the carried state; it is scored against targets known now; only then does the record enter
state, window and statistics; then the learning rule is asked. Forecasts differ in that the record's own value is known
at once: it scores and completes earlier steps before the next prediction.

The RLS readout learns a record's target after the window that ends with it was learned, so that its part of the
trunk's gradient passes through the weights from before; where targets are forecasts, before the next prediction, which
may use them.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core import (
    arrivals,
    clearing,
    counts,
    heads,
    inputs,
    kinds,
    rivals,
    rules,
    scaler,
    scales,
    scoring,
    targets,
)
from streamrnn.core.arrays import Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.jit import ZERO, internal
from streamrnn.core.linear import copy


@internal
def walk(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records) -> None:
    """Process ``records`` in order; writes model, streams and the output columns of records."""
    register = rules.begin(plan, scratch)
    for i in range(records.slot.shape[0]):
        slot, kind = records.slot[i], records.kind[i]
        start_record(model, streams, records, i)
        if kind == kinds.FORGET:  # whose slot was just cleared, if it had one
            continue
        scales.measure(plan, hyper, model, streams, scratch, slot)
        if kind == kinds.LABEL:
            arrivals.process_label(plan, hyper, model, streams, scratch, records, i)
            if rules.catch_up(plan, hyper, model, streams, scratch, slot):
                records.grad_norm[i] = model.gauges[counts.GRAD_NORM]
            continue
        gap = gap_before(plan, streams, slot, records.time_ms[i])
        # A gap ends the stream's sequence before the record is looked at, an end mark after it. So a gap takes two
        # rounds, not two calls of ``learn``: that is most of the kernel, and compiling it twice would double it.
        rounds = 2 if gap and kind == kinds.EVENT else 1
        for r in range(rounds):
            closing = kind == kinds.CLOSE or r < rounds - 1
            if not closing:
                # A record that would open a new sequence is predicted from the blank row when nothing may change.
                source = streams.steps.shape[0] - 2 if gap and kind != kinds.EVENT else slot
                predict(plan, hyper, model, streams, scratch, records, i, source)
                if kind == kinds.PREDICT:
                    break
                score_and_advance(plan, hyper, model, streams, scratch, records, i)
                if kind == kinds.IMAGINE:
                    break
            learn(plan, hyper, model, streams, scratch, records, i, closing)
    rules.end(plan, register)


@internal
def start_record(model: Model, streams: Streams, records: Records, i: int) -> None:
    """Outputs of record i before anything is known of them; a slot that changes hands is cleared."""
    if records.out[i] >= 0:
        records.prediction[records.out[i], :] = np.nan
    records.updates[i] = model.counters[counts.UPDATES]
    records.loss[i] = np.nan
    records.error[i] = np.nan
    records.grad_norm[i] = np.nan
    records.rivals[i, 0] = records.rivals[i, 1] = np.nan
    records.width[i] = np.nan
    records.rank[i, 0] = records.rank[i, 1] = np.nan
    records.delay[i] = np.nan
    if records.fresh[i]:
        model.counters[counts.LOST_LABELS] += arrivals.waiting(streams, records.slot[i])
        clearing.forget_stream(streams, records.slot[i])


@internal
def gap_before(plan: Plan, streams: Streams, slot: int, time_ms: int) -> bool:
    """Whether an event at time_ms comes too late to continue the stream's sequence."""
    since = time_ms - streams.last_ms[slot]
    return bool(plan.reset_after_ms >= 0 and streams.steps[slot] > 0 and since > plan.reset_after_ms)


@internal
def predict(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, source: int
) -> None:
    """The prediction of record i, in the target's unit, from the state and memory of ``source``.

    Where targets are forecasts, the value that the record brings completes earlier predictions first.
    """
    slot, event = records.slot[i], records.kind[i] == kinds.EVENT
    if plan.known == kinds.KNOWN_BY_FORECAST and records.kind[i] != kinds.PREDICT:
        # Scored in the scaling from before this value. Completed last: baselines count steps back from the newest
        # value, which has to be this one.
        if event:
            scoring.begin(plan, model, scratch, records.y[i])
            arrivals.score_forecasts(plan, hyper, model, streams, scratch, records, i)
            rivals.learn(plan, model, streams, scratch, slot)
            targets.absorb(plan, hyper, model, streams, scratch, slot, records.y[i])
            targets.remember(plan, streams, slot, scratch.kept)
            arrivals.complete_forecasts(plan, hyper, model, streams, scratch, slot, scratch.counted)
        else:
            targets.remember(plan, streams, slot, records.y[i])
    records.updates[i] = model.counters[counts.UPDATES]  # an update may have come with the gap
    missing = inputs.encode(plan, hyper, model, streams, scratch, records, i, source)
    if event:
        model.counters[counts.IMPUTED_INPUTS] += missing
    rules.forward(plan, streams, scratch, source)
    if plan.rls == 1:
        targets.write_scaling(plan, hyper, model, streams, scratch, slot, source)
    heads.predict(plan, model, scratch, scratch.prediction)
    if plan.classes == 0:
        unscale(plan, hyper, model, streams, scratch, slot, source)
    if records.out[i] >= 0:
        copy(records.prediction[records.out[i]], scratch.prediction)


@internal
def unscale(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, source: int) -> None:
    """A standardised scratch.prediction (O,) is brought to the target's unit: centre + width * prediction."""
    out, per_target = scratch.prediction, scratch.levels.shape[0]  # several with quantiles, which stand together
    for column in range(streams.y.shape[2]):
        centre, width = scales.column_scale(plan, hyper, model, streams, scratch, slot, column)
        if plan.period > 0:
            centre = targets.baseline(
                plan, model, streams, source, column % plan.fields, scratch.ahead[column // plan.fields], ZERO
            )
        for o in range(column * per_target, (column + 1) * per_target):
            out[o] = centre + width * out[o]


@internal
def score_and_advance(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int
) -> None:
    """What follows the prediction of event i: its score where the target is known, and the step forward.

    Statistics absorb the record after the score and before its target is standardised; an imagined record moves state
    and window only.
    """
    slot, event = records.slot[i], records.kind[i] == kinds.EVENT
    step = streams.steps[slot]
    known_now = plan.known == kinds.KNOWN_IN_RECORD and event
    if known_now:
        prediction, y = scratch.prediction, records.y[i]
        scoring.begin(plan, model, scratch, y)
        rivals.foretell(plan, model, streams, slot, scratch.rivals)
        scoring.score(plan, hyper, model, streams, scratch, slot, prediction, scratch.rivals, y, ZERO)
        scoring.report(model, streams, scratch, records, i, records.closes[i])
        rivals.learn(plan, model, streams, scratch, slot)
    advance(plan, streams, scratch, slot, records.time_ms[i])
    inputs.remember_last(plan, streams, scratch, records, i)
    if not event:
        return
    absorb_inputs(plan, hyper, model, scratch, records, i)
    model.counters[counts.RECORDS_PREDICTED] += 1
    if known_now:
        targets.absorb(plan, hyper, model, streams, scratch, slot, records.y[i])
        targets.remember(plan, streams, slot, scratch.kept)
        for f in range(plan.fields):
            if targets.is_learnable(plan, model, streams, slot, scratch.scaling, f):
                targets.enqueue(plan, hyper, model, streams, scratch, slot, step, scratch.counted[f], f, ZERO)
    else:
        arrivals.remember(plan, model, streams, scratch, records, i, step)


@internal
def advance(plan: Plan, streams: Streams, scratch: Scratch, slot: int, time_ms: int) -> None:
    """The state just computed becomes the carried one, and the inputs enter the window."""
    step = streams.steps[slot]
    rules.advance(plan, streams, scratch, slot)
    place = step % plan.k2
    copy(streams.x[slot, place], scratch.x[0])
    copy(streams.looked_up[slot, place], scratch.looked_up[0])
    copy(streams.lags[slot, place], scratch.lags[0])
    streams.y[slot, place, :] = streams.y.dtype.type(np.nan)
    streams.steps[slot] = step + 1
    # A record stamped in the past must not make the stream's next one look like one after a gap.
    streams.last_ms[slot] = time_ms if step == 0 else max(streams.last_ms[slot], time_ms)


@internal
def absorb_inputs(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, records: Records, i: int) -> None:
    """Inputs of record i, which were encoded just now, enter the statistics that standardise those to come.

    A missing one that stands for a number does, too; a last value was observed only once.
    """
    largest = scratch.x.dtype.type(scaler.LIMIT if plan.scale == 1 else inputs.LARGEST)
    for k in range(plan.features):
        if not scaler.usable(records.x[i, k]):
            scratch.values[k] = scratch.imputed[k]
        if not scratch.indicator[k] and abs(scratch.x[0, k]) >= largest:  # as it was shown to the network
            model.x_clamped[k] += 1
    inputs.absorb(plan, hyper, model, scratch)


@internal
def learn(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, closing: bool
) -> None:
    """Learn after the step of record i, or, ``closing``, what is left of a sequence; then end the sequence if due."""
    slot = records.slot[i]
    last = closing or records.end[i]
    if rules.learn(plan, hyper, model, streams, scratch, slot, last):
        records.grad_norm[i] = model.gauges[counts.GRAD_NORM]
    if not closing and plan.rls == 1 and plan.known == kinds.KNOWN_IN_RECORD:
        targets.fit_readout(
            plan, hyper, model, streams, scratch, slot, scratch.phi, scratch.scaling, scratch.expert_predictions
        )
    if last and streams.steps[slot] > 0:
        clearing.reset_sequence(streams, slot)
        model.counters[counts.SEQUENCES_ENDED] += 1
