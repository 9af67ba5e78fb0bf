"""How surprising a class was, or a text, among the newest ones: a rank from 0 to 1.

What is ranked is the loss of a class, the negative logarithm of the probability it was given, and of a text the mean
over its units. The rank is the share of the newest ``surprises`` below it, of the stream and of the partition; one
beyond all of them comes the closer to 1 the larger it is. It says nothing (NaN) while there is nothing to compare with,
and the surprise itself is among the newest only afterwards: the calibration is that of the anomaly detector.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.arrays import F1, Model, Records, Scratch, Streams
from streamrnn.core.jit import internal, jit

OWN, PARTITION = range(2)
NEWEST = 1_000
"""Surprises of the partition that one is compared with."""
NEWEST_OWN = 50
"""And those of its stream."""

N, SUM = range(2)
"""Entries of ``scratch.text``."""


@internal
def note(model: Model, streams: Streams, scratch: Scratch, records: Records, i: int, closes: bool) -> None:
    """Record i has its loss: rank what ends with it, if it ``closes`` something."""
    if model.surprises.shape[0] == 0:
        return
    slot, text = records.slot[i], scratch.text
    if not np.isnan(records.loss[i]):
        text[N] += 1.0
        text[SUM] += records.loss[i]
    if not closes or text[N] == 0.0:
        return
    mean = text[SUM] / text[N]
    text[N] = text[SUM] = 0.0
    records.rank[i, OWN] = rank(streams.surprises[slot], streams.surprise_count[slot], mean)
    records.rank[i, PARTITION] = rank(model.surprises, model.surprise_count[0], mean)
    streams.surprises[slot, streams.surprise_count[slot] % streams.surprises.shape[1]] = mean
    streams.surprise_count[slot] += 1
    model.surprises[model.surprise_count[0] % model.surprises.shape[0]] = mean
    model.surprise_count[0] += 1


@jit
def rank(newest: F1, count: int, value: float) -> float:
    """Rank of a value among the newest of so many, which stand in a ring; NaN = there are none."""
    n = min(count, newest.shape[0])
    if n == 0:
        return math.nan
    below, largest = 0.0, 0.0
    for k in range(n):
        below += 1.0 if newest[k] < value else 0.0
        largest = max(largest, float(newest[k]))
    if value > largest and largest > 0.0:  # of nothing there is no multiple
        below = n + 1.0 - largest / value
    share: float = below / (n + 1.0)
    return share
