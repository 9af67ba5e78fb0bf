"""The learner at work on strings: transcribes each one, and only then learns what was said.

It is the learner that a job with ``target.kind: transcript`` runs: a GRU of 64 units reads four frames, 40 ms, a step,
and CTC finds out by itself which digit is where. It reads forwards and standardises by what it has heard so far, so
that it can say what it has understood while somebody is still speaking.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from streamrnn.core.sequences import reasons
from streamrnn.core.sequences.edit_distance import distance
from streamrnn.demo.speech.features import COEFFICIENTS, HOP_S, Floats
from streamrnn.learner.block import Answers, Block, Frames
from streamrnn.learner.making import new_learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec

UNITS, STACK = 64, 4
CHUNK_S: Final = 0.1
CHUNK: Final = round(CHUNK_S / HOP_S)
"""Frames of a chunk."""
LONGEST_S: Final = 30.0
"""Of what is said at a time; the rest of a longer sound is not heard."""
STREAM: Final = b"microphone"


def new_spec() -> LearnerSpec:
    """What learns."""
    return LearnerSpec(
        n_features=COEFFICIENTS,
        target=TargetSpec(fields=("digits",), kind="transcript", classes=tuple("0123456789")),
        sequence=SequenceSpec(max_steps=round(LONGEST_S / HOP_S / STACK), stack=STACK, chunks=True),
        has_end=True,
        inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(cell="gru", hidden_size=UNITS, readout="softmax"),
        learning=LearningSpec(lr=8e-3, schedule="inverse_sqrt", schedule_updates=300, clip_norm=1.0),
    )


@dataclass(frozen=True)
class Heard:
    """What was heard of a string: how many edits it is from the ``length`` digits that were said."""

    digits: tuple[int, ...]
    wrong: int
    length: int
    learned: bool = False


class Recogniser:
    """Hears strings of digits, as frames (n, COEFFICIENTS)."""

    def __init__(self, spec: LearnerSpec | None = None, seed: int = 1) -> None:
        self.learner = new_learner(spec or new_spec(), seed)
        self._time_ms = 0

    def learn(self, frames: Floats, digits: tuple[int, ...]) -> Heard:
        """Transcribe a string, then learn what was said."""
        self._time_ms += 1_000
        said = self.learner.process(self._block(frames, digits))
        assert said.sequences is not None
        heard = _said(said)[-1]
        learned = int(said.sequences.reason[0]) == reasons.NONE
        return Heard(heard, edits(heard, digits), len(digits), learned)

    def hear(self, frames: Floats, digits: tuple[int, ...]) -> Heard:
        """Transcribe a string and change nothing."""
        heard = self.transcript(frames)
        return Heard(heard, edits(heard, digits), len(digits))

    def transcript(self, frames: Floats) -> tuple[int, ...]:
        """What is said, all of it."""
        return _said(self.learner.predict(self._block(frames)))[-1]

    def as_it_comes(self, frames: Floats) -> list[tuple[int, ...]]:
        """What it has understood after each chunk. A copy listens, so that nothing changes."""
        listener = copy.deepcopy(self.learner)
        cuts = [*range(0, max(len(frames), 1), CHUNK), len(frames)]
        chunks = [frames[start:end] for start, end in itertools.pairwise(cuts)]
        self._time_ms += 1_000
        return _said(listener.process(self._block(*chunks)))

    def frozen(self) -> Recogniser:
        """A copy, which stays as this one is now."""
        return copy.deepcopy(self)

    def _block(self, *chunks: npt.NDArray[np.float64] | tuple[int, ...]) -> Block:
        """A block of chunks of one string; behind the last one may come its digits."""
        digits = chunks[-1] if isinstance(chunks[-1], tuple) else None
        frames = [chunk for chunk in chunks if not isinstance(chunk, tuple)]
        n, answer = len(frames), digits or ()
        end, known = np.arange(n) == n - 1, np.zeros(n, np.bool_)
        known[-1] = digits is not None
        return Block(
            keys=[STREAM] * n,
            time_ms=np.full(n, self._time_ms, np.int64),
            x=np.zeros((n, 0)),
            y=np.full((n, 1), np.nan),
            end=end,
            kind=np.zeros(n, np.uint8),
            event=np.zeros(n, np.uint64),
            frames=Frames(np.cumsum([0, *map(len, frames)]), np.concatenate(frames)),
            answers=Answers(np.array([*[0] * n, len(answer)], np.int64), np.array(answer, np.float64), known),
        )


def edits(heard: tuple[int, ...], digits: tuple[int, ...]) -> int:
    """How many digits were put in, left out or taken for another one.

    >>> edits((1, 2, 3), (1, 3, 3, 4))
    2
    """
    rows = np.zeros((2, len(digits) + 1), np.int64)
    return distance(np.array(heard, np.int64), np.array(digits, np.int64), rows)


def _said(predictions: Predictions) -> list[tuple[int, ...]]:
    """The digits that are said of each record."""
    said = predictions.sequences
    assert said is not None
    return [tuple(said.number[start:end].tolist()) for start, end in itertools.pairwise(said.bounds.tolist())]
