"""The slow, obvious way from outputs to symbols: CTC by every path, beams in dictionaries, edit distance by recursion.

Graves et al. (2006), Graves (2012, prefixes), Sutskever et al. (2014, beams of a decoder). Symbols are numbers of
classes; of a transcript output 0 is the blank and output k + 1 is class k. What is level goes to the lower number.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tests.oracle.network import Array
from tests.oracle.sequences_tape import Node, log_softmax, log_sum

BLANK = 0
Symbols = tuple[int, ...]


def merged(path: Sequence[int]) -> Symbols:
    """What a path of outputs reads as: runs are one symbol, blanks are none."""
    return tuple(output - 1 for output, _ in itertools.groupby(path) if output != BLANK)


def least_steps(symbols: Sequence[int]) -> int:
    """A step for each symbol, and one between two that are alike."""
    return len(symbols) + sum(a == b for a, b in itertools.pairwise(symbols))


def all_labellings(logs: Array) -> dict[Symbols, float]:
    """The probability of everything that log-probabilities [T, O] can read as, summed up path by path."""
    found: dict[Symbols, float] = defaultdict(float)
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        found[merged(path)] += math.exp(sum(logs[t, output] for t, output in enumerate(path)))
    return dict(found)


def ctc_loss(outputs: Sequence[Node], symbols: Sequence[int]) -> Node:
    """-log of the probability of the symbols, in nats; they must be possible.

    A place is a blank before, between or behind the symbols, or a symbol; ``reached`` holds, of the places that a path
    may be at after a step, the logarithm of the probability of all paths to it.
    """
    logs = [log_softmax(out) for out in outputs]
    places = [BLANK]
    for symbol in symbols:
        places += [symbol + 1, BLANK]
    reached = {0: logs[0][BLANK]}
    if symbols:
        reached[1] = logs[0][places[1]]
    for row in logs[1:]:
        following: dict[int, Node] = {}
        for place, output in enumerate(places):
            came = [place, place - 1]
            if output != BLANK and place >= 2 and places[place - 2] != output:
                came.append(place - 2)
            terms = [reached[p] for p in came if p in reached]
            if terms:
                following[place] = log_sum(terms) + row[output]
        reached = following
    ends = [reached[p] for p in (len(places) - 1, len(places) - 2) if p in reached]
    return Node(0.0) - log_sum(ends)


@dataclass(frozen=True)
class Said:
    """Symbols, or numbers, and how probable each symbol is."""

    symbols: Symbols
    values: tuple[float, ...]


def best_path(logs: Sequence[Array]) -> Said:
    """The most probable output of each step, merged; a symbol is as probable as the best step of its run."""
    best = [int(np.argmax(row)) for row in logs]
    symbols, values, t = [], [], 0
    for output, run in itertools.groupby(best):
        n = len(list(run))
        if output != BLANK:
            symbols.append(output - 1)
            values.append(max(float(np.exp(row[output])) for row in logs[t : t + n]))
        t += n
    return Said(tuple(symbols), tuple(values))


def prefix_beam(logs: Array, width: int, most: int) -> Symbols:
    """The best of the prefixes that are kept: each with the probability of its paths that end in a blank, and others.

    Where two are level the shorter one is kept first, then that of the better beginning, then the lower symbol.
    """
    beam: dict[Symbols, tuple[float, float]] = {(): (1.0, 0.0)}
    for row in np.exp(logs):
        found: dict[Symbols, list[float]] = {}
        for prefix, (blank, other) in beam.items():
            stays = found.setdefault(prefix, [0.0, 0.0])
            stays[0] += (blank + other) * row[BLANK]
            if prefix:
                stays[1] += other * row[prefix[-1] + 1]
            for symbol in range(len(row) - 1 if len(prefix) < most else 0):
                again = bool(prefix) and prefix[-1] == symbol
                found.setdefault((*prefix, symbol), [0.0, 0.0])[1] += (blank if again else blank + other) * row[
                    symbol + 1
                ]
        ranked = sorted(found.items(), key=lambda item: (-sum(item[1]), len(item[0])))
        beam = {prefix: (blank, other) for prefix, (blank, other) in ranked[:width]}
    return next(iter(beam))


def values_along_best_alignment(logs: Array, symbols: Symbols) -> tuple[float, ...]:
    """How probable each symbol is: the best step of its run, on the most probable path that reads as all of them."""

    @cache
    def best(t: int, done: int, newest: int) -> tuple[float, tuple[int, ...]]:
        """The best way on from step t, ``done`` symbols being said and ``newest`` the output before."""
        if t == len(logs):
            return (0.0 if done == len(symbols) else -math.inf), ()
        options = {BLANK: done}
        if newest != BLANK:
            options[newest] = done
        if done < len(symbols) and symbols[done] + 1 != newest:
            options[symbols[done] + 1] = done + 1
        ways = []
        for output, then in options.items():
            score, path = best(t + 1, then, output)
            ways.append((score + logs[t, output], (output, *path)))
        return max(ways, key=lambda way: way[0])

    _, path = best(0, 0, BLANK)
    values, t = [], 0
    for output, run in itertools.groupby(path):
        n = len(list(run))
        if output != BLANK:
            values.append(float(np.exp(logs[t : t + n, output].max())))
        t += n
    return tuple(values)


def edits(said: Sequence[int], truth: Sequence[int]) -> int:
    """Symbols to put in, to leave out or to change (Levenshtein)."""

    @cache
    def between(i: int, j: int) -> int:
        """Of the first i and the first j."""
        if i == 0 or j == 0:
            return i + j
        same = between(i - 1, j - 1) + (said[i - 1] != truth[j - 1])
        return min(same, between(i - 1, j) + 1, between(i, j - 1) + 1)

    for j in range(len(truth) + 1):  # from below, so that no recursion is deep
        for i in range(len(said) + 1):
            between(i, j)
    return between(len(said), len(truth))


State = Any
Next = Callable[[State, int], tuple[Array, State]]
"""From a state and the newest symbol: the logarithms of the probabilities of the next one, and the state then."""


def greedy(following: Next, state: State, end: int, most: int) -> Said:
    """The likeliest symbol each time, until that is the end."""
    newest, symbols, values = end, [], []
    while len(symbols) < most:
        logs, state = following(state, newest)
        newest = int(np.argmax(logs))
        if newest == end:
            break
        symbols.append(newest)
        values.append(float(np.exp(logs[newest])))
    return Said(tuple(symbols), tuple(values))


@dataclass
class Beginning:
    """Symbols so far, the logarithm of their probability, and the state behind them."""

    symbols: Symbols
    values: tuple[float, ...]
    score: float
    state: State


def beam(following: Next, state: State, end: int, most: int, width: int) -> Said:
    """The best by the logarithm of its probability, divided by its symbols, an end counted.

    Each time the likeliest continuations of all beginnings are kept, in as many places as have not been taken by one
    that ended.
    """
    live, ended = [Beginning((), (), 0.0, state)], []
    for t in range(most):
        found = [new for beginning in live for new in continued(following, beginning, end)]
        found.sort(key=lambda new: -new[1].score)  # keeps the order of those that are level
        kept, live = found[: width - len(ended)], []
        for symbol, new in kept:
            if symbol == end:
                ended.append((new.score / (t + 1), new))
            else:
                live.append(new)
        if not live:
            break
    ended += [(beginning.score / most, beginning) for beginning in live]
    best = max(ended, key=lambda pair: pair[0])[1]
    return Said(best.symbols, best.values)


def continued(following: Next, b: Beginning, end: int) -> Iterator[tuple[int, Beginning]]:
    """All ways on from a beginning."""
    logs, state = following(b.state, b.symbols[-1] if b.symbols else end)
    for symbol, log in enumerate(logs):
        if symbol == end:
            yield symbol, Beginning(b.symbols, b.values, b.score + log, state)
        else:
            values = (*b.values, float(np.exp(log)))
            yield symbol, Beginning((*b.symbols, symbol), values, b.score + log, state)
