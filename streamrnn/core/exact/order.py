"""In what order labels come: how far learning waits for an event's label once newer events of its stream have theirs.

Learning takes the steps of a sequence in their order, and goes back to none. So a label that has come waits behind
older events that have none yet. Where these never get one, that would be for as long as they are remembered; if
learning went past them at once, labels that come a little out of order would be lost. How much out of order they come
is seen from the labels themselves: of each, how many steps behind the newest step answered so far its own is, counted
by powers of two, of all streams together. An event is waited for as long as the newest answered step is no further
ahead of it than labels were behind so far, but for the rarest. Counts are halved now and then, so that old ones fade.
"""

from __future__ import annotations

from streamrnn.core.arrays import I1, Model, Streams
from streamrnn.core.jit import ZERO, internal

RARE = 10
"""One label in so many may come too late to be learned."""
NEWEST = 1_000
"""Labels after which counts are halved."""


@internal
def notice(model: Model, streams: Streams, slot: int, step: int) -> None:
    """The label of the event at this step of its sequence has come."""
    counts, behind, k = model.overtaken, streams.answered[slot, 0] - 1 - step, ZERO
    while behind > 0 and k < counts.shape[0] - 1:
        behind >>= 1
        k += 1
    counts[k] += 1
    if total(counts) >= NEWEST:
        for j in range(counts.shape[0]):
            counts[j] //= 2
    streams.answered[slot, 0] = max(streams.answered[slot, 0], step + 1)


@internal
def patience(model: Model) -> int:
    """By how many steps the newest answered one may be ahead of an event whose label is waited for."""
    counts, later = model.overtaken, ZERO
    k, rare = int(counts.shape[0]) - 1, total(counts) // RARE
    while k > 0 and later + counts[k] <= rare:
        later += counts[k]
        k -= 1
    return int((1 << k) - 1)


@internal
def total(counts: I1) -> int:
    """Their sum."""
    n = ZERO
    for k in range(counts.shape[0]):
        n += counts[k]
    return n
