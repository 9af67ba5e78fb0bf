"""What a partition's predictions turned out to be worth beside naive rivals, as metrics; intervals and labels, too.

``add`` is told of each batch, ``show`` of the learner as it is, from its first moment after a restore on.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamrnn.daemon.metrics import PartitionMetrics
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.skill import rivals_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerProgress


def add(metrics: PartitionMetrics, spec: LearnerSpec, predictions: Predictions) -> None:
    """Add a batch to the sums. Where the model's errors are left out, so are the rivals': they are compared.

    The other way round, the model's stays: of its first predictions rivals have no error (NaN), knowing nothing yet.
    """
    compared = ~np.isnan(predictions.error)
    if math.isfinite(float(predictions.error[compared].sum())):
        for rival, errors in zip(rivals_of(spec), predictions.rivals[compared].T, strict=True):
            metrics.add_sum("streamrnn_rival_error", *_sum(errors), label=rival)
    metrics.add_sum("streamrnn_interval_width", *_sum(predictions.width))
    metrics.add_sum("streamrnn_label_delay_seconds", *_sum(predictions.delay))


def show(metrics: PartitionMetrics, spec: LearnerSpec, reached: LearnerProgress) -> None:
    """Show what is the case now; a rival against whom there is no skill has no sample."""
    for rival in rivals_of(spec):
        metrics.set("streamrnn_skill", reached.skill.get(rival), rival)
    metrics.set("streamrnn_interval_level", _level(spec))


def _sum(values: npt.NDArray[np.float64]) -> tuple[float, int]:
    """The sum of the values that are known, and their number."""
    known = values[~np.isnan(values)]
    return float(known.sum()), len(known)


def _level(spec: LearnerSpec) -> float | None:
    """The share of targets that should lie between the outermost quantiles; None where nothing lies between."""
    levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
    return round(levels[-1] - levels[0], 12) if len(levels) > 1 else None
