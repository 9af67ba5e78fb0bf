"""What a learner's arrays may hold, looked at before any of it is handed to a kernel.

Kernels trust their arrays: a count is a place in a ring, a class is a row of the readout, and the square root of a
negative moment would be a weight. So every array of a state has a row here with the range that a learner can bring it
to, whatever records it sees, and a test asks for the row of each. NaN stands where a target or a value is unknown, and
nowhere else. What steers nothing may hold anything: sums for people, and numbers that are looked at again before they
are used. How arrays belong together say ``relations``.

A number that is in range says nothing of whether it was learned: targets of 9e99 are allowed, so their mean may be
there, and betas may change from one day to the next, so no moment of Adam follows from the other. The bounds of weights
are for what no settings lead to. What goes on to grow, counts and weights, may in a file that somebody hands over be
half of what a learner may come to (``beginning``): a job that begins there must not write what it could not read.

Everything is a pass over whole arrays; reading a checkpoint takes many times as long.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core.drift import CHUNK, SLOW
from streamrnn.core.inputs import LARGEST
from streamrnn.core.rivals import MEMORY
from streamrnn.core.rls import SMALLEST_NOISE
from streamrnn.core.scaler import ABSURD, NEWCOMERS, QUIET
from streamrnn.core.targets import LARGEST_LAG
from streamrnn.learner import clock, relations
from streamrnn.learner.lowering import outputs_of_classes
from streamrnn.learner.spec import LearnerSpec

Array = npt.NDArray[Any]

LARGEST_WEIGHT = 1e30
"""Of a network: learners without clipping at the highest rates, given the most absurd records, stay far below. Products
with inputs and with the states behind them are still numbers in single precision, or are seen not to be."""
_LARGEST_SOLVED = 1e150
"""Of the RLS readout, which is solved for and not led there step by step: squares are still numbers."""
LARGEST_COUNT = 2**53
"""Nothing that is counted record by record comes near it, and none of the numbers below is rounded."""

_FINITE = sys.float_info.max
_SQUARES = 1e300
"""Sums of squares, of values within ``ABSURD`` each: far below, and far enough from the largest number."""
_ROUNDED = 1.001
"""What rounding may add to a bound."""


class Range(NamedTuple):
    """From ``least`` to ``most``, both included; NaN too where numbers may be ``unknown``; ``whole``: no fractions.

    ``grows``: a learner that goes on may bring it further.
    """

    least: float = -_FINITE
    most: float = _FINITE
    unknown: bool = False
    whole: bool = False
    grows: bool = False

    def beginning(self) -> Range:
        """What a learner may begin with."""
        return self._replace(least=max(self.least, self.least / 2 - 0.5), most=self.most / 2) if self.grows else self


class Part(NamedTuple):
    """A range of some of an array's entries."""

    at: tuple[Any, ...]
    within: Range
    called: str


Rule = Range | Sequence[Part] | None
"""What stands in the table; None: anything of the array's type."""

ANYTHING = None
WEIGHT = Range(-LARGEST_WEIGHT, LARGEST_WEIGHT, grows=True)
SOLVED = Range(-_LARGEST_SOLVED, _LARGEST_SOLVED, grows=True)
COUNT = Range(0, LARGEST_COUNT, grows=True)
PROBABILITY = Range(0.0, 1.0, unknown=True)
SQUARES = Range(0.0, _SQUARES)
VALUE = Range(-ABSURD, ABSURD)
KNOWN_OR_NOT = Range(-ABSURD, ABSURD, unknown=True)
MEAN = Range(-_ROUNDED * ABSURD, _ROUNDED * ABSURD)
DIFFERENCE = Range(-2 * _ROUNDED * ABSURD, 2 * _ROUNDED * ABSURD)
NOISE = Range(SMALLEST_NOISE / _ROUNDED, _SQUARES)
COUNTED = Range(-LARGEST_COUNT, LARGEST_COUNT, grows=True)
_GROWING = {(0, LARGEST_COUNT), (0, clock.LONGEST_MS)}  # of a clock's numbers
LIVED_MS = Range(0, clock.LONGEST_MS, grows=True)


def _columns(*ranges: Range, names: Sequence[str]) -> tuple[Part, ...]:
    """Of the last axis."""
    return tuple(Part((..., k), within, name) for k, (within, name) in enumerate(zip(ranges, names, strict=True)))


WATCH = _columns(
    SQUARES, Range(-NEWCOMERS, QUIET), DIFFERENCE, SQUARES, DIFFERENCE, SQUARES,
    Range(-LARGEST_COUNT, LARGEST_COUNT), DIFFERENCE, SQUARES,
    names=("widened bound", "run", "run's mean", "run's squares", "held centre", "held width", "count put aside",
           "mean put aside", "squares put aside"),
)  # fmt: skip
"""What is watched of a variable, see ``core.scaler``."""

DRIFT = _columns(
    Range(0.0, CHUNK), Range(CHUNK * MEAN.least, CHUNK * MEAN.most), Range(0.0, SLOW), MEAN, MEAN,
    names=("values held", "their sum", "count", "fast mean", "slow mean"),
)  # fmt: skip
"""Means of an input, see ``core.drift``."""

SCALING = _columns(MEAN, Range(0.0, _SQUARES, unknown=True), Range(0, 1), names=("centre", "width", "whether to learn"))
SEEN = _columns(
    Range(-(2**63), 2**63 - 1), COUNT, LIVED_MS, COUNT, LIVED_MS,
    names=("stream time", "record", "time lived", "records", "first time lived"),
)  # fmt: skip
STATE = (
    Part((..., 0, slice(None)), Range(-_ROUNDED, _ROUNDED), "h"),
    Part((..., slice(1, None), slice(None)), COUNTED, "c"),
)
"""What a cell hands on is a hyperbolic tangent, or a mean of some; what else it carries grows by no more than 1 with a
record."""

_SQUARES_MODEL: Mapping[str, Rule] = {
    "weight": SOLVED,
    "root": SOLVED,
    "trace": Range(-_SQUARES, _SQUARES),  # rounding may leave it below zero
    "noise": NOISE,
    "noise_sum": SQUARES,
    "noise_count": Range(0.01, LARGEST_COUNT),
    "noise_in_use": NOISE,
    "refreshed": COUNT,
}
"""Of one linear model of the RLS readout."""


def _classes(spec: LearnerSpec, *, unknown: bool = False) -> Range | None:
    """The range of a class index; None where numbers are predicted."""
    return None if spec.target.classes is None else Range(0, spec.n_classes - 1, unknown, True)


_STATISTICS: Mapping[str, Rule] = {
    "x_count": COUNT,
    "x_mean": MEAN,
    "x_m2": SQUARES,
    "x_watch": WATCH,
    "x_first": MEAN,
    "x_drift": DRIFT,
    "x_clamped": COUNT,
    "y_count": COUNT,
    "y_mean": MEAN,
    "y_m2": SQUARES,
    "y_watch": WATCH,
    "y_first": MEAN,
    "y_clamped": COUNT,
    "change_count": COUNT,
    "change_m2": SQUARES,
    "change_watch": WATCH,
    "change_first": Range(0.0, DIFFERENCE.most),
}
"""Of inputs, targets and differences, over the whole partition."""


def model_ranges(spec: LearnerSpec) -> dict[str, Rule]:
    """Of every array of ``state.MODEL``."""
    return {
        "theta": WEIGHT,
        "accumulated": ANYTHING,  # a sum that overflows is dropped with its batch
        "accumulated_loss": ANYTHING,
        "in_batch": Range(0, 1),
        "outputs_in_use": Range(1 if spec.target.is_open else outputs_of_classes(spec), outputs_of_classes(spec)),
        "average": WEIGHT,
        "moment1": WEIGHT,
        "moment2": Range(0.0),
        **{f"readout_full_{name}": rule for name, rule in _SQUARES_MODEL.items()},
        **{f"readout_plain_{name}": rule for name, rule in _SQUARES_MODEL.items()},
        "readout_losses": Range(0.0),
        "readout_loss_count": COUNT,
        **_STATISTICS,
        "overtaken": COUNT,
        "rival_count": COUNT,
        "typical": _classes(spec) or MEAN,  # a class is a place in the array below
        "class_counts": COUNT,
        "surprises": Range(0.0),
        "surprise_count": COUNT,
        "recent_errors": Range(0.0, _ROUNDED * MEMORY * DIFFERENCE.most),
        "counters": COUNT,
        "gauges": ANYTHING,
        "state_gradient": ANYTHING,
        "clock": [
            Part((k,), Range(*of, grows=of in _GROWING), name) for k, (name, of) in enumerate(clock.RANGES.items())
        ],
        "arrivals": COUNT,
        "digest": Range(0, 2**32 - 1),
    }


def _open_sequences(spec: LearnerSpec) -> dict[str, Rule]:
    """Of what is kept of sequences that come in chunks and have not ended."""
    return {
        "frames": Range(0, LARGEST_COUNT if spec.sequence is None else spec.sequence.max_frames + 1),
        "frame_x": Range(-_ROUNDED * LARGEST, _ROUNDED * LARGEST),
        "frame_rows": Range(-1, spec.n_looked_up - 1),
        "frame_y": _classes(spec, unknown=True) or KNOWN_OR_NOT,
        "first_state": STATE,
        "pooled": COUNTED,  # one for each step at most
        "said": Range(0, max(0, spec.n_classes - 1)),
        "said_value": Range(0.0, _ROUNDED),
        "n_said": Range(0, spec.target.max_symbols),
        "newest_output": Range(0, spec.n_outputs - 1),
    }


def _carried(spec: LearnerSpec) -> dict[str, Rule]:
    """Of states and what goes with them; complex units are linear in what comes in, and so as large as that or more."""
    state: Rule = Range() if spec.model.n_said > spec.model.units else STATE
    return {
        "state": state,
        "traces": ANYTHING,  # a gradient that is not finite is dropped
        "behind": state,
        "learned": COUNT,
        "answered": COUNT,
        "shown": Range(0, 1),
        "before": STATE,
    }


def _regressors(spec: LearnerSpec) -> Rule:
    """Of inputs, which are clamped, and of what is read out: large only where complex units are kept as they are."""
    as_they_are = spec.keeps_what_is_read or not spec.model.hidden_units
    linear = spec.model.n_said > spec.model.units and as_they_are
    return Range() if linear else Range(-_ROUNDED * LARGEST, _ROUNDED * LARGEST)


def _waiting(spec: LearnerSpec) -> dict[str, Rule]:
    """Of events that wait for the steps behind them; a target that is a number is looked at as a record's is."""
    return {"ahead_event": ANYTHING, "ahead_ms": ANYTHING, "ahead_y": _classes(spec, unknown=True)}


def stream_ranges(spec: LearnerSpec) -> dict[str, Rule]:
    """Of every array of ``state.STREAMS``."""
    classes = _classes(spec, unknown=True)
    return {
        **_carried(spec),
        "x": Range(-_ROUNDED * LARGEST, _ROUNDED * LARGEST),
        "looked_up": Range(-1, spec.n_looked_up - 1),  # a row of weights
        "lags": Range(-_ROUNDED * LARGEST_LAG, _ROUNDED * LARGEST_LAG),
        "y": classes,  # of a number anything: a window whose loss is not finite is dropped
        "steps": COUNT,
        "last_ms": ANYTHING,
        "newest": classes or KNOWN_OR_NOT,
        "last_known": classes or KNOWN_OR_NOT,
        "history": VALUE,
        "history_count": COUNT,
        "y_count": COUNT,
        "y_mean": MEAN,
        "y_m2": SQUARES,
        "y_watch": WATCH,
        "change_count": COUNT,
        "change_m2": SQUARES,
        "change_watch": WATCH,
        # A number is scored, which is all that is done with it; of a probability the surprise is made that is stored.
        "remembered": ANYTHING if classes is None else PROBABILITY,
        "surprises": Range(0.0),
        "surprise_count": COUNT,
        "remembered_rivals": classes or Range(MEAN.least, MEAN.most, unknown=True),
        "regressors": _regressors(spec),
        "scaling": SCALING,
        "expert_predictions": ANYTHING,  # the readout compares them with a bound before it learns
        "event": ANYTHING,
        "event_step": Range(-1, LARGEST_COUNT, grows=True),
        "event_ms": ANYTHING,
        "event_count": COUNT,
        "last_x": KNOWN_OR_NOT,
        **_waiting(spec),
        **_open_sequences(spec),
        "seen": SEEN,
    }


def require_sound(
    spec: LearnerSpec,
    model: Mapping[str, Array],
    streams: Mapping[str, Array],
    keys: Sequence[bytes | None],
    *,
    beginning: bool = False,
) -> None:
    """Raise ValueError for the first array that holds what no learner of ``spec`` can have brought it to.

    Names, shapes and types are those that are declared: that comes first. ``beginning``: of a learner that somebody
    hands over, for another one to begin with.
    """
    require_sound_model(spec, model, beginning=beginning)
    require_sound_streams(spec, model, streams, keys, beginning=beginning)


def require_sound_model(spec: LearnerSpec, model: Mapping[str, Array], *, beginning: bool = False) -> None:
    """The same for what is not kept per stream."""
    _require_ranges(model, model_ranges(spec), beginning)
    relations.require_batch(spec, model)
    relations.require_no_padded_weights(spec, model)


def require_sound_streams(
    spec: LearnerSpec,
    model: Mapping[str, Array],
    streams: Mapping[str, Array],
    keys: Sequence[bytes | None],
    *,
    beginning: bool = False,
) -> None:
    """The same for what is kept per stream, of all slots or of some."""
    require_sound_rows(spec, model, streams, beginning=beginning)
    relations.require_order(model, streams["seen"], keys)


def require_sound_rows(
    spec: LearnerSpec, model: Mapping[str, Array], streams: Mapping[str, Array], *, beginning: bool = False
) -> None:
    """The same, as far as single rows tell: those of all slots are sound if those of each segment are."""
    _require_ranges(streams, stream_ranges(spec), beginning)
    relations.require_counted(spec, model, streams)
    relations.require_learned(spec, streams)
    relations.require_no_padded_states(spec, streams)
    relations.require_in_use(spec, model, streams)
    relations.require_said(streams)


def _require_ranges(arrays: Mapping[str, Array], table: Mapping[str, Rule], beginning: bool) -> None:
    for name, rule in table.items():
        if arrays[name].size and rule is not None:
            _require_range(name, arrays[name], rule, beginning)


def _require_range(name: str, array: Array, rule: Range | Sequence[Part], beginning: bool) -> None:
    parts = [Part((...,), rule, "")] if isinstance(rule, Range) else rule
    for at, allowed, called in parts:
        values, within = array[at], allowed.beginning() if beginning else allowed
        if values.size == 0:
            continue
        least, most = _extremes(values, within.unknown)
        # Written so that NaN, where it may not be, is neither; of nothing but unknown values both are NaN.
        if not (least >= within.least and most <= within.most) and not (within.unknown and least != least):
            expected = f"{within.least:g} to {within.most:g}{' or NaN' if within.unknown else ''}"
            what = f"{name!r}{f' ({called})' if called else ''}"
            raise ValueError(f"the state's {what} holds numbers from {least:g} to {most:g}, expected {expected}")
        if within.whole and (known := values[~np.isnan(values)]).size and (known != np.floor(known)).any():
            raise ValueError(f"the state's {name!r} holds fractions, expected whole numbers")


def _extremes(values: Array, unknown: bool) -> tuple[float, float]:
    """The least and the largest value; NaN is both where it may not be there, and none where it may.

    As Python's numbers: beside a float32 the largest float64 would be infinite, and infinity within bounds.
    """
    if not unknown:
        return values.min().item(), values.max().item()
    with np.errstate(invalid="ignore"):
        return np.fmin.reduce(values, axis=None).item(), np.fmax.reduce(values, axis=None).item()
