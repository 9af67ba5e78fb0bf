"""Alarms: the error of a partition's predictions has risen, and not by chance; found by River's ADWIN.

ADWIN (Bifet & Gavalda 2007) keeps a window of newest errors and drops its older part when the newer one has another
mean. It is given the mean of every ``CHUNK`` scored predictions in the order of their records, so that it finds the
same however these came in polls; means of numbers in units of the first ones, as its bound is for values around 1. An
error that falls is what a learner is for, and no alarm. With each change it finds River's begins anew, so one jump is
one alarm, and an error that goes on rising several.

Nothing of this is saved: after a restart a change is found only if it comes after it, and replayed records are not
looked at. River takes seconds and some hundred megabytes to import, so it is imported beside the loop, once there are
errors enough to look at; until then their means wait.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.logs import Seldom

_log = logging.getLogger(__name__)

CHUNK = 50
"""Scored predictions whose mean error is one value for ADWIN."""
FIRST = 10
"""Means that are waited for; the mean of the first ones that are not all 0 is the unit of all that follow."""
_WAITING = 1_000
"""Means that are kept while River is imported; that is a second of the fastest log."""
_TELL_S = 600.0
"""Seconds from one line to the next."""


class _Importing:
    """River's ADWIN, imported by a thread of its own when it is first asked for."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._adwin: Any = None

    def adwin(self) -> Any:
        """The class; None as long as it is not there."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._import, name="river", daemon=True)
            self._thread.start()
        return self._adwin

    def join(self) -> None:
        """Wait for the import, where one runs."""
        if self._thread is not None:
            self._thread.join()

    def _import(self) -> None:
        from river.drift import ADWIN

        self._adwin = ADWIN


RIVER = _Importing()


class DriftAlarms:
    """Watches the error of one partition's predictions; ``classes``: it is the share of wrong ones."""

    def __init__(self, tp: TopicPartition, *, classes: bool) -> None:
        self._tp = tp
        self._unit = 1.0 if classes else 0.0
        self._rest: npt.NDArray[np.float64] = np.empty(0)
        self._waiting: deque[float] = deque(maxlen=_WAITING)
        self._first: deque[float] = deque(maxlen=FIRST)  # newest means while there is no unit
        self._detector: Any = None
        self._seldom = Seldom(_TELL_S)

    def take(self, errors: npt.NDArray[np.float64]) -> int:
        """The errors of a batch in the order of its records, NaN = not scored; returns how many alarms they led to."""
        self._rest = np.concatenate([self._rest, errors[~np.isnan(errors)]])
        whole = len(self._rest) // CHUNK * CHUNK
        if not whole:
            return 0
        # The rest is kept as it came, so that no mean depends on where a batch was cut.
        self._waiting.extend(self._rest[:whole].reshape(-1, CHUNK).mean(axis=1).tolist())
        self._rest = self._rest[whole:].copy()
        if self._detector is None:
            if len(self._waiting) < FIRST or (adwin := RIVER.adwin()) is None:
                return 0
            self._detector = adwin(clock=1)
        alarms = sum(map(self._found_in, self._waiting))
        self._waiting.clear()
        return alarms

    def _found_in(self, mean: float) -> bool:
        """Whether the next mean leads to an alarm."""
        if self._unit:
            return self._update(mean)
        self._first.append(mean)
        if len(self._first) < FIRST or not any(self._first):  # as long as nothing is wrong, nothing can be compared
            return False
        self._unit = float(np.mean(self._first))
        return sum(map(self._update, self._first)) > 0

    def _update(self, mean: float) -> bool:
        detector = self._detector
        before = detector.estimation
        detector.update(mean / self._unit)
        if not detector.drift_detected or detector.estimation <= before:
            return False
        if (total := self._seldom.due()) is not None:
            _log.warning(
                "%s: the error of predictions has risen: %.3g in the newest %d, %.3g in those before (rises found by "
                "ADWIN: %d); streamrnn_input_drift says whether an input is not what it was",
                self._tp, mean, CHUNK, before * self._unit, total,
            )  # fmt: skip
        return True
