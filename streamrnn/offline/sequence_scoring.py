"""What is said of whole sequences, scored: by kind, beside naive rivals that see the same answers at the same moments.

Of classes, one for a sequence or one for each step, the error rate, the log-loss and the macro-F1: the mean over
classes that came or were said of 2 tp / (2 tp + fp + fn), which does not forget the rare ones. Of symbols the symbol
error rate: the sum of edits over the sum of true symbols. Of numbers the mean absolute error. How wrong each answer was
is what the learner itself says (``Predictions.sequences``); rivals are scored here, and learn an answer after that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.job.codec.records import Decoded
from streamrnn.learner.block import FORGET
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import OTHER
from streamrnn.offline.scoring import MACRO_F1, MODEL, Score, macro_f1, mean

ERROR_RATE: Final = "error rate"
SYMBOL_ERROR_RATE: Final = "symbol error rate"

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Of:
    """What one predictor of classes was right and wrong about; ``loss`` in nats, where it gives probabilities."""

    def __init__(self, n_classes: int, *, probable: bool = False) -> None:
        self.confusion = np.zeros((3, n_classes), np.int64)
        self.probable = probable
        self.wrong = self.loss = 0.0

    def count(self, said: Integers, came: Integers) -> None:
        """Classes that were said, and those that came."""
        right = said == came
        n = self.confusion.shape[1]
        self.confusion[0] += np.bincount(came[right], minlength=n)
        self.confusion[1] += np.bincount(said[~right], minlength=n)
        self.confusion[2] += np.bincount(came[~right], minlength=n)
        self.wrong += float(np.count_nonzero(~right))


class _Ended:
    """Labels of steps, put together where they came in chunks."""

    def __init__(self, spec: LearnerSpec) -> None:
        assert spec.sequence is not None
        self._most = spec.sequence.max_steps
        self._parts: dict[bytes, list[Floats]] = {}  # of sequences that have not ended

    def labels(self, decoded: Decoded, predictions: Predictions) -> Iterator[tuple[int, Integers, Floats]]:
        """Of each record that ends a sequence, and was scored: the numbers said of its steps, and what came."""
        block, scores = decoded.block, predictions.sequences
        assert block.answers is not None
        assert block.frames is not None
        assert scores is not None
        frames, complete = np.diff(block.frames.bounds), scores.complete.tolist()
        for i, key in enumerate(block.keys):
            labels = block.answers.value[block.answers.bounds[i] : block.answers.bounds[i + 1]]
            parts = self._parts.setdefault(key, [])
            parts.append(labels if block.answers.known[i] else np.full(frames[i], np.nan))
            if block.kind[i] == FORGET:
                del self._parts[key]
            if not complete[i]:
                continue
            came, said = np.concatenate(self._parts.pop(key)), scores.number[scores.bounds[i] : scores.bounds[i + 1]]
            # Of frames beyond the longest sequence nothing is said; nor of those before a gap, which is not known here.
            came = came[: len(said)] if len(said) == self._most else came[len(came) - len(said) :]
            if not math.isnan(predictions.error[i]):
                yield i, said, came


class LabelScorer:
    """One class for each sequence, or one for each step: against the frequencies so far, and of sequences the stream's
    last class."""

    metrics = (ERROR_RATE, "log-loss", MACRO_F1)

    def __init__(self, spec: LearnerSpec) -> None:
        self._spec, self._of_steps = spec, spec.target.kind == "labels"
        self._logistic = spec.model.readout == "logistic"
        self._ended = _Ended(spec)
        self._n, self._last = 0, dict[bytes, int]()
        self._seen = np.zeros(spec.n_classes, np.bool_)
        n = spec.n_classes
        self._counts = np.ones(n, np.int64)  # each class once more than it was seen: none is impossible
        self._model, self._frequent, self._again = _Of(n, probable=True), _Of(n, probable=True), _Of(n)

    def score(self, decoded: Decoded, predictions: Predictions) -> None:
        """Score the sequences that these records end."""
        pairs = self._steps(decoded, predictions) if self._of_steps else self._wholes(decoded, predictions)
        for i, said, classes in pairs:
            came = self._as_known(classes)
            self._n += len(came)
            self._model.count(said, came)
            self._model.loss += float(predictions.loss[i]) * len(came)
            self._rivals(decoded.block.keys[i], came)

    def _as_known(self, came: Integers) -> Integers:
        """Classes by the numbers they had when they were predicted: of an open set what comes first is other."""
        if not self._spec.target.is_open:
            return came
        known = np.where(self._seen[came], came, OTHER)
        self._seen[came] = True
        return known

    def _wholes(self, decoded: Decoded, predictions: Predictions) -> Iterator[tuple[int, Integers, Integers]]:
        """Of each scored record its class as it was said, and as it came."""
        value = predictions.value
        likeliest = value[:, 0] > 0.5 if self._logistic else value.argmax(axis=1)
        for i in np.flatnonzero(~np.isnan(predictions.error)).tolist():
            yield i, likeliest[i : i + 1].astype(np.int64), decoded.block.y[i].astype(np.int64)

    def _steps(self, decoded: Decoded, predictions: Predictions) -> Iterator[tuple[int, Integers, Integers]]:
        """Of each record that ends a sequence whose labels are known, those labels."""
        for i, said, came in self._ended.labels(decoded, predictions):
            known = ~np.isnan(came)
            yield i, said[known], came[known].astype(np.int64)

    def _rivals(self, key: bytes, came: Integers) -> None:
        likeliest = int(self._counts.argmax())
        self._frequent.count(np.full(len(came), likeliest), came)
        self._frequent.loss -= float(np.log(self._counts[came] / self._counts.sum()).sum())
        if not self._of_steps:
            self._again.count(np.full(1, self._last.get(key, likeliest)), came)
            self._last[key] = int(came[0])
        self._counts += np.bincount(came, minlength=len(self._counts))

    def scores(self) -> list[Score]:
        """How every predictor did so far, the model first."""
        predictors = {MODEL: self._model, "class frequencies": self._frequent}
        if not self._of_steps:
            predictors["last class of the stream"] = self._again
        return [self._score(name, of) for name, of in predictors.items()]

    def _score(self, name: str, of: _Of) -> Score:
        values = {ERROR_RATE: mean(of.wrong, self._n), MACRO_F1: macro_f1(of.confusion)}
        if of.probable:
            values["log-loss"] = mean(of.loss, self._n)
        return Score(self._spec.target.fields[0], name, self._n, values, of.confusion)


class SymbolsScorer:
    """Transcripts, and other sequences of symbols: beside whoever says nothing, and so misses every symbol."""

    metrics = (SYMBOL_ERROR_RATE, "log-loss")

    def __init__(self, spec: LearnerSpec) -> None:
        self._target = spec.target.fields[0]
        self._wrong = self._length = self._loss = self._of_loss = 0.0

    def score(self, decoded: Decoded, predictions: Predictions) -> None:  # noqa: ARG002 - as other scorers
        """Score the sequences that these records end."""
        scores, loss = predictions.sequences, predictions.loss
        assert scores is not None
        scored = ~np.isnan(scores.length)
        self._wrong += float(scores.wrong[scored].sum())
        self._length += float(scores.length[scored].sum())
        told = scored & ~np.isnan(loss)  # an impossible transcript has edits, and no loss
        self._loss += float((loss * scores.length)[told].sum())
        self._of_loss += float(scores.length[told].sum())

    def scores(self) -> list[Score]:
        """How the model did so far, and whoever says nothing."""
        n = int(self._length)
        model = {
            SYMBOL_ERROR_RATE: mean(self._wrong, n),
            "log-loss": self._loss / self._of_loss if self._of_loss else math.nan,
        }
        nothing = {SYMBOL_ERROR_RATE: mean(self._length, n)}
        return [Score(self._target, MODEL, n, model), Score(self._target, "empty answer", n, nothing)]


class SeriesScorer:
    """Numbers, one for each step or a sequence of them: beside their mean so far, of a sequence at each place."""

    metrics = ("MAE",)

    def __init__(self, spec: LearnerSpec) -> None:
        self._target, self._of_steps = spec.target.fields[0], spec.target.kind == "labels"
        self._ended = _Ended(spec)
        places = 1 if self._of_steps else spec.target.furthest
        self._sum, self._count = np.zeros(places), np.zeros(places, np.int64)
        self._n, self._model, self._mean = 0, 0.0, 0.0

    def score(self, decoded: Decoded, predictions: Predictions) -> None:
        """Score the sequences that these records end."""
        scores = predictions.sequences
        assert scores is not None
        came = self._labels(decoded, predictions) if self._of_steps else self._series(decoded, predictions)
        for i, numbers in came:
            self._n += int(scores.length[i])
            self._model += float(scores.wrong[i])
            self._rival(numbers)

    def _labels(self, decoded: Decoded, predictions: Predictions) -> Iterator[tuple[int, Floats]]:
        return ((i, came) for i, _, came in self._ended.labels(decoded, predictions))

    def _series(self, decoded: Decoded, predictions: Predictions) -> Iterator[tuple[int, Floats]]:
        answers = decoded.block.answers
        assert answers is not None
        bounds = answers.bounds
        for i in np.flatnonzero(~np.isnan(predictions.error)).tolist():
            yield i, answers.value[bounds[i] : bounds[i + 1]]

    def _rival(self, came: Floats) -> None:
        known = ~np.isnan(came)
        places = np.zeros(len(came), np.int64) if self._of_steps else np.arange(len(came))
        expected = np.divide(self._sum, self._count, out=np.zeros_like(self._sum), where=self._count > 0)[places]
        self._mean += float(np.abs(came - expected)[known].sum())
        np.add.at(self._sum, places[known], came[known])
        np.add.at(self._count, places[known], 1)

    def scores(self) -> list[Score]:
        """How the model and the mean did so far."""
        values = {MODEL: self._model, "running mean": self._mean}
        return [Score(self._target, name, self._n, {"MAE": mean(wrong, self._n)}) for name, wrong in values.items()]


Scorer = LabelScorer | SymbolsScorer | SeriesScorer


def scorer_of(spec: LearnerSpec) -> Scorer | None:
    """The scorer for what is said of sequences; None for one number for the whole, which is scored like any."""
    kind = spec.target.kind
    if spec.target.classes is None:
        return None if kind == "label" else SeriesScorer(spec)
    return LabelScorer(spec) if kind in ("label", "labels") else SymbolsScorer(spec)
