"""The axes of a learner's arrays: what each counts, how long it is, and where its entries go in a larger learner.

Arrays name their axes where they are declared (``core.arrays``); this is the one place that knows what the names mean.
An axis that grows gives the place of each old entry: new ones stand behind the old, or between them where columns of
several origins follow one another. An axis that does not grow must be as long in the larger learner as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core import counts, reach, rls, surprise
from streamrnn.core.arrays import Plan
from streamrnn.core.cells import CELLS, GATES
from streamrnn.core.exact.cells import ELSTM, GLRU, LRU, TRACE_RUNS
from streamrnn.core.exact.layout import ExactLayout, padded
from streamrnn.core.layout import Layout
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.learner.spec import LAST, LearnerSpec
from streamrnn.learner.symbols import OTHER

Places = npt.NDArray[np.int64]


class Move(NamedTuple):
    """From the learner of one specification to that of another: ``features[i]`` is the new column of old column i.

    ``fresh`` is theta (P,) of the latter before it took over: what its new units hear by. None: there are no new units.
    """

    old: LearnerSpec
    new: LearnerSpec
    features: Sequence[int]
    fresh: npt.NDArray[Any] | None = None


OUT = -1
"""The place of an entry that is taken out."""


class Network(NamedTuple):
    """What the length of an axis follows from."""

    spec: LearnerSpec
    layout: Layout | ExactLayout | SequenceLayout
    plan: Plan


class Axis(NamedTuple):
    """One axis: its meaning, its length, and the place of each old entry.

    BEHIND: new entries stand behind the old ones. None: it does not grow.
    """

    meaning: str
    size: Callable[[Network], int]
    places: Callable[[Move], Places] | Literal["behind"] | None = None


BEHIND: Literal["behind"] = "behind"


def _columns(spec: LearnerSpec) -> int:
    if spec.sequence is not None:
        return spec.n_targets
    return 1 if spec.target.classes is not None else len(spec.target.steps_ahead) * spec.n_targets


def _decoder_rows(spec: LearnerSpec) -> int:
    """Rows that the symbol before is to a decoder."""
    return spec.n_classes if spec.target.kind == "sequence" else 0


def _in_chunks(spec: LearnerSpec) -> int:
    """1 = sequences come in chunks."""
    return int(spec.sequence is not None and spec.sequence.chunks)


def _so_far(spec: LearnerSpec, kind: str) -> int:
    """1 = of a sequence of this kind something is said before its end."""
    return _in_chunks(spec) if spec.model.direction == "forward" and spec.target.kind == kind else 0


def lookahead(spec: LearnerSpec) -> int:
    """Steps that predictions wait for; 0 = they do not wait."""
    return (spec.model.lookahead or 0) if spec.looks_ahead else 0


def _history(spec: LearnerSpec, plan: Plan) -> int:
    """Enough for the lags (each may be a difference over one period) and for the baseline of the last horizon."""
    period = plan.period  # -(-a // b) is a / b rounded up, as below
    return max(plan.lags + period, -(-spec.target.furthest // period) * period + 1) if period else plan.lags


def statistics_places(move: Move) -> Places:
    """Of each feature's statistics, and of dt's, which are the last."""
    return np.array([*move.features, move.new.n_features], np.int64)


def input_places(move: Move) -> Places:
    """Of each input column that is multiplied: features, dt, previous targets, flags that they are known."""
    old, new, features = move.old, move.new, move.features
    places = list(features)
    if old.inputs.dt:
        places.append(new.n_features if new.inputs.dt else OUT)
    if old.inputs.previous_target and old.target.classes is None:
        first = new.n_features + int(new.inputs.dt)
        for k in range(old.n_previous):  # kinds of columns (last values, last changes), each with all fields
            kind, field = divmod(k, old.n_targets)
            places.append(first + kind * new.n_targets + field)
        places.extend(first + new.n_previous + f for f in range(old.n_targets))
    if old.sequence is not None:  # of each frame of a step
        places = [at * new.n_features + place for at in range(old.sequence.stack) for place in places]
    if old.n_coded:
        coded = symbol_places(move) if old.n_looked_up == old.n_coded else np.arange(old.n_coded)
        places.extend(new.n_multiplied - new.n_coded + coded)
    # A network without any inputs has one column of zeros.
    return np.array(places if places or not old.n_multiplied else [0], np.int64)


def row_places(move: Move) -> Places:
    """Of each row of weights that inputs look up, and then of each that a decoder does, a class each."""
    if move.old.model.is_exact:
        return np.zeros(0, np.int64)
    decoder = range(move.new.n_looked_up, move.new.n_looked_up + _decoder_rows(move.old))
    return np.concatenate([symbol_places(move), np.array(decoder, np.int64)])


def symbol_places(move: Move) -> Places:
    """Of each symbol by the number that inputs look up: the symbols of each input, previous classes, "known"."""
    places: list[int] = []
    for first, before, _, _ in _sets(move):
        places += range(first, first + before)
    if move.old.shows_class:
        places.append(move.new.n_looked_up - 1)
    return np.array(places, np.int64)


def shared_rows(move: Move) -> list[tuple[int, range]]:
    """Of each open set that takes more symbols: the new row of "other", and those of the numbers that are added."""
    return [
        (first + OTHER, range(first + before, first + now))
        for first, before, now, is_open in _sets(move)
        if is_open and now > before
    ]


def _sets(move: Move) -> Iterator[tuple[int, int, int, bool]]:
    """Of each set that inputs look up, symbols and then previous classes: its first row in the new learner, how many
    rows it had and has, and whether it is open."""
    old, new, first = move.old, move.new, 0
    sizes = [(before.size, now.size, now.open) for before, now in zip(old.symbols, new.symbols, strict=True)]
    if old.shows_class:
        sizes.append((old.n_classes, new.n_classes, new.target.is_open))
    for before, now, is_open in sizes:
        yield first, before, now, is_open
        first += now


def regressor_places(move: Move) -> Places:
    """Of each regressor of the RLS readout: state, inputs, then lags and the constant."""
    if not move.old.n_regressors:
        return np.zeros(0, np.int64)
    return np.append(_beside_lags(move, move.new.n_read, _read_places(move)), move.new.n_regressors - 1)


def kept_places(move: Move) -> Places:
    """Of each number that they are made from."""
    if move.old.keeps_what_is_read:
        return _beside_lags(move, move.new.model.n_said, said_places(move))
    return regressor_places(move)[:-1]


def _beside_lags(move: Move, n: int, places: Places) -> Places:
    """The places among the first n; behind them come inputs, then lags, the newest of all fields first."""
    lags = n + move.new.n_multiplied + np.arange(move.old.model.lags * move.old.n_targets)
    return np.concatenate([places, _behind(n, input_places(move)), lags])


def _read_places(move: Move) -> Places:
    """Of each number that is read out of a step: a hidden layer's, or the cell's."""
    return np.arange(move.old.n_read) if move.old.model.hidden_units else said_places(move)


def said_places(move: Move) -> Places:
    """Of each number that the cell hands up: of complex units all real parts, then all imaginary ones."""
    return units_in_turn(move, move.old.model.n_said // move.old.model.units)


def _behind(first: int, places: Places) -> Places:
    """The places, where those of something else come first."""
    return np.where(places == OUT, OUT, first + places)


def plain_places(move: Move) -> Places:
    """The same where the state is not among them."""
    return _behind(-move.new.n_read, regressor_places(move)[move.old.n_read :])


def in_both(size: Callable[[LearnerSpec], int]) -> Callable[[Move], Places]:
    """Of each entry of an axis that may become shorter, too: what is beyond its new size is taken out."""

    def places(move: Move) -> Places:
        before = np.arange(size(move.old))
        return np.where(before < size(move.new), before, OUT)

    return places


def _followed(spec: LearnerSpec) -> int:
    """Numbers of steps back that gradients are followed, 0, 1, 2, 4, ... up to k2; none where they are carried."""
    return reach.entries(spec.k2) if spec.rule == "tbptt" else 0


def _awaited(spec: LearnerSpec) -> int:
    """1 = exact gradients wait for labels."""
    return int(spec.rule == "rtrl" and spec.target.known == "label")


def _overtaken(spec: LearnerSpec) -> int:
    """Powers of two, 0 before them, that count by how many steps such a label comes out of order."""
    return _awaited(spec) and spec.target.label_memory.bit_length() + 1


def gate_places(move: Move) -> Places:
    """Of each row of a layer's matrices: the gates one after the other, in each of them the units."""
    gates = GATES[CELLS[move.old.model.cell]]
    units = np.arange(move.old.model.units)
    return np.concatenate([gate * move.new.model.units + units for gate in range(gates)])


def units_in_turn(move: Move, times: int) -> Places:
    """Of each unit of several runs of a layer's units, one behind the other."""
    units = np.arange(move.old.model.units)
    return np.concatenate([k * move.new.model.units + units for k in range(times)])


def tensor_places(kind: str, move: Move) -> Places | None:
    """Of each row or column of a tensor of weights, by what it stands for (``core.sequences.layout.Axes``).

    None: they stay where they are, and new ones come behind them.
    """
    both = 2 if move.old.model.direction == "both" else 1
    if kind in _TENSOR_PLACES:
        return _TENSOR_PLACES[kind](move)
    runs = {"units": 1, "encoded": both, "pooled": 2 * both}
    return units_in_turn(move, runs[kind]) if kind in runs else None


def _inputs_behind_said(move: Move) -> Places:
    return np.concatenate([said_places(move), _behind(move.new.model.n_said, input_places(move))])


def _inputs_behind_hidden(move: Move) -> Places:
    hidden = np.arange(move.old.model.hidden_units)
    return np.concatenate([hidden, _behind(move.new.model.hidden_units, input_places(move))])


_TENSOR_PLACES: Mapping[str, Callable[[Move], Places]] = {
    "gates": gate_places,
    "inputs": input_places,
    "rows": symbol_places,
    "said and inputs": _inputs_behind_said,
    "hidden and inputs": _inputs_behind_hidden,
}


def unit_places(move: Move) -> Places:
    """Of each unit as it stands in arrays: the padding of exact cells is left out."""
    n = move.old.model.units
    units = padded(n) if move.old.model.is_exact else n
    return np.where(np.arange(units) < n, np.arange(units), OUT)


def trace_places(move: Move) -> Places:
    """Of each sensitivity of a unit: runs of one for each input, and behind them those of what is no input."""
    if move.old.rule != "rtrl":
        return np.zeros(0, np.int64)
    inputs, first, places = input_places(move), 0, []
    for of_inputs, more in TRACE_RUNS[exact_cell(move.old)]:
        n = move.new.n_multiplied if of_inputs else 0
        places += [_behind(first, inputs)] if of_inputs else []
        places.append(first + n + np.arange(more))
        first += n + more
    return np.concatenate(places)


def trace_inputs(spec: LearnerSpec) -> Places:
    """Of each sensitivity of a unit the input that it is of, -1 = of none."""
    inputs = np.arange(spec.n_multiplied)
    runs = [(inputs[: of_inputs * len(inputs)], more) for of_inputs, more in TRACE_RUNS[exact_cell(spec)]]
    return np.concatenate([np.append(of, np.full(more, -1)) for of, more in runs])


def shown_places(move: Move) -> Places:
    """Of each input that such a cell was shown."""
    return input_places(move) if move.old.rule == "rtrl" else np.zeros(0, np.int64)


def exact_cell(spec: LearnerSpec) -> int:
    """The code of a cell whose gradient is carried along, or which has none."""
    if spec.model.cell == "elstm":
        return ELSTM
    return GLRU if spec.model.cell == "glru" and spec.model.gates else LRU


def last_places(move: Move) -> list[tuple[int, int]]:
    """Of each feature whose last value is kept in both: where it stands in the old learner, and where in the new."""
    now = {column: place for place, column in enumerate(last_columns(move.new))}
    columns = (move.features[column] for column in last_columns(move.old))
    return [(place, now[column]) for place, column in enumerate(columns) if column in now]


def last_columns(spec: LearnerSpec) -> list[int]:
    """The features whose last value is kept, in the order in which it stands in the stream's row."""
    return [column for column, what in enumerate(spec.missing) if what == LAST]


AXES: Mapping[str, Axis] = {
    "P": Axis("parameters", lambda of: of.layout.size),
    "average": Axis("parameters that predict", lambda of: of.layout.size if of.spec.learning.average else 0),
    "L": Axis("layers", lambda of: of.layout.num_layers),
    "C": Axis("vectors per layer state", lambda of: of.layout.state_count),
    "H": Axis("hidden units; of exact cells, padded to whole vectors", lambda of: of.layout.units, unit_places),
    "traces": Axis(
        "sensitivities of a unit", lambda of: of.layout.traces if of.spec.rule == "rtrl" else 0, trace_places
    ),
    "behind": Axis(
        "vectors of a state that learns behind the one that predicts",
        lambda of: of.layout.state_count if of.spec.delay else 0,
    ),
    "carried": Axis("1 where sensitivities are carried", lambda of: int(of.spec.rule == "rtrl")),
    "awaited": Axis("1 where exact gradients wait for labels", lambda of: _awaited(of.spec), in_both(_awaited)),
    "overtaken": Axis("powers of two of steps out of order", lambda of: _overtaken(of.spec), in_both(_overtaken)),
    "shown": Axis(
        "inputs that an exact cell was shown",
        lambda of: of.layout.n_inputs if of.spec.rule == "rtrl" else 0,
        shown_places,
    ),
    "D": Axis("inputs of the network that are multiplied", lambda of: of.layout.n_inputs, input_places),
    "W": Axis(
        "rows that inputs look up, and then a decoder", lambda of: of.layout.n_rows + _decoder_rows(of.spec), row_places
    ),
    "lookups": Axis("rows that a step looks up", lambda of: of.spec.n_lookups),
    "surprises": Axis("newest surprises", lambda of: surprise.NEWEST if of.spec.n_classes else 0),
    "own_surprises": Axis("newest surprises of a stream", lambda of: surprise.NEWEST_OWN if of.spec.n_classes else 0),
    "U+1": Axis("encoded features and dt", lambda of: of.spec.n_features + 1, statistics_places),
    "V": Axis("features whose last value is kept", lambda of: of.spec.missing.count(LAST)),
    "O": Axis("outputs", lambda of: of.spec.n_outputs, BEHIND),
    "classes": Axis("classes", lambda of: of.spec.n_classes, BEHIND),
    "F": Axis("target fields", lambda of: of.spec.n_targets, BEHIND),
    "Y": Axis("target columns of a step", lambda of: _columns(of.spec), BEHIND),
    "changes": Axis(
        "target columns that are differences to a baseline", lambda of: _columns(of.spec) * (of.plan.period > 0), BEHIND
    ),
    "K": Axis("steps of a window (k2)", lambda of: of.plan.k2),
    "X": Axis(
        "steps whose inputs are kept: of a window, and those that are looked ahead to",
        lambda of: of.plan.k2 + lookahead(of.spec),
    ),
    "A": Axis(
        "events that wait for the steps behind them, and the newest",
        lambda of: lookahead(of.spec) + 1 if of.spec.looks_ahead else 0,
    ),
    "B": Axis(
        "states kept for windows to start from",
        lambda of: -(-of.plan.k2 // of.plan.stride) if of.spec.rule == "tbptt" else 0,
    ),
    "lags": Axis("lagged values of all fields", lambda of: of.plan.lags * of.spec.n_targets, BEHIND),
    "Q": Axis("values of a field remembered", lambda of: _history(of.spec, of.plan)),
    "M": Axis("predictions remembered", lambda of: of.spec.remembered),
    "N": Axis("predictions remembered with what they were made from", lambda of: of.plan.rls * of.spec.remembered),
    "E": Axis(
        "events that wait for labels",
        lambda of: of.spec.remembered if of.spec.target.known == "label" else 0,
    ),
    "readouts": Axis("outputs of the RLS readout", lambda of: of.plan.rls * of.spec.n_outputs),
    "R": Axis("regressors of the RLS readout", lambda of: of.spec.n_regressors, regressor_places),
    "kept": Axis("numbers that regressors are made from", lambda of: of.spec.n_kept, kept_places),
    "R-H": Axis("regressors without the state", lambda of: max(0, of.spec.n_regressors - of.spec.n_read), plain_places),
    "experts": Axis("experts of the RLS readout", lambda _: rls.EXPERTS),
    "counts": Axis("counts", lambda _: len(counts.COUNTS)),
    "gauges": Axis("gauges", lambda _: len(counts.GAUGES)),
    "chunk_steps": Axis(
        "steps of a sequence that comes in chunks",
        lambda of: of.spec.sequence.max_steps if of.spec.sequence and of.spec.sequence.chunks else 0,
        BEHIND,
    ),
    "chunk_states": Axis(
        "states that such a sequence began with",
        lambda of: _in_chunks(of.spec) if of.spec.sequence and of.spec.sequence.carry else 0,
    ),
    "pooled": Axis("units of the sum so far", lambda of: _so_far(of.spec, "label") * of.layout.hidden_size, BEHIND),
    "said": Axis("symbols so far", lambda of: _so_far(of.spec, "transcript") * of.spec.target.max_symbols, BEHIND),
    "reach": Axis("steps back to which gradients are followed", lambda of: _followed(of.spec), in_both(_followed)),
}


def places_on(axis: str, move: Move) -> Places:
    """The place of each old entry on an axis that says it. Raises ValueError for another."""
    known = AXES[axis].places if axis in AXES else None
    if known is None or known == BEHIND:
        raise ValueError(f"axis {axis!r} does not say where its entries go")
    return known(move)


def index_of(array: str, axes: Sequence[str], old: Sequence[int], new: Sequence[int], move: Move) -> tuple[Any, ...]:
    """Where the entries of an array with these axes go in a larger one; ``old`` and ``new`` are the two shapes.

    Raises ValueError naming the array and the axis, when nobody knows the axis or it cannot grow.
    """
    index: list[Any] = []
    for axis, before, now in zip(axes, old, new, strict=True):
        if not axis.isdecimal() and axis not in AXES:
            known = ", ".join(AXES)
            raise ValueError(f"{array!r} has an axis {axis!r} that nobody has told how to grow; known: {known}")
        places = None if axis.isdecimal() else AXES[axis].places
        if places is not None and places != BEHIND:
            to = places(move)
            index.append(to[to != OUT])
        elif before == now or places == BEHIND:
            index.append(slice(before))
        else:
            meaning = "entries" if axis.isdecimal() else AXES[axis].meaning
            raise ValueError(f"{array!r} cannot go from {before} to {now} {meaning}")
    return _crosswise(index)


def kept_of(axes: Sequence[str], old: Sequence[int], move: Move) -> tuple[Any, ...]:
    """The entries of an array with these axes that ``index_of`` has a place for: all but those that are taken out."""
    kept: list[Any] = []
    for axis, before in zip(axes, old, strict=True):
        places = None if axis.isdecimal() else AXES[axis].places
        told = places is not None and places != BEHIND
        kept.append(np.flatnonzero(places_on(axis, move) != OUT) if told else slice(before))
    return _crosswise(kept)


def _crosswise(index: Sequence[Any]) -> tuple[Any, ...]:
    """An index to every entry along one axis with every one along the others.

    Plain arrays of places would be paired off, entry by entry.
    """
    if all(isinstance(places, slice) for places in index):
        return tuple(index)
    return np.ix_(*(np.arange(places.stop) if isinstance(places, slice) else places for places in index))
