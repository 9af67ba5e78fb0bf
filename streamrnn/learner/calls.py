"""Calls of the kernel: a learner's records as the arrays it reads, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core.arrays import Records
from streamrnn.core.handle import Handle
from streamrnn.learner.spec import LearnerSpec

FEW = 64
"""Up to so many rows go through arrays that are kept: for a single record, to make arrays and their table costs ten
times what the record does."""

Array = npt.NDArray[Any]


class Inputs(NamedTuple):
    """n rows as the kernel reads them, see ``Records``; each has a prediction, and closes its text, unless said."""

    slot: Array
    fresh: Array
    time_ms: Array
    x: Array
    symbols: Array
    y: Array
    end: Array
    kind: Array
    event: Array
    out: Array | None = None
    closes: Array | None = None


class Outputs(NamedTuple):
    """What comes out of n rows but for their predictions."""

    updates: Array
    loss: Array
    error: Array
    grad_norm: Array
    rivals: Array
    width: Array
    rank: Array
    delay: Array


class Calls:
    """Takes rows through a learner's kernels."""

    def __init__(self, spec: LearnerSpec, handle: Handle) -> None:
        self._spec, self._handle = spec, handle
        self._few = self._records(FEW, np.empty((FEW, spec.n_outputs)))
        self._firsts: dict[int, tuple[Records, Callable[[], None]]] = {}

    def first(self, n: int) -> tuple[Records, Callable[[], None]]:
        """The first ``n`` rows of the arrays that are kept, and what processes them."""
        if (first := self._firsts.get(n)) is None:
            rows = Records(*(array[:n] for array in self._few))
            first = self._firsts[n] = rows, self._handle.prepared(rows)
        return first

    def process(self, given: Inputs, value: Array) -> Outputs:
        """What comes out, in arrays of its own; predictions (., n_outputs) are written to ``value``."""
        n = len(given.slot)
        if n <= FEW:
            records, process = self.first(n)
            asked = _fill(records, given)
            process()
            if given.out is None:
                value[...] = records.prediction
            else:
                value[given.out[asked]] = records.prediction[asked]
            return Outputs(*(getattr(records, name).copy() for name in Outputs._fields))
        records = self._records(n, value)
        inputs = {
            name: np.require(array, getattr(records, name).dtype, ["C", "W"])
            for name, array in given._asdict().items()
            if array is not None
        }
        self._handle.process(records._replace(**inputs))
        return Outputs(*(getattr(records, name) for name in Outputs._fields))

    def _records(self, n: int, prediction: Array) -> Records:
        return Records(
            slot=np.zeros(n, np.int64),
            fresh=np.zeros(n, np.bool_),
            time_ms=np.zeros(n, np.int64),
            x=np.zeros((n, self._spec.n_features)),
            symbols=np.full((n, len(self._spec.symbols)), -1, np.int64),
            y=np.zeros((n, self._spec.n_targets)),
            end=np.zeros(n, np.bool_),
            kind=np.zeros(n, np.uint8),
            event=np.zeros(n, np.uint64),
            out=np.arange(n),
            closes=np.ones(n, np.bool_),
            prediction=prediction,
            updates=np.empty(n, np.int64),
            loss=np.empty(n),
            error=np.empty(n),
            grad_norm=np.empty(n),
            rivals=np.empty((n, 2)),
            width=np.empty(n),
            rank=np.empty((n, 2)),
            delay=np.empty(n),
        )


def _fill(records: Records, given: Inputs) -> Array:
    """Rows into the arrays that are kept; returns which of them have a prediction, each in its own row there."""
    for name, array in zip(Inputs._fields, given[:9], strict=False):
        getattr(records, name)[...] = array
    n = len(records.slot)
    records.closes[...] = True if given.closes is None else given.closes
    places = np.arange(n)
    asked: Array = places if given.out is None else np.flatnonzero(given.out >= 0)
    records.out[...] = places if given.out is None else np.where(given.out >= 0, places, -1)
    return asked
