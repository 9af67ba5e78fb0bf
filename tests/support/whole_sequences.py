"""Small learners of whole sequences, and logs for them written out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamrnn.learner.block import EVENT, Answers, Block, Frames
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec

Array = np.ndarray


def spec_with(
    kind: str, *, classes: Any = ("p", "q", "r"), target: Any = (), sequence: Any = (), model: Any = (), **learning: Any
) -> LearnerSpec:
    """A learner in float64 whose inputs and targets stay as they are, and which takes plain steps.

    ``classes=None``: of numbers.
    """
    readout = {"readout": "softmax"} if classes else {"readout": "linear", "loss": "squared"}
    plain = {"optimizer": "sgd", "lr": 0.1, "clip_norm": None, "polyak_bound": None, "scale": False}
    chunks = dict(sequence).get("chunks", False)
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",), kind=kind, classes=classes, **{"max_symbols": 5, **dict(target)}),
        sequence=SequenceSpec(**{"max_steps": 12, **dict(sequence)}),
        model=ModelSpec(**{"cell": "gru", "hidden_size": 3, "dtype": "float64", **readout, **dict(model)}),
        learning=LearningSpec(**{**plain, **learning}),
        inputs=InputSpec(dt=False, previous_target=False),
        has_end=chunks,
    )


def records(
    frames: Sequence[Array], answers: Sequence[Sequence[float] | None] | None = None, *,
    labels: Sequence[float] | None = None, end: Sequence[bool] | None = None, time_ms: Sequence[int] | None = None,
    kind: int = EVENT, keys: Sequence[bytes] | None = None,
) -> Block:  # fmt: skip
    """A record for each array of frames (T, 2), of one stream unless ``keys`` are given."""
    n, given = len(frames), [answer or [] for answer in answers or []]
    return Block(
        keys=list(keys or [b"a"] * n),
        time_ms=np.array(time_ms or [0] * n, np.int64),
        x=np.zeros((n, 0)),
        y=np.full((n, 1), np.nan) if labels is None else np.array(labels, float)[:, None],
        end=np.ones(n, np.bool_) if end is None else np.array(end, np.bool_),
        kind=np.full(n, kind, np.uint8),
        event=np.zeros(n, np.uint64),
        frames=Frames(np.cumsum([0, *map(len, frames)]), np.concatenate(frames) if n else np.zeros((0, 2))),
        answers=None if answers is None else Answers(
            np.cumsum([0, *map(len, given)]), np.array([y for answer in given for y in answer], float),
            np.array([answer is not None for answer in answers], np.bool_),
        ),
    )  # fmt: skip


def some_frames(steps: int, seed: int = 0) -> Array:
    """Frames (T, 2)."""
    return np.random.default_rng(seed).normal(size=(steps, 2))


def learner_with(spec: LearnerSpec, seed: int = 0) -> SequenceLearner:
    """A learner with random weights that are not small, so that what it says depends on what it reads."""
    learner, rng = SequenceLearner(spec, 0), np.random.default_rng(seed)
    learner.set_weights({name: rng.normal(0.0, 0.7, w.shape) for name, w in learner.get_weights().items()})
    return learner


OPEN = Symbols(open=True, max=4)
