"""Batches read as columns hold what those hold that are walked over, whatever is in them and however polls cut them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from streamrnn.broker import kafka_columns
from streamrnn.broker.columns import Records
from streamrnn.broker.kafka_columns import WholeBatch
from streamrnn.broker.kafka_fetcher import POLL_BYTES, _PartitionRecords
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.protocol import Record
from tests.support.batches import CODECS, batch, record

LOG_APPEND_TIME = 0x08


@pytest.fixture(autouse=True, scope="module")
def of_one_record_too() -> Iterator[None]:
    """Let batches be read as columns however small they are."""
    with mock.patch.object(kafka_columns, "FEW", 1):
        yield


def polls(
    data: bytes, most: int = 5_000, fetched_from: int = 0, limits: Limits | None = None, room: int = POLL_BYTES
) -> Iterator[list[Records]]:
    """What polls return of what was fetched, and that the position is behind the last record of each."""
    fetcher: Any = SimpleNamespace(limits=limits or Limits(), room=room, taken=0)
    part = _PartitionRecords(fetcher, fetched_from, TopicPartition("t", 0), MemoryRecords(data))
    while part:
        fetcher.room, before = room, fetcher.taken
        if taken := part.take(most):
            assert fetcher.taken - before == sum(map(len, taken)) <= most
            if part:  # whoever begins anew there reads what is left, and nothing twice
                assert part.next_fetch_offset > taken[-1].offset[-1]
                if part._left is not None:
                    assert part.next_fetch_offset == taken[-1].offset[-1] + 1
            yield taken


def read(data: bytes, **how: Any) -> list[Record]:
    return [one for taken in polls(data, **how) for records in taken for one in records]


def walked(data: bytes, **how: Any) -> list[Record]:
    """As ``read``, with all batches walked over."""
    with mock.patch.object(WholeBatch, "columns", lambda self: None):
        return read(data, **how)


def whole(data: bytes) -> bool:
    """Whether the first batch is read as columns."""
    return WholeBatch(MemoryRecords(data).next_batch(), Limits(), "t", 0).columns() is not None


small = st.none() | st.binary(max_size=40)
of_headers = st.lists(st.tuples(st.binary(max_size=5), small), max_size=3)
fields = st.tuples(st.integers(-(2**41), 2**41), small, small, of_headers)
of_batch = st.tuples(
    st.sampled_from(list(CODECS)), st.sampled_from([0, LOG_APPEND_TIME]), st.lists(fields, min_size=1, max_size=12)
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(of_batch, min_size=1, max_size=4), st.integers(0, 2**40), st.integers(1, 20), st.integers(0, 30),
    st.sampled_from([100, POLL_BYTES]),
)  # fmt: skip
def test_honest_batches_are_read_as_columns_and_hold_the_same(
    batches: Sequence[Any], base: int, most: int, begin: int, room: int
) -> None:
    data, at = b"", base
    for codec, attributes, of in batches:
        lines = [
            record(value, 2 * i, key=key, time_delta=time, headers=headers)
            for i, (time, key, value, headers) in enumerate(of)
        ]
        data += batch(lines, codec, base_offset=at, last_offset_delta=2 * len(lines), attributes=attributes)
        assert whole(data)
        at += 2 * len(lines) + 3
    found = read(data, most=most, fetched_from=base + begin, room=room)
    assert found == walked(data, most=most, fetched_from=base + begin)
    assert [one.offset for one in found] == sorted({one.offset for one in found if one.offset >= base + begin})


@pytest.mark.parametrize("codec", CODECS)
def test_batches_that_somebody_has_tampered_with_hold_the_same(codec: str) -> None:
    """Also where they are lies from the third record on, whatever is in them."""
    rng, odd = random.Random(codec), 0
    for n in range(400):
        of = [record(rng.randbytes(rng.randrange(30)), i, key=None, headers=[(b"h", b"1")] * (i % 2)) for i in range(6)]
        lines = bytearray(b"".join(of))
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            lines[rng.randrange(len(lines))] = rng.choice((0, 1, 2, 3, 0x7E, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        if n % 5 == 0:
            lines = lines[: rng.randrange(len(lines))]
        data = batch(
            [bytes(lines)], codec, count=rng.choice((6,) * 9 + (5, 7, 0, -1)),
            last_offset_delta=rng.choice((5,) * 9 + (4, 9, -1)), base_offset=n,
            first_timestamp=rng.choice((0, -1, 2**62 - 1, 2**63 - 1, -(2**63), 1_700_000_000_000, 1_800_000_000_000)),
            attributes=rng.choice((0, LOG_APPEND_TIME)),
        ) + batch([record(b"behind", 0)], base_offset=n + 20)  # fmt: skip
        odd += not whole(data)
        most, begin = rng.choice((1, 2, 100)), n + rng.randrange(8)
        assert read(data, most=most, fetched_from=begin) == walked(data, most=most, fetched_from=begin)
    assert 50 < odd < 350


def test_a_poll_takes_what_it_was_asked_for_and_the_next_one_goes_on_in_the_batch() -> None:
    data = batch([record(b"%d" % i, i) for i in range(100)]) + batch([record(b"x", 0)], base_offset=100)
    taken = [[len(part) for part in parts] for parts in polls(data, most=40)]
    assert taken == [[40], [40], [20, 1]]
    assert [one.offset for one in read(data, most=7)] == list(range(101))


def test_parts_of_batches_share_their_bytes() -> None:
    (parts,) = polls(batch([record(b"%d" % i, i) for i in range(100)]))
    (records,) = parts
    assert records.keys.buffer is records.values.buffer is records[10:20].values.buffer


def test_batches_too_large_to_be_unpacked_at_once_are_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch([record(bytes(1_000), i) for i in range(20)], "gzip")
    assert whole(data)
    monkeypatch.setattr(kafka_columns, "WHOLE_BYTES", 20_000)
    assert not whole(data)
    assert read(data) == walked(data)
    monkeypatch.setattr(kafka_columns, "WHOLE_BYTES", 1 << 20)
    monkeypatch.setattr(kafka_columns, "MOST_RECORDS", 19)
    assert not whole(data)


def test_small_batches_are_walked_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_columns, "FEW", 3)
    assert [whole(batch([record(b"a", i) for i in range(n)])) for n in (2, 3)] == [False, True]


def test_headers_are_those_that_were_sent_and_are_read_where_somebody_looks() -> None:
    lines = [record(b"v", i, headers=[(b"n\xff", b"%d" % i), (b"none", None)] if i % 2 else []) for i in range(9)]
    data = batch(lines[:5]) + batch([record(b"plain", 0)], base_offset=5) + batch(lines[:3], base_offset=6)
    with mock.patch.object(kafka_columns, "headers_at", side_effect=AssertionError):
        (parts,) = polls(data)
        records = Records.joined(parts)
        assert len(records) == 9
    expected = [(("n\ufffd", b"%d" % i), ("none", None)) if i % 2 else () for i in (0, 1, 2, 3, 4, 0, 0, 1, 2)]
    assert [one.headers for one in records] == expected
    assert [one.headers for one in records[3:8][1:]] == expected[4:8]
    assert list(itertools.chain(*(part.headers for part in parts)))


def test_a_refused_record_keeps_its_reason_among_parts_that_are_joined() -> None:
    data = batch([record(b"a", 0)]) + batch([record(b"b", 0), record(b"c", 1)[:-1]], base_offset=1)
    (parts,) = polls(data)
    records = Records.joined(parts)
    assert [(one.offset, one.value, one.refused is None) for one in records] == [
        (0, b"a", True), (1, b"b", True), (2, None, False),
    ]  # fmt: skip
