"""Skill is one minus error over the best rival's error, and its sentence says what follows."""

from __future__ import annotations

import math

import pytest

from streamrnn.offline.scoring import Score, merged
from streamrnn.offline.verdict import verdicts


def scores(metric: str, n: int = 5_000, **values: float) -> list[Score]:
    return [Score("y", predictor, n, {metric: value}) for predictor, value in values.items()]


def test_skill_is_measured_against_the_best_rival() -> None:
    (verdict,) = verdicts("MAE", scores("MAE", model=3.0, mean=8.0, last=4.0))
    assert verdict.rival.predictor == "last"
    assert verdict.skill == 0.25
    assert verdict.sentence == (
        "y: skill 0.250 against the best rival, the last (MAE 3.000 against 4.000): the model predicts better than "
        "every naive rival"
    )


def test_of_accuracy_the_error_is_what_it_leaves() -> None:
    (verdict,) = verdicts("accuracy", scores("accuracy", model=0.95, frequencies=0.5, last=0.9))
    assert verdict.rival.predictor == "last"
    assert verdict.skill == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "said", "good"),
    [
        ({"model": 4.0, "last": 3.0}, "no better than a naive rival, so do not deploy it", False),
        ({"model": 3.99, "last": 4.0}, "hardly better", True),
        ({"model": 1.0, "last": 0.0}, "the last is always right", False),
    ],
)
def test_the_sentence_says_what_follows(values: dict[str, float], said: str, good: bool) -> None:
    (verdict,) = verdicts("MAE", scores("MAE", **values))
    assert said in verdict.sentence
    assert verdict.good is good


def test_few_predictions_are_told() -> None:
    (verdict,) = verdicts("MAE", scores("MAE", n=2, model=1.0, last=2.0))
    assert verdict.sentence.endswith("; but this rests on 2 predictions only")


def classes(model: tuple[float, float], frequencies: tuple[float, float], last: float, n: int = 10_000) -> list[Score]:
    return [
        Score("y", "model", n, {"accuracy": model[0], "log-loss": model[1]}),
        Score("y", "class frequencies", n, {"accuracy": frequencies[0], "log-loss": frequencies[1]}),
        Score("y", "last class", n, {"accuracy": last}),
    ]


def test_of_a_rare_class_probabilities_decide() -> None:
    (verdict,) = verdicts("accuracy", classes((0.93, 0.1), (0.93, 0.25), 0.87))
    assert (verdict.metric, verdict.skill, verdict.good) == ("log-loss", pytest.approx(0.6), True)
    assert verdict.sentence == (
        "y: skill 0.600 against the best rival, the class frequencies (log-loss 0.1000 against 0.2500): the model "
        "predicts better than every naive rival"
    )


def test_a_rival_without_probabilities_that_is_right_more_often_is_better() -> None:
    (verdict,) = verdicts("accuracy", classes((0.8, 0.5), (0.6, 0.6), 0.9))
    assert not verdict.good
    assert "but the last class is right more often (accuracy 0.8000 against 0.9000)" in verdict.sentence
    (by_chance,) = verdicts("accuracy", classes((0.8, 0.5), (0.6, 0.6), 0.801))
    assert by_chance.good


def test_few_errors_are_told() -> None:
    (verdict,) = verdicts("accuracy", classes((0.9990, 0.0113), (0.9997, 0.0053), 0.9993, n=3_000))
    assert verdict.sentence.endswith("; but this rests on few errors: 3 wrong classes of the model, 1 of the rival")


def test_nothing_scored_is_no_verdict() -> None:
    (verdict,) = verdicts("MAE", scores("MAE", n=0, model=math.nan, last=math.nan))
    assert "nothing was scored" in verdict.sentence


def test_scores_of_partitions_are_those_of_all_their_predictions() -> None:
    one = [Score("y", "model", 30, {"MAE": 1.0, "RMSE": 3.0})]
    other = [Score("y", "model", 10, {"MAE": 5.0, "RMSE": 5.0})]
    none = [Score("y", "model", 0, {"MAE": math.nan, "RMSE": math.nan})]
    (total,) = merged([one, other, none])
    assert total.scored == 40
    assert total.values == pytest.approx({"MAE": 2.0, "RMSE": math.sqrt((30 * 9 + 10 * 25) / 40)})
