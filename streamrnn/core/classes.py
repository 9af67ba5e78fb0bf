"""Targets that are classes: as what one is learned, and classes of an open set, which come into use one by one.

Numbers of an open set are given in the order in which its classes appear, the first being "other". Softmax runs over
those in use alone, so a class that nobody has seen has no probability: when it appears, "other" is all that could have
been said of it, and is what is scored and learned.
"""

from __future__ import annotations

from streamrnn.core.arrays import T1, Model, Plan, Scratch
from streamrnn.core.jit import internal, jit


@internal
def absorb(plan: Plan, model: Model, scratch: Scratch, y: float) -> None:
    """A class counts as what is learned, and is remembered as it is.

    One of an open set that appears for the first time comes into use, with the lowest bias of all: what has been
    learned of the others keeps its order.
    """
    scratch.kept[0] = y
    scratch.counted[0] = as_learned(plan, model, y)
    bring_into_use(plan, model, scratch.head_b, y)


@internal
def bring_into_use(plan: Plan, model: Model, bias: T1, y: float) -> None:
    """A class of an open set that was not in use is from now on, with the lowest bias of those that are."""
    used = model.outputs_in_use[0]
    if plan.open_classes == 1 and y >= used:
        begin_lowest(bias, used, int(y) + 1)
        model.outputs_in_use[0] = int(y) + 1


@jit
def begin_lowest(bias: T1, used: int, n: int) -> None:
    """The biases of classes from ``used`` up to n become the lowest of those before them."""
    lowest = bias[0]
    for o in range(1, used):
        lowest = min(lowest, bias[o])
    for o in range(used, n):
        bias[o] = lowest


@internal
def as_learned(plan: Plan, model: Model, y: float) -> float:
    """The class that a target is scored and learned as.

    Of an open set one that was not seen before is "other": more could not have been said of it.
    """
    return 0.0 if plan.open_classes == 1 and y >= model.outputs_in_use[0] else y
