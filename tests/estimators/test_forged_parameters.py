"""What an estimator's file says beside the arrays is checked as they are: it is refused, or the estimator works."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn import (
    CheckpointError,
    RNNAnomalyDetector,
    RNNClassifier,
    RNNForecaster,
    RNNLanguageModel,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from streamrnn.errors import RecordError
from streamrnn.storage.tensors import decode
from tests.support.forgeries import forge_json, signed


def regressor() -> RNNRegressor:
    model = RNNRegressor(hidden_size=3, k2=4, lags=2, stream_key="s", max_streams=5)
    for t in range(40):
        model.learn_one({"a": t % 5, "s": t % 4}, t % 3)
    return model


def delayed() -> RNNRegressor:
    model = RNNRegressor(hidden_size=3, k2=4, lags=2)
    for t in range(40):
        model.predict_one({"a": 0.1 * t, "b": t % 3})
        if t >= 3:
            model.learn_one({"a": 0.1 * (t - 3), "b": (t - 3) % 3}, t % 3)
    return model


def classifier() -> RNNClassifier:
    model = RNNClassifier(hidden_size=3, k2=4)
    for t in range(40):
        model.learn_one({"a": t % 5}, "xyz"[t % 3])
    return model


def forecaster() -> RNNForecaster:
    model = RNNForecaster(hidden_size=3, k2=8, lags=2, horizon=2)
    for t in range(40):
        model.learn_one(float(t % 5), {"a": t % 3})
    return model


def detector() -> RNNAnomalyDetector:
    model = RNNAnomalyDetector(hidden_size=3, k2=4)
    for t in range(40):
        model.learn_one({"a": t % 5, "b": t % 7})
    return model


def several() -> RNNMultiTargetRegressor:
    model = RNNMultiTargetRegressor(hidden_size=3, k2=4)
    for t in range(40):
        model.learn_one({"a": t % 5}, {"u": t % 3, "v": 1.0})
    return model


def of_words() -> RNNLanguageModel:
    model = RNNLanguageModel(hidden_size=3, k1=2, k2=4, unit="word", max_symbols=5, mark_end=True, max_streams=5)
    for _ in range(20):
        model.learn_many("open read close")
    return model


def of_declared() -> RNNLanguageModel:
    model = RNNLanguageModel(hidden_size=3, k1=2, k2=4, unit="character", symbols=("a", "b"), stream_key="s")
    for t in range(20):
        model.learn_many("abba", key=t % 3)
    return model


def use(model: Any) -> None:
    """Twenty events, seen and learned."""
    for t in range(20):
        if isinstance(model, RNNLanguageModel):
            key = None if model.stream_key is None else t
            model.learn_many("abba" if model.unit == "character" else "ab open", key=key)
            model.generate(5, key=key)
            continue
        x = {"a": t % 5, "b": t % 7, "s": t % 4}
        if isinstance(model, RNNForecaster):
            model.learn_one(float(t), x)
            model.forecast(1, [x])
        elif isinstance(model, RNNAnomalyDetector):
            model.score_one(x)
            model.learn_one(x)
        elif isinstance(model, RNNClassifier):
            model.predict_proba_one(x)
            model.learn_one(x, "xyz"[t % 3])
        elif isinstance(model, RNNMultiTargetRegressor):
            model.predict_one(x)
            model.learn_one(x, dict.fromkeys(model.predict_one(x), 1.0))
        else:
            model.predict_one(x)
            model.learn_one(x, 1.0)


@pytest.mark.filterwarnings("ignore::streamrnn.errors.StreamrnnWarning")
@pytest.mark.parametrize("make", [regressor, delayed, classifier, forecaster, detector, several, of_words, of_declared])
def test_a_forged_estimator_is_refused_or_works(make: Callable[[], Any], tmp_path: Path) -> None:
    model, path, refused = make(), tmp_path / "m.safetensors", 0
    model.save(path)
    data = path.read_bytes()
    arrays, header = decode(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = json.loads(header["__metadata__"]["streamrnn"])
    for seed in range(60):
        path.write_bytes(signed(arrays, text | {"owner": forge_json(text["owner"], np.random.default_rng(seed))}))
        try:
            loaded = type(model).load(path)
        except CheckpointError:
            refused += 1
            continue
        with contextlib.suppress(RecordError):  # of an event that lacks what the file names
            use(loaded)
    assert 10 < refused < 60
