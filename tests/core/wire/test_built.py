"""Records of a batch are written as the client itself writes them, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2
from kafka.record.default_records import DefaultRecordBatchBuilder

from streamrnn.broker.columns import Strings
from streamrnn.core.wire.handle import Column, hashes_of, records_of

HEAD = DefaultRecordBatchBuilder.HEADER_STRUCT.size
ROOM = 700
STRINGS = st.none() | st.binary(max_size=12) | st.sampled_from([b"", b"k" * 63, b"k" * 64, b"v" * 300, b"v" * 9000])
TIMES = st.sampled_from([0, -1, 1_700_000_000_000, 253_402_300_799_999, -(1 << 50)]) | st.integers(0, 1 << 45)
RECORDS = st.lists(st.tuples(TIMES, STRINGS, STRINGS), min_size=1, max_size=40)
Rows = list[tuple[int, bytes | None, bytes | None]]


def column(strings: list[bytes | None]) -> Column:
    found = Strings.of(strings)
    return found.buffer, found.start, found.end


def written(rows: Rows, first: int, before: int, room: int) -> tuple[bytes, int, int]:
    times = np.array([time for time, _, _ in rows], np.int64)
    keys, values = column([key for _, key, _ in rows]), column([value for _, _, value in rows])
    data, count, latest = records_of(keys, values, times, first, before, room)
    return data.tobytes(), count, latest


@given(RECORDS, st.integers(1, 40))
def test_a_batch_is_written_as_the_client_writes_it_whole_or_in_two_parts(rows: Rows, cut: int) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, HEAD + ROOM)
    taken = 0
    while taken < len(rows) and builder.append(taken, *rows[taken], []) is not None:
        taken += 1
    first = rows[0][0]
    data, count, latest = written(rows[:cut], first, 0, ROOM)
    if count == cut and cut < len(rows):  # what comes later goes behind it
        more, further, later = written(rows[cut:], first, cut, ROOM - len(data))
        data, count, latest = data + more, count + further, max(latest, later) if further else latest
    assert count == taken
    assert data == bytes(builder._buffer[HEAD:])
    assert latest == builder._max_timestamp


def test_numbers_of_records_and_times_go_up_to_their_limits() -> None:
    first, before = 1_700_000_000_000, 1 << 30
    for time in (first + (1 << 40), first - (1 << 40), -(1 << 61)):
        builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)
        builder._first_timestamp = builder._max_timestamp = first
        builder.append(before, time, b"k", None, [])
        assert written([(time, b"k", None)], first, before, ROOM)[0] == bytes(builder._buffer[HEAD:])


@pytest.mark.parametrize("room", [-5, 0, 8])
def test_a_batch_without_room_takes_nothing_more_and_an_empty_one_its_first_record(room: int) -> None:
    rows: Rows = [(5, b"key", b"a longer value"), (6, b"key", b"v")]
    assert written(rows, 5, 3, room)[:2] == (b"", 0)
    assert written(rows, 5, 0, room)[1] == 1


@given(st.lists(st.binary(max_size=40), min_size=1))
def test_keys_are_hashed_as_the_client_hashes_them(keys: list[bytes]) -> None:
    assert hashes_of(column(list(keys))).tolist() == [murmur2(key) & 0x7FFFFFFF for key in keys]
