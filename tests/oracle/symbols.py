"""The numbers of symbols, as the naive learner gives them, and how surprising something is: everything is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streamrnn.learner.symbols import Symbols

OTHER = 0


class NaiveVocabulary:
    """A set of symbols and the numbers that those of an open set have been given.

    An open set begins with "other" and, of texts that mark their end, with the end; any other set ends with the end.
    """

    def __init__(self, symbols: Symbols, has_end: bool = False) -> None:
        self.open = symbols.open
        self.numbered: list[str | None]
        if self.open:
            self.numbered = [None] * (2 if has_end else 1)
            self.end = 1
            self.limit = len(self.numbered) + symbols.max
        else:
            self.numbered = [str(label) for label in symbols.labels or ()]
            self.end = len(self.numbered)
            self.limit = self.end + has_end
        self.overflowed = 0

    @property
    def in_use(self) -> int:
        """Numbers that mean something."""
        return len(self.numbered) if self.open else self.limit

    def find(self, symbol: str) -> int:
        """The symbol's number; -1 where it has none."""
        return self.numbered.index(symbol) if symbol in self.numbered else -1

    def take(self, symbol: str) -> int:
        """The same, but an open set gives it the next one; where all are given, it is one of the others."""
        number = self.find(symbol)
        if number >= 0 or not self.open:
            return number
        if len(self.numbered) == self.limit:
            self.overflowed += 1
            return OTHER
        self.numbered.append(symbol)
        return len(self.numbered) - 1

    def ask(self, symbol: str) -> int:
        """The number of a symbol that is only asked about."""
        number = self.find(symbol)
        return OTHER if number < 0 and self.open else number


def rank(earlier: Sequence[float], value: float) -> float:
    """How many of these values lie below this one, of one more than there are; beyond all of them, nearly all.

    NaN where there are none.
    """
    if not earlier:
        return math.nan
    below = float(sum(v < value for v in earlier))
    if value > (largest := max(0.0, *earlier)) > 0.0:
        below = len(earlier) + 1 - largest / value
    return below / (len(earlier) + 1)


@dataclass(frozen=True)
class Surprise:
    """A loss, and the newest ones before it, of its stream and of the partition."""

    loss: float
    own: list[float]
    others: list[float]

    def ranks(self, error: float = 0.0) -> tuple[float, float]:
        """In its stream and in the partition, if it was larger by ``error``."""
        return rank(self.own, self.loss + error), rank(self.others, self.loss + error)
