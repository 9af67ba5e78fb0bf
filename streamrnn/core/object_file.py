"""The file that holds the kernels' machine code: what it is called, where it is looked for, what is in it.

One file per family of kernels, precision and CPU target: those that walk over single steps, those for whole sequences,
which nobody has to compile who does not use them, and those for the bytes of records, whatever the precision. Its name
is a digest of what produced it: the sources, and where it was compiled on this machine also the versions that compiled
it. So a changed source, a new Numba or another CPU target finds no file rather than a wrong one, and no time stamp,
path or owner matters. A file that came with the package counts whatever Numba is installed, since nobody needs Numba to
load it.

It is looked for in the package, then in ``$STREAMRNN_CACHE_DIR`` or, where that is not set, in the user's cache
directory. Reading it needs no right to write. Code is loaded, so a file in a cache counts only if nobody but root and
the user can have written it or exchanged a directory above it (``trusted``), and the bytes that were checked are the
bytes that are loaded. Files that a change has left behind are not removed: they are small, and another version may
still run.

Format: one line with the SHA-256 of all that follows, one line of JSON with versions, then a relocatable object.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from streamrnn.core.jit import cpu_features, cpu_target
from streamrnn.core.kinds import Family
from streamrnn.errors import StreamrnnError
from streamrnn.system import reading, trusted, writing
from streamrnn.system.documents import parsed_json

SHIPPED = Path(__file__).parent / "objects"
WITHOUT_CODE = frozenset({"__init__.py", "compiled.py", "layout.py", "object_file.py"})
"""Sources that decide nothing about the code."""
_OF_WIRE = ("arrays", "declarations", "emit", "entries", "jit", "kinds", "numba_tables", "tables")
SOURCES: Mapping[Family, tuple[str, ...]] = {
    "steps": ("*.py", "exact/*.py"),
    "sequences": ("*.py", "exact/*.py", "sequences/*.py"),
    "wire": ("wire/*.py", *(f"{name}.py" for name in _OF_WIRE)),
}
"""Those that decide about a family's."""

MOST_BYTES = 1 << 24
"""They have a fifth of a million."""
_SHARED = 0o644

_log = logging.getLogger(__name__)


class DamagedError(ValueError):
    """The file is not what was written."""


class ObjectFile(NamedTuple):
    """Machine code, and the versions that made it."""

    data: bytes
    versions: dict[str, str]

    @property
    def digest(self) -> str:
        """Twelve hex digits over the machine code alone."""
        return hashlib.sha256(self.data).hexdigest()[:12]


def pack(content: ObjectFile) -> bytes:
    """The bytes of a file."""
    header = json.dumps(content.versions, sort_keys=True).encode()
    body = header + b"\n" + content.data
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def read(path: Path) -> ObjectFile:
    """Raises DamagedError where the bytes do not have the digest they begin with, OSError where it is not trusted."""
    if path.parent == SHIPPED:  # as much to be trusted as the sources beside it
        content = reading.read(path, MOST_BYTES, links=True)
    else:
        content = trusted.read_trusted(path, MOST_BYTES)
    digest, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not the one it begins with")
    header, _, data = body.partition(b"\n")
    return ObjectFile(data, _versions(header, path))


def _versions(header: bytes, path: Path) -> dict[str, str]:
    with contextlib.suppress(ValueError):
        versions = parsed_json(header)
        if isinstance(versions, dict) and all(isinstance(version, str) for version in versions.values()):
            return versions
    raise DamagedError(f"{path} is damaged: its second line names no versions")


def write(path: Path, content: ObjectFile) -> None:
    """Write the file so that a reader, or a crash at any moment, sees none or the whole of it."""
    writing.replace_file(path, pack(content), mode=mode(), durable=True)


def mode() -> int:
    """Of files in the cache: for all to read where the directory is named, as an image's is; else for the user."""
    return _SHARED if os.environ.get("STREAMRNN_CACHE_DIR") else writing.PRIVATE


@functools.cache
def source_digest(family: Family = "steps") -> str:
    """Twelve hex digits over the sources of ``core`` that decide the generated code."""
    found = [path for pattern in SOURCES[family] for path in sorted(Path(__file__).parent.glob(pattern))]
    sources = [path for path in found if path.name not in WITHOUT_CODE]
    if not sources:
        raise StreamrnnError(f"{Path(__file__).parent} holds no sources, whose digest tells which kernels are theirs")
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + reading.read(path, MOST_BYTES, links=True) + b"\0")
    return digest.hexdigest()[:12]


def name(dtype: str, *versions: str, family: Family = "steps") -> str:
    """What the file is called that these versions make; none for one that comes with the package."""
    machine = (platform.system(), platform.machine(), cpu_target(), cpu_features())
    decisive = "\0".join((source_digest(family), *machine, *versions))
    of = "" if family == "steps" else f"{family}-"
    return f"{of}{dtype}-{cpu_target()}-{hashlib.sha256(decisive.encode()).hexdigest()[:12]}.kernels"


def cached_name(dtype: str, family: Family = "steps") -> str:
    """What the file is called that this machine would compile."""
    versions = (platform.python_version(), metadata.version("numba"), metadata.version("llvmlite"))
    return name(dtype, *versions, family=family)


def find(dtype: str, family: Family = "steps") -> Path | None:
    """Where the kernels of one family and precision are; None where they have not been compiled."""
    if os.access(shipped := SHIPPED / name(dtype, family=family), os.R_OK):
        return shipped
    with contextlib.suppress(metadata.PackageNotFoundError):
        cached = cached_name(dtype, family)
        for directory in cache_directories():
            if os.access(directory / cached, os.R_OK) and is_trusted(directory):
                return directory / cached
    return None


def cache_directories() -> Iterator[Path]:
    """Where compiled kernels are kept, the first choice first; they need not exist."""
    if (given := os.environ.get("STREAMRNN_CACHE_DIR")) or (given := os.environ.get("XDG_CACHE_HOME")):
        yield Path(given) / "streamrnn"
    else:
        with contextlib.suppress(RuntimeError):  # no HOME, and no entry among the users
            yield Path("~/.cache").expanduser() / "streamrnn"


def is_trusted(directory: Path) -> bool:
    """Whether code may be loaded from this directory, which exists; where not, why is logged."""
    try:
        os.close(trusted.open_directory(directory))
    except OSError as error:
        _log.warning("kernels in %s are not used: %s", directory, error)
        return False
    return True


def writable_directory() -> Path | None:
    """The first of the cache directories that a file can be written to, and read from again."""
    for directory in cache_directories():
        with contextlib.suppress(OSError):
            writing.make_directories(directory, mode())
            if os.access(directory, os.W_OK | os.X_OK) and is_trusted(directory):
                return directory
    return None
