"""A score says how many of the newest events were forecast better than this one.

So it is spread evenly over [0, 1] on ordinary data, whatever their unit, and what breaks a pattern ranks highest even
where each value by itself is an ordinary one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from streamrnn import RNNAnomalyDetector
from tests.support.contract import Row

N = 3_000
WARM = 1_000
"""Events before scores are judged; the first ones are scored by a network that still learns."""


def scores(rows: Iterable[Row], detector: RNNAnomalyDetector | None = None) -> np.ndarray:
    """Score, then learn, event by event."""
    detector = RNNAnomalyDetector() if detector is None else detector
    scored = []
    for x in rows:
        scored.append(detector.score_one(x))
        detector.learn_one(x)
    return np.array(scored)


def circle(n: int, seed: int = 0, noise: float = 0.1, jumps: Iterable[int] = ()) -> list[Row]:
    """A point that goes round, seen with noise; at a jump it goes on from the other side."""
    rng = np.random.default_rng(seed)
    jumps = set(jumps)
    phase, rows = 0.0, []
    for t in range(n):
        phase += 0.15 + (math.pi * rng.uniform(0.7, 1.3) if t in jumps else 0.0)
        rows.append({"a": math.cos(phase) + noise * rng.normal(), "b": 5.0 * (math.sin(phase) + noise * rng.normal())})
    return rows


def single(values: np.ndarray) -> list[Row]:
    return [{"a": value} for value in values.tolist()]


def area_under_curve(scored: np.ndarray, unusual: np.ndarray) -> float:
    """Probability that an unusual event scores higher than another one; equal scores count half."""
    high, low = scored[unusual], scored[~unusual]
    return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))


ORDINARY: dict[str, Callable[[np.random.Generator], list[Row]]] = {
    "circle": lambda rng: circle(N),
    "clean sine": lambda rng: single(np.sin(np.arange(N) / 8.0)),
    "noise": lambda rng: single(rng.normal(size=N)),
    "heavy tails": lambda rng: single(rng.standard_t(3, size=N)),
    "random walk": lambda rng: single(rng.normal(size=N).cumsum()),
    "offset": lambda rng: single(1e6 + rng.normal(size=N)),
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_scores_of_ordinary_events_are_spread_evenly(kind: str) -> None:
    scored = scores(ORDINARY[kind](np.random.default_rng(1)))
    assert ((scored >= 0.0) & (scored < 1.0)).all()
    late = np.sort(scored[WARM:])
    assert late.mean() == pytest.approx(0.5, abs=0.05)
    # Largest distance from the uniform distribution: 1.63 / sqrt(2000) at 1 %, and errors are not independent.
    assert np.abs(late - (np.arange(len(late)) + 0.5) / len(late)).max() < 0.06


@pytest.mark.parametrize("seed", range(3))
def test_a_jump_that_no_single_value_shows_ranks_among_the_highest(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    jumps = np.sort(rng.choice(np.arange(WARM, 4_000), 30, replace=False))
    rows = circle(4_000, seed, noise=0.05, jumps=jumps.tolist())
    unusual = np.isin(np.arange(WARM, 4_000), jumps)
    values = np.array([[x["a"], x["b"]] for x in rows])
    marginal = np.abs((values - values.mean(axis=0)) / values.std(axis=0)).max(axis=1)
    scored, blind = area_under_curve(scores(rows)[WARM:], unusual), area_under_curve(marginal[WARM:], unusual)
    print(f"seed {seed}: area under the curve {scored:.3f}, of marginal z-scores {blind:.3f}")
    assert scored > 0.95
    assert blind < 0.65


def test_scoring_looks_at_the_present_state_and_changes_nothing() -> None:
    rows = circle(600)
    detector = RNNAnomalyDetector()
    scores(rows[:500], detector)
    twin = copy.deepcopy(detector)
    assert len({detector.score_one(rows[500]) for _ in range(5)}) == 1
    assert scores(rows[500:], detector).tolist() == scores(rows[500:], twin).tolist()


def test_the_larger_the_error_the_higher_the_score_even_beyond_all_seen() -> None:
    rows = circle(1_001)
    detector = RNNAnomalyDetector()
    scores(rows[:1_000], detector)
    usual = rows[1_000]
    scored = [detector.score_one({**usual, "a": usual["a"] + step}) for step in (0.3, 0.6, 2, 10, 100, 1e4, 1e6)]
    assert scored == sorted(scored)
    assert len(set(scored[2:])) == 5
    assert 0.99 < scored[2] < scored[-1] < 1.0


def test_an_anomaly_is_seen_in_each_feature_whatever_its_unit() -> None:
    rng = np.random.default_rng(0)
    rows = [{"large": 1e9 + 1e6 * rng.normal(), "one": rng.normal(), "small": 1e-3 * rng.normal()} for _ in range(N)]
    detector = RNNAnomalyDetector()
    scores(rows, detector)
    usual = {"large": 1e9, "one": 0.0, "small": 0.0}
    for name, step in (("large", 1e7), ("one", 10.0), ("small", 1e-2)):
        assert detector.score_one({**usual, name: usual[name] + step}) > 0.99


@pytest.mark.parametrize(
    "unit",
    [
        1e3,
        1e6,
        1e9,
        pytest.param(1e-6),
    ],
)
def test_the_unit_of_the_data_does_not_matter(unit: float) -> None:
    rows = circle(1_500, seed=3)
    # The network sees the same numbers, rounded to float32; before there are two values there is no unit to speak of.
    difference = np.abs(scores(rows) - scores({k: unit * v for k, v in x.items()} for x in rows))
    assert difference.max() < 0.1
    assert difference[200:].max() < 0.01


# ---- features that are missing, appear, belong to streams


def test_missing_features_are_left_out_of_the_score() -> None:
    rng = np.random.default_rng(5)
    rows = circle(N)
    for x in rows:
        if rng.random() < 0.2:
            x["ab"[int(rng.integers(2))]] = math.nan
    detector = RNNAnomalyDetector()
    scored = scores(rows, detector)
    assert np.isfinite(scored).all()
    assert scored[WARM:].mean() == pytest.approx(0.5, abs=0.07)
    assert detector.score_one({"a": math.nan, "b": None}) == 0.0
    assert detector.score_one({"a": math.nan, "b": 100.0}) > 0.99
    assert detector.score_one({"b": 100.0}) > 0.99


def test_an_infinite_value_is_missing_and_an_absurd_one_most_unusual() -> None:
    detector = RNNAnomalyDetector()
    scores(circle(300), detector)
    usual = circle(301)[-1]
    for bad in (math.inf, -math.inf):
        assert detector.score_one({**usual, "a": bad}) == detector.score_one({**usual, "a": None})
    assert detector.score_one({**usual, "a": 1e300}) > 0.999


def test_a_constant_feature_that_changes_is_most_unusual() -> None:
    detector = RNNAnomalyDetector(hidden_size=4)
    for x in circle(300):
        detector.learn_one({**x, "stuck": 5.0})
    usual = {**circle(301)[-1], "stuck": 5.0}
    assert detector.score_one({**usual, "stuck": 1000.0}) > 0.999 > detector.score_one(usual)


def test_a_feature_that_appears_disturbs_no_score_and_is_soon_watched() -> None:
    rng = np.random.default_rng(6)
    rows = circle(2_000)
    late = [x if t < 1_000 else {**x, "c": 1_000.0 + rng.normal()} for t, x in enumerate(rows)]
    detector = RNNAnomalyDetector()
    scored = scores(late, detector)
    assert scored[:1_001].tolist() == scores(rows[:1_001]).tolist()
    assert scored[1_000:1_100].mean() < 0.65
    assert detector.score_one({**late[-1], "c": 1_000.0}) < 0.95 < detector.score_one({**late[-1], "c": 1_010.0})


def test_a_feature_that_appears_in_several_streams_is_soon_watched() -> None:
    rng = np.random.default_rng(6)
    detector = RNNAnomalyDetector(stream_key="id")
    rows = [{"a": rng.normal(), "id": "pqr"[t % 3]} for t in range(900)]
    for t in range(300, 900):
        rows[t]["b"] = 1_000.0 + rng.normal()
    scores(rows, detector)
    assert detector.score_one({"a": 0.0, "b": 1_010.0, "id": "p"}) > 0.99


def test_each_stream_is_judged_by_its_own_past() -> None:
    rng = np.random.default_rng(7)
    detector = RNNAnomalyDetector(stream_key="id")
    for t in range(4_000):
        stream = t % 2
        detector.learn_one({"a": 10.0 * stream + math.sin(t / 6.0) + 0.05 * rng.normal(), "id": stream})
    where = math.sin(4_000 / 6.0)
    assert detector.score_one({"a": where, "id": 0}) < 0.99 < detector.score_one({"a": 10.0 + where, "id": 0})
    assert detector.score_one({"a": 10.0 + where, "id": 1}) < 0.99 < detector.score_one({"a": where, "id": 1})


def test_before_anything_was_forecast_nothing_is_unusual() -> None:
    detector = RNNAnomalyDetector()
    assert detector.score_one({"a": 1.0}) == 0.0
    detector.learn_one({"a": 1.0})
    assert detector.score_one({"a": 1e9}) == 0.0
    assert RNNAnomalyDetector().score_one({}) == 0.0
