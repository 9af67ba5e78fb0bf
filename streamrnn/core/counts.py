"""What a learner counts, one row for each count: metrics, checkpoints and documents take name and help from here.

A kernel adds to ``model.counters`` at the index that stands below the table; evictions are counted where slots are
given out. ``windows_in_batch`` is no count but part of the optimiser's state, and is shown nowhere.
"""

from __future__ import annotations

from typing import NamedTuple


class Count(NamedTuple):
    """One count. Counts of the same ``stem`` are one metric, told apart by their ``cause``."""

    stem: str
    help: str
    cause: str = ""

    @property
    def name(self) -> str:
        """Its name in ``Learner.counters``.

        >>> Count("evictions", "Streams whose state was dropped.", "ttl").name
        'evictions_ttl'
        """
        return f"{self.stem}_{self.cause}" if self.cause else self.stem


_DROPPED = "Windows dropped because their loss or their gradient was not finite."
COUNTS = (
    Count("updates", "Optimiser steps taken."),
    Count("windows", "Windows back-propagated through, dropped ones included."),
    Count("windows_in_batch", "Windows whose gradients wait for the next optimiser step."),
    Count("gradient_clips", "Optimiser steps whose gradient was clipped to clip_norm."),
    Count("windows_dropped", _DROPPED, "loss"),
    Count("windows_dropped", _DROPPED, "gradient"),
    Count("imputed_inputs", "Missing or non-finite inputs replaced by the running mean."),
    Count("sequences_ended", "Sequences ended by their end mark or by a gap in time."),
    Count("records_predicted", "Records a prediction was made for."),
    Count("label_records", "Records that carried a label for an earlier event."),
    Count("late_labels", "Labels too late to be learned, since their step left the window."),
    Count("unmatched_labels", "Labels that named no remembered event."),
)
(
    UPDATES,
    WINDOWS,
    WINDOWS_IN_BATCH,
    GRADIENT_CLIPS,
    WINDOWS_DROPPED_LOSS,
    WINDOWS_DROPPED_GRADIENT,
    IMPUTED_INPUTS,
    SEQUENCES_ENDED,
    RECORDS_PREDICTED,
    LABEL_RECORDS,
    LATE_LABELS,
    UNMATCHED_LABELS,
) = range(len(COUNTS))

_EVICTED = "Streams whose state was dropped: idle beyond ttl_s, or least recently seen for lack of capacity."
EVICTIONS = (Count("evictions", _EVICTED, "ttl"), Count("evictions", _EVICTED, "capacity"))

GAUGES = ("grad_norm", "grad_norm_sum", "window_loss", "window_loss_sum", "scored", "loss_sum", "error_sum")
GRAD_NORM, GRAD_NORM_SUM, WINDOW_LOSS, WINDOW_LOSS_SUM, SCORED, LOSS_SUM, ERROR_SUM = range(len(GAUGES))
