"""What came of a run: of each word what was said and how far that is from right, and error rates over the words.

A word that can be said in several ways may be said in any of them: the nearest pronunciation counts. The error rate of
sounds is the number of edits (sounds put in, left out, or exchanged) by the number of sounds there should have been;
that of words is the share of those in which any sound is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.pronounce.words import Sounds, Word

NEWEST: Final = 1_000
"""Words that "now" is of."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attempt:
    """What was said of a word, the pronunciation nearest to it, and how many edits lie between them."""

    word: Word
    said: Sounds
    nearest: Sounds
    edits: int


def attempt(word: Word, said: Sounds) -> Attempt:
    """Judge what was said; of pronunciations that are equally near the more usual one counts.

    >>> attempt(Word("read", ((27, 10, 8), (27, 17, 8))), (27, 17)).nearest
    (27, 17, 8)
    """
    distances = [edits(said, sounds) for sounds in word.sounds]
    best = distances.index(min(distances))
    return Attempt(word, said, word.sounds[best], distances[best])


def edits(said: Sounds, truth: Sounds) -> int:
    """Fewest insertions, deletions and substitutions from one to the other (Levenshtein 1966).

    >>> edits((1, 2, 3), (1, 3, 4)), edits((), (1, 2)), edits((5,), (5,))
    (2, 2, 0)
    """
    if said == truth:
        return 0
    row = list(range(len(truth) + 1))
    for i, a in enumerate(said):
        before, row[0] = row[0], i + 1
        for j, b in enumerate(truth):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (a != b))
    return row[-1]


@dataclass
class Tally:
    """The words tried so far, in their order."""

    edits: list[int] = field(default_factory=list)
    sounds: list[int] = field(default_factory=list)

    def add(self, attempts: Sequence[Attempt]) -> None:
        """More were tried."""
        self.edits += [one.edits for one in attempts]
        self.sounds += [len(one.nearest) for one in attempts]

    def __len__(self) -> int:
        return len(self.edits)

    def rates(self, newest: int | None = None) -> tuple[float, float]:
        """Error rates of sounds and of words, of all words or of the newest ones; NaN before the first."""
        first = 0 if newest is None else max(0, len(self) - newest)
        if first == len(self):
            return float("nan"), float("nan")
        wrong = sum(map(bool, self.edits[first:]))
        return sum(self.edits[first:]) / sum(self.sounds[first:]), wrong / (len(self) - first)

    def curve(self, newest: int = NEWEST) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Behind which word, and the error rates of sounds and words among the ``newest`` up to there, fewer at first.

        >>> Tally([2, 0], [2, 6]).curve(newest=2)[1].tolist()
        [1.0, 0.25]
        """
        at = np.arange(1, len(self) + 1)
        first = np.maximum(0, at - newest)

        def sums(values: npt.ArrayLike) -> Floats:
            total = np.concatenate([[0.0], np.cumsum(values)])
            return np.asarray(total[at] - total[first])

        wrong = np.asarray(self.edits) > 0
        return at, sums(self.edits) / sums(self.sounds), sums(wrong) / (at - first)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run. ``looked`` is (sounds, letters): where it looked for each sound of ``shown``."""

    status: int
    of: int  # words that were to be read
    tally: Tally
    newest: list[Attempt]
    shown: Attempt
    looked: Floats
    seconds: float
    cpu_seconds: float
