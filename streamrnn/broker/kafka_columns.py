"""A fetched batch as columns, found by one call into the kernels: nothing is made for a single record.

Only batches beyond doubt are read so. Where a kernel finds anything odd, where there are more records or bytes than may
be in memory at once, or where a batch cannot be unpacked as a whole, it is walked over record by record from its
beginning (``kafka_batches``). Both give the same records.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from streamrnn.broker.columns import Integers, Lazy, Records, Strings
from streamrnn.broker.kafka_batches import HEADER_WEIGHT, RECORD_BYTES, Batch, Read, headers_at
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.kafka_unpacking import UnpackingError, pieces
from streamrnn.core.wire import fetched
from streamrnn.core.wire.handle import places_of_records

WHOLE_BYTES = 8 << 20
"""What a batch may unpack to that is unpacked as a whole: as much as a poll takes, so that it is in memory anyway."""

MOST_RECORDS = 1 << 17
"""So many records of a batch are found at once; their places take 64 bytes each."""

FEW = 10
"""Fewer records than these are sooner made one by one than all at once."""

_FAR = 1 << 62  # beyond it, adding what a varint holds could leave 64 bits


class Found(NamedTuple):
    """Records, and what each counts towards the bytes that a poll takes."""

    records: Records
    sizes: Integers

    def rows(self, rows: slice) -> Found:
        """Some of them."""
        return Found(self.records[rows], self.sizes[rows])


class WholeBatch(Batch):
    """A batch that gives all its records in one piece, the ``checksum`` of a record that stands for them, if it can."""

    def __init__(self, batch: Any, limits: Limits, topic: str, partition: int) -> None:
        super().__init__(batch, limits, f"{topic}/{partition}")
        self._topic, self._partition = topic, partition

    def __iter__(self) -> Iterator[Read]:
        found = self.columns()
        if found is None:
            yield from super().__iter__()
        else:
            last, size = int(found.records.offset[-1]), int(found.sizes.sum())
            yield Read(last, -1, self.timestamp_type, None, None, [], size, found)

    def columns(self) -> Found | None:
        """Its records; None where it has to be walked over."""
        count = self.records_count
        if not FEW <= count <= MOST_RECORDS or self.last_offset >= _FAR or abs(self.first_timestamp) >= _FAR:
            return None
        unpacked = self._unpacked()
        if unpacked is None or count > len(unpacked) // (RECORD_BYTES + 1):
            return None
        append_timestamp = self.max_timestamp if self.timestamp_type else None
        read = places_of_records(
            unpacked, count, (self.base_offset, self.last_offset), self.first_timestamp, append_timestamp,
            self.read_whole, HEADER_WEIGHT,
        )  # fmt: skip
        if read is None:
            return None
        at, with_headers = read
        headers_begin = at[fetched.HEADERS]
        records = Records(
            self._topic,
            self._partition,
            at[fetched.OFFSET],
            at[fetched.TIMESTAMP],
            Strings(unpacked, at[fetched.KEY], at[fetched.KEY_END]),
            Strings(unpacked, at[fetched.VALUE], at[fetched.VALUE_END]),
            Lazy(lambda i: headers_at(unpacked, int(headers_begin[i])), range(count)) if with_headers else (),
        )
        return Found(records, at[fetched.SIZE])

    def _unpacked(self) -> bytes | None:
        """All of it, where that is not too much and nothing is wrong with it."""
        if not self.codec:
            return self.data
        limit, held, size = min(WHOLE_BYTES, self.limits.max_unpacked_bytes), [], 0
        try:
            for piece in pieces(self.codec, self.data):
                held.append(piece)
                size += len(piece)
                if size > limit:
                    return None
        except UnpackingError:
            return None
        return b"".join(held)
