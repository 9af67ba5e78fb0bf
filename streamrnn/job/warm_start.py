"""``model.warm_start``: a lineage that begins with what an estimator, or another learner, has learned.

The file is read when the job file is loaded, so that whatever does not fit is reported before anything runs, all of it
at once; and again by a partition that begins its first lineage. From there on that lineage's genesis checkpoint holds
what was carried over. The digest of the file's bytes is part of the job's configuration: a file with other bytes is a
changed setting, the same bytes elsewhere are not. A job that has a checkpoint to go on from does not
need the file any more; if it is gone, the digest is the one that the newest checkpoint names.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamrnn.errors import CheckpointError, ConfigError
from streamrnn.job.compatibility import misfits
from streamrnn.job.config import Config
from streamrnn.job.opening import open_blobs
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.state import LearnerState
from streamrnn.storage.checkpoints import manifests_of
from streamrnn.storage.model_file import unpack

_log = logging.getLogger(__name__)

FIELD = "model.warm_start"


@dataclass(frozen=True)
class _FittingFile:
    """A model file that fits the job. ``places[i]`` is the job's column for the file's i-th."""

    sha256: str
    saved: LearnerState
    places: tuple[int, ...]


def check(config: Config) -> None:
    """Raise ConfigError unless the file fits the job, or is gone and the job's checkpoints began with one."""
    if _path(config).exists() or _recorded(config) is None:
        _read_fitting(config, "and the job has no checkpoint that began with it")


def digest(config: Config) -> str:
    """SHA-256 of the file's bytes; of a file that is gone, as the newest checkpoint has it.

    Raises ConfigError when it cannot be told.
    """
    path = _path(config)
    recorded = None if path.exists() else _recorded(config)
    if recorded is None:
        return _sha256(_bytes(config, "and the job has no checkpoint that began with it"))
    _log.warning(
        "%s: %s does not exist; going on from the checkpoints, which began with it (SHA-256 %s). A partition "
        "without one will not start", FIELD, path, recorded,
    )  # fmt: skip
    return recorded


def begun_with(fingerprint: Mapping[str, Any]) -> str | None:
    """The digest that a job's fingerprint holds; None for a job that began with random weights."""
    digest: str | None = fingerprint.get(FIELD, {}).get("sha256")
    return digest


def begin(config: Config, learner: Learner, fingerprint: Mapping[str, Any]) -> None:
    """Fill a new learner from the file, which must be the one that the job's ``fingerprint`` names.

    Raises ConfigError when the file is missing, damaged, another one by now or of a model that does not fit.
    """
    file = _read_fitting(config, "and a partition without a committed offset is to begin with it")
    if begun_with(fingerprint) != file.sha256:
        raise ConfigError(f"{FIELD}: {_path(config)} was replaced while this worker ran; start the worker again")
    try:
        carry_over(file.saved, learner, file.places, streams=False)
    except ValueError as error:
        raise _damaged(config, error) from error
    _log.info("beginning with %s, after %d updates", _path(config), learner.counters()["updates"])


# -- the file ---------------------------------------------------------------------------------------------------------


def _path(config: Config) -> Path:
    assert config.model.warm_start is not None
    return Path(config.model.warm_start)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(config: Config, why: str) -> bytes:
    """The file's bytes; ``why`` says, of a missing one, why it is needed."""
    path = _path(config)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{FIELD}: {path.absolute()} does not exist, {why}. Put the file there, which an estimator's save() "
            "writes, or begin with random weights: leave the field out and, if the job ran before, give it another "
            "name, and another kafka.group_id if you set one"
        ) from None
    except OSError as error:
        raise ConfigError(f"{FIELD}: {path} cannot be read: {error.strerror or type(error).__name__}") from None


def _damaged(config: Config, error: object) -> ConfigError:
    return ConfigError(
        f"{FIELD}: {_path(config)} is not usable: {error}; expected a file written by an estimator's save()"
    )


def _recorded(config: Config) -> str | None:
    """The digest in the newest checkpoint of the job's topic; None where there is none or it began otherwise."""
    newest, recorded = "", None
    for manifest in manifests_of(open_blobs(config), config.job):
        if manifest.topic == config.input.topic and manifest.created > newest:
            newest, recorded = manifest.created, begun_with(manifest.configuration)
    return recorded


def _read_fitting(config: Config, why: str) -> _FittingFile:
    """The file if it fits; otherwise raises a ConfigError that lists everything that does not."""
    data = _bytes(config, why)
    encoder, spec = config.feature_encoder(), config.learner_spec()
    try:
        model = unpack(data)
        saved = model.saved
        if saved is None:
            raise ValueError("nothing was learned when it was written")
        if len(model.columns) != saved.spec.n_features or len(set(model.columns)) != len(model.columns):
            raise ValueError(f"its {saved.spec.n_features} columns are named {list(model.columns)}")
        lines = misfits(model, saved.spec, encoder, spec)
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(config, error) from error
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(
            f"{FIELD}: {_path(config)} (what was learned) does not fit the job (here):{listed}\nGive the job what the "
            "file has, train the model as the job wants it, or leave the field out to begin with random weights"
        )
    return _FittingFile(_sha256(data), saved, tuple(encoder.names.index(name) for name in model.columns))
