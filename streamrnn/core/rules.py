"""Learning rules: how the weights follow from what a stream has seen, chosen by ``plan.rule``.

A rule is asked after every step of a stream, and once more where a sequence ends. When it learns, from what, and
whether that leads to an optimiser step is its own business; so is how much of a stream's window it needs.
"""

from __future__ import annotations

from streamrnn.core import tbptt
from streamrnn.core.arrays import Hyper, Model, Plan, Scratch, Streams
from streamrnn.core.jit import internal

TBPTT = 0
RULES = {"tbptt": TBPTT}
"""A kernel cannot raise: ``handle`` refuses a plan with a code that is not among these."""


@internal
def learn(plan: Plan, hyper: Hyper, model: Model, streams: Streams, scratch: Scratch, slot: int, last: bool) -> bool:
    """Learn from the stream's newest steps; ``last``: its sequence ends here. Returns whether weights moved."""
    if plan.rule == TBPTT:
        return tbptt.learn(plan, hyper, model, streams, scratch, slot, last)
    return False
