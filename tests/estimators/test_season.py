"""A season is found soon where there is one, in any unit, and none where a series only wanders or rings.

A multiple of a period is a period, too; with noise that hides the shape either may be found.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from river import datasets

from streamrnn.estimators.season import STREAMS, SeasonFinder
from tests.bench.quality_data import mackey_glass

LONGEST = 60
Changes = list[tuple[int, int]]


def changes(values: np.ndarray | list[float], finder: SeasonFinder | None = None) -> Changes:
    """When the period changed, and to what."""
    finder = SeasonFinder(LONGEST) if finder is None else finder
    return [(t, finder.period) for t, value in enumerate(values) if finder.observe("", float(value))]


def season(period: int, n: int, noise: float, seed: int = 0) -> np.ndarray:
    """A repeated random shape of deviation one and noise."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(size=period)
    shape = (shape - shape.mean()) / shape.std()
    return shape[np.arange(n) % period] + noise * rng.normal(size=n)


def autoregressive(weights: tuple[float, ...], n: int, seed: int) -> np.ndarray:
    """y_t = sum of weights times the values before, plus white noise."""
    noise = np.random.default_rng(seed).normal(size=n)
    y = np.zeros(n)
    for t in range(n):
        y[t] = noise[t] + sum(w * y[t - j] for j, w in enumerate(weights, 1) if t >= j)
    return y


# ---- where there is a season


def test_the_year_of_air_travel_is_found_within_three_years() -> None:
    found = changes([y for _, y in datasets.AirlinePassengers()])
    assert [period for _, period in found] == [12]
    assert found[0][0] < 36


@pytest.mark.parametrize("noise", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("period", [7, 12, 24, 60])
def test_the_period_is_found_within_three_seasons_and_kept(period: int, noise: float) -> None:
    found = changes(season(period, 12 * period, noise))
    assert [p for _, p in found] == [period]
    assert found[0][0] <= max(3 * period, 20)


@pytest.mark.parametrize("period", [2, 3, 5])
def test_a_short_period_or_a_multiple_of_it_is_found_within_twenty_values(period: int) -> None:
    assert [p for _, p in changes(season(period, 200, 0.0))] == [period]
    found = changes(season(period, 200, 0.3))
    assert found[0][0] <= 20
    assert all(p % period == 0 for _, p in found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("period", [7, 24])
def test_a_season_is_found_in_noise_of_half_its_size(period: int, seed: int) -> None:
    finder = SeasonFinder(LONGEST)
    changes(season(period, 600, 0.5, seed), finder)
    assert finder.period
    assert finder.period % period == 0


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("level", [0.0, 1e3])
def test_neither_unit_nor_level_matters(unit: float, level: float) -> None:
    y = season(7, 200, 0.3)
    assert changes((y + level) * unit) == changes(y + level)


def test_a_season_upon_a_trend_is_found() -> None:
    assert changes(season(12, 300, 0.2) + 0.5 * np.arange(300))[-1][1] == 12


def test_seasons_longer_than_the_longest_are_not_looked_for() -> None:
    assert changes(season(12, 300, 0.1), SeasonFinder(11)) == []


# ---- where there is none


@pytest.mark.parametrize("seed", range(20))
def test_none_is_found_in_white_noise(seed: int) -> None:
    assert changes(np.random.default_rng(seed).normal(size=500)) == []


@pytest.mark.parametrize("seed", range(20))
def test_none_is_found_in_a_random_walk(seed: int) -> None:
    assert changes(np.random.default_rng(seed).normal(size=500).cumsum()) == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weights", [(0.5,), (0.95,), (1.2, -0.4), (-0.4,)], ids=str)
def test_none_is_found_in_an_autoregressive_series(weights: tuple[float, ...], seed: int) -> None:
    assert changes(autoregressive(weights, 400, seed)) == []


def test_none_is_found_in_an_approval_rating() -> None:
    assert changes([y for _, y in datasets.TrumpApproval()]) == []


def test_none_is_found_in_a_chaotic_series() -> None:
    assert changes(mackey_glass(2_000).y) == []


@pytest.mark.parametrize("value", [0.0, -3.5, 1e12])
def test_none_is_found_in_a_constant(value: float) -> None:
    assert changes([value] * 300) == []


# ---- change


def test_a_season_of_another_period_takes_over() -> None:
    finder = SeasonFinder(LONGEST)
    changes(season(7, 500, 0.2), finder)
    assert finder.period == 7
    found = changes(season(12, 1_000, 0.2, seed=1), finder)
    assert finder.period
    assert finder.period % 12 == 0
    assert found[-1][0] < 300


def test_a_season_that_ends_is_given_up() -> None:
    finder = SeasonFinder(LONGEST)
    changes(season(7, 500, 0.2), finder)
    assert finder.period == 7
    found = changes(np.random.default_rng(2).normal(size=1_000), finder)
    assert finder.period == 0
    assert found[0][0] < 500


# ---- several streams, state


def test_streams_do_not_mix_and_agree_on_a_period() -> None:
    finder = SeasonFinder(LONGEST)
    a, b = season(7, 300, 0.2, seed=1), 100.0 + season(7, 300, 0.2, seed=2)
    order = np.random.default_rng(0).permuted(np.repeat([0, 1], 300))
    place = [0, 0]
    for stream in order.tolist():
        finder.observe("ab"[stream], float((a, b)[stream][place[stream]]))
        place[stream] += 1
    assert finder.period == 7


def test_streams_beyond_the_first_few_are_not_looked_at() -> None:
    finder = SeasonFinder(LONGEST)
    for t in range(STREAMS):
        finder.observe(str(t), 1.0)
    before = json.dumps(finder.state())
    assert not any(finder.observe("one more", float(t % 3)) for t in range(50))
    assert json.dumps(finder.state()) == before


@pytest.mark.parametrize("cut", [0, 1, 5, 100, 510])
def test_a_restored_finder_goes_on_identically(cut: int) -> None:
    y = np.concatenate([season(7, 500, 0.3), season(12, 300, 0.3)])
    whole = SeasonFinder(LONGEST)
    changes(y[:cut], whole)
    again = SeasonFinder(LONGEST)
    again.restore(json.loads(json.dumps(whole.state())))
    assert changes(y[cut:], again) == changes(y[cut:], whole)
    assert again.state() == whole.state()
