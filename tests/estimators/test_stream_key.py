"""A key that a transformer has changed is warned of, once; what can be meant is not."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import compose, preprocessing

from streamrnn import RecordError, RNNRegressor, StreamKeyWarning

SMALL: dict[str, Any] = {"hidden_size": 2, "k2": 2, "lags": 1, "max_streams": 300}
Event = dict[str, Any]


def events(ids: Iterable[Any]) -> list[Event]:
    return [{"id": each, "a": float(t % 7)} for t, each in enumerate(ids)]


def warned(model: Any, data: list[Event]) -> list[str]:
    """What was warned of while the events were predicted and learned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for t, x in enumerate(data):
            model.predict_one(x)
            model.learn_one(x, float(t))
    return [str(each.message) for each in caught if each.category is StreamKeyWarning]


@pytest.mark.parametrize("scaler", [preprocessing.StandardScaler, preprocessing.AdaptiveStandardScaler])
def test_a_standardised_key_is_warned_of_once_with_the_remedy(scaler: Any) -> None:
    r = random.Random(1)
    data = events(r.randrange(1, 51) for _ in range(600))
    (text,) = warned(scaler() | RNNRegressor(**SMALL, stream_key="id"), data)
    assert "stream_key='id'" in text
    assert "(Discard('id') | StandardScaler()) + Select('id') | RNNRegressor(stream_key='id')" in text


def test_the_remedy_is_one() -> None:
    model = (compose.Discard("id") | preprocessing.StandardScaler()) + compose.Select("id") | RNNRegressor(
        **SMALL, stream_key="id"
    )
    assert warned(model, events(t % 50 for t in range(600))) == []
    assert len(model[-1]._learner.streams) == 50


def uuids(n: int) -> list[str]:
    r = random.Random(2)
    return [f"{r.getrandbits(128):032x}" for _ in range(n)]


def places(n: int) -> list[float]:
    return [50 + round(t / n, 4) for t in range(n)]


@pytest.mark.parametrize(
    "ids",
    [
        range(600),  # every event a new user
        uuids(600),
        [float(t) for t in range(600)],
        places(600),  # numbers as somebody writes them
        [x for t in range(60) for x in [random.Random(t).random()] * 10],  # computed, but they come back
    ],
    ids=["users", "uuids", "floats", "places", "computed"],
)
def test_streams_that_can_be_meant_are_not_warned_of(ids: Any) -> None:
    assert warned(RNNRegressor(**SMALL, stream_key="id"), events(ids)) == []


def test_a_frame_is_watched_as_well() -> None:
    frame = pd.DataFrame({"id": np.random.default_rng(0).normal(size=600), "a": 1.0})
    model, y = RNNRegressor(**SMALL, stream_key="id"), pd.Series(range(600))
    with pytest.warns(StreamKeyWarning, match="Discard"):
        for start in range(0, 600, 100):
            model.learn_many(frame.iloc[start : start + 100], y.iloc[start : start + 100])


@pytest.mark.parametrize("lacking", [False, True])
def test_rows_of_a_mini_batch_with_the_same_key_count_once(lacking: bool) -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.arange(1500) % 20, "a": r.random(1500)})
    scaler, model = preprocessing.StandardScaler(), RNNRegressor(**SMALL, stream_key="id")
    if lacking:
        model.learn_one({"id": 1, "a": 0.0, "b": 0.0}, 0.0)
    with pytest.warns(StreamKeyWarning, match="keys began a stream"):
        for start in range(0, 1500, 50):
            part = frame.iloc[start : start + 50]
            scaler.learn_many(part)
            model.learn_many(scaler.transform_many(part), part.a)


def test_mini_batches_whose_computed_keys_come_back_are_not_warned_of() -> None:
    r = np.random.default_rng(0)
    frame, model = pd.DataFrame({"id": np.tile(r.random(80), 12), "a": 1.0}), RNNRegressor(**SMALL, stream_key="id")
    with warnings.catch_warnings():
        warnings.simplefilter("error", StreamKeyWarning)
        for start in range(0, 960, 50):
            model.learn_many(frame.iloc[start : start + 50], frame.a.iloc[start : start + 50])


@pytest.mark.parametrize("many", [False, True])
def test_the_warning_names_the_line_of_whoever_called(many: bool) -> None:
    frame = pd.DataFrame({"id": np.random.default_rng(0).random(1500), "a": 1.0})
    model = preprocessing.StandardScaler() | RNNRegressor(**SMALL, stream_key="id")
    with pytest.warns(StreamKeyWarning) as caught:
        for start in range(0, 600, 100):
            part = frame.iloc[start : start + 100]
            if many:
                model.learn_many(part, part.a)
            else:
                for x in part.to_dict("records"):
                    model.learn_one(x, 1.0)
    assert [each.filename for each in caught] == [__file__]


def test_a_warning_made_an_error_leaves_the_event_unlearned() -> None:
    r, model = random.Random(1), RNNRegressor(**SMALL, stream_key="id")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(StreamKeyWarning):
            for t, x in enumerate(events(r.random() for _ in range(600))):
                before = model.counters(), model._columns.state()
                model.learn_one(x, float(t))
    assert (model.counters(), model._columns.state()) == before


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_a_key_that_is_missing_is_refused(nothing: Any) -> None:
    model = RNNRegressor(**SMALL, stream_key="id")
    for x in ({"a": 1.0}, {"a": 1.0, "id": nothing}):
        with pytest.raises(RecordError, match=r"'id'.*transformer"):
            model.learn_one(x, 1.0)
    assert model.counters() == {}
