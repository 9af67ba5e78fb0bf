"""What the naive learner shows its network of a record and of its stream's past, and in which units it sees targets.

Statistics are float64 and those of all records before; inputs use one set per partition, targets one per stream, shrunk
towards the partition's, or the partition's alone with the RLS readout. With a baseline, targets are differences to the
newest value that lies whole periods before them. A symbol is a column of zeros and a one, as PyTorch has it multiplied.
The vectors come in the spec's dtype.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from streamrnn.learner.spec import LearnerSpec
from tests.oracle import exact
from tests.oracle.network import Array
from tests.oracle.statistics import (
    BOUND,
    CLIP,
    FAR,
    NEWCOMERS,
    SETTLED,
    RunningMoments,
    scaled_input,
    shrunk_moments,
    shrunk_width,
)
from tests.oracle.streams import History, Record, Stream
from tests.oracle.symbols import NaiveVocabulary

LARGEST = 1e6  # inputs that are not scaled stay within this
LARGEST_LAG = 1e6  # deviations within which lags and changes stay


def known_fields(y: Iterable[float]) -> Array:
    """The fields whose values are known."""
    return np.flatnonzero(np.isfinite(np.asarray(y)))


class NaiveEncoder:
    """Statistics of one partition and all that is computed from them."""

    def __init__(self, spec: LearnerSpec) -> None:
        self.spec = spec
        self.dtype = np.dtype(spec.model.dtype)
        self.classify = spec.target.classes is not None
        self.rls = spec.model.readout == "rls"
        self.exact = exact.kind_of(spec.model) if spec.rule != "tbptt" else None
        self.indicator = list(spec.indicator) or [False] * spec.n_features
        self.input_moments = self.moments(spec.n_features + spec.inputs.dt)
        self.target_moments = self.moments(spec.n_targets)
        self.change_moments = self.moments(spec.n_targets * len(spec.target.steps_ahead), centred=False)
        self.counts: Counter[str] = Counter()
        self.drifting: list[list[float]] = [[] for _ in self.input_moments]  # values as they counted
        self.vocabularies = [NaiveVocabulary(symbols) for symbols in spec.symbols]
        self.classes: NaiveVocabulary | None = None
        if spec.target.symbols is not None:
            self.classes = NaiveVocabulary(spec.target.symbols, spec.text is not None and spec.text.mark_end)
        self.x_clamped, self.y_clamped = [0] * spec.n_features, [0] * spec.n_targets
        self.kept = np.zeros(0)  # targets of the record at work, where they are remembered

    def moments(self, n: int, centred: bool = True) -> list[RunningMoments]:
        return [RunningMoments(self.spec.learning.scale_memory, centred) for _ in range(n)]

    # -------------------------------------------------------------------------------------------------- inputs

    def seconds_since(self, sequence: History, time_ms: int) -> float:
        last_ms = time_ms if sequence.last_time_ms is None else sequence.last_time_ms
        return max(0.0, (time_ms - last_ms) / 1000)

    def raw_inputs(self, record: Record, sequence: History, time_ms: int) -> list[float]:
        dt = [float(np.log1p(self.seconds_since(sequence, time_ms)))] if self.spec.inputs.dt else []
        return [float(v) for v in record.x] + dt

    def imputed(self, column: int, sequence: History) -> float:
        """What a missing feature counts as; NaN for its mean."""
        what = self.spec.missing[column] if self.spec.missing else "mean"
        if isinstance(what, float):
            return what
        return sequence.last_x.get(column, np.nan) if what == "last" else np.nan

    def input_vector(self, record: Record, stream: Stream, time_ms: int) -> Array:
        """[features | dt | newest targets | known flags], scaled by the statistics before this record; then symbols.

        Those are a one for each input's symbol and for the newest class, the last column saying that it is known.
        """
        scale = self.spec.learning.scale
        x: list[float] = []
        for column, value in enumerate(self.raw_inputs(record, stream.sequence, time_ms)):
            moments = self.input_moments[column]
            if not np.isfinite(value):
                value = self.imputed(column, stream.sequence)
            if column < self.spec.n_features and self.indicator[column]:
                x.append(value if np.isfinite(value) else 0.0)
            elif not np.isfinite(value):
                x.append(0.0 if scale else moments.mean)
            else:
                x.append(scaled_input(moments, value) if scale else value)
        if self.spec.inputs.previous_target and not self.classify:
            x.extend(self.previous_target(stream))
        multiplied = self.spec.n_multiplied - self.spec.n_coded
        x.extend([0.0] * (multiplied - len(x)))  # a column of zeros where there is nothing at all
        ones: list[float] = []
        for number, symbols in zip(record.numbers, self.spec.symbols, strict=True):
            ones.extend(float(number == k) for k in range(symbols.size))
        if self.spec.inputs.previous_target and self.classify:
            ones.extend(self.previous_class(stream.sequence))
        if self.exact is not None and ones:  # such cells look no rows up: each symbol is a code over a few columns
            sizes = [symbols.size for symbols in self.spec.symbols]
            sizes += [self.spec.n_classes, 1] if self.spec.shows_class else []
            ones = list(np.array(ones) @ exact.codes(sizes, self.spec.n_coded))
        return np.array(x + ones, self.dtype)

    def previous_class(self, sequence: History) -> list[float]:
        """[a one for the newest class | whether there is one]"""
        newest = sequence.value(0, 0)
        return [float(newest == k) for k in range(self.spec.n_classes)] + [float(np.isfinite(newest))]

    def previous_target(self, stream: Stream) -> list[float]:
        """[newest values | with a baseline their newest changes | known flags]"""
        newest = [stream.sequence.value(i, 0) for i in range(self.spec.n_targets)]
        flags = [float(np.isfinite(v)) for v in newest]
        scaled = [self.recalled(stream, i, v, CLIP) if np.isfinite(v) else 0.0 for i, v in enumerate(newest)]
        changes = (
            [self.change(stream, i, 0, CLIP) for i in range(self.spec.n_targets)] if self.spec.target.period else []
        )
        return scaled + changes + flags

    def lags(self, stream: Stream) -> Array:
        """The newest values of each field, or with a baseline their changes; 0 where unknown. Lag by lag."""
        out = []
        for lag in range(self.spec.model.lags):
            for i in range(self.spec.n_targets):
                value = stream.sequence.value(i, lag)
                if self.spec.target.period:
                    out.append(self.change(stream, i, lag, self.lag_limit(stream, i)))
                elif np.isfinite(value):
                    out.append(
                        float(
                            np.clip(
                                self.recalled(stream, i, value, self.lag_limit(stream, i)), -LARGEST_LAG, LARGEST_LAG
                            )
                        )
                    )
                else:
                    out.append(0.0)
        return np.array(out, self.dtype)

    def lag_limit(self, stream: Stream, i: int) -> float:
        """Deviations within which lags stay: more while the stream is new, or in a run out of bounds."""
        own = (stream.changes if self.spec.target.period else stream.moments)[i]
        return FAR if own.count <= SETTLED or (own.run_beyond and len(own.run) > 1) else BOUND

    def change(self, stream: Stream, i: int, lag: int, limit: float) -> float:
        """The difference over one period ``lag`` before field i's newest value, in units of the first; 0 unknown."""
        value = stream.sequence.value
        difference = value(i, lag) - value(i, lag + self.spec.target.period)
        if not np.isfinite(difference):
            return 0.0
        if self.spec.learning.scale:
            reach = limit * self.own_width(stream, i)
            difference = np.clip(difference, -reach, reach)
        return float(np.clip(difference / self.first_width(stream, i), -LARGEST_LAG, LARGEST_LAG))

    def absorb_inputs(self, record: Record, sequence: History, time_ms: int) -> None:
        for column, value in enumerate(self.raw_inputs(record, sequence, time_ms)):
            if not np.isfinite(value):
                self.counts["imputed_inputs"] += 1
                value = self.spec.missing[column] if self.spec.missing else "mean"
            if isinstance(value, float) and not (column < self.spec.n_features and self.indicator[column]):
                self.absorb_input(column, value)
        for number in record.numbers:
            if number < 0:
                self.counts["imputed_inputs"] += 1

    def absorb_input(self, column: int, value: float) -> None:
        if (counted := self.input_moments[column].take_in(value)) is not None:
            self.drifting[column].append(counted)

    def count_clamped(self, x: Array) -> None:
        """Features that the network was shown at the limit."""
        limit = CLIP if self.spec.learning.scale else LARGEST
        for column, indicator in enumerate(self.indicator):
            self.x_clamped[column] += int(not indicator and abs(x[column]) >= self.dtype.type(limit))

    # ------------------------------------------------------------------------------------------------- targets

    def target_scaling(self, stream: Stream, i: int) -> tuple[float, float]:
        """Centre and width of field i's values; of all streams alike with the RLS readout, whose weights they share."""
        if self.classify or not self.spec.learning.scale:
            return 0.0, 1.0
        return self.own_scaling(None if self.rls else stream, i)

    def own_scaling(self, stream: Stream | None, i: int) -> tuple[float, float]:
        """Centre and width of field i's values in the stream, which tell whether one is out of bounds."""
        own = RunningMoments() if stream is None else stream.moments[i]
        return shrunk_moments(own, self.target_moments[i], self.spec.learning.target_shrinkage)

    def scaled_level(self, stream: Stream, i: int, value: float) -> float:
        mean, std = self.target_scaling(stream, i)
        return (value - mean) / std

    def column(self, j: int, i: int) -> int:
        """Where field i stands among the targets at horizon j."""
        return self.spec.target.steps_ahead.index(j) * self.spec.n_targets + i

    def width(self, stream: Stream, j: int, i: int) -> float:
        """What field i's target at horizon j is divided by."""
        if not self.spec.target.period or not self.spec.learning.scale:
            return self.target_scaling(stream, i)[1]
        return self.own_width(None if self.rls else stream, self.column(j, i))

    def first_width(self, stream: Stream, i: int) -> float:
        """The same at the first horizon, which is what differences among the inputs are divided by."""
        return self.width(stream, self.spec.target.steps_ahead[0], i)

    def own_width(self, stream: Stream | None, column: int) -> float:
        """The same of differences to the baseline."""
        own = RunningMoments(centred=False) if stream is None else stream.changes[column]
        return shrunk_width(own, self.change_moments[column], self.spec.learning.target_shrinkage)

    def recalled(self, stream: Stream, i: int, value: float, limit: float) -> float:
        """A remembered value of field i, scaled; within ``limit`` of the stream's own deviations."""
        if self.spec.learning.scale:
            centre, width = self.own_scaling(stream, i)
            value = np.clip(value, centre - limit * width, centre + limit * width)
        return self.scaled_level(stream, i, value)

    def units(self, stream: Stream) -> list[tuple[float, float]]:
        """Centre and width that each field's lags are in; a width of NaN while its targets have no deviation."""
        period, units = self.spec.target.period, []
        for i in range(self.spec.n_targets):
            centre = 0.0 if period else self.target_scaling(stream, i)[0]
            seen = self.change_moments[i].variance if period else self.target_moments[i].variance
            units.append(
                (
                    centre,
                    self.first_width(stream, i) if seen or not self.spec.learning.scale else np.nan,
                )
            )
        return units

    def lags_are_sound(self, stream: Stream) -> bool:
        """Whether no lag of any field lies beyond the stream's bounds, so that weights may be learned from them."""
        if not self.spec.learning.scale:
            return True
        period = self.spec.target.period
        for i in range(self.spec.n_targets):
            for lag in range(self.spec.model.lags):
                value = stream.sequence.value(i, lag)
                centre, width = self.own_scaling(stream, i)
                if period:
                    value -= stream.sequence.value(i, lag + period)
                    centre, width = 0.0, self.own_width(stream, i)
                if abs(value - centre) > BOUND * width:
                    return False
        return True

    def in_question(self, stream: Stream, column: int) -> bool:
        """Whether the newest value is in a run of such far out, in its stream or among those of the partition."""
        both = (stream.moments, self.target_moments)
        i = column % self.spec.n_targets
        if self.spec.target.period:
            both, i = (stream.changes, self.change_moments), column
        return self.spec.learning.scale and any(m[i].run_beyond and len(m[i].run) > 0 for m in both)

    def baseline(self, sequence: History, j: int, i: int, ago: int) -> float:
        """What a forecast at horizon j starts from that was made ``ago`` steps before the newest value."""
        period = self.spec.target.period
        periods_back = int(np.ceil(j / period)) * period - j
        for back in (periods_back + ago, ago):
            if np.isfinite(value := sequence.value(i, back)):
                return value
        return self.target_moments[i].mean

    def absorb_targets(self, stream: Stream, y: Array) -> tuple[Array, Array]:
        """The targets as far as they count, and those that are remembered: not the lone ones out of bounds."""
        counted, kept = y.copy(), y.copy()
        for i in [] if self.classify else known_fields(y):
            partition, own, value = self.target_moments[i], stream.moments[i], float(y[i])
            if partition.is_young:
                partition.take_in(value)
                within, lone = self.within_bounds(stream, i, value), False
            else:
                scaling = self.own_scaling(stream, i)
                lone = own.is_lone(value, *scaling)
                within = own.absorb(value, *scaling)
                if within == value or own.count < NEWCOMERS:
                    partition.take_in(within)
            if self.spec.learning.scale:
                if within != value:
                    self.counts["outlying_targets"] += 1
                    self.y_clamped[i] += 1
                counted[i], kept[i] = within, np.nan if lone else value
        self.kept = kept
        return counted, kept

    def within_reach(self, stream: Stream, i: int, value: float) -> float:
        """A value as far as errors are those to it."""
        moments = self.target_moments[i]
        if not self.spec.learning.scale or moments.count < 3 or not moments.variance:
            return value
        centre, width = self.own_scaling(stream, i)
        return float(np.clip(value, centre - FAR * width, centre + FAR * width))

    def within_bounds(self, stream: Stream, i: int, value: float) -> float:
        """A value as far as it would count now."""
        if not self.spec.learning.scale or self.target_moments[i].count < 3:
            return value
        return stream.moments[i].counted(value, *self.own_scaling(stream, i))

    def judged(self, stream: Stream, i: int) -> float:
        """What experts are judged by where nothing is fitted; NaN where it is the first value out of bounds."""
        own, (centre, width) = stream.moments[i], self.own_scaling(stream, i)
        if own.run_beyond and len(own.run) == 1:
            return np.nan
        return float(np.clip(self.kept[i], centre - FAR * width, centre + FAR * width))

    def absorb_change(self, stream: Stream, column: int, change: float) -> None:
        """A difference to the baseline enters the statistics of its horizon and field."""
        partition, own, within = self.change_moments[column], stream.changes[column], change
        if not partition.is_young:
            within = own.absorb(change, 0.0, self.own_width(stream, column))
        if within == change or own.count < NEWCOMERS:
            partition.take_in(within)

    def difference(self, stream: Stream, j: int, i: int, value: float) -> float:
        """How far a value is from the baseline that it had j steps before, as far as that counts."""
        change = value - self.baseline(stream.sequence, j, i, j)
        if not self.spec.learning.scale:
            return change
        column = self.column(j, i)
        return stream.changes[column].counted(change, 0.0, self.own_width(stream, column))

    def note(self, sequence: History, y: Array) -> None:
        """Known targets become the sequence's newest; in a series of forecasts the last one stands for an unknown."""
        for i, values in enumerate(sequence.values):
            if np.isfinite(y[i]):
                values.append(float(y[i]))
            elif values and self.spec.target.known == "forecast":
                values.append(values[-1])
