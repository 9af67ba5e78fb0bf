"""From a block of records to the rows that the kernel reads, and back to one line for each record.

Nothing here computes, and no row depends on how the log was cut into blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn.learner.block import Block
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary


def require_fit(block: Block, spec: LearnerSpec, classes: Vocabulary | None) -> None:
    """Refuse what would make a kernel read or write outside its arrays; codecs never give such blocks."""
    n = len(block)
    wide = {"x": (n, spec.n_features), "y": (n, spec.n_targets)}
    for name in ("time_ms", "end", "kind", "event", "x", "y"):
        if (shape := np.shape(getattr(block, name))) != (expected := wide.get(name, (n,))):
            raise ValueError(f"block.{name} has shape {shape}, expected {expected}: one row for each of the {n} keys")
    require_classes(block.y, classes)


def require_classes(y: npt.NDArray[np.float64], classes: Vocabulary | None) -> None:
    """Raise ValueError for numbers that are no class in use; NaN, which says that none is known, may be among them."""
    if classes is not None:
        known = y[np.isfinite(y)]
        if ((known < 0) | (known >= classes.known) | (known != np.floor(known))).any():
            raise ValueError(f"block.y holds class indices outside 0 to {classes.known - 1}")
