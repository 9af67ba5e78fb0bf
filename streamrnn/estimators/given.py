"""Sequences that were given to an estimator, read, and what they turn out to be: from there to a learner's block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrnn.errors import RecordError
from streamrnn.estimators.columns import Floats
from streamrnn.estimators.frames import FrameColumns, Read
from streamrnn.learner.block import EVENT, Answers, Block, Frames
from streamrnn.learner.values import describe


class Told(NamedTuple):
    """What n sequences turn out to be, in the columns of a ``Block`` that are the kind's."""

    y: Floats  # (n, 1)
    labels: list[str | None] | None = None
    answers: Answers | None = None


class Given(NamedTuple):
    """One sequence, read."""

    columns: FrameColumns
    key: bytes
    read: Read
    answer: Any


def block_of(sequences: Sequence[Given], told: Told, columns: FrameColumns, *, end: bool) -> Block:
    """The sequences as the learner takes them, in the columns that it has; ``end``: they are whole with that."""
    n = len(sequences)
    bounds = np.zeros(n + 1, np.int64)
    np.cumsum([len(each.read.x) for each in sequences], out=bounds[1:])
    x = np.full((int(bounds[-1]), columns.n_features), np.nan)
    for each, start, stop in zip(sequences, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        x[start:stop, : each.read.x.shape[1]] = each.read.x
    symbols = tuple([text for each in sequences for text in each.read.symbols[k]] for k in range(len(columns.symbols)))
    return Block(
        [each.key for each in sequences],
        np.zeros(n, np.int64),
        np.zeros((n, 0)),
        told.y,
        np.full(n, end),
        np.full(n, EVENT, np.uint8),
        np.zeros(n, np.uint64),
        labels=told.labels,
        frames=Frames(bounds, x, symbols),
        answers=told.answers,
    )


def require_sequence(y: Any) -> list[Any] | None:
    """An answer that is a list or an array of plain values, as a list; None: it is not known. Raises RecordError."""
    if y is None:
        return None
    if isinstance(y, np.ndarray):
        y = y.tolist() if y.ndim == 1 else y
    if isinstance(y, str) or not isinstance(y, Sequence):
        raise RecordError("wrong_type", f"y: expected a list, got {describe(y)}")
    return list(y)
