"""What an evaluation comes to, in one number and a sentence: skill, against the best of the naive rivals.

Skill is 1 - error / error of the rival: 1 is perfect, 0 no better, and below 0 worse than doing without a model. The
error is the first metric. Of classes it is the log-loss, against those rivals that give probabilities: of a rare class,
nobody is right more often than by never saying it, however much the probabilities are worth. A rival without any is
asked whether it is right more often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamrnn.offline.scoring import HIGHER_IS_BETTER, MODEL, Score

_ACCURACY: Final = "accuracy"
_ERROR_RATE: Final = "error rate"
_LOG_LOSS: Final = "log-loss"

FEW: Final = 1_000
"""Scored predictions below which a verdict says how little it rests on."""
SLIGHT: Final = 0.01
"""A skill that is no more than this is said to be slight."""
FEW_ERRORS: Final = 30
"""Wrong classes, of the model or its rival, below which a difference may be chance."""


@dataclass(frozen=True)
class Verdict:
    """How the model did on one target beside its best rival."""

    metric: str
    model: Score
    rival: Score
    right_more_often: Score | None = None
    """A rival without probabilities that is right more often than the model, by more than chance."""

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
        return self.skill > 0 and self.right_more_often is None

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
        if self.right_more_often is not None:
            other = self.right_more_often
            name = _ACCURACY if _ACCURACY in other.values else _ERROR_RATE
            counted = f"{_shown(self.model.values[name])} against {_shown(other.values[name])}"
            meaning = f"but the {other.predictor} is right more often ({name} {counted}), so do not deploy it like this"
        elif self.skill > SLIGHT:
            meaning = "the model predicts better than every naive rival"
        elif self.good:
            meaning = "the model is hardly better than its best naive rival"
        else:
            meaning = "the model is no better than a naive rival, so do not deploy it like this"
        return f"{target}: skill {self.skill:.3f} against the best rival, the {rival} ({values}): {meaning}{self._few}"

    @property
    def _few(self) -> str:
        """How little the verdict rests on, where it does."""
        if self.model.scored < FEW:
            return f"; but this rests on {self.model.scored:,} predictions only"
        mine, other = (_wrong(score) for score in (self.model, self.rival))
        if mine is None or other is None or min(mine, other) >= FEW_ERRORS:
            return ""
        return f"; but this rests on few errors: {mine:,} wrong classes of the model, {other:,} of the rival"


def verdicts(metric: str, scores: Sequence[Score]) -> list[Verdict]:
    """The verdict on each target."""
    found = []
    for target in dict.fromkeys(score.target for score in scores):
        mine, *rivals = sorted((s for s in scores if s.target == target), key=lambda s: s.predictor != MODEL)
        probable = [rival for rival in rivals if _LOG_LOSS in rival.values]
        if _accuracy(mine) is not None and _LOG_LOSS in mine.values and probable:
            rival = min(probable, key=lambda s: s.values[_LOG_LOSS])
            found.append(Verdict(_LOG_LOSS, mine, rival, _right_more_often(mine, rivals)))
            continue
        sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
        found.append(Verdict(metric, mine, min(rivals, key=lambda s: sign * s.values[metric])))
    return found


def _right_more_often(model: Score, rivals: Sequence[Score]) -> Score | None:
    """The best of the rivals without probabilities, if it beats the model by two deviations of the errors."""
    silent = [rival for rival in rivals if _LOG_LOSS not in rival.values]
    if not silent or not model.scored:
        return None
    best = max(silent, key=lambda s: _accuracy(s) or 0.0)
    mine, other = (score.scored * (1.0 - (_accuracy(score) or 0.0)) for score in (model, best))
    return best if mine - other > 2.0 * math.sqrt(mine + other) else None


def _wrong(score: Score) -> int | None:
    """How many classes were wrong, None for numbers."""
    accuracy = _accuracy(score)
    return None if accuracy is None else round(score.scored * (1.0 - accuracy))


def _accuracy(score: Score) -> float | None:
    """The share of classes that were right; None for numbers, and of symbols, which edits are counted of."""
    if (wrong := score.values.get(_ERROR_RATE)) is not None:
        return 1.0 - wrong
    return score.values.get(_ACCURACY)


def _shown(value: float) -> str:
    return f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}"
