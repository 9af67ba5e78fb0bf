"""What is told of stream time: that it jumped or came back, and that a record was further ahead than is believed."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from streamrnn.broker.protocol import TopicPartition
from streamrnn.learner.clock import JUMPS, StreamClock

_log = logging.getLogger(__name__)


class Jumps:
    """Those of one partition."""

    def __init__(self, tp: TopicPartition) -> None:
        self._tp = tp
        self._before: int | None = None
        self._told_of_refused = False

    def begin(self, clock: StreamClock) -> None:
        """A batch is about to be processed."""
        self._before = clock.now if clock.started else None

    def tell(self, before: Mapping[str, int], after: Mapping[str, int], clock: StreamClock, most_s: float) -> None:
        """A line when stream time jumped or came back in it, and one for the first record it did not follow.

        ``before`` and ``after`` it are the learner's counters; ``most_s`` is the setting streams.max_time_jump_s.
        """
        refused, believed, taken_back = (after[count.name] - before[count.name] for count in JUMPS)
        if believed or taken_back:
            _log.warning(
                "%s: stream time went from %s to %s: jumps of more than streams.max_time_jump_s that enough streams "
                "confirmed: %d, taken back: %d",
                self._tp, _utc(self._before), _utc(clock.now), believed, taken_back,
            )  # fmt: skip
        if refused and not self._told_of_refused:
            self._told_of_refused = True
            _log.warning(
                "%s: a record is more than streams.max_time_jump_s (%g s) ahead of stream time, %s; such records count "
                "as now until enough streams confirm them. Where pauses are usually as long, raise the setting. Said "
                "once; streamrnn_time_jumps_total counts them",
                self._tp, most_s, _utc(clock.now),
            )  # fmt: skip


def _utc(time_ms: int | None) -> str:
    return "nothing" if time_ms is None else str(np.datetime64(time_ms, "ms")) + "Z"
