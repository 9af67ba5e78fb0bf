"""Bytes of batches, ready for the kernels: the one function that Python calls, and what it is called with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TypeAlias

import numpy as np

from streamrnn.core.arrays import I1, K1, Array
from streamrnn.core.compiled import kernels
from streamrnn.core.jit import JIT_DISABLED, jit
from streamrnn.core.kinds import BYTES
from streamrnn.core.tables import address_of, reader, table_of
from streamrnn.core.wire.built import LATEST, MOST_OVERHEAD, RECORDS, SIZE, Built, write_records
from streamrnn.core.wire.fetched import COLUMNS, IS_READ, WITH_HEADERS, Fetched, read_records
from streamrnn.core.wire.hashed import Hashed, hash_keys

FETCHED, BUILT, HASHED = 0, 1, 2
"""Codes of the kernels."""

Column: TypeAlias = tuple[bytes, Array, Array]
"""Strings in one buffer: the buffer, and where each begins and ends, int64 (n,); one that is missing ends before it
begins."""

fetched_at, built_at, hashed_at = reader(Fetched), reader(Built), reader(Hashed)


@jit
def process(sample: K1, kernel: I1, arguments: I1) -> None:
    """Run the kernel with the code ``kernel[0]`` on what a table names; sample (0,) is of bytes."""
    if kernel[0] == FETCHED:
        read_records(fetched_at(sample, arguments, 0))
    elif kernel[0] == BUILT:
        write_records(built_at(sample, arguments, 0))
    elif kernel[0] == HASHED:
        hash_keys(hashed_at(sample, arguments, 0))


_SAMPLE = np.zeros(0, np.uint8)
_CODES = np.arange(3, dtype=np.int64)


def run(kernel: int, arguments: tuple[object, ...]) -> None:
    """Run a kernel on a named tuple of its arguments."""
    table = table_of(arguments)
    if JIT_DISABLED:
        process(_SAMPLE, _CODES[kernel:], table)
        return
    entry = kernels(BYTES, family="wire").process
    if status := entry(address_of(_CODES[kernel:]), 1, address_of(table), len(table)):
        raise RuntimeError(f"a kernel failed with status {status}")


def in_place(data: bytes) -> Array:
    """``data`` where they lie, for a kernel that reads them. Whoever calls one keeps them alive meanwhile."""
    if not data:
        return np.zeros(0, np.uint8)
    address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    memory = {"data": (address, False), "shape": (len(data),), "typestr": "|u1", "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=memory))


def places_of_records(
    data: bytes,
    count: int,
    offsets: tuple[int, int],
    first_timestamp: int,
    append_timestamp: int | None,
    longest: int,
    header_weight: int,
) -> tuple[Array, bool] | None:
    """Where the records of an unpacked batch lie, and whether any has headers; None where anything about it is odd.

    Parameters
    ----------
    data
        What lies behind the batch's header.
    count
        How many records the batch claims.
    offsets
        Its first and last.
    append_timestamp
        The timestamp of all its records, where the broker has set it.
    longest, header_weight
        See ``Fetched``.

    Returns
    -------
    int64 [COLUMNS, count]
        ``fetched.OFFSET`` and so on are its rows.
    """
    found, outcome = np.empty((COLUMNS, count), np.int64), np.zeros(2, np.int64)
    is_append_time = append_timestamp is not None
    batch = Fetched(
        in_place(data), *offsets, first_timestamp, append_timestamp or 0, int(is_append_time), longest, header_weight,
        found, outcome,
    )  # fmt: skip
    run(FETCHED, batch)
    return (found, bool(outcome[WITH_HEADERS])) if outcome[IS_READ] else None


def records_of(
    keys: Column,
    values: Column,
    timestamp_ms: Array,
    first_timestamp: int,
    before: int,
    room: int,
) -> tuple[Array, int, int]:
    """Write records for a batch that has ``before`` of them by now, as many as there is room for.

    Parameters
    ----------
    timestamp_ms : int64 [n]
        n is at least 1.
    first_timestamp
        That of the batch.
    room
        Bytes for more records. The first of a batch is written all the same.

    Returns
    -------
    uint8 [:], int, int
        The bytes, how many records they are, and the newest timestamp among these.
    """
    sizes = _sizes(keys) + _sizes(values) + MOST_OVERHEAD
    data = np.empty(min(int(sizes.sum()), max(room, int(sizes[0]))), np.uint8)
    outcome = np.zeros(3, np.int64)
    batch = Built(
        in_place(keys[0]), keys[1], keys[2], in_place(values[0]), values[1], values[2], timestamp_ms, first_timestamp,
        before, room, data, outcome,
    )  # fmt: skip
    run(BUILT, batch)
    return data[: outcome[SIZE]], int(outcome[RECORDS]), int(outcome[LATEST])


def hashes_of(keys: Column) -> Array:
    """By which each of these keys, none of which is missing, chooses its partition: int64 (n,) of 31 bits."""
    buffer, start, end = keys
    hashes = np.empty(len(start), np.int64)
    run(HASHED, Hashed(in_place(buffer), start, end, hashes))
    return hashes


def _sizes(of: Column) -> Array:
    sizes: Array = np.maximum(of[2] - of[1], 0)
    return sizes
