"""The learner, to whom a word is a sequence of letters, and its pronunciation another one, of sounds.

It reads a word both ways, with 64 units each, and says it with 128 that look back at the letters. What it learns from
is the usual pronunciation, and it does so once, after it has said the word itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.pronounce.account import Attempt, attempt
from streamrnn.demo.pronounce.words import LETTERS, SOUNDS, Sounds, Word
from streamrnn.learner.block import EVENT, Answers, Block, Frames
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec

SPEC: Final = LearnerSpec(
    n_features=0,
    symbols=(Symbols(values=tuple(LETTERS)),),
    target=TargetSpec(fields=("sounds",), kind="sequence", classes=SOUNDS, max_symbols=40),
    sequence=SequenceSpec(max_steps=64),
    inputs=InputSpec(dt=False, previous_target=False),
    model=ModelSpec(cell="lstm", hidden_size=64, direction="both", readout="softmax"),
    learning=LearningSpec(lr=4e-3, schedule="inverse_sqrt", schedule_updates=2_000, clip_norm=1.0, average=0.9995),
)


class Pronouncer:
    """Says words and learns how they are said."""

    def __init__(self, spec: LearnerSpec = SPEC, seed: int = 0) -> None:
        self.learner = SequenceLearner(spec, seed)

    def try_and_learn(self, words: Sequence[Word]) -> list[Attempt]:
        """What it says of each word before it learns how that is said, one word after the other."""
        return _attempts(words, self.learner.process(block_of(words)))

    def try_only(self, words: Sequence[Word]) -> list[Attempt]:
        """What it says of words as it is now; nothing is learned."""
        return _attempts(words, self.learner.predict(block_of(words)))

    def look(self, word: Word) -> tuple[Attempt, npt.NDArray[np.float64]]:
        """What it says of a word, and how much it looked at each letter for each sound: (sounds, letters)."""
        (said,) = self.try_only([word])
        return said, self.learner.attention()


def _attempts(words: Sequence[Word], predictions: Predictions) -> list[Attempt]:
    scores = predictions.sequences
    assert scores is not None
    numbers = scores.number.tolist()
    said: list[Sounds] = [tuple(numbers[a:b]) for a, b in itertools.pairwise(scores.bounds.tolist())]
    return [attempt(word, sounds) for word, sounds in zip(words, said, strict=True)]


def block_of(words: Sequence[Word]) -> Block:
    """The words as the learner is given them, each with its usual pronunciation."""
    n = len(words)
    letters: list[str | None] = [letter for word in words for letter in word.spelling]
    answers = [word.sounds[0] for word in words]
    return Block(
        keys=[b"words"] * n,
        time_ms=np.zeros(n, np.int64),
        x=np.zeros((n, 0)),
        y=np.zeros((n, 1)),
        end=np.ones(n, np.bool_),
        kind=np.full(n, EVENT, np.uint8),
        event=np.zeros(n, np.uint64),
        frames=Frames(_bounds([len(word.spelling) for word in words]), np.zeros((len(letters), 0)), (letters,)),
        answers=Answers(
            _bounds([len(sounds) for sounds in answers]),
            np.array([number for sounds in answers for number in sounds], np.float64),
            np.ones(n, np.bool_),
        ),
    )


def _bounds(lengths: list[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
