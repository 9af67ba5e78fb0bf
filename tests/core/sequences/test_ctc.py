"""CTC: loss and gradient against all alignments one by one, central differences and PyTorch's numbers; extremes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from streamrnn.core.sequences import ctc
from tests.core.sequences.paths import reads_as
from tests.support.golden import load

NAN = np.nan
DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
CASES = [(1, []), (1, [0]), (4, []), (3, [1]), (4, [0, 1]), (5, [0, 0]), (5, [1, 1, 0]), (3, [0, 0]), (4, [2, 2, 2])]


def room(steps: int, labels: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """alpha, beta and log_probabilities, full of what an earlier sequence may have left, and larger than needed."""
    places = 2 * labels + 1
    return np.full((steps + 2, places + 3), NAN), np.full((2, places + 3), NAN), np.full((steps + 2, outputs + 1), NAN)


def computed(logits: np.ndarray, labels: list[int], n: int | None = None) -> tuple[float, np.ndarray]:
    dlogits = np.full_like(logits, NAN)
    work = room(len(logits), len(labels), logits.shape[1])
    value = ctc.loss_gradient(logits, np.array(labels, np.int64), n or logits.shape[1], *work, dlogits)
    return value, dlogits


def enumerated(logits: np.ndarray, labels: list[int]) -> tuple[float, np.ndarray]:
    """-log p and its gradient by going through all paths."""
    y = np.exp(logits - logits.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    p, occupancy = 0.0, np.zeros_like(y)
    for path in itertools.product(range(y.shape[1]), repeat=len(y)):
        if reads_as(path) == labels:
            probability = np.prod(y[range(len(y)), path])
            p += probability
            occupancy[range(len(y)), path] += probability
    return (-math.log(p), y - occupancy / p) if p else (math.inf, np.zeros_like(y))


@pytest.mark.parametrize(("steps", "labels"), CASES)
@DTYPES
def test_loss_and_gradient_are_those_of_all_alignments_together(
    steps: int, labels: list[int], dtype: type, tolerance: float
) -> None:
    logits = np.random.default_rng(steps).normal(0, 2, (steps, 4)).astype(dtype)
    value, gradient = computed(logits, labels)
    expected, expected_gradient = enumerated(logits.astype(np.float64), labels)
    assert value == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=tolerance, atol=tolerance)
    assert gradient.dtype == dtype


@pytest.mark.parametrize(("steps", "labels"), [(7, [0, 1, 1]), (6, []), (9, [2, 0, 2, 2])])
def test_gradient_matches_central_difference(steps: int, labels: list[int]) -> None:
    logits = np.random.default_rng(7).normal(0, 2, (steps, 4))
    _, gradient = computed(logits, labels)
    for t, o in np.ndindex(logits.shape):
        above, below = logits.copy(), logits.copy()
        above[t, o] += 1e-5
        below[t, o] -= 1e-5
        slope = (computed(above, labels)[0] - computed(below, labels)[0]) / 2e-5
        assert gradient[t, o] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("case", ["short", "repeats", "empty", "tight", "long", "saturated"])
def test_loss_and_gradient_match_pytorch(case: str) -> None:
    golden = load(f"ctc_{case}")
    value, gradient = computed(golden["logits"], (golden["labels"] - 1).tolist())
    assert value == pytest.approx(float(golden["loss"]), rel=1e-12)
    np.testing.assert_allclose(gradient, golden["dlogits"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("labels", "needed"), [([], 0), ([3], 1), ([3, 4, 3], 3), ([3, 3], 3), ([1, 1, 1, 2, 2], 8)])
def test_each_symbol_needs_a_step_and_a_blank_between_two_that_are_alike(labels: list[int], needed: int) -> None:
    assert ctc.steps_needed(np.array(labels, np.int64)) == needed
    logits = np.random.default_rng(1).normal(0, 1, (needed, 6))
    assert math.isfinite(computed(logits, labels)[0])
    if needed:
        value, gradient = computed(logits[1:], labels)
        assert value == math.inf
        assert gradient.shape == (needed - 1, 6)
        assert not gradient.any()


def test_outputs_not_in_use_have_no_part() -> None:
    logits = np.random.default_rng(2).normal(0, 1, (6, 5))
    value, gradient = computed(logits[:, :3].copy(), [1, 0])
    wider, wider_gradient = computed(logits, [1, 0], n=3)
    assert wider == value
    np.testing.assert_array_equal(wider_gradient[:, :3], gradient)
    assert not wider_gradient[:, 3:].any()


@DTYPES
def test_saturated_logits_keep_loss_and_gradient_finite(dtype: type, tolerance: float) -> None:
    logits = np.zeros((4, 3), dtype)
    logits[:, 0] = 1e4  # as good as certain that nothing is said
    value, gradient = computed(logits, [0, 1])
    assert value == pytest.approx(2e4 - math.log(6), rel=tolerance)  # 0 and 1 each at one of four steps, in order
    np.testing.assert_allclose(gradient[:, 0], 0.5, atol=tolerance)
    np.testing.assert_allclose(gradient.sum(1), 0, atol=tolerance)
    assert gradient[0, 1] == pytest.approx(-0.5, abs=tolerance)
    assert gradient[0, 2] == pytest.approx(0.0, abs=tolerance)


def test_a_probability_below_any_number_is_impossible() -> None:
    logits = np.zeros((2, 2))
    logits[:, 1] = -math.inf
    value, gradient = computed(logits, [0])
    assert value == math.inf
    assert not gradient.any()


def test_a_logit_that_is_no_number_makes_the_loss_none() -> None:
    logits = np.zeros((5, 3))
    logits[2, 2] = NAN
    value, gradient = computed(logits, [0, 1])
    assert math.isnan(value)
    assert np.isnan(gradient).any()


@pytest.mark.parametrize("labels", [0, 1, 20])
def test_ten_thousand_steps_lose_no_accuracy(labels: int) -> None:
    """All logits alike: -log p = T log O - log(paths), and the paths of labels that all differ can be counted."""
    steps, outputs = 10_000, 11
    logits = np.full((steps, outputs), 0.25)
    value, gradient = computed(logits, [u % 10 for u in range(labels)])
    # The T - U other steps repeat a label or are blanks: C(T + U, 2 U) ways.
    ways = math.lgamma(steps + labels + 1) - math.lgamma(2 * labels + 1) - math.lgamma(steps - labels + 1)
    assert value == pytest.approx(steps * math.log(outputs) - ways, rel=1e-11)
    np.testing.assert_allclose(gradient.sum(1), 0, atol=1e-12)


def test_long_sequences_with_few_chances_are_as_exact_as_short_ones() -> None:
    """A spelled-out path: only one remains where steps are as few as needed, at any length."""
    labels = [0, 1, 2] * 60
    logits = np.random.default_rng(5).normal(0, 8, (len(labels), 4))
    value, gradient = computed(logits, labels)
    y = np.exp(logits - logits.max(1, keepdims=True))
    y /= y.sum(1, keepdims=True)
    path = np.array(labels) + 1
    assert value == pytest.approx(-np.log(y[range(len(y)), path]).sum(), rel=1e-12)
    y[range(len(y)), path] -= 1
    np.testing.assert_allclose(gradient, y, atol=1e-11)
