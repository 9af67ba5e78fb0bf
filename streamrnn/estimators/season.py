"""Finding the period of a series while it comes in.

For every candidate period m the errors of two seasonal rules are compared with those of three rules without season,
over the same values: "as a period ago" and "the last value plus last period's change" against the mean, the last value
and the last value plus the last change. All are discounted sums, so a season that ends is noticed. The ratio of the
best seasonal to the best other error has to be clearly below one, the more so the fewer values it rests on, and
clearly below the present period's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from streamrnn.estimators.parameters import Natural

MEMORY = 0.995
"""What an older error still weighs after each newer one."""
CLEARLY = 0.7
"""A period is chosen when its ratio of errors is below this part of the present one's."""
STREAMS = 16
"""Streams whose values are looked at; what they say is added up."""


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """``SeasonFinder.state``."""

    period: Natural
    errors: list[list[float]]
    n: list[float]
    mean: float
    count: Natural
    values: dict[str, list[float]]


class SeasonFinder:
    """The period of the values seen so far, 0 while there is none.

    >>> finder = SeasonFinder(longest=30)
    >>> for t in range(60):
    ...     _ = finder.observe("a", [0.0, 4.0, 9.0, 2.0, 5.0][t % 5] + 0.1 * t)
    >>> finder.period
    5
    """

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.period = 0
        self._periods = np.arange(2, longest + 1)
        self._errors = np.zeros((5, longest - 1))
        self._n = np.zeros(longest - 1)
        self._mean = 0.0
        self._count = 0
        self._values: dict[str, list[float]] = {}

    def observe(self, stream: str, value: float) -> bool:
        """Observe a stream's next value; returns whether the period is another one now."""
        if stream not in self._values and len(self._values) == STREAMS:
            return False
        values = self._values.setdefault(stream, [])
        self._score(np.array(values), value)
        values.append(value)
        del values[: -self.longest - 1]
        self._count += 1
        self._mean += (value - self._mean) / self._count
        return self._decide()

    def _score(self, values: np.ndarray[Any, Any], value: float) -> None:
        """Errors of all rules for ``value``, for those periods that a whole season and one value lie behind."""
        known = min(self.longest, len(values) - 1) - 1  # candidates 2 .. len(values) - 1
        if known < 1:
            return
        backwards = values[::-1]
        # Position k of these holds the value for candidate period m = k + 2, so that one operation serves all of them.
        ago, before = backwards[1 : known + 1], backwards[2 : known + 2]  # y[t - m], y[t - m - 1]
        errors = self._errors[:, :known]
        errors *= MEMORY
        errors[0] += np.abs(value - ago)
        errors[1] += np.abs(value - ago - (backwards[0] - before))
        errors[2] += abs(value - self._mean)
        errors[3] += abs(value - backwards[0])
        errors[4] += abs(value - 2.0 * backwards[0] + backwards[1])
        self._n[:known] += 1.0

    def _decide(self) -> bool:
        other = self._errors[2:].min(axis=0)
        ratios = np.full(len(self._periods), np.inf)
        usable = (other > 0.0) & (self._n >= self._periods)
        np.divide(self._errors[:2].min(axis=0), other, out=ratios, where=usable)
        present = 1.0 if self.period == 0 else float(ratios[self.period - 2])
        if self.period and present > 1.0:  # the rules without season are better by now: it has ended
            self.period = 0
            return True
        best = int(np.argmin(ratios))
        # The error of a ratio that rests on n values is about 1 / sqrt(n). It is asked for twice that, and n is at most
        # 1 / (1 - MEMORY) = 200, all that a discounted sum can rest on.
        clearly = min(CLEARLY, 1.0 - 2.0 / np.sqrt(min(self._n[best], 200.0))) if self._n[best] > 0 else 0.0
        if self._periods[best] != self.period and ratios[best] < clearly * present:
            self.period = int(self._periods[best])
            return True
        return False

    def state(self) -> dict[str, Any]:
        """Everything remembered, as JSON values."""
        return {
            "period": self.period,
            "errors": self._errors.tolist(),
            "n": self._n.tolist(),
            "mean": self._mean,
            "count": self._count,
            "values": self._values,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` gave."""
        saved = msgspec.convert(state, _Saved)
        errors, n = np.array(saved.errors, np.float64), np.array(saved.n, np.float64)
        if (errors.shape, n.shape) != (self._errors.shape, self._n.shape):
            raise ValueError(f"season: expected errors of shape {self._errors.shape}, got {errors.shape} of {n.shape}")
        if saved.period == 1 or saved.period > self.longest:
            raise ValueError(f"season: a period is from 2 to {self.longest} steps, or 0, got {saved.period}")
        if any(len(values) > self.longest + 1 for values in saved.values.values()):
            raise ValueError(f"season: at most {self.longest + 1} values of a stream are remembered")
        self.period, self._mean, self._count = saved.period, saved.mean, saved.count
        self._errors, self._n, self._values = errors, n, saved.values
