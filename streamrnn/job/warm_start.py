"""``model.warm_start``: a lineage that begins with what an estimator, or another job, has learned.

A model file is read when the job file is loaded, so that whatever does not fit is reported before anything runs, all
of it at once; and again by a partition that begins its first lineage. From there on that lineage's genesis checkpoint
holds what was carried over. The digest of the file's bytes is part of the job's configuration: a file with other bytes
is a changed setting, the same bytes elsewhere are not. A job that has a checkpoint to go on from does not need the file
any more; if it is gone, the digest is the one that the newest checkpoint names.

A checkpoint of another job will do as well (``trained``): its manifest's digest stands for it. A directory of
checkpoints goes on to change and is looked into when the job begins; what is in it later is no changed setting.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamrnn.errors import CheckpointError, ConfigError, EarlierFormat
from streamrnn.job import trained
from streamrnn.job.compatibility import misfits
from streamrnn.job.config import Config
from streamrnn.job.opening import open_blobs
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.growth import carry_over
from streamrnn.learner.next_symbol import meant_for
from streamrnn.learner.state import LearnerState
from streamrnn.storage.checkpoints import manifests_of

_log = logging.getLogger(__name__)

FIELD = "model.warm_start"


@dataclass(frozen=True)
class _Fitting:
    """Something trained that fits the job. ``places[i]`` is the job's column for its i-th."""

    place: str
    sha256: str
    saved: LearnerState
    places: tuple[int, ...]


def check(config: Config) -> None:
    """Raise ConfigError unless what the job begins with fits it, or the job's checkpoints began and it is not needed.

    A model file that is there is looked at each time.
    """
    if _path(config).is_file() or _recorded(config) is None:
        _read_fitting(config, _NOT_BEGUN)


def digest(config: Config) -> str:
    """SHA-256 of the file's bytes, or of a manifest's content; of what is gone, as the newest checkpoint has it.

    Raises ConfigError when it cannot be told.
    """
    path = _path(config)
    recorded = None if path.is_file() else _recorded(config)
    if recorded is None:
        return _read(config, _NOT_BEGUN).sha256
    if not path.exists():
        _log.warning(
            "%s: %s does not exist; going on from the checkpoints, which began with it (SHA-256 %s). A partition "
            "without one will not start", FIELD, path, recorded,
        )  # fmt: skip
    return recorded


def is_told(config: Config) -> bool:
    """Whether the digest tells what the job is meant to begin with: not of a directory, in which others may come."""
    return config.model.warm_start is None or not _path(config).is_dir()


def begun_with(fingerprint: Mapping[str, Any]) -> str | None:
    """The digest that a job's fingerprint holds; None for a job that began with random weights."""
    told = fingerprint.get(FIELD)
    return told.get("sha256") if isinstance(told, dict) else None


def begin(config: Config, learner: Foundation, fingerprint: Mapping[str, Any]) -> None:
    """Fill a new learner from what is named there, which must be what the job's ``fingerprint`` tells.

    Raises ConfigError when it is missing, damaged, another one by now or of a model that does not fit.
    """
    wanted = begun_with(fingerprint)
    found = _read_fitting(config, "and a partition without a committed offset is to begin with it", wanted)
    if wanted != found.sha256 and is_told(config):
        raise ConfigError(f"{FIELD}: {_path(config)} was replaced while this worker ran; start the worker again")
    try:
        carry_over(found.saved, learner, found.places, streams=False)
    except ValueError as error:
        raise _damaged(config, error) from error
    _log.info("beginning with %s, after %d updates", found.place, learner.counters()["updates"])


# -- what is there ----------------------------------------------------------------------------------------------------

_NOT_BEGUN = "and the job has no checkpoint that began with it"


def _path(config: Config) -> Path:
    assert config.model.warm_start is not None
    return Path(config.model.warm_start)


def _read(config: Config, why: str, wanted: str | None = None) -> trained.Trained:
    """What is there; ``why`` says, of what is missing, why it is needed."""
    path = _path(config)
    try:
        return trained.read(path, config.job, wanted)
    except FileNotFoundError:
        raise ConfigError(
            f"{FIELD}: {path.absolute()} does not exist, {why}. Put the file there, which an estimator's save() "
            "writes, or name a checkpoint, or begin with random weights: leave the field out and, if the job ran "
            "before, give it another name, and another kafka.group_id if you set one"
        ) from None
    except OSError as error:
        raise ConfigError(f"{FIELD}: {path} cannot be read: {error.strerror or type(error).__name__}") from None
    except EarlierFormat as error:
        raise ConfigError(f"{FIELD}: {path} is not usable: {error}") from error
    except (CheckpointError, ValueError) as error:
        raise _damaged(config, error) from error


def _damaged(config: Config, error: object) -> ConfigError:
    return ConfigError(
        f"{FIELD}: {_path(config)} is not usable: {error}; expected a file written by an estimator's save() or by "
        "streamrnn export, or a checkpoint: its manifest, or a directory above it"
    )


def _recorded(config: Config) -> str | None:
    """The digest in the newest checkpoint of the job's topic; None where there is none or it began otherwise."""
    newest, recorded = "", None
    for manifest in manifests_of(open_blobs(config), config.job):
        if manifest.topic == config.input.topic and manifest.created > newest:
            newest, recorded = manifest.created, begun_with(manifest.configuration)
    return recorded


def _read_fitting(config: Config, why: str, wanted: str | None = None) -> _Fitting:
    """What is there if it fits; otherwise raises a ConfigError that lists everything that does not."""
    found = _read(config, why, wanted)
    encoder, spec = config.feature_encoder(), config.learner_spec()
    model, saved = found.model, found.model.saved
    try:
        if saved is None:
            raise ValueError("nothing was learned when it was written")
        if len(model.columns) != saved.spec.n_features or len(set(model.columns)) != len(model.columns):
            raise ValueError(f"its {saved.spec.n_features} columns are named {list(model.columns)}")
        saved = meant_for(saved, spec)
        lines = misfits(model, saved.spec, encoder, spec)
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(config, error) from error
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(
            f"{FIELD}: {_path(config)} (what was learned) does not fit the job (here):{listed}\nGive the job what the "
            "file has, train the model as the job wants it, or leave the field out to begin with random weights"
        )
    return _Fitting(found.place, found.sha256, saved, tuple(encoder.names.index(name) for name in model.columns))
