"""Compressed records, unpacked piece by piece: however much a batch unpacks to, little of it is in memory at a time.

The client unpacks a batch at once, and 300 kB may unpack to gigabytes. What comes out here is what comes out there,
byte for byte. A piece is small except with snappy, whose blocks can only be unpacked whole, and say how long they are.

Whatever is wrong with the data becomes an ``UnpackingError``, a number that is no codec's too. A codec that is not
installed is no such thing: it is asked for before, so that its absence refuses no records.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kafka import codec as client
from kafka.errors import UnsupportedCodecError

PIECE_BYTES = 256 << 10
"""What is unpacked at once: enough to be fast, little enough to be nothing."""

CODEC_BYTES = 128 << 20
"""What a codec may need to unpack data at all: the window of zstd (its own default, and the largest that Kafka's
producers use, at level 22) and a block of snappy (a whole batch for some producers; it shrinks to a 22nd at most, so
that this is six times the batch that brokers take by default)."""

_XERIAL_MAGIC = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES = 16


class UnpackingError(Exception):
    """The data are not what the codec makes, or take more memory to unpack than they may."""


def pieces(codec: int, data: bytes) -> Iterator[bytes]:
    """What ``data`` unpack to, in order; ``codec`` is Kafka's number of it.

    Raises UnsupportedCodecError at once for a codec that is not installed, UnpackingError for a number that Kafka has
    given to none, or while reading.
    """
    if codec not in CODECS:
        raise UnpackingError(f"it is compressed with a codec of the number {codec}, which Kafka has given to none")
    name, unpack = CODECS[codec]
    if name != "gzip" and getattr(client, name) is None:
        raise UnsupportedCodecError(f"Libraries for {name} compression codec not found")
    return _translated(name, unpack(data))


def _translated(name: str, unpacked: Iterator[bytes]) -> Iterator[bytes]:
    errors: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, RuntimeError, ValueError, struct.error)
    if name == "snappy":
        errors += (client.snappy.UncompressError,)
    elif name == "zstd":
        errors += (client.zstd.ZstdError,)
    try:
        yield from unpacked
    except errors as error:
        raise UnpackingError(f"{name} cannot unpack it: {str(error) or type(error).__name__}") from error


def _gzip(data: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
        while piece := unpacked.read(PIECE_BYTES):
            yield piece


def _lz4(data: bytes) -> Iterator[bytes]:
    # One frame, as Kafka writes it. What the decompressor has not used yet it copies, so it is given little at a time.
    unpacking: Any = client.lz4.LZ4FrameDecompressor()
    packed = memoryview(data)
    for at in range(0, len(packed), PIECE_BYTES):
        given: Any = packed[at : at + PIECE_BYTES]
        while not unpacking.eof and (len(given) or not unpacking.needs_input):
            if piece := unpacking.decompress(given, max_length=PIECE_BYTES):
                yield piece
            given = b""
    if not unpacking.eof:
        raise EOFError("the frame is incomplete")


def _zstd(data: bytes) -> Iterator[bytes]:
    unpacking: Any = client.zstd.ZstdDecompressor(max_window_size=CODEC_BYTES)
    with unpacking.stream_reader(data, read_across_frames=True) as unpacked:
        while piece := unpacked.read(PIECE_BYTES):
            yield piece


def _snappy(data: bytes) -> Iterator[bytes]:
    if len(data) < _XERIAL_HEADER_BYTES or not data.startswith(_XERIAL_MAGIC):
        yield _snappy_block(data)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        at += 4
        if not 0 <= size <= len(data) - at:
            raise ValueError(f"a block of {size} bytes in {len(data) - at}")
        yield _snappy_block(data[at : at + size])
        at += size


def _snappy_block(block: bytes) -> bytes:
    size = shift = 0
    for byte in block[:5]:  # its length in groups of seven bits; the library makes room for it, true or not
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    if size > CODEC_BYTES:
        raise ValueError(f"a block of {size} bytes unpacked, expected at most {CODEC_BYTES}")
    unpacked: bytes = client.snappy.decompress(block)
    return unpacked


CODECS: Mapping[int, tuple[str, Callable[[bytes], Iterator[bytes]]]] = {
    1: ("gzip", _gzip),
    2: ("snappy", _snappy),
    3: ("lz4", _lz4),
    4: ("zstd", _zstd),
}
"""By the number that a batch has for it."""
