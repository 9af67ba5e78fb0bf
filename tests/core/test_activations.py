"""The fast float32 tanh keeps its promised error; float64 is the library's; NaN stays NaN."""

from __future__ import annotations

import numpy as np

from streamrnn.core.activations import sigmoid_inplace, tanh_inplace

GRID = np.concatenate([np.linspace(-12, 12, 4001), [-1e30, -100, 100, 1e30, 0, 1e-30, -1e-8]])


def test_float32_tanh_is_within_its_promised_error() -> None:
    x = GRID.astype(np.float32)
    y = x.copy()
    tanh_inplace(y)
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=0, atol=3e-7)
    assert np.abs(y).max() <= 1 + 1e-6


def test_float32_sigmoid_is_within_its_promised_error() -> None:
    x = GRID.astype(np.float32)
    y = x.copy()
    sigmoid_inplace(y)
    np.testing.assert_allclose(y, 0.5 + 0.5 * np.tanh(0.5 * x.astype(np.float64)), rtol=0, atol=3e-7)
    assert y.min() >= -1e-6
    assert y.max() <= 1 + 1e-6


def test_float64_activations_are_the_library_s() -> None:
    y = GRID.copy()
    tanh_inplace(y)
    np.testing.assert_allclose(y, np.tanh(GRID), rtol=1e-14, atol=1e-15)
    y = np.linspace(-30, 30, 501)
    x = y.copy()
    sigmoid_inplace(y)
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x)), rtol=1e-14, atol=1e-15)


def test_nan_stays_nan() -> None:
    for dtype in (np.float32, np.float64):
        for activate in (tanh_inplace, sigmoid_inplace):
            v = np.array([0.5, np.nan, -0.5], dtype)
            activate(v)
            assert np.isnan(v).tolist() == [False, True, False]
