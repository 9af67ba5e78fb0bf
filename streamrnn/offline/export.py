"""A checkpoint as a model file: weights under PyTorch's names, and all that an estimator needs to go on from them.

Which estimator that is follows from the kind of target. The streams come along with their states, so that it predicts
what the daemon would have; their times do not, since River's events carry none. What an estimator cannot take over is
told, one line each. Where it is the kind of target, no estimator can read the file: it is then for PyTorch, and
for ``model.warm_start`` of another job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import CheckpointError
from streamrnn.job.trained import encoder_of, hashing_of
from streamrnn.learner.growth import without_elapsed_time
from streamrnn.learner.next_symbol import as_text
from streamrnn.learner.spec import LearnerSpec, LearningSpec
from streamrnn.learner.state import LearnerState
from streamrnn.learner.streams import FIRST, LAST_SEEN, LIVED
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import canonical_text
from streamrnn.storage.listing import Listed, newest, store_of
from streamrnn.storage.manifest import Manifest
from streamrnn.storage.model_file import ModelFile, save_model

STREAM = "stream"
"""What an estimator's events name their stream by where records did it by their key; predictions call it so, too."""

_NETWORK = ("cell", "hidden_size", "num_layers", "memory", "dtype")
_MODEL = ("loss", "readout", "lags", "rls_forgetting", "rls_prior", "quantiles")
_SEQUENCE = ("max_steps", "stack", "chunks", "carry", "normalise")
_STEP_BY_STEP = {"model": ("gates", "hidden_layer"), "learning": ("k1", "k2", "betas")}
"""What estimators have that learn step by step, beside the rest."""
_LEARNING = (
    "optimizer", "lr", "schedule", "schedule_updates", "schedule_least", "clip_norm", "polyak_bound",
    "batch_size",
)  # fmt: skip
_LEFT = {
    "model": ("huber_delta",),
    "learning": (
        "momentum", "rmsprop_alpha", "betas", "eps", "weight_decay", "target_shrinkage", "scale_memory",
    ),
    "streams": ("ttl_s", "reset_after_s"),
}  # fmt: skip
"""Settings that estimators do not have: they go on with the default of each."""


_LOSSES = {"RNNSequenceRegressor": ("squared", "absolute", "huber")}
"""Losses that estimators of sequences have beside their own."""
_LABELLING = ("RNNClassifier", "RNNSequenceClassifier", "RNNTagger")
"""Estimators that are told their classes beside their parameters."""
_OPEN = "target.classes: an open set has 'other' among them; the classes of an estimator do not"


@dataclass(frozen=True)
class Exported:
    """What was written: from which checkpoint, for which estimator (None: for none), how it names streams, and what
    was left behind or keeps estimators from reading it."""

    place: str
    manifest: Manifest
    estimator: str | None
    stream_key: str
    notes: tuple[str, ...]


def choose(listed: list[Listed], partition: int | None) -> Listed:
    """The newest checkpoint of a partition, or of all. Raises CheckpointError where there is none."""
    readable = newest(listed)
    of_partition = [one for one in readable if partition in (None, one.manifest and one.manifest.partition)]
    if not of_partition:
        there = sorted({one.manifest.partition for one in readable if one.manifest})
        reasons = "".join(f"\n  {one.place}: {one.reason}" for one in listed if one.manifest is None)
        found = f"; there are checkpoints of {', '.join(map(str, there))}" if there else ""
        raise CheckpointError(f"no checkpoint can be read{'' if partition is None else f' of partition {partition}'}"
                              f"{found}{reasons}")  # fmt: skip
    return max(of_partition, key=lambda one: "" if one.manifest is None else one.manifest.created)


def _stream_key(manifest: Manifest) -> str:
    try:
        source = msgspec.convert(manifest.configuration["input"], dict[str, Any])
        return msgspec.convert(source["stream_key"], str | None) or STREAM
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"its input is not told in a way that this version knows: {error}") from error


def _save(out: Path, model: ModelFile) -> None:
    try:
        model.require_readable()
    except ValueError as error:
        raise CheckpointError(f"{out}: it could not be read again: {error}") from error
    save_model(out, model)


def export(listed: Listed, out: Path) -> Exported:
    """Write the checkpoint to a model file. Raises CheckpointError when one cannot be read or the other written."""
    store, manifest = store_of(listed)
    state, encoder, stream_key = store.load(manifest).state(), encoder_of(manifest), _stream_key(manifest)
    name, reasons = estimator_of(manifest.spec, manifest.configuration["features"])
    if name is not None and manifest.spec.inputs.dt:
        state = without_elapsed_time(state)
    if name == "RNNLanguageModel":
        if state.spec.text is None:
            state = as_text(state)
        _save(out, ModelFile(_without_times(state), (), _language_model(state.spec, stream_key)))
        return Exported(listed.place, manifest, name, stream_key, tuple(_left(manifest.spec)))
    owner: dict[str, Any] = {
        "estimator": name,
        "parameters": {
            **_shared(manifest.spec, stream_key),
            **(_of_events(manifest.spec) if manifest.spec.sequence is None else _of_sequences(manifest, name)),
            "scale": manifest.spec.learning.scale,
            "features": manifest.configuration["features"],
        },
        "columns": None,
        "hashing": hashing_of(manifest)._asdict(),
        "own": {},
    }
    target = manifest.spec.target
    if name is None:
        owner["why"] = reasons
    elif name == "RNNForecaster":
        owner["parameters"] |= {"horizon": target.horizon, "baseline": target.baseline}
        owner["parameters"]["features"] = None
    elif name in _LABELLING:
        owner["own"] = {"labels": target.labels or ()}
    elif name == "RNNMultiTargetRegressor":
        owner["parameters"]["targets"] = target.fields
        owner["own"] = {"targets": target.fields}
    _save(out, ModelFile(_without_times(state), encoder.names, msgspec.to_builtins(owner)))
    notes = reasons if name is None else list(_left(manifest.spec))
    return Exported(listed.place, manifest, name, stream_key, tuple(notes))


def _shared(spec: LearnerSpec, stream_key: str) -> dict[str, Any]:
    """The parameters that every estimator has, and of those that learn step by step what is theirs."""
    own = _STEP_BY_STEP if spec.sequence is None else {}
    learning = _told_learning(spec)
    return {
        **{key: getattr(spec.model, key) for key in _NETWORK},
        **{key: getattr(spec.model, key) for key in own.get("model", ())},
        **{key: getattr(learning, key) for key in (*own.get("learning", ()), *_LEARNING)},
        "stream_key": stream_key,
        "max_streams": spec.streams.max_streams,
    }


def _told_learning(spec: LearnerSpec) -> LearningSpec:
    """How weights are learned, as an estimator has to be told it: what it has where it is told nothing is not what a
    job has. A bank, of which gradients train nothing, is told nothing."""
    if spec.rule == "fixed":
        return spec.learning
    schedule, updates, least = spec.schedule
    # An estimator's AdamW decays weights, and one of an exact cell refuses it; without a decay it is Adam, to the bit.
    optimizer = "adam" if spec.optimizer == "adamw" and not spec.learning.weight_decay else spec.optimizer
    steps = {"k1": spec.k1, "k2": spec.k2 if spec.rule == "tbptt" else None} if spec.sequence is None else {}
    return msgspec.structs.replace(
        spec.learning,
        optimizer=optimizer,
        lr=spec.lr,
        betas=spec.betas,
        schedule=schedule,
        schedule_updates=updates,
        schedule_least=least,
        **steps,
    )


def _of_events(spec: LearnerSpec) -> dict[str, Any]:
    """The parameters that estimators of events have."""
    shown = {"previous_target": spec.inputs.previous_target}
    return {**{key: getattr(spec.model, key) for key in _MODEL}, **shown}


def _of_sequences(manifest: Manifest, estimator: str | None) -> dict[str, Any]:
    """The parameters that estimators of sequences have, and those of the one of this name."""
    spec = manifest.spec
    target, model, symbols = spec.target, spec.model, spec.target.symbols
    parameters = {
        **{key: getattr(spec.sequence, key) for key in _SEQUENCE},
        "direction": model.direction,
        "lookahead": model.lookahead,
        "average": spec.learning.average,
    }
    if estimator in ("RNNSequenceClassifier", "RNNTagger"):
        parameters["readout"] = model.readout
    elif estimator == "RNNSequenceRegressor":
        parameters["loss"] = model.loss
    if estimator == "RNNTranslator":
        parameters |= {"attention": model.attention, "horizon": target.horizon if target.says_numbers else None}
    if estimator in ("RNNTranscriber", "RNNTranslator") and not target.says_numbers:
        unit = manifest.configuration.get("target", {}).get("unit", "element")
        parameters |= {"beam": model.beam, "max_symbols": target.max_symbols, "unit": unit}
        if symbols is not None:
            parameters |= {"symbols": symbols.values, "max_vocabulary": symbols.max}
    return parameters


def _language_model(spec: LearnerSpec, stream_key: str) -> dict[str, Any]:
    """What the language model is told of itself."""
    symbols, text = spec.target.symbols, spec.text
    assert symbols is not None
    assert text is not None
    values = None if symbols.values is None else [canonical_text(value, "classes") for value in symbols.values]
    own = {"unit": text.unit, "carry": text.carry, "mark_end": text.mark_end, "symbols": values}
    parameters = {**_shared(spec, stream_key), **own, "max_symbols": symbols.max}
    return {"estimator": "RNNLanguageModel", "parameters": msgspec.to_builtins(parameters), "own": {}}


def estimator_of(spec: LearnerSpec, features: list[Any]) -> tuple[str | None, list[str]]:
    """The estimator that can go on from a learner of this specification; None, and why, where there is none."""
    target, reasons = spec.target, []
    if spec.inputs.dt and not spec.learning.scale:
        reasons.append("inputs.dt: an estimator's events carry no time, which only standardised inputs can do without")
    if spec.looks_ahead:
        reasons.append("model.lookahead: estimators of events predict each at once, and none waits for those behind it")
    if spec.sequence is not None:
        name = _sequence_estimator(target)
        if target.kind in ("label", "labels") and target.is_open:
            reasons.append(_OPEN)
        if len(target.fields) > 1:
            reasons.append("target.fields: an estimator of sequences says one number")
        if (loss := spec.model.effective_loss) not in _LOSSES.get(name, ("squared", "cross_entropy")):
            reasons.append(f"model.loss: {loss}, which {name} does not have")
    elif spec.text is not None or (target.known == "forecast" and target.classes is not None):
        reasons += _not_of_symbols(spec, features)
        name = "RNNLanguageModel"
    elif target.known == "forecast":
        if features:
            reasons.append("features: an estimator's forecasts see features of the next step, a job's those of its own")
        if len(target.fields) > 1:
            reasons.append("target.fields: an estimator forecasts one series")
        if spec.model.effective_loss == "quantile":
            reasons.append("model.loss: an estimator's forecasts have no quantiles")
        name = "RNNForecaster"
    elif target.classes is not None:
        if target.is_open:
            reasons.append(_OPEN)
        name = "RNNClassifier"
    elif len(target.fields) > 1:
        if spec.model.effective_loss == "quantile":
            reasons.append("model.loss: an estimator of several targets has no quantiles")
        name = "RNNMultiTargetRegressor"
    else:
        name = "RNNRegressor"
    if spec.sequence is None and spec.symbols:
        reasons.append("features: encoder symbol, which estimators of events do not have: none of theirs is looked up")
    return (None if reasons else name), reasons


def _not_of_symbols(spec: LearnerSpec, features: list[Any]) -> Iterator[str]:
    """What the estimator of texts and next events does not have."""
    if features or not spec.shows_class:
        yield "features: the estimator of texts and next events is shown the newest symbol, and no fields"
    if spec.model.readout == "logistic":
        yield "model.readout: logistic; the estimator of texts and next events has an output a symbol"


def _sequence_estimator(target: TargetSpec) -> str:
    """The estimator of whole sequences of which this is said."""
    if target.kind == "label":
        return "RNNSequenceRegressor" if target.classes is None else "RNNSequenceClassifier"
    return {"labels": "RNNTagger", "transcript": "RNNTranscriber"}.get(str(target.kind), "RNNTranslator")


def _left(spec: LearnerSpec) -> Iterator[str]:
    """What the estimator lacks that the job had."""
    if spec.inputs.dt:
        yield (
            "inputs.dt: left out, since an estimator's events carry no time; it predicts as if each came after the "
            "usual time"
        )
    for section, names in _LEFT.items():
        values = getattr(spec, section)
        for name in names:
            if name == "betas" and spec.sequence is None:
                continue
            if name == "weight_decay" and (spec.optimizer != "adamw" or not spec.learning.weight_decay):
                continue  # which has no effect, or none that ``_told_learning`` does not have
            default = type(values).__struct_defaults__[type(values).__struct_fields__.index(name)]
            if getattr(values, name) != default:
                yield f"{section}.{name}: {getattr(values, name)} in the job; an estimator goes on with {default}"
    if spec.target.missing != "unknown":
        yield f"target.missing: {spec.target.missing} in the job; a target that an estimator is not given is unknown"
    if spec.text is None and spec.target.known == "forecast" and spec.target.classes is not None:
        yield "target.known: forecast: the states of streams are left out; a text's are one symbol behind an event's"
    if spec.target.known == "label":
        yield "target.known: label: predictions that wait for a label are given up; an estimator is given the target"


def _without_times(state: LearnerState) -> LearnerState:
    """The state with its times at zero, where an estimator's events are; the order of streams stays."""
    model, streams = dict(state.model), dict(state.streams)
    model["clock"] = np.zeros_like(model["clock"])
    streams["last_ms"] = np.zeros_like(streams["last_ms"])
    streams["seen"] = streams["seen"].copy()
    streams["seen"][:, [LAST_SEEN, LIVED, FIRST]] = 0
    return replace(state, model=model, streams=streams)
