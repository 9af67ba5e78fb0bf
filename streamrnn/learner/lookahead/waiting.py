"""Which events of a stream wait for the steps behind them: the newest of its sequence, as many as are looked ahead to.

Their coordinates stand in rings by step, so nothing beside the number of steps tells which they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.axes import lookahead
from streamrnn.learner.spec import LearnerSpec

Array = npt.NDArray[Any]


class Waiting(NamedTuple):
    """Events of one stream that wait, the oldest first, as their records named and timed them."""

    event: Array  # (w,) uint64
    time_ms: Array  # (w,)
    y: Array  # (w, n_targets)


def waiting(streams: Mapping[str, Array], spec: LearnerSpec) -> npt.NDArray[np.int64]:
    """How many events of each stream wait, from the arrays of a learner or of a checkpoint; of others 0."""
    return np.minimum(streams["steps"], lookahead(spec))


def waiting_events(row: Mapping[str, Array], spec: LearnerSpec) -> Waiting:
    """Those of one stream, from its row of these arrays."""
    steps, n = int(row["steps"]), min(int(row["steps"]), lookahead(spec))
    places = np.arange(steps - n, steps) % max(1, len(row["ahead_ms"]))
    return Waiting(row["ahead_event"][places], row["ahead_ms"][places], row["ahead_y"][places])
