"""tanh and the logistic function over a vector, in place; and the exponential function of a softmax.

float32 uses a rational approximation (numerator of degree 13, denominator of degree 6, the coefficients known from
Eigen) with the argument clamped where tanh rounds to one: absolute error below 3e-7, and LLVM turns it into
vector instructions. float64 uses the C library's tanh: there correctness to the last bits matters more than speed.
The logistic function is ``0.5 + 0.5 tanh(x / 2)``, so there is one approximation to trust.

The exponential function of a number that is not positive is the 1,024th power of that of its 1,024th part, for which
eight terms of the series are enough: 1e-13 of relative error where the result is above 1e-20, in vector instructions
as well, where the library's would take as long for a softmax over all bytes as the recurrence itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn.core.arrays import T1
from streamrnn.core.jit import compiling, jit
from streamrnn.core.vector import fma

f32 = np.float32
CLAMP = f32(7.90531110763549805)
P1, P3, P5, P7 = f32(4.89352455891786e-3), f32(6.37261928875436e-4), f32(1.48572235717979e-5), f32(5.12229709037114e-8)
P9, P11, P13 = f32(-8.60467152213735e-11), f32(2.00018790482477e-13), f32(-2.76076847742355e-16)
Q0, Q2, Q4, Q6 = f32(4.89352518554385e-3), f32(2.26843463243900e-3), f32(1.18534705686654e-4), f32(1.19825839466702e-6)


@jit
def _rational_tanh(x: Any) -> Any:
    # Two comparisons instead of min and max keep NaN a NaN.
    x = CLAMP if x > CLAMP else x
    x = -CLAMP if x < -CLAMP else x
    x2 = x * x
    numerator = fma(x2, fma(x2, fma(x2, fma(x2, fma(x2, fma(x2, P13, P11), P9), P7), P5), P3), P1)
    return x * numerator / fma(x2, fma(x2, fma(x2, Q6, Q4), Q2), Q0)


def _tanh(x: Any) -> Any:
    """tanh of one number in its own precision."""
    return _rational_tanh(x) if isinstance(x, np.float32) else np.tanh(x)


if compiling():  # the types of the two branches differ, so one of them has to be chosen before the code is typed
    from numba import extending, types

    @extending.overload(_tanh, strict=False, inline="always")  # type: ignore[untyped-decorator]
    def _tanh_overload(x: Any) -> Callable[[Any], Any]:
        if x == types.float32:
            return lambda x: _rational_tanh(x)
        return lambda x: np.tanh(x)


LEAST = -700.0
"""Below it e^x is as good as zero, but the series would not know."""


@jit
def exponential(x: float) -> float:
    """e^x of a float64 x <= 0."""
    x = LEAST if x < LEAST else x  # a comparison instead of max keeps NaN a NaN
    y = x * (1.0 / 1024.0)
    p: float = fma(y, fma(y, fma(y, fma(y, 1.0 / 5040.0, 1.0 / 720.0), 1.0 / 120.0), 1.0 / 24.0), 1.0 / 6.0)
    p = fma(y, fma(y, fma(y, p, 0.5), 1.0), 1.0)
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p


@jit
def tanh_inplace(v: T1) -> None:
    """v (n,) becomes tanh(v)."""
    for j in range(v.shape[0]):
        v[j] = _tanh(v[j])


@jit
def sigmoid_inplace(v: T1) -> None:
    """v (n,) becomes 1 / (1 + exp(-v))."""
    half = v.dtype.type(0.5)
    for j in range(v.shape[0]):
        v[j] = fma(half, _tanh(half * v[j]), half)
