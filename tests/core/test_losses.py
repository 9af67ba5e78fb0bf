"""Losses: values and gradients against the oracle and against central differences."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core import losses
from tests.oracle.network import class_loss, regression_loss, sigmoid, softmax

NAN = np.nan
DELTA = 0.8
LEVELS = {"quantile": (0.1, 0.5, 0.8)}
CODES = losses.REGRESSION_LOSSES | losses.CROSS_ENTROPIES
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
    if loss in losses.CROSS_ENTROPIES:
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
    assert losses.known_elements(CODES[loss], y, len(raw)) == count
    assert losses.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw) == pytest.approx(value, rel=tolerance)
    np.testing.assert_allclose(draw, gradient, rtol=tolerance, atol=tolerance)
    assert draw.dtype == dtype


@pytest.mark.parametrize("loss", list(CODES))
def test_gradient_matches_central_difference(loss: str) -> None:
    raw, y, levels = one_step(loss, np.float64)
    draw, unused, step = np.zeros_like(raw), np.zeros_like(raw), 1e-6
    losses.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw)
    for o in range(len(raw)):
        above, below = raw.copy(), raw.copy()
        above[o] += step
        below[o] -= step
        change = losses.loss_gradient(CODES[loss], above, y, levels, DELTA, unused) - losses.loss_gradient(
            CODES[loss], below, y, levels, DELTA, unused
        )
        assert draw[o] == pytest.approx(change / (2 * step), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("loss", list(CODES))
def test_an_unknown_target_has_no_loss_and_no_gradient(loss: str) -> None:
    raw, y, levels = one_step(loss, np.float64)
    draw = np.full_like(raw, NAN)
    y[:] = NAN
    assert losses.known_elements(CODES[loss], y, len(raw)) == 0
    assert losses.loss_gradient(CODES[loss], raw, y, levels, DELTA, draw) == 0.0
    assert not draw.any()


@pytest.mark.parametrize("loss", ["softmax", "logistic"])
@DTYPES
def test_extreme_logits_keep_losses_and_probabilities_finite(loss: str, dtype: type, tolerance: float) -> None:
    raw = np.array([90.0, -90.0, 0.0] if loss == "softmax" else [90.0], dtype)
    wrong = np.array([1.0 if loss == "softmax" else 0.0], dtype)
    draw, out = np.zeros_like(raw), np.zeros(len(raw))
    value = losses.loss_gradient(CODES[loss], raw, wrong, np.array([0.5]), DELTA, draw)
    assert value == pytest.approx(180.0 if loss == "softmax" else 90.0, rel=1e-6)
    np.testing.assert_allclose(draw, [1, -1, 0] if loss == "softmax" else [1], atol=tolerance)
    losses.publish(CODES[loss], raw, out)
    np.testing.assert_allclose(out, [1, 0, 0] if loss == "softmax" else [1], atol=1e-15)


@DTYPES
def test_publish_gives_probabilities_for_classes_and_the_output_itself_otherwise(dtype: type, tolerance: float) -> None:
    raw = np.array([0.3, -1.2, 2.0], dtype)
    exact = raw.astype(np.float64)
    for loss, expected in (("softmax", softmax(exact)), ("logistic", sigmoid(exact)), ("absolute", exact)):
        out = np.zeros(3)
        losses.publish(CODES[loss], raw, out)
        np.testing.assert_allclose(out, expected, rtol=tolerance)
