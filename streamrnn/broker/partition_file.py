"""One partition as a file of JSON lines: appended under a lock, searched by bisection, read beside its writer.

A line is ``{"offset":7,"timestamp_ms":1357027200000,"key":"N14228","value":"{...}"}``; bytes that are not UTF-8 go in
base64 under ``key_base64`` and ``value_base64``. ``{"offset":9,"gap":true}`` is what a transaction marker is to
Kafka: offsets up to 9 are passed and hold nothing.

Kept: a line counts once its newline is there, so a reader beside a crashing or writing process sees whole records
only, and the next writer cuts a torn last line off. Writers of several processes take turns, one flush at a time;
offsets are given out under that lock. Bisection on the offsets in the lines needs no index to build, keep or distrust:
opening a file of any size costs nothing and a seek reads about twenty lines. Left out: segments, timed retention.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from streamrnn.broker.columns import Records, Strings
from streamrnn.broker.protocol import Headers, TopicPartition
from streamrnn.errors import BrokerError
from streamrnn.system.reading import open_file

READ_BYTES = 1 << 20
"""Bytes read and decoded at once: large enough that the system call vanishes, small enough to seek away from."""

LONGEST_LINE = 1 << 27
"""No record that Kafka takes comes near it; a file without line feeds is given up there."""

OFFSETS_END = 1 << 62
_INT64 = (1 << 63) - 1

_OFFSET = re.compile(rb'\{"offset":([0-9]{1,18})[,}]')


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of a partition file. ``offset`` comes first: bisection reads nothing else."""

    offset: Annotated[int, Meta(ge=0, lt=OFFSETS_END)]
    timestamp_ms: Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)] = -1
    key: str | None = None
    value: str | None = None
    key_base64: str | None = None
    value_base64: str | None = None
    headers: list[tuple[str, str]] | None = None  # values in base64
    gap: bool = False


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Line)


def _to_line(offset: int, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers) -> _Line:
    line = _Line(offset, timestamp_ms)
    if key is not None:
        try:
            line.key = key.decode()
        except UnicodeDecodeError:
            line.key_base64 = b64encode(key).decode()
    if value is not None:
        try:
            line.value = value.decode()
        except UnicodeDecodeError:
            line.value_base64 = b64encode(value).decode()
    if headers:
        line.headers = [(name, b64encode(content).decode()) for name, content in headers]
    return line


def _bytes_of(text: str | None, base64: str | None) -> bytes | None:
    if text is not None:
        return text.encode()
    return None if base64 is None else b64decode(base64)


Entry: TypeAlias = tuple[bytes | None, bytes | None, int, Headers]
"""A record to be written: key, value, timestamp, headers."""


class PartitionFile:
    """One partition's file: append under a lock, find an offset by bisection, read whole lines from a position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending: list[Entry] = []
        self._fd = -1
        self._inode = -1
        self._end: tuple[int, int] = (-1, 0)  # (file size, log end it was computed for)

    def fd(self) -> int:
        """Return the file's descriptor; a file replaced meanwhile is opened anew."""
        try:
            inode = self.path.lstat().st_ino
        except FileNotFoundError:
            raise BrokerError(f"partition file {self.path} does not exist; expected a created topic") from None
        if inode != self._inode:
            self.close()
            try:
                self._fd = open_file(self.path, writable=True)
            except OSError as error:
                raise BrokerError(f"partition file {self.path} cannot be opened ({error})") from error
            self._inode = os.fstat(self._fd).st_ino
            self._end = (-1, 0)
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = self._inode = -1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        while True:
            fd, inode = self.fd(), self._inode
            fcntl.flock(fd, fcntl.LOCK_EX)
            if self.path.lstat().st_ino == inode:  # not replaced while this process waited
                break
        try:
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def write_pending(self, fsync: bool) -> None:
        """Append what is pending: assign offsets, cut a torn last line off, write, release."""
        if not self.pending:
            return
        with self._locked() as fd:
            offset = self._cut_torn_line(fd)
            lines = [_to_line(offset + i, *entry) for i, entry in enumerate(self.pending)]
            self._append(fd, _ENCODER.encode_lines(lines), offset + len(lines), fsync)
        self.pending.clear()  # only now: after a failure they are counted as what did not reach the file

    def _cut_torn_line(self, fd: int) -> int:
        """Leave the file at a line's end with the descriptor there, and return the log end."""
        end = self.log_end()
        size = os.fstat(fd).st_size
        whole = self._line_start(fd, size)
        if whole != size:
            os.ftruncate(fd, whole)
        os.lseek(fd, whole, os.SEEK_SET)
        return end

    def _append(self, fd: int, data: bytes, end: int, fsync: bool) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if fsync:
            os.fsync(fd)
        self._end = (os.lseek(fd, 0, os.SEEK_CUR), end)

    def log_end(self) -> int:
        """Return the offset after the last whole line. Cached while the file keeps its size."""
        fd = self.fd()
        size = os.fstat(fd).st_size
        if self._end[0] != size:
            whole = self._line_start(fd, size)
            found = self._offset_at(fd, self._line_start(fd, whole - 1)) if whole else None
            self._end = (size, 0 if found is None else found + 1)
        return self._end[1]

    def log_start(self) -> int:
        """Return the first record's offset, the log end when there is none."""
        lines, _ = self.read(0, 4096)
        if not lines:
            return 0
        return lines[0].offset + 1 if lines[0].gap else lines[0].offset

    def find(self, offset: int) -> int:
        """Return the byte where the first line with an offset >= ``offset`` starts."""
        fd = self.fd()
        low, high = 0, self._line_start(fd, os.fstat(fd).st_size)
        # Both are always the start of a line: those before low have smaller offsets, the one at high has not.
        while low < high:
            start = self._line_start(fd, (low + high) // 2)
            found = self._offset_at(fd, start)
            if found is None or found >= offset:
                high = start
            else:
                low = self._line_end(fd, start)
        return low

    def read(self, position: int, size: int = READ_BYTES) -> tuple[list[_Line], int]:
        """Return the whole lines from byte ``position`` within about ``size`` bytes, and the byte after them."""
        fd = self.fd()
        while True:
            data = os.pread(fd, size, position)
            cut = data.rfind(b"\n") + 1
            if cut or len(data) < size:
                break
            size *= 2  # one line longer than the buffer
            self._check_length(size)
        try:
            return _DECODER.decode_lines(data[:cut]), position + cut
        except (ValueError, RecursionError, MemoryError) as error:
            raise BrokerError(
                f"{self.path}: a line between bytes {position} and {position + cut} is not a record ({error}); the "
                "file was changed by something else: restore it or remove the topic's directory"
            ) from error

    def _check_length(self, length: int) -> None:
        if length > LONGEST_LINE:
            raise BrokerError(
                f"{self.path}: holds a line of more than {LONGEST_LINE} bytes, which is no record; the file was "
                "changed by something else: restore it or remove the topic's directory"
            )

    def _line_start(self, fd: int, before: int) -> int:
        """Return where the line containing the byte ``before - 1`` starts; a newline ends its line."""
        step = 4096
        while before > 0:
            start = max(0, before - step)
            found = os.pread(fd, before - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            before = start
            step *= 2  # nearly all lines are short; a long one must not cost a read for every 4 KiB
            self._check_length(step)
        return 0

    def _line_end(self, fd: int, start: int) -> int:
        step = 4096
        while True:
            data = os.pread(fd, step, start)
            found = data.find(b"\n")
            if found >= 0:
                return start + found + 1
            if len(data) < step:
                return start + len(data)
            step *= 2
            self._check_length(step)

    @staticmethod
    def _offset_at(fd: int, start: int) -> int | None:
        match = _OFFSET.match(os.pread(fd, 40, start))
        return None if match is None else int(match[1])


class PartitionReader:
    """Where one consumer stands in one partition: the next offset, and what is decoded ahead of it."""

    def __init__(self, tp: TopicPartition, file: PartitionFile, offset: int) -> None:
        self.tp = tp
        self.file = file
        self.offset = offset
        start = file.log_start()
        if not start <= offset <= file.log_end():
            raise BrokerError(
                f"offset {offset} of {tp} is not in the log; expected {start} to {file.log_end()}: restore a "
                "checkpoint the log still reaches, or start afresh"
            )
        self._byte = file.find(offset)
        self._ahead: list[_Line] = []
        self._next = 0

    def next_records(self, max_records: int) -> Records | None:
        """Return up to ``max_records`` next records, None at the end; gaps met on the way are passed."""
        while True:
            if self._next == len(self._ahead):
                self._next = 0
                self._ahead, self._byte = self.file.read(self._byte)
                if not self._ahead:
                    return None
            lines = self._ahead[self._next : self._next + max_records]
            self._next += len(lines)
            self.offset = lines[-1].offset + 1
            if lines := [line for line in lines if not line.gap]:
                try:
                    return _records_of(self.tp, lines)
                except ValueError as error:  # no base64, or half a surrogate pair
                    raise BrokerError(
                        f"{self.file.path}: a record before offset {self.offset} is not one that was written ({error})"
                    ) from error


def _records_of(tp: TopicPartition, lines: Sequence[_Line]) -> Records:
    """The records of some lines, without gaps. Raises ValueError for what no writer writes."""
    n = len(lines)
    return Records(
        *tp,
        np.fromiter([line.offset for line in lines], np.int64, n),
        np.fromiter([line.timestamp_ms for line in lines], np.int64, n),
        _strings([line.key for line in lines], [line.key_base64 for line in lines]),
        _strings([line.value for line in lines], [line.value_base64 for line in lines]),
        [
            () if line.headers is None else tuple((name, b64decode(content)) for name, content in line.headers)
            for line in lines
        ]
        if any(line.headers for line in lines)
        else (),
    )


def _strings(texts: Sequence[str | None], base64: Sequence[str | None]) -> Strings:
    present = [text for text in texts if text is not None]
    if len(present) == len(texts):
        whole = "".join(present)
        if whole.isascii():  # each takes as many bytes as it has characters
            end = np.cumsum(np.fromiter(map(len, present), np.int64, len(present)))
            return Strings(whole.encode(), np.concatenate([[0], end[:-1]]), end)
    return Strings.of(map(_bytes_of, texts, base64))
