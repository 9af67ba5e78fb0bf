"""Where labels are late, the state moves when an event is seen; its label is a lesson about what was known then."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from river import base, ensemble, evaluate, metrics, preprocessing

from streamrnn import (
    DelayedLabelsWarning,
    RNNClassifier,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from tests.support.contract import everything
from tests.support.delays import (
    SMALL,
    Pair,
    always,
    by_the_daemons_learner,
    evaluated,
    irregular,
    mean_error,
    moments,
    named,
    quiet,
    remembered,
    wave,
)

START = dt.datetime(2024, 1, 1)


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
