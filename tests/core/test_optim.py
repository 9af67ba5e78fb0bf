"""Optimisers and clipping against the naive formulas, over enough steps for every bias correction to matter."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.core import optim
from streamrnn.core.arrays import Hyper
from streamrnn.core.schedules import power
from tests.oracle.network import Optimizer, clip_by_global_norm

HYPER = Hyper(
    lr=0.02, momentum=0.8, rmsprop_alpha=0.95, beta1=0.85, beta2=0.97, eps=1e-7, weight_decay=0.3, clip_norm=0.0,
    schedule_updates=1.0, schedule_decay=1.0, schedule_least=0.0, polyak_bound=0.0,
    huber_delta=1.0, shrinkage=10.0, memory=1e9, forgetting=1.0, prior=1.0, nu_least=-7.0,
)  # fmt: skip


def all_of(n: int) -> np.ndarray:
    """The one span of a vector that is all in use."""
    return np.array([[0, n]])


ALL = all_of(19)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("limit", [math.inf, 0.05])
def test_optimizers_follow_the_naive_formulas(name: str, dtype: type, tolerance: float, limit: float) -> None:
    # A limit on what a step may promise cuts some of these steps and not others.
    rng = np.random.default_rng(2)
    theta = rng.standard_normal(19).astype(dtype)
    weights = {"w": theta.copy()}
    moment1, moment2, proposed = np.zeros_like(theta), np.zeros_like(theta), np.empty_like(theta)
    shortened = []
    naive = Optimizer(name, HYPER.lr, HYPER.momentum, HYPER.rmsprop_alpha, (0.85, 0.97), HYPER.eps, HYPER.weight_decay)
    for step in range(1, 8):
        gradient = rng.standard_normal(19).astype(dtype)
        code = optim.OPTIMIZERS[name]
        short = optim.update(
            code, HYPER, HYPER.lr, ALL, theta, gradient, 0.5, limit, 0, proposed, moment1, moment2, step
        )
        shortened.append(short)
        assert short == naive.step(weights, {"w": gradient * dtype(0.5)}, {"w": gradient}, limit)
        np.testing.assert_allclose(theta, weights["w"], rtol=tolerance, atol=tolerance)
    assert theta.dtype == dtype
    assert any(shortened) == (limit < math.inf)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
@pytest.mark.parametrize("limit", [math.inf, 0.05])
def test_spans_are_learned_as_a_vector_of_their_own_and_nothing_between_them_is_touched(
    name: str, limit: float
) -> None:
    rng, code = np.random.default_rng(6), optim.OPTIMIZERS[name]
    spans, used = np.array([[0, 7], [50, 90], [12, 20]]), np.r_[0:7, 50:90, 12:20]
    theta, moment1, moment2 = rng.standard_normal(100), rng.standard_normal(100), rng.random(100)
    before = [array.copy() for array in (theta, moment1, moment2)]
    small = [array[used].copy() for array in before]
    for number in (1, 2, 3):
        gradient = rng.standard_normal(100)
        rates = (HYPER, HYPER.lr)
        short = optim.update(
            code, *rates, spans, theta, gradient, 0.5, limit, 0, np.empty(100), moment1, moment2, number
        )
        alone = optim.update(
            code, *rates, all_of(55), small[0], gradient[used], 0.5, limit, 0, np.empty(55), small[1], small[2], number
        )
        assert short == alone
        assert optim.global_norm(spans, gradient) == pytest.approx(float(np.linalg.norm(gradient[used])), rel=1e-14)
    rest = np.setdiff1d(np.arange(100), used)
    for array, was, of_its_own in zip((theta, moment1, moment2), before, small, strict=True):
        np.testing.assert_array_equal(array[rest], was[rest])
        np.testing.assert_allclose(array[used], of_its_own, rtol=1e-12)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
@pytest.mark.parametrize("limit", [math.inf, 0.5])
def test_the_first_parameters_take_a_tenth_of_the_step_and_the_bound_looks_at_what_they_take(
    name: str, limit: float
) -> None:
    rng, code = np.random.default_rng(5), optim.OPTIMIZERS[name]
    gradient, moments = rng.standard_normal(19), np.zeros((4, 19))
    all_alike, slowly = np.zeros(19), np.zeros(19)
    optim.update(code, HYPER, HYPER.lr, ALL, all_alike, gradient, 1.0, math.inf, 0, np.empty(19), *moments[:2], 1)
    short = optim.update(code, HYPER, HYPER.lr, ALL, slowly, gradient, 1.0, limit, 7, np.empty(19), *moments[2:], 1)
    expected = np.r_[0.1 * all_alike[:7], all_alike[7:]]
    share = min(1.0, limit / -(expected @ gradient))
    assert short == (share < 1.0)
    np.testing.assert_allclose(slowly, share * expected, rtol=1e-12)


@pytest.mark.parametrize("name", list(optim.OPTIMIZERS))
def test_a_shortened_step_promises_as_much_as_it_may_and_no_more(name: str) -> None:
    rng = np.random.default_rng(4)
    theta, gradient = np.zeros(19), 30.0 * rng.standard_normal(19)  # from zero weights there is nothing to decay
    moment1, moment2, proposed = np.zeros(19), np.zeros(19), np.empty(19)
    assert optim.update(
        optim.OPTIMIZERS[name], HYPER, HYPER.lr, ALL, theta, gradient, 1.0, 0.7, 0, proposed, moment1, moment2, 1
    )
    assert -theta @ gradient == pytest.approx(0.7, rel=1e-12)
    if moment1.any():  # what was not done now is not done later either
        whole = gradient if name == "momentum" else (1.0 - HYPER.beta1) * gradient
        np.testing.assert_allclose(moment1, whole * 0.7 / (proposed @ gradient), rtol=1e-12)


@pytest.mark.parametrize("loss", [0.0, -1e-16])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_step_whose_loss_is_nothing_or_rounds_to_less_is_not_taken(slope: float, loss: float) -> None:
    theta, gradient = np.zeros(3), np.full(3, slope)
    shortened = optim.update(
        optim.SGD, HYPER, HYPER.lr, all_of(3), theta, gradient, 1.0, loss, 0, np.empty(3), np.zeros(3), np.zeros(3), 1
    )
    assert shortened == (slope > 0.0)
    np.testing.assert_array_equal(theta, np.zeros(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip_norm", [0.5, 1e3, None])
def test_clipping_matches_the_naive_formula(dtype: type, clip_norm: float | None) -> None:
    gradient = np.random.default_rng(3).standard_normal(33).astype(dtype)
    norm = optim.global_norm(all_of(33), gradient)
    clipped, expected = clip_by_global_norm({"w": gradient}, clip_norm)
    assert norm == pytest.approx(expected, rel=1e-12)
    factor = optim.clip_factor(norm, clip_norm or 0.0)
    np.testing.assert_allclose(gradient * factor, clipped["w"], rtol=1e-6)
    assert (factor < 1.0) == (clip_norm == 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 31, 40, 69])
def test_nothing_is_asked_of_a_finite_gradient_and_no_element_is_overlooked(dtype: type, place: int) -> None:
    gradient = np.full(70, np.finfo(dtype).max, dtype)
    spans = np.array([[0, 36], [36, 70]])
    assert optim.nothing_if_finite(spans, gradient) == 0.0
    for bad in (np.nan, np.inf, -np.inf):
        gradient[place] = bad
        with np.errstate(invalid="ignore"):  # of the interpreted kernel
            assert not math.isfinite(optim.nothing_if_finite(spans, gradient))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_promise_is_worked_out_in_full_where_it_might_be_above_its_limit(dtype: type) -> None:
    rng, spans = np.random.default_rng(8), np.array([[0, 40], [40, 90]])
    gradient, step = rng.standard_normal((2, 90)).astype(dtype)
    exact, sizes = optim.product_over(spans, gradient, step), float(np.abs(gradient * step).sum(dtype=np.float64))
    for limit in (0.0, 1e-40, 0.5 * abs(exact), 0.99 * sizes):
        assert optim.promise(spans, gradient, step, limit) == exact
    for limit in (1.01 * sizes, 1e9):
        assert sizes <= optim.promise(spans, gradient, step, limit) <= limit
    gradient[70] = np.nan
    assert math.isnan(optim.promise(spans, gradient, step, 1e9))


def test_what_is_left_out_of_a_correction_is_less_than_its_last_bit() -> None:
    for beta in (0.0, 0.5, 0.9, 0.99, 0.999):
        for number in (1, 2, 79, 80, 81, 399, 400, 401, 4_000, 40_000, 40_001, 10**6):
            assert optim.correction(beta, number) == 1.0 - power(beta, number)


def test_the_norm_of_a_bad_gradient_is_not_finite() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        for dtype in (np.float32, np.float64):
            assert not math.isfinite(optim.global_norm(all_of(3), np.array([1.0, bad, 2.0], dtype)))
    assert math.isfinite(optim.global_norm(all_of(5), np.full(5, np.finfo(np.float32).max, np.float32)))
