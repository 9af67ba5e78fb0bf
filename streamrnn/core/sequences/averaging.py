"""An exponential average of the weights, by which predictions are made where that is asked for.

After the t-th optimiser step it becomes

    average  =  d average + (1 - d) theta        d = min(decay, (1 + t) / (10 + t))

so that it forgets the weights of the beginning first: the first steps count for a tenth each, and the decay itself is
reached after some ten of its own memory. The average is of all weights at each step, whether the step concerned them or
not. Polyak & Juditsky 1992; the exponential form with a decay that grows is TensorFlow's ExponentialMovingAverage.
"""

from __future__ import annotations

from streamrnn.core.arrays import T1
from streamrnn.core.jit import jit


@jit
def decay_after(decay: float, updates: int) -> float:
    """What the older average still counts after so many optimiser steps."""
    return min(decay, (1.0 + updates) / (10.0 + updates))


@jit
def absorb(average: T1, theta: T1, decay: float) -> None:
    """The weights theta (P,) enter their average (P,)."""
    share = average.dtype.type(1.0 - decay)
    for p in range(average.shape[0]):
        average[p] += share * (theta[p] - average[p])
