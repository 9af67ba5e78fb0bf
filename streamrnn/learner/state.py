"""What a learner says of itself: its whole state, how far it has come, and what it knows of its targets.

``LearnerState`` is the one value that checkpoints, model files, growth and pickling share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.learner.spec import LearnerSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LearnerState:
    """What a learner of ``spec`` goes on from.

    Attributes
    ----------
    spec
        Its specification.
    model
        All that is not kept per stream, by name.
    streams
        All that is kept per stream, by name: one row for each slot.
    keys
        The stream of each slot, None = the slot is free.
    """

    spec: LearnerSpec
    model: Mapping[str, Array]
    streams: Mapping[str, Array]
    keys: list[bytes | None]


@dataclass(frozen=True, slots=True)
class LearnerProgress:
    """How far a learner has come.

    Attributes
    ----------
    streams, capacity
        Streams remembered now, and how many there can be.
    stream_time_ms
        The clock all idle times are measured by, None before the first record.
    updates
        Optimiser steps taken.
    parameters
        Weights of the network, the RLS readout's not among them.
    counters
        Running counts by name (``core.counts``).
    digest
        CRC-32 over all predictions of ``process`` so far.
    """

    streams: int
    capacity: int
    stream_time_ms: int | None
    updates: int
    parameters: int
    counters: dict[str, int]
    digest: int


@dataclass(frozen=True, slots=True, eq=False)
class TargetStatistics:
    """Of each target field (F,): how many values were known, their mean, their standard deviation (0 before two)."""

    count: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, count: Array, mean: Array, m2: Array) -> TargetStatistics:
        """From running sums (F,): ``m2`` are the summed squares around the mean. Copies.

        >>> TargetStatistics.of(np.array([2.0]), np.array([5.0]), np.array([8.0])).deviation.tolist()
        [2.0]
        """
        return cls(count.copy(), mean.copy(), np.sqrt(m2 / np.maximum(count, 1.0)))
