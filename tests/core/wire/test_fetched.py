"""Records of a batch are found where the patient code finds them, or the batch counts as odd."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Sequence

import numpy as np
import pytest

from streamrnn.core.wire import fetched
from streamrnn.core.wire.handle import FETCHED, places_of_records, run
from tests.support.batches import record

MOST = 1 << 20
FIRST = 1_700_000_000_000


def read(
    data: bytes, count: int, last: int | None = None, appended: int | None = None, longest: int = MOST
) -> list[tuple[int, int, bytes | None, bytes | None]] | None:
    """Offset, timestamp, key and value of each record; the batch begins at offset 7."""
    last = 6 + count if last is None else last
    places = places_of_records(data, count, (7, last), FIRST, appended, longest, 100)
    if places is None:
        return None
    offset, time, key, key_end, value, value_end, _, _ = places[0].tolist()

    def cut(start: int, end: int) -> bytes | None:
        return None if end < start else data[start:end]

    return [(offset[i], time[i], cut(key[i], key_end[i]), cut(value[i], value_end[i])) for i in range(count)]


def body(records: Sequence[bytes]) -> bytes:
    return b"".join(records)


THREE = [record(b"one", 0, key=b"a"), record(None, 1, key=None), record(b"", 2, key=b"", headers=[(b"h", None)])]


def test_keys_and_values_that_are_missing_are_told_from_empty_ones() -> None:
    assert read(body(THREE), 3) == [
        (7, FIRST, b"a", b"one"), (8, FIRST, None, None), (9, FIRST, b"", b""),
    ]  # fmt: skip


def test_a_timestamp_that_the_broker_has_set_is_that_of_all_records() -> None:
    found = read(body(THREE), 3, appended=5)
    assert found is not None and {time for _, time, _, _ in found} == {5}


def test_a_batch_without_records_has_none() -> None:
    assert read(b"", 0) == []


def test_the_size_of_a_record_weighs_its_headers_and_their_place_is_told() -> None:
    data = body(THREE)
    found = places_of_records(data, 3, (7, 9), FIRST, None, MOST, 100)
    assert found is not None and found[1]
    sizes = [len(one) - 1 for one in THREE]
    assert found[0][fetched.SIZE].tolist() == [sizes[0], sizes[1], sizes[2] + 100]
    assert [data[at] for at in found[0][fetched.HEADERS].tolist()] == [0, 0, 2]  # in zigzag
    without = places_of_records(THREE[0], 1, (7, 7), FIRST, None, MOST, 100)
    assert without is not None and not without[1]


@pytest.mark.parametrize(
    ("records", "count"),
    [
        (THREE, 2),  # more than it claims
        (THREE, 4),  # fewer
        ([record(b"a", 1), record(b"b", 1)], 2),  # an offset twice
        ([record(b"a", 1), record(b"b", 0)], 2),  # going back
        ([record(b"a", -1)], 1),  # before the batch
        ([record(b"a", 5)], 1),  # behind it
        ([record(b"a", 0)[:-1]], 1),
        ([record(b"a", 0) + b"\0"], 1),
        ([b"\x0a\0\0\0\0\0"], 1),  # five bytes
        ([b"\x0c\0\0\0\x0a\1\0"], 1),  # a key that goes beyond it
        ([b"\x0c\0\0\0\1\x0a\0"], 1),
        ([b"\x0c\0\0\0\1\1\2"], 1),  # a header that is not there
        ([b"\x0c\0\0\0\1\1\1"], 1),  # a negative number of them
        ([b"\x10\0\0\0\1\1\2\1\1"], 1),  # one whose name is missing
        ([b"\x1a" + b"\0" + b"\xff" * 9 + b"\1\0\1\1\0"], 1),  # an integer of ten bytes
    ],
)
def test_what_is_odd_is_not_read(records: Sequence[bytes], count: int) -> None:
    assert read(body(records), count) is None


def test_a_record_longer_than_any_may_be_is_odd() -> None:
    data = record(b"x" * 100, 0)
    assert read(data, 1, longest=len(data) - 2) is not None
    assert read(data, 1, longest=len(data) - 3) is None


def test_records_that_compaction_has_taken_away_leave_gaps() -> None:
    found = read(body([record(b"a", 2), record(b"b", 9)]), 2, last=20)
    assert found is not None and [one[0] for one in found] == [9, 16]


def test_no_byte_behind_the_end_is_looked_at() -> None:
    """The data lie before a page that nobody may read, so that looking at it would end the process."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    whole = np.frombuffer(memory, np.uint8)
    c = ctypes.CDLL(None, use_errno=True)
    assert c.mprotect(ctypes.c_void_p(whole.ctypes.data + page), ctypes.c_size_t(page), 0) == 0
    rng = random.Random(5)
    for _ in range(300):
        data = bytearray(body(THREE))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        data = data[: rng.randrange(len(data) + 1)]
        guarded = whole[page - len(data) : page]
        guarded[:] = np.frombuffer(data, np.uint8)
        found, outcome = np.empty((fetched.COLUMNS, 3), np.int64), np.zeros(2, np.int64)
        run(FETCHED, fetched.Fetched(guarded, 7, 9, FIRST, 0, 0, MOST, 100, found, outcome))
        assert bool(outcome[fetched.IS_READ]) == (read(bytes(data), 3) is not None)
