"""Calls of the kernel: a learner's records as the arrays it reads, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.arrays import Records
from streamrnn.core.handle import Handle
from streamrnn.learner.spec import LearnerSpec

FEW = 64
"""Up to so many records go through arrays that are kept: for a single record, to make arrays and their table costs ten
times what the record does."""

INPUTS = Records._fields.index("prediction")
"""How many of the arrays are read; the others are written."""

Array = npt.NDArray[Any]


class Calls:
    """Takes records through a learner's kernels."""

    def __init__(self, spec: LearnerSpec, handle: Handle) -> None:
        self._spec, self._handle = spec, handle
        self._few = self._records(FEW)
        self._firsts: dict[int, tuple[Records, Callable[[], None]]] = {}

    def first(self, n: int) -> tuple[Records, Callable[[], None]]:
        """The first ``n`` rows of the arrays that are kept, and what processes them."""
        if (first := self._firsts.get(n)) is None:
            rows = Records(*(array[:n] for array in self._few))
            first = self._firsts[n] = rows, self._handle.prepared(rows)
        return first

    def process(self, given: Sequence[Array]) -> list[Array]:
        """What comes out, in arrays of its own; ``given`` are the inputs, in the order of ``Records``."""
        n = len(given[0])
        if n <= FEW:
            records, process = self.first(n)
            for kept, array in zip(records, given, strict=False):
                kept[...] = array
            process()
            return [out.copy() for out in records[INPUTS:]]
        inputs = (np.require(array, kept.dtype, ["C", "W"]) for array, kept in zip(given, self._few, strict=False))
        outputs = self._records(n)[INPUTS:]
        self._handle.process(Records(*inputs, *outputs))
        return list(outputs)

    def _records(self, n: int) -> Records:
        return Records(
            slot=np.zeros(n, np.int64),
            fresh=np.zeros(n, np.bool_),
            time_ms=np.zeros(n, np.int64),
            x=np.zeros((n, self._spec.n_features)),
            y=np.zeros((n, self._spec.n_targets)),
            end=np.zeros(n, np.bool_),
            kind=np.zeros(n, np.uint8),
            event=np.zeros(n, np.uint64),
            prediction=np.empty((n, self._spec.n_outputs)),
            updates=np.empty(n, np.int64),
            loss=np.empty(n),
            error=np.empty(n),
            grad_norm=np.empty(n),
            rivals=np.empty((n, 2)),
            width=np.empty(n),
            delay=np.empty(n),
        )
