"""The client's fetcher, reading whole batches, in bounded memory.

kafka-python (3.0.12, sources read) makes records of a fetched batch when a poll asks for them, in the polling thread.
Of its fetcher these are ours: what batches are made of what was fetched, and how many records, and bytes of them, one
poll takes; all else, transactions and positions included, stays the client's. It is put into one consumer and changes
nothing for others in the process.

A batch that is read as columns passes through the client as a single record, its last one, so that the client's own
reckoning holds: it ends where that one ends. What a poll does not take of it is left for the next.
"""

from __future__ import annotations

import functools
import inspect
import logging
import struct
import sys
from types import SimpleNamespace
from typing import Any

import kafka
import numpy as np
from kafka import OffsetSpec
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import TopicPartition as ClientTopicPartition

from streamrnn.broker.columns import Records
from streamrnn.broker.kafka_columns import Found, WholeBatch
from streamrnn.broker.kafka_inner import KNOWN, differs
from streamrnn.broker.kafka_legacy import MessageSet
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.protocol import Record, Refused

_log = logging.getLogger(__name__)
_LAST_OFFSET = (1 << 63) - 2

_METHODS = (
    (Fetcher, "offsets_by_times", ("timestamps", "timeout_ms")),
    (Fetcher, "fetched_records", ("max_records", "update_offsets")),
    (Fetcher, "_append", ("drained", "part", "max_records", "update_offsets")),
    (Fetcher.PartitionRecords, "take", ("n",)),
    (Fetcher.PartitionRecords, "_unpack_records", ("tp", "records", "key_deserializer", "value_deserializer")),
    (Fetcher.PartitionRecords, "_maybe_skip_record", ("record",)),
    (Fetcher.PartitionRecords, "_maybe_raise_next_inline_exception", ()),
)
_PATHS = ("_fetcher", "_client", "_subscription", "_metrics", "config")
PASSED_ON = {"topic", "partition", "offset", "timestamp", "key", "value", "headers", "checksum"}
"""What the client hands on of a record that it is given."""

POLL_BYTES = 8 << 20
"""Bytes of records that one poll takes at most, or one record more: thousands of long ones fit into a small batch. Few
enough for two polls to be in memory at once, and each twice while its columns are put together; more than a poll takes
of records of up to a kilobyte and a half."""


def bound(consumer: Any, limits: Limits) -> bool:
    """Let ``consumer``, which has fetched nothing yet, read whole batches, and no more than ``limits`` say.

    Where the client is not made as expected, it is left as it is, which is said once: records are read one by one and
    are the same, unless they are no honest ones.
    """
    if trouble := _trouble(consumer):
        _tell(trouble)
        return False
    consumer._fetcher = BoundedFetcher(
        consumer._client, consumer._subscription, limits, metrics=consumer._metrics, **consumer.config
    )
    return True


@functools.cache
def _tell(trouble: str) -> None:
    """Say it once in this process, however many consumers it makes."""
    _log.warning(
        "kafka-python %s reads records in another way than the versions that streamrnn knows (%s), so they are read "
        "one by one, which is slower, and input.max_unpacked_bytes bounds nothing: a batch that unpacks to "
        "more than there is memory would end this process, and one that cannot be read would stop its partition. "
        "Install a version that is known: %s",
        kafka.__version__, trouble, KNOWN,
    )  # fmt: skip


def records_of(polled: Any) -> Records:
    """What a poll has of a partition, which is some, whichever fetcher it comes from."""
    if isinstance(polled, Records):
        return polled
    return Records.of([_record(each) for each in polled])


def _record(each: Any) -> Record:
    """A record as the client makes them."""
    refused = each.checksum if isinstance(each.checksum, Refused) else None
    if each.offset > _LAST_OFFSET:
        raise CorruptRecordError(f"a record of {each.topic}/{each.partition} has the offset {each.offset}")
    headers = tuple(each.headers)
    return Record(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, headers, refused)


def newest_timestamp(consumer: Any, tp: Any, timeout_ms: float) -> int | None:
    """The latest timestamp in a partition, which the client's own ``offsets_for_times`` does not let anybody ask for.

    Raises the client's errors, UnsupportedVersionError of brokers before 3.0 among them.
    """
    if not isinstance(consumer._fetcher, BoundedFetcher):
        return None  # nobody knows how this client is asked
    found = consumer._fetcher.offsets_by_times({tp: OffsetSpec.MAX_TIMESTAMP}, timeout_ms)[tp]
    return None if found is None else int(found.timestamp)


def _trouble(consumer: Any) -> str:
    """What of the client is not as expected; "" where all is."""
    if type(consumer._fetcher) is not Fetcher:
        return f"its fetcher is {type(consumer._fetcher).__name__}"
    return differs(consumer, _PATHS, _METHODS, _tried)


def _tried() -> str:
    """What becomes of three records, fetched from the second on in two polls; "" if it is what should.

    That is how many each gives, where it ends, and whether any is left.
    """
    if lacking := PASSED_ON - set(inspect.signature(ConsumerRecord).parameters):
        return f"a record has no {', '.join(sorted(lacking))}"
    builder = MemoryRecordsBuilder(2, 0, 1 << 16)
    for i in range(3):
        builder.append(i, b"k", b"v", [])
    builder.close()
    fetcher: Any = SimpleNamespace(limits=Limits(), room=POLL_BYTES, taken=0)
    part = _PartitionRecords(fetcher, 1, ClientTopicPartition("", 0), MemoryRecords(bytes(builder.buffer())))
    ends: list[int] = []
    for most in (1, 5):
        taken = sum(map(len, part.take(most)))
        ends += [taken, part.next_fetch_offset]
    return "" if (read := [*ends, bool(part)]) == [1, 2, 1, 3, False] else f"a batch of three is read as {read}"


class BoundedFetcher(Fetcher):  # type: ignore[misc]
    """A fetcher whose batches are read as columns, and whose polls take a bounded number of bytes."""

    def __init__(self, client: Any, subscriptions: Any, limits: Limits, **config: Any) -> None:
        super().__init__(client, subscriptions, **config)
        self.limits = limits
        self.room = POLL_BYTES  # what this poll may still take
        self.taken = 0  # records that it has

    def PartitionRecords(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the client's name
        """What was fetched of a partition."""
        return _PartitionRecords(self, *args, **kwargs)

    def fetched_records(self, max_records: int | None = None, update_offsets: bool = True) -> Any:
        """What a poll returns: ``Records`` of each partition that has some."""
        self.room = POLL_BYTES
        drained, partial = super().fetched_records(max_records, update_offsets)
        return {tp: Records.joined(parts) for tp, parts in drained.items()}, partial

    def _append(self, drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:
        before = self.taken
        super()._append(drained, part, max_records, update_offsets)
        return self.taken - before if self.room > 0 else max_records  # as if it were full: the poll ends


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    def __init__(self, fetcher: BoundedFetcher, *args: Any, **kwargs: Any) -> None:
        self._fetcher = fetcher
        self._left: Found | None = None  # of a batch that was begun
        super().__init__(*args, **kwargs)

    def _unpack_records(self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any) -> Any:
        batches = _Batches(records, self._fetcher.limits, tp.topic, tp.partition)
        return super()._unpack_records(tp, batches, key_deserializer, value_deserializer)

    def take(self, n: int | None = None) -> list[Records]:
        """Up to ``n`` records, in parts; an error behind them is kept for the next call, as the client does."""
        self._maybe_raise_next_inline_exception()
        parts: list[Records] = []
        singles: list[Record] = []
        wanted, fetcher = sys.maxsize if n is None else n, self._fetcher
        try:
            while wanted > 0:
                before = self.bytes_read
                found = self._left or next(self.record_iterator, None)
                self._left = None
                if found is None:
                    break
                if not isinstance(found, Found) and not isinstance(found.checksum, Found):
                    singles.append(_record(found))
                    taken, size = 1, self.bytes_read - before
                else:
                    if singles:
                        parts.append(Records.of(singles))
                        singles = []
                    records, size = self._part(found, wanted)
                    parts.append(records)
                    taken = len(records)
                wanted -= taken
                fetcher.taken += taken
                fetcher.room -= size
                if fetcher.room <= 0:
                    break
        except Exception as error:
            if not parts and not singles:
                raise
            self._next_inline_exception = error
        return [*parts, Records.of(singles)] if singles else parts

    def _part(self, found: Any, wanted: int) -> tuple[Records, int]:
        """As many of the records of a batch as there is room for, one at least, and what they take; the rest waits."""
        if not isinstance(found, Found):
            found = found.checksum
            if found.records.offset[0] < self.fetch_offset:  # fetched from within the batch
                found = found.rows(slice(int(np.searchsorted(found.records.offset, self.fetch_offset)), None))
        sizes = np.cumsum(found.sizes)
        count = min(wanted, len(sizes), int(np.searchsorted(sizes, self._fetcher.room)) + 1)
        if count < len(sizes):
            self._left = found.rows(slice(count, None))
            found = found.rows(slice(count))
        self.next_fetch_offset = int(found.records.offset[-1]) + 1
        return found.records, int(sizes[count - 1])


class _Batches:
    """The client's batches, each in a form that is read in bounded memory; those of the broker's own are left alone."""

    def __init__(self, records: Any, limits: Limits, topic: str, partition: int) -> None:
        self._records, self._limits, self._topic, self._partition = records, limits, topic, partition

    def next_batch(self) -> Any:
        name = f"{self._topic}/{self._partition}"
        try:
            batch = self._records.next_batch()
        except (struct.error, AssertionError) as error:
            raise CorruptRecordError(f"a batch of {name} cannot be read: {error}") from error
        if batch is None or (batch.magic == 2 and batch.is_control_batch):
            return batch
        if batch.magic in (0, 1):
            return MessageSet(batch, self._limits, name)
        if batch.magic != 2:
            raise CorruptRecordError(f"a batch of {name} is of an unknown format, {batch.magic}")
        return WholeBatch(batch, self._limits, self._topic, self._partition)
