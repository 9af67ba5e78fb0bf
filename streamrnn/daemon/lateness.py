"""How late a partition is: behind the log in event time, and from a record's timestamp to its delivered prediction.

Event time is what records are stamped with, so a log of past years that is read through is late by what is left of it
and not by years. Nothing here asks the broker; the loop says what it answered.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Output


class Lateness:
    """One partition's place in event time, and when it came there."""

    def __init__(self) -> None:
        self._reached_ms: int | None = None
        self._newest_ms: int | None = None
        self.processed_at_s: float | None = None

    def processed(self, timestamp_ms: int) -> None:
        """A batch was processed whose last record is stamped so; below 0 it has no timestamp."""
        self.processed_at_s = time.time()
        self._reached_ms = timestamp_ms if timestamp_ms >= 0 else None

    def seen(self, newest_ms: int | None) -> None:
        """The latest timestamp in the log, as the broker has it; None: unknown."""
        self._newest_ms = newest_ms

    def lag_s(self, waiting: int | None, now_s: float) -> float | None:
        """Event time between the newest record processed and the newest in the log; None while unknown.

        ``waiting`` is the lag in records. A record from the future is in the log, but nobody is late for it yet.

        >>> lateness = Lateness()
        >>> lateness.lag_s(5, 200.0) is None, lateness.lag_s(0, 200.0)
        (True, 0.0)
        >>> lateness.processed(100_000)
        >>> lateness.seen(160_000)
        >>> lateness.lag_s(5, 200.0), lateness.lag_s(5, 130.0)
        (60.0, 30.0)
        """
        if waiting == 0:
            return 0.0
        if waiting is None or self._reached_ms is None or self._newest_ms is None:
            return None
        return max(0.0, min(self._newest_ms / 1000, now_s) - self._reached_ms / 1000)


def latencies(outputs: Sequence[Output], now_s: float) -> npt.NDArray[np.float64]:
    """Seconds since the timestamps of the predictions among outputs; those without one are left out.

    >>> outputs = [Output("p", b"k", b"1", 9_000), Output("dead", b"k", b"x"), Output("p", b"k", b"2", 11_000)]
    >>> latencies(outputs, 10.0).tolist()
    [1.0, 0.0]
    """
    stamps = np.array([output.timestamp_ms for output in outputs], np.float64)  # None becomes NaN
    return np.maximum(0.0, now_s - stamps[~np.isnan(stamps)] / 1000)
