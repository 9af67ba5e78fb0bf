"""Events with names, and events that are observed: their labels find them in any order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import compose, preprocessing

from streamrnn import (
    ConfigError,
    DelayedLabelsWarning,
    RecordError,
    RNNRegressor,
)
from streamrnn.estimators.awaited import Found
from streamrnn.estimators.order import HAD_ITS_LABEL
from tests.support.contract import everything
from tests.support.delays import (
    SMALL,
    Pair,
    always,
    by_the_daemons_learner,
    irregular,
    mean_error,
    moments,
    named,
    quiet,
    remembered,
    served,
)


@quiet
def test_named_events_are_those_of_the_daemons_learner_whatever_the_order_of_labels() -> None:
    pairs, delays = remembered(300), irregular(60)
    model = RNNRegressor(**SMALL, features=["x"], event_key="event")
    assert served(model, named(pairs), delays) == by_the_daemons_learner(pairs, delays)


def test_a_named_event_that_is_asked_for_again_gets_the_same_answer_and_changes_nothing() -> None:
    pairs = named(remembered(60))
    model = RNNRegressor(**SMALL, event_key="event")
    served(model, pairs[:50], always(5))
    first = [model.predict_one(x) for x, _ in pairs[50:]]
    before = everything(model)
    assert [model.predict_one(x) for x, _ in pairs[50:]] == first
    assert everything(model) == before
    assert len(set(first)) == len(first)


def test_a_prediction_without_a_name_is_a_question() -> None:
    pairs = named(remembered(60))
    model = RNNRegressor(**SMALL, event_key="event")
    served(model, pairs, always(5))
    before = everything(model)
    for x in ({"x": 1.0}, {"x": 2.0, "event": None}, {"x": 2.0, "event": math.nan}):
        assert model.predict_one(x) == model.predict_one(x)
    assert everything(model) == before


def test_a_repeated_label_is_counted_and_not_learned() -> None:
    pairs = named(remembered(60))
    model, once = RNNRegressor(**SMALL, event_key="event"), RNNRegressor(**SMALL, event_key="event")
    for one in (model, once):
        served(one, pairs, always(5))
    model.learn_one(*pairs[30])
    assert model.counters()["repeated_labels"] == 1
    assert model.get_weights()["rls.weight"].tolist() == once.get_weights()["rls.weight"].tolist()


def test_a_lesson_needs_its_events_name() -> None:
    model = RNNRegressor(**SMALL, event_key="event")
    served(model, named(remembered(20)), always(5))
    before = everything(model)
    with pytest.raises(RecordError, match="event_key: the event has no feature 'event'"):
        model.learn_one({"x": 1.0}, 2.0)
    with pytest.raises(RecordError, match="event_key: a row has no value in column 'event'"):
        model.learn_many(pd.DataFrame({"x": [1.0, 2.0], "event": ["a", None]}), pd.Series([1.0, 2.0]))
    assert everything(model) == before


def test_the_name_of_an_event_is_not_an_input() -> None:
    model = RNNRegressor(**SMALL, event_key="n")
    model.learn_one({"x": 1.0, "n": 7}, 2.0)
    assert model._columns.names == ("x",)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"features": ["x", "n"], "event_key": "n"}, "features: 'n' is the event_key, which is not an input"),
    ({"stream_key": "n", "event_key": "n"}, "event_key: names events .* does not go with stream_key: 'n'"),
    ({"delayed": False, "event_key": "n"}, "event_key: names events .* does not go with delayed: False"),
])  # fmt: skip
def test_a_name_that_cannot_be_one_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^RNNRegressor: {message}"):
        RNNRegressor(**parameters)


def test_events_are_named_beside_a_scaler() -> None:
    scaled = (compose.Select("x") | preprocessing.StandardScaler()) + compose.Select("event")
    model = scaled | RNNRegressor(event_key="event")
    predictions = served(model, named(remembered(1000)), irregular(10))
    assert mean_error(predictions, remembered(1000)) < 0.9


@pytest.mark.parametrize("delay", [3, 10, 50])
@quiet
def test_behind_a_scaler_labels_in_order_are_those_of_named_events(delay: int) -> None:
    pairs = remembered(400)
    alone = preprocessing.StandardScaler() | RNNRegressor(**SMALL, features=["x"], delayed=True)
    scaled = compose.Select("event") + (compose.Discard("event") | preprocessing.StandardScaler())
    with_names = scaled | RNNRegressor(**SMALL, features=["x"], event_key="event")
    assert served(alone, pairs, always(delay)) == served(with_names, named(pairs), always(delay))


def test_a_label_whose_event_had_one_is_counted_and_not_learned() -> None:
    model = RNNRegressor(**SMALL, delayed=True)
    served(model, remembered(50), always(5))
    model.learn_one({"x": 9.0}, None)  # an event without a number
    before = model.get_weights()
    model._label(model._columns.encoded({"x": 9.0}), 5.0, Found(HAD_ITS_LABEL, 0))
    assert model.counters()["unmatched_labels"] == 1
    assert all(np.array_equal(value, model.get_weights()[name]) for name, value in before.items())


def numbered(pairs: list[Pair]) -> list[Pair]:
    """The same events, each with a number for a name."""
    return [({**x, "id": 1000 + i}, y) for i, (x, y) in enumerate(pairs)]


@pytest.mark.parametrize("delay", [1, 5, 12])
def test_names_that_a_scaler_changes_are_warned_of_once_with_a_remedy_that_works(delay: int) -> None:
    pairs = numbered(remembered(600))
    with pytest.warns(DelayedLabelsWarning) as caught:
        served(preprocessing.StandardScaler() | RNNRegressor(**SMALL, event_key="id"), pairs, always(delay))
    assert len(caught) == 1
    assert "event_key='id': labels name events that were never predicted" in str(caught[0].message)
    remedy = str(caught[0].message).partition("for example: ")[2].partition(", with")[0]
    names = {"Discard": compose.Discard, "Select": compose.Select, "StandardScaler": preprocessing.StandardScaler}
    model = eval(remedy, {**names, "RNNRegressor": RNNRegressor})
    served(model, pairs, always(delay))  # a warning would be an error
    assert model["RNNRegressor"].counters()["records_predicted"] == len(pairs)


@pytest.mark.parametrize("name", [lambda i: i, lambda i: 1.7e9 + i / 7], ids=["numbers", "times"])
def test_a_backlog_may_be_learned_while_other_events_are_predicted(name: Any) -> None:
    """Labels of events that nobody predicted are no sign of changed names, unless their names were computed."""
    model = RNNRegressor(**SMALL, event_key="id")
    for i, (x, y) in enumerate(remembered(200)):
        model.learn_one({**x, "id": name(i)}, y)
        if i % 5 == 0:
            model.predict_one({**x, "id": name(1000 + i)})
    assert model.counters()["label_records"] == 200


@quiet
def test_behind_a_scaler_labels_in_any_order_are_warned_of() -> None:
    model = preprocessing.StandardScaler() | RNNRegressor(**SMALL, delayed=True)
    with pytest.warns(DelayedLabelsWarning, match="events are not met again by their features"):
        served(model, remembered(100), irregular(10))


def test_observed_events_are_those_of_the_daemons_learner_and_predictions_stay_questions() -> None:
    pairs = remembered(200)
    model = RNNRegressor(**SMALL, features=["x"])
    predictions = []
    for what, i in moments(len(pairs), always(6)):
        x, y = pairs[i]
        if what == "label":
            model.learn_one(x, y)
            continue
        for question in ({"x": 5.0}, x, {"x": -5.0}):
            model.predict_one(question)
        predictions.append(model.predict_one(x))
        model.observe_one(x)
    assert predictions == by_the_daemons_learner(pairs, always(6))


def test_an_event_that_is_learned_without_having_been_seen_is_seen_and_learned_at_once() -> None:
    pairs = remembered(100)
    model, seen = (RNNRegressor(**SMALL, delayed=True) for _ in range(2))
    for x, y in pairs:
        model.learn_one(x, y)
        seen.predict_one(x)
        seen.learn_one(x, y)
    assert everything(model) == everything(seen)


def test_of_events_that_look_alike_the_oldest_gets_the_first_label() -> None:
    pairs = [({"day": float(i % 7)}, float(i % 5)) for i in range(200)]
    model = RNNRegressor(**SMALL, features=["day"], delayed=True)
    assert served(model, pairs, always(15)) == by_the_daemons_learner(pairs, always(15))


def test_an_event_of_which_no_label_will_come_is_only_seen() -> None:
    pairs = remembered(100)
    model = RNNRegressor(**SMALL, delayed=True)
    served(model, pairs, always(5))
    model.predict_one({"x": 1.0})
    model.learn_one({"x": 1.0}, None)  # it waits no longer
    model.learn_one({"x": 2.0}, math.nan)  # it never did
    counts = model.counters()
    assert (counts["records_predicted"], counts["label_records"], counts["waiting"]) == (102, 100, 0)


def test_who_said_that_labels_come_with_their_events_cannot_observe_one() -> None:
    with pytest.raises(ConfigError, match="delayed: False says that labels come with their events"):
        RNNRegressor(delayed=False).observe_one({"x": 1.0})
