"""Where labels are late, the state moves when an event is seen; its label is a lesson about what was known then."""

from __future__ import annotations

import copy
import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from river import base, compose, ensemble, evaluate, metrics, preprocessing

from streamrnn import (
    ConfigError,
    DelayedLabelsWarning,
    Learner,
    RecordError,
    RNNClassifier,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from streamrnn.estimators.awaited import Found
from streamrnn.estimators.order import HAD_ITS_LABEL
from tests.support.contract import everything, through_pickle
from tests.support.delays import (
    Delays,
    Pair,
    always,
    as_records,
    irregular,
    mean_error,
    moments,
    remembered,
    served,
    wave,
)

SMALL: dict[str, Any] = {"hidden_size": 6}
START = dt.datetime(2024, 1, 1)
quiet = pytest.mark.filterwarnings("ignore::streamrnn.DelayedLabelsWarning")


def named(pairs: list[Pair]) -> list[Pair]:
    """The same events, each with a name."""
    return [({**x, "event": f"no. {i}"}, y) for i, (x, y) in enumerate(pairs)]


def evaluated(model: Any, pairs: list[Pair], **when: Any) -> list[Any]:
    """What River's evaluation was told, in the order of the labels."""
    steps = evaluate.iter_progressive_val_score(pairs, model, metrics.MAE(), yield_predictions=True, **when)
    return [step["Prediction"] for step in steps]


def by_the_daemons_learner(pairs: list[Pair], delays: Delays) -> list[float]:
    """The same events and labels as records of a job with ``known: label``, read by a learner like the estimators'."""
    names = sorted(pairs[0][0])
    spec = RNNRegressor(**SMALL, features=names, delayed=True)._spec()
    learner = Learner(replace(spec, target=replace(spec.target, label_memory=500)), seed=0)
    return as_records(learner, [[x[name] for name in names] for x, _ in pairs], [y for _, y in pairs], delays)


# ---- River's evaluation


@pytest.mark.parametrize(("pairs", "delay", "limit"), [
    (remembered(1000), 2, 0.6),  # the running mean's error is 1.8, that of questions 2.2
    (remembered(1000), 10, 0.7),
    (wave(1000), 2, 0.2),  # the running mean's 6.4, that of questions 0.9 and 7.6
    (wave(1000), 10, 2.0),
], ids=["remembered-2", "remembered-10", "wave-2", "wave-10"])  # fmt: skip
def test_rivers_evaluation_with_a_delay_is_right_by_default(pairs: list[Pair], delay: int, limit: float) -> None:
    assert evaluate.progressive_val_score(pairs, RNNRegressor(), metrics.MAE(), delay=delay).get() < limit


@pytest.mark.parametrize("delay", [2, 10, 100])
@pytest.mark.parametrize("pairs", [remembered(300), wave(300)], ids=["remembered", "wave"])
@quiet
def test_rivers_evaluation_gets_what_the_daemons_learner_says(pairs: list[Pair], delay: int) -> None:
    assert evaluated(RNNRegressor(**SMALL), pairs, delay=delay) == by_the_daemons_learner(pairs, always(delay))


def test_a_label_that_comes_before_the_next_event_is_not_delayed() -> None:
    pairs = remembered(100)
    model, undelayed = RNNRegressor(**SMALL), RNNRegressor(**SMALL, delayed=False)
    assert evaluated(model, pairs, delay=1) == evaluated(undelayed, pairs)
    assert everything(model)["updates"] == everything(undelayed)["updates"]


def test_a_scaler_in_front_changes_events_and_their_labels_find_them() -> None:
    pairs = remembered(1000)
    model = preprocessing.StandardScaler() | RNNRegressor()
    assert evaluate.progressive_val_score(pairs, model, metrics.MAE(), delay=10).get() < 0.8
    counts = model["RNNRegressor"].counters()
    assert counts["label_records"] == len(pairs)
    assert counts["unmatched_labels"] == counts["given_up"] == counts["waiting"] == 0


@quiet
def test_delays_may_be_times_of_any_length() -> None:
    pairs = [({**x, "when": START + dt.timedelta(hours=i)}, y) for i, (x, y) in enumerate(remembered(400))]
    delays = irregular(40)

    def delay(x: dict[str, Any], _: float) -> dt.timedelta:
        return dt.timedelta(hours=delays((x["when"] - START) // dt.timedelta(hours=1)))

    model = RNNRegressor(**SMALL)
    evaluated(model, pairs, moment="when", delay=delay)
    expected = RNNRegressor(**SMALL, event_key="event")
    order = moments(len(pairs), delays)
    for what, i in order:
        x = {**pairs[i][0], "event": i}
        expected.predict_one(x) if what == "seen" else expected.learn_one(x, pairs[i][1])
    assert model.get_weights()["rls.weight"].tolist() == expected.get_weights()["rls.weight"].tolist()


def test_questions_of_others_change_nothing_while_river_evaluates() -> None:
    pairs = remembered(200)
    asked, alone = RNNRegressor(**SMALL), RNNRegressor(**SMALL)
    with_others = []

    class Others:
        def __iter__(self) -> Any:
            return iter(pairs)

    steps = evaluate.iter_progressive_val_score(Others(), asked, metrics.MAE(), delay=5, yield_predictions=True)
    for step in steps:
        with_others.append(step["Prediction"])
        asked.predict_one({"x": 3.0})
    assert with_others == evaluated(alone, pairs, delay=5)


def test_an_evaluation_without_delay_leaves_predictions_questions() -> None:
    """Also for a model that asks twice before each lesson, as ensembles do."""
    pairs = remembered(100)
    asked, alone = RNNRegressor(**SMALL), RNNRegressor(**SMALL, delayed=False)

    class Twice(base.Regressor):
        def learn_one(self, x: dict[str, Any], y: float) -> None:
            asked.learn_one(x, y)

        def predict_one(self, x: dict[str, Any]) -> float:
            asked.predict_one(x)
            return asked.predict_one(x)

    assert evaluated(Twice(), pairs) == evaluated(alone, pairs)
    assert "waiting" not in asked.counters()


def test_what_an_ensemble_asks_its_members_while_it_learns_is_a_question() -> None:
    pairs = remembered(100)
    member, alone = RNNRegressor(**SMALL), RNNRegressor(**SMALL)

    class Ensemble(base.Regressor):
        def learn_one(self, x: dict[str, Any], y: float) -> None:
            member.predict_one(x)  # to weigh it by its error
            member.learn_one(x, y)

        def predict_one(self, x: dict[str, Any]) -> float:
            return member.predict_one(x)

    assert evaluated(Ensemble(), pairs, delay=5) == evaluated(alone, pairs, delay=5)
    assert everything(member) == everything(alone)


@pytest.mark.parametrize("delayed", [None, True])
def test_rivers_ensembles_that_predict_while_they_learn_see_each_event_once(delayed: bool | None) -> None:
    pairs = remembered(400)
    members = [RNNRegressor(**SMALL, seed=seed, delayed=delayed) for seed in (0, 1)]
    alone = [RNNRegressor(**SMALL, seed=seed, delayed=True) for seed in (0, 1)]
    weighted = ensemble.EWARegressor(members)
    evaluated(weighted, pairs, delay=5)
    for member, other in zip(weighted, alone, strict=True):
        evaluated(other, pairs, delay=5)
        counts = member.counters()
        assert (counts["records_predicted"], counts["given_up"], counts["waiting"]) == (400, 0, 0)
        assert member.get_weights()["rls.weight"].tolist() == other.get_weights()["rls.weight"].tolist()


def test_after_the_evaluation_a_prediction_changes_nothing() -> None:
    model = RNNRegressor(**SMALL)
    evaluated(model, remembered(100), delay=5)
    before = everything(model)
    assert model.predict_one({"x": 1.0}) == model.predict_one({"x": 1.0})
    assert everything(model) == before


def test_a_question_before_the_evaluation_is_none_of_its_events() -> None:
    pairs = wave(200)
    model, alone = RNNRegressor(**SMALL), RNNRegressor(**SMALL)
    model.predict_one({})
    assert evaluated(model, pairs, delay=3) == evaluated(alone, pairs, delay=3)


@pytest.mark.parametrize("delay", [2, 10])
def test_classes_that_appear_with_late_labels_are_learned(delay: int) -> None:
    pairs = [(x, "high" if y > 0 else "low") for x, y in remembered(1000)]
    model = RNNClassifier()
    assert evaluate.progressive_val_score(pairs, model, metrics.Accuracy(), delay=delay).get() > 0.85
    assert sorted(map(str, model.classes)) == ["high", "low"]


@pytest.mark.parametrize("delay", [2, 10])
def test_several_targets_are_learned_though_their_names_come_late(delay: int) -> None:
    pairs = [(x, {"u": y, "v": 3.0 - y}) for x, y in remembered(1000)]
    model, told = RNNMultiTargetRegressor(), RNNMultiTargetRegressor(targets=["u", "v"])
    for one in (model, told):
        metric = metrics.multioutput.MicroAverage(metrics.MAE())
        assert evaluate.progressive_val_score(pairs, one, metric, delay=delay).get() < 0.9  # 2.2 as questions
    assert model.counters() == told.counters()
    assert model.predict_one({"x": 0.5}) == told.predict_one({"x": 0.5})


def test_each_stream_waits_for_its_own_labels() -> None:
    single = remembered(600)
    pairs = [({**x, "id": name}, y) for x, y in single for name in ("a", "b")]  # both see the same
    model = RNNRegressor(**SMALL, stream_key="id", lags=0)
    predictions = evaluated(model, pairs, delay=8)
    assert mean_error(predictions, pairs) < 1.0  # of 1.8 by the running mean
    assert model.counters()["waiting"] == 0


# ---- named events


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


# ---- sequences


@pytest.mark.parametrize(("make", "readout"), [
    (RNNRegressor, {"readout": "linear"}),
    (RNNRegressor, {"readout": "rls"}),
    (RNNClassifier, {}),
])  # fmt: skip
def test_labels_after_the_end_of_their_sequence_teach_the_network_nothing_and_are_warned_of(
    make: Any, readout: dict[str, str]
) -> None:
    model = make(**SMALL, **readout, event_key="event")
    pairs = named([(x, int(y > 0)) for x, y in remembered(100)])
    with pytest.warns(DelayedLabelsWarning, match="the network does not learn from such labels") as caught:
        for what, i in moments(len(pairs), always(3)):
            if what == "seen":
                model.predict_one(pairs[i][0])
                model.end_sequence()
            else:
                model.learn_one(*pairs[i])
    assert len(caught) == 1
    assert ("the readout by least squares does" in str(caught[0].message)) == (readout == {"readout": "rls"})
    assert model.counters()["updates"] == 0


def test_a_stream_for_each_sequence_that_ends_with_its_last_label_is_learned() -> None:
    model = RNNRegressor(**SMALL, readout="linear", event_key="event", stream_key="visit")
    pairs = [({**x, "visit": x["event"]}, x["x"]) for x, _ in named(remembered(1000))]
    predictions = []
    for what, i in moments(len(pairs), always(3)):
        x, y = pairs[i]
        if what == "seen":
            predictions.append(model.predict_one(x))
        else:
            model.learn_one(x, y)
            model.end_sequence(x["visit"])
    counts = model.counters()
    assert (counts["updates"], counts["late_labels"]) == (len(pairs), 0)
    assert mean_error(predictions[500:], pairs[500:]) < 0.3  # 0.8 by the mean


def test_a_sequence_that_ends_when_its_labels_have_come_is_not_warned_of() -> None:
    model = RNNRegressor(**SMALL, event_key="event")
    for x, y in named(remembered(100)):
        model.predict_one(x)
        model.learn_one(x, y)
        model.end_sequence()
    assert model.counters()["late_labels"] == 0


# ---- observed and predicted events


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


# ---- what waits


@pytest.mark.parametrize("delay", [70, 200])
@quiet
def test_memory_grows_with_the_delay_and_every_label_finds_its_event(delay: int) -> None:
    pairs = remembered(3 * delay)
    model = RNNRegressor(**SMALL, event_key="event")
    served(model, named(pairs), always(delay))
    counts = model.counters()
    assert counts["label_records"] == len(pairs)
    assert counts["unmatched_labels"] == counts["given_up"] == 0
    assert model._spec().target.label_memory == (128 if delay == 70 else 256)


def test_labels_that_never_come_leave_memory_as_it_is() -> None:
    pairs = named(remembered(2000))
    model = RNNRegressor(**SMALL, event_key="event")
    with pytest.warns(DelayedLabelsWarning, match="waited for its label while its stream's next 256 events came"):
        for i, (x, y) in enumerate(pairs):
            model.predict_one(x)
            if i % 10:
                model.learn_one(x, y)
    counts = model.counters()
    assert model._spec().target.label_memory == 256
    assert counts["given_up"] + counts["waiting"] == 200
    assert counts["waiting"] <= 26
    before = everything(model)
    model.learn_one(*pairs[0])  # too late
    assert (model.counters()["forgotten_labels"], model.counters()["repeated_labels"]) == (1, 0)
    assert model.get_weights()["rls.weight"].tobytes() == RNNRegressor.get_weights(model)["rls.weight"].tobytes()
    assert everything(model)["records_predicted"] == before["records_predicted"]


def test_a_label_that_is_too_late_for_the_network_says_which_k2_would_do() -> None:
    model = RNNRegressor(**SMALL, readout="linear", event_key="event")
    with pytest.warns(
        DelayedLabelsWarning, match="came 29 events .* less than k2 - k1 = 15 events late; .* set k2=31 or more"
    ):
        served(model, named(remembered(100)), always(30))
    enough = RNNRegressor(**SMALL, readout="linear", event_key="event", k2=31)
    served(enough, named(remembered(100)), always(30))
    assert enough.counters()["late_labels"] == 0


def test_a_stream_that_was_dropped_for_others_waits_for_nothing() -> None:
    model = RNNRegressor(**SMALL, stream_key="id", max_streams=2, event_key="event")
    for i in range(2):
        model.predict_one({"id": i, "x": 1.0, "event": 0})
    with pytest.warns(DelayedLabelsWarning, match="a stream was dropped .* max_streams is 2; set it to more"):
        model.predict_one({"id": 2, "x": 1.0, "event": 0})
    assert model.counters()["waiting"] == 2
    model.learn_one({"id": 0, "x": 1.0, "event": 0}, 1.0)
    counts = model.counters()
    assert (counts["unmatched_labels"], counts["repeated_labels"], counts["forgotten_labels"]) == (0, 0, 1)


def test_a_stream_that_comes_back_after_it_was_dropped_starts_over() -> None:
    model = RNNRegressor(**SMALL, stream_key="id", max_streams=2, event_key="event")
    first = {"id": "a", "x": 1.0, "event": 0}
    model.predict_one(first)
    for name in "bc":  # for them "a" is dropped; they wait for nothing
        model.learn_one({"id": name, "x": 1.0, "event": 0}, 1.0)
    with pytest.warns(DelayedLabelsWarning, match="a stream was dropped for others while its events waited"):
        model.predict_one({**first, "event": 1})
    assert model.counters()["waiting"] == 1
    model.learn_one(first, 1.0)
    counts = model.counters()
    assert (counts["given_up"], counts["forgotten_labels"], counts["unmatched_labels"]) == (1, 1, 0)


def test_before_targets_are_known_the_event_given_up_is_not_another_streams() -> None:
    model = RNNMultiTargetRegressor(**SMALL, stream_key="s", event_key="event", max_streams=2)
    first = {"s": "a", "event": 0, "x": 1.0}
    model.predict_one(first)
    with pytest.warns(DelayedLabelsWarning, match="is given up"):
        for i in range(4100):
            model.predict_one({"s": "b", "event": i, "x": float(i % 3)})
    model.learn_one(first, {"u": 1.0})
    counts = model.counters()
    assert (counts["label_records"], counts["unmatched_labels"], counts["waiting"]) == (1, 0, 4096)


def test_a_feature_may_come_first_with_an_event_whose_label_is_late() -> None:
    pairs = [({**x, **({"z": 1.0 + i % 3} if i > 50 else {})}, y) for i, (x, y) in enumerate(remembered(100))]
    model = RNNRegressor(**SMALL, delayed=True)
    served(model, pairs, always(10))
    counts = model.counters()
    assert (counts["label_records"], counts["unmatched_labels"], counts["waiting"]) == (100, 0, 0)


COPIES: dict[str, Callable[[Any, Path], Any]] = {
    "pickle": lambda model, _: through_pickle(model),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "save": lambda model, path: (model.save(path / "model"), type(model).load(path / "model"))[1],
}
KINDS: dict[str, Callable[[], Any]] = {
    "named": lambda: RNNRegressor(**SMALL, event_key="event"),
    "predicted": lambda: RNNRegressor(**SMALL, delayed=True, features=["x"]),
    "streams": lambda: RNNRegressor(**SMALL, event_key="event", stream_key="s"),
    "classes": lambda: RNNClassifier(**SMALL, event_key="event"),
    "targets": lambda: RNNMultiTargetRegressor(**SMALL, event_key="event"),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("after", [3, 90])
def test_events_that_wait_are_saved(kind: str, way: str, after: int, tmp_path: Path) -> None:
    pairs = [({**x, "s": i % 3}, y) for i, (x, y) in enumerate(named(remembered(120)))]
    if kind == "classes":
        pairs = [(x, y > 0) for x, y in pairs]
    if kind == "targets":
        pairs = [(x, {"u": y, "v": -y}) for x, y in pairs]
    model = KINDS[kind]()
    happened = moments(len(pairs), always(9))

    def go_on(model: Any, rest: list[tuple[str, int]]) -> list[Any]:
        return [
            model.predict_one(pairs[i][0]) if what == "seen" else model.learn_one(*pairs[i]) for what, i in rest
        ]  # fmt: skip

    go_on(model, happened[: 2 * after])
    other = COPIES[way](model, tmp_path)
    assert go_on(model, happened[2 * after :]) == go_on(other, happened[2 * after :])
    assert everything(model) == everything(other)


@pytest.mark.parametrize("kind", KINDS)
@quiet
def test_batches_are_their_rows_one_by_one(kind: str) -> None:
    pairs = [({**x, "s": i % 3}, y) for i, (x, y) in enumerate(named(remembered(90)))]
    if kind == "classes":
        pairs = [(x, y > 0) for x, y in pairs]
    if kind == "targets":
        pairs = [(x, {"u": y, "v": -y}) for x, y in pairs]
    batched, single = KINDS[kind](), KINDS[kind]()
    X = pd.DataFrame([x for x, _ in pairs])
    Y = pd.DataFrame([y for _, y in pairs]) if kind == "targets" else pd.Series([y for _, y in pairs])
    predict = "predict_proba_many" if kind == "classes" else "predict_many"
    for start in range(0, 90, 30):
        part = slice(start, start + 30)
        many = getattr(batched, predict)(X[part])
        one = [getattr(single, predict.replace("many", "one"))(x) for x, _ in pairs[part]]
        batched.learn_many(X[part], Y[part])
        for x, y in pairs[part]:
            single.learn_one(x, y)
        if start:
            rows = many.to_dict("records") if hasattr(many, "columns") else many.tolist()
            assert rows == one
    assert everything(batched) == everything(single)


def test_delayed_may_be_set_when_events_were_learned() -> None:
    pairs = remembered(100)
    model = RNNRegressor(**SMALL)
    served(model, pairs[:50], always(1))
    model.delayed = True
    served(model, pairs[50:], always(5))
    assert model.counters()["label_records"] == 50
    model.predict_one({"x": 1.0})
    model.delayed = False  # what waits for its label is given up
    assert "waiting" not in model.counters()
    before = everything(model)
    model.predict_one({"x": 1.0})
    assert everything(model) == before
    with pytest.raises(ConfigError, match="event_key: None cannot become 'event' once events were learned"):
        model.event_key = "event"


def test_a_clone_waits_for_nothing() -> None:
    model = RNNRegressor(**SMALL)
    evaluated(model, remembered(50), delay=5)
    assert model.clone().counters() == {}
    assert model.clone()._spec().target.known == "record"
    assert RNNRegressor(event_key="event").clone().event_key == "event"


def test_the_state_is_seen_to_move_with_the_event_and_not_with_its_label() -> None:
    model = RNNRegressor(**SMALL, event_key="event")
    served(model, named(remembered(50)), always(5))
    before = model.predict_one({"x": 0.0})
    model.predict_one({"x": 3.0, "event": "new"})
    after = model.predict_one({"x": 0.0})
    assert before != after
    state = np.array(model._learner._per_stream.state[0])  # type: ignore[union-attr]
    model.learn_one({"x": 3.0, "event": "new"}, 1.0)
    assert np.array_equal(model._learner._per_stream.state[0], state)  # type: ignore[union-attr]
