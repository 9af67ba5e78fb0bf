"""The estimators the suites run over, tiny data for each kind, and one way to teach and ask any of them.

A ``Kind`` is an estimator class with small, fast parameters and its data; a ``Case`` is a kind with a cell and whatever
else differs. ``learn`` and ``infer`` hide that forecasters take the target first and detectors take none. The data
depend on the past, so that only a state that lives between calls explains them, and are the same in every run.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from river import base
from river.time_series.base import Forecaster

from streamrnn import RNNAnomalyDetector, RNNClassifier, RNNForecaster, RNNMultiTargetRegressor, RNNRegressor

Model = Any
Row = dict[Any, Any]
Pair = tuple[Row, Any]

CELLS = ("rnn", "lstm", "gru")
K1, K2, HORIZON = 2, 6, 3
SMALL: dict[str, Any] = {"hidden_size": 4, "k1": K1, "k2": K2, "lr": 0.01}
IDLE = {"glru": ("k2",), "elstm": ("k2",), "bank": ("k1", "k2", "lr")}
"""Parameters that have no effect with these cells, which refuse them."""
STREAM_KEY = "id"


# ---- data


def _inputs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs of three scales, and a standard score of this row and the one before."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    score = 0.8 * x[:, 0] - 0.6 * np.concatenate([[0.0], x[:-1, 1]])
    return x * [1.0, 20.0, 0.1] + [0.0, 50.0, -3.0], score


def _rows(x: np.ndarray) -> Iterator[Row]:
    return (dict(zip("abc", row, strict=True)) for row in x.tolist())


def regression(n: int, seed: int = 0) -> list[Pair]:
    """Numbers around 30."""
    x, score = _inputs(n, seed)
    return list(zip(_rows(x), (30.0 + 5.0 * score).tolist(), strict=True))


def multi_target(n: int, seed: int = 0) -> list[Pair]:
    """Two numbers of different scales."""
    return [(x, {"u": y, "v": 100.0 - 7.0 * y}) for x, y in regression(n, seed)]


def classification(n: int, seed: int = 0) -> list[Pair]:
    """Three classes, all of them among the first few rows."""
    x, score = _inputs(n, seed)
    labels = np.array(["high", "low", "mid"])[np.where(score > 0.4, 0, np.where(score < -0.4, 1, 2))].tolist()
    labels[: min(3, n)] = ["mid", "low", "high"][: min(3, n)]
    return list(zip(_rows(x), labels, strict=True))


def two_classes(n: int, seed: int = 0) -> list[Pair]:
    """False and True."""
    return [(x, label == "high") for x, label in classification(n, seed)]


def series(n: int, seed: int = 0) -> list[Pair]:
    """A noisy wave around 100 with covariates of which one matters."""
    x, score = _inputs(n, seed)
    y = 100.0 + 10.0 * np.sin(np.arange(n) / 3.0) + score
    return list(zip(_rows(x), y.tolist(), strict=True))


def unlabelled(n: int, seed: int = 0) -> list[Pair]:
    """Inputs alone."""
    return [(x, None) for x, _ in regression(n, seed)]


def with_streams(pairs: Iterable[Pair], names: Sequence[Any] = ("p", "q", "r")) -> list[Pair]:
    """The same events, dealt out to streams in no regular order."""
    return [({**x, STREAM_KEY: names[(i * i + i // 5) % len(names)]}, y) for i, (x, y) in enumerate(pairs)]


def with_emerging(pairs: Iterable[Pair], at: int, name: str = "Aa") -> list[Pair]:
    """The same events with one more feature, which sorts first, from event ``at`` on."""
    return [({**x, name: math.cos(i)} if i >= at else x, y) for i, (x, y) in enumerate(pairs)]


def frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    """The inputs as a frame; what a row lacks is NaN."""
    return pd.DataFrame([x for x, _ in pairs])


def targets(pairs: Sequence[Pair]) -> pd.Series | pd.DataFrame:
    """The targets as ``learn_many`` takes them."""
    known = [y for _, y in pairs]
    return pd.DataFrame(known) if isinstance(known[0], dict) else pd.Series(known)


# ---- estimators


@dataclass(frozen=True, slots=True)
class Kind:
    """An estimator with its data. ``targets``: it is told some; ``batches``: it has ``learn_many``."""

    estimator: type
    data: Callable[..., list[Pair]]
    targets: bool = True
    batches: bool = True
    parameters: dict[str, Any] = field(default_factory=dict)


REGRESSOR = Kind(RNNRegressor, regression)
MULTI_TARGET = Kind(RNNMultiTargetRegressor, multi_target)
CLASSIFIER = Kind(RNNClassifier, classification)
FORECASTER = Kind(RNNForecaster, series, batches=False, parameters={"horizon": HORIZON})
DETECTOR = Kind(RNNAnomalyDetector, unlabelled, targets=False, batches=False)
KINDS = (REGRESSOR, MULTI_TARGET, CLASSIFIER, FORECASTER, DETECTOR)
REGRESSING = (REGRESSOR, MULTI_TARGET, FORECASTER)


@dataclass(frozen=True, slots=True)
class Case:
    """A kind with what sets it apart; ``str`` of it is a test's id."""

    kind: Kind
    parameters: dict[str, Any]
    data: Callable[..., list[Pair]]

    def build(self, **parameters: Any) -> Model:
        """A fresh estimator, small and fast; ``parameters`` win."""
        given = {**self.kind.parameters, **self.parameters, **parameters}
        idle = IDLE.get(given.get("cell", ""), ())
        small = {name: value for name, value in SMALL.items() if name not in idle}
        return self.kind.estimator(**{**small, **given})

    @property
    def is_windowed(self) -> bool:
        """Whether its cell learns from a window of steps."""
        return self.parameters["cell"] not in IDLE

    @property
    def settles(self) -> int:
        """Events without a value after which a forecaster has learned all there is: a step is learned from a window
        once it is known, without one when its last target is."""
        return 1 if self.is_windowed else HORIZON + 1

    def __str__(self) -> str:
        return "-".join([self.kind.estimator.__name__, *(str(value) for value in self.parameters.values())])


def case(kind: Kind, data: Callable[..., list[Pair]] | None = None, **parameters: Any) -> Case:
    """A case with the kind's own data unless others are given."""
    return Case(kind, parameters, data or kind.data)


CASES = [case(kind, cell=cell) for kind in KINDS for cell in CELLS]
LINEAR = [case(kind, cell=cell, readout="linear") for kind in REGRESSING for cell in CELLS]
LOGISTIC = [case(CLASSIFIER, two_classes, cell="gru", readout="logistic")]
DEEP = [case(kind, cell="lstm", num_layers=2) for kind in KINDS]
EXACT = [
    *(case(kind, cell="glru") for kind in (REGRESSOR, CLASSIFIER, DETECTOR)),
    case(REGRESSOR, cell="glru", gates=False),
    *(case(kind, cell="elstm", hidden_layer=4) for kind in (MULTI_TARGET, CLASSIFIER, FORECASTER)),
    *(case(kind, cell="elstm", readout="linear") for kind in (REGRESSOR, FORECASTER)),
    *(case(kind, cell="bank", hidden_layer=8) for kind in (REGRESSOR, FORECASTER)),
    case(REGRESSOR, cell="gru", hidden_layer=4, readout="linear"),
]
ALL = CASES + LINEAR + LOGISTIC + EXACT
TOLD = [each for each in ALL if each.kind.targets]
BATCHED = [each for each in ALL if each.kind.batches]


# ---- teaching and asking


def learn(model: Model, x: Row, y: Any) -> None:
    """One event, whatever the estimator."""
    if isinstance(model, Forecaster):
        model.learn_one(y, x)
    elif isinstance(model, base.AnomalyDetector):
        model.learn_one(x)
    else:
        model.learn_one(x, y)


def infer(model: Model, x: Row) -> Any:
    """What the estimator says about ``x``: number, numbers by target, probabilities, forecasts or score."""
    if isinstance(model, Forecaster):
        return model.forecast(model.horizon, [x] * model.horizon)
    if isinstance(model, base.AnomalyDetector):
        return model.score_one(x)
    if isinstance(model, base.Classifier):
        return model.predict_proba_one(x)
    return model.predict_one(x)


def run(model: Model, pairs: Iterable[Pair]) -> list[Any]:
    """Infer, then learn, event by event; what was inferred."""
    predictions = []
    for x, y in pairs:
        predictions.append(infer(model, x))
        learn(model, x, y)
    return predictions


def teach(model: Model, pairs: Iterable[Pair]) -> Model:
    """Learn event by event; the same model."""
    for x, y in pairs:
        learn(model, x, y)
    return model


def numbers(prediction: Any) -> list[float]:
    """All numbers of whatever was inferred, in a fixed order."""
    if isinstance(prediction, dict):
        return [number for key in sorted(prediction, key=repr) for number in numbers(prediction[key])]
    if isinstance(prediction, list | tuple):
        return [number for part in prediction for number in numbers(part)]
    return [float(prediction)]


def assert_close(a: Any, b: Any, tolerance: float = 1e-6) -> None:
    """Two inferences agree, relative to their size."""
    np.testing.assert_allclose(numbers(a), numbers(b), rtol=tolerance, atol=tolerance)


# ---- comparing models


def through_pickle(model: Model) -> Model:
    """The model as another process would receive it."""
    return pickle.loads(pickle.dumps(model))  # noqa: S301 - written a moment ago


def weight_bits(model: Model) -> dict[str, str]:
    """A digest of every tensor's bits by name, so that a failure names the tensors and stays readable."""
    return {name: sha256(array.tobytes()).hexdigest()[:16] for name, array in model.get_weights().items()}


def everything(model: Model) -> dict[str, Any]:
    """All that a model is: its pickle, weights and counters. The model must have seen an event."""
    return {"pickle": sha256(pickle.dumps(model)).hexdigest(), **weight_bits(model), **model.counters()}


def assert_go_on_alike(a: Model, b: Model, pairs: Sequence[Pair]) -> None:
    """From here on both say the same and end with the same weights, to the bit."""
    assert run(a, pairs) == run(b, pairs)
    assert weight_bits(a) == weight_bits(b)
    assert a.counters() == b.counters()
