"""How late a partition is: behind the log in event time, and from a record's timestamp to its delivered prediction.

Event time is what records are stamped with, so a log of past years that is read through is late by what is left of it
and not by years. Nothing here asks the broker; the loop says what it answered.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import NOW, Outputs, Records

RECENT_S, RECENT = 10.0, 16
"""What was processed so lately, and so many batches at least, counts as one place in event time: a record of a producer
whose clock is an hour behind the others' does not make the partition an hour late."""
SHORT_S = 10.0
"""As near to now as this, a partition needs nobody to be asked: nothing in the log is newer than now."""


class Lateness:
    """One partition's place in event time, and when it came there."""

    def __init__(self) -> None:
        self._processed: deque[tuple[float, int]] = deque(maxlen=512)  # when, and the newest timestamp of the batch
        self._newest_ms: int | None = None
        self._asked_since = False  # the log's newest timestamp, since something was processed
        self.end_known = True  # whether the log's end could be found out when it was last asked for
        self.processed_at_s: float | None = None

    def processed(self, timestamp_ms: int) -> None:
        """A batch was processed whose newest record is stamped so; below 0 it has no timestamp."""
        now = self.processed_at_s = time.time()
        self._asked_since = False
        if timestamp_ms < 0:
            self._processed.clear()
            return
        self._processed.append((now, timestamp_ms))
        while len(self._processed) > RECENT and self._processed[0][0] < now - RECENT_S:
            self._processed.popleft()

    def seen(self, newest_ms: int | None) -> None:
        """The latest timestamp in the log, as the broker has it; None: unknown."""
        self._newest_ms, self._asked_since, self.end_known = newest_ms, True, True

    def lag_s(self, waiting: int | None, now_s: float) -> float | None:
        """Event time between the newest record processed and the newest in the log; None while unknown.

        ``waiting`` is the lag in records. A record from the future is in the log, but nobody is late for it yet. Where
        the newest timestamp that is known has been passed by and records wait all the same, others have come since:
        none of them is newer than now, which says enough of a partition that is near it.

        >>> lateness = Lateness()
        >>> lateness.lag_s(5, 200.0) is None, lateness.lag_s(0, 200.0)
        (True, 0.0)
        >>> lateness.processed(100_000)
        >>> lateness.seen(160_000)
        >>> lateness.lag_s(5, 200.0), lateness.lag_s(5, 130.0)
        (60.0, 30.0)
        >>> lateness.processed(170_000)
        >>> lateness.lag_s(5, 172.0), lateness.lag_s(5, 200.0)
        (2.0, None)
        """
        if waiting == 0:
            return 0.0
        if waiting is None or not self._processed:
            return None
        reached_s = self._reached_s(now_s)
        newest_s = -math.inf if self._newest_ms is None else min(self._newest_ms / 1000, now_s)
        if newest_s > reached_s:
            return newest_s - reached_s
        if self._asked_since and self._newest_ms is not None:
            return 0.0  # those that wait are no newer
        at_most_s = max(0.0, now_s - reached_s)
        return at_most_s if at_most_s <= SHORT_S else None

    def _reached_s(self, now_s: float) -> float:
        """The newest of what was processed lately. What is from the future says so only until something else comes."""
        past = (timestamp_ms for _, timestamp_ms in self._processed if timestamp_ms <= 1000 * now_s)
        return max(self._processed[-1][1], max(past, default=0)) / 1000


def newest_of(records: Records, now_s: float) -> int:
    """The newest timestamp of a batch, of those that are not from the future where there are any.

    >>> from streamrnn.broker.protocol import Record
    >>> stamps = enumerate((5_000, 9_000, 7_000))
    >>> newest_of(Records.of([Record("t", 0, i, stamp, None, b"", ()) for i, stamp in stamps]), 8.0)
    7000
    """
    stamps = records.timestamp_ms
    past = stamps[stamps <= 1000 * now_s]
    return int(past.max() if len(past) else stamps.max())


def latencies(outputs: Sequence[Outputs], now_s: float) -> npt.NDArray[np.float64]:
    """Seconds since the timestamps of the predictions among outputs; those without one are left out.

    >>> from streamrnn.broker.protocol import Output
    >>> predicted = Outputs.of([Output("p", b"k", b"1", 9_000), Output("p", b"k", b"2", 11_000)])
    >>> latencies([predicted, Outputs.of([Output("dead", b"k", b"x")])], 10.0).tolist()
    [1.0, 0.0]
    """
    stamps = np.concatenate([np.empty(0, np.int64), *(batch.timestamp_ms for batch in outputs)])
    seconds: npt.NDArray[np.float64] = np.maximum(0.0, now_s - stamps[stamps != NOW] / 1000)
    return seconds
