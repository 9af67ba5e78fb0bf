"""Falling learning rates against their formulas."""

from __future__ import annotations

import math

import pytest

from streamrnn.core import schedules
from streamrnn.learner.lowering import hyper_of
from streamrnn.learner.spec import LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec


def rate(schedule: str, updates: int, *, least: float = 0.0) -> float:
    learning = LearningSpec(lr=0.02, schedule=schedule, schedule_updates=250, schedule_least=least)  # type: ignore[arg-type]
    hyper = hyper_of(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), learning=learning))
    return schedules.rate(schedules.SCHEDULES[schedule], hyper, updates)


@pytest.mark.parametrize("updates", [0, 1, 2, 249, 250, 251, 10_000, 1_000_000])
def test_rates_follow_their_formulas(updates: int) -> None:
    assert rate("constant", updates) == 0.02
    assert rate("inverse_sqrt", updates) == pytest.approx(0.02 / math.sqrt(1 + updates / 250), rel=1e-14)
    assert rate("exponential", updates) == pytest.approx(0.02 * math.exp(-updates / 250), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "exponential"])
def test_no_rate_falls_below_the_share_that_always_stays(schedule: str) -> None:
    assert rate(schedule, 0, least=0.1) == 0.02
    assert rate(schedule, 10**9, least=0.1) == pytest.approx(0.002)
