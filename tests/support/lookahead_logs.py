"""Specifications of learners that look ahead, made of those of others, and logs for them in pieces.

Sequences may be closed, too, which is no record of a log: ``pieces`` says where.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core.kinds import CLOSE
from streamrnn.learner.block import Block
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from tests.oracle.lookahead import NaiveLookaheadLearner, shape_of
from tests.support.logs import LOSSES, part, specs

WINDOWED = ("rnn", "lstm", "gru")


def looking_ahead(spec: LearnerSpec, lookahead: int) -> LearnerSpec:
    """The same learner, but that it looks so many steps ahead."""
    of = replace(
        spec,
        model=replace(spec.model, direction="both", lookahead=lookahead, num_layers=1, hidden_layer=None),
        inputs=replace(spec.inputs, previous_target=False),
    )
    if of.streams.max_bytes is None:
        return of
    return replace(of, streams=replace(of.streams, max_bytes=3 * bytes_per_slot(of) + 50))


@st.composite
def lookahead_specs(draw: st.DrawFn, dtype: str = "float64", optimizers: tuple[str, ...] = ()) -> LearnerSpec:
    """Small learners of every cell, loss and optimiser, which look up to five steps ahead."""
    losses = tuple(of for of in LOSSES if of[0] != "rls")
    windowed = draw(specs(dtype, optimizers, losses=losses, known="record", cells=WINDOWED))
    return looking_ahead(windowed, draw(st.integers(1, 5)))


def pair(spec: LearnerSpec) -> tuple[LookaheadLearner, NaiveLookaheadLearner]:
    """A learner and its twin with the same random weights, biases included."""
    learner = LookaheadLearner(spec, seed=1)
    weights = shape_of(spec).random_weights(np.random.default_rng(0))
    learner.set_weights(weights)
    return learner, NaiveLookaheadLearner(spec, weights)


def pieces(block: Block, cuts: list[int]) -> Iterator[Block]:
    """The log cut at these places; what closes a sequence stands alone."""
    n = len(block)
    closings = [place for i in np.flatnonzero(block.kind == CLOSE).tolist() for place in (i, i + 1)]
    places = sorted({0, n, *closings, *(min(cut, n) for cut in cuts)})
    for start, stop in itertools.pairwise(places):
        yield part(block, start, stop)


def processed(learner: LookaheadLearner, piece: Block) -> Predictions:
    """What is said with a piece."""
    closes = len(piece) == 1 and piece.kind[0] == CLOSE
    return learner.close(piece.keys[0]) if closes else learner.process(piece)
