"""Record batches as a producer of one's own may write them, honest or not, and how to send one to a broker as it is."""

from __future__ import annotations

import gzip
import io
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence

import lz4.frame
import snappy
import zstandard
from kafka import codec as client_codecs
from kafka.record.util import calc_crc32c, encode_varint

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: gzip.compress,
    2: client_codecs.snappy_encode,
    3: lambda data: lz4.frame.compress(data, block_linked=False),
    4: lambda data: zstandard.ZstdCompressor().compress(data),
}
_NOT_YET = (3, 6)  # of a topic that was made a moment ago: unknown, or without a leader
_AFTER_CRC = struct.Struct(">hiqqqhii")


def varint(value: int) -> bytes:
    written = bytearray()
    encode_varint(value, written.append)
    return bytes(written)


def record(
    value: bytes | None,
    offset_delta: int,
    *,
    key: bytes | None = b"k",
    time_delta: int = 0,
    headers: Sequence[tuple[bytes, bytes | None]] = (),
    length: int | None = None,
) -> bytes:
    """A record as it stands in a batch; ``length`` is what it claims."""
    body = b"\0" + varint(time_delta) + varint(offset_delta) + _bytes(key) + _bytes(value) + varint(len(headers))
    body += b"".join(_bytes(name) + _bytes(content) for name, content in headers)
    return varint(len(body) if length is None else length) + body


def _bytes(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def batch(
    records: Iterable[bytes],
    codec: str = "none",
    *,
    count: int | None = None,
    last_offset_delta: int | None = None,
    base_offset: int = 0,
    first_timestamp: int = 1_700_000_000_000,
    packed: bytes | None = None,
    attributes: int = 0,
) -> bytes:
    """A batch of the format 2 with a right checksum; ``count``, ``last_offset_delta`` and ``packed`` may be lies."""
    records = list(records)
    count = len(records) if count is None else count
    last = count - 1 if last_offset_delta is None else last_offset_delta
    data = COMPRESS[CODECS[codec]](b"".join(records)) if packed is None else packed
    head = (CODECS[codec] | attributes, last, first_timestamp, first_timestamp, -1, -1, -1, count)
    covered = _AFTER_CRC.pack(*head) + data
    behind = struct.pack(">ibI", -1, 2, calc_crc32c(covered)) + covered
    return struct.pack(">qi", base_offset, len(behind)) + behind


def produce(bootstrap: str, topic: str, records: bytes, partition: int = 0) -> int:
    """Send a batch as it is; returns the broker's error code, 0 where it has taken it."""
    deadline = time.monotonic() + 20.0
    while (error := _produce(bootstrap, topic, records, partition)) in _NOT_YET and time.monotonic() < deadline:
        time.sleep(0.1)
    return error


def _produce(bootstrap: str, topic: str, records: bytes, partition: int) -> int:
    host, port = bootstrap.rsplit(":", 1)
    name = topic.encode()
    request = struct.pack(">hhi", 0, 7, 1) + struct.pack(">h4s", 4, b"test")  # Produce, version 7, of the client "test"
    request += struct.pack(">hhi", -1, -1, 30_000)  # no transaction, all replicas
    request += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, partition, len(records)) + records
    with socket.create_connection((host, int(port)), timeout=60.0) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        body = answer.read(size)
    at = 4 + 4 + 2 + len(name) + 4 + 4  # correlation, topics, the name, partitions, the partition
    (error,) = struct.unpack_from(">h", body, at)
    return int(error)


def zeros(size: int, codec: str, *, before: Sequence[bytes] = (), behind: Sequence[bytes] = ()) -> bytes:
    """A batch with a value of ``size`` zeros between good records, made without ever holding it."""
    n = len(before)
    frame = b"\0" + varint(0) + varint(n) + _bytes(b"k") + varint(size)
    length = varint(len(frame) + size + 1)
    first = b"".join(record(value, i) for i, value in enumerate(before)) + length + frame
    last = varint(0) + b"".join(record(value, n + 1 + i) for i, value in enumerate(behind))
    packed = _packed(codec, first, size, last)
    return batch([], codec, count=n + 1 + len(behind), packed=packed)


def _packed(codec: str, first: bytes, size: int, last: bytes) -> bytes:
    chunk = bytes(1 << 20)

    def plain() -> Iterable[bytes]:
        yield first
        for at in range(0, size, len(chunk)):
            yield chunk[: size - at]
        yield last

    if codec == "snappy":
        # Blocks of the xerial framing: here of a megabyte instead of 32 kB, which makes them smaller.
        blocks = map(snappy.compress, plain())
        return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(b)) + b for b in blocks)
    written = io.BytesIO()
    if codec == "gzip":
        with gzip.GzipFile(fileobj=written, mode="wb", compresslevel=9) as packing:
            for data in plain():
                packing.write(data)
    elif codec == "lz4":
        packing = lz4.frame.LZ4FrameCompressor(block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX4MB)
        written.write(packing.begin())
        for data in plain():
            written.write(packing.compress(data))
        written.write(packing.flush())
    else:
        with zstandard.ZstdCompressor().stream_writer(written, closefd=False) as packing:
            for data in plain():
                packing.write(data)
    return written.getvalue()
