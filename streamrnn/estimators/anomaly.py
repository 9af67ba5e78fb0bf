"""Anomaly detection by the error of forecasting the next event.

The network forecasts all features of a stream's next event; what is unusual is what it did not expect. Errors are
measured in deviations of each feature's own errors, and an event's error is ranked among the newest ones, so scores of
ordinary events are spread evenly over [0, 1] whatever the scale of the data and however well they can be forecast.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from river import base

from streamrnn.core.scaler import ABSURD, BOUND
from streamrnn.errors import ConfigError
from streamrnn.estimators.awaited import mark_of
from streamrnn.estimators.columns import Columns, Floats
from streamrnn.estimators.seeing import SeeingEstimator
from streamrnn.learner.block import EVENT

_Squares = list[list[Annotated[float, Meta(ge=0)]]]

CALIBRATION = 1000
"""Newest errors that a new one is ranked among."""
CONSTANT = 10.0
"""A feature with as many equal values counts as constant."""
BROKEN = 1e6
"""Deviations that a change of a constant feature counts as, or a value too large to be meant."""
MEMORY = 0.99
"""What an older squared error still weighs in a feature's error variance after each newer one."""


@dataclass(eq=False, repr=False)
class RNNAnomalyDetector(SeeingEstimator, base.AnomalyDetector):
    """Scores events by how badly a recurrent network forecast them.

    Parameters
    ----------
    readout
        Always ``"linear"``: recursive least squares would cost its square for each feature.
    delayed
        Whether ``learn_one`` comes later than the scores of other events. True: an event is learned when it is scored,
        since it needs no label, and ``learn_one`` of it changes nothing. False: by ``learn_one``. None: as False, until
        River's evaluation says that labels are delayed, or scores and lessons show it.

    All other parameters, and what is raised, are those of ``RNNRegressor``; ``loss="quantile"`` is not among its
    losses.

    Examples
    --------
    >>> import math
    >>> from streamrnn import RNNAnomalyDetector
    >>> detector = RNNAnomalyDetector()
    >>> for t in range(1000):
    ...     detector.learn_one({"a": math.sin(t / 8), "b": math.cos(t / 8)})
    >>> usual = {"a": math.sin(1000 / 8), "b": math.cos(1000 / 8)}
    >>> detector.score_one(usual) < 0.9 < detector.score_one({**usual, "b": -usual["b"]})
    True
    """

    readout: str = "linear"

    def __post_init__(self) -> None:
        if self.loss == "quantile":
            raise ConfigError("RNNAnomalyDetector: loss: 'quantile' has no single value per feature to compare with")
        super().__post_init__()
        self._squares: Floats = np.zeros((2, 0))  # per feature: sum of squared errors and their number, discounted
        self._newest: deque[float] = deque(maxlen=CALIBRATION)
        self._sorted: list[float] = []

    def _readouts(self) -> tuple[str, ...]:
        return ("linear",)

    def _target(self) -> dict[str, Any]:
        fields = [f"x{i}" for i in range(max(1, self._columns.n_features))]
        return {"fields": fields, "known": "forecast", "horizon": 1}

    @property
    def _n_features(self) -> int:
        return 0  # the network sees the features as the newest values of its own targets

    def learn_one(self, x: Mapping[Any, Any]) -> None:
        """Rank the event's error from now on, then learn the event and forecast the next.

        Nothing of that where it was done when the event was scored (``delayed``).
        """
        with self._lock:
            columns, row = self._columns.with_row(x)
            row = columns.with_numbers(row)
            key = columns.key(x)
            if (watch := self._watch) is not None:
                if watch.single is not None:
                    watch.single, watch.checks = None, 0
                elif watch.asked and self._awaited is None:
                    self._weigh(watch, key, row)
            if self._awaited is None or self._awaited.take(key, mark_of(row), None) is None:
                self._learn_event(columns, x, key, row)

    def _learn_event(self, columns: Columns, x: Mapping[Any, Any], key: bytes, row: list[float]) -> None:
        error = self._error(key, row, learn=True)
        if error is not None:
            if len(self._newest) == CALIBRATION:
                # The deque drops its oldest by itself; the sorted list has to be told.
                del self._sorted[bisect.bisect_left(self._sorted, self._newest[0])]
            self._newest.append(error)
            bisect.insort(self._sorted, error)
        self._adopt_event(columns, x, row).step(key, EVENT, [], row or np.nan)

    def score_one(self, x: Mapping[Any, Any]) -> float:
        """How unusual the event is after those before it, from 0 to 1. Changes nothing, unless it is ``delayed``.

        The share of the newest errors below this one's; one beyond all of them comes the closer to 1 the larger it is.
        0 before there is a forecast and something to compare its error with.
        """
        with self._lock:
            key, row = self._columns.key(x), self._columns.with_numbers(self._columns.row(x))
            return self._see_one(x) if self._sees(x) else self._score(key, row)

    def _score(self, key: bytes, row: list[float]) -> float:
        error = self._error(key, row, learn=False)
        if error is None or not self._sorted:
            return 0.0
        n, largest = len(self._sorted), self._sorted[-1]
        below = bisect.bisect_left(self._sorted, error) if error <= largest else n + 1.0 - largest / error
        return float(below / (n + 1))

    def _see_one(self, x: Mapping[Any, Any]) -> float:
        # An event needs no label to be learned, so that is done at once. What waits is only the lesson to come.
        awaited = self._awaited
        assert awaited is not None
        columns, row = self._columns.with_row(x)
        row = columns.with_numbers(row)
        key = columns.key(x)
        score = self._score(key, row)
        while awaited.is_full(key):
            if awaited.deserves_memory(key):
                awaited.memory *= 2
            else:
                awaited.give_up(key)
        awaited.add(key, mark_of(row), None)
        self._learn_event(columns, x, key, row)
        return score

    def _error(self, key: bytes, row: list[float], learn: bool) -> float | None:
        """Root mean square of the errors of the stream's newest forecast, each in deviations of its feature's errors.

        None without a forecast, or where no feature had an error before. ``learn`` adds the errors to the deviations.
        """
        forecast = None if self._learner is None else self._learner.newest_forecast(key)
        if self._learner is None or forecast is None:
            return None
        known = min(len(row), len(forecast))
        values = np.array(row[:known])
        absurd = np.abs(values) > ABSURD
        squares = (np.where(absurd, np.nan, values) - forecast[:known]) ** 2
        total, count = np.zeros((2, known))
        old = min(known, self._squares.shape[1])
        total[:old], count[:old] = self._squares[:, :old]
        usable = np.isfinite(squares) & (total > 0.0)
        statistics = self._learner.target_statistics()
        varies, mean = statistics.deviation[:known] > 0.0, statistics.mean[:known]
        # What never varied has no deviation to measure a change by, and an absurd value is none to learn from.
        broken = absurd | (~varies & np.isfinite(values) & (statistics.count[:known] >= CONSTANT) & (values != mean))
        # Squared error / (total / count), the variance of this feature's errors: units cancel.
        parts = np.append(squares[usable] * count[usable] / total[usable], np.full(int(broken.sum()), BROKEN**2))
        error = float(np.sqrt(np.mean(parts))) if len(parts) else None
        if learn:
            # Before a feature has a deviation its errors are in no unit of its own.
            seen = np.isfinite(squares) & varies
            bounded = np.where(usable, np.minimum(squares, BOUND**2 * total / np.maximum(count, 1.0)), squares)
            self._squares = np.array(
                [MEMORY * total + np.where(seen, bounded, 0.0), MEMORY * count + seen.astype(np.float64)]
            )
        return error

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), "squares": self._squares.tolist(), "newest": list(self._newest)}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        super()._set_own_state(state)
        self._squares = np.array(msgspec.convert(state["squares"], _Squares), np.float64).reshape(2, -1)
        self._newest.extend(msgspec.convert(state["newest"], list[float]))
        self._sorted = sorted(self._newest)
