"""``model.warm_start``: a lineage that begins with what an estimator, or another learner, has learned.

The file is read when the job file is loaded, so that whatever does not fit is said before anything runs, all of it at
once; and again by a partition that begins its first lineage. From there on that lineage's genesis checkpoint holds what
was taken over. The digest of the file's bytes is part of the job's configuration: a file with other bytes is a changed
setting, the same bytes elsewhere are not. A file that is gone hinders nobody who has a checkpoint to go on from; the
digest is then the one that the newest checkpoint names.

Columns, classes and several targets are matched by name, since their order means nothing. What a name does not tell
has to agree: whether a column is standardised, over how many buckets a hash spreads, how long a cycle is.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.learner.features import Cyclic, FeatureEncoder, FeatureSpec, Hash, canonical_text
from streamrnn.learner.growth import carry_over, differences
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec, TargetSpec
from streamrnn.learner.state import LearnerState
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import read_manifest
from streamrnn.storage.model_file import ModelFile, unpack

if TYPE_CHECKING:
    from streamrnn.job.config import Config

_log = logging.getLogger(__name__)

FIELD = "model.warm_start"


@dataclass(frozen=True)
class _Source:
    """A model file that fits the job. ``places[i]`` is the job's column for the file's i-th."""

    sha256: str
    saved: LearnerState
    places: tuple[int, ...]


def check(config: Config) -> None:
    """Raise ConfigError unless the file fits the job, or is gone and the job's checkpoints began with one."""
    if _path(config).exists() or _recorded(config) is None:
        _read(config, "and the job has no checkpoint that began with it")


def fingerprint(config: Config) -> dict[str, Any]:
    """What the file adds to the job's fingerprint; nothing without one. Raises ConfigError when it cannot be told."""
    if config.model.warm_start is None:
        return {}
    path = _path(config)
    found = None if path.exists() else _recorded(config)
    if found is None:
        found = _digest(_bytes(config, "and the job has no checkpoint that began with it"))
    else:
        _log.warning(
            "%s: %s does not exist; going on from the checkpoints, which began with it (SHA-256 %s). A partition "
            "without one will not start", FIELD, path, found,
        )  # fmt: skip
    return {FIELD: {"sha256": found}}


def begin(config: Config, learner: Learner, configuration: Mapping[str, Any]) -> None:
    """Fill a new learner from the file, which must be the one that ``configuration``, the fingerprint, names.

    Raises ConfigError when the file is missing, damaged, another one by now or of a model that does not fit.
    """
    source = _read(config, "and a partition without a committed offset is to begin with it")
    if configuration.get(FIELD) != {"sha256": source.sha256}:
        raise ConfigError(f"{FIELD}: {_path(config)} was replaced while this worker ran; start the worker again")
    try:
        carry_over(source.saved, learner, source.places, streams=False)
    except ValueError as error:
        raise _damaged(config, error) from error
    _log.info("beginning with %s, after %d updates", _path(config), learner.counters()["updates"])


# -- the file ---------------------------------------------------------------------------------------------------------


def _path(config: Config) -> Path:
    assert config.model.warm_start is not None
    return Path(config.model.warm_start)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(config: Config, why: str) -> bytes:
    """The file's bytes; ``why`` says, of a missing one, why it is needed."""
    path = _path(config)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{FIELD}: {path.absolute()} does not exist, {why}. Put the file there, which an estimator's save() "
            "writes, or begin with random weights: leave the field out and give the job another name if it ran before"
        ) from None
    except OSError as error:
        raise ConfigError(f"{FIELD}: {path} cannot be read: {error.strerror or type(error).__name__}") from None


def _damaged(config: Config, error: object) -> ConfigError:
    return ConfigError(
        f"{FIELD}: {_path(config)} is not usable: {error}; expected a file written by an estimator's save()"
    )


def _recorded(config: Config) -> str | None:
    """The digest in the newest checkpoint of the job's topic; None where there is none or it began otherwise."""
    place = CheckpointStore(config.checkpoint.directory, config.job, config.input.topic, 0).directory.parent
    newest, digest = "", None
    for path in place.rglob("manifest-*.json"):
        try:
            manifest = read_manifest(path)
        except CorruptCheckpoint:
            continue
        if manifest.topic == config.input.topic and manifest.created > newest:
            newest, digest = manifest.created, manifest.configuration.get(FIELD, {}).get("sha256")
    return digest


# -- whether it fits --------------------------------------------------------------------------------------------------


def _read(config: Config, why: str) -> _Source:
    """The file, if it fits; a ConfigError that says all that does not."""
    data = _bytes(config, why)
    encoder, spec = config.feature_encoder(), config.learner_spec()
    try:
        model = unpack(data)
        saved = model.saved
        if saved is None:
            raise ValueError("nothing was learned when it was written")
        if len(model.columns) != saved.spec.n_features or len(set(model.columns)) != len(model.columns):
            raise ValueError(f"its {saved.spec.n_features} columns are named {list(model.columns)}")
        lines = [
            *differences(saved.spec, spec),
            *_columns(saved.spec, model.columns, encoder),
            *_encoders(model, encoder),
            *_estimator(model.owner),
            *_classes(model.owner, saved.spec.target, spec.target),
            *_targets(model.owner, saved.spec.target, spec.target),
        ]
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(config, error) from error
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise ConfigError(
            f"{FIELD}: {_path(config)} (what was learned) does not fit the job (here):{listed}\nGive the job what the "
            "file has, train the model as the job wants it, or leave the field out to begin with random weights"
        )
    return _Source(_digest(data), saved, tuple(encoder.names.index(name) for name in model.columns))


def _columns(trained: LearnerSpec, columns: tuple[str, ...], encoder: FeatureEncoder) -> list[str]:
    """Columns the job lacks, and those that it scales in another way."""
    lines = []
    if missing := [name for name in columns if name not in encoder.names]:
        lines.append(
            f"features: the columns {_listed(missing)} of what was learned are not among those here: "
            f"{_listed(encoder.names) or 'none'}; declare the features that give them"
        )
    bounded = dict(zip(encoder.names, encoder.indicator, strict=True))
    before = dict(zip(columns, trained.indicator or (False,) * len(columns), strict=True))
    if trained.learning.scale and (other := [n for n in columns if n in bounded and bounded[n] != before[n]]):
        lines.append(
            f"features: {_listed(other)}: standardised in one of the two, taken as 0/1 or bounded in the other; train "
            "with the encoders of the job, which an estimator takes as its features"
        )
    return lines


def _encoders(model: ModelFile, encoder: FeatureEncoder) -> list[str]:
    """Encoders whose columns have the same names and hold other values."""
    listed = model.owner.get("parameters", {}).get("features") or ()
    before = [msgspec.convert(feature, FeatureSpec) for feature in listed if isinstance(feature, dict)]
    periods = {feature.field: feature.period for feature in before if isinstance(feature, Cyclic)}
    lines = []
    for feature in encoder.specs:
        if isinstance(feature, Cyclic) and (period := periods.get(feature.field, feature.period)) != feature.period:
            lines.append(f"features: {feature.field}: period {period:g} in what was learned, {feature.period:g} here")
        if isinstance(feature, Hash) and 0 < (n := len({*feature.columns} & {*model.columns})) < feature.buckets:
            lines.append(f"features: {feature.field}: {n} buckets in what was learned, {feature.buckets} here")
    return lines


def _estimator(owner: Mapping[str, Any]) -> list[str]:
    """Estimators whose events mean something else than a job's records although all shapes agree."""
    if owner.get("estimator") == "RNNAnomalyDetector":
        return [
            "an RNNAnomalyDetector forecasts its features, which its file does not name; a job cannot begin with it"
        ]
    if owner.get("estimator") == "RNNForecaster" and owner.get("own", {}).get("with_covariates"):
        return [
            "an RNNForecaster with covariates sees those of the next step, a job those of the record itself; train it "
            "without covariates, or the job from the start"
        ]
    return []


def _classes(owner: Mapping[str, Any], trained: TargetSpec, here: TargetSpec) -> list[str]:
    """The job's classes must begin with the file's in their order: what was learned knows them by number."""
    if trained.classes is None or here.classes is None:
        return []
    before = list(owner.get("own", {}).get("labels", trained.classes))
    texts = [canonical_text(label, "labels") for label in before]
    now = [canonical_text(label, "target.classes") for label in here.classes]
    if now[: len(texts)] == texts:
        return []
    # A job's classes are no fractions; as text they are the same class.
    shown = [text if isinstance(label, float) else label for label, text in zip(before, texts, strict=True)]
    more = [label for label, text in zip(here.classes, now, strict=True) if text not in texts]
    return [
        f"target.classes: {_listed(texts)} in what was learned, {_listed(now)} here; declare them in the order they "
        f"were learned: {json.dumps([*shown, *more], ensure_ascii=False)}"
    ]


def _targets(owner: Mapping[str, Any], trained: TargetSpec, here: TargetSpec) -> list[str]:
    """As many fields as were learned. They may have other names, but not have changed places."""
    before = [str(name) for name in owner.get("own", {}).get("targets", trained.fields)]
    if len(trained.fields) < len(here.fields) or len(before) != len(trained.fields):
        return [f"target.fields: {_listed(before)} in what was learned, {_listed(here.fields)} here; declare as many"]
    if any(name in here.fields and here.fields.index(name) != i for i, name in enumerate(before)):
        return [
            f"target.fields: {_listed(before)} in what was learned, {_listed(here.fields)} here; declare them in the "
            "order they were learned"
        ]
    return []


def _listed(names: Sequence[str]) -> str:
    """At most a dozen names."""
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(map(repr, names[:12])) + more
