"""Predictions of symbols, scored: in bits, beside what counting symbols would have said.

For sets of symbols and texts, where a row of thousands of probabilities is not gone through in Python for each symbol:
what the model's predictions cost is what the learner itself says, and both rivals count. One knows how often each
symbol came, the other how often each came right after the one before it in the stream, mixed with the first as if that
had been seen once there. They see the symbols at the moment the model is scored on them, and like the model they know
only symbols that came before: a symbol that comes first is scored as "other".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from streamrnn.job.codec.records import Decoded
from streamrnn.learner.block import EVENT, FORGET
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import OTHER
from streamrnn.offline.scoring import MODEL, Score, mean


class _Came(NamedTuple):
    """Symbols that came in one stream one after the other, with what they cost the model."""

    key: bytes
    numbers: list[int]
    bits: float
    wrong: float
    goes_on: bool
    """Whether the first of them is predicted from what came before."""


class SymbolScorer:
    """Counts for one partition. ``metrics`` are the names in ``Score.values``, the one to rank by first."""

    metrics: tuple[str, ...] = ("bits per symbol", "accuracy")
    RIVALS: Final = ("symbol frequencies", "frequencies after the last symbol")

    def __init__(self, spec: LearnerSpec) -> None:
        self._spec = spec
        symbols = spec.target.symbols
        assert symbols is not None
        self._open = symbols.open
        self._in_use = 1 + (spec.n_classes - symbols.size) if symbols.open else spec.n_classes
        self._seen: set[int] = set(range(self._in_use))
        self._all = _Counts()
        self._after: dict[int, _Counts] = {}
        self._last: dict[bytes, int] = {}
        self._n = 0
        self._bits = [0.0, 0.0, 0.0]
        self._right = [0.0, 0.0, 0.0]

    def score(self, decoded: Decoded, predictions: Predictions) -> None:
        """Score what these records bring."""
        for came in self._came(decoded, predictions):
            self._n += len(came.numbers)
            self._bits[0] += came.bits
            self._right[0] += len(came.numbers) - came.wrong
            last = self._last.get(came.key) if came.goes_on else None
            for number in came.numbers:
                last = self._count(number, last)
            if last is not None:
                self._last[came.key] = last

    def scores(self) -> list[Score]:
        """How every predictor did so far, the model first."""
        target = self._spec.target.fields[0]
        means = [
            (mean(bits, self._n), mean(right, self._n)) for bits, right in zip(self._bits, self._right, strict=True)
        ]
        return [
            Score(target, name, self._n, dict(zip(self.metrics, values, strict=True)))
            for name, values in zip((MODEL, *self.RIVALS), means, strict=True)
        ]

    def _came(self, decoded: Decoded, predictions: Predictions) -> Iterable[_Came]:
        block, texts = decoded.block, predictions.texts
        kinds, loss, error = block.kind.tolist(), predictions.loss, predictions.error
        if texts is not None:
            carry, bounds = self._spec.text is not None and self._spec.text.carry, texts.bounds.tolist()
            for i, key in enumerate(block.keys):
                if kinds[i] == FORGET:
                    self._last.pop(key, None)
                units = slice(bounds[i], bounds[i + 1])
                if kinds[i] == EVENT and units.start < units.stop:
                    numbers = texts.number[units].tolist()
                    bits = float(texts.loss[units].sum()) / math.log(2)
                    yield _Came(key, numbers, bits, float(error[i]) * len(numbers), carry)
            return
        scored, told = ~np.isnan(loss), predictions.told
        keys, y, rows = block.keys, block.y, list(range(len(block)))
        if told is not None:  # of events that have waited
            keys, y, rows = told.keys, told.y, told.row.tolist()
        forgotten = deque(np.flatnonzero(block.kind == FORGET).tolist())
        for i, (key, row) in enumerate(zip(keys, rows, strict=True)):
            while forgotten and forgotten[0] < row:  # with a tombstone itself its stream's events may be told of
                self._last.pop(block.keys[forgotten.popleft()], None)
            if (number := float(y[i, 0])) == number:
                if scored[i]:
                    yield _Came(key, [int(number)], float(loss[i]) / math.log(2), float(error[i]), goes_on=True)
                else:  # the first of its stream, which nobody predicted; it is counted all the same
                    self._last[key] = self._learn(int(number), self._last.get(key))
        for row in forgotten:
            self._last.pop(block.keys[row], None)

    def _count(self, number: int, last: int | None) -> int:
        """Have both rivals predict this symbol behind the ``last`` one, and count it; returns the new last one."""
        known = number if number in self._seen else OTHER
        chance = self._all.chance(known, 1.0 / self._in_use)
        after = self._after.get(-1 if last is None else last)
        self._bits[1] -= math.log2(chance)
        self._bits[2] -= math.log2(chance if after is None else after.chance(known, chance))
        self._right[1] += self._all.likeliest == known
        self._right[2] += (self._all if after is None else after).likeliest == known
        return self._learn(number, last)

    def _learn(self, number: int, last: int | None) -> int:
        known = number if number in self._seen else OTHER
        if number not in self._seen:
            self._seen.add(number)
            self._in_use += 1
        self._all.add(known)
        self._after.setdefault(-1 if last is None else last, _Counts()).add(known)
        return number


class _Counts:
    """How often each symbol came, and which came most often."""

    __slots__ = ("_of", "_total", "likeliest")

    def __init__(self) -> None:
        self._of: dict[int, int] = {}
        self._total = 0
        self.likeliest: int | None = None

    def add(self, number: int) -> None:
        """One more."""
        self._of[number] = count = self._of.get(number, 0) + 1
        self._total += 1
        if self.likeliest is None or count > self._of[self.likeliest]:
            self.likeliest = number

    def chance(self, number: int, before: float) -> float:
        """The probability of a symbol that had the probability ``before`` when nothing was counted."""
        return (self._of.get(number, 0) + before) / (self._total + 1)
