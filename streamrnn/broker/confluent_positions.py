"""Where a worker stands in its partitions, beyond what is no record: transactions' markers, records of aborted ones.

librdkafka hands out records and, where a log ends, that it ends; while a transaction is open it says neither of what it
has passed before that one. Its account of each second does: the offset it fetches next, and whether anything waits to
be handed out. Two accounts in a row that say the same, both given after the partition was last moved or brought a
record, are taken at their word; a single one may have come between a fetch and its records. Accounts that wait to be
read while nobody polls are told by their time, which on Linux is that of the monotonic clock; one that is not of this
clock is never used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from streamrnn.broker.protocol import TopicPartition

_OTHER_CLOCK_S = 3600.0


class _Read(msgspec.Struct):
    next_offset: int
    fetchq_cnt: int
    fetch_state: str


class _Topic(msgspec.Struct):
    partitions: dict[str, _Read]


class _Account(msgspec.Struct):
    ts: int  # microseconds of the client's clock
    topics: dict[str, _Topic] = {}


class _Passed(NamedTuple):
    given_at: float
    offset: int


class Positions:
    """By partition, the next offset to look at, of those that were sought since they were assigned."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._offsets: dict[TopicPartition, int] = {}
        self._moved_at: dict[TopicPartition, float] = {}
        self._passed: dict[TopicPartition, _Passed] = {}

    def __contains__(self, tp: TopicPartition) -> bool:
        return tp in self._offsets

    def __getitem__(self, tp: TopicPartition) -> int:
        return self._offsets[tp]

    def __setitem__(self, tp: TopicPartition, offset: int) -> None:
        """A partition was sought, or a record before that offset handed out."""
        self._offsets[tp], self._moved_at[tp] = offset, self._clock()
        self._passed.pop(tp, None)

    def ended(self, tp: TopicPartition, offset: int) -> None:
        """The client has come to the end of the log, which is there."""
        if tp in self._offsets:
            self._offsets[tp] = max(self._offsets[tp], offset)

    def account(self, text: str | bytes) -> None:
        """The client's account. What it has handed out already is in the positions only after the poll it came with."""
        given = msgspec.json.decode(text, type=_Account)
        given_at = given.ts / 1e6
        if not -_OTHER_CLOCK_S < given_at - self._clock() <= 0:
            return
        for name, topic in given.topics.items():
            for number, read in topic.partitions.items():
                tp = TopicPartition(name, int(number))
                if tp not in self._offsets or given_at <= self._moved_at[tp]:
                    continue
                if read.fetchq_cnt or read.fetch_state != "active" or read.next_offset <= self._offsets[tp]:
                    self._passed.pop(tp, None)
                    continue
                before = self._passed.get(tp)
                self._passed[tp] = _Passed(given_at, read.next_offset)
                if before is not None and before.offset == read.next_offset and before.given_at < given_at:
                    self._offsets[tp] = read.next_offset

    def forget(self, tp: TopicPartition) -> None:
        """It is not this worker's any more."""
        for known in (self._offsets, self._moved_at, self._passed):
            known.pop(tp, None)
