"""What single steps that look ahead come as, and what comes out of them; letters as in ``core.arrays``.

A row leads to as many predictions as were due with it, which may be none. So what comes out has columns of its own, m
of them at most, one after the other in the order in which they were made. To kernels that they share with other steps
both look like ``core.arrays.Records``.
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.core.arrays import B1, F1, F2, I1, I2, K1, U1


class StepRows(NamedTuple):
    """n rows in log order; all are read only."""

    slot: I1  # (n,)
    fresh: B1  # (n,) the slot starts a new stream with this row
    time_ms: I1  # (n,) the time that is believed, for gaps and ``dt``
    given_ms: I1  # (n,) the time that its record has
    x: F2  # (n, U) NaN = missing
    symbols: I2  # (n, symbols) the row that each input which is a symbol looks up, -1 = missing
    y: F2  # (n, F) NaN = unknown
    end: B1  # (n,)
    kind: K1  # (n,)
    event: U1  # (n,)


class ToldSteps(NamedTuple):
    """Room for m predictions, and how many were made."""

    n: I1  # (1,)
    row: I1  # (m,) the row with which it came out
    slot: I1  # (m,)
    event: U1  # (m,) as its row named it
    time_ms: I1  # (m,) as its row had it
    y: F2  # (m, F) its targets
    prediction: F2  # (m, O)
    updates: I1  # (m,) as in ``Records``, and so below
    loss: F1
    error: F1
    grad_norm: F1
    rivals: F2
    width: F1
    rank: F2


class Reading(NamedTuple):
    """What the network reads for a prediction or a window; see ``stepwise.read``."""

    forwards: int  # steps of the forward layer, the first of ``Network.x``
    first: int  # the first step that something is said of
    steps: int  # from it on, steps that the reverse layer may see
    said: int  # the first so many of these have a pass of their own
