"""The arrays a learner is given: n decoded records in log order.

The codec and the estimators build blocks, the learner reads them. A record that could not be decoded has no row. Where
a log is cut into blocks has no meaning. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import EVENT, LABEL, PREDICT

__all__ = ["EVENT", "LABEL", "PREDICT", "Block"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """n records in log order; every array is C-contiguous and writable.

    Attributes
    ----------
    keys
        Stream key per record.
    time_ms : int64 [n]
        Record time in milliseconds since the epoch.
    x : float64 [n, n_features]
        Encoded features, NaN = missing.
    y : float64 [n, n_targets]
        Targets as numbers (a class is its index), NaN = unknown now.
    end : bool [n]
        Last record of its sequence.
    kind : uint8 [n]
        0 (``EVENT``) or 1 (``LABEL``, a later record that brings an event's targets).
    event : uint64 [n]
        Id of the event, or of the event a label belongs to; 0 = none.
    """

    keys: list[bytes]
    time_ms: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    end: npt.NDArray[np.bool_]
    kind: npt.NDArray[np.uint8]
    event: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys)
