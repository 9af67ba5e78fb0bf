"""The walk through single steps that look ahead: what is said of a step waits until L more of its sequence have come.

An event's x is standardised with the statistics before its record, enters them and the stream's window at once; its
target is not looked at. With the event L steps on, or when the sequence ends with what is there then, what is said of
it is computed by the weights of that moment: a step of the forward layer from the carried state, a pass of the reverse
layer that begins with zeros at step min(t + L, last) and ends at t, and the readout of both. Then everything goes in
the order of ``core.walk``: score, advance, absorb the target, and learn if a window is due.

A window is the newest k2 steps that something was said of, each with a pass of its own over the steps that it saw; the
up to L steps behind the window are read, and have no target. Steps whose target is not in this window have no part in
the loss, so their passes are left out. To say something of one step is a run of the same code.

An end mark and a gap in time end a sequence, and so does closing it: all that waits is said and learned, window by
window as ever. When the stream itself leaves, all that waits is said, scored and absorbed, and no window is learned.

Arithmetic of two rows is never mixed, so how the log was cut cannot matter. There is one call of ``read`` for saying
and learning: all is inlined into one loop, whose code a second one would double.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamrnn.core import (
    cells,
    clearing,
    counts,
    descent,
    inputs,
    kinds,
    losses,
    optim,
    rivals,
    scales,
    scoring,
    targets,
)
from streamrnn.core.arrays import Array, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import add_vector, copy
from streamrnn.core.sequences import carrying, heads, learning, trunk
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.stepwise_arrays import Reading, StepRows, ToldSteps
from streamrnn.core.trunk import layer_at
from streamrnn.core.walk import absorb_inputs, gap_before, unscale

TELL, LEARN = range(2)
"""The two turns of a step."""


@internal
def walk(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, network: Network, rows: StepRows, told: ToldSteps,
) -> None:  # fmt: skip
    """Process ``rows`` in order; writes model, streams and ``told``."""
    told.n[0] = 0
    for i in range(rows.slot.shape[0]):
        slot, kind = rows.slot[i], rows.kind[i]
        if rows.fresh[i]:
            clearing.forget_stream(streams, slot)
        if kind == kinds.FORGET:  # what waited came out with the row before, and its slot was just cleared
            continue
        scales.measure(plan, hyper, model, streams, scratch, slot)
        gap = gap_before(plan, streams, slot, rows.time_ms[i])
        # A gap ends the sequence before the record is looked at, an end mark after it: two rounds, as in ``core.walk``.
        rounds = 2 if gap and kind == kinds.EVENT else 1
        for r in range(rounds):
            closing = kind == kinds.CLOSE or kind == kinds.LEAVE or r < rounds - 1
            source = streams.steps.shape[0] - 2 if gap and kind == kinds.PREDICT else slot
            waiting = min(streams.steps[source], sequence.lookahead)
            if not closing:
                take_in(plan, hyper, model, streams, scratch, rows, i, source)
                waiting += 1
            ends = closing or (rows.end[i] and kind == kinds.EVENT)
            due = waiting if ends else max(ZERO, waiting - sequence.lookahead)
            if kind == kinds.PREDICT:
                due = ZERO + 1
            for _ in range(due):
                waiting -= 1
                go_through(plan, hyper, sequence, model, streams, scratch, work, network, rows, told, i, source,
                           waiting, ends)  # fmt: skip
            if ends and streams.steps[slot] > 0:
                clearing.reset_sequence(streams, slot)
                model.counters[counts.SEQUENCES_ENDED] += 0 if kind == kinds.LEAVE else 1


@internal
def take_in(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, rows: Any, i: int, source: int
) -> None:
    """The inputs of record i to row 0 of scratch; an event's enter the window and the statistics, and it waits."""
    missing = inputs.encode(plan, hyper, model, streams, scratch, rows, i, source)
    if rows.kind[i] != kinds.EVENT:
        return
    model.counters[counts.IMPUTED_INPUTS] += missing
    slot, time_ms = rows.slot[i], rows.time_ms[i]
    step = streams.steps[slot]
    place, at = step % streams.x.shape[1], step % streams.ahead_ms.shape[1]
    copy(streams.x[slot, place], scratch.x[0])
    copy(streams.looked_up[slot, place], scratch.looked_up[0])
    streams.ahead_event[slot, at] = rows.event[i]
    streams.ahead_ms[slot, at] = rows.given_ms[i]
    copy(streams.ahead_y[slot, at], rows.y[i])
    streams.steps[slot] = step + 1
    # A record stamped in the past must not make the stream's next one look like one after a gap.
    streams.last_ms[slot] = time_ms if step == 0 else max(streams.last_ms[slot], time_ms)
    inputs.remember_last(plan, streams, scratch, rows, i)
    absorb_inputs(plan, hyper, model, scratch, rows, i)


@internal
def go_through(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch,
    work: SequenceScratch, network: Network, rows: StepRows, told: ToldSteps, i: int, source: int, left: int,
    ends: bool,
) -> None:  # fmt: skip
    """The oldest step of a stream that waits, from what is said of it to what is learned; ``left`` wait behind it.

    Of a question, the record itself. ``ends``: its sequence ends with what waits.
    """
    slot, kind = rows.slot[i], rows.kind[i]
    for turn in range(TELL + 1 if kind == kinds.PREDICT or kind == kinds.LEAVE else LEARN + 1):
        if turn == LEARN:
            reading = load_window(plan, sequence, streams, scratch, network, slot, left, ends and left == 0)
        else:
            reading = load_step(sequence, streams, scratch, network, source, left, kind == kinds.PREDICT)
        if reading.said == 0:
            break
        read(network, reading)
        n = model.outputs_in_use[0]
        heads.steps_forward(network, work, reading.said, n)
        if turn == LEARN:
            if learn(plan, hyper, sequence, model, scratch, work, network, reading, n):
                told.grad_norm[told.n[0] - 1] = model.gauges[counts.GRAD_NORM]
        else:
            tell(plan, hyper, model, streams, scratch, work, rows, told, i, source, n)
            if kind != kinds.PREDICT:
                score_and_advance(plan, hyper, model, streams, scratch, network, told, slot, left)


# -- what is read -----------------------------------------------------------------------------------------------------


@internal
def load_step(
    sequence: SequencePlan, streams: Streams, scratch: Scratch, network: Network, source: int, left: int, asks: bool
) -> Reading:
    """The oldest step that waits and those behind it, from the carried state; ``left`` wait behind it.

    Of a question (``asks``), whose inputs are in row 0 of scratch, all that wait are before it, and none is behind.
    """
    steps = streams.steps[source]
    n = min(steps, sequence.lookahead) if asks else left + 1
    copy_ring(network.x, streams.x[source], steps - n, n)
    copy_ring(network.looked_up, streams.looked_up[source], steps - n, n)
    trunk.load_state(network, streams.state[source])
    if asks:
        copy(network.x[n], scratch.x[0])
        copy(network.looked_up[n], scratch.looked_up[0])
        return Reading(n + 1, n, ZERO + 1, ZERO + 1)
    return Reading(ZERO + 1, ZERO, n, ZERO + 1)


@internal
def load_window(
    plan: Plan, sequence: SequencePlan, streams: Streams, scratch: Scratch, network: Network, slot: int, left: int,
    last: bool,
) -> Reading:  # fmt: skip
    """The stream's newest window if one is due and a target in it waits, which goes to scratch and waits no longer.

    One is due at every k1-th step of a sequence that something was said of, and at its last. ``left`` steps wait.
    """
    steps = streams.steps[slot]
    end = steps - left
    start, first, behind = end - min(end, plan.k2), ZERO, ZERO
    if last or end % plan.k1 == 0:
        for t in range(end - start):
            if losses.any_known(streams.y[slot, (start + t) % plan.k2]):
                first = ZERO + t if behind == 0 else first
                behind = ZERO + t + 1
    if behind == 0:
        return Reading(ZERO, ZERO, ZERO, ZERO)
    for t in range(first, behind):
        place = (start + t) % plan.k2
        copy(scratch.targets[t - first], streams.y[slot, place])
        streams.y[slot, place, :] = np.nan  # windows overlap when k1 < k2; a target is learned from once
    n = min(behind + sequence.lookahead, steps - start)
    copy_ring(network.x, streams.x[slot], start, n)
    copy_ring(network.looked_up, streams.looked_up[slot], start, n)
    if start == 0:
        trunk.zero_state(network)
    else:  # kept, and found, by the end of the window, as in ``core.tbptt``
        trunk.load_state(network, streams.before[slot, (start + plan.k2) // plan.stride % streams.before.shape[1]])
    return Reading(behind, first, n - first, behind - first)


@jit
def copy_ring(target: Array, ring: Array, first: int, steps: int) -> None:
    """target[:steps] becomes the entries of a ring from number ``first`` on."""
    for t in range(steps):
        copy(target[t], ring[(first + t) % ring.shape[0]])


@internal
def read(network: Network, reading: Reading) -> None:
    """What the network says of the first ``said`` steps from ``first`` on goes to network.encoded, row by row.

    The forward layer runs from the loaded state, the reverse layer over ``steps`` from ``first`` on, turned round.
    """
    for row in range(2):
        layer, steps = layer_at(network.x, network.encoder[row], 0), reading.forwards
        if row == 1:
            steps = reading.steps
            trunk.turn_round(layer.x, network.x[reading.first :], steps)
            trunk.turn_round(layer.looked_up, network.looked_up[reading.first :], steps)
        cells.hear_inputs(layer, steps)
    ahead, back = layer_at(network.x, network.encoder[0], 0), layer_at(network.x, network.encoder[1], 0)
    one, H = layer_at(network.x, network.encoder[2], 0), network.dlast.shape[2]
    cells.run(ahead, reading.forwards)
    for q in range(reading.said):
        n = trunk.run_pass(back, one, reading.steps - 1 - q)
        copy(network.encoded[q][:H], ahead.state[0, reading.first + q + 1])
        copy(network.encoded[q][H:], one.state[0, n])


@internal
def read_back(network: Network, reading: Reading) -> None:
    """From network.dencoded[:said] to the gradient of the weights, to which it is added; after ``read``.

    A pass of the reverse layer is run again for its gradient, so that one tape serves them all.
    """
    H = network.dlast.shape[2]
    one = layer_at(network.x, network.encoder[2], 0)
    for row in range(2):
        layer, steps = layer_at(network.x, network.encoder[row], 0), reading.forwards
        if row == 0:
            layer.dh[:steps] = layer.dh.dtype.type(0)
            for q in range(reading.said):
                copy(layer.dh[reading.first + q], network.dencoded[q])
            cells.propagate(layer, steps)
            cells.add_recurrent_gradients(layer, steps)
        else:
            steps = reading.steps
            layer.d_ih[:steps] = layer.d_ih.dtype.type(0)
            for q in range(reading.said):
                t = steps - 1 - q
                n = trunk.run_pass(layer, one, t)
                one.dh[:n] = one.dh.dtype.type(0)
                copy(one.dh[n - 1], network.dencoded[q][H:])
                cells.propagate(one, n)
                for k in range(n):
                    add_vector(layer.d_ih[t - n + 1 + k], one.d_ih[k])
                cells.add_recurrent_gradients(one, n)
        cells.add_input_gradients(layer, steps)


# -- what is said, and what follows -----------------------------------------------------------------------------------


@internal
def tell(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, work: SequenceScratch, rows: StepRows,
    told: ToldSteps, i: int, source: int, n: int,
) -> None:  # fmt: skip
    """What is said with row i, in the target's unit, from ``work.logits``; nothing is known of it yet."""
    j, slot = told.n[0], rows.slot[i]
    losses.publish(plan.loss, work.logits[0][:n], scratch.prediction[:n])
    scratch.prediction[n:] = 0.0
    if plan.classes == 0:
        unscale(plan, hyper, model, streams, scratch, slot, source)
    copy(told.prediction[j], scratch.prediction)
    told.row[j], told.slot[j], told.event[j], told.time_ms[j] = i, slot, rows.event[i], rows.given_ms[i]
    told.updates[j] = model.counters[counts.UPDATES]
    told.y[j, :] = np.nan
    told.loss[j] = told.error[j] = told.grad_norm[j] = told.width[j] = np.nan
    told.rivals[j, 0] = told.rivals[j, 1] = np.nan
    told.rank[j, 0] = told.rank[j, 1] = np.nan
    told.n[0] = j + 1


@internal
def score_and_advance(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, network: Network, told: Any,
    slot: int, left: int,
) -> None:  # fmt: skip
    """What follows what was said of the step that ``left`` wait behind: its score, the step forward, its target."""
    j, step = told.n[0] - 1, streams.steps[slot] - 1 - left
    at = step % streams.ahead_ms.shape[1]
    y = streams.ahead_y[slot, at]
    told.event[j], told.time_ms[j] = streams.ahead_event[slot, at], streams.ahead_ms[slot, at]
    copy(told.y[j], y)
    scoring.begin(plan, model, scratch, y)
    rivals.foretell(plan, model, streams, slot, scratch.rivals)
    scoring.score(plan, hyper, model, streams, scratch, slot, scratch.prediction, scratch.rivals, y, ZERO)
    scoring.report(model, streams, scratch, told, j, True)
    rivals.learn(plan, model, streams, scratch, slot)
    if (step + plan.k2) % plan.stride == 0:  # a window that ends k2 steps from here starts from this state
        place = (step + plan.k2) // plan.stride % streams.before.shape[1]
        carrying.copy_state(streams.before[slot, place], streams.state[slot])
    trunk.keep_state(network, ZERO + 1, streams.state[slot])
    streams.y[slot, step % plan.k2, :] = streams.y.dtype.type(np.nan)
    model.counters[counts.RECORDS_PREDICTED] += 1
    targets.absorb(plan, hyper, model, streams, scratch, slot, y)
    targets.remember(plan, streams, slot, scratch.kept)
    for f in range(plan.fields):
        if targets.is_learnable(plan, model, streams, slot, scratch.scaling, f):
            targets.enqueue(plan, hyper, model, streams, scratch, slot, step, scratch.counted[f], f, ZERO)


@internal
def learn(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, scratch: Scratch, work: SequenceScratch,
    network: Network, reading: Reading, n: int,
) -> bool:  # fmt: skip
    """From ``work.logits`` and the window's targets to the weights. Returns whether they moved."""
    learning.note_rows(sequence, network, work, reading.first + reading.steps, ZERO)
    within = work.row_spans[: learning.lay_out(plan, sequence, network, work, n)]
    descent.clear(within, scratch.grad)
    loss = window_loss(plan, hyper, scratch, work, reading.said, n)
    heads.steps_backward(network, work, reading.said, n)
    read_back(network, reading)
    # Sums of squares in float64: the norm is finite exactly when every element is, so one test serves them all.
    norm = optim.global_norm(within, scratch.grad)
    if not descent.accept(model, loss, norm):
        return False
    return learning.finish(plan, hyper, sequence, model, scratch, work, network, n, loss, norm)


@internal
def window_loss(plan: Plan, hyper: Hyper, scratch: Scratch, work: SequenceScratch, steps: int, n: int) -> float:
    """Mean loss over the known elements of scratch.targets[:steps], and ``work.dlogits`` of it."""
    known, value = ZERO, 0.0
    for q in range(steps):
        known += losses.known_elements(plan.loss, scratch.targets[q], n)
    share = work.dlogits.dtype.type(1.0 / known)  # a window is from a known target to a known target
    for q in range(steps):
        draw = work.dlogits[q][:n]
        if losses.any_known(scratch.targets[q]):
            value += losses.loss_gradient(
                plan.loss, work.logits[q][:n], scratch.targets[q], scratch.levels, hyper.huber_delta, draw
            )
            learning.scale(draw, share)
        else:
            draw[:] = draw.dtype.type(0)
    return value / known
