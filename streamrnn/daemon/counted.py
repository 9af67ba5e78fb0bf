"""What a batch comes to: records, dead letters, losses and surprises, as one addition to a partition's metrics."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from streamrnn.daemon.metric_table import RECORDS_CONSUMED, RECORDS_FILTERED, TOMBSTONES
from streamrnn.daemon.metrics import Delta, PartitionMetrics
from streamrnn.job.codec.records import Decoded
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec


def delta(
    consumed: int, decoded: Decoded, predictions: Predictions, before: Mapping[str, int], after: Mapping[str, int]
) -> Delta:
    """What happened; ``before`` and ``after`` it are the learner's counters."""
    grown = {name: after[name] - before[name] for name in after}
    grown["records_predicted"] -= int(np.count_nonzero(decoded.silent))  # they are dead letters
    norms = predictions.grad_norm
    scored = ~np.isnan(predictions.loss)
    return Delta(
        counts={
            **grown,
            RECORDS_CONSUMED.name: consumed,
            RECORDS_FILTERED.name: decoded.filtered,
            TOMBSTONES.name: decoded.tombstones,
        },
        dead_letters=Counter(error.reason for _, error in decoded.rejected),
        gradient_norms=norms[~np.isnan(norms)],
        loss_sum=float(predictions.loss[scored].sum()),
        loss_count=int(scored.sum()),
        error_sum=float(predictions.error[scored].sum()),
        error_count=int(scored.sum()),
    )


def add_surprise(metrics: PartitionMetrics, spec: LearnerSpec, predictions: Predictions) -> None:
    """How surprising the classes were that came, of texts each of their units, which are counted; of whole sequences
    each label of a step, or symbol."""
    if spec.target.classes is None:
        return
    losses = predictions.loss if predictions.texts is None else predictions.texts.loss
    if (sequences := predictions.sequences) is not None and spec.target.kind != "label":
        told = ~np.isnan(losses) & ~np.isnan(sequences.length)
        length = sequences.length[told]
        bits = float((losses[told] * length).sum()) / math.log(2)
        metrics.add_sum("streamrnn_surprise", bits, int(length.sum()))
        return
    known = losses[~np.isnan(losses)]
    metrics.add_sum("streamrnn_surprise", float(known.sum()) / math.log(2), len(known))
    if predictions.texts is not None:
        metrics.count("streamrnn_text_units_total", len(losses))
