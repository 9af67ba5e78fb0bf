"""Predictions that were made after a look ahead: they come out with later records, and keep their events' coordinates.

Where an event is is all that is kept of it until then: its offset, as the id of the event, beside what the learner
keeps. So an id is there for every record; 0 stays free for none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def id_at(offset: int) -> int:
    """The id of the event that the record at this offset is.

    >>> id_at(41)
    42
    """
    return offset + 1


def ids_at(offsets: Integers) -> npt.NDArray[np.uint64]:
    """The same of several (n,)."""
    return (offsets + 1).astype(np.uint64)


def offsets_of(ids: npt.NDArray[np.uint64]) -> Integers:
    """The offsets of the records of events that have these ids (n,)."""
    return ids.astype(np.int64) - 1
