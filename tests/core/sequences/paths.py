"""The paths of a CTC, one by one: what kernels compute cleverly, computed by going through all of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np


def reads_as(path: Sequence[int]) -> list[int]:
    """The classes that a path of outputs reads as: repetitions merged, then blanks dropped."""
    return [output - 1 for output, _ in itertools.groupby(path) if output]


def labellings(log_probabilities: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of everything that can be said."""
    steps, outputs = log_probabilities.shape
    p: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(outputs), repeat=steps):
        p[tuple(reads_as(path))] += float(np.exp(log_probabilities[range(steps), path].sum()))
    return p
