"""What follows from a unit's radius and phase, once for each optimiser step, and the bounds of both.

    r = exp(-exp(nu)), th = exp(om), lam = r exp(i th), g = sqrt(1 - r^2), q = r^2 exp(nu) / (1 - r^2)

Rows of the array: see the names below. In float64 functions of the C library; in float32 series, which become vector
instructions: powers of the series of a 64th for exponentials, of 1 - r as such, or all that is left of it near r = 1
would be rounding; sine and cosine of th <= pi by two doublings of those of a quarter. Their relative error is below
1e-5, as is measured by ``tests.core.exact``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from streamrnn.core.arrays import T1, T2
from streamrnn.core.jit import compiling, internal, jit
from streamrnn.core.vector import Kind, Vector, fma

LEAST_DECAY = 1e-3
"""Least 1 - r of a unit: closer to 1, units creep towards never forgetting over a million events."""
LARGEST_NU = 2.0
"""Beyond it nothing is left of a state after a step."""
LEAST_OM, LARGEST_OM = -20.0, 1.1447
"""A turn in three thousand million steps; log(pi), nearly."""
LAM_RE, LAM_IM, GAMMA, RATIO, EN, THETA = range(6)

f32 = np.float32
ONE, TWO, HALF, QUARTER, SHARE = f32(1.0), f32(2.0), f32(0.5), f32(0.25), f32(1.0 / 64.0)
C3, C4, C5, C6 = f32(1 / 6), f32(1 / 24), f32(1 / 120), f32(1 / 720)
C7, C8, C9 = f32(1 / 5040), f32(1 / 40320), f32(1 / 362880)


def nu_least(memory: int | str | None) -> float:
    """log(-log r) of the slowest unit there may be: 1 - r = 1e-3, or of a memory of T steps 1 / (10 T)."""
    decay = LEAST_DECAY if not isinstance(memory, int) else min(LEAST_DECAY, 0.1 / memory)
    return math.log(-math.log1p(-decay))


@internal
def write(nu: T1, om: T1, constants: T2) -> None:
    """constants (6, U) of nu (U,) and om (U,), which are within their bounds.

    A loop for each: those with more arrays do not become vector instructions.
    """
    re, im, g = constants[LAM_RE], constants[LAM_IM], constants[GAMMA]
    ratio, en, theta = constants[RATIO], constants[EN], constants[THETA]
    for k in range(nu.shape[0]):
        en[k] = _exp(nu[k])
    for k in range(nu.shape[0]):
        theta[k] = _exp(om[k])
    for k in range(nu.shape[0]):
        ratio[k] = _expm1(-en[k])  # r - 1
    for k in range(nu.shape[0]):
        g[k] = math.sqrt(-ratio[k] * (ratio[k] + nu.dtype.type(2)))
    for k in range(nu.shape[0]):
        re[k], im[k] = _cos_and_sin(theta[k])
    for k in range(nu.shape[0]):
        r = ratio[k] + nu.dtype.type(1)
        re[k] *= r
        im[k] *= r
    for k in range(nu.shape[0]):
        r = ratio[k] + nu.dtype.type(1)
        ratio[k] = r * r * en[k] / (g[k] * g[k])


@internal
def constrain(nu: T1, om: T1, nu_least: float) -> None:
    """nu and om within their bounds."""
    bound(nu, nu_least, LARGEST_NU)
    bound(om, LEAST_OM, LARGEST_OM)


@internal
def bound(v: T1, least: float, largest: float) -> None:
    """v (n,) within least and largest."""
    T = v.dtype.type
    low, high = T(least), T(largest)
    for k in range(v.shape[0]):
        v[k] = min(max(v[k], low), high)


@jit
def _series_exp(x: Vector) -> Vector:
    y = x * SHARE
    p = fma(y, fma(y, fma(y, fma(y, fma(y, C5, C4), C3), HALF), ONE), ONE)
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p


@jit
def _series_expm1(x: Vector) -> Vector:
    y = x * SHARE
    m = y * fma(y, fma(y, fma(y, fma(y, C5, C4), C3), HALF), ONE)
    m *= m + TWO  # exp(2 y) - 1 = m (m + 2)
    m *= m + TWO
    m *= m + TWO
    m *= m + TWO
    m *= m + TWO
    m *= m + TWO
    return m


@jit
def _series_cos_and_sin(x: Vector) -> tuple[Vector, Vector]:
    y = x * QUARTER
    z = y * y
    s = y * fma(-z, fma(-z, fma(-z, fma(-z, C9, C7), C5), C3), ONE)
    c = fma(-z, fma(-z, fma(-z, fma(-z, C8, C6), C4), HALF), ONE)
    s, c = TWO * s * c, fma(-TWO * s, s, ONE)
    return fma(-TWO * s, s, ONE), TWO * s * c


def _exp(x: Vector) -> Vector:
    """e^x of one number in its own precision."""
    return _series_exp(x) if isinstance(x, np.float32) else math.exp(x)


def _expm1(x: Vector) -> Vector:
    """e^x - 1."""
    return _series_expm1(x) if isinstance(x, np.float32) else math.expm1(x)


def _cos_and_sin(x: Vector) -> Vector:
    """Both of one number."""
    return _series_cos_and_sin(x) if isinstance(x, np.float32) else (math.cos(x), math.sin(x))


if compiling():  # as in ``activations``
    from numba import extending, types

    def _chosen(function: Kind, series: Kind, library: Kind) -> None:
        def choose(x: Kind) -> Callable[[Vector], Vector]:
            return series if x == types.float32 else library  # type: ignore[no-any-return]

        extending.overload(function, strict=False, inline="always")(choose)

    _chosen(_exp, lambda x: _series_exp(x), lambda x: math.exp(x))
    _chosen(_expm1, lambda x: _series_expm1(x), lambda x: math.expm1(x))
    _chosen(_cos_and_sin, lambda x: _series_cos_and_sin(x), lambda x: (math.cos(x), math.sin(x)))
