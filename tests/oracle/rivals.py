"""What naive rivals say, and how often they were wrong: everything known and every error is kept.

Of each field the last value of the stream, and what is typical of the partition: the mean of all that is known, or the
most frequent class; NaN before anything is known, and then nobody is held against them. Skill weighs the n-th newest
error of a field with (1 - 1/10,000)^n.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict

from streamrnn.learner.spec import LearnerSpec

FORGETTING = 0.9999


class NaiveRivals:
    """The rivals of one partition."""

    def __init__(self, spec: LearnerSpec) -> None:
        self.fields = range(spec.n_targets)
        self.classify = spec.target.classes is not None
        self.known: dict[int, list[float]] = defaultdict(list)
        self.errors: dict[int, list[tuple[float, float, float]]] = defaultdict(list)  # the model's, last's, typical's

    def typical(self, i: int) -> float:
        known = self.known[i]
        if self.classify:
            counts = Counter(known)
            return min(counts, key=lambda index: (-counts[index], index), default=math.nan)
        return statistics.fmean(known) if known else math.nan

    def foretell(self, newest: dict[int, float]) -> list[tuple[float, float]]:
        """Of each field what ``last`` and ``typical`` say; ``newest`` are the stream's."""
        return [(newest.get(i, self.typical(i)), self.typical(i)) for i in self.fields]

    def learn(self, newest: dict[int, float], i: int, y: float, counted: float | None = None) -> None:
        """A value of the stream, and as what it counts where that is another class."""
        newest[i] = y
        self.known[i].append(y if counted is None else counted)

    def score(self, i: int, error: float, said: tuple[float, float], y: float) -> tuple[float, float]:
        """The errors of both, where the model's is ``error``."""
        if math.isnan(said[0]):
            return math.nan, math.nan
        last, typical = (float(s != y) if self.classify else abs(s - y) for s in said)
        self.errors[i].append((error, last, typical))
        return last, typical

    def recent(self, i: int) -> list[float]:
        """The sums that forget, of model, last and typical."""
        newest_first = self.errors[i][::-1]
        return [sum(e[k] * FORGETTING**n for n, e in enumerate(newest_first)) for k in range(3)]

    def skill(self) -> list[float]:
        """Against both; NaN where there is none."""
        sums = [self.recent(i) for i in self.fields]
        model, *rivals = [sum(of[k] / of[2] for of in sums if of[2]) for k in range(3)]
        return [1 - model / rival if rival else float("nan") for rival in rivals]
