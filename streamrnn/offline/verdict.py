"""What an evaluation comes to, in one number and a sentence: skill, against the best of the naive rivals.

Skill is 1 - error / error of the rival: 1 is perfect, 0 no better, and below 0 worse than doing without a model. The
error is the first metric; of accuracy, what it leaves to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamrnn.offline.scoring import HIGHER_IS_BETTER, MODEL, Score

FEW: Final = 1_000
"""Scored predictions below which a verdict says how little it rests on."""
SLIGHT: Final = 0.01
"""A skill that is no more than this is said to be slight."""


@dataclass(frozen=True)
class Verdict:
    """How the model did on one target beside its best rival."""

    metric: str
    model: Score
    rival: Score

    @property
    def skill(self) -> float:
        """1 - error / the rival's error; NaN where the rival makes none, or nothing was scored."""
        model, rival = (self._error(score) for score in (self.model, self.rival))
        return 1.0 - model / rival if rival > 0 else math.nan

    def _error(self, score: Score) -> float:
        value = score.values[self.metric]
        return 1.0 - value if self.metric in HIGHER_IS_BETTER else value

    @property
    def good(self) -> bool:
        """Whether the model is better than its best rival."""
        return self.skill > 0

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        target, rival = self.model.target, self.rival.predictor
        if not self.model.scored:
            return f"{target}: nothing was scored, so nothing can be said; no target became known after its prediction"
        values = (
            f"{self.metric} {_shown(self.model.values[self.metric])} against {_shown(self.rival.values[self.metric])}"
        )
        if math.isnan(self.skill):
            return f"{target}: the {rival} is always right ({values}): there is nothing for a model to add"
        if self.skill > SLIGHT:
            meaning = "the model predicts better than every naive rival"
        elif self.good:
            meaning = "the model is hardly better than its best naive rival"
        else:
            meaning = "the model is no better than a naive rival, so do not deploy it like this"
        few = f"; but this rests on {self.model.scored:,} predictions only" if self.model.scored < FEW else ""
        return f"{target}: skill {self.skill:.3f} against the best rival, the {rival} ({values}): {meaning}{few}"


def verdicts(metric: str, scores: Sequence[Score]) -> list[Verdict]:
    """The verdict on each target."""
    found = []
    for target in dict.fromkeys(score.target for score in scores):
        mine, *rivals = sorted((s for s in scores if s.target == target), key=lambda s: s.predictor != MODEL)
        sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
        found.append(Verdict(metric, mine, min(rivals, key=lambda s: sign * s.values[metric])))
    return found


def _shown(value: float) -> str:
    return f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}"
