"""A batch is walked over record by record: what can be read is, what cannot is refused at its offset, and it ends."""

from __future__ import annotations

import itertools
import logging
import random
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import codec as client_codecs
from kafka.consumer.fetcher import Fetcher
from kafka.errors import UnsupportedCodecError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.structs import TopicPartition

from streamrnn.broker.kafka_batches import (
    HEADERS_BYTES,
    ONE_BY_ONE,
    READ_WHOLE_BYTES,
    RECORD_BYTES,
    Batch,
    Read,
    varint,
)
from streamrnn.broker.kafka_settings import Limits
from tests.support import batches
from tests.support.batches import CODECS, record, zeros

MIB = 1 << 20


def read(data: bytes, limits: Limits | None = None) -> list[Read]:
    found = MemoryRecords(data).next_batch()
    return list(itertools.islice(Batch(found, limits or Limits(), "t/0"), 1_000_000))


def outcome(found: Sequence[Read]) -> list[tuple[int, bytes | str | None]]:
    """Of each record the offset, and its value or why it was refused."""
    return [(one.offset, one.checksum.reason if one.checksum else one.value) for one in found]


def plain(records: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers)) for r in records]


small = st.none() | st.binary(max_size=40)
fields = st.tuples(st.integers(0, 2**41), small, small, st.lists(st.tuples(st.text(max_size=5), small), max_size=3))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(CODECS.values())), st.lists(fields, min_size=1, max_size=30), st.integers(0, 2**40))
def test_an_honest_batch_is_what_the_client_makes_of_it(codec: int, given: list[Any], base: int) -> None:
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)
    for at, (timestamp, key, value, headers) in enumerate(given):
        builder.append(timestamp, key, value, headers)
        if at % 5 == 4:
            builder.skip(at)  # as compaction does
    builder.close()
    data = bytearray(builder.buffer())
    data[:8] = base.to_bytes(8, "big")
    assert plain(read(bytes(data))) == plain(list(MemoryRecords(data).next_batch()))


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
@pytest.mark.parametrize("size", [READ_WHOLE_BYTES, READ_WHOLE_BYTES + 1, 60_000_000])
def test_a_record_that_is_far_too_long_is_refused_and_those_around_it_are_read(codec: str, size: int) -> None:
    found = read(zeros(size, codec, before=[b"a", b"b"], behind=[b"c"]))
    assert outcome(found) == [(0, b"a"), (1, b"b"), (2, "too_large"), (3, b"c")]
    refused = found[2]
    assert (refused.key, refused.value, refused.timestamp) == (b"k", None, 1_700_000_000_000)
    assert refused.checksum is not None
    assert refused.checksum[1:] == (
        f"found {size + 1} bytes of key and value, expected at most 1048576 (max_record_bytes)", 1, size,
    )  # fmt: skip


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_no_more_than_a_record_is_in_memory_at_a_time(codec: str) -> None:
    bomb = zeros(200_000_000, codec, before=[b"a"], behind=[b"b"])
    many = batches.batch([record(bytes(MIB - 100), i) for i in range(100)], codec)
    for data in (bomb, many):
        tracemalloc.start()
        for one in Batch(MemoryRecords(data).next_batch(), Limits(), "t/0"):
            assert len(one.value or b"") < MIB
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * len(data) + 6 * MIB


def test_a_record_up_to_the_configured_length_is_read_however_long_that_is() -> None:
    limits = Limits(max_record_bytes=30 * MIB)
    data = zeros(30 * MIB - 1, "zstd", behind=[b"c"])
    assert [len(one.value or b"") for one in read(data, limits)] == [30 * MIB - 1, 1]
    assert outcome(read(zeros(31 * MIB, "zstd", behind=[b"c"]), limits)) == [(0, "too_large"), (1, b"c")]


def test_a_highly_compressible_batch_within_the_bound_is_read_whole() -> None:
    values = [b'{"carrier": "AA", "delay": 1.25, "distance": 1000}' * 20 for _ in range(60_000)]
    data = batches.batch([record(value, i) for i, value in enumerate(values)], "zstd")
    assert 50 * len(data) < sum(map(len, values))
    assert [one.value for one in read(data)] == values


def test_headers_alone_can_make_a_record_too_large() -> None:
    headers = [(b"h", bytes(READ_WHOLE_BYTES))]
    found = read(batches.batch([record(b"a", 0), record(b"b", 1, headers=headers), record(b"c", 2)], "zstd"))
    assert outcome(found) == [(0, b"a"), (1, "too_large"), (2, b"c")]
    assert found[1].checksum is not None
    assert f"in headers, expected at most {HEADERS_BYTES}" in found[1].checksum.detail


def test_a_long_key_is_left_out_and_its_size_told() -> None:
    data = batches.batch([record(bytes(20 * MIB), 0, key=b"k" * MIB), record(b"c", 1)], "zstd")
    found = read(data)
    assert outcome(found) == [(0, "too_large"), (1, b"c")]
    assert found[0].key is None
    assert found[0].checksum is not None
    assert found[0].checksum[2:] == (MIB, 20 * MIB)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_what_is_behind_the_bound_of_a_batch_is_refused_record_by_record(codec: str) -> None:
    limits = Limits(max_unpacked_bytes=40 * MIB)
    data = zeros(100 * MIB, codec, before=[b"a"], behind=[b"b", b"c"])
    found = read(data, limits)
    assert outcome(found) == [(0, b"a"), (1, "too_large"), (2, "too_large"), (3, "too_large")]
    assert found[1].checksum is not None and found[2].checksum is not None
    assert found[1].checksum.value_bytes == 100 * MIB
    assert found[2].checksum.detail == "its batch unpacks to more than 41943040 bytes (input.max_unpacked_bytes)"
    many = batches.batch([record(bytes(MIB), i) for i in range(50)], codec)
    reasons = [reason for _, reason in outcome(read(many, limits))]
    assert reasons.count("too_large") in (11, 12)
    assert reasons[:38] == [bytes(MIB)] * 38


def test_a_batch_that_is_not_compressed_has_no_such_bound() -> None:
    data = batches.batch([record(bytes(MIB), i) for i in range(4)])
    assert len(read(data, Limits(max_unpacked_bytes=2 * MIB))) == 4
    assert {one.checksum for one in read(data, Limits(max_unpacked_bytes=2 * MIB))} == {None}


def three(**second: Any) -> list[bytes]:
    return [record(b"a", 0), record(b"b", **{"offset_delta": 1, **second}), record(b"c", 2)]


BODY = len(record(b"b", 1)) - 1
LIES = {
    "a length beyond the batch": (three(length=50), {}, "a!!"),
    "a length of half the numbers": (three(length=2**31 - 1), {}, "a!!"),
    "a length beyond all numbers": (three(length=2**62), {}, "a!!"),
    "a negative length": (three(length=-5), {}, "a!!"),
    "a length that is too short": (three(length=BODY - 1), {}, "a!!"),
    "a varint of eleven bytes": ([record(b"a", 0), b"\xff" * 11 + b"\1", record(b"c", 2)], {}, "a!!"),
    "a value longer than its record": ([record(b"a", 0), b"\x10\0\0\2\1\x7ekkk", record(b"c", 2)], {}, "a!c"),
    "a key of half the numbers": (
        [record(b"a", 0), b"\x14\0\0\2" + batches.varint(2**31 - 1) + b"kk", record(b"c", 2)], {}, "a!c",
    ),
    "headers of half the numbers": (
        [record(b"a", 0), batches.varint(10) + b"\0\0\2\1\1" + batches.varint(2**31 - 1), record(b"c", 2)], {}, "a!c",
    ),
    "a negative number of headers": ([record(b"a", 0), b"\x0c\0\0\2\1\1\1", record(b"c", 2)], {}, "a!c"),
    "an offset far away": (three(offset_delta=2**40), {}, "a!c"),
    "an offset that was there": (three(offset_delta=0), {}, "a!c"),
    "a negative offset": (three(offset_delta=-7), {}, "a!c"),
    "more records than it claims": (three(), {"count": 2, "last_offset_delta": 2}, "ab!"),
    "fewer records than it claims": (three(), {"count": 5, "last_offset_delta": 4}, "abc!!"),
    "no records": (three(), {"count": 0, "last_offset_delta": 2}, "!!!"),
    "a negative number of records": (three(), {"count": -1, "last_offset_delta": 2}, "!!!"),
    "no offsets": (three(), {"count": 3, "last_offset_delta": -9}, "a"),
    "fewer offsets than records": (three(), {"count": 3, "last_offset_delta": 1}, "ab"),
}  # fmt: skip


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("lie", list(LIES))
def test_whatever_a_batch_claims_its_offsets_are_told_once_each_in_order(codec: str, lie: str) -> None:
    records, header, expected = LIES[lie]
    found = read(batches.batch(records, codec, base_offset=70, **header))
    assert [one.offset for one in found] == [70 + i for i in range(len(expected))]
    assert "".join("!" if one.checksum else (one.value or b"").decode() for one in found) == expected
    assert {one.checksum.reason for one in found if one.checksum} <= {"corrupt"}
    assert all(one.checksum.detail for one in found if one.checksum)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
def test_data_that_cannot_be_unpacked_are_refused_from_where_they_end(codec: str) -> None:
    whole = batches.COMPRESS[CODECS[codec]](b"".join(record(random.Random(i).randbytes(9_000), i) for i in range(100)))
    for packed in (b"nonsense" * 20, whole[: len(whole) // 2], whole[:-1], b""):
        found = read(batches.batch([], codec, count=100, packed=packed))
        assert [one.offset for one in found] == list(range(100)), packed[:9]
        assert found[-1].checksum is not None or packed == whole[:-1]
        good = [one.value for one in found if not one.checksum]
        assert good == [random.Random(i).randbytes(9_000) for i in range(len(good))]


def test_what_compaction_took_away_is_not_refused() -> None:
    records = [record(b"a", 3), record(b"b", 7)]
    assert outcome(read(batches.batch(records, "gzip", last_offset_delta=9))) == [(3, b"a"), (7, b"b")]
    assert read(batches.batch([], "gzip", count=0, last_offset_delta=9, packed=b"")) == []
    damaged = read(batches.batch([record(b"a", 3)], "gzip", count=3, last_offset_delta=9))
    assert outcome(damaged) == [(3, b"a"), (4, "corrupt"), (5, "corrupt")]


def test_a_batch_that_claims_half_the_numbers_ends_soon(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = read(batches.batch(three(), "gzip", count=2**31 - 1, last_offset_delta=2**31 - 2))
    assert len(found) == 3 + ONE_BY_ONE + 1
    assert found[-1].offset == 2**31 - 2
    assert found[-1].checksum is not None
    assert "this stands for all from offset 100003 on" in found[-1].checksum.detail
    assert "the last 2147483644 records cannot be read" in caplog.text


def refused(found: Sequence[Read]) -> int:
    return sum(one.checksum is not None for one in found)


@pytest.mark.parametrize("length", range(RECORD_BYTES))
def test_a_length_that_no_record_has_refuses_all_from_there_on(length: int) -> None:
    body = record(None, 1, key=None)[1:]
    assert len(body) == RECORD_BYTES
    found = read(batches.batch([record(b"a", 0), bytes([2 * length]) + body, record(b"c", 2)], "gzip"))
    assert outcome(found) == [(0, b"a"), (1, "corrupt"), (2, "corrupt")]
    assert {one.checksum.detail for one in found if one.checksum} == {f"a record's length is {length}"}


@pytest.mark.parametrize("content", [bytes(2 * MIB), (b"\x0c" + bytes(6)) * 300_000, (b"\x0c" + b"\xff" * 6) * 300_000])
def test_few_bytes_are_no_million_of_dead_letters(content: bytes) -> None:
    data = batches.batch([content], "zstd", count=2**31 - 1, last_offset_delta=2**31 - 2)
    assert len(data) < 500
    found = read(data)
    assert refused(found) == ONE_BY_ONE + 1
    assert len(found) <= ONE_BY_ONE + 2
    assert found[-1].offset == 2**31 - 2
    assert found[-1].checksum is not None
    assert f"this stands for all from offset {found[-2].offset + 1} on" in found[-1].checksum.detail


@pytest.mark.parametrize("more", [-1, 0, 1, 500])
def test_what_is_refused_for_itself_counts_with_what_is_lost(more: int) -> None:
    single = [record(b"a", i, headers=[(b"", None)])[:-1] + b"\x7e" for i in range(ONE_BY_ONE + more)]
    found = read(batches.batch([*single, record(b"z", len(single))], "zstd", count=len(single) + 9))
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] == len(single) + 8
    assert refused(found) == ONE_BY_ONE + 1
    assert [one.value for one in found if one.checksum is None] == ([b"z"] if more < 0 else [])
    assert outcome(read(batches.batch(single, "zstd")))[:3] == [(0, "corrupt"), (1, "corrupt"), (2, "corrupt")]


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_codec_of_an_unknown_number_refuses_its_records(codec: int) -> None:
    found = read(batches.batch(three(), attributes=codec))
    assert outcome(found) == [(0, "corrupt"), (1, "corrupt"), (2, "corrupt")]
    assert found[0].checksum is not None
    assert f"a codec of the number {codec}" in found[0].checksum.detail


def test_a_codec_that_is_not_installed_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_codecs, "zstd", None)
    with pytest.raises(UnsupportedCodecError, match="Libraries for zstd"):
        read(batches.batch(three(), "zstd"))


def test_where_nothing_is_lost_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert len(read(batches.batch(three(), count=3, last_offset_delta=1))) == 2
    assert len(read(batches.batch(three(), count=2, last_offset_delta=1))) == 2
    assert not caplog.records


def test_times_are_added_as_java_does_so_that_they_stay_numbers_of_64_bits() -> None:
    (found,) = read(batches.batch([record(b"a", 0, time_delta=-(2**63))], "gzip", first_timestamp=-(2**63)))
    assert found.timestamp == 0
    (found,) = read(batches.batch([record(b"a", 0, time_delta=1)], first_timestamp=2**63 - 1))
    assert found.timestamp == -(2**63)


def test_a_headers_name_may_hold_any_bytes_as_brokers_take_them() -> None:
    (found,) = read(batches.batch([record(b"a", 0, headers=[(b"\xff\xfe", b"1"), (b"h", None)])], "gzip"))
    assert found.headers == [("\ufffd\ufffd", b"1"), ("h", None)]


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32), codec=st.sampled_from(list(CODECS)))
def test_a_damaged_batch_ends_with_ascending_offsets_within_its_own(seed: int, codec: str) -> None:
    rng = random.Random(seed)
    content = bytearray(b"".join(record(rng.randbytes(rng.randrange(30)), i) for i in range(rng.randrange(1, 20))))
    for _ in range(rng.randrange(1, 4)):
        content[rng.randrange(len(content))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    count = rng.randrange(1, 25)
    packed = batches.COMPRESS[CODECS[codec]](bytes(content))
    found = read(batches.batch([], codec, count=count, base_offset=50, packed=packed))
    offsets = [one.offset for one in found]
    assert offsets == sorted(set(offsets))
    assert all(50 <= offset < 50 + count for offset in offsets)
    assert len(found) <= count


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
def test_integers_are_read_as_the_client_writes_them(value: int, at: int) -> None:
    written = batches.varint(value)
    assert varint(bytes(at) + written, at) == (value, at + len(written))


def test_reading_takes_time_in_proportion_to_what_there_is() -> None:
    def seconds(data: bytes) -> float:
        began = time.thread_time()
        read(data)
        return time.thread_time() - began

    def content(n: int) -> list[bytes]:
        return [record(b"x" * 50, i, headers=[(b"", None)] * 100) for i in range(n)]

    few, many = (batches.batch(content(n), "gzip") for n in (200, 2_000))
    assert min(seconds(many) for _ in range(5)) < 30 * min(seconds(few) for _ in range(5))


def test_a_client_reads_on_behind_a_batch_it_would_have_stayed_at() -> None:
    """The client's own reading of such a batch, for comparison: it raises, and a new fetch brings the same again."""
    data = batches.batch(three(length=-5), "gzip")
    parsed = Fetcher.PartitionRecords(0, TopicPartition("t", 0), MemoryRecords(data))
    assert len(parsed.take(10)) == 1
    with pytest.raises(Exception, match="Invalid record size"):
        parsed.take(10)


def test_nothing_is_unpacked_for_a_length_that_no_record_can_have() -> None:
    rest = [record(bytes(MIB), i) for i in range(1, 60)]
    found = read(batches.batch([record(b"a", 0, length=2**31), *rest], "zstd"), Limits(max_unpacked_bytes=2 * MIB))
    assert {one.checksum.detail for one in found if one.checksum} == {"a record's length is 2147483648"}
    assert len(found) == 60
