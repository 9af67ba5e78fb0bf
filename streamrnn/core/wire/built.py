"""The records of a batch that is to be sent, written one behind the other from columns of keys, values and times.

What a client would do record by record: the bytes are those that it would send. Headers there are none.
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.core.arrays import I1, K1
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.wire.varints import varint_bytes, write_varint

MOST_OVERHEAD = 2 + 3 * 5 + 2 * 10
"""Bytes of a record beside its key and value, at most: two of its own, three lengths, its time and its number."""

RECORDS, SIZE, LATEST = 0, 1, 2
"""Places of ``Built.outcome``: how many records and bytes were written, and the newest timestamp among them."""


class Built(NamedTuple):
    """Records to write: a key or value that is missing ends before it begins."""

    keys: K1  # the buffers are read, never written
    key_start: I1  # (n,)
    key_end: I1
    values: K1
    value_start: I1
    value_end: I1
    timestamp_ms: I1
    first_timestamp: int  # of the batch
    before: int  # records that the batch has by now
    room: int  # bytes for more; one of a batch that has none yet is written all the same
    data: K1  # where they are written; there is room for the longest
    outcome: I1  # (3,)


@internal
def write_records(batch: Built) -> None:
    """Write as many of the records as there is room for."""
    at = ZERO
    outcome, room = batch.outcome, batch.room
    outcome[RECORDS] = 0
    for i in range(len(batch.timestamp_ms)):
        delta, number = batch.timestamp_ms[i] - batch.first_timestamp, batch.before + i
        key, value = batch.key_end[i] - batch.key_start[i], batch.value_end[i] - batch.value_start[i]
        key, value = max(key, -1), max(value, -1)
        # Attributes and the number of headers are a byte each, and zero.
        length = 2 + varint_bytes(delta) + varint_bytes(number) + _bytes_of(key) + _bytes_of(value)
        if at + varint_bytes(length) + length > room and number > 0:
            break
        at = write_varint(batch.data, at, length)
        batch.data[at] = 0
        at = write_varint(batch.data, at + 1, delta)
        at = write_varint(batch.data, at, number)
        at = _write_string(batch.data, at, batch.keys, batch.key_start[i], key)
        at = _write_string(batch.data, at, batch.values, batch.value_start[i], value)
        batch.data[at] = 0
        at += 1
        newest = batch.timestamp_ms[i]
        outcome[LATEST] = newest if i == 0 else max(outcome[LATEST], newest)
        outcome[RECORDS] = i + 1
    outcome[SIZE] = at


@jit
def _bytes_of(size: int) -> int:
    return varint_bytes(size) + max(size, ZERO)


@jit
def _write_string(data: K1, at: int, source: K1, start: int, size: int) -> int:
    at = write_varint(data, at, size)
    for i in range(size):
        data[at + i] = source[start + i]
    return at + max(size, ZERO)
