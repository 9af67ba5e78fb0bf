"""A log of plain files that behaves like a broker, so that the same loop runs with none: demo, evaluation, tests.

Kept: what :mod:`streamrnn.broker.protocol` asks of every broker; records count once flushed. A group is a lock: it has
one member, which is assigned everything. Left out: transactions, more than one member in a group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.embedded_log import EmbeddedLog, checked_name
from streamrnn.broker.partition_file import PartitionReader
from streamrnn.broker.protocol import (
    MAX_READ_BYTES,
    Assigned,
    Bounds,
    Commit,
    Connectivity,
    Event,
    GroupDescription,
    Member,
    Membership,
    Polled,
    Record,
    TopicDescription,
    TopicPartition,
    send_then_commit,
)
from streamrnn.errors import BrokerError, RebalanceError

_IDLE_SLEEP_S = 0.002
_IDLE_SLEEP_MAX_S = 0.02


class EmbeddedSender:
    """A writer of an :class:`EmbeddedLog`: the whole :class:`streamrnn.broker.protocol.Sender` protocol."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self.log.append(topic, key, value, timestamp_ms=timestamp_ms, partition=partition)

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        self.log.append_all(outputs, partition)

    def flush(self, timeout_s: float) -> None:  # noqa: ARG002 - local files do not keep anyone waiting
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self.log.flush()

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.partitions(topic)

    def hurry(self, time_left: Callable[[], float]) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`. Local files do not keep anyone waiting."""

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`. The log stays open: it belongs to who made it."""


class EmbeddedBroker(EmbeddedSender):
    """A group's one member on an :class:`EmbeddedLog`: the whole :class:`streamrnn.broker.protocol.Broker` protocol.

    Every partition of the subscribed topics is assigned to it. A second member of the same group, in this or another
    process, is refused; the lock goes with the process that held it, however that ended. So nothing is ever revoked.
    """

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        super().__init__(log)
        self.group = checked_name("group", group)
        self._lock_fd = -1
        self._readers: dict[TopicPartition, PartitionReader | None] = {}  # the assignment; None until the first seek
        self._resumed: set[TopicPartition] = set()
        self._events: list[Event] = []

    def __repr__(self) -> str:
        return f"EmbeddedBroker(directory={str(self.log.directory)!r}, group={self.group!r})"

    def connectivity(self) -> Connectivity:
        """See :class:`streamrnn.broker.protocol.Broker`. Files are always there."""
        return Connectivity(answered_at=time.time())

    def subscribe(self, topic: str) -> None:
        """Take the group's lock and be assigned every partition of ``topic``."""
        partitions = self.partitions(topic)
        if not partitions:
            raise BrokerError(f"topic {topic} does not exist in {self.log.directory}: create it first")
        if self._lock_fd < 0:
            self._lock_fd = self.log.lock_group(self.group)
        if fresh := [tp for p in partitions if (tp := TopicPartition(topic, p)) not in self._readers]:
            self._assign(fresh)

    def _assign(self, tps: Sequence[TopicPartition]) -> None:
        self._readers.update(dict.fromkeys(tps))
        self._events.append(Assigned(tuple(tps)))

    def _unassign(self, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            reader = self._readers.pop(tp)
            if reader is not None:
                reader.file.close()
            self._resumed.discard(tp)

    def events(self) -> list[Event]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        drained, self._events = self._events, []
        return drained

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """See :class:`streamrnn.broker.protocol.Broker`. Partitions take turns in being read first."""
        deadline = time.monotonic() + timeout_s
        sleep_s = _IDLE_SLEEP_S
        while True:
            polled: dict[TopicPartition, Records] = {}
            left = max_records
            for tp in [tp for tp in self._readers if tp in self._resumed]:
                reader = self._positioned(tp)
                records = reader.next_records(left)
                if records is not None:
                    polled[tp] = records
                    left -= len(records)
                    self._readers[tp] = self._readers.pop(tp)  # to the back of the queue
                    if not left:
                        break
            remaining = deadline - time.monotonic()
            if polled or remaining <= 0:
                return Polled(polled)
            time.sleep(min(sleep_s, remaining))
            sleep_s = min(sleep_s * 1.5, _IDLE_SLEEP_MAX_S)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        reader = self._assigned(tp)
        fresh = self.log.reader(tp, offset)
        if reader is not None:
            reader.file.close()
        self._readers[tp] = fresh

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        for tp in tps:
            self._assigned(tp)
            self._resumed.discard(tp)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. A partition has to be positioned by a seek first."""
        for tp in tps:
            self._positioned(tp)
            self._resumed.add(tp)

    def position(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self._positioned(tp).offset

    def committed(self, tp: TopicPartition) -> Commit | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.commits(self.group).get(tp)

    def log_start(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.log_start(tp)

    def log_end(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.log_end(tp)

    def newest_timestamp(self, tp: TopicPartition) -> int | None:  # noqa: ARG002 - files have no index of times
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return None

    def topic_id(self, topic: str) -> str:  # noqa: ARG002 - files have none
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return ""

    def lag(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        reader = self._readers.get(tp)
        return None if reader is None else max(0, self.log.log_end(tp) - reader.offset)

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:  # noqa: ARG002 - one member
        """See :class:`streamrnn.broker.protocol.Broker`."""
        if self._lock_fd < 0:
            raise RebalanceError(f"group {self.group} was not joined; call subscribe() before commit()")
        self.log.store_commits(self.group, offsets)

    def deliver(
        self,
        outputs: Iterable[Outputs],
        offsets: Mapping[TopicPartition, Commit],
        membership: Membership | None,
        timeout_s: float,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        send_then_commit(self, outputs, offsets, membership, timeout_s)

    def leave(self, timeout_s: float) -> bool:
        """See :class:`streamrnn.broker.protocol.Broker`. The group has no other member."""
        self.close(timeout_s)
        return False

    def close(self, timeout_s: float) -> None:  # noqa: ARG002 - nothing to wait for
        """See :class:`streamrnn.broker.protocol.Broker`. The log stays open: it belongs to who made it."""
        self._unassign(list(self._readers))
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # releases the lock
            self._lock_fd = -1

    def _assigned(self, tp: TopicPartition) -> PartitionReader | None:
        if tp not in self._readers:
            raise BrokerError(f"{tp} is not assigned to group {self.group}; it has {[str(tp) for tp in self._readers]}")
        return self._readers[tp]

    def _positioned(self, tp: TopicPartition) -> PartitionReader:
        reader = self._assigned(tp)
        if reader is None:
            raise BrokerError(f"{tp} has no position yet; call seek() first")
        return reader


class EmbeddedAdministration:
    """The topics of an :class:`EmbeddedLog`: all of :class:`streamrnn.broker.protocol.Administration`."""

    def __init__(self, log: EmbeddedLog) -> None:
        self.log = log

    def create_topics(self, topics: Mapping[str, int], *, keep_forever: bool = False) -> None:  # noqa: ARG002 - it always does
        """See :class:`streamrnn.broker.protocol.Administration`. An embedded log keeps everything anyway."""
        for topic, partitions in topics.items():
            self.log.create_topic(topic, partitions)

    def delete_topics(self, topics: Iterable[str]) -> None:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        for topic in topics:
            self.log.delete_topic(topic)

    def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
        """See :class:`streamrnn.broker.protocol.Administration`. Rights are those on the directory."""
        rights = {"READ": os.R_OK, "WRITE": os.W_OK}
        allowed = frozenset(name for name, mode in rights.items() if os.access(self.log.directory, mode))
        counts = {topic: len(self.log.partitions(topic)) for topic in topics}
        return {topic: TopicDescription(count, allowed) if count else None for topic, count in counts.items()}

    def topic_configs(self, topics: Iterable[str]) -> dict[str, Mapping[str, str]]:
        """See :class:`streamrnn.broker.protocol.Administration`. Files take everything and keep it."""
        return {topic: {"cleanup.policy": "delete", "retention.ms": "-1"} for topic in topics}

    def describe_group(self, group: str) -> GroupDescription:
        """See :class:`streamrnn.broker.protocol.Administration`. Its member is whoever holds the lock."""
        holder = self.log.group_holder(group)
        members = () if holder is None else (Member(None, f"process {holder}", "localhost", frozenset()),)
        allowed = os.access(self.log.directory, os.R_OK | os.W_OK)
        return GroupDescription(frozenset({"READ", "DESCRIBE"}) if allowed else frozenset(), members)

    def commits(self, group: str) -> dict[TopicPartition, Commit]:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        return self.log.commits(group)

    def bounds(self, topic: str) -> dict[TopicPartition, Bounds]:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        tps = [TopicPartition(topic, partition) for partition in self.log.partitions(topic)]
        return {tp: Bounds(self.log.log_start(tp), self.log.log_end(tp)) for tp in tps}

    def read(
        self, offsets: Mapping[TopicPartition, int], max_records: int, timeout_s: float
    ) -> dict[TopicPartition, list[Record]]:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        deadline, size = time.monotonic() + timeout_s, 0
        found: dict[TopicPartition, list[Record]] = {tp: [] for tp in offsets}
        for tp, offset in offsets.items():
            for record in islice(self.log.read(*tp, start=offset), max_records):
                if size > MAX_READ_BYTES or time.monotonic() > deadline:
                    return found
                found[tp].append(record)
                size += len(record.value or b"")
        return found
