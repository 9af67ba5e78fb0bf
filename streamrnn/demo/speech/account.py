"""What came of a run: digit errors over the strings heard, by who spoke, and what they say together.

A digit error rate is edits over digits that were said, both summed over strings: a string in which every digit is wrong
and one more was heard counts more than 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.speech.recogniser import Heard

KNOWN, KEPT_OUT, NEWCOMER, FROZEN = "known voices", "voices kept out", "newcomer", "newcomer, frozen"
CURVES: Final = (KNOWN, KEPT_OUT, NEWCOMER, FROZEN)
NEWEST: Final = 50
"""Strings that an error rate is taken over while it changes."""


@dataclass
class Curve:
    """The strings of one kind in the order in which they were heard, and how many had been learned before each."""

    at: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)

    def add(self, at: int, heard: Heard) -> None:
        """Another string."""
        self.at.append(at)
        self.wrong.append(heard.wrong)
        self.length.append(heard.length)

    def __len__(self) -> int:
        return len(self.at)

    def rate(self, start: int = 0, end: int | None = None) -> float:
        """The digit error rate of its strings from ``start`` to ``end``; NaN of none.

        >>> curve = Curve([1, 2], [0, 3], [4, 2])
        >>> curve.rate(), curve.rate(1)
        (0.5, 1.5)
        """
        length = sum(self.length[start:end])
        return sum(self.wrong[start:end]) / length if length else float("nan")

    def newest(self) -> float:
        """That of the newest ones."""
        return self.rate(max(0, len(self) - NEWEST))

    def rolling(self) -> npt.NDArray[np.float64]:
        """At each string the rate of the ``NEWEST`` up to it, or of as many as there are."""
        wrong, length = (np.concatenate([[0.0], np.cumsum(values)]) for values in (self.wrong, self.length))
        end = np.arange(1, len(self) + 1)
        start = np.maximum(0, end - NEWEST)
        rates: npt.NDArray[np.float64] = (wrong[end] - wrong[start]) / np.maximum(1.0, length[end] - length[start])
        return rates


@dataclass(frozen=True)
class Account:
    """What is known of a run by now. ``joined`` is how many strings had been learned when the newcomer came."""

    strings: int
    joined: int
    curves: dict[str, Curve] = field(default_factory=lambda: {name: Curve() for name in CURVES})

    @property
    def learned(self) -> int:
        """How many strings have been learned."""
        return len(self.curves[KNOWN]) + len(self.curves[NEWCOMER])

    def sentences(self) -> list[str]:
        """What the curves say, whatever that is."""
        known, newcomer, frozen = (self.curves[name] for name in (KNOWN, NEWCOMER, FROZEN))
        found = []
        if len(known):
            found.append(
                f"Of the newest {min(NEWEST, len(known))} strings of voices it learns from, each transcribed before it "
                f"was learned, it got {known.newest():.1%} of the digits wrong"
            )
        if len(newcomer) < 2 * NEWEST:
            return found
        first, last, still = newcomer.rate(0, NEWEST), newcomer.newest(), frozen.newest()
        found.append(
            f"Of the newcomer's first {NEWEST} strings it got {first:.1%} of the digits wrong, of the newest {NEWEST} "
            f"{last:.1%}; the model that was frozen when they came gets {still:.1%} of these wrong"
        )
        found.append(_fall(newcomer, first))
        return found


def _fall(newcomer: Curve, first: float) -> str:
    rates = newcomer.rolling()[NEWEST - 1 :]
    below = np.flatnonzero(rates <= first / 2)
    if not first:
        return "It had no trouble with the accent from the first string on"
    if not len(below):
        return "Learning has not halved the newcomer's error yet"
    return f"Learning halved the newcomer's error within {below[0] + NEWEST} of their strings"


@dataclass(frozen=True)
class GroupHeard:
    """How a group was heard at the end: digit error rates without and with noise, of so many strings each."""

    name: str
    quiet: float
    noisy: float
    frozen: tuple[float, float] | None
    strings: int


def rate_of(heard: Sequence[Heard]) -> float:
    """The digit error rate of strings.

    >>> rate_of([Heard((1,), 0, 1), Heard((), 2, 3)])
    0.5
    """
    return sum(one.wrong for one in heard) / max(1, sum(one.length for one in heard))
