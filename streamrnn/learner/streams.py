"""StreamIndex: which slot of the arrays belongs to which stream, and who has to leave.

Slots are numbered from 0; the row after the last one stays blank and stands for streams never seen. A stream is dropped
when it was idle longer than ``ttl`` in stream time, or when there is no room for a new one: who has to leave then, says
``room``. Both are decided record by record from keys and timestamps alone, so they are the same for any cut of the log.

A far jump of stream time (see ``clock``) makes nobody idle: whoever stays away is idle in the time that was *lived*
through, whoever comes back by the time of its record. So after a pause of the whole partition a stream starts over when
it returns, and after a jump that proves wrong those that did not follow it are still there.

The index knows nothing of what the arrays hold: it says ``fresh`` where a slot starts over, and the kernel clears it
when it comes to that record. It also notes which segments of slots were touched, for incremental checkpoints.
"""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from streamrnn.core.counts import Count
from streamrnn.core.kinds import EVENT, FORGET
from streamrnn.learner.clock import UNCONTRADICTED, StreamClock
from streamrnn.learner.placing import Placing, view
from streamrnn.learner.room import ESTABLISHED, Room

Integers = npt.NDArray[np.int64]

SEGMENT_SLOTS = 4096
"""Slots that a checkpoint writes together."""

IDLE_AT_ONCE = 4
"""Idle streams that leave with one record where each is named, since something is said with each: more than come new,
and few enough that a pause of the whole partition does not have all that wait said with the first record behind it."""

LAST_SEEN, RECORD, LIVED, TIMES, FIRST = range(5)
"""Columns of what is saved of each slot: when its stream was last seen (stream time, number of the record, time lived
through), how many records it had, counted up to ``ESTABLISHED``, and the time lived through when it came first."""
SEEN_COLUMNS = 5

EVICTIONS_IN_USE = Count(
    "evictions_in_use",
    "Of the streams dropped for lack of capacity, those with history that had come for longer than silent.",
)


class StreamIndex(Placing):
    """Slots of at most ``max_streams`` streams, kept in the order they were last seen.

    Parameters
    ----------
    max_streams
        Capacity; one more stream drops another.
    ttl_ms
        Idle time in stream time after which a stream is dropped; ``None`` = never. Where streams are named that leave,
        ``IDLE_AT_ONCE`` of them with each record; one that comes back before its turn starts over all the same.
    max_time_jump_ms
        See ``StreamClock``.
    protected_share, max_bytes, stream_bytes
        See ``Room``.
    notes_left, names_leaving
        Whether slots whose stream was dropped are noted in ``left``, and streams that were named in ``leaving``.

    Attributes
    ----------
    records
        How many were assigned so far.
    newest_slots
        What the newest ``assign`` gave.
    returns
        Where stream time went back since ``pop_returns``: before which record (of all, from 0), and to what time.
    left
        Slots whose stream was dropped since ``pop_left``.
    before_change
        Called with slots before what is known of them changes, where there is one.
    leaving
        Streams dropped since ``pop_leaving``, in order: for which record (its number from 1), slot, key.
    newest_leaving
        What ``pop_leaving`` gave.

    >>> index = StreamIndex(max_streams=2, ttl_ms=None, max_time_jump_ms=1000)
    >>> slots, fresh, _ = index.assign([b"a", b"b", b"a", b"c"], [1, 2, 3, 4], [0, 0, 0, 0])
    >>> slots.tolist(), fresh.tolist(), index.evictions_capacity
    ([0, 1, 0, 1], [True, True, False, True], 1)
    """

    def __init__(
        self,
        max_streams: int,
        ttl_ms: int | None,
        max_time_jump_ms: int,
        *,
        protected_share: float = 0.0,
        max_bytes: int | None = None,
        stream_bytes: int = 0,
        notes_left: bool = False,
        names_leaving: bool = False,
    ) -> None:
        self.max_streams = max_streams
        self.ttl_ms = ttl_ms
        self.clock = StreamClock(max_time_jump_ms, self._live)
        self.room = Room(max_streams, protected_share, max_bytes, stream_bytes)
        self.evictions_ttl = self.evictions_capacity = 0
        self.evictions_tombstone = self.evictions_in_use = 0
        self._slots: OrderedDict[bytes, int] = OrderedDict()  # least recently seen first
        self.records = 0
        self.newest_slots: Integers = np.zeros(0, np.int64)
        self.returns: list[tuple[int, int]] = []
        self.left: list[int] = []
        self.before_change: Callable[[Sequence[int]], None] | None = None
        self.leaving: list[tuple[int, int, bytes]] = []
        self.newest_leaving: list[tuple[int, int, bytes]] = []
        self._notes_left, self._names_leaving = notes_left, names_leaving
        # By slot; int64, so that a batch can be written to as one array, and appended to, while nobody views it as one.
        self._last_seen, self._touched = array("q"), array("q")  # stream time then; running number of the record then
        self._lived = array("q")  # the time lived through until then, in which the order of ``_slots`` ascends
        self._times = array("q")  # how many records the stream had, counted up to ESTABLISHED
        self._first = array("q")  # the time lived through when it came first
        self._keys: list[bytes | None] = []
        # A heap: which slot is next must follow from the set of free ones, not from the order in which they became so,
        # which a restart forgets.
        self._free: list[int] = []
        self._touched_segments: set[int] = set()
        self.seen_of_all = np.zeros((max_streams, SEEN_COLUMNS), np.int64)  # the five lists above, in ``state``
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

    def key_of(self, slot: int) -> bytes | None:
        """Whose slot it is, None for a free one."""
        return self._keys[slot]

    def last_seen_ms(self, slot: int) -> int:
        """Stream time when the stream of a slot was last seen."""
        return self._last_seen[slot]

    def assign_one(self, key: bytes, time_ms: int, kind: int) -> tuple[int, bool, int]:
        """Slot, whether it starts over, and the time to believe, for one record."""
        if kind == FORGET:
            return *self._forget(key), time_ms
        clock, before = self.clock, self.clock.now
        slot = self._slots.get(key, -1)
        seen = 0 if slot < 0 else self._touched[slot]
        believed = clock.observe(time_ms, self.records + 1, seen)
        now, lived = clock.now, clock.lived
        if now < before:
            self._go_back(now)
        self.records += 1
        if self.ttl_ms is not None:
            # Before the record is given a slot: a stream that was idle for too long starts over with this very record.
            oldest = lived - self.ttl_ms
            self._drop_idle(oldest)
            slot = self._slots.get(key, -1)
            if slot >= 0 and (self._lived[slot] < oldest or believed - self._last_seen[slot] > self.ttl_ms):
                self._release(key)
                self.evictions_ttl += 1
                slot = -1
        fresh = slot < 0
        if fresh:
            if kind != EVENT:
                return self.max_streams, False, believed
            slot = self._allocate(key, lived)
        else:
            if self.before_change is not None:  # asked here, too, and not by a call: for single records it counts
                self._tell(slot)
            self._slots.move_to_end(key)
            if self._times[slot] < ESTABLISHED:
                self._count(key, slot)
        self._last_seen[slot], self._lived[slot], self._touched[slot] = now, lived, self.records
        self._touched_segments.add(slot // SEGMENT_SLOTS)
        return slot, fresh, believed

    def _go_back(self, now: int) -> None:
        """Stream time was wrong: nobody was seen later than now."""
        self.returns.append((self.records, now))
        for slot in self._slots.values():
            if self._last_seen[slot] > now:
                self._tell(slot)
                self._last_seen[slot] = now
                self._touched_segments.add(slot // SEGMENT_SLOTS)

    def _live(self, most: int) -> int:
        """How many streams the newest ``UNCONTRADICTED`` records were of, counted up to ``most``."""
        oldest = self.records - UNCONTRADICTED
        count = 0
        for slot in itertools.islice(reversed(self._slots.values()), most):
            if self._touched[slot] <= oldest:
                break
            count += 1
        return count

    def _touch_all(self, slots: Integers) -> None:
        segments = np.zeros(self.n_slots // SEGMENT_SLOTS + 1, np.bool_)
        segments[slots // SEGMENT_SLOTS] = True
        self._touched_segments.update(np.flatnonzero(segments).tolist())

    def touch(self, slot: int) -> None:
        """Note that something about the slot changed, without its stream having been seen."""
        if slot != self.max_streams:
            self._touched_segments.add(slot // SEGMENT_SLOTS)

    def _forget(self, key: bytes) -> tuple[int, bool]:
        """Drop a stream because it is told to; its slot and True, or the blank one and False where there is none.

        Outside time: a tombstone moves no clock, as its timestamp need not be of the records' time.
        """
        self.records += 1
        slot = self._slots.get(key, -1)
        if slot < 0:
            return self.max_streams, False
        self._release(key)
        self.evictions_tombstone += 1
        return slot, True

    def _drop_idle(self, oldest_allowed: int) -> None:
        left = IDLE_AT_ONCE if self._names_leaving else len(self._slots)
        while left and self._anyone_idle(oldest_allowed):
            self._release(next(iter(self._slots)))
            self.evictions_ttl += 1
            left -= 1

    def _anyone_idle(self, oldest_allowed: int) -> bool:
        # The time lived through never falls, so those behind the first were seen no earlier.
        return bool(self._slots) and self._lived[next(iter(self._slots.values()))] < oldest_allowed

    def _count(self, key: bytes, slot: int) -> None:
        """One more record of a stream that is new; of others they are not counted."""
        times = self._times[slot] = self._times[slot] + 1
        self.room.seen_again(key, times)

    def _allocate(self, key: bytes, lived: int) -> int:
        if len(self._slots) >= self.max_streams or self.room.max_bytes is not None:
            self._make_room(key, lived)
        self.room.enter(key)
        if self._free:
            slot = heapq.heappop(self._free)
            self._tell(slot)
            self._keys[slot] = key
        else:
            slot = len(self._keys)
            if slot >= self.max_streams:  # a kernel would write behind its arrays
                raise RuntimeError(f"all {self.max_streams} slots are given out, to {len(self._slots)} streams")
            self._keys.append(key)
            for column in (self._last_seen, self._lived, self._touched, self._times, self._first):
                column.append(0)
        self._times[slot], self._first[slot] = 1, lived
        self._slots[key] = slot
        return slot

    def _make_room(self, key: bytes, lived: int) -> None:
        """Drop streams until there is room for one of this key."""
        while self._slots and self.room.lacks(key):
            leaving = self.room.first_to_leave()
            if leaving is None:
                leaving, slot = next(iter(self._slots.items()))
                # Who was silent for longer than it had come before has probably gone by itself.
                if (
                    self._times[slot] >= ESTABLISHED
                    and lived - self._lived[slot] <= self._lived[slot] - self._first[slot]
                ):
                    self.evictions_in_use += 1
            self.evictions_capacity += 1
            self._release(leaving)

    def _release(self, key: bytes) -> None:
        slot = self._slots.pop(key)
        self.room.leave(key)
        self._tell(slot)
        self._keys[slot] = None
        if self._notes_left:
            self.left.append(slot)
        if self._names_leaving:
            self.leaving.append((self.records, slot, key))
        heapq.heappush(self._free, slot)
        self._touched_segments.add(slot // SEGMENT_SLOTS)

    def _tell(self, slot: int) -> None:
        """What is known of the slot is about to change."""
        if self.before_change is not None:
            self.before_change((slot,))

    def pop_returns(self) -> list[tuple[int, int]]:
        """What is in ``returns``, which is empty afterwards."""
        returns, self.returns = self.returns, []
        return returns

    def pop_left(self) -> list[int]:
        """The slots in ``left`` that no other stream has taken, once each; it is empty afterwards."""
        left, self.left = self.left, []
        return sorted({slot for slot in left if self._keys[slot] is None})

    def pop_leaving(self) -> list[tuple[int, int, bytes]]:
        """What is in ``leaving``, which is empty afterwards."""
        self.newest_leaving, self.leaving = self.leaving, []
        return self.newest_leaving

    def pop_touched_segments(self) -> set[int]:
        """Segments touched since the last call."""
        touched, self._touched_segments = self._touched_segments, set()
        self._stale_segments |= touched
        return touched

    def rows(self, slots: Sequence[int]) -> tuple[list[bytes | None], Integers]:
        """The keys of these slots, and what is saved of them beside, (n, 5)."""
        columns = (self._last_seen, self._touched, self._lived, self._times, self._first)
        known = np.empty((len(slots), len(columns)), np.int64)
        for place, column in enumerate(columns):
            known[:, place] = view(column)[slots]
        return [self._keys[slot] for slot in slots], known

    def log_state(self) -> tuple[Integers, Integers]:
        """What it knows of the log, in arrays of their own: clock, and arrivals (5,)."""
        evictions = [self.evictions_ttl, self.evictions_capacity, self.evictions_tombstone, self.evictions_in_use]
        return self.clock.state(), np.array([self.records, *evictions], dtype=np.int64)

    def state(self) -> tuple[Integers, Integers, list[bytes | None], Integers]:
        """``log_state``; and live, the key of each slot ever used (None = free) and ``seen`` (n_slots, 5)."""
        # Of touched segments alone: of many streams all would cost more time than the records between two checkpoints.
        for segment in self._stale_segments | self._touched_segments:
            first, end = segment * SEGMENT_SLOTS, min((segment + 1) * SEGMENT_SLOTS, self.n_slots)
            _, self.seen_of_all[first:end] = self.rows(range(first, end))
        self._stale_segments = set()
        return *self.log_state(), self._keys, self.seen_of_all[: self.n_slots]

    def resume(self, clock: Integers, arrivals: Integers, keys: list[bytes | None], seen: Integers) -> None:
        """Go on from what ``state`` gave."""
        self.clock.restore(clock)
        self.records, self.evictions_ttl, self.evictions_capacity, *others = arrivals.tolist()
        self.evictions_tombstone, self.evictions_in_use = others
        self._keys = list(keys)
        self.seen_of_all[: len(keys)] = seen
        columns = (array("q", np.ascontiguousarray(column).tobytes()) for column in seen.T)
        self._last_seen, self._touched, self._lived, self._times, self._first = columns
        used = np.flatnonzero([key is not None for key in keys])
        # The order in which streams were last seen is not saved: the running numbers of their records tell it.
        slots = (used := used[np.argsort(seen[used, RECORD], kind="stable")]).tolist()
        self._slots = OrderedDict(zip([key for slot in slots if (key := keys[slot]) is not None], slots, strict=True))
        self.room.resume(zip(self._slots, seen[used, TIMES].tolist(), strict=True))
        self._free = [slot for slot, key in enumerate(keys) if key is None]
        heapq.heapify(self._free)
        self._touched_segments, self._stale_segments = set(), set()
