"""The records of a fetched batch, one by one, in bounded memory, whatever the batch holds.

The client unpacks a batch as a whole and raises for the first thing in it that is not as it should be; it would then
read the same batch again for ever. Here a batch is walked over while it is unpacked. A record that is far too long is
passed over without ever being in memory as a whole, one that cannot be read by its length; both are refused, at their
offsets, and those behind them are read. Where nothing behind a place can be read, all offsets from there on are
refused, so that the partition goes on behind the batch.

Kept: offsets ascend and stay within the batch's; integers are those of 64 bits that Java makes of them; a batch's
outcome depends on its bytes and the limits alone. Brokers look into the batches they are sent, but not all makes of
them do, and none looks at everything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.kafka_unpacking import UnpackingError, pieces
from streamrnn.broker.protocol import Refused

_log = logging.getLogger(__name__)

MIB = 1 << 20
READ_WHOLE_BYTES = 16 * MIB
"""A record up to this length is read whole in any case, so that its dead letter shows its beginning."""

HEADERS_BYTES = MIB
"""What a record may have besides key and value: as much as brokers take by default in all."""

KEY_BYTES = 64 << 10
"""So much of a key is kept with a record that is refused for its length."""

ONE_BY_ONE = 100_000
"""So many records of a batch are refused each for itself; a batch may claim two thousand million."""

RECORD_BYTES = 6
"""The least that is behind a record's length: attributes, time, offset, no key, no value, no headers, a byte each."""

HEADER_WEIGHT = 100
"""Bytes that a header takes in memory besides its own."""

_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL = 0x07, 0x08, 0x10
_HEADER_BYTES = 61
_VARINT_BYTES = 10
_MAX_INT32 = (1 << 31) - 1


class Read:
    """A record, with the names the client has for what is in it.

    ``checksum`` is where the client lets something of ours through: why the record is ``Refused``, if it is.
    """

    __slots__ = ("checksum", "headers", "key", "offset", "size_in_bytes", "timestamp", "timestamp_type", "value")

    def __init__(
        self,
        offset: int,
        timestamp: int,
        timestamp_type: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        size_in_bytes: int,
        checksum: Any = None,
    ) -> None:
        self.offset, self.timestamp, self.timestamp_type = offset, timestamp, timestamp_type
        self.key, self.value, self.headers = key, value, headers
        self.size_in_bytes, self.checksum = size_in_bytes, checksum

    def validate_crc(self) -> bool:
        """Its batch's covers it."""
        return True


class _Lost(Exception):  # noqa: N818 - no error of its own: it ends a walk
    """Nothing behind this place can be read."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class _Unpacked:
    """What a batch unpacks to, of which ``window`` is in memory and is read from ``at`` on."""

    __slots__ = ("_limit", "_pieces", "at", "total", "window")

    def __init__(self, codec: int, data: bytes, limit: int) -> None:
        self._limit = limit if codec else len(data)
        try:
            self._pieces = pieces(codec, data) if codec and data else iter(())
        except UnpackingError as error:
            raise _Lost("corrupt", str(error)) from error
        self.window, self.at = (b"", 0) if codec else (data, 0)
        self.total = len(self.window)

    @property
    def behind(self) -> int:
        """How many bytes have been read."""
        return self.total - len(self.window) + self.at

    def hold(self, wanted: int) -> bool:
        """Have so many unread bytes in the window, or all there are; whether there are so many."""
        held = [self.window[self.at :]] if self.at < len(self.window) else []
        size = len(self.window) - self.at
        while size < wanted and (piece := self._next()):
            held.append(piece)
            size += len(piece)
        self.window, self.at = b"".join(held), 0
        return size >= wanted

    def skip(self, count: int) -> None:
        """Read over so many bytes."""
        while count > len(self.window) - self.at:
            count -= len(self.window) - self.at
            self.window, self.at = b"", 0
            self.window = self._next()
            if not self.window:
                raise _Lost("corrupt", "the batch ends inside a record")
        self.at += count

    def varint(self) -> int:
        """Read an integer."""
        if len(self.window) - self.at < _VARINT_BYTES:
            self.hold(_VARINT_BYTES)
        try:
            value, self.at = varint(self.window, self.at)
        except IndexError:
            raise _Lost("corrupt", "the batch ends inside a record") from None
        except ValueError as error:
            raise _Lost("corrupt", f"a record's frame cannot be read: {error}") from None
        return value

    def _next(self) -> bytes:
        piece = b""
        if self.total <= self._limit:
            try:
                piece = next(self._pieces, b"")
            except UnpackingError as error:
                raise _Lost("corrupt", str(error)) from error
            self.total += len(piece)
        if self.total > self._limit:
            raise _Lost("too_large", f"its batch unpacks to more than {self._limit} bytes (input.max_unpacked_bytes)")
        return piece


class Batch:
    """A batch in the client's place of its own: what the client asks of one, and the records."""

    magic = 2
    is_control_batch = False

    def __init__(self, batch: Any, limits: Limits, name: str) -> None:
        self._batch, self.limits, self._name = batch, limits, name
        self.codec, self.records_count = batch.attributes & _CODEC, batch.records_count
        self.read_whole = max(READ_WHOLE_BYTES, limits.max_record_bytes + HEADERS_BYTES)
        self.base_offset, self.leader_epoch, self.producer_id = batch.base_offset, batch.leader_epoch, batch.producer_id
        self.last_offset = self.base_offset + max(0, batch.last_offset_delta)
        self.next_offset = self.last_offset + 1
        self.is_transactional = bool(batch.attributes & _TRANSACTIONAL)
        self.first_timestamp, self.max_timestamp = batch.first_timestamp, batch.max_timestamp
        self.timestamp_type = int(bool(batch.attributes & _LOG_APPEND_TIME))
        self._refusals = 0  # of this walk, up to now

    @property
    def data(self) -> bytes:
        """What lies behind its header, packed as it came."""
        return bytes(memoryview(self._batch._buffer)[_HEADER_BYTES:])

    def has_producer_id(self) -> bool:
        """Whether it was written by an idempotent producer."""
        return bool(self._batch.has_producer_id())

    def validate_crc(self) -> bool:
        """Whether it is as it was when the producer made it."""
        return bool(self._batch.validate_crc())

    def __iter__(self) -> Iterator[Read]:
        data = self.data
        after, left = self.base_offset - 1, self.records_count
        self._refusals = 0
        try:
            unpacked = _Unpacked(self.codec, data, self.limits.max_unpacked_bytes)
            while left > 0 and after < self.last_offset:
                record = self._read(unpacked, after)
                after = record.offset
                left -= 1
                yield record
                if self._refusals >= ONE_BY_ONE:
                    raise _Lost("corrupt", f"of its batch {ONE_BY_ONE} records are refused before it")
            if data and unpacked.hold(1):
                left = self.last_offset - after
                raise _Lost("corrupt", f"the batch holds more than the {self.records_count} records it claims")
        except _Lost as lost:
            yield from self._refuse_rest(after, left if left > 0 else self.last_offset - after, lost)

    def _read(self, unpacked: _Unpacked, after: int) -> Read:
        """The next record, whose offset must lie behind ``after``."""
        length = unpacked.varint()
        if not RECORD_BYTES <= length <= _MAX_INT32:
            raise _Lost("corrupt", f"a record's length is {length}")
        if length > self.read_whole:
            return self._pass_over(unpacked, length, after)
        if length > len(unpacked.window) - unpacked.at and not unpacked.hold(length):
            raise _Lost("corrupt", "the batch ends inside a record")
        at = unpacked.at
        unpacked.at = stop = at + length
        try:
            delta, offset_delta, key, value, headers = _fields(unpacked.window, at, stop)
        except (IndexError, ValueError) as error:
            return self._refused(after + 1, "corrupt", f"a record of {length} bytes cannot be read: {error}")
        offset = self.base_offset + offset_delta
        if not after < offset <= self.last_offset:
            return self._refused(after + 1, "corrupt", f"the record claims the offset {offset}")
        return Read(
            offset,
            self.max_timestamp if self.timestamp_type else _int64(self.first_timestamp + delta),
            self.timestamp_type,
            key,
            value,
            headers,
            length + HEADER_WEIGHT * len(headers),
        )

    def _pass_over(self, unpacked: _Unpacked, length: int, after: int) -> Read:
        """A record of more bytes than may be in memory: where it lies and how long it is, and why it is refused."""
        begin = unpacked.behind
        unpacked.skip(1)  # attributes, of which there are none
        delta, offset_delta, key_bytes = unpacked.varint(), unpacked.varint(), unpacked.varint()
        key = None
        if key_bytes > length:
            raise _Lost("corrupt", f"a key of {key_bytes} bytes in a record of {length}")
        if 0 <= key_bytes <= KEY_BYTES and unpacked.hold(key_bytes):
            key = unpacked.window[:key_bytes]
        unpacked.skip(max(0, key_bytes))
        value_bytes = unpacked.varint()
        if value_bytes > (rest := length - (unpacked.behind - begin)):
            raise _Lost("corrupt", f"a value of {value_bytes} bytes in {rest}")
        try:
            unpacked.skip(rest)
        except _Lost as lost:
            if lost.reason != "too_large":
                raise
            # The next record is lost. Of this one all is known.
        limit, size = self.limits.max_record_bytes, max(0, key_bytes) + max(0, value_bytes)
        if size > limit:
            detail = f"found {size} bytes of key and value, expected at most {limit} (max_record_bytes)"
        else:
            detail = f"found a record of {length} bytes, most of them in headers, expected at most {HEADERS_BYTES}"
        offset = self.base_offset + offset_delta
        timestamp = self.max_timestamp if self.timestamp_type else _int64(self.first_timestamp + delta)
        if not after < offset <= self.last_offset:
            offset = after + 1
        sizes = (None if key_bytes < 0 else key_bytes, None if value_bytes < 0 else value_bytes)
        return self._refused(offset, "too_large", detail, timestamp, key, sizes)

    def _refused(
        self,
        offset: int,
        reason: str,
        detail: str,
        timestamp: int | None = None,
        key: bytes | None = None,
        sizes: tuple[int | None, int | None] = (None, None),
    ) -> Read:
        if timestamp is None:
            timestamp = self.max_timestamp if self.timestamp_type else -1
        self._refusals += 1
        refused = Refused(reason, detail, *sizes)
        return Read(offset, timestamp, self.timestamp_type, key, None, [], KEY_BYTES, refused)

    def _refuse_rest(self, after: int, left: int, lost: _Lost) -> Iterator[Read]:
        """Every offset from which nothing can be read, up to the batch's last one.

        Where compaction has taken records away, it is not known which: then as many as are left.
        """
        left = min(left, self.last_offset - after)
        if left <= 0:
            return  # what is there is at no offset
        _log.warning(
            "%s: of the batch with the offsets %d to %d the last %d records cannot be read and go to the dead letters: "
            "%s", self._name, self.base_offset, self.last_offset, left, lost.detail,
        )  # fmt: skip
        behind = after + 1 + min(left, max(0, ONE_BY_ONE - self._refusals))
        for offset in range(after + 1, behind):
            yield self._refused(offset, lost.reason, lost.detail)
        if after + left >= behind:
            detail = f"{lost.detail}; this stands for all from offset {behind} on"
            yield self._refused(after + left, lost.reason, detail)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The integer that is written in zigzag and groups of seven bits at a place, and the place behind it.

    Raises ValueError where it has more bytes than 64 bits take, IndexError where the data end.
    """
    byte = data[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= 0xFFFFFFFFFFFFFFFF
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("an integer has more than ten bytes")


def _fields(
    data: bytes, at: int, stop: int
) -> tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Differences of time and offset, key, value and headers of the record that lies from ``at`` to ``stop``.

    Raises ValueError, or IndexError, unless it takes exactly that place.
    """
    delta, at = varint(data, at + 1)  # behind the attributes, of which there are none
    offset_delta, at = varint(data, at)
    size, at = varint(data, at)
    key = value = None
    if size >= 0:
        key = data[at : at + size]
        at += size
    size, at = varint(data, at)
    if size >= 0:
        value = data[at : at + size]
        at += size
    count, at = varint(data, at)
    headers: list[tuple[str, bytes | None]] = []
    if count:
        headers, at = _headers(data, at, stop, count)
    if at != stop:
        raise ValueError(f"its fields take {at - stop:+d} bytes more than it has")
    return delta, offset_delta, key, value, headers


def headers_at(data: bytes, at: int) -> tuple[Any, ...]:
    """The headers of a record; at the place their number stands. Raises as ``_fields`` does."""
    count, at = varint(data, at)
    return tuple(_headers(data, at, len(data), count)[0])


def _headers(data: bytes, at: int, stop: int, count: int) -> tuple[list[tuple[str, bytes | None]], int]:
    if not 0 <= 2 * count <= stop - at:
        raise ValueError(f"{count} headers in {stop - at} bytes")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, at = varint(data, at)
        if not 0 <= size <= stop - at:
            raise ValueError(f"a header's name of {size} bytes in {stop - at}")
        name = data[at : at + size].decode("utf-8", "replace")  # as Java does; brokers take any bytes
        size, at = varint(data, at + size)
        headers.append((name, data[at : at + size] if size >= 0 else None))
        at += max(0, size)
        if at > stop:
            raise ValueError("a header's value goes beyond it")
    return headers, at


def _int64(value: int) -> int:
    """The sum of two longs as brokers and Java's client make it."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
