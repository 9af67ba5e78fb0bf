"""Finds checkpoints where somebody says they are: at a manifest, below a directory, or where a job keeps them.

A checkpoint describes itself, so nothing else has to be known to read it. Manifests are read here; the arrays that they
name are the store's to read and verify.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, read_manifest
from streamrnn.storage.names import PartitionNames, position_in


class Place(NamedTuple):
    """Where checkpoints of one job are: all blobs whose names begin so."""

    blobs: Blobs
    prefix: str

    def __str__(self) -> str:
        return f"{self.blobs}/{self.prefix}"


@dataclass(frozen=True)
class Listed:
    """One checkpoint, known by its manifest: which blob that is, and what it says or why it cannot be read."""

    place: str
    """Where it is, as people are told."""
    blobs: Blobs
    name: str
    manifest: Manifest | None
    reason: str = ""


def find(place: Place | Path) -> list[Listed]:
    """The checkpoints at a place, or at a path: a manifest or any directory above some. By partition, oldest first.

    Raises CheckpointError when there are none.
    """
    if isinstance(place, Place):
        listed = at(place)
    elif place.is_file():
        listed = [_by_hand(place)]
    elif place.is_dir():
        listed = [_by_hand(place / name) for name in _manifests(DirectoryBlobs(place))]
    else:
        raise ConfigError(f"{place}: does not exist; give a manifest or a directory of checkpoints")
    if not listed:
        raise CheckpointError(
            f"{place}: holds no checkpoint; expected manifest-*.json below it. "
            "A job writes its first one when it starts"
        )
    return sorted(listed, key=_order)


def at(place: Place) -> list[Listed]:
    """The checkpoints at a place, in no order; there may be none."""
    return [_listed(f"{place.blobs}/{name}", place.blobs, name) for name in _manifests(place.blobs, place.prefix)]


def newest(listed: list[Listed]) -> list[Listed]:
    """The newest readable checkpoint of each partition: the last one written, of whatever lineage."""
    best: dict[tuple[str, str, int], Listed] = {}
    for one in listed:
        if (manifest := one.manifest) is None:
            continue
        owner = (manifest.job, manifest.topic, manifest.partition)
        known = best.get(owner)
        if known is None or known.manifest is None or _age(manifest) >= _age(known.manifest):
            best[owner] = one
    return [best[owner] for owner in sorted(best)]


def store_of(listed: Listed) -> tuple[CheckpointStore, Manifest]:
    """The store that a checkpoint which was found can be read from, and its manifest.

    Raises CorruptCheckpoint where the manifest cannot be read, or does not stand where it says.
    """
    manifest = listed.manifest
    if manifest is None:
        raise CorruptCheckpoint(f"{listed.place}: {listed.reason}")
    owner = (manifest.job, manifest.topic, manifest.partition)
    name = PartitionNames(*owner).manifest(manifest.progress.lineage, manifest.progress.position)
    if listed.name != name:
        raise CorruptCheckpoint(
            f"{listed.place}: it says that in a directory of checkpoints its place is {name}; was it copied here by "
            "hand?"
        )
    return CheckpointStore(listed.blobs, *owner), manifest


def _manifests(blobs: Blobs, prefix: str = "") -> list[str]:
    return [blob.name for blob in blobs.list(prefix) if position_in(blob.name) is not None]


def _by_hand(path: Path) -> Listed:
    """What is at a path that somebody gave, or below one: as a blob of the directory that checkpoints there are in."""
    alone = _listed(str(path), DirectoryBlobs(path.parent), path.name)
    # <directory>/<job>/<topic>-<partition>/<lineage>/manifest-*.json
    place = path.resolve()
    directory = place.parents[min(3, len(place.parents) - 1)]
    return replace(alone, blobs=DirectoryBlobs(directory), name=place.relative_to(directory).as_posix())


def _listed(place: str, blobs: Blobs, name: str) -> Listed:
    try:
        return Listed(place, blobs, name, read_manifest(blobs, name))
    except CheckpointError as error:
        return Listed(place, blobs, name, None, str(error))


def _order(listed: Listed) -> tuple[str, int, str, int, str]:
    manifest = listed.manifest
    if manifest is None:
        return ("", 0, "", 0, listed.place)
    return (manifest.topic, manifest.partition, *_age(manifest), listed.place)


def _age(manifest: Manifest) -> tuple[str, int]:
    return manifest.created, manifest.progress.position
