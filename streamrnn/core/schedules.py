"""Learning rates that fall with the number t of optimiser steps taken before, so that any cut of the log has the same.

    constant       lr
    inverse_sqrt   lr / sqrt(1 + t / T)
    exponential    lr exp(-t / T)

and none below the share ``schedule_least`` of lr. A rate that falls with the root of time is what regret bounds of
online gradient descent ask for (Zinkevich 2003); the constant one goes on following a stream that drifts.
"""

from __future__ import annotations

import math

from streamrnn.core.arrays import Hyper
from streamrnn.core.jit import jit

CONSTANT, INVERSE_SQRT, EXPONENTIAL = 0, 1, 2
SCHEDULES = {"constant": CONSTANT, "inverse_sqrt": INVERSE_SQRT, "exponential": EXPONENTIAL}


@jit
def rate(schedule: int, hyper: Hyper, updates: int) -> float:
    """The learning rate of the step behind so many."""
    if schedule == INVERSE_SQRT:
        return hyper.lr * max(hyper.schedule_least, 1.0 / math.sqrt(1.0 + updates / hyper.schedule_updates))
    if schedule == EXPONENTIAL:
        return hyper.lr * max(hyper.schedule_least, power(hyper.schedule_decay, updates))
    return hyper.lr


@jit
def power(base: float, exponent: int) -> float:
    """base ** exponent by squaring; the C library's pow has other bits on another machine. exponent >= 0."""
    result = 1.0
    while exponent > 0:
        if exponent % 2 == 1:
            result *= base
        base *= base
        exponent //= 2
    return result
