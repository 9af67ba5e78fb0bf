"""What is unpacked piece by piece is what the client unpacks at once, and never much at a time."""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
from collections.abc import Callable, Iterator

import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka import codec as client
from kafka.errors import UnsupportedCodecError

from streamrnn.broker.kafka_unpacking import CODEC_BYTES, PIECE_BYTES, UnpackingError, pieces
from tests.support.batches import CODECS, COMPRESS, zeros

NAMES = [name for name in CODECS if name != "none"]
WRITERS: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [
        client.gzip_encode,
        lambda data: gzip.compress(data, 1),
        lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
        lambda data: gzip.compress(data) + bytes(20),
    ],
    "snappy": [client.snappy_encode, snappy.compress, lambda data: client.snappy_encode(data, xerial_blocksize=100)],
    "lz4": [
        client.lz4_encode,
        lz4.frame.compress,
        lambda data: lz4.frame.compress(data, block_size=lz4.frame.BLOCKSIZE_MAX4MB, content_checksum=True),
        lambda data: lz4.frame.compress(data, store_size=False, block_checksum=True),
    ],
    "zstd": [
        client.zstd_encode,
        zstandard.ZstdCompressor(level=12).compress,
        lambda data: zstandard.ZstdCompressor(write_content_size=False, write_checksum=True).compress(data),
        lambda data: client.zstd_encode(data[:100]) + client.zstd_encode(data[100:]),
    ],
}


def unpacked(name: str, data: bytes) -> bytes:
    return b"".join(pieces(CODECS[name], data))


def payloads() -> Iterator[bytes]:
    rng = random.Random(7)
    yield from (b"", b"x", b"\x82SNAPPY\0", bytes(3 * PIECE_BYTES), rng.randbytes(3 * PIECE_BYTES + 1))
    for size in (PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1):
        yield rng.randbytes(size // 4) * 4
    for _ in range(1_000):
        rows = [{"a": rng.random(), "carrier": rng.choice("ABC")} for _ in range(rng.randrange(12))]
        yield json.dumps(rows).encode() + rng.randbytes(rng.randrange(50))


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_out_is_what_the_client_unpacks_whoever_wrote_it(name: str) -> None:
    decode = getattr(client, f"{name}_decode")
    for data in payloads():
        for write in WRITERS[name] if len(data) < PIECE_BYTES else WRITERS[name][:3]:
            packed = write(data)
            assert unpacked(name, packed) == data
            assert not data or bytes(decode(packed)) == data  # the client takes no empty snappy


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=2_000), repeat=st.integers(1, 50))
@example(data=b"", repeat=1)
def test_what_was_packed_comes_out_again(name: str, data: bytes, repeat: int) -> None:
    assert unpacked(name, COMPRESS[CODECS[name]](data * repeat)) == data * repeat


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_is_small_however_much_there_is(name: str) -> None:
    data = zeros(20_000_000, name)[61:]
    sizes = [len(piece) for piece in pieces(CODECS[name], data)]
    assert sum(sizes) > 20_000_000
    assert max(sizes) <= (1 << 20 if name == "snappy" else PIECE_BYTES)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 300), changed=st.integers(0, 3))
def test_damaged_data_is_an_error_of_ours_or_what_the_client_makes_of_it(
    name: str, seed: int, cut: int, changed: int
) -> None:
    rng = random.Random(seed)
    packed = bytearray(COMPRESS[CODECS[name]](json.dumps([rng.random() for _ in range(20)]).encode()))
    for _ in range(changed):
        packed[rng.randrange(len(packed))] = rng.randrange(256)
    data = bytes(packed[: len(packed) - cut])
    try:
        found = unpacked(name, data)
    except UnpackingError:
        return
    assert found == bytes(getattr(client, f"{name}_decode")(data))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
@example(b"\x82SNAPPY\0" + bytes(8) + struct.pack(">i", -1) + b"x")
@example(b"\x82SNAPPY\0" + bytes(8) + b"xx")
def test_nonsense_never_ends_in_another_error(name: str, data: bytes) -> None:
    try:
        unpacked(name, data)
    except UnpackingError as error:
        assert str(error).startswith(f"{name} cannot unpack it: ")


@pytest.mark.parametrize("claimed", [CODEC_BYTES + 1, 2**32 - 1])
@pytest.mark.parametrize(
    "frame", [bytes, lambda block: b"\x82SNAPPY\0" + bytes(8) + struct.pack(">i", len(block)) + block]
)
def test_snappy_makes_no_room_for_a_block_that_claims_too_much(claimed: int, frame: Callable[[bytes], bytes]) -> None:
    length = bytearray()
    while claimed:
        length.append(claimed & 0x7F | (0x80 if claimed > 0x7F else 0))
        claimed >>= 7
    with pytest.raises(UnpackingError, match="expected at most 134217728"):
        unpacked("snappy", frame(bytes(length) + bytes(30)))


def test_zstd_makes_no_room_for_a_larger_window_than_producers_use() -> None:
    def written(window_log: int) -> bytes:
        parameters = zstandard.ZstdCompressionParameters(window_log=window_log, enable_ldm=False)
        packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return packing.compress(os.urandom(1000)) + packing.flush()

    assert len(unpacked("zstd", written(27))) == 1000
    with pytest.raises(UnpackingError, match="too much memory"):
        unpacked("zstd", written(28))


def test_lz4_makes_no_room_for_the_size_that_a_frame_claims() -> None:
    frame = bytearray(lz4.frame.compress(b"x" * 100, store_size=True))
    frame[6:14] = struct.pack("<Q", 1 << 60)  # the header's checksum is wrong then, and is looked at first
    with pytest.raises(UnpackingError):
        unpacked("lz4", bytes(frame))


@pytest.mark.parametrize("codec", [0, 5, 6, 7])
def test_a_number_that_is_no_codecs_is_a_fault_of_the_data(codec: int) -> None:
    with pytest.raises(UnpackingError, match=f"a codec of the number {codec}, which Kafka has given to none"):
        pieces(codec, b"x")


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_codec_that_is_not_installed_is_no_fault_of_the_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, name, None)
    with pytest.raises(UnsupportedCodecError, match=f"Libraries for {name}"):
        pieces(CODECS[name], b"x")
