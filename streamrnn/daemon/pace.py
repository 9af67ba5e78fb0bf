"""How much the loop does at a time, so that a turn stays short whatever a record costs.

Between two turns the loop commits, answers, notices a stop and gives a sign of life. Five thousand records of a few
numbers take a fifth of a second; as many texts of a kilobyte, or records of a large network, take minutes. So a poll
brings about what the last one's records say can be done in ``TURN_S``, and begins with few.

A record says little about the next one where records are texts: behind a thousand of two words may come one of sixteen
thousand. So what a poll brought is handed on in pieces, each of about as many bytes as can be done in ``PIECE_S``, with
a look at the time in between; when the turn's is over, the rest is polled again. Bytes are what is known before a
record is decoded, and no text has more units than bytes. ``MOST_BYTES`` is therefore also the most units in memory at a
time, but for a single record that is larger. How the log is cut has no meaning to what is learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from streamrnn.broker.columns import Records

TURN_S: Final = 0.5
PIECE_S: Final = 0.1
FIRST: Final = 16
"""Records of the first poll, of whose cost nothing is known."""
MOST: Final = 5_000
"""Records of any poll."""
FASTER: Final = 4
"""Most by which one poll's limit may exceed the last one's: a few cheap records say little about those to come."""

FIRST_BYTES: Final = 1 << 16
"""Of the first piece."""
MOST_BYTES: Final = 1 << 18
"""Of any piece."""
RECORD_BYTES: Final = 100
"""What a record counts for besides its key and value: one without any is work, too."""


class Pace:
    """``records`` is the limit of the next poll. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.records = FIRST
        self._bytes: float = FIRST_BYTES
        self._clock = clock
        self._begun_at, self._handed_on = clock(), 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within it the records of a poll are handed on, in pieces; how long that takes says how many the next brings.

        >>> from streamrnn.broker.protocol import Record
        >>> now = iter([0.0, 0.0, 0.0, 1.6, 1.6])
        >>> pace = Pace(clock=lambda: next(now))
        >>> with pace.turn():
        ...     [len(piece) for piece in pace.pieces(Records.of([Record("in", 0, 0, 0, None, None)] * 16))]
        [16]
        >>> pace.records
        5
        """
        self._begun_at, self._handed_on = self._clock(), 0
        yield
        if self._handed_on:
            seconds, most = self._clock() - self._begun_at, FASTER * self.records
            self.records = max(1, min(most, int(self._handed_on * TURN_S / seconds) if seconds > 0 else most))

    def pieces(self, records: Records, stopped: Callable[[], bool] = lambda: False) -> Iterator[Records]:
        """The records of a partition in order, a piece at a time, until the turn has had its time or a stop is asked.

        A piece is done when the next one is asked for; there is always a first, and at least one record in each.

        >>> from streamrnn.broker.protocol import Record
        >>> record = Record("in", 0, 0, 0, None, b"x" * (FIRST_BYTES // 2 - RECORD_BYTES))
        >>> [len(piece) for piece in Pace(clock=lambda: 0.0).pieces(Records.of([record] * 11))]
        [2, 8, 1]
        """
        up_to = np.cumsum(RECORD_BYTES + records.keys.sizes + records.values.sizes)
        place = behind = 0
        while place < len(records):
            end = max(place + 1, int(np.searchsorted(up_to, behind + self._bytes, side="right")))
            size = int(up_to[end - 1]) - behind
            begun_at = self._clock()
            yield records[place:end]
            done_at = self._clock()
            self._handed_on += end - place
            self._piece_took(size, done_at - begun_at)
            place, behind = end, behind + size
            if stopped() or done_at - self._begun_at >= TURN_S:
                return

    def _piece_took(self, size: int, seconds: float) -> None:
        affordable = size * PIECE_S / seconds if seconds > 0 else FASTER * self._bytes
        if seconds <= PIECE_S:  # a small piece costs more a byte, which is no reason for smaller ones
            affordable = max(affordable, self._bytes)
        self._bytes = min(MOST_BYTES, FASTER * self._bytes, affordable)
