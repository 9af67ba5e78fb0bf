"""Estimators agree with PyTorch's runs, and work inside River's pipelines and evaluation.

The golden runs are those the learner is held to: here they go through ``learn_one`` and ``predict_one``, with nothing
scaled, nothing added to the inputs and PyTorch's initial weights.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import base, datasets, evaluate, metrics, preprocessing

from streamrnn import RNNClassifier, RNNForecaster, RNNMultiTargetRegressor, RNNRegressor
from tests.support.contract import STREAM_KEY, Model
from tests.support.golden import RUN_CASES, load, tensors

TOLERANCE = 1e-9
FAMILIES = ("tbptt_", "log_", "loss_lstm_absolute", "optimizer_lstm_sgd")
"""The golden runs of plain regressions; estimators have no parameters for the others' losses and optimisers."""


def golden_model(name: str, case: dict[str, Any], names: list[str]) -> Model:
    """The estimator of a golden run, with its initial weights."""
    weights = tensors(case, "w")
    parameters: dict[str, Any] = {
        "cell": name.split("_")[1],
        "hidden_size": weights["head.weight"].shape[1],
        "num_layers": sum(key.startswith("rnn.weight_hh") for key in weights),
        "k1": int(case["k1"]),
        "k2": int(case["k2"]),
        "loss": str(case.get("loss", "squared")),
        "readout": "linear",
        "optimizer": str(case["optimizer"]),
        "lr": float(case["lr"]),
        "betas": (0.9, 0.999),  # PyTorch's where nobody gives any
        "clip_norm": float(case["clip_norm"]),
        "polyak_bound": None,
        "batch_size": int(case.get("batch_size", 1)),
        "scale": False,
        "features": [f"x{i}" for i in range(case["x"].shape[1])],
        "stream_key": STREAM_KEY if "stream" in case else None,
        "dtype": "float64",
    }
    model = RNNRegressor(**parameters) if len(names) == 1 else RNNMultiTargetRegressor(**parameters, targets=names)
    model.set_weights(weights)
    return model


@pytest.mark.parametrize("name", [name for name in RUN_CASES if name.startswith(FAMILIES)])
def test_learn_one_and_predict_one_reproduce_pytorch_run(name: str) -> None:
    case = load(name)
    n = len(case["x"])
    y = case["y"].reshape(n, -1)
    names = [f"y{i}" for i in range(y.shape[1])]
    model = golden_model(name, case, names)
    predicted = np.empty_like(y)
    for i in range(n):
        x = {f"x{j}": value for j, value in enumerate(case["x"][i].tolist())}
        if "stream" in case:
            x[STREAM_KEY] = int(case["stream"][i])
        if len(names) == 1:
            predicted[i] = model.predict_one(x)
            model.learn_one(x, float(y[i, 0]))
        else:
            predicted[i] = [model.predict_one(x)[target] for target in names]
            model.learn_one(x, dict(zip(names, y[i].tolist(), strict=True)))
        if "end" in case and case["end"][i]:
            model.end_sequence(x.get(STREAM_KEY))

    np.testing.assert_allclose(predicted, case["pred"].reshape(n, -1), rtol=TOLERANCE, atol=TOLERANCE)
    weights = model.get_weights()
    for key, expected in tensors(case, "v").items():
        np.testing.assert_allclose(weights[key], expected, rtol=TOLERANCE, atol=TOLERANCE)


# ---- River


def test_a_pipeline_is_evaluated_progressively() -> None:
    model = preprocessing.StandardScaler() | RNNRegressor()
    assert isinstance(model, base.Regressor)
    score = evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE())
    assert score.get() < 0.5
    assert model["RNNRegressor"].counters()["records_predicted"] == 1001


def test_a_classifier_in_a_pipeline_is_evaluated_progressively() -> None:
    model = preprocessing.StandardScaler() | RNNClassifier()
    score = evaluate.progressive_val_score(datasets.Phishing(), model, metrics.Accuracy())
    assert score.get() > 0.8


def test_a_late_answer_is_learned_when_river_brings_it() -> None:
    score = evaluate.progressive_val_score(datasets.TrumpApproval(), RNNRegressor(), metrics.MAE(), delay=3)
    assert math.isfinite(score.get())
    assert score.get() < 2.0


def test_a_pipeline_takes_batches_and_single_events_alike() -> None:
    pairs = list(datasets.TrumpApproval())
    X, y = pd.DataFrame([x for x, _ in pairs]), pd.Series([y for _, y in pairs])
    model = preprocessing.StandardScaler() | RNNRegressor()
    assert isinstance(model, base.MiniBatchRegressor)
    score = metrics.MAE()
    for start in range(0, 800, 50):
        batch = slice(start, start + 50)
        for truth, predicted in zip(y[batch], model.predict_many(X[batch]), strict=True):
            score.update(truth, predicted)
        model.learn_many(X[batch], y[batch])
    assert math.isfinite(score.get())
    assert evaluate.progressive_val_score(pairs[800:], model, metrics.MAE()).get() < 0.5


def test_a_classifier_in_a_pipeline_takes_batches() -> None:
    pairs = list(datasets.Phishing())
    X, y = pd.DataFrame([x for x, _ in pairs]), pd.Series([y for _, y in pairs])
    model = preprocessing.StandardScaler() | RNNClassifier()
    assert isinstance(model, base.MiniBatchClassifier)
    right = 0
    for start in range(0, 1250, 50):
        batch = slice(start, start + 50)
        if start >= 500:
            right += int((model.predict_many(X[batch]) == y[batch]).sum())
            assert np.allclose(model.predict_proba_many(X[batch]).sum(axis=1), 1.0)
        model.learn_many(X[batch], y[batch])
    assert right / 750 > 0.75


def test_a_forecaster_is_evaluated_by_river() -> None:
    model = RNNForecaster(horizon=3)
    # River hands over covariates that are no numbers (dates), and those to come in a deque.
    score = evaluate.evaluate(datasets.AirlinePassengers(), model, metrics.MAE(), horizon=3)
    # One metric per step ahead; the running mean of the series is off by about 130.
    assert all(math.isfinite(metric.get()) and metric.get() < 100 for metric in score.metrics)
