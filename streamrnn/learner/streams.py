"""StreamIndex: which slot of the arrays belongs to which stream, and who has to leave.

Slots are numbered from 0; the row after the last one stays blank and stands for streams never seen. A stream is dropped
when it was idle longer than ``ttl`` in stream time, or when all slots are used, a new stream comes and this one is the
least recently seen. Both are decided record by record from keys and timestamps alone, so they are the same for any cut
of the log.

The index knows nothing of what the arrays hold: it says ``fresh`` where a slot starts over, and the kernel clears it
when it comes to that record. It also notes which segments of slots were touched, for incremental checkpoints.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import EVENT, FORGET
from streamrnn.learner.clock import StreamClock

Integers = npt.NDArray[np.int64]

SEGMENT_SLOTS = 4096
"""Slots that a checkpoint writes together."""

ONE_BY_ONE = 64
"""Records up to which it does not pay to prepare for many."""

_BEFORE_ALL_TIME = -(1 << 80)


class StreamIndex:
    """Slots of at most ``max_streams`` streams, kept in the order they were last seen.

    Parameters
    ----------
    max_streams
        Capacity; one more stream drops the least recently seen.
    ttl_ms
        Idle time in stream time after which a stream is dropped; ``None`` = never.
    max_time_jump_ms
        See ``StreamClock``.

    >>> index = StreamIndex(max_streams=2, ttl_ms=None, max_time_jump_ms=1000)
    >>> slots, fresh, _ = index.assign([b"a", b"b", b"a", b"c"], [1, 2, 3, 4], [0, 0, 0, 0])
    >>> slots.tolist(), fresh.tolist(), index.evictions_capacity
    ([0, 1, 0, 1], [True, True, False, True], 1)
    """

    def __init__(self, max_streams: int, ttl_ms: int | None, max_time_jump_ms: int) -> None:
        self.max_streams = max_streams
        self.ttl_ms = ttl_ms
        self.clock = StreamClock(max_time_jump_ms)
        self.evictions_ttl = 0
        self.evictions_capacity = 0
        self.evictions_tombstone = 0
        self._slots: OrderedDict[bytes, int] = OrderedDict()  # least recently seen first
        self._last_seen: list[int] = []
        self._touched: list[int] = []  # running number of the record that touched the slot last
        self._keys: list[bytes | None] = []
        # A heap: which slot is next must follow from the set of free ones, not from the order in which they became so,
        # which a restart forgets.
        self._free: list[int] = []
        self._records = 0
        self._touched_segments: set[int] = set()
        self._seen = np.zeros((max_streams, 2), np.int64)  # what ``state`` gives of ``_last_seen`` and ``_touched``
        self._stale_segments: set[int] = set()  # of it, beside the touched ones

    def __len__(self) -> int:
        """Number of streams remembered now."""
        return len(self._slots)

    @property
    def blank(self) -> int:
        """The slot number of "never seen"."""
        return self.max_streams

    @property
    def n_slots(self) -> int:
        """Slots ever used."""
        return len(self._keys)

    def keys(self) -> list[bytes]:
        """Streams remembered now, least recently seen first."""
        return list(self._slots)

    def find(self, key: bytes) -> int:
        """The stream's slot, or the blank one; changes nothing."""
        return self._slots.get(key, self.max_streams)

    def assign(
        self, keys: list[bytes], times_ms: list[int], kinds: list[int]
    ) -> tuple[Integers, npt.NDArray[np.bool_], Integers]:
        """Slots, whether they start over, and the times to believe, for a block of records in log order.

        A label for a stream that is not remembered gets the blank slot: it must not create one. So does its tombstone;
        that of a stream that is remembered gets its slot, which starts over and is free from then on.
        """
        n = len(keys)
        slots, fresh, times = [self.max_streams] * n, [False] * n, list(times_ms)
        # Records of one stream at one time, as from a data frame: from the third on nothing new is decided.
        same = n > 2 and keys.count(keys[0]) == n and times_ms.count(times_ms[0]) == n and kinds.count(EVENT) == n
        if same:
            for i in range(2):
                slots[i], fresh[i], times[i] = self.assign_one(keys[i], times_ms[i], kinds[i])
            slots[2:] = [slots[1]] * (n - 2)
            times[2:] = [times[1]] * (n - 2)
            self._records += n - 2
            self._touched[slots[1]] = self._records
        elif n > ONE_BY_ONE and kinds.count(FORGET) == 0:
            self._assign_many(keys, times, kinds, slots, fresh)
        else:
            for i in range(n):
                slots[i], fresh[i], times[i] = self.assign_one(keys[i], times_ms[i], kinds[i])
        return np.array(slots, np.int64), np.array(fresh, np.bool_), np.array(times, np.int64)

    def _assign_many(
        self, keys: list[bytes], times: list[int], kinds: list[int], slots: list[int], fresh: list[bool]
    ) -> None:
        """``assign_one`` for each, written out for records at which clock and ``ttl`` have nothing to decide.

        ``slots``, ``fresh`` and ``times`` are changed in place, where they are not as for a label without a stream.
        """
        slot_of, to_end, last_seen, touched = self._slots.get, self._slots.move_to_end, self._last_seen, self._touched
        jump = self.clock.max_jump_ms
        now, nobody_leaves_until = self._usual_times()
        record = self._records
        for i, key in enumerate(keys):
            time_ms = times[i]
            if time_ms > now:
                if time_ms > now + jump or time_ms > nobody_leaves_until:
                    self._pass_usual(now, record)
                    slots[i], fresh[i], times[i] = self.assign_one(key, time_ms, kinds[i])
                    now, nobody_leaves_until = self._usual_times()
                    record = self._records
                    continue
                now = time_ms
            record += 1
            slot = slot_of(key, -1)
            if slot >= 0:
                to_end(key)
            elif kinds[i] == EVENT:
                slot, fresh[i] = self._allocate(key), True
            else:
                continue
            last_seen[slot], touched[slot], slots[i] = now, record, slot
        self._pass_usual(now, record)
        given = np.array(slots, np.int64)
        self._touched_segments.update(np.unique(given[given != self.max_streams] // SEGMENT_SLOTS).tolist())

    def _usual_times(self) -> tuple[int, int]:
        """Stream time, and until when no stream is idle for too long; no time is usual while the first is in doubt."""
        now = self.clock.now
        if not self.clock.settled:
            return _BEFORE_ALL_TIME, _BEFORE_ALL_TIME
        if self.ttl_ms is None:
            return now, now - _BEFORE_ALL_TIME
        self._drop_idle(now - self.ttl_ms)
        # Those who come or are seen again are idle later than the one that is first in line now.
        oldest = self._last_seen[next(iter(self._slots.values()))] if self._slots else now
        return now, oldest + self.ttl_ms

    def _pass_usual(self, now: int, record: int) -> None:
        """Note that the records up to this one had usual times, the newest ``now``."""
        if record > self._records:
            self._records = record
            self.clock.pass_usual(now)

    def assign_one(self, key: bytes, time_ms: int, kind: int) -> tuple[int, bool, int]:
        """Slot, whether it starts over, and the time to believe, for one record."""
        if kind == FORGET:
            return *self._forget(key), time_ms
        before = self.clock.now
        believed = self.clock.observe(time_ms)
        now = self.clock.now
        if now < before:  # the provisional first timestamp was withdrawn: nobody was seen later than now
            for slot in self._slots.values():
                self._last_seen[slot] = now
            self._touched_segments.update(slot // SEGMENT_SLOTS for slot in self._slots.values())
        # Before the key is looked up: a stream that was idle for too long starts over with this very record.
        if self.ttl_ms is not None:
            self._drop_idle(now - self.ttl_ms)
        self._records += 1
        slot = self._slots.get(key, -1)
        fresh = slot < 0
        if fresh:
            if kind != EVENT:
                return self.max_streams, False, believed
            slot = self._allocate(key)
        else:
            self._slots.move_to_end(key)
        self._last_seen[slot] = now
        self._touched[slot] = self._records
        self._touched_segments.add(slot // SEGMENT_SLOTS)
        return slot, fresh, believed

    def touch(self, slot: int) -> None:
        """Note that something about the slot changed, without its stream having been seen."""
        if slot != self.max_streams:
            self._touched_segments.add(slot // SEGMENT_SLOTS)

    def _forget(self, key: bytes) -> tuple[int, bool]:
        """Drop a stream because it is told to; its slot and True, or the blank one and False where there is none.

        Outside time: a tombstone moves no clock, as its timestamp need not be of the records' time.
        """
        slot = self._slots.get(key, -1)
        if slot < 0:
            return self.max_streams, False
        self._release(key)
        self.evictions_tombstone += 1
        return slot, True

    def _drop_idle(self, oldest_allowed: int) -> None:
        while self._slots:
            key, slot = next(iter(self._slots.items()))
            if self._last_seen[slot] >= oldest_allowed:
                return  # stream time never falls, so those behind it were seen no earlier
            self._release(key)
            self.evictions_ttl += 1

    def _allocate(self, key: bytes) -> int:
        if len(self._slots) == self.max_streams:
            self._release(next(iter(self._slots)))
            self.evictions_capacity += 1
        if self._free:
            slot = heapq.heappop(self._free)
            self._keys[slot] = key
        else:
            slot = len(self._keys)
            self._keys.append(key)
            self._last_seen.append(0)
            self._touched.append(0)
        self._slots[key] = slot
        return slot

    def _release(self, key: bytes) -> None:
        slot = self._slots.pop(key)
        self._keys[slot] = None
        heapq.heappush(self._free, slot)
        self._touched_segments.add(slot // SEGMENT_SLOTS)

    def pop_touched_segments(self) -> set[int]:
        """Segments touched since the last call."""
        touched, self._touched_segments = self._touched_segments, set()
        self._stale_segments |= touched
        return touched

    def state(self) -> tuple[Integers, Integers, list[bytes | None], Integers]:
        """What it knows: clock, arrivals (4,), the key of each slot ever used (None = free), and ``seen`` (n_slots, 2).

        Keys and ``seen`` are the live ones. Only rows of segments that were touched since the last call are written
        anew: with many streams, to make all of them would cost more time than the records between two checkpoints.
        """
        counts = [self._records, self.evictions_ttl, self.evictions_capacity, self.evictions_tombstone]
        arrivals = np.array(counts, dtype=np.int64)
        for segment in self._stale_segments | self._touched_segments:
            rows = slice(segment * SEGMENT_SLOTS, (segment + 1) * SEGMENT_SLOTS)
            last_seen, touched = self._last_seen[rows], self._touched[rows]
            stop = rows.start + len(touched)
            self._seen[rows.start : stop, 0] = last_seen
            self._seen[rows.start : stop, 1] = touched
        self._stale_segments = set()
        return self.clock.state(), arrivals, self._keys, self._seen[: self.n_slots]

    def resume(self, clock: Integers, arrivals: Integers, keys: list[bytes | None], seen: Integers) -> None:
        """Go on from what ``state`` gave."""
        self.clock.restore(clock)
        self._records, self.evictions_ttl, self.evictions_capacity, self.evictions_tombstone = arrivals.tolist()
        self._keys = list(keys)
        self._seen[: len(keys)] = seen
        self._last_seen, self._touched = seen[:, 0].tolist(), seen[:, 1].tolist()
        # The order in which streams were last seen is not saved: the running numbers of their records tell it.
        used = [slot for slot, key in enumerate(keys) if key is not None]
        used.sort(key=self._touched.__getitem__)
        self._slots = OrderedDict((key, slot) for slot in used if (key := keys[slot]) is not None)
        self._free = [slot for slot, key in enumerate(keys) if key is None]
        heapq.heapify(self._free)
        self._touched_segments, self._stale_segments = set(), set()
