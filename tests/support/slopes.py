"""Central differences: what a gradient is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def slope(f: Callable[[], float], array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of ``f()`` by every element of ``array``, which ``f`` reads."""
    out = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = f()
        array[index] = kept - step
        below = f()
        array[index] = kept
        out[index] = (above - below) / (2 * step)
    return out
