"""Writes files for those they are meant for, and so that a reader, or a crash at any moment, sees no half of one.

What was learned, and what it was learned from, are nobody else's business: files of state are made for their owner
alone (``PRIVATE``) unless a mode is given, whatever the process's umask allows, and from the first moment. A file that
a person asked for (a model file, predictions) is theirs, and is made as their umask says (``AS_USUAL``). What exists
already keeps its mode.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, TypeAlias

from streamrnn.system.reading import open_file

Data: TypeAlias = bytes | Sequence[bytes | memoryview]
"""What a file is to hold, in one or in pieces that follow each other, so that nobody has to put large ones together."""

PRIVATE: Final = 0o600
AS_USUAL: Final = None

TEMPORARY = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp", re.DOTALL)
"""What an interrupted ``write_atomically`` leaves behind is named so; nobody reads it, and it may be removed."""


def write_atomically(path: Path, data: Data, *, mode: int | None, durable_name: bool = True) -> None:
    """Write ``data`` under ``path``, replacing what is there; of pieces one behind the other.

    The bytes are flushed to the disk before the rename: the other way round, a crash could leave the new name on an
    empty file. ``durable_name=False`` leaves flushing the directory to the caller, who writes many files and calls
    ``sync_directory`` once.
    """
    replace_file(path, data, mode=mode, durable=True)
    if durable_name:
        sync_directory(path.parent)


def replace_file(path: Path, data: Data, *, mode: int | None, durable: bool) -> None:
    """Write ``data`` beside ``path`` and rename it; ``durable`` makes the bytes survive a power failure."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(create(temporary, mode), "wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(path: Path, mode: int | None) -> int:
    """A descriptor of a new file; raises FileExistsError where anything stands there, a link among it."""
    return _made(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def open_or_create(path: Path, mode: int) -> int:
    """A descriptor to read and write a file that may be there already, and then keeps its mode; never through a link.

    It is opened without waiting, lest a pipe stands there; the caller looks at what it has.
    """
    with contextlib.suppress(FileExistsError):
        return _made(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    return open_file(path, writable=True)


def open_for_writing(path: Path) -> IO[bytes]:
    """What a person wants written where they say: a file, made or emptied, a terminal, or a pipe with a reader.

    A pipe that nobody reads from would be waited at. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO and path.is_fifo():
            raise OSError(errno.ENXIO, "is a pipe that nobody reads from; start its reader first", str(path)) from None
        raise
    os.set_blocking(descriptor, True)  # a slow reader is waited for
    return os.fdopen(descriptor, "wb")


def make_directory(path: Path, mode: int) -> None:
    """Make a directory that files of this mode go to; those who may read a file may look into it. It may be there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        # Whatever the umask says; a group that the directory above hands down is handed on.
        path.chmod(directory_mode(mode) | path.stat().st_mode & stat.S_ISGID)


def make_directories(path: Path, mode: int) -> None:
    """``make_directory`` with all that leads to it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        make_directory(directory, mode)


def directory_mode(mode: int) -> int:
    """The mode of a directory with files of this one.

    >>> oct(directory_mode(0o600)), oct(directory_mode(0o640)), oct(directory_mode(0o664))
    ('0o700', '0o750', '0o775')
    """
    return mode | (mode & 0o444) >> 2


def sync_directory(directory: Path) -> None:
    """Make the directory's entries (files created, renamed, removed) durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _made(path: Path, flags: int, mode: int | None) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666 if mode is None else mode & 0o600)
    if mode is not None:
        os.fchmod(descriptor, mode)  # whatever the umask says
    return descriptor
