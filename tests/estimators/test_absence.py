"""What an absent feature means: 0 where absence is ordinary, missing where a sensor drops its key now and then.

The events before decide, so a prediction sees the very row that is learned afterwards, and so does whoever goes on from
a file or a pickle.
"""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import feature_extraction, linear_model, preprocessing

from streamrnn import (
    ConfigError,
    FeatureEncoder,
    Hash,
    Log1p,
    Numeric,
    OneHot,
    RNNAnomalyDetector,
    RNNClassifier,
    RNNForecaster,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from streamrnn.estimators.absence import Absence
from streamrnn.estimators.columns import Columns

Event = dict[Any, Any]
MISSING, ZERO = [math.nan], [0.0]


def learned(*events: Event, features: list[str] | None = None) -> Columns:
    """The columns after these events were learned."""
    columns = Columns(features, None)
    for x in events:
        columns, row = columns.with_row(x)
        columns.note(x, row)
    return columns


def worth(columns: Columns, name: str) -> list[float]:
    """What the feature counts as in an event that lacks its key."""
    return [columns.row({})[columns.names.index(name)]]


def same(a: list[float], b: list[float]) -> bool:
    return np.array_equal(a, b, equal_nan=True)


# ---- the rule


def test_a_feature_that_never_varied_is_zero_where_it_is_absent() -> None:
    columns = learned(*[{"a": 1.0, "b": float(t)} for t in range(50)])
    assert same(worth(columns, "a"), ZERO)
    assert same(worth(columns, "b"), MISSING)


def test_a_sensor_that_drops_its_key_now_and_then_is_missing_then() -> None:
    events = [{"t": 20.0 + t % 3, "u": float(t)} for t in range(100)]
    for t in range(0, 100, 5):
        del events[t]["t"]
    assert same(worth(learned(*events), "t"), MISSING)


def test_a_feature_that_is_absent_more_often_than_there_is_zero_then() -> None:
    events = [{"u": 5.0, **({"price": 100.0 + t} if t % 3 == 0 else {})} for t in range(30)]
    assert same(worth(learned(*events), "price"), ZERO)
    events = [{"u": 5.0, **({"price": 100.0 + t} if t % 3 else {})} for t in range(30)]
    assert same(worth(learned(*events), "price"), MISSING)


@pytest.mark.parametrize(("nth", "expected"), [(3, ZERO), (7, ZERO), (15, MISSING)])
def test_a_tenth_is_enough_where_zero_would_be_an_ordinary_value(nth: int, expected: list[float]) -> None:
    events = [{"u": 5.0, **({"level": 0.5 + t % 4} if t % nth else {})} for t in range(60)]
    assert same(worth(learned(*events), "level"), expected)


@pytest.mark.parametrize(
    ("first", "step", "expected"), [(1, 1, ZERO), (1, 0.5, MISSING), (0, 1, MISSING), (2, 1, MISSING)]
)
def test_what_counts_from_one_on_is_zero_where_it_is_absent(first: int, step: float, expected: list[float]) -> None:
    events = [{"u": 5.0, **({"items": first + step * (t % 4)} if t % 15 else {})} for t in range(60)]
    assert same(worth(learned(*events), "items"), expected)


@pytest.mark.parametrize("late", [1, 2, 500])
def test_a_sensor_installed_late_soon_counts_as_dense(late: int) -> None:
    events = [{"u": float(t), **({"t": 20.0 + t % 3} if t >= late else {})} for t in range(late + 10)]
    columns = learned(*events)
    assert same(worth(columns, "t"), MISSING)
    few = learned(*events[: late + 3])
    assert same(worth(few, "t"), ZERO if late > 3 else MISSING)


@pytest.mark.parametrize("nothing", [None, math.nan, pd.NA, pd.NaT, np.ma.masked])
def test_a_missing_value_is_missing_whatever_absence_means(nothing: Any) -> None:
    columns = learned(*[{"a": 1.0, "b": float(t)} for t in range(50)])
    assert same(columns.row({"a": nothing, "b": 3.0}), [math.nan, 3.0])
    assert same(columns.row({"b": nothing, "a": 1.0}), [1.0, math.nan])


def test_statistics_get_every_zero_once_however_often_a_feature_s_absence_changes_its_meaning() -> None:
    absence, zeros, absent, changes = Absence(), 0, 0, [False]
    absence.grow(2)
    for t, there in enumerate("110000" + "1" * 12 + "0" * 15 + "1" * 30 + "0" * 30):
        zero = not math.isnan(absence.values()[1])
        changes += [zero] * (zero != changes[-1])
        absent += there == "0"
        zeros += zero and there == "0"
        lacking = absence.note([0, 1] if there == "1" else [0], [float(t), 100.0 + t])
        zeros += 0 if lacking is None else int(lacking[1])
    assert changes == [False, True, False, True, False, True, False, True]
    assert zeros == absent


def presences(turn: str, n: int = 4000) -> list[bool]:
    r = random.Random(1)
    return [t % 2 == 0 if turn == "alternating" else r.random() < float(turn) for t in range(n)]


@pytest.mark.parametrize("turn", ["alternating", "0.48", "0.5", "0.52"])
def test_a_sensor_that_is_there_half_of_the_time_stays_what_it_was_judged_to_be(turn: str) -> None:
    r, columns, judged = random.Random(2), Columns(None, None), []
    for there in presences(turn):
        x = {"s": r.gauss(50, 5)} if there else {"t": r.gauss(50, 5)}
        columns, row = columns.with_row(x)
        columns.note(x, row)
        judged.append(tuple(map(math.isnan, columns.without_keys())))
    if turn == "alternating":
        assert set(judged[10:]) == {(True, True)}
    assert sum(a != b for a, b in itertools.pairwise(judged)) <= 6


def test_what_was_judged_changes_past_a_margin_only() -> None:
    absence = Absence()
    absence.grow(2)
    meant = []
    for there in [True] * 20 + [False] * 22 + [True] * 25:
        absence.note([0, 1] if there else [0], [50.0 + absence.events % 3] * 2)
        meant.append(absence.values()[1] == 0.0)
    assert meant == [True] + [False] * 40 + [True] * 25 + [False]


def test_a_range_that_goes_on_growing_does_not_change_what_absence_means() -> None:
    r = random.Random(3)
    events = [{"u": 1.0 + t % 2, **({"t": r.gauss(50, 5)} if t % 5 else {})} for t in range(300)]
    events += [{"u": 1.0, "t": 999_999.0}, *events]
    assert same(worth(learned(*events), "t"), MISSING)


def test_it_makes_no_difference_how_often_is_asked_nor_whether_it_was_saved() -> None:
    r = random.Random(5)
    for _ in range(200):
        asked, silent, saved, rows = Absence(), Absence(), Absence(), Absence()
        for each in (asked, silent, saved, rows):
            each.grow(2)
        low, step, dense = r.choice([0, 1, 2, 40]), r.choice([0.5, 1, 1]), r.random()
        run: list[list[float]] = []
        for _ in range(60):
            there = r.random() < dense
            row = [float(t := low + step * r.randrange(r.choice([1, 2, 9]))), 2.0 * t]
            run.append(row)
            if not there:
                rows.note_complete_rows(np.array(run[:-1]).reshape(-1, 2))
                rows.note([0], row)
                run = []
            saved = Absence.restored(json.loads(json.dumps(saved.state())))
            asked.values()
            for each in (asked, silent, saved):
                each.note_complete(row) if there else each.note([0], row)
        rows.note_complete_rows(np.array(run).reshape(-1, 2))
        assert asked.state() == silent.state() == saved.state() == rows.state()


def test_declared_names_are_judged_as_discovered_ones() -> None:
    events = [{"good" if t % 3 else "bad": 1.0, "t": float(t)} for t in range(20)]
    declared = learned(*events, features=["t", "good", "bad"])
    assert declared.row({"t": 1.0}) == [1.0, 0.0, 0.0]
    assert same(declared.row({"good": 1.0}), [math.nan, 1.0, 0.0])


def test_columns_come_back_with_what_they_know_of_absence() -> None:
    events = sparse_events(40)
    columns = learned(*events)
    again = Columns(None, None).restored(columns.state())
    assert again.state() == columns.state()
    assert same(again.row({}), columns.row({}))


# ---- estimators


def sparse_events(n: int, seed: int = 4) -> list[Event]:
    """Three of ten indicators each, and a dense feature that drops its key now and then."""
    r = random.Random(seed)
    events = []
    for t in range(n):
        x: Event = {f"k{k}": 1.0 for k in r.sample(range(10), 3)}
        if r.random() > 0.1:
            x["dense"] = 20.0 + math.sin(t)
        events.append(x)
    return events


def total(x: Event) -> float:
    return float(sum(int(name[1:]) for name in x if name[0] == "k"))


ESTIMATORS = [
    (RNNRegressor, lambda m, x: m.learn_one(x, total(x)), lambda m, x: m.predict_one(x)),
    (RNNMultiTargetRegressor, lambda m, x: m.learn_one(x, {"y": total(x)}), lambda m, x: m.predict_one(x)),
    (RNNClassifier, lambda m, x: m.learn_one(x, total(x) > 13), lambda m, x: m.predict_proba_one(x)),
    (RNNForecaster, lambda m, x: m.learn_one(total(x), x), lambda m, x: m.forecast(1, [x])),
    (RNNAnomalyDetector, lambda m, x: m.learn_one(x), lambda m, x: m.score_one(x)),
]
estimators = pytest.mark.parametrize(("estimator", "learn", "ask"), ESTIMATORS, ids=lambda each: each.__name__)
SMALL = {"hidden_size": 4, "k2": 4}


@estimators
def test_an_estimator_goes_on_alike_from_file_and_pickle(estimator: Any, learn: Any, ask: Any, tmp_path: Path) -> None:
    model, events = estimator(**SMALL), sparse_events(60)
    for x in events[:7]:
        learn(model, x)
    model.save(tmp_path / "model")
    others = [estimator.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))]  # noqa: S301
    for x in events[7:]:
        for each in (model, *others):
            learn(each, x)
        assert all(ask(each, x) == ask(model, x) for each in others)


@estimators
def test_a_prediction_changes_nothing_of_what_absence_means(estimator: Any, learn: Any, ask: Any) -> None:
    asked, silent = estimator(**SMALL), estimator(**SMALL)
    for x in sparse_events(60):
        ask(asked, {"k0": 1.0})
        ask(asked, x)
        learn(asked, x)
        learn(silent, x)
    assert asked._columns.state() == silent._columns.state()
    assert ask(asked, {"k1": 1.0}) == ask(silent, {"k1": 1.0})


def test_a_refused_event_changes_nothing_of_what_absence_means() -> None:
    model = RNNRegressor(**SMALL, stream_key="id")
    model.learn_one({"a": 1.0, "id": 1}, 1.0)
    before = model._columns.state()
    for x in ({"b": 2.0}, {"b": "text", "id": 1}, {"a": "text", "id": 1}):
        with pytest.raises(ValueError, match=r"id|text"):
            model.learn_one(x, 1.0)
    assert model._columns.state() == before


def frames(cuts: list[int]) -> Iterator[tuple[pd.DataFrame, pd.Series]]:
    """Dense rows with a gap now and then and a feature that comes late; the last frame lacks two columns."""
    r = np.random.default_rng(3)
    whole = pd.DataFrame(r.normal(20, 1, (60, 3)), columns=["a", "b", "c"])
    whole["one"] = 1.0
    whole.iloc[::7, 1] = np.nan
    whole.iloc[[0, 1, 20, 40, 41, 50], [1]] = np.inf
    whole.iloc[:25, 2] = np.nan
    y = whole.a - whole.b.where(np.isfinite(whole.b), 20)
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        part = whole.iloc[start:stop]
        yield (part.drop(columns=["a", "one"]) if stop == len(whole) else part), y.iloc[start:stop]


@pytest.mark.parametrize("cuts", [[40], [20, 40], [1, 26, 50]])
def test_a_frame_means_what_its_rows_mean(cuts: list[int]) -> None:
    one, many = (RNNRegressor(**SMALL, dtype="float64") for _ in range(2))
    for X, y in frames(cuts):
        for model in (one, many):
            model.learn_one({"b": 20.0}, 0.0)
        many.learn_many(X, y)
        for x, target in zip(X.to_dict("records"), y, strict=True):
            one.learn_one(x, target)
        assert one._columns.state() == many._columns.state()
        assert one.predict_one({"a": 20.0}) == many.predict_one({"a": 20.0})


def test_statistics_hold_the_zeros_from_before_a_feature_came() -> None:
    model = RNNRegressor(**SMALL)
    for t in range(20):
        model.learn_one({"u": float(t)}, 1.0)
    for _ in range(5):
        model.learn_one({"w": 1.0}, 1.0)
    statistics = model._learner._model  # type: ignore[union-attr]
    assert (statistics.x_count[1], statistics.x_mean[1]) == (25, pytest.approx(5 / 25))
    assert statistics.x_m2[1] == pytest.approx(5 * 20 / 25)


# ---- declared by parameter or encoder


def halves(n: int = 80) -> Iterator[tuple[Event, Event, float]]:
    """Events that lack a feature half of the time, the same with 0 and with the last value in its place, a target."""
    r, last = random.Random(7), 0.0
    for t in range(n):
        level = r.gauss(5, 2)
        there = t < 2 or r.random() < 0.5
        last = level if there else last
        yield (
            {"a": level, "b": 1.0} if there else {"b": 1.0},
            {"a": level if there else 0.0, "b": 1.0},
            {"a": last, "b": 1.0},
            level + 1.0,
        )


@pytest.mark.parametrize("form", ["absent", "None"])
@pytest.mark.parametrize("way", ["discovered", "declared", "encoders"])
@pytest.mark.parametrize("missing", ["zero", "last"])
def test_what_is_missing_counts_as_was_said(missing: Any, way: str, form: str) -> None:
    unscaled: dict[str, Any] = {**SMALL, "scale": False}
    given = RNNRegressor(**unscaled, missing="mean")
    if way == "encoders":
        model = RNNRegressor(**unscaled, features=[Numeric(field="a", missing=missing), Numeric(field="b")])
    else:
        model = RNNRegressor(**unscaled, missing=missing, features=["a", "b"] if way == "declared" else None)
    for lacking, zero, last, y in halves():
        x = lacking if form == "absent" else {"a": None, **lacking}
        full = zero if missing == "zero" else last
        assert model.predict_one(x) == given.predict_one(full)
        model.learn_one(x, y)
        given.learn_one(full, y)
    assert model.counters()["imputed_inputs"] == sum(len(lacking) == 1 for lacking, *_ in halves())


def test_missing_mean_makes_no_difference_between_absent_and_none() -> None:
    absent, none = RNNRegressor(**SMALL, missing="mean"), RNNRegressor(**SMALL, missing="mean")
    for x in sparse_events(60):
        absent.learn_one(x, total(x))
        none.learn_one({**{name: None for name in absent._columns.names if name not in x}, **x}, total(x))
    assert absent.predict_one({"k1": 1.0}) == none.predict_one({"k1": 1.0})


def test_a_detector_is_shown_the_zeros_it_was_told_of() -> None:
    left_out, given = RNNAnomalyDetector(**SMALL, missing="zero"), RNNAnomalyDetector(**SMALL)
    for lacking, zero, *_ in halves():
        left_out.learn_one(lacking)
        given.learn_one(zero)
        assert left_out.score_one({"b": 1.0}) == given.score_one({"a": 0.0, "b": 1.0})


def test_encoders_say_it_themselves() -> None:
    with pytest.raises(ConfigError, match="missing: goes with names, got 'last'; encoders have a `missing` each"):
        RNNRegressor(features=[Numeric(field="a")], missing="last")


# ---- words for nothing


@pytest.mark.parametrize("nothing", [pd.NA, pd.NaT, np.ma.masked, np.float64("nan"), np.datetime64("NaT")])
def test_every_word_for_nothing_is_taken_as_none(nothing: Any) -> None:
    regressor, same_regressor = RNNRegressor(**SMALL), RNNRegressor(**SMALL)
    classifier, same_classifier = RNNClassifier(**SMALL), RNNClassifier(**SMALL)
    for t in range(30):
        x, y = {"a": float(t % 3), "b": float(t)}, t % 5
        gap, none = ({**x, "a": nothing}, {**x, "a": None}) if t % 4 == 1 else (x, x)
        target, known = (nothing, None) if t % 7 == 2 else (y, y)
        for model, other in ((regressor, same_regressor), (classifier, same_classifier)):
            model.learn_one(gap, target)
            other.learn_one(none, known)
    assert regressor.predict_one({"a": nothing}) == same_regressor.predict_one({"a": None})
    assert classifier.predict_proba_one({"a": nothing}) == same_classifier.predict_proba_one({"a": None})


def test_a_frame_may_hold_na() -> None:
    frame = pd.DataFrame({"a": pd.array([1, None, 3] * 5, "Int64"), "b": range(15)})
    y = pd.Series(pd.array([1.0, 2.0, None] * 5, "Float64"))
    many, one = RNNRegressor(**SMALL), RNNRegressor(**SMALL)
    many.learn_many(frame, y)
    for x, target in zip(frame.to_dict("records"), y, strict=True):
        one.learn_one(x, target)
    assert many.predict_one({"a": pd.NA, "b": 1}) == one.predict_one({"a": None, "b": 1})
    encoders = [OneHot(field="c", categories=("x",)), Hash(field="c", buckets=2), Log1p(field="a")]
    assert same(FeatureEncoder(encoders).encode_dict({"a": pd.NA, "c": pd.NA}), [0.0, 0.0, 0.0, math.nan])


# ---- with River


def accuracy(model: Any, n: int = 1500) -> float:
    r, right = random.Random(1), []
    for _ in range(n):
        y = r.random() < 0.5
        x = " ".join(["good" if y else "bad"] + [f"word{r.randrange(5)}" for _ in range(3)])
        right.append(model.predict_one(x) == y)
        model.learn_one(x, y)
    return sum(right[-500:]) / 500


TEXT = {
    "BagOfWords": feature_extraction.BagOfWords,
    "TFIDF": feature_extraction.TFIDF,
    "BagOfWords | FeatureHasher": lambda: feature_extraction.BagOfWords() | preprocessing.FeatureHasher(50, seed=1),
}


@pytest.mark.parametrize("transformer", TEXT)
def test_words_are_told_apart_as_well_as_by_logistic_regression(transformer: str) -> None:
    rival = accuracy(TEXT[transformer]() | linear_model.LogisticRegression())
    assert accuracy(TEXT[transformer]() | RNNClassifier(seed=1)) >= max(0.99, rival)


def test_indicators_that_are_left_out_are_learned_as_if_they_were_zeros() -> None:
    left_out, given, errors = RNNRegressor(seed=1), RNNRegressor(seed=1), np.zeros((1500, 2))
    for t, x in enumerate(sparse_events(1500)):
        x.pop("dense", None)
        full = {f"k{k}": x.get(f"k{k}", 0.0) for k in range(10)}
        errors[t] = abs(left_out.predict_one(x) - total(x)), abs(given.predict_one(full) - total(x))
        left_out.learn_one(x, total(x))
        given.learn_one(full, total(x))
    assert errors[-500:].mean(axis=0).max() < 0.05  # the mean's error is 3.5


@pytest.mark.parametrize("turns", ["alternating", "random"])
def test_sensors_that_take_turns_are_learned(turns: str) -> None:
    r, model, errors = random.Random(1), RNNRegressor(), []
    for t in range(3000):
        v = r.gauss(50, 5)
        x = {f"s{t % 2 if turns == 'alternating' else r.randrange(2)}": v}
        errors.append(abs(model.predict_one(x) - v))
        model.learn_one(x, v)
    assert np.mean(errors[-1000:]) < 0.5  # the values' own deviation is 4


def test_covariates_that_are_left_out_are_forecast_from_as_if_they_were_zeros() -> None:
    r, errors = random.Random(2), np.zeros((800, 2))
    left_out, given = RNNForecaster(seed=1), RNNForecaster(seed=1)
    for t in range(800):
        holiday = r.random() < 0.15
        y = 10.0 + math.sin(t / 3) + 8.0 * holiday
        x, full = {"dow": t % 7, **({"holiday": 1.0} if holiday else {})}, {"dow": t % 7, "holiday": float(holiday)}
        errors[t] = abs(left_out.forecast(1, [x])[0] - y), abs(given.forecast(1, [full])[0] - y)
        left_out.learn_one(y, x)
        given.learn_one(y, full)
    without, dense = errors[-200:].mean(axis=0)
    assert without < 1.2 * dense < 1.0  # by its mean, the holiday's error alone is 2


def test_words_in_mini_batches_are_told_apart() -> None:
    r, model, right = random.Random(1), feature_extraction.BagOfWords() | RNNClassifier(seed=1), []
    for batch in range(30):
        labels = [r.random() < 0.5 for _ in range(20)]
        texts = [" ".join(["good" if y else "bad", *(f"word{r.randrange(15)}" for _ in range(3))]) for y in labels]
        if batch > 20:
            right += (np.ravel(model.predict_many(pd.Series(texts))) == labels).tolist()
        model.learn_many(pd.Series(texts), pd.Series(labels))
    assert np.mean(right) > 0.97
