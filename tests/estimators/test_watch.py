"""Questions stay questions, and events whose labels are delayed are found out, or warned of where that cannot be told.

Warnings are errors here: a pattern that is not expected to warn fails by one.
"""

from __future__ import annotations

import math
import random
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from river import preprocessing

from streamrnn import DelayedLabelsWarning, RNNAnomalyDetector, RNNRegressor
from streamrnn.estimators.watch import REMEMBERED_FEATURES, WIDE, Watch, _distance, _mark
from tests.support import delays
from tests.support.contract import everything
from tests.support.delays import always, irregular, mean_error, moments, remembered, served

EVENTS = 1000
Row = dict[str, Any]
Chance = random.Random


def some(chance: Chance) -> Row:
    return {"a": chance.gauss(), "b": chance.gauss()}


def few(chance: Chance) -> Row:
    return {"a": chance.randrange(7)}


def nothing(_: Chance) -> Row:
    return {}


# ---- questions: (rows asked before the lesson, the lesson) of each round


def asked_twice(chance: Chance, _: int) -> tuple[list[Row], Row]:
    x = some(chance)
    return [x, dict(x)], x


def asked_then_varied(chance: Chance, _: int) -> tuple[list[Row], Row]:
    x = some(chance)
    return [x, *(some(chance) for _ in range(5))], x


def varied_then_asked(chance: Chance, _: int) -> tuple[list[Row], Row]:
    x = some(chance)
    return [*(some(chance) for _ in range(5)), x], x


def others_ask(chance: Chance, _: int) -> tuple[list[Row], Row]:
    return [some(chance) for _ in range(chance.randrange(9))], some(chance)


def one_of_a_few_is_chosen(chance: Chance, _: int) -> tuple[list[Row], Row]:
    candidates: list[Row] = [{"a": k} for k in range(5)]
    return candidates, chance.choice(candidates)


def the_first_is_chosen(_: Chance, __: int) -> tuple[list[Row], Row]:
    candidates: list[Row] = [{"a": k} for k in range(5)]
    return candidates, candidates[0]


def of_few_values(chance: Chance, _: int) -> tuple[list[Row], Row]:
    return [few(chance) for _ in range(chance.randrange(4))], few(chance)


def days_ahead(_: Chance, t: int) -> tuple[list[Row], Row]:
    return [{"t": t + k} for k in (1, 2, 3)], {"t": t}


def without_features(chance: Chance, _: int) -> tuple[list[Row], Row]:
    return [{}] * chance.randrange(4), {}


def the_same_over_and_over(chance: Chance, _: int) -> tuple[list[Row], Row]:
    return [{"a": 0.5, "b": 0.25}] * chance.randrange(4), some(chance)


QUESTIONS: list[Callable[[Chance, int], tuple[list[Row], Row]]] = [
    asked_twice,
    asked_then_varied,
    varied_then_asked,
    others_ask,
    one_of_a_few_is_chosen,
    the_first_is_chosen,
    of_few_values,
    days_ahead,
    without_features,
    the_same_over_and_over,
]


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("round_of", QUESTIONS, ids=lambda each: each.__name__)
def test_questions_change_nothing_whatever_their_pattern(round_of: Any, scaled: bool) -> None:
    models = [RNNRegressor(hidden_size=4), RNNRegressor(hidden_size=4, delayed=False)]
    chance = Chance(1)
    fronts = [preprocessing.StandardScaler() | model if scaled else model for model in models]
    for t in range(EVENTS):
        questions, x = round_of(chance, t)
        for question in questions:
            fronts[0].predict_one(question)
        for front in fronts:
            front.learn_one(x, float(sum(x.values())))
    models[0].delayed = False  # it differs in nothing else
    assert everything(models[0]) == everything(models[1])


# ---- events


@pytest.mark.parametrize("delay", [2, 3, 10, 64])
def test_events_that_are_learned_late_and_in_order_are_found_out(delay: int) -> None:
    pairs = remembered(600)
    model = RNNRegressor(hidden_size=4, k2=delay + 6)
    with pytest.warns(DelayedLabelsWarning, match="from now on every prediction counts as seeing its event"):
        predictions = served(model, pairs, always(delay))
    counts = model.counters()
    # Events before that were seen by their lessons, those since by their predictions: each once.
    assert counts["records_predicted"] == len(pairs)
    assert counts["waiting"] == counts["given_up"] == counts["unmatched_labels"] == 0
    assert mean_error(predictions[300:], pairs[300:]) < 1.0  # 1.8 by the running mean, 2.2 as questions


def test_what_was_found_out_is_learned_as_if_it_had_been_said() -> None:
    pairs = remembered(60)
    found, said = RNNRegressor(hidden_size=4), RNNRegressor(hidden_size=4)
    happened = moments(len(pairs), always(4))
    with pytest.warns(DelayedLabelsWarning):
        served(found, pairs, always(4))
    lessons = 0
    for what, i in happened:
        x, y = pairs[i]
        if what == "label":
            lessons += 1
            # Of the first four no lesson showed that it was late; with the fifth that was, all that waits is seen.
            if lessons == 6:
                for _, (later, __) in enumerate(pairs[i : i + 4]):
                    said.observe_one(later)
            said.learn_one(x, y)
        elif lessons >= 6:
            said.observe_one(x)
    assert found.get_weights()["rls.weight"].tolist() == said.get_weights()["rls.weight"].tolist()


@pytest.mark.parametrize(("pairs", "delays"), [
    ([({}, float(i % 5)) for i in range(300)], always(3)),
    ([({"a": i % 7}, float(i % 5)) for i in range(300)], always(20)),
    (remembered(300), irregular(20)),
], ids=["no features", "few values", "another order"])  # fmt: skip
def test_where_events_and_questions_look_the_same_nothing_changes_and_a_warning_says_so(
    pairs: Any, delays: Any
) -> None:
    model, undelayed = RNNRegressor(hidden_size=4), RNNRegressor(hidden_size=4, delayed=False)
    with pytest.warns(DelayedLabelsWarning, match=r"cannot be told; they are taken for questions.*event_key=\.\.\."):
        predictions = served(model, pairs, delays)
    assert predictions == served(undelayed, pairs, delays)
    assert "waiting" not in model.counters()


@pytest.mark.parametrize("delay", [2, 10])
def test_behind_a_scaler_a_warning_says_that_labels_seem_late(delay: int) -> None:
    model = preprocessing.StandardScaler() | RNNRegressor(hidden_size=4)
    with pytest.warns(DelayedLabelsWarning, match="cannot be told; they are taken for questions"):
        served(model, remembered(600), always(delay))


def test_behind_a_scaler_without_delay_nothing_is_warned_of() -> None:
    served(preprocessing.StandardScaler() | RNNRegressor(hidden_size=4), remembered(600), always(1))


def test_a_warning_comes_once_for_each_estimator() -> None:
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            served(RNNRegressor(hidden_size=4), remembered(200), irregular(12))
        assert [warning.filename for warning in caught] == [delays.__file__]


def test_no_parameter_is_needed_to_be_rid_of_it_but_one() -> None:
    served(RNNRegressor(hidden_size=4, delayed=False), remembered(200), always(5))
    served(RNNRegressor(hidden_size=4, delayed=True), remembered(200), always(5))


# ---- wide events


def test_events_of_very_many_features_are_found_out_too() -> None:
    chance = Chance(1)
    pairs = [({f"w{chance.randrange(500)}": chance.gauss() for _ in range(5)}, chance.gauss()) for _ in range(60)]
    model = RNNRegressor(hidden_size=4, features=[f"w{i}" for i in range(500)])
    with pytest.warns(DelayedLabelsWarning, match="from now on every prediction counts as seeing its event"):
        served(model, pairs, always(4))


def test_an_event_is_recognised_though_columns_that_it_lacks_have_come() -> None:
    row = [0.5, 0.0, math.nan, -2.0, -0.0, 1e300]
    mark = _mark(b"k", row)
    for n in (1, 10, WIDE, 2 * WIDE):
        for lacking in (0.0, math.nan):
            assert _mark(b"k", row + [lacking] * n) == mark
            assert _mark(b"k", row + [lacking] * n + [1.0]) != mark
    assert _mark(b"other", row) != mark
    assert _mark(b"", [1, True] * WIDE) == _mark(b"", [1.0] * 2 * WIDE)
    assert _distance(_mark(b"", [1.0, 0.0, 2.0]), _mark(b"", [1.0, 3.0] + [0.0] * WIDE + [5.0])) == 4.0 + 9.0 + 25.0


def test_of_wide_events_fewer_are_remembered_the_newest() -> None:
    columns = RNNRegressor(features=[f"w{i}" for i in range(3000)])._columns
    watch = Watch()
    for i in range(200):
        watch.ask(columns, {f"w{j}": float(i + j) for j in range(3000)})
    remembered = watch.events()
    assert 64 <= len(remembered) <= REMEMBERED_FEATURES / 3000
    assert [x["w0"] for x in remembered] == [float(i) for i in range(200 - len(remembered), 200)]


def test_a_thousand_sparse_questions_leave_little_behind() -> None:
    chance = Chance(1)
    columns = RNNRegressor(features=[f"w{i}" for i in range(3000)])._columns
    watch = Watch()
    tracemalloc.start()
    for _ in range(1000):
        watch.ask(columns, {f"w{chance.randrange(3000)}": 1.0 for _ in range(10)})
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(watch.events()) == 1000
    assert size < 4_000_000  # a row of numbers for each would be 24 MB


# ---- frames


def frames(pairs: Any, rows: int) -> list[tuple[pd.DataFrame, pd.Series]]:
    return [
        (pd.DataFrame([x for x, _ in pairs[i : i + rows]]), pd.Series([y for _, y in pairs[i : i + rows]]))
        for i in range(0, len(pairs), rows)
    ]


def test_frames_that_are_learned_late_are_warned_of() -> None:
    model = RNNRegressor(hidden_size=4)
    parts = frames(remembered(300), 20)
    with pytest.warns(DelayedLabelsWarning, match="cannot be told; they are taken for questions"):
        for what, i in moments(len(parts), always(2)):
            model.predict_many(parts[i][0]) if what == "seen" else model.learn_many(*parts[i])


def test_frames_that_are_predicted_and_learned_are_not() -> None:
    model = RNNRegressor(hidden_size=4)
    for X, y in frames(remembered(600), 5):
        model.predict_many(X)
        model.predict_many(X.iloc[:2] + 1.0)
        model.learn_many(X, y)


# ---- what cannot be learned


def test_a_question_that_could_not_be_learned_is_answered() -> None:
    model = RNNRegressor(hidden_size=4)
    served(model, remembered(20), always(1))
    answers = [model.predict_one({"x": 1.0, "city": "Ulm"}) for _ in range(3)]
    assert answers == [model.predict_one({"x": 1.0})] * 3


# ---- detectors


@pytest.mark.parametrize("delay", [2, 10])
def test_a_detector_learns_a_scored_event_at_once_where_lessons_are_late(delay: int) -> None:
    pairs = [({"a": value, "b": -value}, None) for value in (y for _, y in remembered(200))]
    late, alone = RNNAnomalyDetector(hidden_size=4, delayed=True), RNNAnomalyDetector(hidden_size=4)
    scores = []
    for what, i in moments(len(pairs), always(delay)):
        if what == "seen":
            scores.append(late.score_one(pairs[i][0]))
        else:
            late.learn_one(pairs[i][0])
    expected = []
    for x, _ in pairs:
        expected.append(alone.score_one(x))
        alone.learn_one(x)
    assert scores == expected
    assert late.counters()["records_predicted"] == len(pairs)


def test_a_detector_whose_lessons_are_late_is_found_out() -> None:
    detector = RNNAnomalyDetector(hidden_size=4)
    with pytest.warns(DelayedLabelsWarning, match="RNNAnomalyDetector: .* from now on every prediction counts"):
        for what, i in moments(200, always(5)):
            x = {"a": float(i)}
            detector.score_one(x) if what == "seen" else detector.learn_one(x)
    assert detector.counters()["records_predicted"] == 200
