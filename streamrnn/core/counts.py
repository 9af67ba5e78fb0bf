"""What a learner counts, one row for each count: metrics, checkpoints and documents take name and help from here.

A kernel adds to ``model.counters`` at the index that stands below the table; evictions are counted where slots are
given out. ``windows_in_batch`` is part of the optimiser's state and falls back to 0 with every step: no metric, but it
stands beside the others in ``Learner.counters`` and in what is made of that.
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


_UNLEARNED = "Sequences whose answer was known, but from which nothing was learned, and why."
_DROPPED = "Windows, or events, dropped because their loss or their gradient was not finite."
COUNTS = (
    Count("updates", "Optimiser steps taken; with cell bank, steps of least squares."),
    Count(
        "windows",
        "Windows back-propagated through, or with exact gradients events learned from; dropped ones, too.",
    ),
    Count("windows_in_batch", "Windows whose gradients wait for the next optimiser step."),
    Count("gradient_clips", "Optimiser steps whose gradient was clipped to clip_norm."),
    Count("steps_shortened", "Optimiser steps shortened because they promised more than their loss (polyak_bound)."),
    Count("windows_dropped", _DROPPED, "loss"),
    Count("windows_dropped", _DROPPED, "gradient"),
    Count("imputed_inputs", "Missing or non-finite inputs, whatever they counted as instead."),
    Count("outlying_targets", "Targets out of bounds, which count only as far as the bound of their stream."),
    Count("sequences_ended", "Sequences ended by their end mark or by a gap in time."),
    Count("records_predicted", "Records a prediction was made for."),
    Count("label_records", "Records that carried a label for an earlier event."),
    Count("late_labels", "Labels too late to be learned, since their step left the window, or was passed by."),
    Count("passed_labels", "Of these, labels whose step learning had passed by, since newer events were answered."),
    Count("unmatched_labels", "Labels that named no remembered event."),
    Count(
        "lost_labels",
        "Events forgotten before their label came, for label_memory newer ones of the stream or with the whole stream.",
    ),
    Count("interval_targets", "Targets that became known where an interval was predicted, each horizon's by itself."),
    Count("interval_hits", "Of these, targets within the outermost interval."),
    Count("frames", "Frames of whole sequences that were read."),
    Count("frames_dropped", "Frames beyond max_steps of their sequence, which were not read."),
    Count("unlearned_sequences", _UNLEARNED, "empty"),
    Count("unlearned_sequences", _UNLEARNED, "too_long"),
    Count("unlearned_sequences", _UNLEARNED, "too_many"),
    Count("unlearned_sequences", _UNLEARNED, "impossible"),
)
_INDEX = {count.name: index for index, count in enumerate(COUNTS)}
UPDATES = _INDEX["updates"]
WINDOWS = _INDEX["windows"]
WINDOWS_IN_BATCH = _INDEX["windows_in_batch"]
GRADIENT_CLIPS = _INDEX["gradient_clips"]
STEPS_SHORTENED = _INDEX["steps_shortened"]
WINDOWS_DROPPED_LOSS = _INDEX["windows_dropped_loss"]
WINDOWS_DROPPED_GRADIENT = _INDEX["windows_dropped_gradient"]
IMPUTED_INPUTS = _INDEX["imputed_inputs"]
OUTLYING_TARGETS = _INDEX["outlying_targets"]
SEQUENCES_ENDED = _INDEX["sequences_ended"]
RECORDS_PREDICTED = _INDEX["records_predicted"]
LABEL_RECORDS = _INDEX["label_records"]
LATE_LABELS = _INDEX["late_labels"]
PASSED_LABELS = _INDEX["passed_labels"]
UNMATCHED_LABELS = _INDEX["unmatched_labels"]
LOST_LABELS = _INDEX["lost_labels"]
INTERVAL_TARGETS = _INDEX["interval_targets"]
INTERVAL_HITS = _INDEX["interval_hits"]
FRAMES = _INDEX["frames"]
FRAMES_DROPPED = _INDEX["frames_dropped"]
UNLEARNED_SEQUENCES_EMPTY = _INDEX["unlearned_sequences_empty"]
"""The first of those that tell why nothing was learned; they stand in the order of ``sequences.reasons``."""
UNLEARNED_SEQUENCES_TOO_LONG = _INDEX["unlearned_sequences_too_long"]
UNLEARNED_SEQUENCES_TOO_MANY = _INDEX["unlearned_sequences_too_many"]
UNLEARNED_SEQUENCES_IMPOSSIBLE = _INDEX["unlearned_sequences_impossible"]

_EVICTED = "Streams whose state was dropped: idle beyond ttl_s, least recently seen for lack of capacity, tombstone."
EVICTIONS = tuple(Count("evictions", _EVICTED, cause) for cause in ("ttl", "capacity", "tombstone"))

GAUGES = (
    "grad_norm", "grad_norm_sum", "window_loss", "window_loss_sum", "scored", "loss_sum", "error_sum",
    "last_error_sum", "typical_error_sum",
    "update_norm", "reach_window", "reach_steps",
)  # fmt: skip
GRAD_NORM = GAUGES.index("grad_norm")
GRAD_NORM_SUM = GAUGES.index("grad_norm_sum")
WINDOW_LOSS = GAUGES.index("window_loss")
WINDOW_LOSS_SUM = GAUGES.index("window_loss_sum")
SCORED = GAUGES.index("scored")
LOSS_SUM = GAUGES.index("loss_sum")
ERROR_SUM = GAUGES.index("error_sum")
LAST_ERROR_SUM = GAUGES.index("last_error_sum")
TYPICAL_ERROR_SUM = GAUGES.index("typical_error_sum")
UPDATE_NORM = GAUGES.index("update_norm")
REACH_WINDOW = GAUGES.index("reach_window")
REACH_STEPS = GAUGES.index("reach_steps")
