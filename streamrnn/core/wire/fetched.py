"""Where the records of a fetched batch lie: one walk over its bytes, which finds places and copies nothing.

Only what is beyond doubt is read. Where anything is odd (a field that does not fit, an offset out of order, more or
fewer records than the batch claims, an integer of ten bytes), the batch counts as not read, and whoever asked has it
walked over by slower and more patient code, which knows what to make of it.
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.core.arrays import I1, I2, K1
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.wire.varints import NOWHERE, past, read_varint

LEAST_BYTES = 6
"""Of a record behind its length: attributes, time, offset, no key, no value, no headers, a byte each."""

OFFSET, TIMESTAMP, KEY, KEY_END, VALUE, VALUE_END, HEADERS, SIZE = range(8)
"""Rows of ``Fetched.found``; a key or value that is missing ends before it begins, ``HEADERS`` is the place where their
number stands, ``SIZE`` what the record takes, with the weight of its headers."""
COLUMNS = 8

IS_READ, WITH_HEADERS = 0, 1
"""Places of ``Fetched.outcome``."""


class Fetched(NamedTuple):
    """A batch, and what is found in it."""

    data: K1  # its records; read, never written
    base_offset: int
    last_offset: int
    first_timestamp: int
    append_timestamp: int  # that of all records where the broker has set it
    is_append_time: int
    longest: int  # bytes of the longest record that is read
    header_weight: int  # added to the size of a record for each of its headers
    found: I2  # (COLUMNS, n), n being the number of records that the batch claims
    outcome: I1  # (2,)


@internal
def read_records(batch: Fetched) -> None:
    """Find the records; ``outcome[IS_READ]`` tells whether all is as it should be, else nothing found counts."""
    stop = len(batch.data)
    at, before = ZERO, batch.base_offset - 1
    batch.outcome[IS_READ] = batch.outcome[WITH_HEADERS] = 0
    for i in range(batch.found.shape[1]):
        length, at = read_varint(batch.data, at, stop)
        if at < 0 or length < LEAST_BYTES or length > batch.longest or length > stop - at:
            return
        at = _record(batch, i, at, at + length)
        offset = batch.found[OFFSET, i]
        if at < 0 or offset <= before or offset > batch.last_offset:
            return
        before = offset
    if at == stop:
        batch.outcome[IS_READ] = 1


@internal
def _record(batch: Fetched, i: int, at: int, stop: int) -> int:
    """Find the fields of the record that lies from ``at`` to ``stop``; the place behind it, or ``NOWHERE``."""
    data, found = batch.data, batch.found
    found[SIZE, i] = stop - at
    delta, at = read_varint(data, at + 1, stop)  # behind the attributes, of which there are none
    found[TIMESTAMP, i] = batch.append_timestamp if batch.is_append_time else batch.first_timestamp + delta
    delta, at = read_varint(data, at, stop)
    found[OFFSET, i] = batch.base_offset + delta
    size, at = read_varint(data, at, stop)
    found[KEY, i], found[KEY_END, i] = at, at + max(size, -1)
    size, at = read_varint(data, past(at, size, stop), stop)
    found[VALUE, i], found[VALUE_END, i] = at, at + max(size, -1)
    at = past(at, size, stop)
    found[HEADERS, i] = at
    count, at = read_varint(data, at, stop)
    if count != 0 and at >= 0:
        batch.outcome[WITH_HEADERS] = 1
        found[SIZE, i] += batch.header_weight * count
        at = _behind_headers(data, at, stop, count)
    return at if at == stop else NOWHERE


@jit
def _behind_headers(data: K1, at: int, stop: int, count: int) -> int:
    if count < 0 or 2 * count > stop - at:
        return NOWHERE
    for _ in range(count):
        size, at = read_varint(data, at, stop)
        if size < 0:  # a header's value may be missing, its name may not
            return NOWHERE
        size, at = read_varint(data, past(at, size, stop), stop)
        at = past(at, size, stop)
    return at
