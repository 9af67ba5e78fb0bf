"""Nine values in ten lie within intervals of 90 %, whatever the series does.

The series drifts in every way at once: its trend turns, its level jumps, its season changes length and size, its noise
grows and shrinks twenty-fold. Errors alone are as bad as they can be: growing a thousand-fold, of no variance, zero.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn import RNNForecaster
from streamrnn.estimators.intervals import START, STEP, AdaptiveIntervals

LEVEL = 0.9
STEPS = 10_000
HORIZON = 3


def drifting(seed: int, n: int = STEPS) -> np.ndarray:
    """Trend, level shifts, changing seasonality and changing noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    trend = np.where((t // 2_500) % 2 == 0, 0.01, -0.02).cumsum()
    shifts = np.where(rng.random(n) < 1 / 500, rng.normal(scale=15.0, size=n), 0.0).cumsum()
    period = np.choose((t // 2_000) % 3, [12, 7, 24])
    season = np.where((t // 3_000) % 2 == 0, 1.0, 5.0) * np.sin(2.0 * math.pi * t / period)
    return 100.0 + trend + shifts + season + np.exp(1.5 * np.sin(t / 900.0)) * rng.normal(size=n)


def covered(model: RNNForecaster, y: Sequence[float], steps_ahead: int) -> np.ndarray:
    """Whether each value lay within its interval, for each of the steps ahead, (len(y), steps_ahead); NaN: no interval.

    Each interval is as it was when the forecast was made.
    """
    inside = np.full((len(y), steps_ahead), np.nan)
    for t, value in enumerate(y):
        model.learn_one(value)
        for j, (low, high) in enumerate(model.forecast_interval(steps_ahead), 1):
            if t + j < len(y):
                inside[t + j, j - 1] = low <= y[t + j] <= high
    return inside


@pytest.mark.slow
@pytest.mark.parametrize(("readout", "seed"), [("rls", 0), ("rls", 1), ("rls", 2), ("linear", 0), ("linear", 1)])
def test_intervals_of_a_drifting_series_hold_what_they_promise(readout: str, seed: int) -> None:
    model = RNNForecaster(horizon=HORIZON, readout=readout, hidden_size=8, k1=8, level=LEVEL)
    inside = covered(model, drifting(seed).tolist(), HORIZON)
    whole, late = np.nanmean(inside, axis=0), np.nanmean(inside[STEPS // 2 :], axis=0)
    print(f"{readout} {seed}: {whole.round(4).tolist()}, second half {late.round(4).tolist()}")
    for j in (0, HORIZON - 1):
        assert whole[j] == pytest.approx(LEVEL, abs=0.01)
        assert late[j] == pytest.approx(LEVEL, abs=0.02)


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_an_interval_aims_at_the_level_it_was_given(level: float) -> None:
    model = RNNForecaster(hidden_size=4, k1=8, baseline="last", level=level)
    assert np.nanmean(covered(model, drifting(3, 4_000).tolist(), 1)) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_intervals_are_of_the_series_unit(unit: float) -> None:
    model = RNNForecaster(hidden_size=4, baseline=None)
    noise = np.random.default_rng(0).normal(size=400)
    inside = covered(model, (unit * noise).tolist(), 1)
    ((low, high),) = model.forecast_interval(1)
    assert np.nanmean(inside[20:]) == pytest.approx(LEVEL, abs=0.03)
    assert high - low == pytest.approx(2 * 1.64 * unit, rel=0.4)


# ---- the intervals alone


def shares(intervals: AdaptiveIntervals, errors: Sequence[float], stream: str = "a") -> np.ndarray:
    """Whether each error lay within the half-width announced before it, (n,)."""
    inside = []
    for error in errors:
        inside.append(abs(error) <= intervals.half_widths(stream)[0])
        intervals.observe(stream, [error])
    return np.array(inside)


def hostile(kind: str, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n)
    t = np.arange(n)
    return {
        "growing": 1000.0 ** (t / n) * noise,
        "shrinking": 1000.0 ** (-t / n) * noise,
        "cauchy": rng.standard_cauchy(n),
        "many zeros": np.where(rng.random(n) < 0.3, 0.0, noise),
        "constant": np.full(n, 3.0),
        "bursts": np.where((t // 50) % 2 == 0, 100.0, 1.0) * noise,
        "biased": 50.0 + noise,
    }[kind]


@pytest.mark.parametrize("kind", ["growing", "shrinking", "cauchy", "many zeros", "constant", "bursts", "biased"])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_coverage_tends_to_the_level_whatever_the_errors(kind: str, level: float) -> None:
    inside = shares(AdaptiveIntervals(level, 1, 1), hostile(kind, STEPS, seed=1).tolist())
    assert inside.mean() == pytest.approx(level, abs=0.01)
    assert inside[STEPS // 2 :].mean() == pytest.approx(level, abs=0.02)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_misses_beyond_those_allowed_widen_the_intervals_by_as_many_steps(errors: list[float], level: float) -> None:
    intervals = AdaptiveIntervals(level, 1, 1)
    outside = int((~shares(intervals, errors)).sum())
    widened = intervals.state()["log_q"][0] - math.log(START)
    assert widened >= STEP * (outside - (1.0 - level) * (len(errors) - 1)) - 1e-9


def test_mostly_zero_errors_are_covered_at_least_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    errors = np.where(rng.random(STEPS) < 0.95, 0.0, rng.normal(size=STEPS))
    assert shares(AdaptiveIntervals(LEVEL, 1, 1), errors.tolist()).mean() >= LEVEL


def test_intervals_recover_soon_after_a_long_time_without_any_error() -> None:
    intervals = AdaptiveIntervals(LEVEL, 1, 1)
    shares(intervals, [0.0] * STEPS)
    noise = np.random.default_rng(0).normal(size=1_000).tolist()
    assert shares(intervals, noise)[200:].mean() == pytest.approx(LEVEL, abs=0.05)


@pytest.mark.parametrize("absurd", [1e300, -1.7e308])
def test_an_absurd_value_is_no_error(absurd: float) -> None:
    model = RNNForecaster(hidden_size=4, baseline="last")
    for t in range(100):
        model.learn_one(math.sin(t))
    before = copy.deepcopy(model._own_state()["intervals"])
    model.learn_one(absurd)
    assert model._own_state()["intervals"] == before  # the forecast they are around may be another, and round


def test_an_interval_is_infinite_before_its_first_error() -> None:
    intervals = AdaptiveIntervals(LEVEL, 2, 2)
    assert intervals.half_widths("a") == [math.inf, math.inf]
    intervals.observe("a", [1.0, math.nan])
    first, second = intervals.half_widths("a")
    assert math.isfinite(first)
    assert second == math.inf
    assert intervals.half_widths("b") == [math.inf, math.inf]


def test_a_forecasters_intervals_become_finite_one_step_ahead_after_the_other() -> None:
    model = RNNForecaster(hidden_size=2, horizon=2, k2=4, baseline=None)
    finite = []
    for value in (1.0, 3.0, 2.0):
        model.learn_one(value)
        finite.append([math.isfinite(high - low) for low, high in model.forecast_interval(2)])
    assert finite == [[False, False], [True, False], [True, True]]


def test_each_step_ahead_has_a_width_of_its_own() -> None:
    rng = np.random.default_rng(0)
    intervals = AdaptiveIntervals(LEVEL, 2, 1)
    for _ in range(500):
        intervals.observe("a", [rng.normal(), 100.0 * rng.normal()])
    assert intervals.half_widths("a") == pytest.approx([1.64, 164.0], rel=0.4)


def test_each_of_several_streams_is_covered_in_its_own_unit() -> None:
    rng = np.random.default_rng(0)
    intervals = AdaptiveIntervals(LEVEL, 1, 10)
    units = {"a": 1.0, "b": 1e4, "c": 1e-4}
    inside: dict[str, list[bool]] = {stream: [] for stream in units}
    for stream in rng.choice(list(units), 3 * STEPS).tolist():
        inside[stream].extend(shares(intervals, [units[stream] * rng.normal()], stream).tolist())
    for share in inside.values():
        assert np.mean(share) == pytest.approx(LEVEL, abs=0.02)


def test_beyond_max_streams_the_least_recently_observed_is_forgotten() -> None:
    intervals = AdaptiveIntervals(LEVEL, 1, 2)
    for stream in "abac":
        intervals.observe(stream, [1.0])
    assert [math.isfinite(intervals.half_widths(stream)[0]) for stream in "abc"] == [True, False, True]


def test_restored_intervals_go_on_identically() -> None:
    errors = hostile("cauchy", 300, seed=2).tolist()
    whole, again = AdaptiveIntervals(LEVEL, 1, 3), AdaptiveIntervals(LEVEL, 1, 3)
    shares(whole, errors[:150])
    again.restore(json.loads(json.dumps(whole.state())))
    assert (shares(again, errors[150:]) == shares(whole, errors[150:])).all()
    assert again.state() == whole.state()
