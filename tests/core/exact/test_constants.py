"""What follows from radius and phase is as exact as its precision lets it be, over all of their range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.core.arrays import Array
from streamrnn.core.exact import constants
from streamrnn.core.exact.constants import EN, GAMMA, LAM_IM, LAM_RE, LARGEST_NU, LARGEST_OM, LEAST_OM, RATIO, THETA
from streamrnn.core.jit import jit


@jit
def write(nu: Array, om: Array, out: Array) -> None:
    constants.write(nu, om, out)


@jit
def constrain(nu: Array, om: Array, least: float) -> None:
    constants.constrain(nu, om, least)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_constants_agree_with_the_functions_of_the_library(dtype: type, tolerance: float) -> None:
    slowest = constants.nu_least(100_000)
    nu, om = np.meshgrid(np.linspace(slowest, LARGEST_NU, 97), np.linspace(-8, LARGEST_OM, 99))
    nu, om = nu.ravel().astype(dtype), om.ravel().astype(dtype)
    out = np.zeros((6, len(nu)), dtype)
    write(nu, om, out)
    nu, om = nu.astype(np.float64), om.astype(np.float64)
    en, theta = np.exp(nu), np.exp(om)
    r, left = np.exp(-en), -np.expm1(-2.0 * en)
    for row, expected in ((GAMMA, np.sqrt(left)), (RATIO, r * r * en / left), (EN, en), (THETA, theta)):
        np.testing.assert_allclose(out[row], expected, rtol=2 * tolerance, atol=0.1 * tolerance, err_msg=str(row))
    np.testing.assert_allclose(out[LAM_RE] + 1j * out[LAM_IM], r * np.exp(1j * theta), atol=tolerance)
    # A slow unit is not faster or slower than it says: what is lost in a step is exact, too.
    lost = 1.0 - np.hypot(out[LAM_RE].astype(np.float64), out[LAM_IM])
    np.testing.assert_allclose(lost, -np.expm1(-en), rtol=1e-3, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_radius_and_phase_stay_within_their_bounds(dtype: type) -> None:
    nu, om = np.array([-50.0, -3.0, 50.0], dtype), np.array([-500.0, 0.5, 500.0], dtype)
    least = constants.nu_least(None)
    constrain(nu, om, least)
    np.testing.assert_allclose(nu, [least, -3.0, LARGEST_NU], rtol=1e-6)
    np.testing.assert_allclose(om, [LEAST_OM, 0.5, LARGEST_OM], rtol=1e-6)
    out = np.zeros((6, 3), dtype)
    write(nu, om, out)
    assert np.isfinite(out).all()
    assert (np.hypot(out[LAM_RE], out[LAM_IM]) < 1.0).all()


@pytest.mark.parametrize(("memory", "decay"), [(None, 1e-3), ("auto", 1e-3), (50, 1e-3), (400, 1 / 4_000)])
def test_the_slowest_unit_remembers_as_long_as_memory_says(memory: int | str | None, decay: float) -> None:
    assert -math.expm1(-math.exp(constants.nu_least(memory))) == pytest.approx(decay, rel=1e-12)
