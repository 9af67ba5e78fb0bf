"""How the quality bench scores: test-then-train, in one pass over the events, by what is asked and when.

A predictor is asked for y before it learns (x, y). A forecaster is asked for several steps ahead, under two protocols:
aligned, where the first step ahead is the value that comes next, and that of River's forecasting track, which is one
step off. A forecaster that cannot answer yet returns None.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tests.bench.quality_data import Events

Scores = tuple[float, ...]
STEPS_AHEAD: Final = 3


def mean_absolute_error(events: Events, model: Any) -> Scores:
    """Of a predictor, over the events whose target is known."""
    errors = []
    for x, y in zip(*events, strict=True):
        if y is not None:
            errors.append(abs(model.predict_one(x) - y))
        model.learn_one(x, y)
    return (statistics.fmean(errors),)


def accuracy(events: Events, model: Any) -> Scores:
    """Of a predictor; no answer is a wrong one."""
    right = 0
    for x, y in zip(*events, strict=True):
        right += model.predict_one(x) == y
        model.learn_one(x, y)
    return (right / len(events.y),)


def aligned(events: Events, model: Any, horizon: int = STEPS_AHEAD) -> Scores:
    """Having learned y_t, forecast y_{t+1} to y_{t+h}: the mean over steps ahead of their mean absolute errors.

    The first forecast follows ``horizon`` values. Where a forecaster has no answer yet nothing is scored.
    """
    y, errors = events.y, []
    for t in range(len(y) - horizon):
        model.learn_one(y[t])
        if t >= horizon - 1 and (forecast := model.forecast(horizon)) is not None:
            errors.append(np.abs(np.subtract(forecast, y[t + 1 : t + 1 + horizon])))
    return (float(np.mean(errors)),)


def river_track(events: Events, model: Any, horizon: int = STEPS_AHEAD) -> Scores:
    """River's ``evaluate.evaluate``: forecast *before* y_t is learned, yet compare with y_{t+1} to y_{t+h}.

    The first value forecast is that of y_t, so each is held against the value one step later than its own. River's
    first forecast follows ``horizon`` values, too.
    """
    y, errors = events.y, []
    for t in range(len(y) - horizon):
        if t >= horizon and (forecast := model.forecast(horizon)) is not None:
            errors.append(np.abs(np.subtract(forecast, y[t + 1 : t + 1 + horizon])))
        model.learn_one(y[t])
    return (float(np.mean(errors)),)


def normalised_errors(events: Events, model: Any, horizons: Sequence[int]) -> Scores:
    """Root mean squared error of y_t as forecast h steps before, in standard deviations of y, for each h.

    Of one pass, in which the first fifth of the series is not scored.
    """
    y = np.array(events.y)
    start = len(y) // 5
    forecasts = np.full((len(horizons), len(y) + max(horizons)), np.nan)
    for t, value in enumerate(events.y):
        model.learn_one(value)
        ahead = model.forecast(max(horizons))
        for row, h in zip(forecasts, horizons, strict=True):
            row[t + h] = ahead[h - 1]
    errors = forecasts[:, start : len(y)] - y[start:]
    return tuple((np.sqrt(np.mean(errors**2, axis=1)) / y[start:].std()).tolist())
