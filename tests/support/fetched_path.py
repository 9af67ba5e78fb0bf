"""The way from what a broker's answer holds to predictions and dead letters: batches, codecs, records, learner.

``go`` takes an input, which is bytes, makes of it an answer that passes every checksum, reads it as a worker does, and
asserts what must hold whatever it is. Bounds are a thousandth of the real ones here, so that small inputs meet them.
``tests/bench/fuzz_fetched.py`` searches for inputs at which something does not hold; what it found is kept in
``tests/data/fetched.txt``, which ``tests/broker/test_fetched_path.py`` replays.

An input: the job's number; then parts, ``BETWEEN`` them, each a batch or a message of an old format. Of a part: a byte
of marks (three bits: the number of its codec, two: 0 a batch, 1 and 2 a message of the formats 1 and 0, 3 what follows
stands as it is), then of batches ``_HEAD``, of messages a byte of attributes; then the contents, before packing.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition as ClientTopicPartition

from streamrnn.broker import kafka_batches, kafka_columns, kafka_legacy, kafka_unpacking
from streamrnn.broker.kafka_fetcher import _PartitionRecords
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.protocol import Record
from tests.support.batches import COMPRESS, batch, record, varint
from tests.support.byte_path import JOBS, SEEDS, TP, through

BETWEEN = b"\x1e\x1d\x1e"
MOST_CPU_S = 1.0
MOST_MEMORY_BYTES = 100 << 20
"""What the handbook says that a worker needs for its records; here it is to be far more than enough."""

ONE_BY_ONE = 300
_UNPACKED_BYTES = 1 << 20
_MOST_BYTES = 4 << 20  # of contents, before packing
_HEAD = struct.Struct(">BBiiqB")  # how often doubled, attributes, count, last offset, first time, free offsets before
_AHEAD, _FRAME = 12, struct.Struct(">qi")
_POLLS, _MOST_LEARNED = (500, 7), 24


def go(data: bytes) -> list[bytes]:
    """Read an answer in polls of several lengths, and take its records to outputs. Asserts what must always hold."""
    answer = fetched(data)
    began, before = time.process_time(), _memory("VmRSS", reset=True)
    with scaled():
        read = [list(polls(answer, most)) for most in _POLLS]
    assert read[0] == read[1], "what is read depends on how polls cut it"
    records = [each for each in read[0] if not isinstance(each, str)]
    for each in records:
        assert -(1 << 63) <= each.timestamp_ms < 1 << 63
        assert each.refused is None or (each.value is None and len(each.refused.detail) < 1_000)
    offsets = sorted({each.offset: each for each in records}.values(), key=lambda each: each.offset)
    job = JOBS[(data[0] if data else 0) % len(JOBS)]
    written = through(job, offsets[: _MOST_LEARNED // 2] + offsets[_MOST_LEARNED // 2 :][-_MOST_LEARNED // 2 :])
    assert time.process_time() - began < MOST_CPU_S, "it takes longer than a second"
    assert _memory("VmHWM") - before < MOST_MEMORY_BYTES, "it takes more memory than is said"
    with scaled(), mock.patch.object(kafka_columns.WholeBatch, "columns", lambda _: None):
        assert list(polls(answer, _POLLS[0])) == read[0], "batches that are walked over hold something else"
    return written


@contextlib.contextmanager
def scaled() -> Iterator[None]:
    """Bounds that small inputs meet."""
    with contextlib.ExitStack() as patches:
        for module, name, value in (
            (kafka_batches, "READ_WHOLE_BYTES", 4_096),
            (kafka_batches, "HEADERS_BYTES", 1_024),
            (kafka_batches, "KEY_BYTES", 512),
            (kafka_batches, "ONE_BY_ONE", ONE_BY_ONE),
            (kafka_columns, "FEW", 1),
            (kafka_columns, "WHOLE_BYTES", 16 << 10),
            (kafka_legacy, "ONE_BY_ONE", ONE_BY_ONE),
            (kafka_legacy, "MESSAGES_BYTES", 64 << 10),
            (kafka_unpacking, "PIECE_BYTES", 4_096),
        ):
            patches.enter_context(mock.patch.object(module, name, value))
        yield


def polls(answer: bytes, most: int) -> Iterator[Record | str]:
    """The records of an answer, up to ``most`` at a time, and behind them the error that ends it, if one does."""
    limits = Limits(max_record_bytes=2_048, max_unpacked_bytes=_UNPACKED_BYTES)
    fetcher: Any = SimpleNamespace(limits=limits, room=1 << 20, taken=0)
    part = _PartitionRecords(fetcher, 0, ClientTopicPartition(*TP), MemoryRecords(answer))
    try:
        while part:
            fetcher.room = 1 << 20
            taken = part.take(most)
            yield from itertools.chain.from_iterable(taken)
            if not taken:
                return
    except CorruptRecordError as error:  # what stops a worker, and is no fault of a batch's contents
        yield str(error)


def fetched(data: bytes) -> bytes:
    """The answer that bytes stand for, in which every length and checksum of a batch is right; any bytes do."""
    at, answer = 0, bytearray()
    for part in data[1:].split(BETWEEN)[:8]:
        marks, rest = (part[0] if part else 0), part[1:]
        codec, kind = marks & 7, marks >> 3 & 3
        if kind == 0:
            head, rest = rest[: _HEAD.size].ljust(_HEAD.size, b"\0"), rest[_HEAD.size :]
            times, attributes, count, last, first, free = _HEAD.unpack(head)
            at += free
            content = (rest * (1 << (times & 15)))[:_MOST_BYTES]
            packed = COMPRESS[codec](content) if codec in COMPRESS and not marks & 32 else content
            answer += batch(
                [],
                count=count,
                last_offset_delta=last,
                base_offset=at,
                first_timestamp=first,
                packed=packed,
                attributes=codec | attributes & 0x18,
            )
            at = min(at + max(0, last) + 1, 1 << 60)
        elif kind < 3:
            magic, attributes, rest = 2 - kind, rest[:1] or b"\0", rest[1:]
            inner = rest if marks & 32 else mended(rest)
            if codec in COMPRESS and codec:
                answer += message(COMPRESS[codec](inner), at, magic, codec | attributes[0] & 8)
            else:
                answer += inner
            at += 1
        else:
            answer += mended(rest)
    return bytes(answer)


def mended(data: bytes) -> bytes:
    """What lies there, cut into batches and messages whose lengths fit and whose checksums are right."""
    answer, at = bytearray(data), 0
    while len(answer) - at > _AHEAD + 5:
        offset, size = _FRAME.unpack_from(answer, at)
        if not 5 <= size <= len(answer) - at - _AHEAD:
            size = len(answer) - at - _AHEAD
        stop = at + _AHEAD + size
        _FRAME.pack_into(answer, at, offset & (1 << 60) - 1, size)
        if answer[at + 16] == 2 and size >= 49:
            struct.pack_into(">I", answer, at + 17, calc_crc32c(bytes(answer[at + 21 : stop])))
        elif answer[at + 16] < 2:
            struct.pack_into(">I", answer, at + 12, zlib.crc32(answer[at + 16 : stop]))
        at = stop
    return bytes(answer)


def message(value: bytes | None, offset: int, magic: int, attributes: int = 0, key: bytes | None = b"k") -> bytes:
    """A message of an old format."""
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", 1_600_000_000_000) if magic else b"")
    for each in (key, value):
        body += struct.pack(">i", -1 if each is None else len(each)) + (each or b"")
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


def part(
    content: bytes, codec: int, count: int, *, last: int | None = None, doubled: int = 0, packed: bool = False
) -> bytes:
    """A part of an input that is a batch."""
    last = count - 1 if last is None else last
    return bytes([codec | 32 * packed]) + _HEAD.pack(doubled, 0, count, last, 1_600_000_000_000, 0) + content


def seeds() -> list[bytes]:
    """Inputs to begin a search with: each job's records in batches of each codec and in messages, and lies."""
    inputs = []
    for i, given in enumerate(SEEDS):
        of = [record(value, n, key=key) for n, (key, value, _) in enumerate(given.records[:3])]
        job = bytes([JOBS.index(given.job)])
        good = b"".join(of)
        inputs.append(job + BETWEEN.join(part(good, (i + n) % 5, len(of)) for n in range(2)))
        inner = b"".join(message(value, n, 1 + i % 2 - 1, key=key) for n, (key, value, _) in enumerate(given.records))
        inputs.append(job + bytes([i % 5 | (16 if i % 2 == 0 else 8)]) + b"\0" + inner)
    lies = [
        part(b"", 0, 2**31 - 1),
        part(bytes(64), 4, 2**31 - 1, doubled=15),
        part(record(b"x", 0), 1, 9, doubled=12),
        part(record(b"x" * 3_000, 0) + record(b"x" * 6_000, 1) + record(b"y", 2), 3, 3),
        part(b"\x0c" + bytes(6), 2, 5_000, doubled=12),
        part(record(b"x", 0), 6, 3),
        part(b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, 5) + b"\xff\xff\xff\xff\x0f", 2, 3, packed=True),
        part(record(b"x", 0, headers=[(b"h", None), (b"\xff", b"1" * 2_000)]), 4, 1),
        b"\x18" + batch([record(b"{}", 0)], "zstd"),
        part(varint(3 << 20) + bytes(60), 4, 3, doubled=15),
        part(b"nonsense", 1, 3, packed=True) + BETWEEN + part(b"nonsense", 4, 3, packed=True),
        b"\x29\0" + message(b"{}", 0, 1)[:-1] + b"!",
        b"\x2a\0" + message(b"{}", 0, 1, 1) + message(b"{}", 2, 1),
        part(record(b"x", 0) + record(b"y", 1), 1, 1, last=5),
    ]
    return inputs + [bytes([n % len(JOBS)]) + lie for n, lie in enumerate(lies)]


def _memory(name: str, *, reset: bool = False) -> int:
    """A line of what the kernel tells of this process's memory, in bytes; ``reset`` lets its peak begin anew."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"{name} is not told")


def to_line(data: bytes) -> str:
    """One line of the corpus."""
    return base64.b64encode(data).decode()


def from_line(line: str) -> bytes:
    """An input from a line of the corpus."""
    return base64.b64decode(line, validate=True)
