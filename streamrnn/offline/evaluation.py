"""Progressive validation of a job over a file: every record is predicted, then scored, then learned from.

The records of a CSV or JSON-lines file go, in the file's order, through the codec and the learner a daemon with one
partition would use, with the same seed: the same records give the same predictions. Nothing else is needed, no broker
and no checkpoint. Beside the model, predictors so simple that they must be beaten see the same targets at the same
moments.

A prediction is scored when its target becomes known: with the record itself, when the stream's future arrives
(forecasts; not across the end of a sequence) or when the label record does. What never becomes known is not scored.
River is not imported.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.codec.records import Decoded
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.block import LABEL
from streamrnn.learner.spec import LearnerSpec
from streamrnn.offline.baselines import Baseline, LastValue, RunningMean, RunningMedian

MODEL: Final = "model"
BLOCK: Final = 4_096
_TINY: Final = 1e-15  # a probability of zero costs this much and not infinity


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the result: how one predictor did on one target. ``values`` maps a metric's name to its value."""

    target: str
    predictor: str
    scored: int
    values: dict[str, float]


@dataclass
class Report:
    """What an evaluation found.

    ``metrics`` are the names in ``Score.values``, the one to rank by first; lower is better unless it is in ``higher``.
    ``loss`` is the model's mean loss in scaled units, as the learner and the daemon's metrics count it.
    """

    metrics: tuple[str, ...]
    scores: list[Score] = field(default_factory=list)
    records: int = 0
    labels: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_rejected: dict[str, str] = field(default_factory=dict)
    backwards: int = 0
    streams: int = 0
    updates: int = 0
    loss: float = math.nan
    higher: frozenset[str] = frozenset({"accuracy"})


# -- running ----------------------------------------------------------------------------------------------------------


def evaluate(
    config: Config,
    source: Iterable[Record],
    *,
    limit: int | None = None,
    progress: Callable[[Report], None] | None = None,
    predictions: IO[bytes] | None = None,
) -> Report:
    """Run the job over the records and score it; the output records go to ``predictions``, one a line.

    ``progress`` is given the growing report after each block of records.
    """
    job = Job(config)
    codec, encoder = job.codec, job.encoder
    learner = job.first_learner(TopicPartition(config.input.topic, 0))
    scorer = _scorer(job.spec)
    report = Report(metrics=scorer.metrics)
    total_loss, losses = 0.0, 0
    newest = -(1 << 62)
    stream = iter(source if limit is None else islice(source, limit))
    while batch := list(islice(stream, BLOCK)):
        decoded = codec.decode(batch)
        result = learner.process(decoded.block)
        _count(report, batch, decoded)
        for time_ms in decoded.block.time_ms.tolist():
            report.backwards += time_ms < newest
            newest = max(newest, time_ms)
        scorer.take(decoded, result.value)
        scored = ~np.isnan(result.loss)
        total_loss += float(result.loss[scored].sum())
        losses += int(scored.sum())
        if predictions is not None:
            lines = encoder.encode_block(decoded, result.value, result.updates)
            predictions.writelines(line + b"\n" for line in lines if line is not None)
        reached = learner.progress()
        report.streams, report.updates = reached.streams, reached.updates
        if progress is not None:
            report.scores = scorer.scores()
            progress(report)
    report.scores = scorer.scores()
    report.loss = total_loss / losses if losses else math.nan
    return report


def _count(report: Report, batch: list[Record], decoded: Decoded) -> None:
    report.records += len(batch)
    report.labels += int((decoded.block.kind == LABEL).sum())
    for record, error in decoded.rejected:
        report.rejected[error.reason] += 1
        report.first_rejected.setdefault(error.reason, f"record {record.offset}: {error.detail}")


# -- scoring ----------------------------------------------------------------------------------------------------------


class _Scorer:
    """Keeps predictions until their target is known, lets the baselines learn, and hands both to ``_score``."""

    metrics: tuple[str, ...]

    def __init__(self, spec: LearnerSpec) -> None:
        self._spec = spec
        self._known = spec.target.known
        # Forecasts by stream: predictions of the newest steps, newest last. Labels: by stream and event.
        self._steps: dict[bytes, deque[Any]] = {}
        self._ended: set[bytes] = set()
        self._newest: dict[bytes, int] = {}
        self._waiting: dict[tuple[bytes, int], Any] = {}

    def take(self, decoded: Decoded, value: npt.NDArray[np.float64]) -> None:
        """Score what these records bring the targets of; ``value`` is [n, n_outputs]."""
        block = decoded.block
        each = {"record": self._with_record, "forecast": self._with_future, "label": self._with_label}[self._known]
        for row in zip(
            block.keys,
            block.y.tolist(),
            value.tolist(),
            block.kind.tolist(),
            block.event.tolist(),
            block.end.tolist(),
            block.time_ms.tolist(),
            strict=True,
        ):
            each(*row)

    def scores(self) -> list[Score]:
        raise NotImplementedError

    def _predictions(self, key: bytes, value: list[float]) -> Any:
        """What the model and every baseline say now."""
        raise NotImplementedError

    def _score(self, predictions: Any, y: list[float], horizon: int, /) -> None:
        raise NotImplementedError

    def _learn(self, key: bytes, y: list[float]) -> None:
        raise NotImplementedError

    def _with_record(self, key: bytes, y: list[float], value: list[float], *_: Any) -> None:
        self._score(self._predictions(key, value), y, 0)
        self._learn(key, y)

    def _with_future(self, key: bytes, y: list[float], value: list[float], *more: Any) -> None:
        _, _, end, time_ms = more
        gap = self._spec.streams.reset_after_s
        if key in self._ended or (gap is not None and time_ms - self._newest.get(key, time_ms) > 1000 * gap):
            self._steps.pop(key, None)
            self._ended.discard(key)
        self._newest[key] = time_ms
        if end and self._spec.has_end:
            self._ended.add(key)
        steps = self._steps.setdefault(key, deque(maxlen=self._spec.target.horizon))
        for horizon, predictions in enumerate(reversed(steps)):
            self._score(predictions, y, horizon)
        self._learn(key, y)  # known before the forecast is made
        steps.append(self._predictions(key, value))

    def _with_label(self, key: bytes, y: list[float], value: list[float], kind: int, event: int, *_: Any) -> None:
        if kind == LABEL:
            if (predictions := self._waiting.pop((key, event), None)) is not None:
                self._score(predictions, y, 0)
                self._learn(key, y)
        elif event:
            self._waiting[key, event] = self._predictions(key, value)


class _Numbers(_Scorer):
    """Regression: per target (and step ahead), mean absolute and root mean squared error; with quantiles more."""

    BASELINES: Final = ("running mean", "running median", "last value of the stream")

    def __init__(self, spec: LearnerSpec) -> None:
        super().__init__(spec)
        self._levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
        self._point = min(range(len(self._levels)), key=lambda i: abs(self._levels[i] - 0.5)) if self._levels else 0
        self._baselines: list[list[Baseline]] = [
            [RunningMean(), RunningMedian(), LastValue("key")] for _ in spec.target.fields
        ]
        self.metrics = ("MAE", "RMSE")
        if self._levels:
            self.metrics += ("pinball", f"within {self._levels[0]:g}-{self._levels[-1]:g}")
        n = spec.target.horizon * spec.n_targets
        # Per target and step: count; then per predictor the sums of |e|, e^2, pinball loss, hits.
        self._count = [0] * n
        self._sums = [[[0.0] * 4 for _ in (MODEL, *self.BASELINES)] for _ in range(n)]

    def _predictions(self, key: bytes, value: list[float]) -> tuple[list[float], list[list[float]]]:
        record = {"key": key}
        return value, [[b.predict(record) for b in each] for each in self._baselines]

    def _learn(self, key: bytes, y: list[float]) -> None:
        record = {"key": key}
        for each, known in zip(self._baselines, y, strict=True):
            if known == known:
                for baseline in each:
                    baseline.learn(record, known)

    def _score(self, predictions: tuple[list[float], list[list[float]]], y: list[float], horizon: int) -> None:
        value, baselines = predictions
        n_levels = max(1, len(self._levels))
        for t, known in enumerate(y):
            if known != known:
                continue
            column = horizon * len(y) + t
            outputs = value[column * n_levels : (column + 1) * n_levels]
            self._count[column] += 1
            sums = self._sums[column]
            self._add(sums[0], outputs[self._point], outputs, known)
            for row, point in zip(sums[1:], baselines[t], strict=True):
                self._add(row, point, [point] * n_levels, known)

    def _add(self, sums: list[float], point: float, outputs: Sequence[float], known: float) -> None:
        error = point - known
        sums[0] += abs(error)
        sums[1] += error * error
        if self._levels:
            sums[2] += sum(
                max(level * (known - q), (level - 1) * (known - q))
                for level, q in zip(self._levels, outputs, strict=True)
            ) / len(outputs)
            sums[3] += outputs[0] <= known <= outputs[-1]

    def scores(self) -> list[Score]:
        target = self._spec.target
        scores = []
        for horizon in range(target.horizon):
            for t, name in enumerate(target.fields):
                column = horizon * len(target.fields) + t
                label = f"{name} +{horizon + 1}" if target.known == "forecast" else name
                n = self._count[column]
                for i, predictor in enumerate((MODEL, *self.BASELINES)):
                    sums = [s / n if n else math.nan for s in self._sums[column][i]]
                    values = [sums[0], math.sqrt(sums[1]), sums[2]]
                    if self._levels and not i:  # one number has no interval
                        values.append(sums[3])
                    scores.append(Score(label, predictor, n, dict(zip(self.metrics, values, strict=False))))
        return scores


class _Classes(_Scorer):
    """Classification: accuracy and log-loss against the frequencies so far and the stream's last class."""

    BASELINES: Final = ("class frequencies", "last class of the stream")
    metrics = ("accuracy", "log-loss")

    def __init__(self, spec: LearnerSpec) -> None:
        super().__init__(spec)
        assert spec.target.classes is not None
        self._logistic = spec.model.readout == "logistic"
        self._counts = [0] * len(spec.target.classes)
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
        n, scores = self._n, []
        for i, predictor in enumerate((MODEL, *self.BASELINES)):
            values = {"accuracy": self._right[i] / n if n else math.nan}
            if i < len(self._loss):  # the last class alone has no probability
                values["log-loss"] = self._loss[i] / n if n else math.nan
            scores.append(Score(self._spec.target.fields[0], predictor, n, values))
        return scores


def _scorer(spec: LearnerSpec) -> _Scorer:
    return _Numbers(spec) if spec.target.classes is None else _Classes(spec)
