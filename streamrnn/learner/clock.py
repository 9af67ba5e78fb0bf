"""Stream time: the running maximum of record timestamps, safe against devices that stamp absurd ones.

A record more than ``max_jump_ms`` ahead counts as having arrived now, until a far jump is *believed*: when such records
came in a row, within ``max_jump_ms`` of the first of them, from ``CONFIRMATIONS`` streams. Only streams with a history
count, those seen before the first of these records, so that new keys cannot be made up to confirm anything; and where
fewer were ``live`` just before, all of those have to. So a topic of one device follows that device. Whoever comes alone
is believed after ``UNCONTRADICTED`` records in a row, so that streams that are gone for good, or new keys after a long
pause, cannot stop time.

Going back never moves time, with two exceptions. The very first timestamp is provisional until a record agrees with it:
if a following one lies more than ``max_jump_ms`` before it, time starts again there; if ``CONFIRMATIONS`` records in a
row of whatever streams agree ahead of it, there. And a jump is on trial until time has gone on by
``max_jump_ms``: when meanwhile ``RETURNS`` records in a row come at the time before the jump, from several streams and
none at the later one, it is taken back, and the next jump needs twice as many confirmations. A time that was wrong from
the start on is corrected when ``UNCONTRADICTED`` records in a row of several streams agree on an earlier one.

``lived`` is stream time without its jumps. It never falls, and it is what the idleness of streams is counted in: a
jump makes nobody idle, so a wrong one evicts nobody.

The clock sees delivered, decoded records only, in log order, so it is the same on every machine and after every
restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from streamrnn.core.counts import Count

CONFIRMATIONS = 3
"""Records in a row, of as many streams, that must agree before a far jump ahead is believed."""

RETURNS = 10
"""Records in a row at the time before a jump that take it back: more than a few that were held up on their way."""

UNCONTRADICTED = 100
"""Records in a row after which whoever is left is believed; also how far back a stream counts as live."""

MOST_DOUBLINGS = 5
"""Of the confirmations that a jump needs after others were taken back."""

_JUMPS = (
    "Far jumps of record timestamps: records too far ahead to be believed (refused), jumps of stream time that enough "
    "streams confirmed (believed), returns to an earlier time (taken_back)."
)
JUMPS = (
    Count("time_jumps", _JUMPS, "refused"),
    Count("time_jumps", _JUMPS, "believed"),
    Count("time_jumps", _JUMPS, "taken_back"),
)

UNSET, PROVISIONAL, RUNNING = 0, 1, 2
_AHEAD, _BEHIND = 1, -1

Live: TypeAlias = Callable[[int], int]

LONGEST_MS = 1 << 62
"""More is never lived through: far more than an age of the world, and far from the largest integer."""

_ANY_TIME = (-(1 << 63), (1 << 63) - 1)
_COUNT = (0, 1 << 53)

RANGES: Mapping[str, tuple[int, int]] = {
    "now": _ANY_TIME,
    "lived": (0, LONGEST_MS),
    "_phase": (UNSET, RUNNING),
    "_direction": (_BEHIND, _AHEAD),
    "_in_a_row": _COUNT,
    "_nearest": _ANY_TIME,
    "_candidate": _ANY_TIME,
    "_since": _COUNT,
    "_agreeing": _COUNT,
    "_streams": _COUNT,
    "_live": _COUNT,
    "_on_trial": (0, 1),
    "_before_jump": _ANY_TIME,
    "_jumped_at": (0, LONGEST_MS),
    "_taken_back_lately": (0, MOST_DOUBLINGS),
    "time_jumps_refused": _COUNT,
    "time_jumps_believed": _COUNT,
    "time_jumps_taken_back": _COUNT,
}
"""What a clock saves of itself, in this order, and from where to where each may be."""


class StreamClock:
    """Stream time in milliseconds since the epoch.

    Parameters
    ----------
    max_jump_ms
        How far ahead a record may be without being confirmed.
    live
        Says how many streams the newest ``UNCONTRADICTED`` records were of, counted up to its argument. Without it, all
        records are of one stream.

    >>> clock = StreamClock(max_jump_ms=1000)
    >>> [clock.observe(t) for t in (100, 300, 200, 999_999, 400)]
    [100, 300, 200, 300, 400]
    >>> clock.now, clock.lived
    (400, 300)
    """

    def __init__(self, max_jump_ms: int, live: Live | None = None) -> None:
        self.max_jump_ms = max_jump_ms
        self._live_now = live
        self.now = self.lived = 0
        self.time_jumps_refused = self.time_jumps_believed = self.time_jumps_taken_back = 0
        self._phase = UNSET
        # Records in a row in one direction from now, and the newest of them that agree on where time should be:
        self._direction = self._in_a_row = self._nearest = 0
        self._candidate = self._since = self._agreeing = self._streams = self._live = 0
        # The newest jump, and what came of those before:
        self._on_trial = self._before_jump = self._jumped_at = self._taken_back_lately = 0

    def observe(self, time_ms: int, number: int = 1, previous: int = 0) -> int:
        """Observe one record; returns the time it counts as having, ``time_ms`` unless that is not believed.

        Parameters
        ----------
        number
            The record's running number, from 1.
        previous
            The number of the record in which its stream was seen last; 0 = it is not remembered.
        """
        now, jump = self.now, self.max_jump_ms
        if now - jump <= time_ms <= now + jump and self._phase == RUNNING:
            if time_ms > now:
                self.lived += time_ms - now
                self.now = time_ms
            self._in_a_row = self._agreeing = 0
            return time_ms
        return self._observe_unusual(time_ms, number, previous)

    def pass_usual(self, newest_ms: int) -> None:
        """As ``observe`` for records none of which is far from now, once ``settled``; then it is ``newest_ms``."""
        self.lived += newest_ms - self.now
        self.now = newest_ms
        self._in_a_row = self._agreeing = 0

    def _observe_unusual(self, time_ms: int, number: int, previous: int) -> int:
        if self._phase == UNSET:
            self._phase, self.now = PROVISIONAL, time_ms
            return time_ms
        ahead = time_ms > self.now + self.max_jump_ms
        if self._phase == PROVISIONAL and not ahead:
            self._in_a_row = self._agreeing = 0
            if time_ms < self.now - self.max_jump_ms:
                # The first timestamp was the absurd one. Time stays provisional: this one may be absurd too.
                self.now = time_ms
            else:
                self._phase = RUNNING
                self._go_on_to(time_ms)
            return time_ms
        if self._on_trial and self.lived - self._jumped_at > self.max_jump_ms:
            self._on_trial = self._taken_back_lately = 0
        if not ahead and not self._may_lead_back(time_ms):
            return time_ms
        self._note(_AHEAD if ahead else _BEHIND, time_ms, number, previous)
        return self._judge_ahead(time_ms) if ahead else self._judge_behind(time_ms)

    def _may_lead_back(self, time_ms: int) -> bool:
        """Whether a record far behind says something of what time it is; during a trial only the time before does."""
        if not self._on_trial:
            return True
        if abs(time_ms - self._before_jump) > self.max_jump_ms:
            return False
        self._before_jump = max(self._before_jump, time_ms)
        return True

    def _note(self, direction: int, time_ms: int, number: int, previous: int) -> None:
        """Count a record far from now among those that agree with it."""
        if direction != self._direction or not self._in_a_row:
            self._direction, self._in_a_row, self._nearest, self._agreeing = direction, 0, time_ms, 0
        self._in_a_row += 1
        self._nearest = min(self._nearest, time_ms)
        if not self._agreeing or abs(time_ms - self._candidate) > self.max_jump_ms:
            self._candidate, self._since, self._agreeing, self._streams = time_ms, number - 1, 0, 0
            self._live = 0 if self._live_now is None else self._live_now(CONFIRMATIONS << self._taken_back_lately)
        self._agreeing += 1
        # Seen before the first of these records, and not since: every one of them is noted.
        if 0 < previous <= self._since:
            self._streams += 1

    def _judge_ahead(self, time_ms: int) -> int:
        needed = CONFIRMATIONS << self._taken_back_lately
        # While the first timestamp is in doubt nobody has a history yet: then so many records are enough.
        if self._agreeing >= needed and (not self.settled or self._streams >= min(needed, self._live)):
            self._jump(time_ms)
        elif self._in_a_row >= UNCONTRADICTED:
            self._jump(self._nearest)  # they need not agree, and the nearest one claims least
        if time_ms > self.now + self.max_jump_ms:
            self.time_jumps_refused += 1
            return self.now
        self._go_on_to(time_ms)
        return time_ms

    def _judge_behind(self, time_ms: int) -> int:
        several = self._streams >= min(CONFIRMATIONS, self._live)
        if self._on_trial:
            wrong = (self._agreeing >= RETURNS and several) or self._agreeing >= UNCONTRADICTED
        else:
            wrong = self._agreeing >= UNCONTRADICTED and several
        if wrong:
            self.now = time_ms
            self.time_jumps_taken_back += 1
            self._taken_back_lately = min(self._taken_back_lately + 1, MOST_DOUBLINGS)
            self._on_trial = self._in_a_row = self._agreeing = 0
        return time_ms

    def _jump(self, time_ms: int) -> None:
        self._on_trial, self._before_jump, self._jumped_at = 1, self.now, self.lived
        self._phase, self.now = RUNNING, time_ms
        self._in_a_row = self._agreeing = 0
        self.time_jumps_believed += 1

    def _go_on_to(self, time_ms: int) -> None:
        if time_ms > self.now:
            self.lived += time_ms - self.now
            self.now = time_ms

    @property
    def settled(self) -> bool:
        """Whether the first timestamp was confirmed."""
        return self._phase == RUNNING

    @property
    def in_question(self) -> bool:
        """Whether the newest record was one of those that may move time if more like it come."""
        return self._in_a_row > 0

    @property
    def started(self) -> bool:
        """Whether any record was seen."""
        return self._phase != UNSET

    def state(self) -> npt.NDArray[np.int64]:
        """Everything the clock remembers, (18,) int64."""
        return np.array([getattr(self, name) for name in RANGES], dtype=np.int64)

    def restore(self, state: npt.NDArray[np.int64]) -> None:
        """Continue from what ``state`` returned."""
        for name, value in zip(RANGES, state.tolist(), strict=True):
            setattr(self, name, value)
