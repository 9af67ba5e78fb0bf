"""What is put into the client fits the client, and one that it does not fit is left as it is, which is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import kafka
import pytest
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from streamrnn.broker import kafka_fetcher
from streamrnn.broker.kafka_connect import translated
from streamrnn.broker.kafka_fetcher import POLL_BYTES, BoundedFetcher, _Batches, _PartitionRecords
from streamrnn.broker.kafka_settings import KafkaConnection, Limits
from streamrnn.broker.protocol import Record
from streamrnn.errors import BrokerError
from tests.support.batches import batch, record

MIB = 1 << 20


def fetched(data: bytes, room: int = POLL_BYTES) -> tuple[Any, Any]:
    fetcher: Any = SimpleNamespace(limits=Limits(), room=room, taken=0)
    return fetcher, _PartitionRecords(fetcher, 0, TopicPartition("t", 0), MemoryRecords(data))


def test_a_poll_takes_so_many_bytes_and_the_next_one_goes_on_there() -> None:
    data = batch([record(bytes(MIB), i) for i in range(100)], "gzip")
    fetcher, part = fetched(data)
    taken = []
    while part:
        fetcher.room = POLL_BYTES
        taken.append([offset for records in part.take(5_000) for offset in records.offset.tolist()])
        assert len(taken[-1]) <= POLL_BYTES // MIB + 1
    assert [offset for offsets in taken for offset in offsets] == list(range(100))
    assert part.next_fetch_offset == 100


def test_a_record_is_taken_even_where_there_is_no_room() -> None:
    _, part = fetched(batch([record(bytes(MIB), i) for i in range(3)]), room=0)
    assert [sum(map(len, part.take(10))) for _ in range(3)] == [1, 1, 1]


def test_a_fetcher_that_is_full_ends_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    def append(self: Any, *_: object) -> int:
        self.taken += 3
        return 1  # part, for what was taken is in one

    monkeypatch.setattr(Fetcher, "_append", append)
    fetcher = object.__new__(kafka_fetcher.BoundedFetcher)
    fetcher.room, fetcher.taken = 1, 5
    assert fetcher._append({}, None, 500, True) == 3
    fetcher.room = 0
    assert fetcher._append({}, None, 500, True) == 500


def consuming() -> Any:
    """A consumer as far as its fetcher is looked at."""
    fetcher = object.__new__(Fetcher)
    return SimpleNamespace(_fetcher=fetcher, _client=None, _subscription=None, _metrics=None, config={})


def test_a_client_that_is_made_as_expected_reads_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "__init__", lambda self, *_, **__: None)
    consumer = consuming()
    assert kafka_fetcher.bound(consumer, Limits())
    assert type(consumer._fetcher) is BoundedFetcher


@pytest.mark.parametrize("differs", ["renamed", "parameters", "removed", "ends", "skips", "subclass"])
def test_one_that_is_made_otherwise_is_left_as_it_is_and_that_is_said_once(
    differs: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    consumer, fetcher = consuming(), Fetcher.PartitionRecords
    if differs == "renamed":
        monkeypatch.setattr(Fetcher, "_append", lambda self, drained, parts, max_records, update_offsets: 0)
    elif differs == "parameters":
        monkeypatch.setattr(Fetcher, "fetched_records", lambda self: {})
    elif differs == "removed":
        monkeypatch.delattr(fetcher, "_maybe_skip_record")
    elif differs == "ends":  # all methods look the same, and do something else
        monkeypatch.setattr(
            fetcher,
            "_unpack_records",
            lambda self, tp, records, key_deserializer, value_deserializer: iter(records.next_batch()),
        )
    elif differs == "skips":
        monkeypatch.setattr(fetcher, "_maybe_skip_record", lambda self, record: record.key is None)
    else:
        consumer._fetcher = SimpleNamespace()
    kafka_fetcher._tell.cache_clear()
    before = consumer._fetcher
    for _ in range(2):
        assert not kafka_fetcher.bound(consumer, Limits())
    assert consumer._fetcher is before
    assert kafka_fetcher.newest_timestamp(consumer, None, 1) is None
    (line,) = [each.getMessage() for each in caplog.records]
    assert f"kafka-python {kafka.__version__} reads records in another way" in line
    assert "input.max_unpacked_bytes bounds nothing" in line


def test_what_an_unchanged_client_returns_becomes_records() -> None:
    part = Fetcher.PartitionRecords(
        0, TopicPartition("t", 3), MemoryRecords(batch([record(b"a", 0), record(None, 1, headers=[(b"h", b"1")])]))
    )
    found = kafka_fetcher.records_of(part.take(5))
    assert list(found) == [
        Record("t", 3, 0, 1_700_000_000_000, b"k", b"a"),
        Record("t", 3, 1, 1_700_000_000_000, b"k", None, (("h", b"1"),)),
    ]
    assert kafka_fetcher.records_of(found) is found


def test_an_offset_of_more_than_64_bits_is_a_broker_s_fault() -> None:
    each = ConsumerRecord("t", 0, -1, (1 << 63) - 1, 0, 0, None, b"", [], None, -1, 0, -1)
    with pytest.raises(CorruptRecordError, match="9223372036854775807"):
        kafka_fetcher.records_of([each])


@pytest.mark.parametrize("magic", [3, 100, -1])
def test_a_batch_of_an_unknown_format_is_no_batch_of_lies(magic: int) -> None:
    data = bytearray(batch([record(b"a", 0)]))
    data[16] = magic & 0xFF
    with pytest.raises(CorruptRecordError):
        _Batches(MemoryRecords(bytes(data)), Limits(), "t", 0).next_batch()


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
