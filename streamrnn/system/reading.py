"""The one way in which the package opens a file to read it.

Only a regular file is read: a pipe would be waited for, a device may have no end, and a link leads wherever its maker
wants. All of that is looked at on the open descriptor, so that nothing can be exchanged between the look and the
reading. How large a file is, is known before the first byte is read, and more than the reader can use is refused.

A file that a person names on the command line or in the job file may stand behind links (``links=True``): who names it
knows where it is, and Kubernetes mounts every file of a ConfigMap or Secret as a link. What the daemon finds by itself
in a directory of its state may not (``read_below``): there nobody but the daemon should have put anything.

Every refusal is an ``OSError``, so that who reads reports it as any other file that cannot be read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO

_FOR_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Not to wait at a pipe that nobody writes to, nor to be taken over by a terminal: both are refused once open."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


_PIECE = 1 << 30
"""What is asked for at once; the system gives at most twice as much."""


class UnusableFileError(OSError):
    """A file is not of a kind or a size that is read; says which file, what was found and what was expected."""

    def __init__(self, path: str | Path, found: str, expected: str = "a regular file") -> None:
        super().__init__(errno.EINVAL, f"is {found}, expected {expected}", str(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def open_file(path: str | Path, *, links: bool = False, writable: bool = False) -> int:
    """A descriptor of a regular file, for the caller to close. Raises OSError.

    ``links`` lets the path lead through links also at its end; what it leads to is looked at all the same.
    """
    flags = _FOR_READING | (os.O_RDWR if writable else 0)
    return _regular(path, path, flags if links else flags | os.O_NOFOLLOW, None)


def open_stream(path: str | Path, *, links: bool = False) -> IO[bytes]:
    """A regular file of any size, for a reader that keeps a bounded piece of it."""
    return os.fdopen(open_file(path, links=links), "rb")


def read(path: str | Path, at_most: int, *, links: bool = False) -> bytes:
    """The bytes of a regular file. Raises OSError, also for one that has more than ``at_most``."""
    return _read(open_file(path, links=links), path, at_most)


def read_below(root: Path, name: str, at_most: int) -> bytes:
    """The bytes of the file ``name`` below ``root``; no part of the name may be a link, ``root`` itself may."""
    *folders, last = name.split("/")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    path = root
    try:
        for folder in folders:
            path = path / folder
            inner = _directory(path, folder, at, f"a directory; only {root} itself may be a link")
            os.close(at)
            at = inner
        path = path / last
        return _read(_regular(path, last, _FOR_READING | os.O_NOFOLLOW, at), path, at_most)
    finally:
        os.close(at)


def read_descriptor(descriptor: int, path: str | Path, at_most: int) -> bytes:
    """The bytes of a regular file that is open; the descriptor stays open."""
    status = os.fstat(descriptor)
    if status.st_size > at_most:
        raise UnusableFileError(path, f"a file of {status.st_size} bytes", f"at most {at_most}")
    # Files that the system makes up (/proc) say that they are empty; they are read as long as the bound allows.
    try:
        data = _read_whole(descriptor, status.st_size) if status.st_size else _read_until(descriptor, at_most + 1)
    except MemoryError:
        raise UnusableFileError(path, f"a file of {status.st_size} bytes", "one that fits into memory") from None
    if len(data) > at_most:
        raise UnusableFileError(path, "a file of unknown size", f"at most {at_most} bytes")
    return data


def _read_whole(descriptor: int, size: int) -> bytes:
    """As many bytes, or fewer where the file has become shorter; they are never in memory twice."""
    if size <= _PIECE:
        return os.read(descriptor, size)
    buffer = io.BytesIO()
    buffer.seek(size - 1)
    buffer.write(b"\0")
    at = 0
    with buffer.getbuffer() as view:
        while at < size and (count := os.readv(descriptor, [view[at : at + _PIECE]])):
            at += count
    buffer.truncate(at)
    return buffer.getvalue()  # which is the buffer itself, as long as nobody else holds it


def _read_until(descriptor: int, most: int) -> bytes:
    pieces: list[bytes] = []
    while most > 0 and (piece := os.read(descriptor, min(most, 1 << 12))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def kind_of(mode: int) -> str:
    """What something in a directory is, in words."""
    return next((name for is_it, name in _KINDS if is_it(mode)), "a regular file")


def _read(descriptor: int, path: str | Path, at_most: int) -> bytes:
    try:
        return read_descriptor(descriptor, path, at_most)
    finally:
        os.close(descriptor)


def _regular(path: str | Path, name: str | Path, flags: int, directory: int | None) -> int:
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        raise _named(error, path, name, directory, "a regular file") from None
    if stat.S_ISREG(mode := os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise UnusableFileError(path, kind_of(mode))


def _directory(path: Path, name: str, directory: int, expected: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as error:
        raise _named(error, path, name, directory, expected) from None


def _named(error: OSError, path: str | Path, name: str | Path, directory: int | None, expected: str) -> OSError:
    """The error with the whole path; and where something else stands there, what it is."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        found = 0
    refused = error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR)
    if found and (refused or (error.errno == errno.ENOTDIR and not stat.S_ISREG(found))):
        return UnusableFileError(path, kind_of(found), expected)
    return type(error)(error.errno, error.strerror, str(path))
