"""The seam below checkpoints: named blobs of bytes, in a directory today, in an object store some day.

``Blobs`` asks for what S3, Google's and Azure's stores all give. There is no rename, no fsync and no directory in it:
a put is atomic and durable, and a slash in a name is a letter like any other. How that is made true is the
implementation's matter; for ``DirectoryBlobs`` it is done with temporary files, fsync and rename.

Left out: ranges and streams. A blob is at most some megabytes and is read and written whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from streamrnn.errors import BlobError, BlobNotFound
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import UnusableFileError, read_below
from streamrnn.system.writing import PRIVATE, TEMPORARY, Data, make_directory, sync_directory, write_atomically

_TOLD = 5  # errors of one attempt that are told in full


class Blob(NamedTuple):
    """What a listing says of one blob."""

    name: str
    size: int
    modified: float
    """When it was last put, in seconds since 1970, by the clock of whoever keeps it."""


class Blobs(Protocol):
    """A place for blobs that several processes may share. ``str()`` of it says to people where it is.

    A name is one or more components with a slash between them; none is empty or begins with a dot. Every verb raises
    BlobError for what is not such a name, and when the place refuses or cannot be reached.
    """

    def list(self, prefix: str = "") -> Sequence[Blob]:
        """All blobs whose names begin with ``prefix``, in the order of their names; those just put are among them.

        Where a listing comes in pages, all of them are read.
        """

    def get(self, name: str, at_most: int | None = None) -> bytes:
        """The bytes of a blob. Raises BlobNotFound when there is none of that name.

        Raises BlobError for one of more bytes than ``at_most``, before any of them is in memory.
        """

    def put(self, blobs: Iterable[tuple[str, Data]]) -> None:
        """Store each pair of name and data, replacing what is there. All are durable when this returns.

        No reader ever sees half a blob, whenever this process dies. A blob that holds these bytes already is as new as
        if they had been sent again: ``modified`` says so. The pairs are asked for one at a time, so that they need not
        all be in memory; they come together so that a store may send several at once, a directory flush once. A pair's
        data may change as soon as the next one is asked for. Several threads may put at once.
        """

    def delete(self, names: Iterable[str], *, put_before: float | None = None) -> None:
        """Remove these blobs for good; names of which there is no blob are passed over.

        With ``put_before`` a blob that was put again since that moment stays. It is looked at just before it is
        removed, since it may be part of a checkpoint that another process is writing. One that cannot be removed does
        not keep the others: what is wrong is told at the end.
        """

    def sweep(self, prefix: str, *, put_before: float) -> None:
        """Remove what puts below ``prefix`` left behind that were interrupted before that moment, if they leave any.

        Temporary files in a directory; in an object store the parts of uploads, which are billed and never listed.
        A verb, since no other one comes by them: they have no names to be deleted by.
        """


class DirectoryBlobs:
    """Blobs as files below ``directory``, which is made when it is first written to.

    Files are made with ``mode``, directories so that those who may read the files find them. What is there keeps its
    mode. Below the directory nothing is a link: whatever else stands in a blob's place is not read.
    """

    def __init__(self, directory: str | Path, mode: int = PRIVATE) -> None:
        self._root = Path(directory)
        self._mode = mode

    def __str__(self) -> str:
        return str(self._root)

    def list(self, prefix: str = "") -> Sequence[Blob]:
        """See ``Blobs``. What stands in a blob's place without being a file (a directory with nothing in it) is listed
        too: whoever reads it learns that something is wrong."""
        found = []
        for name, entry in self._below(prefix):
            with _as_blob_errors(f"{entry.path} cannot be listed"), suppress(FileNotFoundError):  # removed since
                if not entry.name.startswith("."):
                    status = entry.stat(follow_symlinks=False)
                    found.append(Blob(name, status.st_size, status.st_mtime))
        return sorted(found)

    def get(self, name: str, at_most: int | None = None) -> bytes:
        """See ``Blobs``."""
        path = self._path(name)
        try:
            return read_below(self._root, name, AS_MUCH_AS_FITS if at_most is None else at_most)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BlobNotFound(f"{path} does not exist") from error
        except OSError as error:
            raise BlobError(f"{path} cannot be read: {error}{_remedy(error)}") from error

    def put(self, blobs: Iterable[tuple[str, Data]]) -> None:
        """See ``Blobs``. Bytes are flushed before their file gets its name, the names at the end."""
        changed: set[Path] = set()  # flushed once at the end, and not once for each blob
        for name, data in blobs:
            path = self._path(name)
            with _as_blob_errors(f"{path} cannot be written"):
                if path.parent not in changed:
                    self._make_directories(path.parent)
                    changed.add(path.parent)
                if not self._refreshed(name, data):
                    write_atomically(path, data, mode=self._mode, durable_name=False)
            del data  # before the next one is asked for
        _sync(changed)

    def delete(self, names: Iterable[str], *, put_before: float | None = None) -> None:
        """See ``Blobs``."""
        changed: set[Path] = set()
        with told_together() as attempt:
            for name in names:
                path = self._path(name)
                if attempt(_removed, path, put_before):
                    changed.add(path.parent)
            attempt(_sync, changed)

    def sweep(self, prefix: str, *, put_before: float) -> None:
        """See ``Blobs``. An interrupted write leaves a temporary file."""
        with told_together() as attempt:
            for _, entry in self._below(prefix):
                if TEMPORARY.fullmatch(entry.name):
                    attempt(_removed, Path(entry.path), put_before)

    def _path(self, name: str) -> Path:
        """Where a blob is; a name can lead neither out of the directory nor to a temporary file."""
        if any(part == "" or part.startswith(".") for part in name.split("/")):
            raise BlobError(f"a blob's name has components that are not empty and begin with no dot, got {name!r}")
        return self._root / name

    def _make_directories(self, folder: Path) -> None:
        """Create ``folder`` and its parents, each entry durable; none below the root may be a link."""
        missing = []
        for at in (folder, *folder.parents):
            if self._root in at.parents and at.is_symlink():
                raise UnusableFileError(at, "a link", f"a directory; only {self._root} itself may be a link")
            if at.is_symlink() and not at.exists():
                raise UnusableFileError(at, f"a link to {at.readlink()}, where nothing is", "a directory; make it")
            if at.is_dir():
                if at == self._root or self._root not in at.parents:
                    break
            else:
                missing.append(at)
        for directory in reversed(missing):
            make_directory(directory, self._mode)
            sync_directory(directory.parent)

    def _refreshed(self, name: str, data: Data) -> bool:
        """Whether the file holds ``data`` already; it is then young again. All is compared, since bits can rot."""
        pieces = [data] if isinstance(data, bytes) else data
        try:
            if not _equal(read_below(self._root, name, sum(map(len, pieces))), pieces):
                return False
            os.utime(self._root / name, follow_symlinks=False)
        except (FileNotFoundError, UnusableFileError):
            return False
        return True

    def _below(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Everything whose name begins with ``prefix``, with its name: files, and directories that hold nothing."""
        folder = prefix[: prefix.rfind("/") + 1]
        with _as_blob_errors(f"{self._root / folder} cannot be listed"):
            try:
                entries = [*os.scandir(self._root / folder)]
            except (FileNotFoundError, NotADirectoryError):
                return
            for entry in entries:
                name = folder + entry.name
                if not name.startswith(prefix):
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    yield name, entry
                elif not entry.name.startswith("."):
                    yield from [*self._below(f"{name}/")] or [(name, entry)]


def _equal(there: bytes, pieces: Iterable[bytes | memoryview]) -> bool:
    at, view = 0, memoryview(there)
    for piece in pieces:
        if view[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return at == len(there)


@contextmanager
def told_together() -> Iterator[Callable[..., Any]]:
    """Gives a way to call what may raise BlobError without stopping there; all that was raised is raised at the end."""
    failed: list[str] = []

    def attempt(do: Callable[..., Any], *args: Any, **named: Any) -> Any:
        try:
            return do(*args, **named)
        except BlobError as error:
            failed.append(str(error))
            return None

    yield attempt
    if failed:
        more = f"; and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
        raise BlobError("; ".join(failed[:_TOLD]) + more)


@contextmanager
def _as_blob_errors(what: str) -> Iterator[None]:
    """The operating system's errors as those of ``Blobs``."""
    try:
        yield
    except OSError as error:
        raise BlobError(f"{what}: {error}{_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    """Another user has most likely written here before, or does so still."""
    if not isinstance(error, PermissionError):
        return ""
    return (
        f" (this runs as user {os.geteuid()}: give it the directory's files with chown -R, or, where several users "
        'share it, write them with checkpoint.mode "0660" below a directory of a common group, chmod g+s)'
    )


def _removed(path: Path, put_before: float | None) -> bool:
    """Remove a file unless it is younger than that; whether it was there and old enough."""
    with _as_blob_errors(f"{path} cannot be removed"):
        try:
            if put_before is not None and path.stat().st_mtime >= put_before:
                return False
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False  # another worker removes here too
    return True


def _sync(directories: Iterable[Path]) -> None:
    for directory in sorted(directories):
        with _as_blob_errors(f"{directory} cannot be flushed"):
            sync_directory(directory)
