"""What an output record says of a whole sequence, where that is more than one label: labels, symbols, a text, numbers.

What has no label of its own, "other" of an open set, is null among labels and symbols, and U+FFFD in a text. Of an open
set a symbol is shown up to ``LONGEST_SHOWN`` characters, as an answer may have thousands of them and a broker takes
records of a certain length only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from streamrnn.core.sequences import reasons
from streamrnn.job.codec.classes import LONG
from streamrnn.learner.block import Answers
from streamrnn.learner.predictions import SequenceScores
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import Label
from streamrnn.learner.values import canonical_text
from streamrnn.learner.vocabulary import Vocabulary

LONGEST_SHOWN = 64
OTHER_IN_TEXT = "\ufffd"
_ESCAPED = "\x00"  # what takes the most bytes as JSON

NOT_LEARNED = {
    reasons.UNKNOWN: "no answer came",
    reasons.EMPTY: "there were no frames",
    reasons.TOO_LONG: "more frames than input.sequence.max_steps takes",
    reasons.TOO_MANY: "the answer has more symbols than target.max_symbols",
    reasons.IMPOSSIBLE: "the transcript needs more steps than there are",
}
"""Why nothing was learned from a sequence, for people."""


class SequenceNames:
    """Names what is said of sequences, and their answers, for one job. ``unit`` is what an answer is made of."""

    def __init__(self, spec: LearnerSpec, unit: str) -> None:
        target = spec.target
        assert spec.sequence is not None
        self._kind, self._of_classes = target.kind, target.classes is not None
        self._labels: Sequence[Label] | None = target.labels
        self._joint = {"character": "", "word": " "}.get(unit)
        self._most = spec.sequence.max_frames if self._kind == "labels" else target.max_symbols
        self._horizon = target.furthest

    def said(self, numbers: Sequence[int], values: Sequence[float], classes: Vocabulary | None) -> dict[str, Any]:
        """What is said of one sequence: classes and their probabilities, or numbers."""
        if not self._of_classes:
            return {"values": values}
        labels = [self._label(number, classes) for number in numbers]
        return {**self._shown(labels), "probabilities": values}

    def answers(self, answers: Answers) -> list[Any]:
        """What sequences turned out to be, as it was read, up to the longest that is learned; null where unknown."""
        bounds, known = answers.bounds.tolist(), answers.known.tolist()
        values: Sequence[Any] = answers.value.tolist() if answers.labels is None else answers.labels
        return [
            self._answer(values[start:end][: self._most]) if there else None
            for (start, end), there in zip(itertools.pairwise(bounds), known, strict=True)
        ]

    def longest(self) -> tuple[dict[str, Any], Any]:
        """A prediction and an answer as long as they get as JSON."""
        n = self._most if self._of_classes else self._horizon if self._kind == "sequence" else self._most
        if not self._of_classes:
            return {"values": [LONG] * n}, [LONG] * n
        longest: Label = _ESCAPED * LONGEST_SHOWN
        if self._labels is not None:
            longest = max(self._labels, key=lambda label: len(msgspec.json.encode(label)))
        elif self._joint == "":
            longest = _ESCAPED
        shown = self._shown([longest] * n)
        return {**shown, "probabilities": [LONG] * n}, next(iter(shown.values()))

    def _answer(self, values: Sequence[Any]) -> Any:
        """One answer, whose values are numbers or texts of classes, or numbers."""
        if not self._of_classes:
            return values
        labels = values
        if (names := self._labels) is not None:
            labels = [names[int(value)] if value == value else None for value in values]
        (shown,) = self._shown(labels).values()
        return shown

    def _label(self, number: int, classes: Vocabulary | None) -> Label | None:
        if self._labels is not None:
            return self._labels[number]
        assert classes is not None
        return classes.label(number)

    def _shown(self, labels: Sequence[Label | None]) -> dict[str, Any]:
        if self._labels is None:
            labels = [label if label is None else str(label)[:LONGEST_SHOWN] for label in labels]
        if self._kind == "labels":
            return {"labels": labels}
        if self._joint is None:
            return {"symbols": labels}
        texts = (OTHER_IN_TEXT if label is None else canonical_text(label, "target") for label in labels)
        return {"text": self._joint.join(texts)}


def pieces(scores: SequenceScores) -> list[tuple[list[int], list[float]]]:
    """The numbers and values of each record."""
    bounds, numbers, values = scores.bounds.tolist(), scores.number.tolist(), scores.value.tolist()
    return [(numbers[start:end], values[start:end]) for start, end in itertools.pairwise(bounds)]
