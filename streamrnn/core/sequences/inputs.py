"""The frames of a record become steps of the network: imputed, standardised, and joined, ``stack`` of them to a step.

A frame is read as a record of single steps is (``core.inputs``), with the statistics from before its record; frames
that are missing at the end of the last step are zeros, the mean. Where a sequence comes in chunks, its steps stand in
the stream's row until its end, so that no frame is ever standardised twice. Where the sequence's own mean and deviation
count, they come on top of that, once all of it is there.

What lies beyond ``max_steps`` is not read.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streamrnn.core import counts, inputs, kinds, scaler
from streamrnn.core.arrays import F1, T2, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy
from streamrnn.core.sequences.arrays import AtWork, Network, SequencePlan, SequenceRecords, SequenceScratch

LEAST_DEVIATION = 1e-3
"""A sequence's own deviation counts as no less, in deviations of all that was seen: a constant stays a constant."""


@jit
def steps_of(frames: int, stack: int) -> int:
    """How many steps so many frames are."""
    return (frames + stack - 1) // stack


@jit
def frames_to_read(sequence: SequencePlan, before: int, frames: int) -> int:
    """How many of the frames that come after ``before`` others are read."""
    return max(ZERO, min(frames, sequence.max_steps * sequence.stack - before))


@jit
def frames_read(sequence: SequencePlan, at: AtWork) -> int:
    """How many frames of the record at work were read."""
    return frames_to_read(sequence, at.before, at.frames - at.before)


@internal
def read(
    plan: Plan, sequence: SequencePlan, model: Model, streams: Streams, scratch: Scratch, network: Network,
    records: SequenceRecords, i: int, source: int, whole: bool,
) -> tuple[int, int]:  # fmt: skip
    """Steps to run go to network.x and network.looked_up; returns how many, and how many of the sequence stand before.

    Where the record ends its sequence, all steps of it (``whole``), else those that the record completes. ``source`` is
    the stream's row, or the blank one. An event's frames are kept with it, and counted.
    """
    stack, frames = sequence.stack, records.first[i + 1] - records.first[i]
    before = min(streams.frames[source], sequence.max_steps * stack)
    count = frames_to_read(sequence, before, frames)
    first = ZERO if whole else before // stack
    for t in range(first, steps_of(before, stack)):
        copy(network.x[t - first], streams.frame_x[source, t])
        copy(network.looked_up[t - first], streams.frame_rows[source, t])
    event = records.kind[i] == kinds.EVENT
    # Of a frame that is only looked at, the values for the ones behind it are kept in the row that is nobody's.
    memory = records.slot[i] if event else streams.steps.shape[0] - 1
    copy(streams.last_x[memory], streams.last_x[source])
    missing = ZERO
    for f in range(count):
        missing += read_frame(plan, model, streams, scratch, records, records.first[i] + f, memory)
        column = (before + f) % stack * plan.features
        place_frame(network, scratch, plan.features, (before + f) // stack - first, column)
        if event:
            count_clamped(plan, model, scratch)
    if event:
        model.counters[counts.IMPUTED_INPUTS] += missing
        model.counters[counts.FRAMES] += count
        model.counters[counts.FRAMES_DROPPED] += frames - count
        keep(sequence, streams, network, records.slot[i], first, before, count, frames)
    run = steps_of(before + count, stack) if whole else (before + count) // stack
    return run - first, first


@internal
def read_frame(
    plan: Plan, model: Model, streams: Streams, scratch: Scratch, records: Any, frame: int, memory: int
) -> int:
    """A frame, one of the rows of ``records``' x and symbols, to row 0 of scratch; returns how much was missing."""
    missing = inputs.encode_features(plan, model, streams, scratch, records, frame, memory)
    missing += inputs.encode_symbols(plan, streams, scratch, records, frame, memory)
    for k in range(plan.features if streams.last_x.shape[1] > 0 else ZERO):
        if scratch.last_at[k] >= 0 and scaler.usable(records.x[frame, k]):
            streams.last_x[memory, scratch.last_at[k]] = records.x[frame, k]
    return missing


@internal
def place_frame(network: Network, scratch: Scratch, features: int, at: int, column: int) -> None:
    """The frame in row 0 of scratch goes to step ``at``, from ``column`` on."""
    if column == 0:
        network.x[at, :] = network.x.dtype.type(0)
    copy(network.x[at][column : column + features], scratch.x[0])
    copy(network.looked_up[at], scratch.looked_up[0])


@internal
def count_clamped(plan: Plan, model: Model, scratch: Scratch) -> None:
    """The frame in row 0 of scratch is shown to the network: its values at the limit are counted."""
    largest = scratch.x.dtype.type(scaler.LIMIT if plan.scale == 1 else inputs.LARGEST)
    for k in range(plan.features):
        if not scratch.indicator[k] and abs(scratch.x[0, k]) >= largest:
            model.x_clamped[k] += 1


@internal
def keep(
    sequence: SequencePlan, streams: Streams, network: Network, slot: int, first: int, before: int, count: int,
    frames: int,
) -> None:  # fmt: skip
    """Of the ``frames`` that came after ``before`` others, ``count`` were read: they stay with the stream.

    Of those that were not, it is enough to know that there were any.
    """
    most = sequence.max_steps * sequence.stack
    streams.frames[slot] = min(most + 1, streams.frames[slot] + frames)
    if streams.frame_x.shape[1] > 0:
        for t in range(before // sequence.stack, steps_of(before + count, sequence.stack)):
            copy(streams.frame_x[slot, t], network.x[t - first])
            copy(streams.frame_rows[slot, t], network.looked_up[t - first])


@internal
def normalise(
    plan: Plan, sequence: SequencePlan, scratch: Scratch, work: SequenceScratch, network: Network, steps: int,
    frames: int,
) -> None:  # fmt: skip
    """Columns of the steps, of so many frames, are standardised by the sequence's own mean and deviation.

    But for indicators, and for what stands where frames are missing at the end of the last step.
    """
    for column in range(plan.features * sequence.stack):
        if not scratch.indicator[column % plan.features]:
            rows = steps if (steps - 1) * sequence.stack + column // plan.features < frames else steps - 1
            standardise_column(network.x, column, rows, work.mean, work.deviation)


@jit
def standardise_column(x: T2, column: int, rows: int, mean: F1, deviation: F1) -> None:
    """The first ``rows`` of x in this column, by their own mean and deviation, which are noted."""
    total, squares = 0.0, 0.0
    for t in range(rows):
        total += np.float64(x[t, column])
    mean[column] = total / max(1, rows)
    for t in range(rows):
        distance = np.float64(x[t, column]) - mean[column]
        squares += distance * distance
    deviation[column] = max(LEAST_DEVIATION, math.sqrt(squares / max(1, rows)))
    for t in range(rows):
        x[t, column] = x.dtype.type((np.float64(x[t, column]) - mean[column]) / deviation[column])


@internal
def absorb(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, records: SequenceRecords, i: int, n: int) -> None:
    """The first n frames of record i enter the statistics that standardise those to come, one after the other.

    What is missing counts as in ``core.walk.absorb_inputs``.
    """
    for f in range(records.first[i], records.first[i] + n):
        for k in range(plan.features):
            scratch.values[k] = records.x[f, k] if scaler.usable(records.x[f, k]) else scratch.imputed[k]
        scratch.values[plan.features] = np.nan  # whole sequences have no dt
        scaler.deviations(model.x_count, model.x_m2, scratch.widths)
        inputs.absorb(plan, hyper, model, scratch)
