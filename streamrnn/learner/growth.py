"""Moving what one learner has learned into another: with more inputs, units, classes or streams, or other windows.

New columns of the input matrices start at zero, so that a prediction is the same before and after a feature appeared;
optimiser moments, statistics, the RLS readout with its covariance and the streams' windows come along, each entry to
its place. A new class starts with zero weights and the lowest bias of the others: the order of the old ones stays; one
of an open set is not in use before it comes, as ever. A new symbol is looked up as what stood for it before: nothing
where its set is declared; where it is open, a copy of the row of "other". A new unit hears the others and the inputs by
weights that are drawn as at a beginning, or it would never learn, and is heard by weights of zero (Chen et al. 2016,
Net2Net: the function stays). What may change, and how, says ``changes``.

How an array grows stands with its declaration: entry by entry to the places of its axes (``axes``), what is new being
blank, or by another of ``RULES``; before that, rings are laid out anew (``rings``). An array, axis or rule that nobody
declared is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from streamrnn.core.counts import LOST_LABELS, UPDATES, WINDOWS_IN_BATCH
from streamrnn.core.declarations import Stored
from streamrnn.core.layout import APART
from streamrnn.learner import rings
from streamrnn.learner.axes import (
    AXES,
    OUT,
    Move,
    index_of,
    kept_of,
    last_places,
    places_on,
    shared_rows,
    symbol_places,
    tensor_places,
)
from streamrnn.learner.changes import refusals
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lowering import dtype_of, initial_weights, layout_of, outputs_of_classes, sizes_of
from streamrnn.learner.room import survivors
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import MODEL, STREAMS, LearnerState
from streamrnn.learner.streams import RECORD, TIMES
from streamrnn.learner.symbols import OTHER
from streamrnn.learner.vocabulary import begun_with, symbols_in

Array = npt.NDArray[Any]


def carry_over(source: LearnerState, target: Foundation, features: Sequence[int], *, streams: bool = True) -> None:
    """Have ``target``, which saw no record yet, go on from what ``source`` holds.

    ``features[i]`` is the column of the target's features that the source's column i becomes. ``streams=False`` leaves
    the memory of single streams, and the running counts, behind. Of more streams than the target has room for, those
    first to leave (``room``) are dropped. Raises ValueError where the two do not fit; nothing is changed then.
    """
    old, new = source.spec, target.spec
    if lines := refusals(old, new, streams=streams):
        raise ValueError("; ".join(lines))
    if len(features) != old.n_features or len(set(features)) != len(features):
        raise ValueError(f"features: needs a column of its own for each of {old.n_features}, got {list(features)}")
    source.require_fit(old)
    blank = target.state()
    move = Move(old, new, features, blank.model["theta"])
    # Everything is grown before the target changes: an array that cannot grow leaves it as it was.
    if streams:
        kept = _newest_streams(source, new.streams.max_streams, new.streams.protected_share)
        model, rows = grown(MODEL, kept.model, move), grown(STREAMS, kept.streams, move)
        _add_classes_to_predictions(rows["remembered"], old, new)
        _keep_too_long(rows["frames"], old, new)
        # Of streams for which there is no room any more, or that remember fewer.
        model["counters"][LOST_LABELS] += np.count_nonzero(source.streams["event"]) - np.count_nonzero(rows["event"])
        if old.lessons_per_step != new.lessons_per_step:
            _give_up_batch(model)
        target.resume(LearnerState(new, model | symbols_in(new, kept.model), rows, kept.keys))
        return
    # The log begins anew for the target: its streams, clock and counts stay its own, blank.
    learned = {name: array for name, array in MODEL.items() if array.learned}
    counters = blank.model["counters"].copy()
    counters[UPDATES] = source.model["counters"][UPDATES]  # the optimiser counts on from there
    model = {**blank.model, **grown(learned, source.model, move), **begun_with(new, source.model), "counters": counters}
    _give_up_batch(model)
    target.resume(LearnerState(new, model, blank.streams, blank.keys))


def require_no_larger(new: LearnerSpec, old: LearnerSpec) -> None:
    """Raise ValueError where a learner of ``new`` has longer arrays than what was learned under ``old`` can fill.

    For files, whose parameters and arrays are to be of one learner. The number of streams is left out: room for more of
    them is common, and costs nothing before they come.
    """
    before, now = sizes_of(old), sizes_of(new)
    # States kept for windows to start from: where a sequence may end at any step there is one for each.
    before["B"] = max(before["B"], before["K"])
    if longer := [f"{now[axis]} {AXES[axis].meaning}, not {before[axis]}" for axis in now if now[axis] > before[axis]]:
        raise ValueError(f"the parameters mean a larger learner than what was learned: {', '.join(longer)}")


def without_elapsed_time(source: LearnerState) -> LearnerState:
    """The state of a learner that is not shown ``dt``: it goes on as if every event came after the usual time.

    With standardised inputs that is exactly what a column of zeros says. Raises ValueError where they are not.
    """
    old = source.spec
    if not old.learning.scale:
        raise ValueError("learning.scale: without it, nothing stands for the usual time between events")
    new = replace(old, inputs=replace(old.inputs, dt=False))
    move = Move(old, new, range(old.n_features))
    model = grown(MODEL, source.model, move) | symbols_in(old, source.model)
    return LearnerState(new, model, grown(STREAMS, source.streams, move), source.keys)


def _newest_streams(source: LearnerState, most: int, protected_share: float) -> LearnerState:
    """The state with at most so many slots: the streams first to leave are dropped, the others move together."""
    if len(source.keys) <= most:
        return source
    seen = source.streams["seen"]
    order = seen[:, RECORD].argsort().tolist()
    used = [(key, int(seen[slot, TIMES])) for slot in order if (key := source.keys[slot]) is not None]
    remaining = survivors(used, most, protected_share)
    slots = [slot for slot, key in enumerate(source.keys) if key in remaining]
    arrivals = source.model["arrivals"].copy()
    arrivals[2] += len(used) - len(slots)  # dropped for want of room
    rows = {name: array[slots] for name, array in source.streams.items()}
    return LearnerState(source.spec, {**source.model, "arrivals": arrivals}, rows, [source.keys[s] for s in slots])


def _add_classes_to_predictions(remembered: Array, old: LearnerSpec, new: LearnerSpec) -> None:
    """Predictions (S, M, O) that wait to be scored give a new class the lowest probability, as its bias does.

    One of an open set had none, and is scored as "other". A row that is unknown stays so.
    """
    if old.target.classes is None or old.n_outputs == new.n_outputs:
        return
    before, added = np.split(remembered, [old.n_outputs], axis=-1)
    lowest = before.min(axis=-1, keepdims=True)
    added[...] = np.where(np.isnan(lowest), np.nan, 0.0) if new.target.is_open else lowest


def _keep_too_long(frames: Array, old: LearnerSpec, new: LearnerSpec) -> None:
    """A sequence in chunks that was longer than ``max_steps`` allowed stays too long: its frames behind that are gone.

    ``frames`` (S,) says so by one more than there is room for.
    """
    if old.sequence is not None and new.sequence is not None and old.sequence.chunks:
        frames[frames > old.sequence.max_frames] = new.sequence.max_frames + 1


def _give_up_batch(model: dict[str, Array]) -> None:
    """Gradients that wait for the rest of their batch are forgotten."""
    model["accumulated"] = np.zeros_like(model["accumulated"])
    model["accumulated_loss"] = np.zeros_like(model["accumulated_loss"])
    model["in_batch"] = np.zeros_like(model["in_batch"])
    model["counters"] = model["counters"].copy()
    model["counters"][WINDOWS_IN_BATCH] = 0


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
    if "steps" in table and rings.changed(move.old, move.new):
        source = _relaid(table, source, rings.Relaying(move.old, move.new, source))
    result = {}
    for name, declaration in table.items():
        if declaration.growth not in RULES:
            raise ValueError(f"{name!r} grows by {declaration.growth!r}, which is no rule; known: {', '.join(RULES)}")
        slots = source[name].shape[: source[name].ndim - len(declaration.axes)]  # (), or one axis, which stays
        shape = (*slots, *declaration.shape(sizes))
        result[name] = np.full(shape, declaration.blank, declaration.dtype(precision))
        RULES[declaration.growth](Growing(name, declaration, source, result[name], move))
    return result


def _relaid(table: Mapping[str, Stored], source: Mapping[str, Array], of: rings.Relaying) -> dict[str, Array]:
    """The arrays of streams with their rings as the new learner has them, all else as it was."""
    found = {}
    for name, declaration in table.items():
        array = rings.recounted(name, source[name], of)
        if declaration.axes and declaration.axes[0] in rings.RINGS:
            array = rings.relaid(declaration.axes[0], array, declaration.blank, of)
        found[name] = array
    return found | rings.late(found, of) if of.new.rule == "rtrl" else found


# ---- rules


def _to_places(array: Growing) -> None:
    axes = array.declaration.axes
    first = array.target.ndim - len(axes)
    before, rows = array.old.shape[first:], (slice(None),) * first
    index = index_of(array.name, axes, before, array.target.shape[first:], array.move)
    array.target[rows + index] = array.old[rows + kept_of(axes, before, array.move)]


def _tensor_by_tensor(array: Growing) -> None:
    """A vector laid out as theta; what is new is zero."""
    for tensor in _tensors(array):
        tensor.new[tensor.places] = tensor.kept


def _weights(array: Growing) -> None:
    """The same; new units hear by weights as at a beginning, and the bias of a new class is the lowest of the others.

    What hears new units, and how others hear new inputs, is zero, unless weights are fixed; but symbols of an open set
    are heard as "other" was.
    """
    move = array.move
    if not array.old.size or not array.target.size:
        # An average of weights that begins, with what was learned so far, or that is wanted no more.
        if array.target.size:
            _weights(array._replace(name="theta"))
        return
    before, now = move.old.model, move.new.model
    if move.new.rule == "fixed":
        # Nothing would ever lift them from zero. A state knows nothing of a new input yet, which is as if it had always
        # been missing; the readout has yet to learn what new units say.
        array.target[...] = initial_weights(move.new, 0) if move.fresh is None else move.fresh
    elif now.units > before.units or now.hidden_units > before.hidden_units:
        fresh = initial_weights(move.new, 0) if move.fresh is None else move.fresh
        begun = layout_of(move.new).named(fresh)
        for tensor in _tensors(array):
            if tensor.name.startswith(("rnn.", "hidden.")):
                tensor.new[...] = begun[tensor.name]
                tensor.new[tensor.rows] = 0.0
    _tensor_by_tensor(array)
    _hear_as_other(array)
    new = layout_of(move.new).named(array.target)
    for tensor in _tensors(array):
        if tensor.name.startswith("decoder.") and tensor.name.endswith(APART) and move.new.target.is_open:
            tensor.new[:, tensor.old.shape[1] :] = tensor.new[:, OTHER, None]
    if "head.bias" in new and not move.new.target.is_open:
        old = layout_of(move.old).named(array.old)["head.bias"]
        new["head.bias"][len(old) :] = old.min()


def _hear_as_other(array: Growing) -> None:
    """New symbols of an open set, by old units; new units hear each symbol by weights of their own."""
    move, new = array.move, array.move.new
    axes = layout_of(new).axes(array.target)
    for tensor in _tensors(array):
        if tensor.name.startswith("rnn.") and tensor.name.endswith(APART):
            first = 0
        elif new.n_coded == new.n_looked_up and (axes[tensor.name].columns or "").endswith("inputs"):
            first = tensor.new.shape[1] - new.n_coded  # an exact cell's columns of symbols are the last
        else:
            continue
        for other, more in shared_rows(move):
            tensor.new[tensor.rows, first + more.start : first + more.stop] = tensor.new[
                tensor.rows, first + other, None
            ]


def _second_moments(array: Growing) -> None:
    """The same; new entries are the mean of their neighbours': from zero the first steps would be far too long."""
    for tensor in _tensors(array):
        # All of the tensor first; what is old then goes to its places. One without columns has no mean of its own.
        tensor.new[...] = (tensor.old if tensor.old.size else array.old).mean()
        if tensor.columns is not None and tensor.old.size:
            stay = tensor.columns != OUT
            tensor.new[:, tensor.columns[stay]] = tensor.old.mean(axis=0)[stay]
            tensor.new[tensor.rows] = tensor.old.mean(axis=1, keepdims=True)
        tensor.new[tensor.places] = tensor.kept


def _root(array: Growing) -> None:
    """Square roots (O, R, R) of covariances, each extended by independent regressors of variance v:

    P' = | P   0  |        S' = | S     0      |
         | 0  v I |             | 0  sqrt(v) I |
    """
    places = places_on(array.declaration.axes[-1], array.move)
    regressors = np.arange(array.target.shape[1])
    # The whole diagonal; the old block then overwrites its own part of it.
    array.target[:, regressors, regressors] = np.sqrt(_new_variance(array))[:, None]
    stay, to = places != OUT, places[places != OUT]
    array.target[:, to[:, None], to] = array.old if stay.all() else _square(array.old[:, stay])


def _square(rows: Array) -> Array:
    """Square roots (O, K, K) of the covariances that these rows (O, K, R) of larger ones make up.

    S_k S_k' = (Q L')' (Q L') = L L', with the triangle L' of S_k' = Q L'.
    """
    triangles: list[Array] = [np.linalg.qr(of_output.T).R for of_output in rows]
    return np.stack([triangle.T for triangle in triangles])


def _trace(array: Growing) -> None:
    """Traces (O,) of the same covariances: v more for each new regressor."""
    part = array.name.rpartition("_")[0]
    axis, root = "R-H" if part.endswith("plain") else "R", array.source[f"{part}_root"]
    stay = places_on(axis, array.move) != OUT
    before = array.old if stay.all() else np.square(root[:, stay]).sum(axis=(1, 2))
    array.target[:] = before + _new_variance(array) * (sizes_of(array.move.new)[axis] - int(stay.sum()))


def _last_values(array: Growing) -> None:
    """Of features whose last value was kept and still is."""
    for before, now in last_places(array.move):
        array.target[:, now] = array.old[:, before]


def _rows(array: Growing) -> None:
    """Which rows were looked up, as they are numbered now."""
    _to_places(array)
    places = np.append(symbol_places(array.move), -1)  # the last for none
    array.target[...] = places[array.target]


def _outputs_in_use(array: Growing) -> None:
    """All of them, but of an open set of classes those that were: others come into use as they come."""
    new = array.move.new
    array.target[...] = array.old if new.target.is_open else outputs_of_classes(new)


RULES: Mapping[str, Callable[[Growing], None]] = {
    "places": _to_places,
    "tensors": _tensor_by_tensor,
    "weights": _weights,
    "second moments": _second_moments,
    "root": _root,
    "trace": _trace,
    "last values": _last_values,
    "rows": _rows,
    "outputs in use": _outputs_in_use,
}
"""How an array gets what was learned, by the name that stands in its declaration."""


class _Tensor(NamedTuple):
    """A tensor of a vector laid out as theta, old and new, with the places of its old rows and columns (None: it has
    none)."""

    name: str
    old: Array
    new: Array
    rows: Array
    columns: Array | None

    @property
    def places(self) -> Any:
        """In the new tensor, of all that is kept."""
        return self.rows if self.columns is None else np.ix_(self.rows, self.columns[self.columns != OUT])

    @property
    def kept(self) -> Array:
        """The old tensor without the columns that are taken out."""
        return self.old if self.columns is None else self.old[:, self.columns != OUT]


def _tensors(array: Growing) -> list[_Tensor]:
    layout, new = layout_of(array.move.old), layout_of(array.move.new).named(array.target)
    axes = layout.axes(array.old)

    def places(kind: str | None, n: int) -> Array:
        to = None if kind is None else tensor_places(kind, array.move)
        return np.arange(n) if to is None else to

    return [
        _Tensor(
            name,
            tensor,
            new[name],
            places(axes[name].rows, len(tensor)),
            None if tensor.ndim == 1 else places(axes[name].columns, tensor.shape[1]),
        )
        for name, tensor in layout.named(array.old).items()
    ]


def _new_variance(array: Growing) -> Array:
    """Prior variance of a new regressor's weight per output: where others predict well it must not unsettle them."""
    part = array.name.rpartition("_")[0]
    variance: Array = array.move.new.model.prior * np.minimum(1.0, array.source[f"{part}_noise_in_use"])
    return variance
