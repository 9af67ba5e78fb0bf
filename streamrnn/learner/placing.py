"""Many records at once: their slots, exactly as ``StreamIndex`` gives them one by one.

What is decided of a record depends on those before it, but hardly ever is anything decided: the stream is remembered,
its record is of about now, nobody was idle for too long and nobody has to leave. A piece of a batch at which that is so
throughout is placed as arrays; another one record by record, with nothing asked of those that are usual; and a batch
with tombstones by ``assign_one`` alone.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import EVENT, FORGET
from streamrnn.learner.clock import StreamClock
from streamrnn.learner.room import ESTABLISHED

Integers = npt.NDArray[np.int64]

ONE_BY_ONE = 64
"""Records up to which it does not pay to prepare for many."""
AT_ONCE = 1024
"""Records that are placed as arrays together: few others meet with one that is new."""

_BEFORE_ALL_TIME = -(1 << 80)
_NEVER_MS = 1 << 80
_MODERATE_MS = 1 << 61  # times up to here, and their differences, are exact as int64


class Placing(ABC):
    """The part of ``StreamIndex`` that places many records; what it says of attributes and methods holds here."""

    max_streams: int
    ttl_ms: int | None
    clock: StreamClock
    records: int
    newest_slots: Integers
    before_change: Callable[[Sequence[int]], None] | None
    _names_leaving: bool
    _slots: OrderedDict[bytes, int]
    _last_seen: array[int]
    _lived: array[int]
    _touched: array[int]
    _times: array[int]

    @abstractmethod
    def assign_one(self, key: bytes, time_ms: int, kind: int) -> tuple[int, bool, int]:
        """Slot, whether it starts over, and the time to believe, for one record."""

    @abstractmethod
    def _drop_idle(self, oldest_allowed: int) -> None: ...
    @abstractmethod
    def _anyone_idle(self, oldest_allowed: int) -> bool: ...
    @abstractmethod
    def _count(self, key: bytes, slot: int) -> None: ...
    @abstractmethod
    def _allocate(self, key: bytes, lived: int) -> int: ...
    @abstractmethod
    def _touch_all(self, slots: Integers) -> None: ...

    def assign(
        self, keys: list[bytes], times_ms: Sequence[int] | Integers, kinds: Sequence[int]
    ) -> tuple[Integers, npt.NDArray[np.bool_], Integers]:
        """Slots, whether they start over, and the times to believe, for a block of records in log order.

        A label for a stream that is not remembered gets the blank slot: it must not create one. So does its tombstone;
        that of a stream that is remembered gets its slot, which starts over and is free from then on.
        """
        n, times = len(keys), np.array(times_ms, np.int64)
        slots, fresh = np.full(n, self.max_streams, np.int64), np.zeros(n, np.bool_)
        done = self._assign_alike(keys, times, kinds, slots, fresh)
        # Which record a stream left for is told one by one.
        several = n > ONE_BY_ONE and not self._names_leaving and kinds.count(FORGET) == 0
        at_once = AT_ONCE if several else 0
        while done < n:
            rows = slice(done, done + (at_once or n))
            done = rows.stop
            if at_once and (given := self._assign_known(keys[rows], times[rows])) is not None:
                slots[rows] = given
                continue
            each = self._assign_usual if at_once else self._assign_each
            slots[rows], fresh[rows], times[rows] = each(keys[rows], times[rows].tolist(), kinds[rows])
        self.newest_slots = slots
        return slots, fresh, times

    def _assign_alike(
        self,
        keys: Sequence[bytes],
        times: Integers,
        kinds: Sequence[int],
        slots: Integers,
        fresh: npt.NDArray[np.bool_],
    ) -> int:
        """Records of one stream at one time, as from a data frame: from the third on nothing new is decided, unless
        they might move time, or streams leave one after the other. Returns how many have been given their slots."""
        n = len(keys)
        if n <= 2 or keys[0] != keys[-1] or keys.count(keys[0]) < n or kinds.count(EVENT) < n:
            return 0
        if not (times == times[0]).all():
            return 0
        for i in range(2):
            slots[i], fresh[i], times[i] = self.assign_one(keys[i], int(times[i]), kinds[i])
        if not self.clock.settled or self.clock.in_question:
            return 2
        if self.ttl_ms is not None and self._anyone_idle(self.clock.lived - self.ttl_ms):
            return 2  # some leave with each record
        slots[2:], times[2:] = slots[1], times[1]
        slot = int(slots[1])
        self.records += n - 2
        self._touched[slot] = self.records
        for _ in range(min(n - 2, ESTABLISHED - self._times[slot])):
            self._count(keys[0], slot)
        return n

    def _assign_each(
        self, keys: Sequence[bytes], times: list[int], kinds: Sequence[int]
    ) -> tuple[list[int], list[bool], list[int]]:
        """``assign_one`` for each."""
        given = [self.assign_one(*record) for record in zip(keys, times, kinds, strict=True)]
        slots, fresh, believed = zip(*given, strict=True)
        return list(slots), list(fresh), list(believed)

    def _assign_known(self, keys: Sequence[bytes], times: Integers) -> Integers | None:
        """The slots of records at which there is nothing at all to decide: all their streams are remembered, and clock
        and ``ttl`` find nothing unusual in their times. None where that is not so, and nothing has changed then."""
        now, nobody_leaves_until, jumped, jumped_since = self._usual_times()
        if jumped_since or max(abs(now), int(times.max()), -int(times.min())) > _MODERATE_MS:
            return None
        newest = np.maximum(np.maximum.accumulate(times), now)
        ahead = times - np.concatenate([[now], newest[:-1]])
        last = int(newest[-1])
        if last > nobody_leaves_until or max(int(ahead.max()), -int(ahead.min())) > self.clock.max_jump_ms:
            return None
        n = len(keys)
        slots = np.fromiter(map(self._slots.get, keys, itertools.repeat(-1)), np.int64, n)
        if slots.min() < 0:
            return None
        if self.before_change is not None:
            self.before_change(slots.tolist())
        for i in np.flatnonzero(view(self._times)[slots] < ESTABLISHED).tolist():
            if self._times[slot := int(slots[i])] < ESTABLISHED:
                self._count(keys[i], slot)
        # Of several records of a stream the last one stays.
        numbers, touched = np.arange(self.records + 1, self.records + n + 1), view(self._touched)
        touched[slots], view(self._last_seen)[slots], view(self._lived)[slots] = numbers, newest, newest - jumped
        latest = itertools.compress(keys, (touched[slots] == numbers).tolist())
        deque(map(self._slots.move_to_end, latest), maxlen=0)
        self._touch_all(slots)
        self._pass_usual(last, self.records + n)
        return slots

    def _assign_usual(
        self, keys: Sequence[bytes], times: list[int], kinds: Sequence[int]
    ) -> tuple[list[int], list[bool], list[int]]:
        """``assign_one`` for each, written out for records at which clock and ``ttl`` have nothing to decide."""
        slots, fresh = [self.max_streams] * len(keys), [False] * len(keys)  # as for a label without a stream
        slot_of, to_end = self._slots.get, self._slots.move_to_end
        if self.before_change is not None:
            self.before_change([slot for key in keys if (slot := slot_of(key, -1)) >= 0])
        last_seen, lived, touched = self._last_seen, self._lived, self._touched
        counts = self._times
        jump, ttl, record = self.clock.max_jump_ms, self.ttl_ms or 0, self.records
        now, nobody_leaves_until, jumped, jumped_since = self._usual_times()
        for i, key in enumerate(keys):
            time_ms = times[i]
            slot = slot_of(key, -1)
            unusual = time_ms > nobody_leaves_until or time_ms > now + jump if time_ms > now else time_ms < now - jump
            if unusual or (jumped_since and slot >= 0 and time_ms - last_seen[slot] > ttl):
                self._pass_usual(now, record)
                slots[i], fresh[i], times[i] = self.assign_one(key, time_ms, kinds[i])
                now, nobody_leaves_until, jumped, jumped_since = self._usual_times()
                record = self.records
                continue
            if time_ms > now:
                now = time_ms
            record += 1
            if slot >= 0:
                to_end(key)
                if counts[slot] < ESTABLISHED:
                    self._count(key, slot)
            elif kinds[i] == EVENT:
                slot, fresh[i] = self._allocate(key, now - jumped), True
            else:
                continue
            last_seen[slot], lived[slot], touched[slot], slots[i] = now, now - jumped, record, slot
        self._pass_usual(now, record)
        given = np.array(slots, np.int64)
        self._touch_all(given[given != self.max_streams])
        return slots, fresh, times

    def _usual_times(self) -> tuple[int, int, int, bool]:
        """Stream time, until when no stream is idle for too long, how much of stream time was not lived through, and
        whether any of that came since the stream was seen that is first in line: then some may return from a jump.

        No time is usual while the first is in doubt.
        """
        now, lived = self.clock.now, self.clock.lived
        if not self.clock.settled:
            return _BEFORE_ALL_TIME, _BEFORE_ALL_TIME, 0, False
        jumped = now - lived
        if self.ttl_ms is None:
            return now, now + _NEVER_MS, jumped, False
        self._drop_idle(lived - self.ttl_ms)
        if not self._slots:
            return now, now + self.ttl_ms, jumped, False
        # Those who come or are seen again are idle later than the one that is first in line now.
        first = next(iter(self._slots.values()))
        since = self._last_seen[first] != self._lived[first] + jumped
        return now, self._lived[first] + self.ttl_ms + jumped, jumped, since

    def _pass_usual(self, now: int, record: int) -> None:
        """Note that the records up to this one had usual times, the newest ``now``."""
        if record > self.records:
            self.records = record
            self.clock.pass_usual(now)


def view(column: array[int]) -> Integers:
    """A column as an array, for as long as nothing is appended to it."""
    return np.frombuffer(column, np.int64) if column else np.empty(0, np.int64)
