"""A warning names the line of whoever called, whatever of streamrnn or River lies between."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from river import evaluate, metrics, preprocessing

from streamrnn import DelayedLabelsWarning, RNNRegressor, StreamKeyWarning


def test_delayed_labels_are_warned_of_at_the_caller_s_line() -> None:
    model: Any = preprocessing.StandardScaler() | RNNRegressor(hidden_size=2, k2=2, lags=1, event_key="id")
    model = model[-1]
    with pytest.warns(DelayedLabelsWarning) as caught:
        for t in range(20):
            model.predict_one({"id": t, "a": float(t)})
        for t in range(20):
            model.learn_one({"id": t, "a": float(t)}, 1.0)
    assert {each.filename for each in caught} == {__file__}


def test_through_a_pipeline_and_an_evaluation_as_well() -> None:
    model = preprocessing.StandardScaler() | RNNRegressor(hidden_size=2, k2=2, lags=1, stream_key="id")
    events = [({"id": t % 50, "a": 1.0}, 1.0) for t in range(600)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        evaluate.progressive_val_score(events, model, metrics.MAE())
    assert [each.filename for each in caught if each.category is StreamKeyWarning] == [__file__]
