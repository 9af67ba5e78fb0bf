"""Messages of old formats are read as the client reads them, in bounded memory, and nonsense ends."""

from __future__ import annotations

import gzip
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from streamrnn.broker import kafka_legacy
from streamrnn.broker.kafka_batches import ONE_BY_ONE, Read
from streamrnn.broker.kafka_legacy import MESSAGES_BYTES, MessageSet
from streamrnn.broker.kafka_settings import Limits

GZIP = 1
small = st.none() | st.binary(max_size=40)


def read(data: bytes, magic: int, limits: Limits | None = None) -> list[Read]:
    """All records of a fetch, as the fetcher walks over it."""
    records, found = MemoryRecords(data), []
    while (batch := records.next_batch()) is not None:
        assert batch.magic == magic
        found += list(MessageSet(batch, limits or Limits(), "t/0"))
    return found


def message(value: bytes | None, offset: int, magic: int = 1, attributes: int = 0, *, crc: int | None = None) -> bytes:
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", 5) if magic else b"") + struct.pack(">i", -1)
    body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body) if crc is None else crc) + body


def wrapped(inner: bytes, offset: int, magic: int = 1) -> bytes:
    return message(gzip.compress(inner), offset, magic, GZIP)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)]),
    st.lists(st.tuples(st.integers(0, 2**41), small, small), min_size=1, max_size=20),
    st.integers(0, 2**40),
)
def test_honest_messages_are_what_the_client_makes_of_them(
    made: tuple[int, int], given: list[tuple[int, bytes | None, bytes | None]], base: int
) -> None:
    magic, codec = made
    builder = MemoryRecordsBuilder(magic, codec, 1 << 30, offset=base if magic == 0 or not codec else 0)
    for timestamp, key, value in given:
        builder.append(timestamp if magic else None, key, value)
    builder.close()
    data = bytearray(builder.buffer())
    if magic and codec:
        data[:8] = (base + len(given)).to_bytes(8, "big")
    expected = [
        (r.offset, -1 if r.timestamp is None else r.timestamp, r.key, r.value) for b in MemoryRecords(data) for r in b
    ]
    found = read(bytes(data), magic)
    assert [(r.offset, r.timestamp, r.key, r.value) for r in found] == expected
    assert {r.checksum for r in found} == {None}


@pytest.mark.parametrize("magic", [0, 1])
def test_a_message_that_unpacks_to_too_much_is_refused_as_one_and_takes_little_memory(magic: int) -> None:
    bomb = wrapped(message(bytes(4 * MESSAGES_BYTES), 0, magic), 7, magic)
    data = message(b"a", 6, magic) + bomb + message(b"b", 8, magic)
    tracemalloc.start()
    found = read(data, magic)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(one.offset, one.value) for one in found] == [(6, b"a"), (7, None), (8, b"b")]
    assert found[1].checksum is not None
    assert (found[1].checksum.reason, MESSAGES_BYTES) == ("corrupt", 64 << 20)
    assert "it unpacks to more than 67108864 bytes" in found[1].checksum.detail
    assert peak < 1.2 * MESSAGES_BYTES


LIES = {
    "no message": b"",
    "a message that is cut off": message(b"a", 0)[:10],
    "a message of no length": struct.pack(">qi", 0, -12) + bytes(30),
    "a message of negative length": struct.pack(">qi", 0, -100) + bytes(30),
    "a message of half the numbers": struct.pack(">qi", 0, 2**31 - 1) + bytes(30),
    "a message of another format": message(b"a", 0, magic=0),
    "a value beyond its message": message(b"a", 0)[:-5] + struct.pack(">i", 50) + b"a",
    "a negative value": message(b"a", 0)[:-5] + struct.pack(">i", -7) + b"a",
    "more than it says": message(b"a", 0) + b"x",
    "nonsense": random.Random(3).randbytes(300),
}


@pytest.mark.parametrize("lie", list(LIES))
def test_messages_that_lie_are_refused_at_the_offset_of_what_holds_them(lie: str) -> None:
    found = read(wrapped(LIES[lie], 7) + message(b"b", 8), 1)
    assert [one.offset for one in found] == [7, 8]
    assert found[0].checksum is not None
    assert found[0].checksum.reason == "corrupt"
    assert found[1].value == b"b"
    alone = LIES[lie]
    packed = message(alone, 7, attributes=GZIP)  # as it is, where something compressed should be
    assert [(one.offset, one.checksum is not None) for one in read(packed, 1)] == [(7, True)]


def test_a_message_inside_that_is_damaged_or_compressed_again_is_refused_alone() -> None:
    inner = message(b"a", 0) + message(b"b", 1, crc=1) + message(b"c", 2, attributes=GZIP) + message(b"d", 3)
    found = read(wrapped(inner, 13), 1)
    assert [(one.offset, one.value) for one in found] == [(10, b"a"), (11, None), (12, None), (13, b"d")]
    assert [one.checksum.detail for one in found if one.checksum] == [
        "the message cannot be read: its checksum is wrong",
        "the message cannot be read: it is compressed, inside of one that is",
    ]


def test_offsets_ascend_whatever_messages_claim() -> None:
    inner = message(b"a", 5) + message(b"b", 5) + message(b"c", 2) + message(b"d", 9)
    assert [(one.offset, one.value) for one in read(wrapped(inner, 19), 1)] == [(15, b"a"), (19, b"d")]


def test_lz4_as_before_kafka_0_10_is_refused_for_no_package_reads_it() -> None:
    (found,) = read(message(b"x", 7, magic=0, attributes=3), 0)
    assert (found.offset, found.checksum and found.checksum.reason) == (7, "corrupt")
    assert found.checksum is not None and "lz4 as before Kafka 0.10" in found.checksum.detail


@pytest.mark.parametrize("codec", [5, 6, 7])
@pytest.mark.parametrize("magic", [0, 1])
def test_a_codec_of_an_unknown_number_refuses_its_message(magic: int, codec: int) -> None:
    (found,) = read(message(b"x", 7, magic=magic, attributes=codec), magic)
    assert found.checksum is not None and f"a codec of the number {codec}" in found.checksum.detail


def test_a_message_of_more_than_can_be_gone_through_in_a_second_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_legacy, "MESSAGES", 3)
    three = b"".join(message(b"v", i) for i in range(3))
    assert [one.value for one in read(wrapped(three, 2), 1)] == [b"v"] * 3
    for more in (message(b"v", 3), message(b"v", 2), b"!"):
        (found,) = read(wrapped(three + more, 9), 1)
        assert (found.offset, found.checksum and found.checksum.reason) == (9, "corrupt")
        assert found.checksum is not None and "it holds more than 3" in found.checksum.detail


def test_so_many_damaged_messages_are_refused_each_and_the_rest_by_one() -> None:
    damaged = b"".join(message(None, i, 0, crc=1) for i in range(ONE_BY_ONE + 500))
    found = read(message(gzip.compress(damaged), ONE_BY_ONE + 499, 0, GZIP), 0)
    assert [one.offset for one in found] == [*range(ONE_BY_ONE), ONE_BY_ONE + 499]
    assert found[-1].checksum is not None and f"{ONE_BY_ONE} of those are refused" in found[-1].checksum.detail
