"""The numbers of symbols, as the naive learner gives them, and how surprising something is: everything is kept."""

from __future__ import annotations

from collections.abc import Sequence

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


def share_no_larger(earlier: Sequence[float], value: float, newest: int) -> float:
    """The share of the ``newest`` values that are no larger than this one; NaN where there are none."""
    compared = earlier[-newest:]
    return sum(v <= value for v in compared) / len(compared) if compared else float("nan")
