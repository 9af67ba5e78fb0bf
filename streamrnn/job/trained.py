"""What a job can begin with: a model file, or a checkpoint.

A model file is written by an estimator's ``save`` or by ``streamrnn export``. Of a checkpoint the model is read, not
the streams, and its manifest tells the names of the columns; then it is as good as a model file. It is named by its
manifest, or by a directory somewhere above it: then it is the newest one there that can be read. A directory goes on to
change while the job that writes it runs; so it is looked into once, when the new job begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.learner.features import FeatureEncoder, FeatureSpec
from streamrnn.learner.hashing import Hashing
from streamrnn.learner.state import LearnerState, no_streams
from streamrnn.storage.listing import Listed, find, store_of
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.model_file import ModelFile, unpack
from streamrnn.storage.names import position_in
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read as read_file


@dataclass(frozen=True)
class Trained:
    """Something trained: what it is called, the digest of its content, and the model itself."""

    place: str
    sha256: str
    model: ModelFile


def is_checkpoint(path: Path) -> bool:
    """Whether a path is one of checkpoints: a manifest, or a directory."""
    return path.is_dir() or position_in(path.name) is not None


def read(path: Path, job: str, wanted: str | None = None) -> Trained:
    """What is at the path, for a job of that name; of a directory the checkpoint of digest ``wanted`` if it is there.

    Raises OSError or ValueError where a file is no model file, CheckpointError or ConfigError for checkpoints.
    """
    if not is_checkpoint(path):
        data = read_file(path, AS_MUCH_AS_FITS, links=True)
        return Trained(str(path), hashlib.sha256(data).hexdigest(), unpack(data))
    reasons = []
    for listed in _candidates(path, job, wanted):
        try:
            return from_checkpoint(listed)
        except CorruptCheckpoint as error:
            reasons.append(f"\n  {listed.place}: {error}")
    raise CheckpointError(f"none of its {len(reasons)} checkpoints can be read:{''.join(reasons)}")


def from_checkpoint(listed: Listed, *, streams: bool = False) -> Trained:
    """A checkpoint as a model file has it, the streams left behind unless they are asked for.

    Raises CorruptCheckpoint when bytes are missing or wrong, CheckpointError when this version does not know its
    settings.
    """
    store, manifest = store_of(listed)
    if streams:
        state = store.load(manifest).state()
    else:
        state = LearnerState(manifest.spec, store.load_model(manifest), no_streams(manifest.spec), [])
    try:
        state.require_fit(manifest.spec, beginning=True)
    except ValueError as error:
        raise CorruptCheckpoint(f"its arrays: {error}") from error
    owner = {
        "parameters": {"features": manifest.configuration.get("features", [])},
        "hashing": hashing_of(manifest)._asdict(),
    }
    model = ModelFile(state, encoder_of(manifest).names, owner)
    return Trained(listed.place, manifest.sha256, model)


def hashing_of(manifest: Manifest) -> Hashing:
    """What a checkpoint tells of the key that features were hashed under. The job's name is no secret."""
    try:
        return Hashing.of(Hashing.read(manifest.configuration.get("hashing", {})).check, manifest.job)
    except ValueError as error:
        raise CheckpointError(f"its key for hashing is not told in a way that this version knows: {error}") from error


def encoder_of(manifest: Manifest) -> FeatureEncoder:
    """The encoder of the features that a checkpoint was written with, but for the key they were hashed under."""
    try:
        encoder = FeatureEncoder(msgspec.convert(manifest.configuration["features"], tuple[FeatureSpec, ...]))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"its features are not of a kind that this version knows: {error}") from error
    if len(encoder.names) != manifest.spec.n_features:
        raise CorruptCheckpoint(
            f"its features make {len(encoder.names)} columns, its specification has {manifest.spec.n_features}"
        )
    return encoder


def _candidates(path: Path, job: str, wanted: str | None) -> Sequence[Listed]:
    """The checkpoints at a path, the one to take first."""
    found = find(path)
    if path.is_file():
        return found
    # The job's own checkpoints may be in the same directory; it goes on from those anyhow.
    others = [one for one in found if one.manifest is None or one.manifest.job != job]
    jobs = sorted({one.manifest.job for one in others if one.manifest is not None})
    if len(jobs) > 1:
        raise ConfigError(f"holds checkpoints of the jobs {', '.join(jobs)}: name the folder of one, {path / jobs[0]}")
    if not others:
        raise ConfigError("holds checkpoints of this very job only, which goes on from them by itself")
    return sorted(others, key=lambda one: _rank(one, wanted), reverse=True)


def _rank(listed: Listed, wanted: str | None) -> tuple[bool, str, int]:
    manifest = listed.manifest
    if manifest is None:
        return False, "", 0
    return manifest.sha256 == wanted, manifest.created, manifest.progress.position
