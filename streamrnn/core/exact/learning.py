"""The rule: learn an event from the exact gradient of its loss with respect to all that the cell ever did with it.

Where the target is known in the record, the state that predicts carries the traces, and learns at once. Where it comes
later a second state, with the traces, goes behind on a ring of inputs, at most ``plan.delay`` events. It learns an
event, or passes it by, as soon as no target of it is waited for any more; the state that predicts has no traces then.
An optimiser step takes the mean gradient of k1 events that were learned from, of whatever stream, and weights stand
still meanwhile (``plan.lessons_per_step``).
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core import descent, heads, kinds, losses, spans
from streamrnn.core.arrays import K1, T1, Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.exact import cells, order
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy


@internal
def forward(plan: Plan, streams: Streams, scratch: Scratch, source: int) -> None:
    """The step of the inputs in scratch from the carried state of ``source``, which is not changed."""
    cells.forward(plan, scratch, streams.state[source, 0], scratch.x[0], scratch.h[0])


@internal
def advance(plan: Plan, streams: Streams, scratch: Scratch, slot: int) -> None:
    """After it: the carried state follows, and where it is the one that learns, its traces."""
    n = streams.traces.shape[1]
    if plan.delay > 0:
        n = 0
    else:
        show(scratch.x[0], streams.shown[slot])
    cells.advance(plan, scratch, streams.state[slot, 0], streams.traces[slot, :n], streams.shown[slot], scratch.x[0])


@internal
def show(x: T1, shown: K1) -> None:
    """Inputs of x (D,) that are not zero were shown."""
    for j in range(shown.shape[0]):
        if x[j] != 0.0:
            shown[j] = 1


@jit
def learn(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, last: bool) -> bool:
    """Learn what can be learned now; ``last``: the sequence ends here. Returns whether weights moved."""
    moved, behind, oldest = False, plan.delay > 0, ZERO
    if plan.known == kinds.KNOWN_BY_LABEL:
        oldest = streams.answered[slot, 0] - 1 - order.patience(model)
    while streams.learned[slot, 0] < streams.steps[slot]:
        step = streams.learned[slot, 0]
        place = step % plan.k2
        if behind:
            if not last and is_waiting(plan, streams, slot, step, oldest):
                break
            copy(scratch.x[0], streams.x[slot, place])
            copy(scratch.lags[0], streams.lags[slot, place])
            cells.forward(plan, scratch, streams.behind[slot], scratch.x[0], scratch.h[0])
            show(scratch.x[0], streams.shown[slot])
            cells.advance(plan, scratch, streams.behind[slot], streams.traces[slot], streams.shown[slot], scratch.x[0])
        streams.learned[slot, 0] = step + 1
        if losses.any_known(streams.y[slot, place]):
            copy(scratch.targets[0], streams.y[slot, place])
            # No kernel asks for it again, since ``learned`` has gone past it. But in a state that is saved, what stands
            # in the ring is what is yet to be learned (``arrays``), whatever the rule.
            streams.y[slot, place, :] = np.nan
            moved = learn_step(plan, hyper, model, streams, scratch, slot, behind) or moved
    return moved


@internal
def is_waiting(plan: Plan, streams: Streams, slot: int, step: int, oldest: int) -> bool:
    """Whether a target of this step may still come to be learned; of labels those of steps before ``oldest`` come late.

    A label comes no more where its event was answered, learnable or not, or had no name to be answered by. Each step of
    a sequence is an event that is remembered, so counts of both go along (but for imagined steps, of a row that never
    learns).
    """
    ago = streams.steps[slot] - step
    if ago > plan.delay:
        return False
    if plan.known != kinds.KNOWN_BY_LABEL:
        return True
    if step < oldest:
        return False
    return bool(streams.event[slot, (streams.event_count[slot] - ago) % streams.event.shape[1]] != 0)


@internal
def learn_step(
    plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, behind: bool
) -> bool:
    """Learn the step that scratch is of; ``behind``: it is of the state behind."""
    scratch.grad[scratch.dcell_w.size :] = scratch.grad.dtype.type(0)  # the cell's part is written, not added to
    loss = heads.window_gradient(
        plan, hyper, model, scratch, scratch.h[:1], scratch.x[:1], scratch.lags[:1], scratch.targets[:1],
        scratch.dh[:1], not behind,
    )  # fmt: skip
    state = streams.behind[slot] if behind else streams.state[slot, 0]
    cells.gradient(plan, scratch, state, streams.traces[slot], streams.shown[slot], scratch.x[0], scratch.dh[0])
    norm = descent.norm(plan, scratch.spans[: spans.lay_out(plan, model, scratch)], scratch.grad)
    if not descent.accept(model, loss, norm):
        if math.isfinite(loss):  # it is the traces that do not fit; they would not for as long as units remember
            streams.traces[slot, :, :] = streams.traces.dtype.type(0)
        return False
    moved = descent.finish_window(plan, hyper, model, scratch, loss, norm)
    if moved:
        cells.constrain(plan, scratch, hyper.nu_least)
    return moved
