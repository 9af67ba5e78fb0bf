"""Recursive least squares is least squares, stays finite on what would break it, and is no worse than its experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest

from streamrnn.core import rls
from streamrnn.core.arrays import Hyper, Readout, Squares
from streamrnn.core.jit import JIT_DISABLED, jit

PRIOR = 0.1


class Case(NamedTuple):
    """A readout of one or more outputs, where its newest values stand, and its work space."""

    readout: Readout
    newest: int
    predictions: np.ndarray
    workspace: np.ndarray


def hyper(forgetting: float) -> Hyper:
    return Hyper(*[np.nan] * len(Hyper._fields))._replace(forgetting=forgetting, prior=PRIOR)


def new_case(regressors: int, hidden: int, newest: int = -1, outputs: int = 1, fields: int = 1) -> Case:
    def squares(R: int) -> Squares:
        one = (np.zeros(outputs) for _ in range(6))
        return Squares(np.zeros((outputs, R)), np.zeros((outputs, R, R)), *one)

    plain = regressors - hidden
    losses, count = np.zeros((outputs, rls.EXPERTS)), np.zeros(outputs)
    readout = Readout(squares(regressors), squares(plain), losses, count, fields)
    rls.start(readout, PRIOR, newest)
    return Case(readout, newest, np.zeros((outputs, 2)), np.zeros((2, regressors)))


def predict(case: Case, phi: np.ndarray) -> np.ndarray:
    out = np.full(len(case.readout.loss_count), np.nan)
    rls.predict(case.readout, phi, case.newest, case.workspace, case.predictions, out)
    return out


def update(case: Case, phi: np.ndarray, target: float, forgetting: float, output: int = 0) -> None:
    """What was predicted just before is what the experts are scored by."""
    predict(case, phi)
    predictions = case.predictions[output]
    rls.update(case.readout, hyper(forgetting), output, phi, case.newest, predictions, target, case.workspace)


@jit
def update_many(case: Case, hyper: Hyper, phi: np.ndarray, targets: np.ndarray) -> None:
    """Updates of output 0 from phi (n, R) and targets (n,); the experts are not scored by their predictions."""
    for i in range(targets.shape[0]):
        rls.update(case.readout, hyper, 0, phi[i], case.newest, case.predictions[0], targets[i], case.workspace)


def feed(case: Case, phi: np.ndarray, targets: np.ndarray, forgetting: float) -> None:
    update_many(case, hyper(forgetting), phi, targets)


def covariance(model: Squares, output: int = 0) -> np.ndarray:
    return np.asarray(model.root[output] @ model.root[output].T)


def every_array(readout: Readout) -> list[np.ndarray]:
    return [*readout.full, *readout.plain, readout.losses, readout.loss_count]


# -- least squares ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgetting", [1.0, 0.98])
def test_with_a_known_noise_the_weights_are_those_of_ridge_regression_around_the_prior(forgetting: float) -> None:
    rng, n, R, hidden, noise = np.random.default_rng(3), 60, 6, 2, 0.04
    case = new_case(R, hidden, newest=3)
    phi = rng.standard_normal((n, R))
    targets = phi @ [0.1, -0.2, 0.2, 0.9, 0.1, -0.1] + 0.2 * np.clip(rng.standard_normal(n), -2, 2)
    for model in (case.readout.full, case.readout.plain):
        model.noise[:] = model.noise_in_use[:] = noise
    for row, target in zip(phi, targets, strict=True):
        update(case, row, target, forgetting)
        for model in (case.readout.full, case.readout.plain):
            model.noise[:] = model.noise_in_use[:] = noise  # it would follow the errors
    age = np.arange(n)[::-1]
    for model, first in ((case.readout.full, 0), (case.readout.plain, hidden)):
        x, prior_mean = phi[:, first:], np.eye(R)[3, first:]
        weights = forgetting**age / noise
        inverse = np.linalg.inv(x.T @ (weights[:, None] * x) + forgetting**n / PRIOR * np.eye(R - first))
        mean = prior_mean + inverse @ (x.T @ (weights * (targets - x @ prior_mean)))
        if first == 0 or forgetting < 1:
            assert np.abs(mean - prior_mean).max() > 0.1
        if first == 0:  # the plain one lacks regressors, so that outliers may occur
            np.testing.assert_allclose(model.weight[0], mean, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(covariance(model), inverse, rtol=1e-9, atol=1e-14)
        assert model.trace[0] == pytest.approx(np.trace(covariance(model)), rel=1e-12)


def test_every_output_has_a_model_of_its_own() -> None:
    case = new_case(4, 1, newest=1, outputs=4, fields=2)
    np.testing.assert_array_equal(case.readout.full.weight, [[0, 1, 0, 0], [0, 0, 1, 0]] * 2)
    np.testing.assert_array_equal(case.readout.plain.weight, [[1, 0, 0], [0, 1, 0]] * 2)
    before = [array.copy() for array in every_array(case.readout)]
    for _ in range(8):  # until the prior was taken in again
        update(case, np.array([0.3, -0.5, 0.2, 1.0]), 0.3, 0.5, output=2)
    for array, was in zip(every_array(case.readout), before, strict=True):
        assert not np.array_equal(array[2], was[2])
        np.testing.assert_array_equal(np.delete(array, 2, axis=0), np.delete(was, 2, axis=0))


def test_the_noise_follows_the_errors() -> None:
    rng = np.random.default_rng(5)
    case = new_case(3, 1)
    for _ in range(1500):
        phi = np.append(rng.standard_normal(2), 1.0)
        update(case, phi, float(phi @ [0.5, -1.0, 0.2] + 0.3 * rng.standard_normal()), 1.0)
    assert case.readout.full.noise[0] == pytest.approx(0.09, rel=0.3)


def test_an_outlier_moves_the_weights_as_little_as_three_deviations_do() -> None:
    rng = np.random.default_rng(6)
    case = new_case(4, 1)
    true = np.array([0.3, -0.4, 0.2, 0.5])
    for _ in range(200):
        phi = np.append(rng.standard_normal(3), 1.0)
        update(case, phi, float(phi @ true + 0.1 * rng.standard_normal()), 1.0)
    model, phi = case.readout.full, np.array([1.0, -1.0, 0.5, 1.0])
    weight, noise, P = model.weight[0].copy(), model.noise[0], covariance(model)
    used = min(noise, model.noise_in_use[0])
    error = 30 * np.sqrt(noise * (1 + phi @ P @ phi / used))
    update(case, phi, float(weight @ phi + error), 1.0)
    moved = model.weight[0] - weight
    least_squares = P @ phi * error / (used + phi @ P @ phi)
    np.testing.assert_allclose(moved, 0.1 * least_squares, rtol=1e-9)
    assert model.noise[0] < 3 * noise  # its square would make it eleven times the noise


@pytest.mark.parametrize(
    ("target", "regressor"), [(np.nan, 0.3), (np.inf, 0.3), (0.5, np.nan), (0.5, -np.inf), (0.5, 1e200)]
)
def test_numbers_that_are_not_finite_change_nothing(target: float, regressor: float) -> None:
    case = new_case(3, 1, newest=1)
    update(case, np.array([0.3, -0.5, 1.0]), 0.5, 0.9)
    before = [array.copy() for array in every_array(case.readout)]
    with np.errstate(all="ignore"):  # without the compiler NumPy would warn
        update(case, np.array([0.3, regressor, 1.0]), target, 0.9)
    for array, was in zip(every_array(case.readout), before, strict=True):
        np.testing.assert_array_equal(array, was)


# -- staying finite ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["collinear", "constant", "silent column"])
def test_endless_updates_without_new_directions_leave_the_covariance_finite_and_the_model_right(what: str) -> None:
    rng, n, R, forgetting = np.random.default_rng(7), 3_000 if JIT_DISABLED else 100_000, 6, 0.99
    case = new_case(R, 2)
    a = rng.standard_normal((n, 2)) if what != "constant" else np.full((n, 2), 0.7)
    phi = np.stack([a[:, 0], 2 * a[:, 0], a[:, 1], a[:, 0] - a[:, 1], np.ones(n), np.ones(n)], axis=1)
    if what == "silent column":
        phi[:, 5] = 0.0
    targets = 0.5 * a[:, 0] - 0.3 * a[:, 1] + 0.2 + 0.05 * rng.standard_normal(n)
    feed(case, phi, targets, forgetting)
    for model in (case.readout.full, case.readout.plain):
        P = covariance(model)
        assert np.isfinite(P).all()
        assert np.linalg.eigvalsh(P).min() >= -1e-12 * np.trace(P)
        assert model.trace[0] == pytest.approx(np.trace(P), rel=1e-9)
        assert np.trace(P) <= 2 * rls.LARGEST_GROWTH * PRIOR * len(P)
        assert model.refreshed[0] > 0
        assert np.abs(model.weight).max() < 2
    assert case.readout.full.weight[0] @ phi[-1] == pytest.approx(targets[-1], abs=0.25)
    assert case.readout.full.noise[0] == pytest.approx(0.0025, rel=0.5)


@pytest.mark.parametrize("forgetting", [0.9, 0.99, 0.9995])
def test_the_noted_trace_stays_the_covariance_s_and_rich_regressors_need_no_prior(forgetting: float) -> None:
    rng, n, R = np.random.default_rng(13), 3_000 if JIT_DISABLED else 100_000, 6
    case = new_case(R, 2)
    phi = np.append(rng.standard_normal((n, R - 1)), np.ones((n, 1)), axis=1)
    feed(case, phi, phi @ [0.1, 0.2, -0.3, 0.4, 0.5, 0.1] + 0.1 * rng.standard_normal(n), forgetting)
    for model in (case.readout.full, case.readout.plain):
        assert model.trace[0] == pytest.approx(np.trace(covariance(model)), rel=1e-9)
        assert model.refreshed[0] <= 3  # while there were few targets


# -- forgetting -------------------------------------------------------------------------------------------------------


def plain_errors_after_a_change(noise: float, columns: Sequence[str], before: int = 3000, after: int = 1000) -> float:
    """Mean error of the plain model in the last hundred of the updates after the one true weight changed its sign."""
    rng, n = np.random.default_rng(12), before + after
    x = rng.standard_normal(n)
    targets = np.where(np.arange(n) < before, x, -x) + noise * rng.standard_normal(n)
    kinds = {"x": x, "one": np.ones(n), "zero": np.zeros(n), "state": 0.1 * rng.standard_normal(n)}
    phi = np.stack([kinds[name] for name in ("state", *columns)], axis=1)
    case = new_case(phi.shape[1], 1)
    feed(case, phi[:-100], targets[:-100], 0.99)
    errors = []
    for row, target in zip(phi[-100:], targets[-100:], strict=True):
        errors.append(abs(target - case.readout.plain.weight[0] @ row[1:]))
        update(case, row, target, 0.99)
    return float(np.mean(errors))


SILENT = pytest.mark.parametrize(
    "columns",
    [
        pytest.param(("x", "one"), id="none"),
        pytest.param(("x", "one", "one"), id="twins"),
        pytest.param(("x", "x", "one"), id="twins of the one that changes"),
        pytest.param(("x", "zero", "one"), id="silent"),
    ],
)
LONG = 3_000 if JIT_DISABLED else 100_000


@SILENT
@pytest.mark.parametrize("before", [3_000, LONG])
def test_columns_that_say_nothing_do_not_stop_the_forgetting(columns: tuple[str, ...], before: int) -> None:
    """Noise alone has a mean size of 0.24."""
    assert plain_errors_after_a_change(0.3, columns, before) < 0.27


@SILENT
def test_a_change_far_beyond_the_noise_is_forgotten_at_the_pace_of_the_factor(columns: tuple[str, ...]) -> None:
    """At 0.99 the noise in use takes 1000 updates to where new errors are nothing beside it; alone it leaves 0.008."""
    assert plain_errors_after_a_change(0.01, columns, after=1000) < 0.035
    assert plain_errors_after_a_change(0.01, columns, after=1200) < 0.01


def test_one_huge_outlier_does_not_freeze_learning() -> None:
    rng, n, true = np.random.default_rng(14), 1500, np.array([0.3, -0.4, 0.2, 0.5])
    phi = np.append(rng.standard_normal((n, 3)), np.ones((n, 1)), axis=1)
    phi = np.concatenate([phi, phi])
    targets = np.concatenate([phi[:n] @ true, phi[n:] @ -true]) + 0.1 * rng.standard_normal(2 * n)
    targets[n - 1] = 1e9
    case = new_case(4, 1)
    feed(case, phi[:n], targets[:n], 0.99)
    np.testing.assert_allclose(case.readout.full.weight[0], true, atol=0.1)
    feed(case, phi[n:], targets[n:], 0.99)
    np.testing.assert_allclose(case.readout.full.weight[0], -true, atol=0.1)


# -- the mixture ------------------------------------------------------------------------------------------------------


def run(y: np.ndarray, lags: int = 3, hidden: int = 4) -> tuple[float, float, float]:
    """Mean absolute errors over one-step forecasts of a series: the readout's, of its mean (0) and of its last value.

    The state is noise of the same size as the values, as from a trunk that has learned nothing.
    """
    rng = np.random.default_rng(8)
    case = new_case(hidden + lags + 1, hidden, newest=hidden)
    errors = []
    for t in range(lags, len(y)):
        phi = np.concatenate([rng.uniform(-1, 1, hidden), y[t - lags : t][::-1], [1.0]])
        errors.append(abs(predict(case, phi)[0] - y[t]))
        update(case, phi, y[t], 0.9995)
    return float(np.mean(errors)), float(np.abs(y[lags:]).mean()), float(np.abs(np.diff(y[lags - 1 :])).mean())


STEPS = 600 if JIT_DISABLED else 3000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_random_walk_the_mixture_is_as_good_as_the_last_value(seed: int) -> None:
    walk = np.cumsum(np.random.default_rng(seed).standard_normal(STEPS))
    error, mean, last = run(walk / walk.std())
    assert last < mean
    assert error < 1.02 * last


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_white_noise_the_mixture_is_as_good_as_the_mean(seed: int) -> None:
    error, mean, last = run(np.random.default_rng(seed).standard_normal(STEPS))
    assert mean < last
    assert error < 1.03 * mean


def test_where_there_is_something_to_learn_the_mixture_learns_it() -> None:
    t, rng = np.arange(STEPS), np.random.default_rng(9)
    error, mean, last = run(np.sin(2 * np.pi * t / 7) + 0.05 * rng.standard_normal(STEPS))
    assert error < 0.25 * min(mean, last)


def test_before_any_target_the_newest_value_is_repeated() -> None:
    case = new_case(6, 2, newest=3, outputs=4, fields=2)
    assert predict(case, np.array([0.5, -0.5, 0.1, 1.5, -2.5, 1.0])).tolist() == [1.5, -2.5] * 2
    assert predict(new_case(3, 1), np.array([0.5, -0.5, 1.0])).tolist() == [0.0]


def test_where_the_weights_are_uncertain_a_model_repeats_the_newest_value() -> None:
    assert rls.shrunk(2.0, 0.5, 0.1, 1.0) == pytest.approx(0.5 + 0.1 * 1.5)
    assert rls.shrunk(2.0, 0.5, 1.0, 0.1) == 2.0
    assert rls.shrunk(2.0, 0.5, 1.0, 0.0) == 2.0


def test_predict_has_no_side_effect() -> None:
    rng = np.random.default_rng(10)
    case = new_case(5, 2, newest=2)
    for _ in range(30):
        update(case, rng.standard_normal(5), float(rng.standard_normal()), 0.99)
    phi = rng.standard_normal(5)
    before = [array.copy() for array in [*every_array(case.readout), phi]]
    first = predict(case, phi)
    case.workspace[:] = np.nan  # work space is written before it is read
    assert predict(case, phi).tolist() == first.tolist()
    for array, was in zip([*every_array(case.readout), phi], before, strict=True):
        assert array.tobytes() == was.tobytes()


def test_the_trunk_s_gradient_passes_through_the_weights_of_the_state() -> None:
    rng = np.random.default_rng(11)
    for dtype in (np.float32, np.float64):
        weight, draw = rng.standard_normal((3, 7)), np.array([0.5, 0.0, -2.0], dtype)
        dh = rng.standard_normal(4).astype(dtype)
        expected = dh + draw @ weight[:, :4]
        rls.backward(weight, draw, dh)
        np.testing.assert_allclose(dh, expected, rtol=1e-5)
