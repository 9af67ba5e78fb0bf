"""Learning rules: how the weights follow from what a stream has seen, chosen by ``plan.rule``.

A rule is asked after every step of a stream, and once more where a sequence ends. When it learns, from what, and
whether that leads to an optimiser step is its own business; so is how much of a stream's window it needs.
"""

from __future__ import annotations

from streamrnn.core import denormals, tbptt
from streamrnn.core.arrays import Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.exact import cells, codes, learning
from streamrnn.core.jit import NO, ZERO, internal
from streamrnn.core.kinds import RTRL, TBPTT


@internal
def begin(plan: Plan, scratch: Scratch) -> int:
    """Before the first record of a call: what follows from the weights. Returns what ``end`` asks for."""
    if plan.rule == TBPTT:
        return ZERO
    cells.prepare(plan, scratch)
    return denormals.exchange(ZERO - 1)


@internal
def end(plan: Plan, register: int) -> None:
    """After the last one."""
    if plan.rule != TBPTT:
        denormals.exchange(register)


@internal
def forward(plan: Plan, streams: Streams, scratch: Scratch, source: int) -> None:
    """The step of the inputs in scratch from the carried state of ``source``, which is not changed."""
    if plan.rule == TBPTT:
        tbptt.forward(streams, scratch, source)
    else:
        codes.show(scratch, plan.coded)
        learning.forward(plan, streams, scratch, source)


@internal
def advance(plan: Plan, streams: Streams, scratch: Scratch, slot: int) -> None:
    """After it: the carried state follows, and what the rule keeps of it."""
    if plan.rule == TBPTT:
        tbptt.advance(plan, streams, scratch, slot)
    else:
        learning.advance(plan, streams, scratch, slot)


@internal
def learn(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, last: bool) -> bool:
    """Learn from the stream's newest steps; ``last``: its sequence ends here. Returns whether weights moved."""
    if plan.rule == TBPTT:
        return tbptt.learn(plan, hyper, model, streams, scratch, slot, last)
    if plan.rule == RTRL:
        return learning.learn(plan, hyper, model, streams, scratch, slot, last)
    return False


@internal
def catch_up(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int) -> bool:
    """Learn after a label, if the rule does so before the stream's next event. Returns whether weights moved."""
    if plan.rule == RTRL:
        return learning.learn(plan, hyper, model, streams, scratch, slot, NO)
    return False
