r"""What an output record says of classes: the most probable ones, and how surprising it was what came.

A job may have thousands of classes, and a record is to be read by people; so of each prediction the ``top`` most
probable classes are picked, for a whole block at once (``condensed``), and named one record at a time. What has no
label of its own stands apart: "other", the symbols of an open set without a number, and the end of a text. Of an open
set only classes with a probability are written, as which others have come by the end of a block depends on how the log
was cut.

A surprise is ``-log2`` of the probability that was given to what came. A byte is shown as the character that it is in
ASCII, or else as ``\n`` or ``\xc3``: alone it may be half a character.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.escaping import escaped
from streamrnn.learner.block import Units
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import Label
from streamrnn.learner.values import canonical_text
from streamrnn.learner.vocabulary import LONGEST_SYMBOL, Vocabulary

TOP = 5
"""How many classes are picked unless a job says otherwise."""
LONGEST_SHOWN = 256
"""Characters of a word that are shown where it was the most surprising one."""

LONGEST_TARGET = LONGEST_SYMBOL
"""Characters that are shown of the class that came, where the set is open: longer ones have no number."""

LONG = -1.2345678901234567e-300
"""A number that takes many characters."""
_ESCAPED = "\x00"
"""What takes the most bytes a byte as JSON, six."""
_AS_ESCAPED = {ord("0"): _ESCAPED, ord("1"): "\x01"}

_AT_ONCE = 64  # rows that are picked from together: their probabilities stay in the cache
_PICKED = -1.0  # below any probability
_OTHER, _END, _FIRST = range(3)  # places in a condensed row; behind them the numbers, then their probabilities

Numbers = npt.NDArray[np.float64]

BYTES = tuple(
    chr(byte) if 32 <= byte < 127 else escaped(chr(byte)) if byte < 128 else f"\\x{byte:02x}" for byte in range(256)
)
"""Each byte as text."""


class Classes:
    """Picks and names the classes of one job.

    Attributes
    ----------
    width
        Numbers of a condensed row.
    """

    def __init__(self, spec: LearnerSpec, top: int) -> None:
        self._logistic = spec.model.readout == "logistic"
        self._bytes = spec.text is not None and spec.text.unit == "byte"
        assert spec.target.symbols is not None
        vocabulary = Vocabulary(spec.target.symbols, end=spec.n_classes > spec.target.symbols.size)
        self._other, self._end = vocabulary.other, vocabulary.end
        self._labels: Sequence[Label] | None = BYTES if self._bytes else spec.target.labels
        self._names = [canonical_text(label, "target.classes") for label in self._labels or ()]
        self._top = min(top, spec.n_classes - sum(number is not None for number in (self._other, self._end)))
        self.width = _FIRST + 2 * self._top

    def condensed(self, value: Numbers) -> Numbers:
        """Of predictions [n, n_outputs] what is worth keeping [n, width]: the most probable classes first.

        Of two that are as probable the one with the lower number goes first, on every machine.
        """
        kept = np.full((len(value), self.width), np.nan)
        for start in range(0, len(value), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            self._condense(value[rows], kept[rows])
        return kept

    def _condense(self, value: Numbers, kept: Numbers) -> None:
        left = np.hstack([1.0 - value, value]) if self._logistic else value.copy()
        each = np.arange(len(left))
        for place, number in ((_OTHER, self._other), (_END, self._end)):
            if number is not None:
                kept[:, place] = left[:, number]
                left[:, number] = _PICKED
        # One search for the largest after the other is faster than any sorting for the few that are wanted.
        for k in range(_FIRST, _FIRST + self._top):
            best = left.argmax(axis=1)
            kept[:, k], kept[:, k + self._top] = best, left[each, best]
            left[each, best] = _PICKED

    def named(self, kept: Sequence[float], classes: Vocabulary | None = None) -> dict[str, Any]:
        """A condensed row as it stands in an output record. ``classes`` has the labels of an open set."""
        numbers, probabilities = kept[_FIRST : _FIRST + self._top], kept[_FIRST + self._top :]
        if self._labels is None:
            assert classes is not None
            known = [(classes.label(int(number)), p) for number, p in zip(numbers, probabilities, strict=True) if p > 0]
            said: dict[str, Any] = {"class": known[0][0] if known else None, "probabilities": dict(known)}
        else:
            best = self._labels[int(numbers[0])] if math.isfinite(sum(probabilities)) else None
            likeliest = zip([self._names[int(number)] for number in numbers], probabilities, strict=True)
            said = {"class": best, "probabilities": dict(likeliest)}
        if self._other is not None:
            said["other"] = kept[_OTHER]
        if self._end is not None:
            said["end"] = kept[_END]
        return said

    def largest(self) -> tuple[dict[str, Any], Any]:
        """A prediction and a target as long as they get as JSON, with numbers of any length."""
        longest: Label
        target: Label
        if self._labels is None:
            names = [f"{i:0{LONGEST_SYMBOL}b}".translate(_AS_ESCAPED) for i in range(self._top)]
            longest, target = names[0], _ESCAPED * LONGEST_TARGET
        else:
            names = sorted(self._names, key=_json_length)[-self._top :]
            longest = target = max(self._labels, key=_json_length)
        probabilities: dict[str, float] = dict.fromkeys(names, LONG)
        return {"class": longest, "probabilities": probabilities, "other": LONG, "end": LONG}, target

    @staticmethod
    def longest_surprise() -> dict[str, Any]:
        """The same of a surprise, a text's."""
        place = {"at": 1 << 20, "symbol": _ESCAPED * LONGEST_SHOWN, "bits": LONG}
        ranks = {"stream": LONG, "partition": LONG}
        return {"symbols": 1 << 20, "bits": LONG, "bits_per_symbol": LONG, "most_surprising": place, "rank": ranks}

    def surprises(self, predictions: Predictions, texts: Sequence[Units] | None) -> list[dict[str, Any] | None]:
        """How surprising each record was; None where nothing came that had been predicted."""
        ranks = predictions.rank.tolist()
        if texts is None:
            bits = (predictions.loss / math.log(2)).tolist()
            return [_surprise(bits, rank) if bits == bits else None for bits, rank in zip(bits, ranks, strict=True)]
        scores = predictions.texts
        assert scores is not None
        bits_of_units, bounds = scores.loss / math.log(2), scores.bounds.tolist()
        return [
            self._of_text(bits_of_units[start:end], text, rank)
            for start, end, text, rank in zip(bounds[:-1], bounds[1:], texts, ranks, strict=True)
        ]

    def _of_text(self, bits: Numbers, text: Units, rank: Sequence[float]) -> dict[str, Any] | None:
        if np.isnan(bits).all():  # of a text without units, too
            return None
        at, total = int(np.nanargmax(bits)), float(np.nansum(bits))
        return {
            "symbols": len(bits),
            "bits": total,
            "bits_per_symbol": total / len(bits),
            "most_surprising": {"at": at, "symbol": self._unit(text, at), "bits": float(bits[at])},
            "rank": {"stream": rank[0], "partition": rank[1]},
        }

    def _unit(self, text: Units, at: int) -> str | None:
        """A unit as text; None of what comes behind the last one, the end."""
        if at >= len(text):
            return None
        unit = text[at]
        return BYTES[unit] if isinstance(unit, int) else unit[:LONGEST_SHOWN]


def _surprise(bits: float, rank: Sequence[float]) -> dict[str, Any]:
    return {"bits": bits, "rank": {"stream": rank[0], "partition": rank[1]}}


def _json_length(label: Label) -> int:
    return len(msgspec.json.encode(label))
