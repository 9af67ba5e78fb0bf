"""Running statistics against NumPy and against the oracle, in the cases where a division could go wrong too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.core import scaler
from tests.oracle.statistics import RunningMoments, scaled_input, shrunk_moments

VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=30)


def both(values: list[float]) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], RunningMoments]:
    count, mean, m2 = np.zeros(2), np.zeros(2), np.zeros(2)
    naive = RunningMoments()
    for v in values:
        scaler.add(count, mean, m2, 1, v, 1e9)
        naive.add(v)
    assert count[0] == mean[0] == m2[0] == 0.0
    return (count, mean, m2), naive


def standardised(moments: tuple[np.ndarray, np.ndarray, np.ndarray], value: float) -> float:
    count, mean, m2 = moments
    widths, out = np.zeros(2), np.zeros(2)
    scaler.deviations(count, m2, widths)
    scaler.standardise(count, mean, widths, np.full(2, value), out)
    assert out[0] == 0.0
    return float(out[1])


def test_statistics_are_the_population_s_even_far_from_zero() -> None:
    values = np.random.default_rng(5).normal(1e6, 2.0, 400)
    (count, mean, m2), _ = both(values.tolist())
    assert count[1] == 400
    np.testing.assert_allclose([mean[1], m2[1] / 400], [values.mean(), values.var()], rtol=1e-9)


@given(VALUES, st.floats(-1e6, 1e6))
def test_standardise_matches_the_oracle(values: list[float], value: float) -> None:
    moments, naive = both(values)
    assert standardised(moments, value) == pytest.approx(scaled_input(naive, value), rel=1e-6, abs=1e-9)


def test_standardise_clamps_and_survives_no_or_equal_observations() -> None:
    assert standardised(both([])[0], 5.0) == 0.0
    moments, _ = both([3.0, 3.0])
    assert standardised(moments, 5.0) == 2.0
    assert standardised(moments, 1e9) == 10.0
    assert standardised(moments, -1e9) == -10.0


@given(VALUES, VALUES, st.sampled_from((0.1, 1.0, 10.0, 1e4)))
def test_shrunk_statistics_match_the_oracle(own: list[float], others: list[float], shrinkage: float) -> None:
    (count, mean, m2), stream = both(own)
    (pool_count, pool_mean, pool_m2), partition = both(own + others)
    actual = scaler.shrunk(count[1], mean[1], m2[1], pool_count[1], pool_mean[1], pool_m2[1], shrinkage)
    assert actual == pytest.approx(shrunk_moments(stream, partition, shrinkage), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9 + 0.1, -7.7])
def test_a_constant_target_is_scaled_by_one(value: float) -> None:
    """The pooled mean must be exactly the constant: a rounding error there would become the scale."""
    for n in range(1, 40):
        (count, mean, m2), _ = both([value] * n)
        assert scaler.shrunk(count[1], mean[1], m2[1], count[1], mean[1], m2[1], 10.0) == (value, 1.0), n
