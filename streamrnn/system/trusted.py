"""Directories and files that nobody else can have put anything into, which is what code may be loaded from.

From the root of the file system down, every directory belongs to root or to the user, and neither its group nor others
can write to it; one that everybody may write to is passed only if it is sticky (``/tmp``), where what belongs to the
user or to root cannot be exchanged. The way down is held open descriptor by descriptor and led by no link, so that what
was looked at is what is opened.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from streamrnn.system.reading import UnusableFileError, read_descriptor

OWNERS = frozenset({0, os.geteuid()})
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UntrustedError(UnusableFileError):
    """Somebody else could have written it."""

    def __init__(self, path: str | Path, why: str, remedy: str) -> None:
        super().__init__(path, why, f"what belongs to root or the user and nobody else can write to; {remedy}")


def open_directory(directory: Path) -> int:
    """A descriptor of a directory that can be trusted, for the caller to close. Raises OSError, UntrustedError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    path = Path("/")
    parts = directory.resolve(strict=True).parts[1:]
    at = os.open(path, flags)
    try:
        _check(os.fstat(at), path, passing=bool(parts))
        for i, part in enumerate(parts, start=1):
            path = path / part
            inner = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = inner
            _check(os.fstat(at), path, passing=i < len(parts))
    except BaseException:
        os.close(at)
        raise
    return at


def read_trusted(path: Path, at_most: int) -> bytes:
    """The bytes of a file that can be trusted, as everything that leads to it. Raises OSError, UntrustedError."""
    directory = open_directory(path.parent)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFileError(path, "no regular file")
        _check(status, path, passing=False)
        return read_descriptor(descriptor, path, at_most)
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, path: Path, *, passing: bool) -> None:
    if status.st_uid not in OWNERS:
        raise UntrustedError(path, f"of user {status.st_uid}", f"chown {os.geteuid()} {path}")
    sticky = passing and status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS and not sticky:
        raise UntrustedError(
            path, f"writable by others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod go-w {path}"
        )
