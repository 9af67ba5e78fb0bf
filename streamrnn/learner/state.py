"""LearnerState: all that a learner knows, as one value that checkpoints, model files, growth and pickling share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
