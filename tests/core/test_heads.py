"""The linear readout and its gradients against NumPy; whole windows are in ``test_tbptt``."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core import heads


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-6), (np.float64, 1e-13)])
def test_linear_readout_and_its_gradients(dtype: type, tolerance: float) -> None:
    rng = np.random.default_rng(8)
    h, w, b, raw, draw, dh = (rng.standard_normal(s).astype(dtype) for s in (9, (4, 9), 4, 4, 4, 9))
    dw, db = rng.standard_normal((4, 9)).astype(dtype), rng.standard_normal(4).astype(dtype)
    draw[2] = 0
    heads.linear_forward(h, w, b, raw)
    np.testing.assert_allclose(raw, w @ h + b, rtol=10 * tolerance, atol=tolerance)
    expected = dw + np.outer(draw, h), db + draw, dh + w.T @ draw
    heads.linear_backward(h, w, draw, dw, db, dh)
    for actual, value in zip((dw, db, dh), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_regressors_of_a_step_are_what_the_head_is_given_and_a_constant(dtype: type) -> None:
    h, x, lags = (np.arange(n, dtype=dtype) + 10 * n for n in (3, 2, 4))
    phi = np.full(10, np.nan)
    heads.regressors(h, x, lags, phi)
    np.testing.assert_array_equal(phi, [*h, *x, *lags, 1])
