"""Sequences of coins, each step labelled by the coins three before and three after it; what can be known is known.

Whoever reads forwards knows one of the two and guesses the other: half of the labels are wrong and each costs one bit.
Three steps further on both are known.
"""

from __future__ import annotations

import itertools

import numpy as np

from streamrnn.learner.block import Answers, Block, Frames
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec

AWAY = 3


def tagging_spec(model: ModelSpec, classes: int, learning: LearningSpec) -> LearnerSpec:
    return LearnerSpec(
        n_features=1,
        indicator=(True,),
        target=TargetSpec(fields=("y",), kind="labels", classes=tuple(range(classes))),
        sequence=SequenceSpec(max_steps=40),
        model=model,
        learning=learning,
        inputs=InputSpec(dt=False, previous_target=False),
    )


def tagged(n: int, xor: bool, seed: int = 0) -> Block:
    """n sequences of 10 to 30 coins; the label is the pair of the two coins, or whether they differ."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(10, 31, n)
    bounds = np.cumsum([0, *lengths.tolist()])
    coins = rng.integers(0, 2, bounds[-1])
    labels = np.full(len(coins), np.nan)
    for start, end in itertools.pairwise(bounds.tolist()):
        past, future = coins[start : end - 2 * AWAY], coins[start + 2 * AWAY : end]
        labels[start + AWAY : end - AWAY] = past ^ future if xor else 2 * past + future
    return Block(
        keys=[b"k%d" % (i % 3) for i in range(n)],
        time_ms=np.arange(n) * 1000,
        x=np.zeros((n, 0)),
        y=np.full((n, 1), np.nan),
        end=np.ones(n, np.bool_),
        kind=np.zeros(n, np.uint8),
        event=np.zeros(n, np.uint64),
        frames=Frames(bounds, coins[:, None] * 2.0 - 1.0),
        answers=Answers(bounds.copy(), labels, np.ones(n, np.bool_)),
    )
