"""Truncated back-propagation through time over one stream's window.

A window replays the newest k2 steps (fewer at a sequence's start) with the current weights, from the carried state
that preceded them, and injects the targets that became known since the stream's previous window, each exactly once. The
loss is the mean over those known elements. Carried states are never rewritten: the next prediction continues from the
state that was computed when its record arrived, with the weights of that time (Williams & Peng 1990, TBPTT(k1, k2)).

A gradient is computed aside; what becomes of it is the business of ``descent``.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core import descent, heads, losses, reach, spans, trunk
from streamrnn.core.arrays import Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import ZERO, internal
from streamrnn.core.linear import copy


@internal
def learn(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, last: bool) -> bool:
    """Learn the stream's newest window if one is due and a target in it waits. Returns whether weights moved.

    One is due at every k1-th step of a sequence and at its last.
    """
    if not last and streams.steps[slot] % plan.k1 != 0:
        return False
    first = streams.steps[slot] - min(streams.steps[slot], plan.k2)
    steps = steps_to_replay(plan, streams, slot, first)
    if steps == 0:
        return False
    load_window(plan, streams, scratch, slot, first, steps)
    loss = window_gradient(plan, hyper, model, scratch, steps)
    norm = descent.norm(plan, scratch.spans[: spans.lay_out(plan, model, scratch)], scratch.grad)
    # Accepted before it enters a batch, where one NaN would spoil the gradients of all other windows.
    if not descent.accept(model, loss, norm):
        return False
    if reach.due(model, steps):  # before weights move: the tape is of these
        reach.measure(plan, model, scratch, steps)
    return descent.finish_window(plan, hyper, model, scratch, loss, norm)


@internal
def forward(streams: Streams, scratch: Scratch, source: int) -> None:
    """The step of the inputs in scratch from the carried state of ``source``, which is not changed."""
    trunk.load_state(streams.state[source], scratch)
    trunk.forward(scratch, ZERO + 1)


@internal
def advance(plan: Plan, streams: Streams, scratch: Scratch, slot: int) -> None:
    """After it: the carried state follows, and the one before is kept where a window will start from it."""
    step = streams.steps[slot]
    if (step + plan.k2) % plan.stride == 0:  # a window that ends k2 steps from here starts from this state
        place = ((step + plan.k2) // plan.stride) % streams.before.shape[1]
        for layer in range(streams.state.shape[1]):
            for part in range(streams.state.shape[2]):
                copy(streams.before[slot, place, layer, part], streams.state[slot, layer, part])
    trunk.keep_state(scratch, streams.state[slot])


@internal
def steps_to_replay(plan: Plan, streams: Streams, slot: int, first: int) -> int:
    """Steps from the window's first to the last one whose target waits; 0 = no target does.

    Those after it have no part in the gradient.
    """
    steps = ZERO
    for t in range(streams.steps[slot] - first):
        if losses.any_known(streams.y[slot, (first + t) % plan.k2]):
            steps = ZERO + t + 1
    return steps


@internal
def load_window(plan: Plan, streams: Streams, scratch: Scratch, slot: int, first: int, steps: int) -> None:
    """The window's inputs, targets and the state before it go to scratch; its targets wait no longer."""
    for t in range(steps):
        place = (first + t) % plan.k2
        copy(scratch.x[t], streams.x[slot, place])
        copy(scratch.looked_up[t], streams.looked_up[slot, place])
        copy(scratch.lags[t], streams.lags[slot, place])
        copy(scratch.targets[t], streams.y[slot, place])
        streams.y[slot, place, :] = np.nan  # windows overlap when k1 < k2; a target is learned from once
    if first == 0:
        trunk.zero_state(scratch)
    else:
        # Windows end at multiples of the stride and start k2 steps before: states are kept, and found, by first + k2.
        place = ((first + plan.k2) // plan.stride) % streams.before.shape[1]
        trunk.load_state(streams.before[slot, place], scratch)


@internal
def window_gradient(plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, steps: int) -> float:
    """Mean loss of the first ``steps`` steps in scratch from the loaded state; the gradient overwrites scratch.grad.

    As far as it is not zero anyway: see ``spans``.
    """
    spans.note_rows(scratch, steps)
    descent.clear(scratch.spans[: spans.lay_out(plan, model, scratch)], scratch.grad)
    trunk.forward(scratch, steps)
    h, x, lags, targets = scratch.h[:steps], scratch.x[:steps], scratch.lags[:steps], scratch.targets[:steps]
    loss = heads.window_gradient(plan, hyper, model, scratch, h, x, lags, targets, scratch.dh[:steps], False)
    trunk.backward(scratch, steps)
    return loss
