"""What a checkpoint holds, read without a broker, a configuration file or a compiled kernel.

A checkpoint describes itself: its manifest carries the learner's specification, from which names and shapes of all
tensors follow. Everything is verified against its digests on the way, as a recovery would.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from streamrnn.core.layout import Layout
from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.job.config import Config
from streamrnn.job.opening import open_blobs
from streamrnn.learner.lowering import layout_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, read_manifest
from streamrnn.storage.names import PartitionNames, folder_of, position_in
from streamrnn.storage.snapshot import Checkpoint


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


def of_config(config: Config) -> Place:
    """Where the checkpoints of a configuration's job are."""
    return Place(open_blobs(config), f"{folder_of(config.job)}/")


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


@dataclass(frozen=True)
class Inspection:
    """A checkpoint, verified, with what its specification says of the arrays."""

    place: str
    checkpoint: Checkpoint
    layout: Layout

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return self.checkpoint.manifest

    @property
    def spec(self) -> LearnerSpec:
        """The learner's specification."""
        return self.manifest.spec

    def tensors(self) -> list[dict[str, Any]]:
        """Name, shape, norm and largest magnitude of each tensor of the network, under PyTorch's names."""
        weights = self.layout.get_weights(self.checkpoint.model["theta"])
        return [
            {
                "name": name,
                "shape": list(tensor.shape),
                "norm": float(np.sqrt(np.square(tensor, dtype=np.float64).sum())),
                "largest": float(np.abs(tensor).max()),
            }
            for name, tensor in weights.items()
        ]

    def statistics(self) -> list[dict[str, Any]]:
        """Mean and standard deviation of each target over the partition; empty for classes."""
        if self.spec.target.classes is not None:
            return []
        model = self.checkpoint.model
        return [
            {"name": name, "count": int(count), "mean": float(mean), "deviation": _deviation(count, m2)}
            for name, count, mean, m2 in zip(
                self.spec.target.fields, model["y_count"], model["y_mean"], model["y_m2"], strict=True
            )
        ]

    def streams(self) -> int:
        """How many streams have a state."""
        return sum(key is not None for key in self.checkpoint.keys)

    def stream(self, key: bytes) -> dict[str, Any] | None:
        """What is kept of one stream; None when it is not known."""
        if key not in self.checkpoint.keys:
            return None
        slot = self.checkpoint.keys.index(key)
        arrays = {name: array[slot] for name, array in self.checkpoint.streams.items()}
        state = arrays["state"].astype(np.float64)  # [layers, vectors, hidden]
        norms = [
            {name: float(np.sqrt(np.square(layer[i]).sum())) for i, name in enumerate("hc"[: state.shape[1]])}
            for layer in state
        ]
        return {
            "key": key.decode(errors="replace"),
            "slot": slot,
            "steps": int(arrays["steps"]),
            "last_record_ms": int(arrays["last_ms"]),
            "last_seen_ms": int(arrays["seen"][0]),
            "state_norms": norms,
            "previous_target": [_number(value) for value in arrays["newest"]],
            "targets": [
                {"count": int(count), "mean": float(mean), "deviation": _deviation(count, m2)}
                for count, mean, m2 in zip(arrays["y_count"], arrays["y_mean"], arrays["y_m2"], strict=True)
            ],
        }

    def as_data(self) -> dict[str, Any]:
        """Everything shown, as plain data for JSON."""
        manifest = self.manifest
        return {
            "path": self.place,
            "job": manifest.job,
            "topic": manifest.topic,
            "partition": manifest.partition,
            "created": manifest.created,
            **msgspec.to_builtins(manifest.progress),
            "streams": self.streams(),
            "slots": manifest.n_slots,
            "bytes": manifest.bytes,
            "tensors": self.tensors(),
            "targets": self.statistics(),
            "configuration": manifest.configuration,
            "configuration_sha256": manifest.configuration_sha256,
            "build": manifest.build,
        }


def inspect(listed: Listed) -> Inspection:
    """Read and verify a checkpoint that was found. Raises CorruptCheckpoint with the reason."""
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
    checkpoint = CheckpointStore(listed.blobs, *owner).load(manifest)
    layout = layout_of(manifest.spec)
    if (found := checkpoint.model["theta"].size) != layout.size:
        raise CheckpointError(
            f"{listed.place}: holds {found} parameters, its specification means {layout.size}; is it another version's?"
        )
    return Inspection(listed.place, checkpoint, layout)


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


def _deviation(count: float, m2: float) -> float:
    return float(np.sqrt(m2 / count)) if count > 0 else 0.0


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
