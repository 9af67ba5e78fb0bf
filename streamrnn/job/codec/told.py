"""Predictions that were made after a look ahead: they come out with later records, and keep their events' coordinates.

Where an event is is all that is kept of it until then: its offset, as the id of the event, beside what the learner
keeps. So an id is there for every record; 0 stays free for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record
from streamrnn.learner.predictions import Told

Integers = npt.NDArray[np.int64]


def id_at(offset: int) -> int:
    """The id of the event that the record at this offset is.

    >>> id_at(41)
    42
    """
    return offset + 1


def offsets_of(ids: npt.NDArray[np.uint64]) -> Integers:
    """The offsets of the records of events that have these ids (n,)."""
    return ids.astype(np.int64) - 1


class Coordinates(NamedTuple):
    """Where n predictions belong.

    Attributes
    ----------
    keys
        Of their streams.
    offset : int64 [n]
        Of the records of their events.
    stamp_ms : int64 [n]
        What Kafka says their time is: a record's own timestamp, or, where that was not kept, the event's time.
    """

    keys: list[bytes]
    offset: Integers
    stamp_ms: Integers

    @classmethod
    def of(cls, keys: list[bytes], sources: Sequence[Record], told: Told | None) -> Coordinates:
        """Of what is predicted of these records of these streams, in the order in which it is."""
        if told is not None:
            return cls(told.keys, offsets_of(told.event), told.time_ms)
        return cls(
            keys,
            np.array([record.offset for record in sources], np.int64),
            np.array([record.timestamp_ms for record in sources], np.int64),
        )
