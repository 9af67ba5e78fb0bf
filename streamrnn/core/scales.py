"""Centre and width of targets that are in force: what tells how far out a value is, and in what it is learned.

A stream's *own* scale of a field is the running mean and deviation of its values, shrunk towards the partition's. That
is what values are held against, and what is learned is in it, too; with the RLS readout it is the partition's alone.
They are worked out once when a record begins and once more when its values were absorbed, into the work space, and
asked for many times. Where forecasts are differences to a baseline, these have scales of their own, one per column.
"""

from __future__ import annotations

from streamrnn.core import scaler
from streamrnn.core.arrays import Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import internal

OWN_CENTRE, OWN_WIDTH, CENTRE, WIDTH = range(4)
"""Columns of ``scratch.scales``."""


@internal
def measure(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int) -> None:
    """scratch.scales (F, 4) = the scales in force of the fields of the stream whose record is at work.

    To be done when a record begins; ``absorb`` does it again. In between they are asked for many times.
    """
    if plan.classes == 0:
        for f in range(plan.fields):
            measure_field(plan, hyper, model, streams, scratch, slot, f)


@internal
def measure_field(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, f: int
) -> None:
    """Of one field: its own scale, then that in which it is learned."""
    row = scratch.scales[f]
    row[OWN_CENTRE], row[OWN_WIDTH] = scaler.shrunk(
        streams.y_count[slot, f], streams.y_mean[slot, f], streams.y_m2[slot, f],
        model.y_count[f], model.y_mean[f], model.y_m2[f], hyper.shrinkage,
    )  # fmt: skip
    row[CENTRE], row[WIDTH] = row[OWN_CENTRE], row[OWN_WIDTH]
    if plan.rls == 1:  # all streams share its weights, which would mean something else in each stream's own scaling
        # With none of its own observations a stream's share is 0: the partition's statistics alone.
        row[CENTRE], row[WIDTH] = scaler.shrunk(0.0, 0.0, 0.0, model.y_count[f], model.y_mean[f], model.y_m2[f], 1.0)


@internal
def own_scale(scratch: Scratch, field: int) -> tuple[float, float]:
    """Centre and width of the stream's field: what tells whether a value of it is out of bounds."""
    return scratch.scales[field, OWN_CENTRE], scratch.scales[field, OWN_WIDTH]


@internal
def own_change(hyper: Hyper, model: Model, streams: Streams, slot: int, column: int) -> float:
    """The same of its differences to the baseline, which are around zero."""
    return scaler.shrunk_rms(
        streams.change_count[slot, column], streams.change_m2[slot, column],
        model.change_count[column], model.change_m2[column], hyper.shrinkage,
    )  # fmt: skip


@internal
def level_scale(plan: Plan, scratch: Scratch, field: int) -> tuple[float, float]:
    """Centre and width of the stream's field in force now."""
    if plan.scale == 0 or plan.classes > 0:
        return 0.0, 1.0
    return scratch.scales[field, CENTRE], scratch.scales[field, WIDTH]


@internal
def column_scale(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, column: int
) -> tuple[float, float]:
    """Centre and width of a target column in force now; of a difference to the baseline the centre is 0."""
    if plan.period == 0:
        return level_scale(plan, scratch, column % plan.fields)
    if plan.scale == 0:
        return 0.0, 1.0
    if plan.rls == 1:
        return 0.0, scaler.shrunk_rms(0.0, 0.0, model.change_count[column], model.change_m2[column], 1.0)
    return 0.0, own_change(hyper, model, streams, slot, column)
