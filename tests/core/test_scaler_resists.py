"""Running statistics resist single absurd values, follow what is there to stay, and forget, as the oracle's do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.core import scaler
from streamrnn.core.jit import jit
from tests.oracle.statistics import RunningMoments

MEMORY = 1000.0


class Statistics(NamedTuple):
    """Those of one variable of a partition."""

    count: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    watch: np.ndarray
    first: np.ndarray

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.m2[0] / self.count[0]))


def fresh() -> Statistics:
    return Statistics(*np.zeros((3, 1)), np.zeros((1, 9)), np.zeros((1, scaler.FIRST)))


def of(values: Iterable[float], memory: float = MEMORY) -> Statistics:
    one = fresh()
    for value in values:
        scaler.take_in(*one, 0, float(value), memory)
    return one


def normal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


@st.composite
def series(draw: st.DrawFn) -> list[float]:
    """Stretches of normal or equal values on various levels and scales, wild ones between them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    values: list[float] = []
    for _ in range(draw(st.integers(1, 6))):
        n, kind = draw(st.sampled_from((1, 2, 7, 9, 40, 700))), draw(st.integers(0, 5))
        level, width = draw(st.sampled_from((0.0, 3.0, -40.0, 1e4))), draw(st.sampled_from((0.0, 0.01, 1.0, 50.0)))
        stretch = level + width * (rng.standard_cauchy(n) if kind == 0 else rng.standard_normal(n))
        wild = rng.random(n) < draw(st.sampled_from((0.0, 0.002, 0.1)))
        values.extend(np.where(wild, draw(st.sampled_from((999_999.0, -1e7, 1e29))), stretch).tolist())
    return values


@given(series(), st.sampled_from((100.0, 1000.0, 1e6)))
def test_statistics_are_those_of_the_oracle(values: list[float], memory: float) -> None:
    one, naive = fresh(), RunningMoments(memory)
    for value in values:
        scaler.take_in(*one, 0, value, memory)
        naive.take_in(value)
        np.testing.assert_allclose(
            [one.count[0], one.mean[0], one.m2[0]], [naive.count, naive.mean, naive.m2], rtol=1e-7, atol=1e-7
        )


@given(st.lists(series(), min_size=1, max_size=9), st.sampled_from((100.0, 1000.0, 1e6)))
def test_variables_taken_in_together_end_with_the_bits_of_each_alone(columns: list[list[float]], memory: float) -> None:
    K, n = len(columns), max(map(len, columns))
    together, alone = every(K), every(K)
    for t in range(n):
        values = np.array([column[t] if t < len(column) else np.nan for column in columns])
        take_in_each(together, values.copy(), np.zeros((2, K)), memory)
        for k, value in enumerate(values):
            if scaler.usable(value):
                scaler.take_in(*alone, k, value, memory)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a, b)


def every(n: int) -> Statistics:
    return Statistics(*np.zeros((3, n)), np.zeros((n, 9)), np.zeros((n, scaler.FIRST)))


@jit
def take_in_each(all_of_them: Statistics, values: np.ndarray, work: np.ndarray, memory: float) -> None:
    count, mean, m2, watch, first = all_of_them
    scaler.deviations(count, m2, work[0])
    scaler.take_in_each(count, mean, m2, watch, first, values, work[0], work[1], memory)


@given(series(), st.sampled_from((100.0, 1000.0, 1e6)))
def test_sums_of_squares_are_those_of_the_oracle(values: list[float], memory: float) -> None:
    one, naive = fresh(), RunningMoments(memory, centred=False)
    for value in values:
        scaler.take_in_square(one.count, one.m2, one.watch, one.first, 0, value, memory)
        naive.take_in(value)
        np.testing.assert_allclose([one.count[0], one.m2[0]], [naive.count, naive.m2], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sentinel", [999_999.0, -999_999.0, 1e29, 1e100])
@pytest.mark.parametrize("at", [0, 1, 2, 5, 8, 9, 20, 3000])
def test_one_absurd_value_is_hardly_felt_wherever_it_comes(sentinel: float, at: int) -> None:
    clean = normal(4000)
    dirty = clean.copy()
    dirty[at] = sentinel
    before, after = of(clean), of(dirty)
    assert after.mean[0] == pytest.approx(before.mean[0], abs=0.02)
    assert after.deviation == pytest.approx(before.deviation, rel=0.06)
    if at in (0, 1):  # all the while, once three values are there
        assert of(dirty[:3]).deviation < 20 and of(dirty[:12]).deviation < 6


def test_absurd_values_that_keep_their_distance_never_add_up() -> None:
    values = normal(200_000)
    values[5_000::10_000] = 999_999.0
    one = of(values, 20_000)
    assert one.deviation == pytest.approx(1, abs=0.02)
    assert abs(one.mean[0]) < 0.03


@pytest.mark.parametrize("n", [200, 5_000])
@pytest.mark.parametrize("shift", [20.0, -20.0, 1e6])
def test_a_shift_is_followed_as_soon_as_it_has_come_to_stay(n: int, shift: float) -> None:
    values = normal(n + 500)
    values[n:] += shift
    one = of(values)
    assert one.mean[0] == pytest.approx(shift, abs=0.2)
    assert one.deviation == pytest.approx(1, abs=0.15)


def test_a_value_that_comes_once_in_a_hundred_is_part_of_the_variable() -> None:
    values = normal(20_000)
    values[::100] = 200.0
    one = of(values)
    assert one.deviation == pytest.approx(values.std(), rel=0.1)


@pytest.mark.parametrize("dwell", [20, 50, 500])
@pytest.mark.parametrize("width", [0.0, 1.0])
def test_a_variable_that_changes_between_levels_has_the_scale_of_all_of_them(dwell: int, width: float) -> None:
    levels = np.where(np.arange(40 * dwell) // dwell % 2 == 0, 0.0, 1e4)
    for units in (1e-6, 1.0):
        one = of(units * (levels + width * normal(len(levels))), 20_000)
        assert one.deviation == pytest.approx(units * 5_000, rel=0.15)


def test_levels_in_bursts_are_taken_together() -> None:
    levels = np.random.default_rng(0).normal(0, 1_000, 12)
    values = np.repeat(levels[np.random.default_rng(1).integers(0, 12, 250)], 40) + normal(10_000)
    assert of(values, 20_000).deviation == pytest.approx(values.std(), rel=0.3)


def test_a_constant_stretch_does_not_take_the_scale_away() -> None:
    for units in (1e-5, 1.0, 1e5):
        values = units * np.concatenate([3 * normal(3_000), np.zeros(900), 3 * normal(50, 1)])
        assert of(values, 20_000).deviation == pytest.approx(units * 2.65, rel=0.1)


@pytest.mark.parametrize("spoiled", [normal(9, 3) * 1e6, np.full(40, 999_999.0)])
def test_a_burst_of_nonsense_is_overcome(spoiled: np.ndarray) -> None:
    values = np.concatenate([normal(2_000), spoiled, normal(1_200, 1)])
    one = of(values)
    assert one.deviation == pytest.approx(1, abs=0.15)
    assert abs(one.mean[0]) < 0.2


def test_a_constant_that_comes_to_life_has_its_deviation_soon() -> None:
    values = np.concatenate([np.full(1_000, 5.0), 5.0 + 0.001 * normal(3_000)])
    assert of(values).deviation == pytest.approx(0.001, rel=0.5)
    values = np.concatenate([np.full(1_000, 5.0), 5.0 + 1e4 * normal(1_000)])
    assert of(values).deviation == pytest.approx(1e4, rel=0.1)


def test_what_lies_longer_back_than_the_memory_fades() -> None:
    values = normal(8_000)
    values[4_000:] = 3 + 2 * values[4_000:]  # less than a shift that would be noticed
    slow, quick = of(values, 1e9), of(values, 500)
    assert slow.mean[0] == pytest.approx(1.5, abs=0.1)
    assert quick.mean[0] == pytest.approx(3, abs=0.25)
    assert quick.deviation == pytest.approx(2, abs=0.25)
    assert quick.count[0] == 500


@pytest.mark.parametrize("distribution", ["lognormal", "exponential", "standard_t", "poisson"])
def test_ordinary_tails_are_hardly_cut(distribution: str) -> None:
    argument = {"lognormal": (0.0, 1.0), "exponential": (1.0,), "standard_t": (4,), "poisson": (0.3,)}[distribution]
    draw: Callable[..., Any] = getattr(np.random.default_rng(0), distribution)
    values = np.asarray(draw(*argument, size=50_000), float)
    one = of(values, 1e9)
    assert one.mean[0] == pytest.approx(values.mean(), abs=0.01 * values.std())
    assert one.deviation == pytest.approx(values.std(), rel=0.1)


@given(st.integers(0, 1000), st.sampled_from((1e-3, 0.5, 2.0, 1024.0)), st.sampled_from((0.0, -3.0, 1000.0)))
def test_statistics_have_the_units_of_their_values(seed: int, factor: float, offset: float) -> None:
    values = normal(300, seed)
    values[100] = 999.0
    values[150:] += 30.0
    one, other = of(values), of(offset + factor * values)
    assert other.mean[0] == pytest.approx(offset + factor * one.mean[0], rel=1e-6, abs=1e-6 * factor)
    assert other.deviation == pytest.approx(factor * one.deviation, rel=1e-6)
    assert other.watch[0, scaler.WIDENED] == pytest.approx(one.watch[0, scaler.WIDENED])
