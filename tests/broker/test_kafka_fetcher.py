"""What is put into the client fits the client, and nothing is read by one that it does not fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from streamrnn.broker import kafka_fetcher
from streamrnn.broker.kafka_connect import translated
from streamrnn.broker.kafka_fetcher import POLL_BYTES, _Batches, _PartitionRecords
from streamrnn.broker.kafka_settings import KafkaConnection, Limits
from streamrnn.errors import BrokerError
from tests.support.batches import batch, record

MIB = 1 << 20


def fetched(data: bytes, room: int = POLL_BYTES) -> tuple[Any, Any]:
    fetcher: Any = SimpleNamespace(limits=Limits(), room=room)
    return fetcher, _PartitionRecords(fetcher, 0, TopicPartition("t", 0), MemoryRecords(data))


def test_a_poll_takes_so_many_bytes_and_the_next_one_goes_on_there() -> None:
    data = batch([record(bytes(MIB), i) for i in range(100)], "gzip")
    fetcher, part = fetched(data)
    taken = []
    while part:
        fetcher.room = POLL_BYTES
        taken.append([one.offset for one in part.take(5_000)])
        assert len(taken[-1]) <= POLL_BYTES // MIB + 1
    assert [offset for offsets in taken for offset in offsets] == list(range(100))
    assert part.next_fetch_offset == 100


def test_a_record_is_taken_even_where_there_is_no_room() -> None:
    _, part = fetched(batch([record(bytes(MIB), i) for i in range(3)]), room=0)
    assert [len(part.take(10)) for _ in range(3)] == [1, 1, 1]


def test_a_fetcher_that_is_full_ends_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "_append", lambda self, drained, part, max_records, update_offsets: 3)
    fetcher = object.__new__(kafka_fetcher.BoundedFetcher)
    fetcher.room = 1
    assert fetcher._append({}, None, 500, True) == 3
    fetcher.room = 0
    assert fetcher._append({}, None, 500, True) == 500


@pytest.mark.parametrize("name", ["_append", "fetched_records"])
def test_a_client_that_is_made_otherwise_reads_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = SimpleNamespace(_fetcher=object.__new__(Fetcher))
    kafka_fetcher._check_client(consumer)
    monkeypatch.setattr(Fetcher, name, lambda self, something_else: None)
    with pytest.raises(BrokerError, match=r"kafka-python 3\.0\.\d+ reads records in another way"):
        kafka_fetcher._check_client(consumer)
    monkeypatch.undo()
    with pytest.raises(BrokerError):
        kafka_fetcher._check_client(SimpleNamespace(_fetcher=object()))


@pytest.mark.parametrize("magic", [3, 100, -1])
def test_a_batch_of_an_unknown_format_is_no_batch_of_lies(magic: int) -> None:
    data = bytearray(batch([record(b"a", 0)]))
    data[16] = magic & 0xFF
    with pytest.raises(CorruptRecordError):
        _Batches(MemoryRecords(bytes(data)), Limits(), "t/0").next_batch()


def test_a_batch_with_a_wrong_checksum_is_not_read_at_all() -> None:
    data = bytearray(batch([record(b"a", 0)]))
    data[-1] ^= 1
    _, part = fetched(bytes(data))
    with pytest.raises(CorruptRecordError, match="failed crc check"):
        part.take(10)


def test_what_may_be_done_about_a_damaged_batch_is_said() -> None:
    connection = KafkaConnection(bootstrap_servers="localhost:9")
    with (
        pytest.raises(BrokerError, match=r"failed crc check\. .*another replica.*committed offset behind the batch"),
        translated("reading topic in failed", connection, "one"),
    ):
        raise CorruptRecordError("Record batch for partition in/0 at offset 7 failed crc check")
