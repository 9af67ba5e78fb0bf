"""Endless streams of symbols, learned online: as few bits as the grammar allows, and no illegal symbol any more."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn import Block, Learner
from tests.bench.grammars import specification
from tests.support.grammars import GRAMMARS, stream, wrong

SYMBOLS, LAST = 80_000, 10_000
BITS = 0.02
ERRORS = 5
"""Errors that are let pass among the last: before the rate has fallen, one in ten thousand is luck."""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["counting", "brackets-5", "reber"])
def test_a_grammar_is_learned_from_an_endless_stream_of_its_symbols(name: str, seed: int) -> None:
    grammar = GRAMMARS[name]
    numbers, legal = stream(grammar, np.random.default_rng([seed, 5]), SYMBOLS)
    learner = Learner(specification(grammar, updates=4_000), seed)
    n = len(numbers)
    predictions = learner.process(Block.events([b"s"] * n, np.zeros((n, 0)), numbers[:, None].astype(np.float64)))
    # What the grammar itself would have needed for these very symbols differs from its rate by the luck of the draw.
    bits = predictions.loss[-LAST:].mean() / np.log(2)
    assert abs(bits - grammar.floor) < BITS
    errors = wrong(predictions.value[:-1], legal[1:])  # each is a forecast of the symbol after it
    assert errors[:LAST].sum() > 10 * ERRORS
    assert errors[-LAST:].sum() <= ERRORS


@pytest.mark.parametrize("name", GRAMMARS)
def test_what_is_drawn_from_a_grammar_is_legal_and_has_as_many_bits_as_its_floor_says(name: str) -> None:
    grammar = GRAMMARS[name]
    numbers, legal = stream(grammar, np.random.default_rng(3), 100_000)
    assert legal[np.arange(len(numbers)), numbers].all()
    # Of most grammars, every symbol that may come is as likely as the others; a^n b^n goes on with a's more often.
    costs = np.log2(legal.sum(axis=1))
    if name == "counting":
        starts = np.flatnonzero(np.diff(numbers, prepend=1) == -1)
        costs = np.full(len(starts), 3.0)  # one of eight lengths
    assert costs.sum() / len(numbers) == pytest.approx(grammar.floor, abs=0.005)
