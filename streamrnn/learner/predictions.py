"""What a learner says about the records of a block, and what the block let it score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the learner says about a block of n records.

    Attributes
    ----------
    value : float64 [n, n_outputs]
        Prediction in the target's unit (probabilities for classes); NaN for label records.
    updates : int64 [n]
        Optimiser steps the model had taken when it predicted the record.
    loss : float64 [n]
        Mean loss, in the model's scale, over what the record let us score; NaN = nothing.
    error : float64 [n]
        Mean absolute error of the same in the target's unit (classes: 0 right, 1 wrong).
    grad_norm : float64 [n]
        Gradient norm, before clipping, of the optimiser step the record led to; NaN = none.
    rivals : float64 [n, 2]
        Mean absolute errors of the naive rivals (``learner.skill``) on what ``error`` is of.
    width : float64 [n]
        Mean width of the outermost intervals that were scored, in the target's unit; NaN = none.
    rank : float64 [n, 2]
        Of a class or a text: rank of its surprise among the newest of the stream and of the partition, from 0 to 1; NaN
        = not scored, or nothing to compare with.
    delay : float64 [n]
        Seconds of event time from an event to its label, which this record is; NaN = it is none, or of no event.
    """

    value: npt.NDArray[np.float64]
    updates: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    grad_norm: npt.NDArray[np.float64]
    rivals: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    rank: npt.NDArray[np.float64]
    delay: npt.NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """What is said about consecutive blocks as what is said about all their records."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))
