"""Forecasts start from a baseline, see covariates of the steps they are made for, and run on with themselves.

Beyond the horizon a forecast is what a copy of the model would say after learning the forecasts as if they had come.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections import deque
from typing import Any

import numpy as np
import pytest
from river import datasets, evaluate, metrics

from streamrnn import RNNForecaster
from streamrnn.errors import ConfigError
from streamrnn.estimators.forecaster import LONGEST_PERIOD, RELEARNED
from streamrnn.estimators.season import SeasonFinder
from tests.support.contract import Model, Row, everything

SEASONAL_NAIVE = 29.2
"""Mean absolute error of repeating the last year of AirlinePassengers on River's forecasting track, 3 steps ahead."""
READOUTS = ("rls", "linear")


def covariates(n: int) -> list[Row]:
    return [{"a": math.cos(0.7 * t), "b": float(t % 5)} for t in range(n)]


def wave(n: int, with_x: bool) -> list[tuple[float, Row]]:
    """A wave to which covariate a of the same step adds."""
    x = covariates(n) if with_x else [{}] * n
    return [(math.sin(t / 3.0) + 0.5 * x[t].get("a", 0.0), x[t]) for t in range(n)]


def taught(model: Model, series: list[tuple[float, Row]]) -> Model:
    for y, x in series:
        model.learn_one(y, x)
    return model


# ---- beyond the horizon


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("baseline", [None, "last", 7])
@pytest.mark.parametrize("with_x", [False, True], ids=["alone", "covariates"])
def test_beyond_the_horizon_a_model_runs_on_with_its_own_forecasts(
    with_x: bool, baseline: str | int | None, horizon: int
) -> None:
    # Nothing is learned here before event 150, and nothing scaled: taking in a value moves the state alone.
    model = RNNForecaster(
        hidden_size=6, horizon=horizon, baseline=baseline, readout="linear", scale=False, previous_target=True, k1=50,
        k2=60,
    )  # fmt: skip
    series = wave(140, with_x)
    taught(model, series[:120])
    xs = [x for _, x in series[120:130]]
    forecasts = model.forecast(10, xs)
    by_hand = copy.deepcopy(model)
    expected = by_hand.forecast(horizon, xs[:horizon])
    for j in range(10 - horizon):
        by_hand.learn_one(expected[j], xs[j])
        expected.append(by_hand.forecast(horizon, xs[j + 1 : j + 1 + horizon])[-1])
    assert forecasts == expected
    assert np.ptp(forecasts) > 0.01


@pytest.mark.parametrize("baseline", [None, "last", 7])
@pytest.mark.parametrize("with_x", [False, True], ids=["alone", "covariates"])
def test_between_steps_that_are_listed_a_model_runs_on_with_its_own_forecasts(
    with_x: bool, baseline: str | int | None
) -> None:
    model = RNNForecaster(
        hidden_size=6, horizon=(1, 4), baseline=baseline, readout="linear", scale=False, previous_target=True, k1=50,
        k2=60,
    )  # fmt: skip
    series = wave(140, with_x)
    taught(model, series[:120])
    xs = [x for _, x in series[120:130]]
    forecasts, by_hand = model.forecast(10, xs), copy.deepcopy(model)
    direct = by_hand.forecast_direct(xs[0])
    assert (forecasts[0], forecasts[3]) == (direct[1], direct[4])
    expected = {1: direct[1], 4: direct[4]}
    for fed in range(1, 10):
        by_hand.learn_one(expected[fed], xs[fed - 1])
        for j, value in by_hand.forecast_direct(xs[fed]).items():
            expected.setdefault(fed + j, value)  # the one that was fed the fewest forecasts
    assert forecasts == [expected[step] for step in range(1, 11)]
    assert np.ptp(forecasts) > 0.01


def test_without_the_next_step_among_those_listed_the_others_are_not_forecast() -> None:
    model = taught(RNNForecaster(horizon=(2, 5), cell="bank", baseline=None), wave(300, False))
    forecasts = model.forecast(6)
    assert [step for step, value in enumerate(forecasts, 1) if not math.isnan(value)] == [2, 5]
    assert model.forecast_direct() == {2: forecasts[1], 5: forecasts[4]}
    assert forecasts[1::3] == pytest.approx([math.sin(301 / 3.0), math.sin(304 / 3.0)], abs=0.01)
    intervals = model.forecast_interval(5)
    assert [step for step, (low, high) in enumerate(intervals, 1) if high - low < 1.0] == [2, 5]
    assert intervals[0] == (-math.inf, math.inf)
    with pytest.raises(ConfigError, match="intervals reach 5 steps, got 6"):
        model.forecast_interval(6)


def test_a_readout_by_least_squares_runs_on_as_well() -> None:
    model = taught(RNNForecaster(baseline=None, scale=False, previous_target=True, k1=50, k2=60), wave(330, False))
    forecasts, by_hand = model.forecast(12), copy.deepcopy(model)
    expected = []
    for _ in range(12):
        expected += by_hand.forecast(1)
        by_hand.learn_one(expected[-1])  # what was forecast without error teaches the readout next to nothing
    assert forecasts == pytest.approx(expected, abs=0.02)
    assert forecasts == pytest.approx([math.sin(t / 3.0) for t in range(330, 342)], abs=0.05)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_season_is_forecast_far_beyond_the_horizon(readout: str) -> None:
    shape = [3.0, 9.0, 1.0, 7.0, 5.0]
    model = RNNForecaster(readout=readout, baseline=5)
    for t in range(500):
        model.learn_one(shape[t % 5] + 0.01 * t)
    assert model.forecast(20) == pytest.approx([shape[t % 5] + 0.01 * t for t in range(500, 520)], abs=0.5)


@pytest.mark.parametrize("with_x", [False, True], ids=["alone", "covariates"])
@pytest.mark.parametrize("readout", READOUTS)
def test_forecasting_changes_nothing(readout: str, with_x: bool) -> None:
    series = wave(60, with_x)
    model = taught(RNNForecaster(hidden_size=4, horizon=2, readout=readout, k2=6), series[:50])
    xs = [x for _, x in series[50:]]
    before = everything(model)
    first = model.forecast(10, xs)
    assert model.forecast(10, xs) == first
    assert model.forecast(2, xs[:2]) == first[:2]
    assert model.forecast_interval(2, xs[:2])
    assert everything(model) == before


# ---- covariates


@pytest.mark.parametrize("readout", READOUTS)
def test_the_covariates_of_a_step_decide_its_forecast(readout: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=1_500)
    y = 3.0 * a + 0.1 * rng.normal(size=1_500)
    model = RNNForecaster(readout=readout, horizon=2)
    known, unknown = [], []
    for t in range(len(y) - 1):
        if t > 800:
            xs = [{"a": value} for value in a[t : t + 2].tolist()]
            known.append(abs(model.forecast(2, xs)[0] - y[t]))
            unknown.append(abs(model.forecast(2)[0] - y[t]))
        model.learn_one(float(y[t]), {"a": float(a[t])})
    assert np.mean(known) < 0.4
    assert np.mean(unknown) > 2.0


@pytest.mark.parametrize("readout", READOUTS)
def test_the_covariates_of_a_step_beyond_the_horizon_decide_its_forecast(readout: str) -> None:
    a = np.random.default_rng(4).normal(size=2_000).tolist()
    model = taught(RNNForecaster(readout=readout, baseline=None), [(3.0 * value, {"a": value}) for value in a])
    xs = [{"a": value} for value in (1.5, -1.5, 1.0, -1.0)]
    assert model.forecast(4, xs) == pytest.approx([4.5, -4.5, 3.0, -3.0], abs=1.5)


def test_a_stream_never_seen_is_forecast_with_the_covariates_of_each_step() -> None:
    a = np.random.default_rng(4).normal(size=2_000).tolist()
    series = [(3.0 * value, {"a": value, "id": "pq"[t % 2]}) for t, value in enumerate(a)]
    model = taught(RNNForecaster(readout="linear", baseline=None, stream_key="id"), series)
    forecasts = model.forecast(4, [{"a": value, "id": "new"} for value in (1.5, -1.5, 1.5, -1.5)])
    assert [math.copysign(1.0, value) for value in forecasts] == [1.0, -1.0, 1.0, -1.0]


def test_covariates_come_in_any_sequence() -> None:
    series = wave(60, True)
    model = taught(RNNForecaster(hidden_size=4), series[:50])
    xs = [x for _, x in series[50:]]
    assert model.forecast(10, deque(xs)) == model.forecast(10, tuple(xs)) == model.forecast(10, xs)


def test_covariates_that_are_not_known_count_as_missing() -> None:
    model = taught(RNNForecaster(hidden_size=4), wave(60, True))
    missing = [{"a": math.nan, "b": None}] * 3
    assert model.forecast(3) == model.forecast(3, [{}] * 3) == model.forecast(3, missing)
    assert model.forecast(3) != model.forecast(3, covariates(3))


def test_after_its_end_a_series_with_covariates_begins_anew() -> None:
    model = taught(RNNForecaster(hidden_size=4, stream_key="id"), [(y, {**x, "id": "p"}) for y, x in wave(60, True)])
    model.end_sequence("p")
    xs = covariates(3)
    ended, new = (model.forecast(3, [{**x, "id": stream} for x in xs]) for stream in ("p", "new"))
    assert ended == new


# ---- baselines


def test_the_last_value_of_a_random_walk_is_its_forecast() -> None:
    rng = np.random.default_rng(2)
    model = RNNForecaster(horizon=3, baseline="last")
    y = rng.normal(size=1_500).cumsum()
    for t, value in enumerate(y.tolist()):
        if t > 500:
            assert model.forecast(3) == pytest.approx([y[t - 1]] * 3, abs=0.3)
        model.learn_one(value)


def test_the_linear_readout_stays_near_the_last_value_of_a_random_walk() -> None:
    y = np.random.default_rng(2).normal(size=2_000).cumsum()
    model = RNNForecaster(readout="linear", baseline="last")
    errors = []
    for value in y.tolist():
        errors.append(abs(model.forecast(1)[0] - value))
        model.learn_one(value)
    assert np.mean(errors[500:]) < 1.03 * np.abs(np.diff(y[499:])).mean()


@pytest.mark.parametrize("readout", READOUTS)
def test_a_period_is_repeated_before_anything_else_is_learned(readout: str) -> None:
    model = RNNForecaster(horizon=2, baseline=4, readout=readout, lr=1e-9)
    for t in range(40):
        model.learn_one([10.0, 20.0, 15.0, -5.0][t % 4])
    assert model.forecast(8) == pytest.approx([10.0, 20.0, 15.0, -5.0] * 2, abs=1.5)


@pytest.mark.parametrize("with_x", [False, True], ids=["alone", "covariates"])
@pytest.mark.parametrize("streams", ["p", "pq"])
def test_when_a_season_is_found_the_newest_events_are_learned_again(with_x: bool, streams: str) -> None:
    rng = np.random.default_rng(3)
    shape = 3.0 * rng.normal(size=7)
    series: list[tuple[float, Row]] = []
    for t in range(2_000):
        y = 3.0 * rng.normal() if t < 1_100 else shape[t // len(streams) % 7] + 0.3 * rng.normal()
        x = {"a": float(rng.normal())} if with_x else {}
        series.append((float(y), {**x, "id": streams[t % len(streams)]}))
    finder = SeasonFinder(LONGEST_PERIOD)
    n = next(t for t, (y, x) in enumerate(series, 1) if finder.observe(x["id"], y))
    assert n > 1_100
    auto, fixed = (
        RNNForecaster(hidden_size=4, horizon=2, stream_key="id", baseline=b) for b in ("auto", finder.period)
    )
    taught(auto, series[:n])
    # With covariates the newest value of each stream waits for the next ones, without any the very newest is learned
    # after the change: it comes on top of those learned again.
    taught(fixed, series[n - RELEARNED - (len(streams) if with_x else 1) : n])
    for y, x in series[n : n + 40]:
        assert auto.forecast(9, [x] * 9) == fixed.forecast(9, [x] * 9)
        auto.learn_one(y, x)
        fixed.learn_one(y, x)


def test_a_model_restored_before_a_season_is_found_goes_on_identically() -> None:
    shape = np.random.default_rng(3).normal(size=7)
    y = [float(shape[t % 7]) for t in range(60)]
    whole = RNNForecaster(hidden_size=4)
    for value in y[:9]:
        whole.learn_one(value)
    again = copy.deepcopy(whole)
    for value in y[9:]:
        whole.learn_one(value)
        again.learn_one(value)
        assert again.forecast(9) == whole.forecast(9)
    assert everything(again) == everything(whole)
    assert whole.forecast(9) == pytest.approx([shape[t % 7] for t in range(60, 69)], abs=0.2)


# ---- several series, missing values


@pytest.mark.parametrize("readout", READOUTS)
def test_many_series_are_forecast_each_from_its_own_past(readout: str) -> None:
    model = RNNForecaster(stream_key="id", baseline="last", readout=readout)
    level = {f"s{i}": 100.0 * i for i in range(20)}
    rng = np.random.default_rng(0)
    for _ in range(60):
        for stream in rng.permutation(list(level)).tolist():
            level[stream] += float(rng.normal())
            model.learn_one(level[stream], {"id": stream})
    for stream, value in level.items():
        assert model.forecast(1, [{"id": stream}])[0] == pytest.approx(value, abs=2.0)
        ((low, high),) = model.forecast_interval(1, [{"id": stream}])
        assert 0.5 < high - low < 10.0


@pytest.mark.parametrize("with_x", [False, True], ids=["alone", "covariates"])
@pytest.mark.parametrize("missing", [None, math.nan])
def test_time_goes_on_where_a_value_is_missing(with_x: bool, missing: float | None) -> None:
    rng = np.random.default_rng(0)
    model, errors = RNNForecaster(horizon=2, baseline=None), []
    for t, (y, x) in enumerate(wave(1_200, with_x)):
        if t > 800:
            errors.append(abs(model.forecast(1, [x])[0] - y))
        model.learn_one(missing if rng.random() < 0.1 else y, x)
    assert model.counters()["records_predicted"] >= 1_199
    assert np.mean(errors) < 0.25
    assert all(math.isfinite(value) for value in model.forecast(5, covariates(5) if with_x else None))


# ---- River


@pytest.mark.parametrize("baseline", ["auto", 12])
def test_air_travel_is_forecast_no_worse_than_by_repeating_the_year_before(baseline: Any) -> None:
    model = RNNForecaster(horizon=3, baseline=baseline)
    score = evaluate.evaluate(datasets.AirlinePassengers(), model, metrics.MAE(), horizon=3, agg_func=statistics.mean)
    print(f"baseline {baseline}: {score.get():.2f}")
    assert score.get() < 1.02 * SEASONAL_NAIVE
