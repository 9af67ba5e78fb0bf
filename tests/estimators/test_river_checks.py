"""Every one of River's own checks, each as a test of its own, over every estimator and cell; none is skipped.

``river.checks.check_estimator`` stops at the first failure and names neither check nor data; here each gets its name.
As there, a check receives a fresh clone, and what an estimator asks to be skipped would be. It must ask for nothing.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import river.datasets
from river import checks

from tests.support.contract import ALL, CLASSIFIER, KINDS, REGRESSOR, Case, Kind, Model, case

CASES = [
    *ALL,
    # Without a seed, River calls an estimator stochastic and checks that a seed makes it repeatable.
    case(REGRESSOR, cell="lstm", seed=None),
    case(CLASSIFIER, cell="gru", seed=None),
]


class CreditCard:
    """Stand-in for River's data set of that name, which is downloaded from the internet and so is not to be had here.

    The same 30 features in the same scales, rare anomalies labelled 1, 10,000 events. Normal events follow a few
    latent factors that move slowly, so they are correlated with each other and with their past; an anomaly does not.
    """

    N, FACTORS, ANOMALIES = 10_000, 4, 0.005

    def __iter__(self) -> Iterator[tuple[dict[str, float], int]]:
        names = ["Time", *(f"V{i}" for i in range(1, 29)), "Amount"]
        for row, label in zip(*transactions(self.N, self.FACTORS, self.ANOMALIES), strict=True):
            yield dict(zip(names, row, strict=True)), label

    def take(self, k: int) -> Iterator[tuple[dict[str, float], int]]:
        """The first ``k`` events."""
        return itertools.islice(self, k)


@functools.cache
def transactions(n: int, n_factors: int, anomalies: float) -> tuple[list[list[float]], list[int]]:
    """Rows of the stand-in, and 1 where they are anomalies."""
    rng = np.random.default_rng(492)
    frauds = rng.random(n) < anomalies
    factors, loadings = rng.normal(size=(n, n_factors)), rng.normal(size=(n_factors, 28))
    for i in range(1, n):
        factors[i] = 0.9 * factors[i - 1] + np.sqrt(1 - 0.9**2) * factors[i]
    v = np.where(frauds[:, None], 6.0 * rng.normal(size=(n, 28)), factors @ loadings + 0.5 * rng.normal(size=(n, 28)))
    seconds = rng.exponential(0.6, n).cumsum()
    amount = rng.lognormal(np.where(frauds, 5.5, 3.0), 1.0)
    return np.column_stack([seconds, v, amount]).tolist(), frauds.astype(int).tolist()


@pytest.fixture(autouse=True)
def repeatable_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks shuffle features with the global generator and may ask for the data set that is not there."""
    monkeypatch.setattr(river.datasets, "CreditCard", CreditCard)
    random.seed(0)


def checks_of(model: Model) -> list[Callable[[Model], None]]:
    """River's checks for this kind of model, each with data of its own that nothing has read from yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(river.datasets, "CreditCard", CreditCard)
        return list(checks.yield_checks(model))


def every_check() -> Iterator[Any]:
    for each in CASES:
        model = each.build()
        of_that_name: dict[str, int] = {}
        for check in checks_of(model):
            number = of_that_name[check.__name__] = of_that_name.get(check.__name__, 0) + 1
            yield pytest.param(each, check, id=f"{each}-{check.__name__}-{number}")


@pytest.mark.parametrize(("each", "check"), list(every_check()))
def test_river_check_holds(each: Case, check: Callable[[Model], None]) -> None:
    model = each.build()
    assert check.__name__ not in model._unit_test_skips()
    check(model.clone())


@pytest.mark.parametrize("each", CASES, ids=str)
def test_no_check_is_to_be_skipped(each: Case) -> None:
    assert each.build()._unit_test_skips() == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.estimator.__name__)
def test_check_estimator_passes_with_the_parameters_meant_for_tests(kind: Kind) -> None:
    for parameters in kind.estimator._unit_test_params():
        checks.check_estimator(kind.estimator(**parameters))


def test_a_model_without_seed_gets_the_check_of_seeding() -> None:
    names = {check.__name__ for check in checks_of(case(REGRESSOR, seed=None).build())}
    assert "check_seeding_is_idempotent" in names


def test_the_stand_in_has_both_classes_in_its_shortest_stream() -> None:
    labels = [y for _, y in CreditCard().take(1000)]
    assert 0 < sum(labels) < 20
    assert len(next(iter(CreditCard()))[0]) == 30
