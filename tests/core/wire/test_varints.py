"""Integers of as many bytes as they need: what is written is read again, and nothing behind the end is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.broker.kafka_batches import varint
from streamrnn.core.wire.varints import NOWHERE, past, read_varint, varint_bytes, write_varint

LIMIT = 1 << 62
INTEGERS = st.integers(-LIMIT, LIMIT - 1) | st.integers(-300, 300)


@given(INTEGERS, st.integers(0, 3))
def test_an_integer_is_read_as_it_was_written_and_takes_the_bytes_that_were_said(value: int, at: int) -> None:
    data = np.full(16, 0xFF, np.uint8)
    behind = write_varint(data, at, value)
    assert behind == at + varint_bytes(value)
    assert tuple(map(int, read_varint(data, at, len(data)))) == (value, behind)
    assert varint(data.tobytes(), at) == (value, behind)


@given(st.binary(max_size=12), st.integers(0, 12))
def test_bytes_are_read_as_the_patient_code_reads_them_or_not_at_all(data: bytes, stop: int) -> None:
    stop = min(stop, len(data))
    value, behind = map(int, read_varint(np.frombuffer(data, np.uint8), 0, stop))
    if behind == NOWHERE:
        assert all(byte > 127 for byte in data[: min(stop, 9)])
    else:
        assert (value, behind) == varint(data[:stop], 0)


@pytest.mark.parametrize(
    ("at", "size", "expected"), [(3, 4, 7), (3, 5, NOWHERE), (3, -1, 3), (3, 0, 3), (NOWHERE, 0, NOWHERE), (7, 0, 7)]
)
def test_a_place_behind_the_end_is_nowhere_and_stays_it(at: int, size: int, expected: int) -> None:
    assert past(at, size, 7) == expected
    assert read_varint(np.zeros(7, np.uint8), NOWHERE, 7) == (0, NOWHERE)
