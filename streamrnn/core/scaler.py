"""Running standardisation in float64: Welford's count, mean and sum of squared deviations.

Inputs use one set of statistics per partition. Targets use one per stream, shrunk towards the partition's while the
stream is young: the partition counts as ``shrinkage`` observations with its own mean and variance. Variances are
the population's; a variance of zero, or no observation at all, scales by one.

Welford 1962; the pooling is the mixture's mean and variance.
"""

from __future__ import annotations

import math

from streamrnn.core.arrays import F1
from streamrnn.core.jit import jit

LIMIT = 10.0
"""Standardised inputs are clamped here: one absurd value must not saturate the state for good."""
ABSURD = 1e100
"""Numbers beyond this count as missing: the square of one would poison every running variance for good."""


@jit
def usable(value: float) -> bool:
    """Whether a number is known, finite and not absurd."""
    return abs(value) <= ABSURD


@jit
def absorb(count: F1, mean: F1, m2: F1, k: int, value: float) -> None:
    """Add one observation to entry k of count, mean and m2:

        mean'  =  mean + (value - mean) / count'
        m2'    =  m2 + (value - mean) (value - mean')

    The difference of sum of squares and squared sum, the textbook's way, cancels where the mean is large.
    """
    count[k] += 1.0
    delta = value - mean[k]
    mean[k] += delta / count[k]
    m2[k] += delta * (value - mean[k])


@jit
def standardise(count: F1, mean: F1, m2: F1, k: int, value: float) -> float:
    """(value - mean) / std of entry k, clamped; 0 when nothing was observed yet."""
    if count[k] == 0.0:
        return 0.0
    variance = m2[k] / count[k]
    deviations: float = (value - mean[k]) / (math.sqrt(variance) if variance > 0.0 else 1.0)
    return min(LIMIT, max(-LIMIT, deviations))


@jit
def shrunk(
    count: float, mean: float, m2: float, pool_count: float, pool_mean: float, pool_m2: float, shrinkage: float
) -> tuple[float, float]:
    """Mean and standard deviation in force for one target of one stream, given its partition's statistics.

    With share = count / (count + shrinkage) they are those of a mixture:

        mean      =  share * own mean      +  (1 - share) * pool mean
        variance  =  share * own variance  +  (1 - share) * pool variance
                                           +  share * (1 - share) * (own mean - pool mean)^2
    """
    if pool_count == 0.0:
        return 0.0, 1.0
    # Written around the pool's mean, so that equal means stay equal: otherwise rounding would pass for a variance.
    share = count / (count + shrinkage)
    distance = mean - pool_mean if count > 0.0 else 0.0
    own = m2 / count if count > 0.0 else 0.0
    variance = share * own + (1.0 - share) * (pool_m2 / pool_count) + share * (1.0 - share) * distance * distance
    return pool_mean + share * distance, math.sqrt(variance) if variance > 0.0 else 1.0


@jit
def shrunk_rms(count: float, m2: float, pool_count: float, pool_m2: float, shrinkage: float) -> float:
    """Root mean square in force for one stream's differences, given its partition's; 1 where there is none.

    square  =  share * own square  +  (1 - share) * pool square        share as in ``shrunk``
    """
    if pool_count == 0.0:
        return 1.0
    square = (m2 + shrinkage * (pool_m2 / pool_count)) / (count + shrinkage)
    return math.sqrt(square) if square > 0.0 else 1.0
