"""What a checkpoint holds, read without a broker, a configuration file or a compiled kernel.

A checkpoint describes itself: its manifest carries the learner's specification, from which names and shapes of all
tensors follow. Everything is verified against its digests on the way, as a recovery would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamrnn.core.layout import Layout
from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.job.config import Config
from streamrnn.learner.lowering import layout_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.storage.blobs import DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, read_manifest
from streamrnn.storage.names import PartitionNames, folder_of
from streamrnn.storage.snapshot import Checkpoint


@dataclass(frozen=True)
class Listed:
    """One checkpoint on disk: its manifest, or why it cannot be read."""

    path: Path
    manifest: Manifest | None
    reason: str = ""


def find(path: Path) -> list[Listed]:
    """The checkpoints at ``path``, a manifest or any directory above some, by partition and then oldest first.

    Raises CheckpointError when there are none.
    """
    if path.is_file():
        paths: Iterable[Path] = [path]
    elif path.is_dir():
        paths = path.rglob("manifest-*.json")
    else:
        raise ConfigError(f"{path}: does not exist; give a manifest or a directory of checkpoints")
    listed = [_listed(p) for p in paths]
    if not listed:
        raise CheckpointError(
            f"{path}: holds no checkpoint; expected manifest-*.json below it. A job writes its first one when it starts"
        )
    return sorted(listed, key=_place)


def of_config(config: Config) -> Path:
    """Where the checkpoints of a configuration's job and topic are."""
    return Path(config.checkpoint.directory) / folder_of(config.job)


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

    path: Path
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
            "path": str(self.path),
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


def inspect(path: Path) -> Inspection:
    """Read and verify the checkpoint of one manifest. Raises CorruptCheckpoint with the reason."""
    manifest = _manifest(path)
    # <directory>/<job>/<topic>-<partition>/<lineage>/manifest-*.json
    place = path.resolve()
    directory = place.parents[min(3, len(place.parents) - 1)]
    owner = (manifest.job, manifest.topic, manifest.partition)
    name = PartitionNames(*owner).manifest(manifest.progress.lineage, manifest.progress.position)
    if place != directory / name:
        raise CorruptCheckpoint(
            f"{path}: it says that in a directory of checkpoints its place is {name}; was it copied here by hand?"
        )
    checkpoint = CheckpointStore(DirectoryBlobs(directory), *owner).load(manifest)
    layout = layout_of(manifest.spec)
    if (found := checkpoint.model["theta"].size) != layout.size:
        raise CheckpointError(
            f"{path}: holds {found} parameters, its specification means {layout.size}; is it another version's?"
        )
    return Inspection(path, checkpoint, layout)


def _listed(path: Path) -> Listed:
    try:
        return Listed(path, _manifest(path))
    except CheckpointError as error:
        return Listed(path, None, str(error))


def _manifest(path: Path) -> Manifest:
    return read_manifest(DirectoryBlobs(path.parent), path.name)


def _place(listed: Listed) -> tuple[str, int, str, int, str]:
    manifest = listed.manifest
    if manifest is None:
        return ("", 0, "", 0, str(listed.path))
    return (manifest.topic, manifest.partition, *_age(manifest), str(listed.path))


def _age(manifest: Manifest) -> tuple[str, int]:
    return manifest.created, manifest.progress.position


def _deviation(count: float, m2: float) -> float:
    return float(np.sqrt(m2 / count)) if count > 0 else 0.0


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
