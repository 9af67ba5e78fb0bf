"""Blobs in memory: what the contract asks for and nothing else, so that whoever passes with them needs no directory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from streamrnn.errors import BlobError, BlobNotFound
from streamrnn.storage.blobs import Blob
from streamrnn.system.writing import Data


class MemoryBlobs:
    """See ``streamrnn.storage.blobs.Blobs``. Like an object store it knows no directories and leaves nothing behind."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, float]] = {}

    def __str__(self) -> str:
        return "memory:"

    def list(self, prefix: str = "") -> Sequence[Blob]:
        kept = sorted(self._kept.items())
        return [Blob(name, len(data), modified) for name, (data, modified) in kept if name.startswith(prefix)]

    def get(self, name: str, at_most: int | None = None) -> bytes:
        if _checked(name) not in self._kept:
            raise BlobNotFound(f"{self}/{name} does not exist")
        data = self._kept[name][0]
        if at_most is not None and len(data) > at_most:
            raise BlobError(f"{self}/{name} has {len(data)} bytes, expected at most {at_most}")
        return data

    def put(self, blobs: Iterable[tuple[str, Data]]) -> None:
        for name, data in blobs:
            self._kept[_checked(name)] = b"".join([data] if isinstance(data, bytes) else data), time.time()

    def delete(self, names: Iterable[str], *, put_before: float | None = None) -> None:
        for name in names:
            modified = self._kept.get(_checked(name), (b"", 0.0))[1]
            if put_before is None or modified < put_before:
                self._kept.pop(name, None)

    def sweep(self, prefix: str, *, put_before: float) -> None:
        pass

    def age(self, seconds: float) -> None:
        """Let that much time pass for what is here."""
        self._kept = {name: (data, modified - seconds) for name, (data, modified) in self._kept.items()}


def _checked(name: str) -> str:
    if any(part == "" or part.startswith(".") for part in name.split("/")):
        raise BlobError(f"not the name of a blob: {name!r}")
    return name
