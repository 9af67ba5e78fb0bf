"""Averaged weights: what the first steps count, and that the average is an exponential one."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.sequences import averaging


@pytest.mark.parametrize(("updates", "decay"), [(1, 2 / 11), (2, 3 / 12), (80, 81 / 90), (81, 0.9), (10**6, 0.9)])
def test_the_decay_grows_with_the_steps_up_to_the_one_asked_for(updates: int, decay: float) -> None:
    assert averaging.decay_after(0.9, updates) == pytest.approx(decay, rel=1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-15)])
def test_the_average_keeps_its_share_of_itself(dtype: type, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    average, theta = rng.normal(size=(2, 37)).astype(dtype)
    expected = 0.7 * average.astype(float) + 0.3 * theta.astype(float)
    averaging.absorb(average, theta, 0.7)
    assert average.dtype == dtype
    np.testing.assert_allclose(average, expected, rtol=tolerance, atol=tolerance)


def test_an_average_of_weights_that_stay_becomes_these() -> None:
    average, theta = np.zeros(5), np.arange(5.0)
    for _ in range(200):
        averaging.absorb(average, theta, 0.8)
    np.testing.assert_allclose(average, theta, rtol=1e-15)
