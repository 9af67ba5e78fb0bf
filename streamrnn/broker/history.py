"""The records that a topic holds already, read from outside: no group is joined, nothing is committed or written.

Where reading begins and ends is settled before it begins, so that a topic that goes on growing comes to an end here.
Records come partition by partition in stretches, ascending within each; memory is bounded by a stretch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Final

from streamrnn.broker.protocol import Administration, Bounds, Record, TopicPartition
from streamrnn.errors import BrokerError

STRETCH: Final = 10_000
"""Records of each partition that are asked for at a time."""
ANSWER_S: Final = 30.0
"""Seconds in which at least one record has to come while there are some."""


def newest(bounds: Mapping[TopicPartition, Bounds], limit: int) -> dict[TopicPartition, Bounds]:
    """The newest ``limit`` offsets of all partitions together, the same number of each as far as they have so many.

    >>> newest({("t", 0): Bounds(0, 5), ("t", 1): Bounds(0, 100)}, 20)
    {('t', 0): Bounds(start=0, end=5), ('t', 1): Bounds(start=85, end=100)}
    """
    chosen: dict[TopicPartition, Bounds] = {}
    left = limit
    by_size = sorted(bounds, key=lambda tp: (bounds[tp].end - bounds[tp].start, tp))
    for i, tp in enumerate(by_size):
        start, end = bounds[tp]
        share = min(end - start, left // (len(by_size) - i))
        left -= share
        chosen[tp] = Bounds(end - share, end)
    return dict(sorted(chosen.items()))


def records(
    administration: Administration,
    within: Mapping[TopicPartition, Bounds],
    progress: Callable[[int], None] | None = None,
    stretch: int = STRETCH,
) -> Generator[Record]:
    """The records within these bounds. ``progress`` is told how many offsets have been passed altogether.

    Offsets may be gaps, so there can be fewer records. Raises BrokerError when none comes for ``ANSWER_S``.
    """
    at = {tp: start for tp, (start, end) in within.items() if start < end}
    passed = 0
    while at:
        asked = time.monotonic()
        found = administration.read(at, stretch, ANSWER_S)
        silent = not any(found.values())
        if silent and time.monotonic() - asked >= ANSWER_S:
            topics = ", ".join(sorted({tp.topic for tp in at}))
            raise BrokerError(f"no record of {topics} came within {ANSWER_S:g} s; does the cluster still answer?")
        for tp in sorted(found):
            start, end = at[tp], within[tp].end
            yield from (record for record in found[tp] if record.offset < end)
            # Where nothing came although others did in time, only gaps are left; so are they where the end is near.
            reached = found[tp][-1].offset + 1 if found[tp] else (end if silent else start)
            passed += min(reached, end) - start
            at[tp] = reached
        at = {tp: start for tp, start in at.items() if start < within[tp].end}
        if progress is not None:
            progress(passed)
