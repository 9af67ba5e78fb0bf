"""What the estimators are measured against, and the figures found elsewhere.

A *predictor* here has ``predict_one(x)`` and ``learn_one(x, y)``; a *forecaster* ``learn_one(y)`` and
``forecast(horizon)``; `AsPredictor` makes the second the first. ``elsewhere`` of a rival is its score in an earlier
measurement by the same protocol, or, if nothing can be built, a published one: then that is all there is of it.

The settings behind those measurements are recorded only in part. Rates, seeds, scaling and smoothing that are missing
were set by trying some on the same data and keeping what comes closest to the figure; the seasonal rule was not.

Rivals marked ``stronger`` are not among those measurements: the best of a few settings of River's models, and of a few
seeds of its forests, by their score on the same data. That is in their favour, and no search: River may do better yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from river import dummy, forest, linear_model, optim, preprocessing, time_series

from streamrnn.demo.rivals import rivals as demo_rivals
from streamrnn.learner.features import FeatureEncoder
from streamrnn.offline.baselines import Baseline, LastValue, RunningMean
from tests.bench.quality_data import flight_features
from tests.bench.quality_protocols import Scores


class Rival(NamedTuple):
    """``build`` None: a figure from elsewhere, which is not measured here."""

    name: str
    build: Callable[[], Any] | None
    elsewhere: Scores | None = None


class BaselinePredictor:
    """One of the demo's baselines as a predictor; an unknown target is not learned from."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline

    def predict_one(self, x: dict[str, Any]) -> float:
        return self._baseline.predict(x)

    def learn_one(self, x: dict[str, Any], y: float | None) -> None:
        if y is not None:
            self._baseline.learn(x, y)


class AsPredictor:
    """A forecaster asked for one step ahead; no forecast is a forecast of 0, as before anything is learned."""

    def __init__(self, forecaster: Any) -> None:
        self._forecaster = forecaster

    def predict_one(self, x: dict[str, Any]) -> float:  # noqa: ARG002 - forecasters see the series only
        forecast = self._forecaster.forecast(1)
        return 0.0 if forecast is None else float(forecast[0])

    def learn_one(self, x: dict[str, Any], y: float) -> None:  # noqa: ARG002
        self._forecaster.learn_one(y)


class IndependentEvents:
    """A recurrent predictor whose sequence ends with each event: nothing before it plays a part but the weights."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def predict_one(self, x: dict[str, Any]) -> Any:
        return self._model.predict_one(x)

    def learn_one(self, x: dict[str, Any], y: Any) -> None:
        self._model.learn_one(x, y)
        self._model.end_sequence()


class RiverForecaster:
    """One of River's forecasters, which fail before they have seen enough: no forecast then, or the last value."""

    def __init__(self, model: Any, last_value_first: bool = False) -> None:
        self._model = model
        self._last: float | None = 0.0 if last_value_first else None
        self._last_value_first = last_value_first

    def learn_one(self, y: float) -> None:
        self._model.learn_one(y)
        if self._last_value_first:
            self._last = y

    def forecast(self, horizon: int) -> list[float] | None:
        try:
            return list(self._model.forecast(horizon))
        except IndexError:
            return None if self._last is None else [self._last] * horizon


class SeasonalRule:
    """The value one period ago, plus what the newest value has gained on its own one period ago.

    With ``period=1`` and until a period is known it repeats the last value; before any value it forecasts 0.
    """

    def __init__(self, period: int = 1) -> None:
        self._period = period
        self._values: deque[float] = deque(maxlen=period + 1)

    def learn_one(self, y: float) -> None:
        self._values.append(y)

    def forecast(self, horizon: int) -> list[float]:
        newest = self._values[-1] if self._values else 0.0
        if self._period == 1 or len(self._values) <= self._period:
            return [newest] * horizon
        gain = newest - self._values[0]
        # A second period ahead repeats the first, and gains once more.
        return [self._values[1 + step % self._period] + gain * (1 + step // self._period) for step in range(horizon)]


class RecursiveLeastSquares:
    """Linear in the newest ``lags`` values and a constant; weights of their own for each of ``horizons``.

    Exponentially weighted, ``forgetting`` per step; the covariance starts at ``initial`` times the identity. Horizons
    other than ``horizons`` are forecast as NaN. Haykin, "Adaptive Filter Theory", chapter 10.
    """

    def __init__(
        self, horizons: Sequence[int], lags: int = 20, forgetting: float = 0.9999, initial: float = 1e4
    ) -> None:
        n = lags + 1
        self._forgetting = forgetting
        self._newest: deque[float] = deque(maxlen=lags)
        # The inputs of the last `horizon` steps: the oldest of them were those for the value that comes next.
        self._inputs = {h: deque[np.ndarray[Any, Any] | None](maxlen=h) for h in horizons}
        self._weights = {h: np.zeros(n) for h in horizons}
        self._covariance = {h: initial * np.eye(n) for h in horizons}

    def learn_one(self, y: float) -> None:
        for h, inputs in self._inputs.items():
            if len(inputs) == h and inputs[0] is not None:
                self._update(h, inputs[0], y)
        self._newest.appendleft(y)
        full = len(self._newest) == self._newest.maxlen
        row = np.array([*self._newest, 1.0]) if full else None
        for inputs in self._inputs.values():
            inputs.append(row)

    def forecast(self, horizon: int) -> list[float]:
        forecast = [float("nan")] * horizon
        for h, inputs in self._inputs.items():
            if h <= horizon:
                row = inputs[-1] if inputs else None
                forecast[h - 1] = 0.0 if row is None else float(self._weights[h] @ row)
        return forecast

    def _update(self, h: int, row: np.ndarray[Any, Any], y: float) -> None:
        covariance = self._covariance[h]
        projected = covariance @ row
        gain = projected / (self._forgetting + row @ projected)
        self._weights[h] += gain * (y - self._weights[h] @ row)
        covariance = (covariance - np.outer(gain, projected)) / self._forgetting
        self._covariance[h] = (covariance + covariance.T) / 2  # rounding would slowly undo its symmetry


def _scaled(model: Any) -> Any:
    return preprocessing.StandardScaler() | model


def _scaled_linear() -> Any:
    return _scaled(preprocessing.TargetStandardScaler(linear_model.LinearRegression(intercept_lr=0.1)))


def _bayesian() -> Any:
    model = linear_model.BayesianLinearRegression(beta=10, smoothing=0.99)
    return _scaled(preprocessing.TargetStandardScaler(model))


def _holt_winters(*arguments: Any, last_value_first: bool = False) -> RiverForecaster:
    return RiverForecaster(time_series.HoltWinters(*arguments), last_value_first)


def _snarimax(p: int, d: int, q: int, m: int = 1) -> RiverForecaster:
    return RiverForecaster(time_series.SNARIMAX(p, d, q, m))


def _last_value() -> AsPredictor:
    return AsPredictor(SeasonalRule())


def _last_class(score: float) -> Rival:
    return Rival("last class", dummy.NoChangeClassifier, (score,))


ONE_STEP: Final[dict[str, tuple[Rival, ...]]] = {
    "trump": (
        Rival("last value", _last_value, (0.195,)),
        Rival("River: scaled linear", _scaled_linear, (0.291,)),
        Rival("River, stronger: Holt-Winters(.9)", lambda: AsPredictor(_holt_winters(0.9, last_value_first=True))),
        Rival("deep-river, recurrent", None, (0.449,)),
    ),
    "water": (
        Rival("last value", _last_value, (0.710,)),
        Rival("River: Holt-Winters(.9, .1)", lambda: AsPredictor(_holt_winters(0.9, 0.1)), (0.998,)),
        Rival("River, stronger: Holt-Winters(.99)", lambda: AsPredictor(_holt_winters(0.99, last_value_first=True))),
        Rival("deep-river, recurrent", None, (1.32,)),
    ),
    "airline": (
        Rival("last value", _last_value, (26.5,)),
        Rival("seasonal rule, 12", lambda: AsPredictor(SeasonalRule(12))),
        Rival("River: SNARIMAX(12,1,12,m=12)", lambda: AsPredictor(_snarimax(12, 1, 12, 12)), (15.5,)),
        Rival(
            "River, stronger: Holt-Winters(.3, .1, .6, 12)",
            lambda: AsPredictor(_holt_winters(0.3, 0.1, 0.6, 12, last_value_first=True)),
        ),
        Rival("deep-river, recurrent", None, (26.7,)),
    ),
    "chick": (
        Rival("last value", lambda: BaselinePredictor(LastValue(lambda _: None)), (31.5,)),
        Rival("last value per chick", lambda: BaselinePredictor(LastValue("chick"))),
        Rival("River: Bayesian linear, scaled", _bayesian, (21.6,)),
        Rival("deep-river, GRU", None, (21.0,)),
    ),
    "sp500": (
        Rival("running mean", lambda: BaselinePredictor(RunningMean()), (0.561,)),
        Rival("River: ARF", lambda: forest.ARFRegressor(seed=1), (0.573,)),
        Rival("deep-river, recurrent", None, (0.565,)),
    ),
    "phishing": (
        _last_class(0.515),
        Rival("River: logistic, scaled", lambda: _scaled(linear_model.LogisticRegression()), (0.893,)),
        Rival("River, stronger: ARF", lambda: forest.ARFClassifier(seed=42)),
        Rival("deep-river, recurrent", None, (0.886,)),
    ),
    "bananas": (
        _last_class(0.509),
        Rival("River: ARF", lambda: forest.ARFClassifier(seed=1), (0.880,)),
        Rival("deep-river, recurrent", None, (0.757,)),
    ),
    "segments": (
        _last_class(0.148),
        Rival("River: softmax, scaled", lambda: _scaled(linear_model.SoftmaxRegression()), (0.825,)),
        Rival(
            "River, stronger: softmax, SGD(.1)",
            lambda: _scaled(linear_model.SoftmaxRegression(optimizer=optim.SGD(0.1))),
        ),
        Rival("deep-river, recurrent", None, (0.846,)),
    ),
    "shuttle": (
        _last_class(0.857),
        Rival("River: logistic, scaled", lambda: _scaled(linear_model.LogisticRegression()), (0.995,)),
        Rival("deep-river, recurrent", None, (0.994,)),
    ),
}

# The earlier measurements of three steps are all by River's protocol.
THREE_STEPS: Final[dict[str, tuple[Rival, ...]]] = {
    "airline": (
        Rival("last value", SeasonalRule),
        Rival("seasonal rule, 12", lambda: SeasonalRule(12), (30.5,)),
        Rival("River: Holt-Winters(.3, .1, .1, 12)", lambda: _holt_winters(0.3, 0.1, 0.1, 12), (39.4,)),
        Rival("River: SNARIMAX(12,1,12,m=12)", lambda: _snarimax(12, 1, 12, 12), (32.8,)),
        Rival(
            "River, stronger: Holt-Winters(.3, .1, .6, 12)",
            lambda: _holt_winters(0.3, 0.1, 0.6, 12, last_value_first=True),
        ),
        Rival("deep-river, recurrent", None, (294.0,)),
    ),
    "trump": (
        Rival("last value", SeasonalRule, (0.304,)),
        Rival("River: Holt-Winters(.3, .1, .1, 12)", lambda: _holt_winters(0.3, 0.1, 0.1, 12), (0.393,)),
        Rival("River: SNARIMAX(12,1,12,m=12)", lambda: _snarimax(12, 1, 12, 12), (0.310,)),
        Rival("River, stronger: SNARIMAX(1,1,1)", lambda: _snarimax(1, 1, 1)),
        Rival("deep-river, recurrent", None, (22.0,)),
    ),
}

MACKEY_GLASS_HORIZONS: Final = (1, 6, 84)
MACKEY_GLASS: Final = (
    Rival("last value", SeasonalRule, (0.146, 0.819, 1.647)),
    Rival(
        "least squares, 20 lags, P0=1e4",
        lambda: RecursiveLeastSquares(MACKEY_GLASS_HORIZONS),
        (0.0032, 0.175, 0.536),
    ),
    Rival("least squares, 20 lags, P0=1e6", lambda: RecursiveLeastSquares(MACKEY_GLASS_HORIZONS, initial=1e6)),
    Rival("online LSTM, Adam", None, (0.048, 0.249, 0.606)),
    Rival("least squares, LSTM + 20 lags", None, (0.0075, 0.064, 0.372)),
)

LORENZ_HORIZONS: Final = (1, 25)
LORENZ: Final = (
    Rival("last value", SeasonalRule),
    Rival("least squares, 20 lags, P0=1e4", lambda: RecursiveLeastSquares(LORENZ_HORIZONS)),
)


def flight_rivals() -> tuple[Rival, ...]:
    """The demo's."""

    def build(name: str) -> Callable[[], BaselinePredictor]:
        return lambda: BaselinePredictor(demo_rivals(FeatureEncoder(flight_features()))[name])

    return tuple(Rival(name, build(name)) for name in demo_rivals(FeatureEncoder(flight_features())))
