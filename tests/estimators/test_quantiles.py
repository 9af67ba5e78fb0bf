"""Quantiles cover what their levels say, never cross, and their middle one is the prediction."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from streamrnn import RNNRegressor
from tests.support.contract import CELLS, Model, everything

N, WARM = 4_000, 1_500


def model(**parameters: object) -> Model:
    return RNNRegressor(**{"loss": "quantile", "readout": "linear", **parameters})


def noisy(kind: str, n: int = N, seed: int = 0) -> list[tuple[dict[str, float], float]]:
    """Twice the input and noise: normal, skewed, or of a size that a second input tells."""
    rng = np.random.default_rng(seed)
    a, size = rng.normal(size=n), rng.integers(1, 3, size=n) ** 2
    noise = {
        "normal": rng.normal(size=n),
        "skewed": rng.exponential(size=n),
        "told": size * rng.normal(size=n),
    }[kind]
    inputs = zip(a.tolist(), size.tolist(), strict=True)
    return [({"a": u, "size": v}, 2.0 * u + e) for (u, v), e in zip(inputs, noise.tolist(), strict=True)]


def predicted_quantiles(subject: Model, pairs: list[tuple[dict[str, float], float]]) -> np.ndarray:
    """The quantiles before each event is learned, (n, levels)."""
    rows = []
    for x, y in pairs:
        levels = subject.predict_quantiles_one(x)
        rows.append(list(levels.values()))
        subject.learn_one(x, y)
    return np.array(rows)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_each_level_is_exceeded_as_rarely_as_it_says(kind: str, cell: str) -> None:
    pairs = noisy(kind)
    quantiles, y = predicted_quantiles(model(cell=cell), pairs)[WARM:], np.array([y for _, y in pairs[WARM:]])
    below = (y[:, None] < quantiles).mean(axis=0)
    print(f"{cell} {kind}: below {below.round(3).tolist()}")
    assert below == pytest.approx([0.05, 0.5, 0.95], abs=0.035)
    assert below[2] - below[0] == pytest.approx(0.9, abs=0.06)


def test_intervals_are_wide_where_the_noise_is() -> None:
    quantiles = predicted_quantiles(model(), pairs := noisy("told"))[WARM:]
    large = np.array([x["size"] > 1 for x, _ in pairs[WARM:]])
    width = quantiles[:, 2] - quantiles[:, 0]
    assert np.median(width[large]) > 2.0 * np.median(width[~large])


@pytest.mark.parametrize("lr", [1e-2, 0.5])
def test_levels_never_cross(lr: float) -> None:
    subject = model(lr=lr, quantiles=(0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9))
    quantiles = predicted_quantiles(subject, noisy("told", 1_000))
    assert (np.diff(quantiles, axis=1) >= 0.0).all()
    assert (np.diff(quantiles[1:], axis=1) > 0.0).any()


@pytest.mark.parametrize("levels", [(0.05, 0.5, 0.95), (0.5,), (0.1, 0.9), (0.1, 0.2, 0.3, 0.4, 0.5)])
def test_the_prediction_is_the_middle_level(levels: tuple[float, ...]) -> None:
    subject, pairs = model(quantiles=levels), noisy("normal", 120)
    for x, y in pairs:
        assert subject.predict_one(x) == subject.predict_quantiles_one(x)[levels[len(levels) // 2]]
        subject.learn_one(x, y)
    frame = pd.DataFrame([x for x, _ in pairs])
    assert subject.predict_many(frame).tolist() == [subject.predict_one(x) for x, _ in pairs]


def test_asking_for_quantiles_changes_nothing() -> None:
    subject = model(hidden_size=4)
    assert subject.predict_quantiles_one({"a": 1.0}) == {0.05: 0.0, 0.5: 0.0, 0.95: 0.0}
    predicted_quantiles(subject, noisy("normal", 50))
    before = everything(subject)
    assert all(math.isfinite(value) for value in subject.predict_quantiles_one({"a": 1.0}).values())
    assert everything(subject) == before
