"""The client's fetcher, reading batches in bounded memory.

kafka-python (3.0.12, sources read) makes records of a fetched batch when a poll asks for them, in the polling thread.
Of its fetcher these are ours: what batches are made of what was fetched, and how many bytes of records one poll takes;
all else, transactions and positions included, stays the client's. It is put into one consumer and changes nothing for
others in the process.
"""

from __future__ import annotations

import inspect
import itertools
import struct
from typing import Any

import kafka
from kafka import OffsetSpec
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from streamrnn.broker.kafka_batches import Batch
from streamrnn.broker.kafka_legacy import MessageSet
from streamrnn.broker.kafka_settings import Limits
from streamrnn.errors import BrokerError

POLL_BYTES = 16 << 20
"""Bytes of records that one poll takes at most, or one record more: thousands of long ones fit into a small batch. Few
enough for two polls to be in memory at once, and more than a poll takes of records of up to three kilobytes."""


def bound(consumer: Any, limits: Limits) -> None:
    """Let ``consumer``, which has fetched nothing yet, read no more than ``limits`` say.

    Raises BrokerError where the client is not made as expected: without the bounds nothing is read.
    """
    _check_client(consumer)
    consumer._fetcher = BoundedFetcher(
        consumer._client, consumer._subscription, limits, metrics=consumer._metrics, **consumer.config
    )


def newest_timestamp(consumer: Any, tp: Any, timeout_ms: float) -> int | None:
    """The latest timestamp in a partition, which the client's own ``offsets_for_times`` does not let anybody ask for.

    Raises the client's errors, UnsupportedVersionError of brokers before 3.0 among them.
    """
    found = consumer._fetcher.offsets_by_times({tp: OffsetSpec.MAX_TIMESTAMP}, timeout_ms)[tp]
    return None if found is None else int(found.timestamp)


def _check_client(consumer: Any) -> None:
    expected = {
        Fetcher.offsets_by_times: ("self", "timestamps", "timeout_ms"),
        Fetcher.fetched_records: ("self", "max_records", "update_offsets"),
        Fetcher._append: ("self", "drained", "part", "max_records", "update_offsets"),
        Fetcher.PartitionRecords.take: ("self", "n"),
        Fetcher.PartitionRecords._unpack_records: (
            "self", "tp", "records", "key_deserializer", "value_deserializer",
        ),
    }  # fmt: skip
    for method, parameters in expected.items():
        if tuple(inspect.signature(method).parameters) != parameters or type(consumer._fetcher) is not Fetcher:
            raise BrokerError(
                f"kafka-python {kafka.__version__} reads records in another way than the versions that streamrnn "
                "knows (3.0.12 and later ones of 3.0), so what a batch unpacks to could not be bounded; install one"
            )


class BoundedFetcher(Fetcher):  # type: ignore[misc]
    """A fetcher whose batches are walked over, and whose polls take a bounded number of bytes."""

    def __init__(self, client: Any, subscriptions: Any, limits: Limits, **config: Any) -> None:
        super().__init__(client, subscriptions, **config)
        self.limits = limits
        self.room = POLL_BYTES  # what this poll may still take

    def PartitionRecords(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - the client's name
        """What was fetched of a partition."""
        return _PartitionRecords(self, *args, **kwargs)

    def fetched_records(self, max_records: int | None = None, update_offsets: bool = True) -> Any:
        """What a poll returns."""
        self.room = POLL_BYTES
        return super().fetched_records(max_records, update_offsets)

    def _append(self, drained: Any, part: Any, max_records: int, update_offsets: bool) -> int:
        count: int = super()._append(drained, part, max_records, update_offsets)
        return count if self.room > 0 else max_records  # as if it were full: the poll ends


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    def __init__(self, fetcher: BoundedFetcher, *args: Any, **kwargs: Any) -> None:
        self._fetcher = fetcher
        super().__init__(*args, **kwargs)

    def _unpack_records(self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any) -> Any:
        batches = _Batches(records, self._fetcher.limits, f"{tp.topic}/{tp.partition}")
        return super()._unpack_records(tp, batches, key_deserializer, value_deserializer)

    def take(self, n: int | None = None) -> list[Any]:
        """Up to ``n`` records; an error behind them is kept for the next call, as the client does."""
        self._maybe_raise_next_inline_exception()
        before, until = self.bytes_read, self.bytes_read + self._fetcher.room
        records: list[Any] = []
        try:
            for record in itertools.islice(self.record_iterator, n):
                records.append(record)
                if self.bytes_read >= until:
                    break
        except Exception as error:
            if not records:
                raise
            self._next_inline_exception = error
        self._fetcher.room -= self.bytes_read - before
        return records


class _Batches:
    """The client's batches, each in a form that is walked over; those of the broker's own are left as they are."""

    def __init__(self, records: Any, limits: Limits, name: str) -> None:
        self._records, self._limits, self._name = records, limits, name

    def next_batch(self) -> Any:
        try:
            batch = self._records.next_batch()
        except (struct.error, AssertionError) as error:
            raise CorruptRecordError(f"a batch of {self._name} cannot be read: {error}") from error
        if batch is None or (batch.magic == 2 and batch.is_control_batch):
            return batch
        if batch.magic in (0, 1):
            return MessageSet(batch, self._limits, self._name)
        if batch.magic != 2:
            raise CorruptRecordError(f"a batch of {self._name} is of an unknown format, {batch.magic}")
        return Batch(batch, self._limits, self._name)
