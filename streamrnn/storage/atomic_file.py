"""Writes a file so that a reader, or a crash at any moment, sees the old one or the whole new one."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.tmp", re.DOTALL)
"""What an interrupted ``write_atomically`` leaves behind is named so; nobody reads it, and it may be removed."""


def write_atomically(path: Path, data: bytes, *, durable_name: bool = True) -> None:
    """Write ``data`` under ``path``, replacing what is there.

    The bytes are flushed to the disk before the rename: the other way round, a crash could leave the new name on an
    empty file. ``durable_name=False`` leaves flushing the directory to the caller, who writes many files and calls
    ``sync_directory`` once.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable_name:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the directory's entries (files created, renamed, removed) durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
