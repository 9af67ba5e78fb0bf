"""Specifications of small learners in double precision, and events for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamrnn.learner.block import Block
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec

CELLS = ("rnn", "lstm", "gru")
EXACT = ({"cell": "glru"}, {"cell": "glru", "gates": False}, {"cell": "elstm"})
"""Models whose gradient is carried along."""
STREAMS_SEEN = 3


def spec(
    n_features: int = 3,
    *,
    fields: Sequence[str] = ("y",),
    classes: Sequence[str] | None = None,
    dt: bool = False,
    previous: bool = True,
    model: dict[str, Any] | None = None,
    learning: dict[str, Any] | None = None,
    max_streams: int = 10,
    **target: Any,
) -> LearnerSpec:
    """A small learner in double precision."""
    windows = {} if (model or {}).get("cell") in ("glru", "elstm", "bank") else {"k1": 2, "k2": 6}
    return LearnerSpec(
        n_features=n_features,
        target=TargetSpec(fields=tuple(fields), classes=None if classes is None else tuple(classes), **target),
        inputs=InputSpec(dt=dt, previous_target=previous),
        model=ModelSpec(**{"hidden_size": 4, "dtype": "float64", "lags": 3, **(model or {})}),
        learning=LearningSpec(**{**windows, **(learning or {})}),
        streams=StreamSpec(max_streams=max_streams),
    )


def block(of: LearnerSpec, n: int, start: int = 0) -> Block:
    """Events ``start`` to ``start + n`` of a log of three streams, the same in every call.

    A target depends on its own event and the one before.
    """
    rng = np.random.default_rng(start)
    x = rng.normal(size=(n, of.n_features))
    if of.target.classes is None:
        score = x[:, :1] + np.roll(x[:, :1], STREAMS_SEEN)
        y = score * (1.0 + np.arange(of.n_targets)) + 0.1 * rng.normal(size=(n, of.n_targets))
    else:
        y = rng.integers(len(of.target.classes), size=(n, 1)).astype(np.float64)
    return Block.events(
        [b"%d" % (i % STREAMS_SEEN) for i in range(n)], x, y, time_ms=1_000 * np.arange(start, start + n)
    )
