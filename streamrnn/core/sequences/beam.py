"""The transcript of a sequence by a beam of prefixes: all paths that read alike count together.

The most probable path need not read as the most probable labels, whose probability may be spread over many paths. So B
prefixes of labels are kept from step to step, each with the probability of all paths that read as it: of those that end
in a blank, after which the same symbol may be said again, and of the others. At a step each prefix stays as it is, or a
symbol is added to it; where that gives a prefix which is in the beam already, the two are one. The B most probable are
kept, of those that are level the shorter, then the one whose beginning was more probable, then the lower symbol: so the
same logits say the same everywhere. With room for all prefixes the last step's first is the most probable labelling.

Its cost is O(T B (O + B)). Whether two prefixes are alike is asked of their hashes first, then of the symbols. The
probability that goes with a symbol is the highest that a step of its run gives it, along the most probable path that
reads as the transcript: where that is the greedy one, probabilities are those of ``best_path``.

Graves, Supervised sequence labelling with recurrent neural networks, 2012; Hannun, Maas, Jurafsky & Ng, First-pass
large vocabulary continuous speech recognition using bi-directional recurrent DNNs, 2014, here without a language model.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from streamrnn.core.arrays import F1, F2, I1, I2
from streamrnn.core.jit import ZERO, jit
from streamrnn.core.sequences.ctc import NEVER, jumps, log_add, output_at
from streamrnn.core.sequences.kinds import BLANK

BLANKS, OTHERS, ALL = 0, 1, 2
"""Columns of scores: log-probabilities of the paths that end in a blank, of the others, and of all."""
SCORES = 3
LENGTH, HASH, HASH_BEFORE, BEFORE, FROM, ADDED = 0, 1, 2, 3, 4, 5
"""Columns of numbers: how many symbols a prefix has, its hash, the hash without its newest symbol, and which rank the
prefix without it has in the beam, or -1; and of the step at work, from which rank it was made, and the symbol added."""
NUMBERS = 6
NO_SYMBOL = cast(int, np.int64(-1))
FACTOR, MODULUS = 1_000_003, 2_147_483_647


@jit
def decode(
    log_probabilities: F2, n: int, alpha: F2, scores: F2, symbols: I2, numbers: I2, said: I1, said_value: F1
) -> int:
    """The labels that log_probabilities (T, O), of which the first n are in use, say; returns how many.

    said (M,) receives their classes and said_value (M,) their probabilities. Work space: scores (2 B, SCORES or more),
    symbols (2 B, M), numbers (2 B, NUMBERS or more) and alpha (T or more, 2 M + 1). B is the beam's width, and M the
    most symbols of a prefix: what all these have room for.
    """
    width, kept = scores.shape[0] // 2, 1
    room = min(min(symbols.shape[1], said.shape[0]), (alpha.shape[1] - 1) // 2)
    scores[0, BLANKS], scores[0, OTHERS], scores[0, ALL] = 0.0, NEVER, 0.0
    numbers[0, LENGTH], numbers[0, HASH], numbers[0, HASH_BEFORE] = 0, 0, -1
    at = ZERO  # the beam is in the first B rows or in the others, and the next one is written to those that are left
    for t in range(log_probabilities.shape[0]):
        to = width - at
        now, then = slice(at, at + width), slice(to, to + width)
        find_beginnings(kept, symbols[now], numbers[now])
        kept = choose(
            log_probabilities[t, :n], kept, room, symbols[now], scores[now], numbers[now], scores[then], numbers[then]
        )
        spell(kept, symbols[now], numbers[now], symbols[then], numbers[then])
        at = to
    if kept == 0:  # the probability of everything is below that of any number
        return 0
    length = int(numbers[at, LENGTH])
    for u in range(length):
        said[u] = symbols[at, u]
    if log_probabilities.shape[0] > 0:
        best_alignment(log_probabilities, said[:length], alpha)
        follow(log_probabilities, said[:length], alpha, said_value)
    return length


@jit
def find_beginnings(kept: int, symbols: I2, numbers: I2) -> None:
    """The column BEFORE of the first ``kept`` prefixes."""
    for j in range(kept):
        numbers[j, BEFORE] = -1
        for i in range(kept):
            if numbers[i, HASH] == numbers[j, HASH_BEFORE] and begins(symbols, numbers, i, j):
                numbers[j, BEFORE] = i


@jit
def begins(symbols: I2, numbers: I2, i: int, j: int) -> bool:
    """Whether prefix i and one more symbol is prefix j."""
    length = int(numbers[i, LENGTH])
    alike: bool = length + 1 == numbers[j, LENGTH]
    for u in range(length if alike else ZERO):
        alike = alike and symbols[i, u] == symbols[j, u]
    return alike


@jit
def choose(y: F1, kept: int, room: int, symbols: I2, scores: F2, numbers: I2, next_scores: F2, next_numbers: I2) -> int:
    """The next beam, best first, of what prefixes become at a step with log-probabilities y (n,); how many it has."""
    found = ZERO
    for i in range(kept):
        blanks, others = scores[i, ALL] + y[BLANK], said_again(y, i, symbols, scores, numbers)
        length = numbers[i, LENGTH]
        found = insert(blanks, others, i, NO_SYMBOL, length, found, next_scores, next_numbers)
        for symbol in range(y.shape[0] - 1 if length < room else ZERO):
            score = added(y, symbol, i, symbols, scores, numbers)
            if (found < next_scores.shape[0] or score >= next_scores[found - 1, ALL]) and not in_beam(
                kept, i, symbol, symbols, numbers
            ):
                found = insert(NEVER, score, i, symbol, length + 1, found, next_scores, next_numbers)
    return found


@jit
def said_again(y: F1, i: int, symbols: I2, scores: F2, numbers: I2) -> float:
    """The log-probability of the paths that read as prefix i and end in its newest symbol at this step.

    Either that was the output before, too, or the prefix without it was in the beam, and it is added to that.
    """
    if numbers[i, LENGTH] == 0:
        return NEVER
    newest, before = symbols[i, numbers[i, LENGTH] - 1], numbers[i, BEFORE]
    score = scores[i, OTHERS] + y[newest + 1]
    return log_add(score, added(y, newest, before, symbols, scores, numbers)) if before >= 0 else score


@jit
def added(y: F1, symbol: int, i: int, symbols: I2, scores: F2, numbers: I2) -> float:
    """The log-probability of the paths that say a symbol at this step behind prefix i: its newest needs a blank."""
    length = numbers[i, LENGTH]
    again = length > 0 and symbols[i, length - 1] == symbol
    score: float = scores[i, BLANKS if again else ALL] + y[symbol + 1]
    return score


@jit
def in_beam(kept: int, i: int, symbol: int, symbols: I2, numbers: I2) -> bool:
    """Whether prefix i and the symbol are a prefix of the beam, which counts the paths that add it itself."""
    there = False
    for j in range(kept):
        there = there or (numbers[j, BEFORE] == i and symbols[j, numbers[j, LENGTH] - 1] == symbol)
    return there


@jit
def insert(blanks: float, others: float, i: int, symbol: int, length: int, found: int, scores: F2, numbers: I2) -> int:
    """Put a prefix in its place among those found, behind those that are level; returns how many there are then."""
    score = log_add(blanks, others)
    place = min(found, scores.shape[0])
    while place > 0 and (
        scores[place - 1, ALL] < score or (scores[place - 1, ALL] == score and numbers[place - 1, LENGTH] > length)
    ):
        place -= 1
    if place == scores.shape[0] or score == NEVER:
        return found
    grown: int = min(found + 1, scores.shape[0])
    for row in range(grown - 1, place, -1):
        for column in range(SCORES):
            scores[row, column] = scores[row - 1, column]
        for column in range(NUMBERS):
            numbers[row, column] = numbers[row - 1, column]
    scores[place, BLANKS], scores[place, OTHERS], scores[place, ALL] = blanks, others, score
    numbers[place, LENGTH], numbers[place, FROM], numbers[place, ADDED] = length, i, symbol
    return grown


@jit
def spell(kept: int, symbols: I2, numbers: I2, next_symbols: I2, next_numbers: I2) -> None:
    """Symbols and hashes of the next beam."""
    for j in range(kept):
        i, symbol, length = next_numbers[j, FROM], next_numbers[j, ADDED], next_numbers[j, LENGTH]
        for u in range(length if symbol < 0 else length - 1):
            next_symbols[j, u] = symbols[i, u]
        next_numbers[j, HASH], next_numbers[j, HASH_BEFORE] = numbers[i, HASH], numbers[i, HASH_BEFORE]
        if symbol >= 0:
            next_symbols[j, length - 1] = symbol
            next_numbers[j, HASH_BEFORE] = numbers[i, HASH]
            next_numbers[j, HASH] = (numbers[i, HASH] * FACTOR + symbol + 1) % MODULUS


@jit
def best_alignment(log_probabilities: F2, labels: I1, alpha: F2) -> None:
    """alpha (T, K): as ``ctc.beginnings``, but of the most probable beginning alone (Viterbi)."""
    places = 2 * labels.shape[0] + 1
    alpha[0, :places] = NEVER
    for place in range(min(2, places)):
        alpha[0, place] = log_probabilities[0, output_at(labels, place)]
    for t in range(1, log_probabilities.shape[0]):
        for place in range(places):
            best = alpha[t - 1, place - came_by(labels, alpha[t - 1], place)]
            alpha[t, place] = best + log_probabilities[t, output_at(labels, place)]


@jit
def came_by(labels: I1, before: F1, place: int) -> int:
    """How many places the most probable path to a place goes on by, the fewest where several are level."""
    steps = ZERO
    if place > 0 and before[place - 1] > before[place]:
        steps = 1
    if jumps(labels, place) and before[place - 2] > before[place - steps]:
        steps = 2
    return steps


@jit
def follow(log_probabilities: F2, labels: I1, alpha: F2, value: F1) -> None:
    """value (U,): the probability of each label along the most probable path that ``best_alignment`` left in alpha."""
    value[: labels.shape[0]] = 0.0
    t = log_probabilities.shape[0] - 1
    place = 2 * labels.shape[0]
    if place > 0 and alpha[t, place - 1] > alpha[t, place]:
        place -= 1
    while t >= 0:
        if place % 2 == 1:
            u = place // 2
            value[u] = max(value[u], math.exp(log_probabilities[t, labels[u] + 1]))
        if t > 0:
            place -= came_by(labels, alpha[t - 1], place)
        t -= 1
