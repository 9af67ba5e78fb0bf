"""What follows from a unit's radius and phase, once for each optimiser step.

r = exp(-exp(nu)), th = exp(om), lam = r exp(i th), g = sqrt(1 - r^2), q = r^2 exp(nu) / (1 - r^2)
"""

from __future__ import annotations

import math

LEAST_DECAY = 1e-3
"""Least 1 - r of a unit: closer to 1, units creep towards never forgetting over a million events."""


def nu_least(memory: int | str | None) -> float:
    """log(-log r) of the slowest unit there may be: 1 - r = 1e-3, or of a memory of T steps 1 / (10 T)."""
    decay = LEAST_DECAY if not isinstance(memory, int) else min(LEAST_DECAY, 0.1 / memory)
    return math.log(-math.log1p(-decay))
