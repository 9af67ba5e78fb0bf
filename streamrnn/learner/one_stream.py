"""What is kept of one stream, as plain data: where its sequence is, how large its state is, what came last.

From its row of each of ``core.arrays.Streams``, whether they are a living learner's or a checkpoint's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.learner.spec import LearnerSpec


def described(row: Mapping[str, npt.NDArray[Any]], spec: LearnerSpec) -> dict[str, Any]:
    """The stream of this row; ``state_norms`` has one entry for each layer, by the names of what it carries: h and,
    where there is one, c; of complex units real and imaginary parts."""
    complex_units = spec.model.n_said > spec.model.units
    carried = ("re", "im") if complex_units else ("c",) if spec.model.is_exact else ("h", "c")
    state = row["state"].astype(np.float64)  # [layers, vectors, hidden]
    return {
        "steps": int(row["steps"]),
        "last_record_ms": int(row["last_ms"]),
        "state_norms": [
            {name: float(np.sqrt(np.square(layer[i]).sum())) for i, name in enumerate(carried[: state.shape[1]])}
            for layer in state
        ],
        "previous_target": [_number(value) for value in row["newest"]],
        "targets": [
            {"count": int(count), "mean": float(mean), "deviation": deviation(count, m2)}
            for count, mean, m2 in zip(row["y_count"], row["y_mean"], row["y_m2"], strict=True)
        ],
    }


def deviation(count: float, m2: float) -> float:
    """Standard deviation from the number of values and the sum of their squared differences to the mean."""
    return float(np.sqrt(m2 / count)) if count > 0 else 0.0


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
