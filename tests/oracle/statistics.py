"""Running statistics as they are meant to be, with the values of a run and the first ones of a partition in lists.

Means and squares are added up as in Welford's paper, in float64: a constant has a variance of exactly zero.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

CLIP = 10.0  # scaled inputs stay within this many standard deviations
BOUND = 10.0  # deviations beyond which a value counts less
FAR = 100.0  # deviations beyond which a lone value is not remembered, and that lags may show
WIDENING, NARROWING = 1.5, 0.999  # of the bound, with a value beyond it and with any other
NEWCOMERS = 8  # values in a row, each far out, that the statistics begin anew with
QUIET, COLLAPSE = 512, 30.0  # values in a row, their deviation so many times smaller, that do so too
SETTLED = 1024  # values after which statistics are no longer new; what levels taken together count as, each
FIRST = 8  # values of a partition that are looked at together
NORMAL_MEDIAN = 0.6745  # of a normal variable's size


class RunningMoments:
    """Count, mean and population variance, or mean square, of the values of one variable; the newest ``memory``."""

    def __init__(self, memory: float = 20_000, centred: bool = True) -> None:
        self.memory, self.centred = memory, centred
        self.clear()
        self.widened = 0.0
        self.run: list[float] = []
        self.run_beyond = False
        self.held = (0.0, 1.0)
        self.first: list[float] = []
        self.aside: RunningMoments | None = None  # those of a level left
        self.aside_for_known = False  # left for a level that had come back

    def clear(self) -> None:
        self.count, self.mean, self.m2 = 0.0, 0.0, 0.0

    def add(self, value: float) -> None:
        """Plainly, within the memory."""
        if self.count + 1 > self.memory:
            self.m2 *= (self.memory - 1) / self.count
            self.count = self.memory - 1
        self.count += 1
        delta = value - self.mean
        if self.centred:
            self.mean += delta / self.count
        self.m2 += delta * (value - self.mean)

    def begin_with(self, values: Iterable[float]) -> None:
        self.clear()
        for value in values:
            self.add(value)

    @property
    def variance(self) -> float:
        """Around the mean, or around zero."""
        return self.m2 / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.variance)) if self.variance > 0 else 1.0

    @property
    def bound(self) -> float:
        return max(BOUND, self.widened)

    def counted(self, value: float, centre: float, width: float) -> float:
        """The value, or how far towards it the bound is."""
        return float(np.clip(value, centre - self.bound * width, centre + self.bound * width))

    def absorb(self, value: float, centre: float, width: float) -> float:
        """Take in a value that is held against this centre and width; returns as what it counts."""
        counted = self.counted(value, centre, width)
        self.widened = self.widened * NARROWING if counted == value else self.bound * WIDENING
        if not (self.run and self.run_beyond):
            self.held = centre, width
        beyond = abs(value - self.held[0]) > BOUND * self.held[1]
        if beyond != self.run_beyond or len(self.run) >= (NEWCOMERS if self.run_beyond else QUIET):
            self.run = []
        self.run, self.run_beyond = [*self.run, value], beyond
        if self.is_news():
            self.renew()
            self.run, self.widened = [], 0.0
            return value
        self.add(counted)
        return counted

    def of(self, values: Iterable[float]) -> RunningMoments:
        moments = RunningMoments(np.inf, self.centred)
        moments.begin_with(values)
        return moments

    def is_news(self) -> bool:
        if self.run_beyond:
            return len(self.run) == NEWCOMERS
        if len(self.run) < QUIET or self.count > SETTLED:
            return False
        return 0 < self.of(self.run).variance * COLLAPSE**2 < self.variance

    def renew(self) -> None:
        """Begin anew with the run; or go on with the level put aside, or with all levels together, if it comes back."""
        recent, present, aside = self.of(self.run), RunningMoments(), self.aside
        present.count, present.mean, present.m2 = self.count, self.mean, self.m2
        if not self.run_beyond:
            self.aside = None
        elif aside and abs(recent.mean - aside.mean) <= BOUND * np.sqrt(max(recent.variance, aside.variance)):
            self.aside = None if self.aside_for_known else present
            recent = (aside.joined(present) if self.aside_for_known else aside).joined(recent)
            self.aside_for_known = not self.aside_for_known
        else:
            self.aside = aside.joined(present) if aside and self.count <= SETTLED else present
            self.aside_for_known = False
        self.count, self.mean, self.m2 = recent.count, recent.mean, recent.m2

    def joined(self, other: RunningMoments) -> RunningMoments:
        """Moments of both, each counting as at most ``SETTLED`` values."""
        a, b = min(self.count, SETTLED), min(other.count, SETTLED)
        both = RunningMoments()
        both.count = a + b
        both.mean = self.mean + (other.mean - self.mean) * b / (a + b)
        both.m2 = a * self.variance + b * other.variance + (other.mean - self.mean) ** 2 * a * b / (a + b)
        return both

    def is_lone(self, value: float, centre: float, width: float) -> bool:
        """Whether the value is far off and the one before was not out of bounds."""
        return abs(value - centre) > FAR * width and not (self.run and self.run_beyond)

    # ---- of a partition

    @property
    def is_young(self) -> bool:
        return self.count < FIRST

    def take_in(self, value: float) -> float | None:
        """As ``absorb``, held against these statistics themselves; the first values are looked at together.

        Returns as what it counts, None for one of the first.
        """
        if not self.is_young:
            return self.absorb(value, self.mean, self.deviation)
        self.first.append(value)
        if len(self.first) < 3:
            self.begin_with(self.first)
        elif self.centred:
            self.begin_without_the_odd_one()
        else:
            half = sorted(map(abs, self.first))[(len(self.first) - 1) // 2]
            reach = BOUND * half / NORMAL_MEDIAN if half > 0 else np.inf
            self.begin_with(np.clip(self.first, -reach, reach).tolist())
        return None

    def begin_without_the_odd_one(self) -> None:
        """It is the one furthest from the median, and comes last, within the bound that the others give."""
        median = sorted(self.first)[(len(self.first) - 1) // 2]
        odd = int(np.argmax([abs(value - median) for value in self.first]))
        self.begin_with([value for i, value in enumerate(self.first) if i != odd])
        reach = BOUND * self.deviation
        self.add(float(np.clip(self.first[odd], self.mean - reach, self.mean + reach)))


def scaled_input(moments: RunningMoments, value: float) -> float:
    """(value - mean) / std within [-10, 10]; 0 before the first value; a zero variance divides by 1."""
    if moments.count == 0:
        return 0.0
    return float(np.clip((value - moments.mean) / moments.deviation, -CLIP, CLIP))


def shrunk_moments(stream: RunningMoments, partition: RunningMoments, kappa: float) -> tuple[float, float]:
    """Mean and standard deviation of a stream's target, with the partition worth ``kappa`` observations.

    The mixture's mean is n*m_s + kappa*m_p over n + kappa, written so that two equal means give exactly that mean: a
    constant target must come out with a variance of exactly zero.
    """
    if partition.count == 0:
        return 0.0, 1.0
    n = stream.count
    share = n / (n + kappa)
    distance = stream.mean - partition.mean if n else 0.0
    mean = partition.mean + share * distance
    variance = (n * stream.variance + kappa * partition.variance) / (n + kappa) + share * (1 - share) * distance**2
    return mean, float(np.sqrt(variance)) if variance > 0 else 1.0


def shrunk_width(stream: RunningMoments, partition: RunningMoments, kappa: float) -> float:
    """Root mean square of a stream's differences, with the partition worth ``kappa`` observations; 0 and none: 1."""
    if partition.count == 0:
        return 1.0
    mean = (stream.count * stream.variance + kappa * partition.variance) / (stream.count + kappa)
    return float(np.sqrt(mean)) if mean > 0 else 1.0
