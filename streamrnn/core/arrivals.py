"""Targets that arrive after the prediction they belong to: values that were forecast, and labels of earlier events.

Each prediction is remembered with what it was made from and in which scaling. A target that arrives is scored against
it, enters the statistics, and waits at its own step of the sequence for the stream's next window.
"""

from __future__ import annotations

from streamrnn.core import classes, counts, heads, kinds, rivals, scaler, scoring, targets
from streamrnn.core.arrays import F1, Hyper, Model, Plan, Records, Scratch, Streams
from streamrnn.core.exact import order
from streamrnn.core.jit import ZERO, internal
from streamrnn.core.linear import copy


@internal
def remember(plan: Plan, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, step: int) -> None:
    """Keep the prediction of record i, at this step of its sequence, until its targets arrive; and its rivals'."""
    slot = records.slot[i]
    place = step % plan.horizon
    if plan.known == kinds.KNOWN_BY_LABEL:
        place = streams.event_count[slot] % streams.event.shape[1]
        if streams.event[slot, place] != 0:  # nobody is left to tell its label of
            model.counters[counts.LOST_LABELS] += 1
        streams.event[slot, place] = records.event[i]
        streams.event_ms[slot, place] = records.time_ms[i]
        streams.event_step[slot, place] = step
        streams.event_count[slot] += 1
    copy(streams.remembered[slot, place], scratch.prediction)
    rivals.foretell(plan, model, streams, slot, streams.remembered_rivals[slot, place])
    if plan.rls == 1:
        heads.keep(plan, scratch, streams.regressors[slot, place])
        for f in range(plan.fields):
            copy(streams.scaling[slot, place, f], scratch.scaling[f])
        for o in range(scratch.expert_predictions.shape[0]):
            copy(streams.expert_predictions[slot, place, o], scratch.expert_predictions[o])


@internal
def score_forecasts(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int
) -> None:
    """Score all earlier predictions of the value that record i brings."""
    slot = records.slot[i]
    step = streams.steps[slot]
    for k in range(scratch.ahead.shape[0]):
        j = scratch.ahead[k]
        if j > step:
            break
        place = (step - j) % plan.horizon
        prediction, said = streams.remembered[slot, place], streams.remembered_rivals[slot, place]
        column = k * plan.fields
        scoring.score(plan, hyper, model, streams, scratch, slot, prediction, said, records.y[i], column)
    scoring.report(model, streams, scratch, records, i, records.closes[i])


@internal
def complete_forecasts(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, y: F1
) -> None:
    """The value y (F,) at the coming step is the target of each step that looked ahead to it."""
    step = streams.steps[slot]
    for k in range(scratch.ahead.shape[0]):
        j = scratch.ahead[k]
        if j > step:
            break
        place = (step - j) % plan.horizon
        if plan.rls == 1:
            heads.recall(plan, scratch, streams.regressors[slot, place])
        for f in range(plan.fields):
            column = k * plan.fields + f
            # As everywhere, statistics come first: the target is scaled by those that know it already.
            if plan.period > 0:
                targets.absorb_change(plan, hyper, model, streams, slot, y[f], column, j)
            if plan.rls == 1:
                targets.fit_readout_to_forecast(plan, hyper, model, streams, scratch, slot, place, y[f], column, j)
            if targets.is_learnable_from(plan, model, streams, slot, place, column):
                targets.enqueue(plan, hyper, model, streams, scratch, slot, step - j, y[f], column, j)


@internal
def process_label(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, records: Records, i: int
) -> None:
    """A label, record i: scored if its event is remembered, learned if its step is inside the stream's next window."""
    slot, y = records.slot[i], records.y[i]
    model.counters[counts.LABEL_RECORDS] += 1
    place = place_of_event(streams, slot, records.event[i])
    if place < 0:
        model.counters[counts.UNMATCHED_LABELS] += 1
        if plan.classes > 0:
            classes.bring_into_use(plan, model, scratch.head_b, y[0])
        return
    prediction, said = streams.remembered[slot, place], streams.remembered_rivals[slot, place]
    scoring.begin(plan, model, scratch, y)
    scoring.score(plan, hyper, model, streams, scratch, slot, prediction, said, y, ZERO)
    scoring.report(model, streams, scratch, records, i, records.closes[i])
    rivals.learn(plan, model, streams, scratch, slot)
    targets.absorb(plan, hyper, model, streams, scratch, slot, y)
    targets.remember(plan, streams, slot, scratch.kept)
    if plan.rls == 1:
        heads.recall(plan, scratch, streams.regressors[slot, place])
        for o in range(scratch.expert_predictions.shape[0]):
            copy(scratch.expert_predictions[o], streams.expert_predictions[slot, place, o])
        targets.fit_readout(
            plan, hyper, model, streams, scratch, slot, scratch.phi_replayed, streams.scaling[slot, place],
            scratch.expert_predictions,
        )  # fmt: skip
    for f in range(plan.fields):
        if scaler.usable(y[f]):
            streams.event[slot, place] = 0  # a repeated label must not be learned again
            # An event that is stamped later than its label has waited for no time.
            records.delay[i] = max(ZERO, records.time_ms[i] - streams.event_ms[slot, place]) / 1000.0
    if plan.rule != kinds.FIXED:  # with which nothing is replayed, and the readout has learned it
        enqueue_label(plan, hyper, model, streams, scratch, slot, place)


@internal
def enqueue_label(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, place: int
) -> None:
    """The label of the event at ``place`` waits at its step, or, too late to be learned, is counted.

    The stream's next window covers the k2 steps before this one; an older step will not be replayed again. A state that
    learns behind the one that predicts does not go back to a step which it has taken.
    """
    step, next_window = streams.event_step[slot, place], (streams.steps[slot] // plan.k1 + 1) * plan.k1
    exact = plan.rule == kinds.RTRL
    oldest = streams.learned[slot, 0] if exact else next_window - plan.k2
    if exact and step >= 0 and streams.event[slot, place] == 0:
        order.notice(model, streams, slot, step)
    if step >= 0 and step >= oldest:
        for f in range(plan.fields):
            if targets.is_learnable_from(plan, model, streams, slot, place, f):
                targets.enqueue(plan, hyper, model, streams, scratch, slot, step, scratch.counted[f], f, ZERO)
    else:
        model.counters[counts.LATE_LABELS] += 1
        if exact and step >= 0:
            model.counters[counts.PASSED_LABELS] += 1


@internal
def waiting(streams: Streams, slot: int) -> int:
    """How many events of the slot's stream have had no label yet."""
    n = ZERO
    for place in range(streams.event.shape[1]):
        if streams.event[slot, place] != 0:
            n += 1
    return n


@internal
def place_of_event(streams: Streams, slot: int, event: int) -> int:
    """Where the newest prediction for this event is remembered; -1 = nowhere. No event has the number 0."""
    memory, count = streams.event.shape[1], streams.event_count[slot]
    # Newest first: an event that was sent twice is labelled where it was seen last.
    for back in range(1, min(count, memory) + 1):
        place = int((count - back) % memory)
        if streams.event[slot, place] == event and event != 0:
            return place
    return ZERO - 1
