"""Drawing what comes next from the probabilities that a learner gives.

At any temperature that is a number: logarithms are taken from the largest before they are divided, so the most probable
stays at zero, however little the temperature, and what it leaves behind comes to nothing instead of overflowing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def draw(weights: npt.NDArray[np.floating], temperature: float, random: np.random.Generator) -> int:
    """A number drawn with probabilities in proportion to ``weights ** (1 / temperature)``.

    ``weights`` (n,) are at least 0 and not all 0; what has none is never drawn. At temperature 0 it is the first of the
    largest, and nothing is taken from ``random``.

    >>> draw(np.array([0.0, 0.2, 0.8]), 1e-320, np.random.default_rng(0))
    2
    """
    if temperature == 0.0:
        return int(weights.argmax())
    with np.errstate(divide="ignore", over="ignore"):
        logits = np.log(weights, dtype=np.float64)
        logits = (logits - logits.max()) / temperature
    sums = np.exp(logits).cumsum()
    return int(np.searchsorted(sums, random.random() * sums[-1], side="right"))
