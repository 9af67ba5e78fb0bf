"""Endless streams of symbols that are drawn from a grammar, so that what may come next is known.

Strings of a grammar follow one another without a mark between them: where one ends is to be learned as well. The
*floor* is the entropy rate, the bits per symbol of whoever knows the grammar; no predictor is below it for long.

- a^n b^n (Gers & Schmidhuber 2001): n a's, then as many b's; n is 1 to 8, each as likely. To count is the only way.
- Brackets: an opening bracket of four kinds, then some of four letters at random, then the closing bracket of its kind.
- Continual embedded Reber grammar (Gers et al. 2000): the strings of ``tasks.embedded_reber``, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.support.tasks import REBER_ARCS, REBER_SYMBOLS, embedded_reber, legal_next

LARGEST_COUNT = 8
OPENING, CLOSING, LETTERS = "([{<", ")]}>", "abcd"


class Grammar(NamedTuple):
    """``draw`` gives a string and, for each of its symbols, those that could have stood there; ``floor`` is in bits."""

    symbols: str
    floor: float
    draw: Callable[[np.random.Generator], tuple[str, list[str]]]


def stream(
    grammar: Grammar, rng: np.random.Generator, length: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Numbers of ``length`` symbols or the few more that end a string, and which could have stood there (n, K)."""
    numbers, rows = [], []
    while len(numbers) < length:
        string, legal = grammar.draw(rng)
        numbers += map(grammar.symbols.index, string)
        rows += legal
    return np.array(numbers), np.array([_row(grammar.symbols, legal) for legal in rows])


@cache
def _row(symbols: str, legal: str) -> tuple[bool, ...]:
    return tuple(symbol in legal for symbol in symbols)


def wrong(probabilities: npt.NDArray[np.float64], legal: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where a symbol that could not come was at least as probable as one that could: [n] from two of [n, K].

    >>> wrong(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([[True, True, False], [True, False, True]]))
    array([False,  True])
    """
    least = np.where(legal, probabilities, np.inf).min(axis=1)
    largest = np.where(legal, -np.inf, probabilities).max(axis=1)
    return largest >= least


# -- a^n b^n -----------------------------------------------------------------------------------------------------------


def _counting(rng: np.random.Generator) -> tuple[str, list[str]]:
    n = int(rng.integers(1, LARGEST_COUNT + 1))
    # At the n-th a's successor a b could stand, and another a unless there are as many as there may be.
    legal = ["a"] + ["ab"] * (n - 1) + ["ab" if n < LARGEST_COUNT else "b"] + ["b"] * (n - 1)
    return "a" * n + "b" * n, legal


COUNTING = Grammar("ab", math.log2(LARGEST_COUNT) / (LARGEST_COUNT + 1), _counting)
"""A string has LARGEST_COUNT + 1 symbols on average, and nothing of it is open but how many there are."""


# -- brackets ----------------------------------------------------------------------------------------------------------


def _brackets(distance: int, rng: np.random.Generator) -> tuple[str, list[str]]:
    kind, *between = rng.integers(0, len(OPENING), distance).tolist()
    string = OPENING[kind] + "".join(LETTERS[letter] for letter in between) + CLOSING[kind]
    return string, [OPENING, *[LETTERS] * (distance - 1), CLOSING[kind]]


def brackets(distance: int) -> Grammar:
    """Brackets that close ``distance`` symbols after they opened: two bits for each symbol but the last.

    >>> string, legal = brackets(3).draw(np.random.default_rng(1))
    >>> string, legal
    ('[cd]', ['([{<', 'abcd', 'abcd', ']'])
    """
    bits = distance * math.log2(len(OPENING))
    return Grammar(OPENING + CLOSING + LETTERS, bits / (distance + 1), partial(_brackets, distance))


# -- Reber -------------------------------------------------------------------------------------------------------------


def _reber(rng: np.random.Generator) -> tuple[str, list[str]]:
    string = embedded_reber(rng)
    return string, _legal_reber(string)


@cache
def _legal_reber(string: str) -> list[str]:
    return ["B", *legal_next(string)]


def _reber_floor() -> float:
    """Bits of a string over its symbols, both expected: a bit at every node with two arcs, and one for the branch."""
    nodes = len(REBER_ARCS)
    moves = np.zeros((nodes, nodes))
    for node, arcs in enumerate(REBER_ARCS):
        for following in arcs.values():
            if following < nodes:
                moves[node, following] += 1 / len(arcs)
    visits = np.linalg.inv(np.eye(nodes) - moves)[0]  # how often a string comes by each node, from the first one
    bits = 1.0 + sum(visits[node] * math.log2(len(arcs)) for node, arcs in enumerate(REBER_ARCS))
    return float(bits / (4.0 + visits.sum()))


REBER = Grammar(REBER_SYMBOLS, _reber_floor(), _reber)


GRAMMARS = {"counting": COUNTING, "brackets-5": brackets(5), "brackets-20": brackets(20), "reber": REBER}
