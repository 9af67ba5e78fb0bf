"""Predictions kept until their target is known, then scored, the model's beside those of naive baselines.

When a target becomes known decides how long a prediction waits: none at all when the record brings its target itself,
up to the horizon for a forecast (which is dropped when the stream's sequence ends), until the label record otherwise.
The baselines learn a target only after they were scored on it, as the model does. Numbers that were predicted before
any value of the target was known are not scored: whoever knows nothing says 0, and one error as large as the level of
the target would make model and baselines look alike.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.job.codec.records import Decoded
from streamrnn.learner.block import FORGET, LABEL
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.offline.baselines import Baseline, LastValue, RunningMean, RunningMedian

MODEL: Final = "model"
MACRO_F1: Final = "macro-F1"
HIGHER_IS_BETTER: Final = frozenset({"accuracy", MACRO_F1})
"""Metrics; of all others the lowest is the best."""
_TINY: Final = 1e-15  # a probability of zero costs this much and not infinity


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the result: how one predictor did on one target. ``values`` maps a metric's name to its value.

    ``confusion`` is what no mean tells, of classes of sequences (``sequence_scoring``): true positives, false positives
    and false negatives of each.
    """

    target: str
    predictor: str
    scored: int
    values: dict[str, float]
    confusion: npt.NDArray[np.int64] | None = field(default=None, compare=False)


class Scorer:
    """Keeps predictions until their target is known, has them scored and the baselines learn.

    ``metrics`` are the names in ``Score.values``, the one to rank by first.
    """

    metrics: tuple[str, ...]

    def __init__(self, spec: LearnerSpec) -> None:
        self._spec = spec
        self._known = spec.target.known
        # Forecasts by stream: predictions of the newest steps, newest last. Labels: by stream and event.
        self._steps: dict[bytes, deque[Any]] = {}
        self._ended: set[bytes] = set()
        self._last_time_ms: dict[bytes, int] = {}
        self._waiting: dict[bytes, dict[int, Any]] = {}

    def score(self, decoded: Decoded, predictions: Predictions) -> None:
        """Score what these records bring the targets of; where events have waited, what came out of these."""
        block = decoded.block
        if predictions.told is not None:
            told = predictions.told
            for key, y, outputs in zip(told.keys, told.y.tolist(), predictions.value.tolist(), strict=True):
                self._with_record(key, y, outputs)
            return
        each = {"record": self._with_record, "forecast": self._with_future, "label": self._with_label}[self._known]
        for key, y, outputs, kind, *more in zip(
            block.keys,
            block.y.tolist(),
            predictions.value.tolist(),
            block.kind.tolist(),
            block.event.tolist(),
            block.end.tolist(),
            block.time_ms.tolist(),
            strict=True,
        ):
            if kind == FORGET:
                self._forget(key)
            else:
                each(key, y, outputs, kind, *more)

    def scores(self) -> list[Score]:
        """How every predictor did so far, the model first on each target."""
        raise NotImplementedError

    # ---- for the concrete classes

    def _predictions(self, key: bytes, value: list[float]) -> Any:
        """The model's prediction and those of all baselines at this moment."""
        raise NotImplementedError

    def _score(self, predictions: Any, y: list[float], horizon: int, /) -> None:
        """Compare what ``_predictions`` gave with the targets of its ``horizon``-th number of steps ahead."""
        raise NotImplementedError

    def _learn(self, key: bytes, y: list[float]) -> None:
        """Let the baselines learn."""
        raise NotImplementedError

    def _forget(self, key: bytes) -> None:
        """A tombstone: no target of the stream's predictions will be known. Baselines are not told."""
        for by_stream in (self._steps, self._last_time_ms, self._waiting):
            by_stream.pop(key, None)
        self._ended.discard(key)

    # ---- when a target becomes known

    def _with_record(self, key: bytes, y: list[float], value: list[float], *_: Any) -> None:
        self._score(self._predictions(key, value), y, 0)
        self._learn(key, y)

    def _with_future(self, key: bytes, y: list[float], value: list[float], *more: Any) -> None:
        _, _, end, time_ms = more
        gap = self._spec.streams.reset_after_s
        if key in self._ended or (gap is not None and time_ms - self._last_time_ms.get(key, time_ms) > 1000 * gap):
            self._steps.pop(key, None)
            self._ended.discard(key)
        self._last_time_ms[key] = time_ms
        # Ended for the record after this one, whose own value the forecasts so far still are about.
        if end and self._spec.has_end:
            self._ended.add(key)
        steps = self._steps.setdefault(key, deque(maxlen=self._spec.target.furthest))
        for horizon, j in enumerate(self._spec.target.steps_ahead):
            if j <= len(steps):
                self._score(steps[-j], y, horizon)
        self._learn(key, y)  # known before the forecast is made
        steps.append(self._predictions(key, value))

    def _with_label(self, key: bytes, y: list[float], value: list[float], kind: int, event: int, *_: Any) -> None:
        if kind == LABEL:
            # Taken out, as a label sent twice is scored once.
            if (predictions := self._waiting.get(key, {}).pop(event, None)) is not None:
                self._score(predictions, y, 0)
                self._learn(key, y)
        elif event:
            self._waiting.setdefault(key, {})[event] = self._predictions(key, value)


def merged(partitions: Sequence[Sequence[Score]]) -> list[Score]:
    """The scores of several partitions as those of all their predictions."""
    if len(partitions) == 1:
        return list(partitions[0])
    return [_merged(scores) for scores in zip(*partitions, strict=True)]


def _merged(scores: Sequence[Score]) -> Score:
    total = sum(score.scored for score in scores)
    known = [score for score in scores if score.scored]
    values = {}
    for metric in scores[0].values:
        # All metrics are means over predictions, but for one that is the root of such a mean.
        power = 2 if metric == "RMSE" else 1
        average = mean(sum(score.scored * score.values[metric] ** power for score in known), total)
        values[metric] = average ** (1 / power)
    tables = [score.confusion for score in scores if score.confusion is not None]
    if tables:
        values[MACRO_F1] = macro_f1(np.sum(tables, axis=0))
    return Score(scores[0].target, scores[0].predictor, total, values, np.sum(tables, axis=0) if tables else None)


@dataclass(slots=True)
class _Errors:
    """What one predictor's errors on one target add up to. ``inside``: targets between the outer quantiles."""

    absolute: float = 0.0
    squared: float = 0.0
    pinball: float = 0.0
    inside: int = 0


class Numbers(Scorer):
    """Regression: per target (and step ahead), mean absolute and root mean squared error; with quantiles more."""

    BASELINES: Final = ("running mean", "running median", "last value of the stream")

    def __init__(self, spec: LearnerSpec) -> None:
        super().__init__(spec)
        self._levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
        self._point = min(range(len(self._levels)), key=lambda i: abs(self._levels[i] - 0.5)) if self._levels else 0
        self._baselines: list[list[Baseline]] = [
            [RunningMean(), RunningMedian(), LastValue("key")] for _ in spec.target.fields
        ]
        self._told = [False] * spec.n_targets  # whether any value of it is known
        self.metrics = ("MAE", "RMSE")
        if self._levels:
            self.metrics += ("pinball", f"within {self._levels[0]:g}-{self._levels[-1]:g}")
        # For each column (targets within steps ahead, as in a prediction): how often scored, and each predictor's sums.
        n = len(spec.target.steps_ahead) * spec.n_targets
        self._count = [0] * n
        self._errors = [[_Errors() for _ in (MODEL, *self.BASELINES)] for _ in range(n)]

    def _predictions(self, key: bytes, value: list[float]) -> tuple[list[float], list[list[float]]]:
        record = {"key": key}
        return value, [
            [b.predict(record) for b in each] if told else []
            for each, told in zip(self._baselines, self._told, strict=True)
        ]

    def _learn(self, key: bytes, y: list[float]) -> None:
        record = {"key": key}
        for t, (each, known) in enumerate(zip(self._baselines, y, strict=True)):
            if known == known:  # all but NaN, unknown
                self._told[t] = True
                for baseline in each:
                    baseline.learn(record, known)

    def _score(self, predictions: tuple[list[float], list[list[float]]], y: list[float], horizon: int) -> None:
        value, baselines = predictions
        n_levels = max(1, len(self._levels))
        for t, known in enumerate(y):
            if known != known or not baselines[t]:
                continue
            column = horizon * len(y) + t
            outputs = value[column * n_levels : (column + 1) * n_levels]
            self._count[column] += 1
            model, *others = self._errors[column]
            self._add(model, outputs[self._point], outputs, known)
            for errors, point in zip(others, baselines[t], strict=True):
                self._add(errors, point, [point] * n_levels, known)

    def _add(self, errors: _Errors, point: float, outputs: Sequence[float], known: float) -> None:
        error = point - known
        errors.absolute += abs(error)
        errors.squared += error * error
        if self._levels:
            errors.pinball += sum(
                max(level * (known - q), (level - 1) * (known - q))
                for level, q in zip(self._levels, outputs, strict=True)
            ) / len(outputs)
            errors.inside += outputs[0] <= known <= outputs[-1]

    def scores(self) -> list[Score]:
        target = self._spec.target
        scores = []
        for column, n in enumerate(self._count):
            horizon, t = divmod(column, len(target.fields))
            name = target.fields[t]
            label = f"{name} +{target.steps_ahead[horizon]}" if target.known == "forecast" else name
            for predictor, errors in zip((MODEL, *self.BASELINES), self._errors[column], strict=True):
                values = [mean(errors.absolute, n), math.sqrt(mean(errors.squared, n)), mean(errors.pinball, n)]
                if predictor == MODEL:  # a baseline's one number has no interval
                    values.append(mean(errors.inside, n))
                scores.append(Score(label, predictor, n, dict(zip(self.metrics, values, strict=False))))
        return scores


class Classes(Scorer):
    """Classification: accuracy and log-loss against the frequencies so far and the stream's last class."""

    BASELINES: Final = ("class frequencies", "last class of the stream")
    metrics = ("accuracy", "log-loss")

    def __init__(self, spec: LearnerSpec) -> None:
        super().__init__(spec)
        self._logistic = spec.model.readout == "logistic"
        self._counts = [0] * spec.n_classes
        self._last: dict[bytes, int] = {}
        self._n = 0
        self._right = [0, 0, 0]
        self._loss = [0.0, 0.0]

    def _predictions(self, key: bytes, value: list[float]) -> tuple[list[float], list[float], int]:
        model = [1.0 - value[0], value[0]] if self._logistic else value
        total = sum(self._counts) + len(self._counts)  # each class seen once more than it was: none is impossible
        frequencies = [(count + 1) / total for count in self._counts]
        majority = frequencies.index(max(frequencies))
        return model, frequencies, self._last.get(key, majority)

    def _learn(self, key: bytes, y: list[float]) -> None:
        if y[0] == y[0]:
            self._counts[int(y[0])] += 1
            self._last[key] = int(y[0])

    def _score(self, predictions: tuple[list[float], list[float], int], y: list[float], _horizon: int) -> None:
        if y[0] != y[0]:
            return
        known = int(y[0])
        model, frequencies, last = predictions
        self._n += 1
        for i, probabilities in enumerate((model, frequencies)):
            self._right[i] += probabilities.index(max(probabilities)) == known
            self._loss[i] -= math.log(max(_TINY, probabilities[known]))
        self._right[2] += last == known

    def scores(self) -> list[Score]:
        scores = []
        for i, predictor in enumerate((MODEL, *self.BASELINES)):
            values = {"accuracy": mean(self._right[i], self._n)}
            if i < len(self._loss):  # the last class alone has no probability
                values["log-loss"] = mean(self._loss[i], self._n)
            scores.append(Score(self._spec.target.fields[0], predictor, self._n, values))
        return scores


def macro_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Of true positives, false positives and false negatives [3, classes]; NaN where nothing came.

    >>> round(macro_f1(np.array([[8, 1], [1, 0], [0, 1]])), 3)
    0.804
    """
    hit, false, missed = confusion.astype(np.float64)
    seen = hit + false + missed > 0
    return float((2 * hit[seen] / (2 * hit + false + missed)[seen]).mean()) if seen.any() else math.nan


def mean(total: float, n: int) -> float:
    """NaN of nothing."""
    return total / n if n else math.nan
