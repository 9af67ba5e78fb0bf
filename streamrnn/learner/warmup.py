"""Compiling and loading the kernels ahead of time, so that no record waits for it.

Kernels are compiled once per precision and kept in a private cache directory (see ``core.jit``); a container image
fills it with ``streamrnn warmup`` while it is built. Afterwards a start only loads machine code.
"""

from __future__ import annotations

import sys
import time
from typing import Literal, cast

import numpy as np

from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec, ModelSpec, StreamSpec, TargetSpec

Precision = Literal["float32", "float64"]


def warm_up(dtype: Precision = "float32") -> float:
    """Make sure the kernels of one precision are compiled and loaded; returns the seconds it took."""
    started = time.perf_counter()
    spec = LearnerSpec(
        n_features=1,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(hidden_size=1, dtype=dtype),
        streams=StreamSpec(max_streams=1),
    )
    Learner(spec, seed=0).process(Block.events([], np.zeros((0, 1)), np.zeros((0, 1))))
    return time.perf_counter() - started


if __name__ == "__main__":  # the child process of ``compiled``
    warm_up(cast(Precision, sys.argv[1]))
