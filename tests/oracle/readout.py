"""The slow, obvious RLS readout: every target taken in is kept, and the weights are solved for anew after each one.

A linear model is the minimum of ``sum_i weight_i (target_i - w phi_i)^2 + rest |w - w0|^2 / prior``: each target weighs
one over the noise variance in use at its time, and each later one multiplies the weights of all before it, and
``rest``, the prior's, by the forgetting factor. Where the covariance, the inverse of that quadratic form, has grown too
large, the prior of a single weight is one more target. Sums and inverses are taken in NumPy's long double, since the
quadratic form has the squared condition of the square root that the kernel works with.

The experts' losses are sums over all their past errors. Dimensions: R regressors, the first H of them the state.
"""

from __future__ import annotations

import numpy as np

from tests.oracle.network import Array

HANDICAP = 1.07  # on both models' losses in the mixture
LOSS_MEMORY, NOISE_MEMORY = 0.995, 0.99
SMALLEST_NOISE = 1e-8
OUTLIER = 3.0  # deviations
LARGEST_GROWTH = 10.0  # of the total variance, beyond which the prior is taken in again


def inverse(matrix: Array) -> Array:
    """The inverse of a positive definite matrix by Gauss and Jordan, in the matrix's own precision."""
    n = len(matrix)
    rows = np.hstack([matrix, np.eye(n, dtype=matrix.dtype)])
    for k in range(n):
        rows[k] /= rows[k, k]
        others = np.arange(n) != k
        rows[others] -= np.outer(rows[others, k], rows[k])
    return np.asarray(rows[:, n:])


def discounted(values: list[float], memory: float) -> float:
    """The sum of all values, each weighing ``memory`` per newer one."""
    return float(sum(v * memory**age for age, v in enumerate(reversed(values))))


class LeastSquares:
    """One linear model of one output; ``mean`` [R] is the prior's."""

    def __init__(self, mean: Array, prior: float, forgetting: float) -> None:
        self.mean, self.prior, self.forgetting = mean.astype(np.longdouble), prior, forgetting
        self.rest = np.longdouble(1)
        self.rows: list[Array] = []
        self.targets: list[float] = []
        self.weights = np.zeros(0, np.longdouble)
        self.squares = [1.0]
        self.used = 1.0  # the noise variance that targets are weighed by
        self.turn = 0
        self.solve()

    def solve(self) -> None:
        phi = np.array(self.rows, np.longdouble).reshape(-1, len(self.mean))
        information = phi.T @ (self.weights[:, None] * phi)
        information += self.rest / np.longdouble(self.prior) * np.eye(len(self.mean))
        self.covariance = inverse(information)
        error = np.array(self.targets, np.longdouble) - phi @ self.mean
        self.w = self.mean + self.covariance @ (phi.T @ (self.weights * error))

    @property
    def noise(self) -> float:
        mean = discounted(self.squares, NOISE_MEMORY) / discounted([1.0] * len(self.squares), NOISE_MEMORY)
        return max(mean, SMALLEST_NOISE)

    def variance(self, phi: Array) -> float:
        return float(phi @ self.covariance @ phi)

    def predict(self, phi: Array, newest: float) -> float:
        """The prediction, drawn to the newest value where the weights are more uncertain than the noise."""
        return newest + min(1.0, self.used / self.variance(phi)) * (float(self.w @ phi) - newest)

    def update(self, phi: Array, target: float) -> None:
        error, variance = target - float(self.w @ phi), self.variance(phi)
        self.used = noise = min(self.noise, self.used / self.forgetting)
        limit = OUTLIER * np.sqrt(self.noise * (1 + variance / noise))
        square = error**2
        if abs(error) > limit:
            # As noisy as makes this error no more than the outlier's limit in effect.
            noise = (noise + variance) * abs(error) / limit - variance
            square = limit * abs(error)
        self.rest *= self.forgetting
        self.weights *= self.forgetting
        self.observe(phi, target, noise)
        if float(np.trace(self.covariance)) > LARGEST_GROWTH * self.prior * len(self.mean):
            k = self.turn % len(self.mean)
            self.turn += 1
            self.observe(np.eye(len(self.mean))[k], float(self.mean[k]), self.prior)
        self.squares.append(square)

    def observe(self, phi: Array, target: float, noise: float) -> None:
        self.weights = np.append(self.weights, 1 / np.longdouble(noise))
        self.rows.append(phi)
        self.targets.append(target)
        self.solve()


class NaiveReadout:
    """Both models and the mixture for one output; ``newest`` is the regressor with its field's newest value, if any."""

    def __init__(self, regressors: int, hidden: int, newest: int | None, prior: float, forgetting: float) -> None:
        mean = np.zeros(regressors)
        if newest is not None:
            mean[newest] = 1.0
        self.hidden, self.newest = hidden, newest
        self.full = LeastSquares(mean, prior, forgetting)
        self.plain = LeastSquares(mean[hidden:], prior, forgetting)
        self.errors: list[list[float]] = [[], [], [], []]

    def models(self, phi: Array) -> list[float]:
        """The two models' predictions."""
        newest = self.repeat(phi)
        return [self.full.predict(phi, newest), self.plain.predict(phi[self.hidden :], newest)]

    def repeat(self, phi: Array) -> float:
        return 0.0 if self.newest is None else float(phi[self.newest])

    def predict(self, phi: Array) -> float:
        count = discounted([1.0] * len(self.errors[0]), LOSS_MEMORY)
        if count == 0:
            return self.repeat(phi)
        losses = np.array([discounted(errors, LOSS_MEMORY) for errors in self.errors]) * [HANDICAP, HANDICAP, 1, 1]
        losses += 1e-12 * count
        weights = (losses / losses.min()) ** -count
        return float(weights @ [*self.models(phi), 0.0, self.repeat(phi)] / weights.sum())

    def update(self, phi: Array, predictions: list[float], target: float, fit: bool = True) -> None:
        """Learn the ``target`` of what the two models predicted; each expert is judged by its prediction then.

        Without ``fit`` that is all.
        """
        for errors, expert in zip(self.errors, [*predictions, 0.0, self.repeat(phi)], strict=True):
            errors.append(abs(target - expert))
        if not fit:
            return
        self.full.update(phi, target)
        self.plain.update(phi[self.hidden :], target)
