"""Moving what one learner has learned into another with more inputs, classes or streams.

New columns of the input matrices start at zero, so that a prediction is the same before and after a feature appeared;
optimiser moments, statistics, the RLS readout with its covariance and the streams' windows come along, each entry to
its place. A new class starts with zero weights and the lowest bias of the others: the order of the old ones stays.
Cell, sizes, precision and the kind of target have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.counts import UPDATES
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import layout_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState

Array = npt.NDArray[Any]
_VECTORS = ("theta", "accumulated", "moment1", "moment2")
_INPUT_STATISTICS = ("x_count", "x_mean", "x_m2")


def differences(old: LearnerSpec, new: LearnerSpec) -> list[str]:
    """Why ``new`` cannot take over what a learner of ``old`` has learned, one line each; empty where it can."""
    lines = [
        f"{where}.{name}: {getattr(a, name)!r} in what was learned, {getattr(b, name)!r} here"
        for where, a, b, names in (
            (
                "model",
                old.model,
                new.model,
                ("cell", "hidden_size", "num_layers", "dtype", "readout"),
            ),
            ("inputs", old.inputs, new.inputs, ("previous_target",)),
            ("learning", old.learning, new.learning, ("scale", "optimizer")),
            ("target", old.target, new.target, ("horizon",)),
        )
        for name in names
        if getattr(a, name) != getattr(b, name)
    ]
    if old.model.effective_loss != new.model.effective_loss:
        lines.append(f"model.loss: {old.model.effective_loss!r} in what was learned, {new.model.effective_loss!r} here")
    if old.target.period != new.target.period:
        lines.append(f"target.baseline: {old.target.baseline!r} in what was learned, {new.target.baseline!r} here")
    if (old.target.known == "forecast") != (new.target.known == "forecast"):
        lines.append(f"target.known: {old.target.known!r} in what was learned, {new.target.known!r} here")
    if old.n_regressors and old.model.lags != new.model.lags:
        lines.append(f"model.lags: {old.model.lags} in what was learned, {new.model.lags} here")
    if old.inputs.dt and not new.inputs.dt:
        lines.append("inputs.dt: true in what was learned, false here")
    if old.n_targets > new.n_targets or (old.n_targets < new.n_targets and not _may_gain_fields(old)):
        lines.append(f"target.fields: {old.n_targets} in what was learned, {new.n_targets} here")
    if old.model.effective_loss == "quantile" and old.model.quantiles != new.model.quantiles:
        lines.append(f"model.quantiles: {old.model.quantiles} in what was learned, {new.model.quantiles} here")
    if old.target.classes is not None and new.target.classes is not None:
        before, now = len(old.target.classes), len(new.target.classes)
        if now < before or (now > before and old.model.readout == "logistic"):
            lines.append(f"target.classes: {before} in what was learned, {now} here")
    return lines


def carry_over(source: LearnerState, target: Learner, features: Sequence[int], *, streams: bool = True) -> None:
    """Fill ``target``, which saw no record yet, with what ``source`` holds.

    ``features[i]`` is the column of the target's features that the source's column i becomes. ``streams=False`` leaves
    the memory of single streams, and the running counts, behind. Raises ValueError where the two do not fit.
    """
    old, new = source.spec, target.spec
    if lines := differences(old, new):
        raise ValueError("; ".join(lines))
    if missing := sorted(target.model_arrays().keys() - source.model.keys()):
        raise ValueError(f"what was learned lacks {', '.join(missing)}")
    if len(features) != old.n_features or len(set(features)) != len(features):
        raise ValueError(f"features: needs a column of its own for each of {old.n_features}, got {list(features)}")
    inputs = _input_places(old, new, features)
    regressors = _regressor_places(old, new, inputs)
    model = {name: array.copy() for name, array in target.model_arrays().items()}
    for name, array in source.model.items():
        if name in _VECTORS:
            _place_vector(old, new, array, model[name], inputs, name)
        elif name in _INPUT_STATISTICS:
            model[name][[*features, new.n_features]] = array
        elif name.startswith("readout_") and name.endswith(("_weight", "_root", "_trace")):
            places = regressors if "full" in name else regressors[old.model.hidden_size :] - new.model.hidden_size
            if name.endswith("_weight"):
                model[name][:] = 0.0
                model[name][:, places] = array
            elif name.endswith("_root"):
                _place_roots(array, model[name], places, _new_variance(source, name, new))
            else:
                model[name][:] = array + _new_variance(source, name, new) * (new.n_regressors - old.n_regressors)
        elif streams or name.startswith(("y_", "change_", "readout_")):
            _place_rows(array, model[name])
    if not streams:
        model["counters"][UPDATES] = source.model["counters"][UPDATES]  # the optimiser counts on from there
        target.restore(model, [], {name: rows[:0] for name, rows in target.empty_stream_arrays().items()})
        return
    n = len(source.keys)
    room = target.empty_stream_arrays()
    for name, rows in source.streams.items():
        if name == "x":
            room[name][:n, :, inputs] = rows
        elif name == "regressors":
            room[name][:n, :, regressors] = rows
        else:
            if name in {"y", "newest", "remembered"}:
                room[name][:n] = np.nan  # a target that did not exist is not known
            _place_rows(rows, room[name][:n])
    target.restore(model, list(source.keys), room)


def _new_variance(source: LearnerState, name: str, new: LearnerSpec) -> Array:
    """Prior variance of a new regressor's weight per output: where others predict well it must not unsettle them."""
    part = name.rpartition("_")[0]
    return new.model.rls_prior * np.minimum(1.0, source.model[f"{part}_noise_in_use"])


def _place_roots(source: Array, target: Array, places: Array, variance: Array) -> None:
    """Square roots (O, R, R) of covariances, each extended by independent regressors."""
    regressors = np.arange(target.shape[1])
    target[:] = 0.0
    target[:, regressors, regressors] = np.sqrt(variance)[:, None]
    target[:, places[:, None], places] = source


def _may_gain_fields(spec: LearnerSpec) -> bool:
    """Whether a further target field stands behind the others in every array: one horizon, no RLS readout."""
    return spec.target.horizon == 1 and not spec.n_regressors and spec.model.effective_loss != "quantile"


def _place_rows(source: Array, target: Array) -> None:
    """Copy to the front of every axis."""
    target[tuple(slice(length) for length in source.shape)] = source


def _input_places(old: LearnerSpec, new: LearnerSpec, features: Sequence[int]) -> Array:
    """Where each input column of the old network stands in the new one, (D_old,) int64."""
    places = list(features)
    if old.inputs.dt:
        places.append(new.n_features)
    if old.inputs.previous_target:
        first = new.n_features + int(new.inputs.dt)
        for k in range(old.n_previous):  # kinds of columns (last values, last changes), each with all fields
            kind, field = divmod(k, old.n_targets) if old.target.classes is None else (0, k)
            places.append(first + kind * new.n_targets + field)
        places.extend(first + new.n_previous + f for f in range(old.n_targets))
    return np.array(places or [0], np.int64)  # a network without inputs has one column of zeros


def _regressor_places(old: LearnerSpec, new: LearnerSpec, inputs: Array) -> Array:
    """Where each regressor of the old RLS readout stands in the new one; (0,) without it."""
    if not old.n_regressors:
        return np.zeros(0, np.int64)
    hidden = new.model.hidden_size
    rest = new.n_regressors - hidden - new.n_inputs
    return np.concatenate([np.arange(hidden), hidden + inputs, hidden + new.n_inputs + np.arange(rest)])


def _place_vector(old: LearnerSpec, new: LearnerSpec, source: Array, target: Array, inputs: Array, name: str) -> None:
    """Copy a vector laid out as theta, tensor by tensor. New weights are zero.

    New second moments are the mean of their neighbours': from zero the first steps would be several times too long.
    """
    before, now = layout_of(old).named(source), layout_of(new).named(target)
    target[:] = 0.0
    for tensor_name, tensor in before.items():
        place = now[tensor_name]
        if tensor_name == "rnn.weight_ih_l0":
            if name == "moment2":
                place[...] = tensor.mean(axis=1, keepdims=True)
            place[:, inputs] = tensor
        else:
            if name == "moment2" and len(place) > len(tensor):
                place[...] = tensor.mean(axis=0)
            place[: len(tensor)] = tensor
    if name == "theta" and "head.bias" in now:
        now["head.bias"][len(before["head.bias"]) :] = before["head.bias"].min()
