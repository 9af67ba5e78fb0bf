"""Whether a trained model fits a job, as lines that say what does not.

Columns, classes and several targets are matched by name, since their order means nothing. What a name does not tell
has to agree: whether a column is standardised, over how many buckets a hash spreads, how long a cycle is. What the
network itself must agree on is ``learner.changes``'s to say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streamrnn.learner.changes import refusals
from streamrnn.learner.features import Cyclic, FeatureEncoder, FeatureSpec, Hash
from streamrnn.learner.hashing import Hashing
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import canonical_text
from streamrnn.storage.model_file import ModelFile


def misfits(model: ModelFile, trained: LearnerSpec, encoder: FeatureEncoder, here: LearnerSpec) -> list[str]:
    """Every reason why ``model``, learned under ``trained``, does not fit a job of ``here``; empty where it fits."""
    learned = refusals(trained, here, streams=False)
    return [
        *(line for line in learned if not line.startswith("n_features:")),  # columns are named below
        *_columns(trained, model.columns, encoder),
        *_encoders(model, encoder),
        *_symbols(model, trained, encoder),
        *_estimator(model.owner),
        *_classes(model.owner, trained.target, here.target),
        *_targets(model.owner, trained.target, here.target),
    ]


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
    return [*lines, *_hashing(model, encoder)]


def _symbols(model: ModelFile, trained: LearnerSpec, encoder: FeatureEncoder) -> list[str]:
    """Fields that are looked up must be the same, in their order: what was learned knows their sets by their place.

    That the sets agree is for ``refusals`` to say.
    """
    listed = model.owner.get("parameters", {}).get("features") or ()
    before = [str(f.get("field")) for f in listed if isinstance(f, dict) and f.get("encoder") == "symbol"]
    if len(before) != len(trained.symbols) or len(encoder.symbols) != len(before):
        return []  # nothing names them, or their number differs, which is a refusal already
    if before == list(encoder.symbol_fields):
        return []
    return [
        f"features: the symbols of {_listed(before)} in what was learned, of {_listed(encoder.symbol_fields)} here; "
        "declare the same fields in the order they were learned"
    ]


def _hashing(model: ModelFile, encoder: FeatureEncoder) -> list[str]:
    """Columns that are hashed in both must be hashed under one key."""
    hashed = [f.field for f in encoder.specs if isinstance(f, Hash) and {*f.columns} & {*model.columns}]
    check, key = Hashing.read(model.owner.get("hashing", {}))
    if not hashed or check == encoder.hash_check:
        return []
    if check is None:
        return [
            f"features: {_listed(hashed)}: nothing tells the key under which values were hashed in what was learned; "
            "train it again, or leave these features out of the job"
        ]
    say = "to the secret that it was learned under" if key is None else json.dumps(key, ensure_ascii=False)
    return [
        f"features: {_listed(hashed)}: hashed under another key in what was learned; set hashing.key {say}, or train "
        "under the job's: an estimator takes it as hash_key, and where the job has none that is its name"
    ]


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
    if trained.labels is None or here.labels is None:
        return []
    before = list(owner.get("own", {}).get("labels", trained.labels))
    texts = [canonical_text(label, "labels") for label in before]
    now = [canonical_text(label, "target.classes") for label in here.labels]
    if now[: len(texts)] == texts:
        return []
    # A job's classes are no fractions; as text they are the same class.
    shown = [text if isinstance(label, float) else label for label, text in zip(before, texts, strict=True)]
    more = [label for label, text in zip(here.labels, now, strict=True) if text not in texts]
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
