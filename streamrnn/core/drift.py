"""Drift of an input: its newest values against those of long before, as a fast and a slow running mean.

Both means are of the values as they count in the statistics (``scaler``), so one absurd number does not show, and a new
level does: the fast one is there after some ``FAST`` values, the slow one after ``SLOW``. They are their own, since the
statistics themselves give an old level up as soon as a new one is certain. The first values of a partition, among which
nobody can tell what is absurd, are left out.

Values are summed up and enter both means ``CHUNK`` at a time, which spares two divisions per value.
"""

from __future__ import annotations

from streamrnn.core.arrays import F2
from streamrnn.core.jit import jit

CHUNK = 16.0
FAST = 1_000.0
SLOW = 100_000.0

HELD, HELD_SUM, COUNT, FAST_MEAN, SLOW_MEAN = range(5)
"""One row (5,) of the array for each input: values held, their sum, values in the means (at most ``SLOW``), both means.
"""


@jit
def absorb(drift: F2, k: int, value: float) -> None:
    """A value of input k, as far as it counts, enters its means."""
    row = drift[k]
    row[HELD] += 1.0
    row[HELD_SUM] += value
    if row[HELD] >= CHUNK:
        mean = row[HELD_SUM] / row[HELD]
        row[HELD] = row[HELD_SUM] = 0.0
        row[COUNT] = min(row[COUNT] + CHUNK, SLOW)
        row[FAST_MEAN] += CHUNK / min(row[COUNT], FAST) * (mean - row[FAST_MEAN])
        row[SLOW_MEAN] += CHUNK / row[COUNT] * (mean - row[SLOW_MEAN])
