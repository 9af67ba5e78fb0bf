"""Forecasting a series' own future, with or without covariates.

Steps up to ``horizon``, or those that it lists, have outputs of their own; for others the model is fed its own
forecasts. What is learned is the difference to a baseline, the last value or the last seasonal one, so that a forecast
starts from there.

With covariates, an event of the model is a value with the covariates of the *next* step, which its forecasts start
from; the newest value waits for them. Without covariates a value is learned at once.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from river.time_series.base import Forecaster

from streamrnn.core.scaler import ABSURD, BOUND, FIRST
from streamrnn.errors import ConfigError
from streamrnn.estimators.events import EventEstimator
from streamrnn.estimators.intervals import AdaptiveIntervals
from streamrnn.estimators.parameters import checked, field_types
from streamrnn.estimators.season import SeasonFinder
from streamrnn.learner.block import EVENT, PREDICT, Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.sound import UnitInterval
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import number

LONGEST_PERIOD = 60
"""Longest season that baseline "auto" looks for."""
PLAUSIBLE = 10.0
"""Deviations from the mean of all values that a forecast beyond the horizon may reach."""
RELEARNED = 1024
"""Newest events that are learned again when the baseline changes."""


@dataclass
class _Event:
    """An event as the learner was given it, kept to be learned again."""

    key: bytes
    row: list[float]
    value: float
    end: bool = False


@dataclass(eq=False, repr=False)
class RNNForecaster(EventEstimator, Forecaster):
    """Recurrent network that forecasts a series, or with ``stream_key`` many series that share its weights.

    Parameters
    ----------
    horizon
        Steps ahead that have outputs of their own: so many, or those in a list, as ``(1, 6, 84)``. Where weights are
        learned by windows it needs ``k2 - k1`` of at least the furthest.
    baseline
        What forecasts are differences to: ``"last"``, the last value; a period, the value so many steps before; None,
        nothing; ``"auto"``: a season of up to 60 steps once one is found in the values, else nothing. When that
        changes, the model is learned anew from the last 1024 events, and weights set by hand are lost. ``period`` is
        what was found.
    level
        Probability that ``forecast_interval`` aims at. Intervals adapt to the errors actually made, so the share of
        values within them tends to the level whatever the series does.

    All other parameters, and what is raised, are those of ``RNNRegressor``; ``loss="quantile"`` is not among its
    losses.

    Examples
    --------
    >>> from river import datasets
    >>> from streamrnn import RNNForecaster
    >>> model = RNNForecaster(horizon=3)
    >>> for _, y in datasets.AirlinePassengers():
    ...     model.learn_one(y)
    >>> [round(y, -1) for y in model.forecast(6)]  # the year before: 417, 391, 419, 461, 472, 535
    [440.0, 420.0, 450.0, 490.0, 500.0, 560.0]
    >>> low, high = model.forecast_interval(3)[2]
    >>> low < model.forecast(3)[2] < high
    True

    References
    ----------
    Gibbs, I. & Candes, E. 2021. Adaptive conformal inference under distribution shift. NeurIPS 34.
    """

    horizon: int | Sequence[int] = 1
    baseline: str | int | None = "auto"
    level: float = 0.9

    def __post_init__(self) -> None:
        checked("RNNForecaster", "level", self.level, UnitInterval)
        checked("RNNForecaster", "baseline", self.baseline, Literal["auto"] | field_types(TargetSpec)["baseline"])
        self._season = SeasonFinder(LONGEST_PERIOD) if self.baseline == "auto" else None
        # The value of a stream with covariates waits here for those of the next step, which its forecasts start from.
        self._waiting: OrderedDict[bytes, float] = OrderedDict()
        self._with_covariates = False
        self._recent: deque[_Event] = deque(maxlen=RELEARNED)
        if self.loss == "quantile":
            raise ConfigError(
                "RNNForecaster: loss: intervals come from forecast_interval; quantile has no single value"
            )
        super().__post_init__()
        self._ahead = tuple(self._spec().target.steps_ahead)
        self._intervals = AdaptiveIntervals(float(self.level), len(self._ahead), self.max_streams)

    def _readouts(self) -> tuple[str, ...]:
        return ("rls", "linear")

    def _target(self) -> dict[str, Any]:
        baseline = self.baseline if self._season is None else self._season.period or None
        return {"fields": ("y",), "known": "forecast", "horizon": self.horizon, "baseline": baseline}

    @property
    def period(self) -> int | None:
        """Steps back to the value forecasts are differences to, as given or found; None: to nothing."""
        with self._lock:
            spec = self._spec().target
            return spec.period or None

    def learn_one(self, y: float | None, x: Mapping[Any, Any] | None = None) -> None:
        """Learn the series' next value, and the covariates that belong to it; None or NaN: the value is not known."""
        with self._lock:
            x = x or {}
            value = number(y, "y")
            columns, row = self._columns.with_row(x)
            key = columns.key(x)
            learner = self._adopt_event(columns, x, row)
            self._with_covariates = self._with_covariates or columns.n_features > 0
            # First the value that waited: the event it makes with these covariates is what forecasts today's value.
            if key in self._waiting:
                self._process(learner, key, row, self._waiting.pop(key))
            if abs(value) <= ABSURD:  # to the learner larger ones are missing, too
                stream = key.hex()
                self._intervals.observe(stream, (value - learner.due(key)).tolist())
                if self._season is not None and self._season.observe(stream, self._within_bounds(learner, value)):
                    learner = self._relearn()
            if self._with_covariates:
                self._waiting[key] = value
                while len(self._waiting) > self.max_streams:
                    self._waiting.popitem(last=False)
            else:
                self._process(learner, key, row, value)

    @staticmethod
    def _within_bounds(learner: Learner, value: float) -> float:
        """The value as far as it counts: to the finder of seasons, which compares errors, too."""
        statistics = learner.target_statistics()
        mean, deviation = float(statistics.mean[0]), float(statistics.deviation[0])
        if statistics.count[0] < FIRST or not deviation > 0.0:
            return value
        return min(mean + BOUND * deviation, max(mean - BOUND * deviation, value))

    def _process(self, learner: Learner, key: bytes, row: list[float], value: float) -> None:
        learner.step(key, EVENT, row, value)
        if self._season is not None:
            self._recent.append(_Event(key, row, value))

    def end_sequence(self, key: Hashable | None = None) -> None:
        with self._lock:
            name = self._stream_name(key)
            if name in self._waiting and self._learner is not None:
                missing = [math.nan] * self._columns.n_features
                self._process(self._learner, name, missing, self._waiting.pop(name))
            if (last := next((event for event in reversed(self._recent) if event.key == name), None)) is not None:
                last.end = True
            super().end_sequence(key)

    def _relearn(self) -> Learner:
        """A new learner for another baseline, taught with the newest events."""
        self._learner = None
        learner = self._make()
        # Events from before a feature appeared have shorter rows: they lack it.
        rows = np.tile(np.array(self._columns.without_keys(), np.float64), (len(self._recent), 1))
        for i, event in enumerate(self._recent):
            rows[i, : len(event.row)] = event.row
        values = np.array([event.value for event in self._recent], np.float64).reshape(-1, 1)
        keys, ends = [event.key for event in self._recent], [event.end for event in self._recent]
        learner.process(Block.events(keys, rows, values, end=ends))
        return learner

    def forecast(self, horizon: int, xs: Sequence[Mapping[Any, Any]] | None = None) -> list[float]:
        """The next ``horizon`` values; zeros before anything was learned. Changes nothing.

        ``xs`` are the covariates of these steps (with ``stream_key`` the first names the stream). For steps without an
        output of their own, beyond ``self.horizon`` or between those that it lists, the model is fed its own forecasts;
        where it lists not 1 among them it cannot be, and those are NaN.
        """
        with self._lock:
            steps = self._steps(horizon, xs)
            key = self._columns.key(steps[0])
            rows = [self._columns.row(step) for step in steps]
            learner = self._learner
            if learner is None:
                return [0.0] * horizon
            learner.imagine(key)
            outputs = self._outputs(learner, key, rows[0])
            forecasts = dict(zip(self._ahead, outputs.tolist(), strict=True))
            low, high = self._plausible(learner)
            # A forecast of a step that has no output is the one for which the model was fed the fewest of its own.
            missing = set(range(1, horizon + 1)).difference(forecasts)
            for fed, row in enumerate(rows[1:], 1):
                if not missing or fed not in forecasts:
                    break
                outputs = learner.imagine_one(row, forecasts[fed])
                for j, value in zip(self._ahead, outputs.tolist(), strict=True):
                    if fed + j in missing:
                        forecasts[fed + j] = min(high, max(low, value))
                        missing.remove(fed + j)
            return [forecasts.get(step, math.nan) for step in range(1, horizon + 1)]

    def forecast_direct(self, x: Mapping[Any, Any] | None = None) -> dict[int, float]:
        """The forecasts that have outputs of their own, by how many steps ahead they are; zeros as ``forecast``.

        ``x`` are the covariates of the next step. Costs nothing but the look-up of what the newest value led to, where
        ``forecast`` feeds the model its own forecasts for each step between. Changes nothing.

        >>> model = RNNForecaster(horizon=(2, 5), cell="bank")
        >>> model.learn_one(1.0)
        >>> model.forecast_direct()
        {2: 1.0, 5: 1.0}
        """
        with self._lock:
            x = x or {}
            key, row = self._columns.key(x), self._columns.row(x)
            if self._learner is None:
                return dict.fromkeys(self._ahead, 0.0)
            if key in self._waiting:
                self._learner.imagine(key)
            return dict(zip(self._ahead, self._outputs(self._learner, key, row).tolist(), strict=True))

    def _outputs(self, learner: Learner, key: bytes, row: list[float]) -> npt.NDArray[np.float64]:
        """What is forecast now that the next step has these features; a value that waits is taken in by the imagined
        stream, which has to be one's own."""
        if (waiting := self._waiting.get(key)) is not None:
            return learner.imagine_one(row, waiting)
        if (newest := learner.newest_forecast(key)) is not None:
            return newest
        return learner.step(key, PREDICT, row, math.nan)

    @staticmethod
    def _plausible(learner: Learner) -> tuple[float, float]:
        """The range that a model fed its own forecasts must stay in, lest they grow without bound."""
        statistics = learner.target_statistics()
        mean = float(statistics.mean[0])
        deviation = float(statistics.deviation[0]) if statistics.count[0] else math.inf
        return mean - PLAUSIBLE * deviation, mean + PLAUSIBLE * deviation

    def forecast_interval(
        self, horizon: int, xs: Sequence[Mapping[Any, Any]] | None = None
    ) -> list[tuple[float, float]]:
        """An interval for each of the next ``horizon`` values that holds it with probability ``level`` in the long run.

        Infinite before the first errors are known, and between the steps that ``self.horizon`` lists. Raises
        ConfigError beyond it.
        """
        with self._lock:
            if horizon > self._ahead[-1]:
                raise ConfigError(
                    f"horizon: intervals reach {self._ahead[-1]} steps, got {horizon}; make the estimator's larger"
                )
            key = self._columns.key(self._steps(horizon, xs)[0])
            widths = dict(zip(self._ahead, self._intervals.half_widths(key.hex()), strict=True))
            forecasts = enumerate(self.forecast(horizon, xs), 1)
            return [(y - widths[j], y + widths[j]) if j in widths else (-math.inf, math.inf) for j, y in forecasts]

    def _steps(self, horizon: int, xs: Sequence[Mapping[Any, Any]] | None) -> list[Mapping[Any, Any]]:
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
            raise ConfigError(f"horizon: expected a whole number of at least 1, got {horizon!r}")
        if xs is None:
            return [{}] * horizon
        steps = list(xs)
        if len(steps) != horizon:
            raise ValueError(f"xs: expected covariates for each of {horizon} steps, got {len(steps)}")
        return steps

    def _take_up(self, name: str) -> None:
        checked("RNNForecaster", "level", self.level, UnitInterval)
        super()._take_up(name)
        self._intervals.level, self._intervals.max_streams = float(self.level), self.max_streams

    def _own_state(self) -> dict[str, Any]:
        return {
            "intervals": self._intervals.state(),
            "season": None if self._season is None else self._season.state(),
            "with_covariates": self._with_covariates,
            "waiting": [[key.hex(), _to_json(value)] for key, value in self._waiting.items()],
            "recent": [
                [event.key.hex(), [_to_json(cell) for cell in event.row], _to_json(event.value), event.end]
                for event in self._recent
            ],
        }

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        if not state:  # of a job, which knows nothing of these
            return
        self._intervals.restore(state["intervals"])
        if self._season is not None:
            self._season.restore(state["season"])
        self._with_covariates = msgspec.convert(state["with_covariates"], bool)
        waiting = msgspec.convert(state["waiting"], list[tuple[str, float | None]])
        self._waiting = OrderedDict((bytes.fromhex(key), _from_json(value)) for key, value in waiting)
        recent = msgspec.convert(state["recent"], list[tuple[str, list[float | None], float | None, bool]])
        self._recent.extend(
            _Event(bytes.fromhex(key), [_from_json(cell) for cell in row], _from_json(value), end)
            for key, row, value, end in recent
        )


def _to_json(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _from_json(value: float | None) -> float:
    return math.nan if value is None else value
