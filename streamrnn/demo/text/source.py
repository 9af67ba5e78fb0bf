"""What is read: a file, or the sources of Python's standard library, which every machine has.

The library's ``.py`` files are read in the order of their paths; tests, and packages that were installed beside it, are
left out. A file is cut into chunks, of which each will be a record. Where it is UTF-8 no chunk ends within a character,
so that a record's text is its bytes; anything else is read byte by byte.
"""

from __future__ import annotations

import codecs
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from streamrnn.errors import ConfigError
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import open_stream, read

CHUNK: Final = 1_000
"""Bytes of a record. The milestones of the demo are multiples of it."""
LEFT_OUT: Final = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
_REMEDY: Final = "name a file, or none for the sources of Python's standard library"


@dataclass(frozen=True)
class Source:
    """The bytes that are learned: ``data``, the first of ``available`` that there are. ``is_utf8``: all are text."""

    name: str
    data: bytes
    available: int
    is_utf8: bool

    @cached_property
    def ends(self) -> list[int]:
        """Where each chunk ends."""
        ends = list(range(CHUNK, len(self.data), CHUNK))
        if self.is_utf8:
            ends = [self._start_of_character(end) for end in ends]
        return [*ends, len(self.data)]

    def texts(self) -> Iterator[str]:
        """The chunks as text; of what is not UTF-8 each byte is the character of its number."""
        start = 0
        for end in self.ends:
            yield self.data[start:end].decode("utf-8" if self.is_utf8 else "latin-1")
            start = end

    def _start_of_character(self, at: int) -> int:
        while self.data[at] & 0xC0 == 0x80:
            at -= 1
        return at


def load_source(file: Path | None, limit: int) -> Source:
    """The first ``limit`` bytes of a file, or of the standard library's sources. Raises ConfigError."""
    name, data, available = _standard_library(limit) if file is None else _read(file, limit)
    if not data:
        raise ConfigError(f"FILE: {file} is empty, expected something to learn from; {_REMEDY}")
    whole = len(data) == available
    text = _utf8_length(data, whole)
    if text is not None:
        data = data[:text]
    return Source(name, data, available, text is not None)


def _read(file: Path, limit: int) -> tuple[str, bytes, int]:
    try:
        with open_stream(file, links=True) as stream:
            return str(file), stream.read(limit), os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise ConfigError(f"FILE: {file} cannot be read: {error.strerror}; {_REMEDY}") from error


def _standard_library(limit: int) -> tuple[str, bytes, int]:
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    paths = [path for path in paths if not LEFT_OUT & set(PurePosixPath(path).parts[:-1])]
    if not paths:
        raise ConfigError(f"FILE: Python's standard library has no sources in {root}; name a file to learn from")
    data, available = bytearray(), 0
    for path in paths:
        available += (root / path).stat().st_size
        if len(data) < limit:
            data += read(root / path, AS_MUCH_AS_FITS, links=True)
    return f"the sources of Python {platform.python_version()}'s standard library", bytes(data[:limit]), available


def _utf8_length(data: bytes, whole: bool) -> int | None:
    """How many of the bytes are whole characters; None where they are no UTF-8. The limit may cut the last one."""
    try:
        return len(codecs.getincrementaldecoder("utf-8")().decode(data, whole).encode()) or None
    except UnicodeDecodeError:
        return None
