"""Messages of the formats before Kafka 0.11 (magic 0 and 1), which old brokers still hand out; 4.0 has none any more.

A compressed message holds others. Their offsets are known once all have been seen, so they are unpacked as a whole, up
to a bound, and beyond it refused as one: which offsets they have is not known then.
"""

from __future__ import annotations

import itertools
import logging
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from streamrnn.broker.kafka_batches import ONE_BY_ONE, Read
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.kafka_unpacking import UnpackingError, pieces
from streamrnn.broker.protocol import Refused

_log = logging.getLogger(__name__)

MESSAGES_BYTES = 64 << 20
"""What a message of messages may unpack to."""

MESSAGES = 300_000
"""How many it may hold: all are gone through, in a second, before the first one is handed out."""

_CODEC, _LOG_APPEND_TIME, _LZ4 = 0x07, 0x08, 3
_FRAME = struct.Struct(">qiIbb")  # offset, size behind it, CRC, magic, attributes
_LONG, _SIZE = struct.Struct(">q"), struct.Struct(">i")
_CRC_AT, _MAGIC_AT = 12, 16


class _Message(NamedTuple):
    offset: int
    magic: int
    attributes: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    intact: bool
    stop: int  # where the next one begins


class MessageSet:
    """One message with what it holds, in the place of the client's batch."""

    is_control_batch = False

    def __init__(self, batch: Any, limits: Limits, name: str) -> None:
        self._batch, self._name = batch, name
        self._limit = min(MESSAGES_BYTES, limits.max_unpacked_bytes)
        self._buffer = bytes(batch._buffer)
        self.magic, self.base_offset = batch.magic, batch.base_offset

    def validate_crc(self) -> bool:
        """Whether it is as it was when the producer made it."""
        return bool(self._batch.validate_crc())

    def __iter__(self) -> Iterator[Read]:
        try:
            outer = next(_messages(self._buffer, self.magic))
            if not outer.attributes & _CODEC:
                yield _read(outer, outer.offset, outer)
                return
            unpacked = self._unpacked(outer)
            last = deque(itertools.islice(_messages(unpacked, self.magic), MESSAGES), maxlen=1)
            if not last:
                raise ValueError("it is empty")
            if last[0].stop < len(unpacked):
                raise ValueError(f"it holds more than {MESSAGES}")
        except (UnpackingError, ValueError, struct.error) as error:
            yield self._refused(str(error))
            return
        # With magic 1 offsets are counted within it, and it has the offset of its last one.
        shift = outer.offset - last[0].offset if self.magic == 1 else 0
        after, refusals, end = -1, 0, last[0].offset + shift
        for message in _messages(unpacked, self.magic):
            if (offset := message.offset + shift) > after:
                after = offset
                read = _read(message, offset, outer)
                refusals += read.checksum is not None
                if refusals > ONE_BY_ONE:
                    yield self._refused(f"{ONE_BY_ONE} of those are refused before", max(offset, end))
                    return
                yield read

    def _unpacked(self, outer: _Message) -> bytes:
        codec = outer.attributes & _CODEC
        if codec == _LZ4 and self.magic == 0:  # written with a checksum that no library takes
            raise ValueError("it is compressed with lz4 as before Kafka 0.10, whose checksum no library takes")
        held, size = [], 0
        for piece in pieces(codec, outer.value or b""):
            held.append(piece)
            size += len(piece)
            if size > self._limit:
                raise ValueError(f"it unpacks to more than {self._limit} bytes")
        return b"".join(held)

    def _refused(self, why: str, offset: int | None = None) -> Read:
        offset = self.base_offset if offset is None else offset
        detail = f"a message that holds others, this and those before it, cannot be read: {why}"
        _log.warning("%s: offset %d goes to the dead letters: %s", self._name, offset, detail)
        return Read(offset, -1, 0, None, None, [], 0, Refused("corrupt", detail))


def _read(message: _Message, offset: int, outer: _Message) -> Read:
    kind = int(bool(outer.attributes & _LOG_APPEND_TIME)) if outer.magic == 1 else 0
    timestamp = outer.timestamp if kind else message.timestamp
    size = len(message.key or b"") + len(message.value or b"")
    why = "its checksum is wrong" if not message.intact else ""
    if message is not outer and message.attributes & _CODEC:
        why = "it is compressed, inside of one that is"
    if why:
        refused = Refused("corrupt", f"the message cannot be read: {why}")
        return Read(offset, timestamp, kind, None, None, [], 0, refused)
    return Read(offset, timestamp, kind, message.key, message.value, [], size)


def _messages(data: bytes, magic: int) -> Iterator[_Message]:
    """The messages that lie behind one another in ``data``. Raises ValueError where one is not whole."""
    at = 0
    while at < len(data):
        if len(data) - at < _FRAME.size:
            raise ValueError("a message is cut off")
        offset, size, crc, found, attributes = _FRAME.unpack_from(data, at)
        stop = at + _CRC_AT + size
        if not at + _FRAME.size <= stop <= len(data) or found != magic:
            raise ValueError(f"a message of {size} bytes and format {found}")
        intact = zlib.crc32(memoryview(data)[at + _MAGIC_AT : stop]) == crc
        at += _FRAME.size
        timestamp = -1
        if magic == 1:
            (timestamp,) = _LONG.unpack_from(data, at)
            at += _LONG.size
        key, at = _bytes(data, at, stop)
        value, at = _bytes(data, at, stop)
        if at != stop:
            raise ValueError("a message is longer than what it holds")
        yield _Message(offset, found, attributes, timestamp, key, value, intact, at)


def _bytes(data: bytes, at: int, stop: int) -> tuple[bytes | None, int]:
    (size,) = _SIZE.unpack_from(data, at)
    at += _SIZE.size
    if size == -1:
        return None, at
    if not 0 <= size <= stop - at:
        raise ValueError(f"{size} bytes in {stop - at}")
    return data[at : at + size], at + size
