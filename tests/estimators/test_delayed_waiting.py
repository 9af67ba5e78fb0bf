"""What waits for its label: how much memory it takes, when it is given up, and what becomes of it in copies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamrnn import (
    ConfigError,
    DelayedLabelsWarning,
    RNNClassifier,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from tests.support.contract import everything, through_pickle
from tests.support.delays import (
    SMALL,
    always,
    evaluated,
    moments,
    named,
    quiet,
    remembered,
    served,
)


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
