"""A label for each step of a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from river import base

from streamrnn.errors import RecordError
from streamrnn.estimators.classifier import checked_label
from streamrnn.estimators.given import Told, require_sequence
from streamrnn.estimators.sequence_label import LabellingEstimator
from streamrnn.learner.block import Answers
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.values import number


@dataclass(eq=False, repr=False)
class RNNTagger(LabellingEstimator, base.Estimator):
    """Recurrent network that says a label, or a number, for each frame of a sequence.

    ``y`` is a list with a label for each frame, None where one is not known; or None as a whole.

    Parameters
    ----------
    readout
        ``"softmax"``; ``"logistic"`` for exactly two classes; ``"linear"`` for numbers.

    All other parameters, and what is raised, are those of ``RNNSequenceClassifier``; ``stack`` is 1, since each frame
    has a label. ``direction="both"`` knows what comes behind a frame, ``"forward"`` does not, and ``lookahead`` lies in
    between. One layer and a linear readout add up what is known from before and from behind: where a label depends on
    both together, as "either, but not both" does, no readout can tell it from one layer. Take ``num_layers=2``.

    Examples
    --------
    Whether a bit is the same as the one two steps later:

    >>> import numpy as np
    >>> from streamrnn import RNNTagger
    >>> rng = np.random.default_rng(1)
    >>> model = RNNTagger(hidden_size=8)
    >>> wrong = []
    >>> for i in range(300):
    ...     bits = rng.integers(0, 2, size=12)
    ...     y = [None if t > 9 else bool(bits[t + 2]) for t in range(12)]
    ...     wrong.append(model.score_one({"frames": bits}, y))
    ...     model.learn_one({"frames": bits}, y)
    >>> float(np.mean(wrong[-50:]))
    0.0
    """

    _answers_frames: ClassVar[bool] = True

    def _model_fields(self) -> dict[str, Any]:
        return {"readout": self.readout}

    @property
    def _numbers(self) -> bool:
        return self.readout == "linear"

    def _target(self) -> dict[str, Any]:
        return {"kind": "labels"} if self._numbers else {"kind": "labels", "classes": self._class_names()}

    def _answer(self, y: Any, frames: int) -> list[Any] | None:
        answer = require_sequence(y)
        if answer is None:
            return None
        if len(answer) != frames:
            advice = "; of frames that came before observe_one takes the labels" if self.chunks else ""
            raise RecordError(
                "wrong_length", f"y: expected a label for each of {frames} frames, got {len(answer)}{advice}"
            )
        if self._numbers:
            return [number(each, "y") for each in answer]
        return [checked_label(each) for each in answer]

    def _classes_in(self, answer: Any) -> Iterable[Any]:
        return () if self._numbers or answer is None else dict.fromkeys(each for each in answer if each is not None)

    def _told(self, answers: Sequence[Any]) -> Told:
        numbers = [each if self._numbers else self._index(each) for answer in answers for each in answer or ()]
        return Told(np.full((len(answers), 1), np.nan), answers=answers_of(answers, np.array(numbers, np.float64)))

    def _said(self, predictions: Predictions, i: int, known: int) -> list[Any]:
        said = predictions.sequences
        assert said is not None
        part = slice(*said.bounds[i : i + 2].tolist())
        if self._numbers:
            numbers: list[Any] = said.value[part].tolist()
            return numbers
        labels = list(self._labels)[:known]
        return [labels[min(number, known - 1)] if known else None for number in said.number[part].tolist()]

    def _nothing(self, frames: int) -> list[Any]:
        return [0.0 if self._numbers else None] * frames

    def score_one(self, x: Mapping[Any, Any], y: Sequence[Any]) -> float:
        """How wrong the prediction is, given y: the share of known labels, or the mean absolute error of known numbers;
        NaN where none is known. Changes nothing."""
        with self._lock:
            truth = self._read(self._columns, x, y).answer or []
            said = self._predict([x])[0]
        if self._numbers:
            errors = [abs(a - b) for a, b in zip(said, truth, strict=True) if b == b]
        else:
            errors = [float(a != b) for a, b in zip(said, truth, strict=True) if b is not None]
        return float(np.mean(errors)) if errors else np.nan


def answers_of(answers: Sequence[Any], value: np.ndarray[Any, Any], labels: list[str | None] | None = None) -> Answers:
    """Answers that are sequences, as the learner takes them; None = not known."""
    bounds = np.zeros(len(answers) + 1, np.int64)
    np.cumsum([0 if answer is None else len(answer) for answer in answers], out=bounds[1:])
    return Answers(bounds, value, np.array([answer is not None for answer in answers], np.bool_), labels)
