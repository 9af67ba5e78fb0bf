"""Readouts and losses: values and gradients against the oracle and against central differences."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core import heads
from tests.oracle.network import class_loss, regression_loss, sigmoid, softmax

NAN = np.nan
DELTA = 0.8
LEVELS = {"quantile": (0.1, 0.5, 0.8)}
CODES = heads.REGRESSION_LOSSES | heads.CROSS_ENTROPIES
DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-6), (np.float64, 1e-13)])


def one_step(loss: str, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw outputs (O,), targets (Y,) of which one is unknown where there are several, and quantile levels (Q,)."""
    rng = np.random.default_rng(6)
    levels = np.array(LEVELS.get(loss, (0.5,)))
    if loss == "softmax":
        return rng.normal(0, 3, 4).astype(dtype), np.array([2.0], dtype), levels
    if loss == "logistic":
        return rng.normal(0, 3, 1).astype(dtype), np.array([1.0], dtype), levels
    raw = rng.normal(0, 2, 5 * len(levels)).astype(dtype)
    return raw, np.array([0.5, NAN, -1.5, 0.2, 4.0], dtype), levels


def oracle(loss: str, raw: np.ndarray, y: np.ndarray, levels: np.ndarray) -> tuple[float, np.ndarray, int]:
    """Sum of losses over the known elements of one step, its gradient, and how many they are."""
    if loss in heads.CROSS_ENTROPIES:
        value, gradient = class_loss(loss, raw[None], y[:1], np.isfinite(y[:1]))
        return value, gradient[0], 1
    targets = np.repeat(y, len(levels))
    known = np.isfinite(targets)
    count = int(known.sum())
    value, gradient = regression_loss(loss, raw[None], targets[None], known[None], np.tile(levels, len(y)), DELTA)
    return value * count, gradient[0] * count, count


@pytest.mark.parametrize("loss", list(CODES))
@DTYPES
def test_loss_and_gradient_match_the_oracle(loss: str, dtype: type, tolerance: float) -> None:
    raw, y, levels = one_step(loss, dtype)
    value, gradient, count = oracle(loss, raw.astype(np.float64), y.astype(np.float64), levels)
    draw = np.full_like(raw, NAN)
    assert heads.known_elements(CODES[loss], y, len(raw)) == count
    assert heads.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw) == pytest.approx(value, rel=tolerance)
    np.testing.assert_allclose(draw, gradient, rtol=tolerance, atol=tolerance)
    assert draw.dtype == dtype


@pytest.mark.parametrize("loss", list(CODES))
def test_gradient_matches_central_difference(loss: str) -> None:
    raw, y, levels = one_step(loss, np.float64)
    draw, unused, step = np.zeros_like(raw), np.zeros_like(raw), 1e-6
    heads.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw)
    for o in range(len(raw)):
        above, below = raw.copy(), raw.copy()
        above[o] += step
        below[o] -= step
        change = heads.loss_gradient(CODES[loss], above, y, levels, DELTA, unused) - heads.loss_gradient(
            CODES[loss], below, y, levels, DELTA, unused
        )
        assert draw[o] == pytest.approx(change / (2 * step), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("loss", list(CODES))
def test_an_unknown_target_has_no_loss_and_no_gradient(loss: str) -> None:
    raw, y, levels = one_step(loss, np.float64)
    draw = np.full_like(raw, NAN)
    y[:] = NAN
    assert heads.known_elements(CODES[loss], y, len(raw)) == 0
    assert heads.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw) == 0.0
    assert not draw.any()


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@DTYPES
def test_extreme_logits_keep_losses_and_probabilities_finite(loss: str, dtype: type, tolerance: float) -> None:
    raw = np.array([90.0, -90.0, 0.0] if loss == "softmax" else [90.0], dtype)
    wrong = np.array([1.0 if loss == "softmax" else 0.0], dtype)
    draw, out = np.zeros_like(raw), np.zeros(len(raw))
    value = heads.loss_gradient(CODES[loss], raw, wrong, np.array([0.5]), DELTA, draw)
    assert value == pytest.approx(180.0 if loss == "softmax" else 90.0, rel=1e-6)
    np.testing.assert_allclose(draw, [1, -1, 0] if loss == "softmax" else [1], atol=tolerance)
    heads.publish(CODES[loss], raw, out)
    np.testing.assert_allclose(out, [1, 0, 0] if loss == "softmax" else [1], atol=1e-15)


@DTYPES
def test_publish_gives_probabilities_for_classes_and_the_output_itself_otherwise(dtype: type, tolerance: float) -> None:
    raw = np.array([0.3, -1.2, 2.0], dtype)
    exact = raw.astype(np.float64)
    for loss, expected in (("softmax", softmax(exact)), ("logistic", sigmoid(exact)), ("absolute", exact)):
        out = np.zeros(3)
        heads.publish(CODES[loss], raw, out)
        np.testing.assert_allclose(out, expected, rtol=tolerance)


@DTYPES
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
