"""The estimators of whole sequences that suites run over, tiny data for each kind, and how to compare what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamrnn import RNNSequenceClassifier, RNNSequenceRegressor, RNNTagger, RNNTranscriber, RNNTranslator

Model = Any
Pair = tuple[dict[str, Any], Any]
SMALL: dict[str, Any] = {"hidden_size": 4, "lr": 0.01, "max_steps": 40}


def _frames(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Raw inputs of two scales; their number differs."""
    frames = rng.normal(size=(int(rng.integers(3, 9)), 2))
    scaled: np.ndarray[Any, Any] = frames * [1.0, 20.0] + [0.0, 50.0]
    return scaled


def _sequences(n: int, seed: int, answer: Callable[[np.ndarray[Any, Any]], Any]) -> list[Pair]:
    rng = np.random.default_rng(seed)
    frames = [_frames(rng) for _ in range(n)]
    return [({"frames": each}, answer(each)) for each in frames]


def labelled(n: int, seed: int = 0) -> list[Pair]:
    """Three classes, by the mean of a column."""
    return _sequences(n, seed, lambda x: "low" if x[:, 0].mean() < -0.3 else "high" if x[:, 0].mean() > 0.3 else "mid")


def two_classes(n: int, seed: int = 0) -> list[Pair]:
    """False and True."""
    return _sequences(n, seed, lambda x: bool(x[:, 0].mean() > 0.0))


def measured(n: int, seed: int = 0) -> list[Pair]:
    """Numbers around 30."""
    return _sequences(n, seed, lambda x: 30.0 + 5.0 * float(x[:, 0].mean()))


def tagged(n: int, seed: int = 0) -> list[Pair]:
    """A label for each frame but the first."""
    return _sequences(n, seed, lambda x: [None, *("up" if up else "down" for up in (x[1:, 0] > x[:-1, 0]).tolist())])


def tagged_with_numbers(n: int, seed: int = 0) -> list[Pair]:
    """A number for each frame."""
    return _sequences(n, seed, lambda x: (10.0 + x[:, 0]).tolist())


def transcribed(n: int, seed: int = 0) -> list[Pair]:
    """A text of a few characters."""
    return _sequences(n, seed, lambda x: "".join("ab"[int(value > 0.0)] for value in x[::3, 0]))


def listed(n: int, seed: int = 0) -> list[Pair]:
    """A list of a few symbols."""
    return [(x, [f"<{symbol}>" for symbol in y]) for x, y in transcribed(n, seed)]


def spelled(n: int, seed: int = 0) -> list[Pair]:
    """Words, and each backwards."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abc"), size=int(rng.integers(2, 5)))) for _ in range(n)]
    return [({"frames": word}, word[::-1]) for word in words]


def forecast(n: int, seed: int = 0) -> list[Pair]:
    """Two numbers that go on from a sequence's last."""
    return _sequences(n, seed, lambda x: [float(x[-1, 1]), float(x[0, 1])])


@dataclass(frozen=True, slots=True)
class Kind:
    """An estimator with its data; ``str`` of it is a test's id."""

    estimator: type
    data: Callable[..., list[Pair]]
    parameters: dict[str, Any] = field(default_factory=dict)

    def build(self, **parameters: Any) -> Model:
        """A fresh estimator, small and fast; ``parameters`` win."""
        return self.estimator(**{**SMALL, **self.parameters, **parameters})

    def __str__(self) -> str:
        return "-".join([self.estimator.__name__, *(str(value) for value in self.parameters.values())])


CLASSIFIER = Kind(RNNSequenceClassifier, labelled)
LOGISTIC = Kind(RNNSequenceClassifier, two_classes, {"readout": "logistic"})
REGRESSOR = Kind(RNNSequenceRegressor, measured)
TAGGER = Kind(RNNTagger, tagged)
NUMBER_TAGGER = Kind(RNNTagger, tagged_with_numbers, {"readout": "linear"})
TRANSCRIBER = Kind(RNNTranscriber, transcribed, {"unit": "character"})
CLOSED = Kind(RNNTranscriber, listed, {"symbols": ["<b>", "<a>"]})
TRANSLATOR = Kind(RNNTranslator, spelled, {"unit": "character"})
FORECASTER = Kind(RNNTranslator, forecast, {"horizon": 2})
FORWARD = tuple(
    Kind(kind.estimator, kind.data, {**kind.parameters, "direction": "forward"})
    for kind in (CLASSIFIER, REGRESSOR, TAGGER, TRANSCRIBER)
)
KINDS = (CLASSIFIER, LOGISTIC, REGRESSOR, TAGGER, NUMBER_TAGGER, TRANSCRIBER, CLOSED, TRANSLATOR, FORECASTER, *FORWARD)


def teach(model: Model, pairs: list[Pair]) -> Model:
    """Learn sequence by sequence; the same model."""
    for x, y in pairs:
        model.learn_one(x, y)
    return model


def run(model: Model, pairs: list[Pair]) -> list[Any]:
    """Predict, then learn, sequence by sequence; what was predicted."""
    said = []
    for x, y in pairs:
        said.append(model.predict_one(x))
        model.learn_one(x, y)
    return said
