"""Moving what one learner has learned into another with more inputs, classes or streams.

New columns of the input matrices start at zero, so that a prediction is the same before and after a feature appeared;
optimiser moments, statistics, the RLS readout with its covariance and the streams' windows come along, each entry to
its place. A new class starts with zero weights and the lowest bias of the others: the order of the old ones stays.
Cell, sizes, precision and the kind of target have to agree.

How an array grows stands with its declaration: entry by entry to the places of its axes (``axes``), what is new being
blank, or by another of ``RULES``. An array, axis or rule that nobody declared is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core.counts import UPDATES
from streamrnn.core.declarations import Stored
from streamrnn.learner.axes import Move, index_of, input_places, places_on
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import dtype_of, layout_of, sizes_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import MODEL, STREAMS, LearnerState

Array = npt.NDArray[Any]


def differences(old: LearnerSpec, new: LearnerSpec) -> list[str]:
    """Why a learner of ``new`` cannot go on from one of ``old``, one reason a line; empty where it can."""
    lines = [
        f"{where}.{name}: {getattr(a, name)!r} in what was learned, {getattr(b, name)!r} here"
        for where, a, b, names in (
            ("model", old.model, new.model, ("cell", "hidden_size", "num_layers", "dtype", "readout")),
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
    # Only the RLS readout has weights for lags.
    if old.n_regressors and old.model.lags != new.model.lags:
        lines.append(f"model.lags: {old.model.lags} in what was learned, {new.model.lags} here")
    if old.inputs.dt and not new.inputs.dt:  # inputs may be added; what was learned of one cannot be left out
        lines.append("inputs.dt: true in what was learned, false here")
    if old.n_targets > new.n_targets or (old.n_targets < new.n_targets and not _may_gain_fields(old)):
        lines.append(f"target.fields: {old.n_targets} in what was learned, {new.n_targets} here")
    if old.model.effective_loss == "quantile" and old.model.quantiles != new.model.quantiles:
        lines.append(f"model.quantiles: {old.model.quantiles} in what was learned, {new.model.quantiles} here")
    if old.target.classes is not None and new.target.classes is not None:
        before, now = len(old.target.classes), len(new.target.classes)
        # The one output of a logistic readout tells two classes apart; a third would need others.
        if now < before or (now > before and old.model.readout == "logistic"):
            lines.append(f"target.classes: {before} in what was learned, {now} here")
    return lines


def carry_over(source: LearnerState, target: Learner, features: Sequence[int], *, streams: bool = True) -> None:
    """Have ``target``, which saw no record yet, go on from what ``source`` holds.

    ``features[i]`` is the column of the target's features that the source's column i becomes. ``streams=False`` leaves
    the memory of single streams, and the running counts, behind. Raises ValueError where the two do not fit; nothing is
    changed then.
    """
    old, new = source.spec, target.spec
    if lines := differences(old, new):
        raise ValueError("; ".join(lines))
    if len(features) != old.n_features or len(set(features)) != len(features):
        raise ValueError(f"features: needs a column of its own for each of {old.n_features}, got {list(features)}")
    source.require_fit(old)
    move = Move(old, new, features)
    # Everything is grown before the target changes: an array that cannot grow leaves it as it was.
    if streams:
        model, rows = grown(MODEL, source.model, move), grown(STREAMS, source.streams, move)
        target.resume(LearnerState(new, model, rows, source.keys))
        return
    # The log begins anew for the target: its streams, clock and counts stay its own, blank.
    blank = target.state()
    learned = {name: array for name, array in MODEL.items() if array.learned}
    counters = blank.model["counters"].copy()
    counters[UPDATES] = source.model["counters"][UPDATES]  # the optimiser counts on from there
    model = {**blank.model, **grown(learned, source.model, move), "counters": counters}
    target.resume(LearnerState(new, model, blank.streams, blank.keys))


class Growing(NamedTuple):
    """An array that is being grown: all arrays of the smaller learner, and the blank one to fill in the larger."""

    name: str
    declaration: Stored
    source: Mapping[str, Array]
    target: Array
    move: Move

    @property
    def old(self) -> Array:
        """The array in the smaller learner."""
        return self.source[self.name]


def grown(table: Mapping[str, Stored], source: Mapping[str, Array], move: Move) -> dict[str, Array]:
    """The arrays of ``table`` as they are in the larger learner. Raises ValueError for one that cannot grow so."""
    sizes, precision = sizes_of(move.new), dtype_of(move.new)
    result = {}
    for name, declaration in table.items():
        if declaration.growth not in RULES:
            raise ValueError(f"{name!r} grows by {declaration.growth!r}, which is no rule; known: {', '.join(RULES)}")
        slots = source[name].shape[: source[name].ndim - len(declaration.axes)]  # (), or one axis, which stays
        shape = (*slots, *declaration.shape(sizes))
        result[name] = np.full(shape, declaration.blank, declaration.dtype(precision))
        RULES[declaration.growth](Growing(name, declaration, source, result[name], move))
    return result


# ---- rules


def _to_places(array: Growing) -> None:
    axes = array.declaration.axes
    first = array.target.ndim - len(axes)
    index = index_of(array.name, axes, array.old.shape[first:], array.target.shape[first:], array.move)
    array.target[(slice(None),) * first + index] = array.old


def _tensor_by_tensor(array: Growing) -> None:
    """A vector laid out as theta; what is new is zero."""
    for old, new, inputs in _tensors(array):
        if inputs is None:
            new[: len(old)] = old
        else:
            new[:, inputs] = old


def _weights(array: Growing) -> None:
    """The same; the bias of a new class is the lowest of the others."""
    _tensor_by_tensor(array)
    new = layout_of(array.move.new).named(array.target)
    if "head.bias" in new:
        old = layout_of(array.move.old).named(array.old)["head.bias"]
        new["head.bias"][len(old) :] = old.min()


def _second_moments(array: Growing) -> None:
    """The same; new entries are the mean of their neighbours': from zero the first steps would be far too long."""
    # All of the tensor first; what is old then goes to its places.
    for old, new, inputs in _tensors(array):
        if inputs is not None:
            new[...] = old.mean(axis=1, keepdims=True)
        elif len(new) > len(old):
            new[...] = old.mean(axis=0)
    _tensor_by_tensor(array)


def _root(array: Growing) -> None:
    """Square roots (O, R, R) of covariances, each extended by independent regressors of variance v:

    P' = | P   0  |        S' = | S     0      |
         | 0  v I |             | 0  sqrt(v) I |
    """
    places = places_on(array.declaration.axes[-1], array.move)
    regressors = np.arange(array.target.shape[1])
    # The whole diagonal; the old block then overwrites its own part of it.
    array.target[:, regressors, regressors] = np.sqrt(_new_variance(array))[:, None]
    array.target[:, places[:, None], places] = array.old


def _trace(array: Growing) -> None:
    """Traces (O,) of the same covariances: v more for each new regressor."""
    added = array.move.new.n_regressors - array.move.old.n_regressors
    array.target[:] = array.old + _new_variance(array) * added


RULES: Mapping[str, Callable[[Growing], None]] = {
    "places": _to_places,
    "tensors": _tensor_by_tensor,
    "weights": _weights,
    "second moments": _second_moments,
    "root": _root,
    "trace": _trace,
}
"""How an array gets what was learned, by the name that stands in its declaration."""


def _tensors(array: Growing) -> list[tuple[Array, Array, Array | None]]:
    """Each tensor of a vector laid out as theta, old and new; with the places of its columns where these are inputs."""
    old, new = layout_of(array.move.old).named(array.old), layout_of(array.move.new).named(array.target)
    inputs = input_places(array.move)
    return [(tensor, new[name], inputs if name == "rnn.weight_ih_l0" else None) for name, tensor in old.items()]


def _new_variance(array: Growing) -> Array:
    """Prior variance of a new regressor's weight per output: where others predict well it must not unsettle them."""
    part = array.name.rpartition("_")[0]
    variance: Array = array.move.new.model.rls_prior * np.minimum(1.0, array.source[f"{part}_noise_in_use"])
    return variance


def _may_gain_fields(spec: LearnerSpec) -> bool:
    """Whether a further target field stands behind the others in every array: one horizon, no RLS readout."""
    return spec.target.horizon == 1 and not spec.n_regressors and spec.model.effective_loss != "quantile"
