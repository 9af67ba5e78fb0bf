"""Alarms: the error of a partition's predictions has risen, and not by chance; found by River's ADWIN.

ADWIN (Bifet & Gavalda 2007) keeps a window of newest errors and drops its older part when the newer one has another
mean. It is given the mean of every ``CHUNK`` scored predictions in the order of their records, so that it finds the
same however these came in polls; and each in a unit that makes it about 1, as its bound is for such values: of errors
far below 1 it hardly sees any rise. So the unit goes with the error. After each change that ADWIN finds, and where the
error is far below its unit, ADWIN and unit begin anew. No mean counts as more than ``MOST`` units, infinite ones
included, or a single one would hide all that follow.

An error that falls is what a learner is for, and no alarm. One jump is one alarm, as ADWIN begins anew behind it, and
an error that goes on rising leads to several. Nothing of this is saved: after a restart a change is found only if it
comes after it, and replayed records are not looked at.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import threading
from collections import deque
from collections.abc import Collection
from importlib.machinery import PathFinder
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.logs import Seldom

_log = logging.getLogger(__name__)

CHUNK = 50
"""Scored predictions whose mean error is one value for ADWIN."""
FIRST = 10
"""Means that are waited for: the unit is their median, or their mean where that is 0."""
MOST = 10.0
"""Units that a mean counts as at most. More is a rise anyway."""
STALE = 0.25
"""Where the median of the newest ``FIRST`` means is fewer units than that, the unit is not theirs any more."""
_WAITING = 1_000
"""Means that are kept while River is imported; that is a second of the fastest log."""
_TELL_S = 600.0
"""Seconds from one line to the next."""


def light_adwin() -> Any:
    """River's class ADWIN, without all the rest of its package.

    ``import river.drift`` takes a second and a hundred megabytes, as it brings pandas, SciPy and, where it is there,
    scikit-learn. The class needs none of them, so its module is run by itself. Where River keeps it elsewhere, or
    writes it such that it needs its package, the whole is imported after all.
    """
    import river

    spec = PathFinder.find_spec("river.drift.adwin", [f"{path}/drift" for path in river.__path__])
    if spec is None or spec.loader is None:
        from river.drift import ADWIN

        return ADWIN
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ADWIN


class _Importing:
    """River's ADWIN, imported by a thread of its own when it is first asked for: with some versions it takes long."""

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
        self._adwin = light_adwin()


RIVER = _Importing()


class DriftAlarms:
    """Watches the error of one partition's predictions; ``classes``: it is the share of wrong ones, and its unit 1."""

    def __init__(self, tp: TopicPartition, *, classes: bool) -> None:
        self._tp, self._classes = tp, classes
        self._unit = 1.0 if classes else 0.0  # 0: not known yet
        self._rest: npt.NDArray[np.float64] = np.empty(0)
        self._waiting: deque[float] = deque(maxlen=_WAITING)
        self._newest: deque[float] = deque(maxlen=FIRST)
        self._adwin: Any = None
        self._detector: Any = None  # None: a new one with the next mean
        self._seldom = Seldom(_TELL_S)

    def take(self, errors: npt.NDArray[np.float64]) -> int:
        """The errors of a batch in the order of its records, NaN = not scored; returns how many alarms they led to."""
        self._rest = np.concatenate([self._rest, errors[~np.isnan(errors)]])
        whole = len(self._rest) // CHUNK * CHUNK
        if not whole:
            return 0
        # The rest is kept as it came, so that no mean depends on where a batch was cut.
        with np.errstate(over="ignore"):
            self._waiting.extend(self._rest[:whole].reshape(-1, CHUNK).mean(axis=1).tolist())
        self._rest = self._rest[whole:].copy()
        if self._adwin is None:
            if len(self._waiting) < FIRST or (adwin := RIVER.adwin()) is None:
                return 0
            self._adwin = adwin
        alarms = sum(map(self._found_in, self._waiting))
        self._waiting.clear()
        return alarms

    def _found_in(self, mean: float) -> bool:
        """Whether the next mean leads to an alarm."""
        self._newest.append(mean)
        if not self._classes and len(self._newest) == FIRST:
            size = _size(self._newest)
            if not self._unit or size < STALE * self._unit:
                return self._begin_with_newest(size)
        return self._unit > 0.0 and self._update(mean)

    def _begin_with_newest(self, unit: float) -> bool:
        """A new detector, which begins with the newest means; as long as there is no error, there is no unit."""
        self._unit, self._detector = (unit if math.isfinite(unit) else 0.0), None
        return self._unit > 0.0 and sum(map(self._update, list(self._newest))) > 0

    def _update(self, mean: float) -> bool:
        if self._detector is None:
            self._detector = self._adwin(clock=1)
        detector, unit = self._detector, self._unit
        before = detector.estimation
        detector.update(min(mean / unit, MOST))
        if not detector.drift_detected:
            return False
        self._detector = None
        if not self._classes:
            self._unit = 0.0
            self._newest.clear()
        if detector.estimation <= before:
            return False
        if (total := self._seldom.due()) is not None:
            _log.warning(
                "%s: the error of predictions has risen: %.3g in the newest %d, %.3g in those before (rises found by "
                "ADWIN: %d); streamrnn_input_drift says whether an input is not what it was",
                self._tp, mean, CHUNK, before * unit, total,
            )  # fmt: skip
        return True


def _size(means: Collection[float]) -> float:
    """Their median, or their mean where that is 0. One infinite or absurd mean is not what the others are."""
    # This is asked for every few records, and NumPy's median takes ten times as long of so few.
    ordered = sorted(means)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    with np.errstate(over="ignore"):
        return middle or float(np.mean(list(means)))
