"""Stream time: the running maximum of record timestamps, safe against a few absurd ones.

A record whose timestamp is more than ``max_jump_ms`` ahead moves time only when it is the third such record in a row
and the three agree within ``max_jump_ms``; until then it counts as having arrived now. Going back never moves time. The
very first timestamp is provisional: if a following record lies more than ``max_jump_ms`` before it, time starts again
there.

The clock sees delivered, decoded records only, in log order, so it is the same on every machine and after every
restart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CONFIRMATIONS = 3
"""Records in a row that must agree before a far jump ahead is believed."""

UNSET, PROVISIONAL, RUNNING = 0, 1, 2


class StreamClock:
    """Stream time in milliseconds since the epoch.

    >>> clock = StreamClock(max_jump_ms=1000)
    >>> [clock.observe(t) for t in (100, 300, 200, 999_999, 400)]
    [100, 300, 200, 300, 400]
    >>> clock.now
    400
    """

    def __init__(self, max_jump_ms: int) -> None:
        self.max_jump_ms = max_jump_ms
        self.now = 0
        self._phase = UNSET
        self._candidate = 0
        self._agreeing = 0

    def observe(self, time_ms: int) -> int:
        """Observe one record; returns the time it counts as having, ``time_ms`` unless that is not believed."""
        now = self.now
        if time_ms <= now + self.max_jump_ms and self._phase == RUNNING:
            if time_ms > now:
                self.now = time_ms
            self._agreeing = 0
            return time_ms
        return self._observe_unusual(time_ms)

    def pass_usual(self, newest_ms: int) -> None:
        """As ``observe`` for records none of which is far ahead, once ``settled``. Afterwards it is ``newest_ms``."""
        self.now, self._agreeing = newest_ms, 0

    def _observe_unusual(self, time_ms: int) -> int:
        if self._phase == UNSET:
            self._phase, self.now = PROVISIONAL, time_ms
            return time_ms
        if time_ms <= self.now + self.max_jump_ms:
            if time_ms < self.now - self.max_jump_ms:
                # The first timestamp was the absurd one. Time stays provisional: this one may be absurd too.
                self.now = time_ms
            else:
                self._phase = RUNNING
                self.now = max(self.now, time_ms)
            self._agreeing = 0
            return time_ms
        if self._agreeing and abs(time_ms - self._candidate) <= self.max_jump_ms:
            self._agreeing += 1
        else:
            self._candidate, self._agreeing = time_ms, 1
        if self._agreeing < CONFIRMATIONS:
            return self.now
        self._phase, self.now, self._agreeing = RUNNING, time_ms, 0
        return time_ms

    @property
    def settled(self) -> bool:
        """Whether the first timestamp was confirmed: from then on stream time never falls."""
        return self._phase == RUNNING

    @property
    def started(self) -> bool:
        """Whether any record was seen."""
        return self._phase != UNSET

    def state(self) -> npt.NDArray[np.int64]:
        """Everything the clock remembers, (4,) int64."""
        return np.array([self.now, self._phase, self._candidate, self._agreeing], dtype=np.int64)

    def restore(self, state: npt.NDArray[np.int64]) -> None:
        """Continue from what ``state`` returned."""
        self.now, self._phase, self._candidate, self._agreeing = (int(v) for v in state)
