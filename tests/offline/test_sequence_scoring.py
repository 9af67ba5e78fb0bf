"""Whole sequences scored by hand: errors, F1, edits and absolute errors, beside rivals that count."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.job.codec.records import Decoded
from streamrnn.job.config import Config
from streamrnn.learner.predictions import Predictions, SequenceScores
from streamrnn.offline.evaluation import evaluate, scorer_of
from streamrnn.offline.scoring import Score, macro_f1, merged
from streamrnn.offline.verdict import verdicts
from tests.support.jobs import NAN, decode
from tests.support.sequence_jobs import TARGETS, sequence_job
from tests.support.sequence_records import chunks, sequences

FRAMES = [[0.0, 0.0]]


def predicted(
    said: Sequence[Sequence[int]],
    wrong: Sequence[float],
    length: Sequence[float],
    *,
    value: Any = None,
    loss: Any = 0.5,
    complete: Any = True,
) -> Predictions:
    """What was said of some sequences, and how wrong it was."""
    n, wrong, length = len(said), np.array(wrong, float), np.array(length, float)
    scores = SequenceScores(
        bounds=np.cumsum([0, *map(len, said)]),
        number=np.array([number for each in said for number in each], np.int64),
        value=np.ones(sum(map(len, said))),
        wrong=wrong,
        length=length,
        reason=np.zeros(n, np.uint8),
        complete=np.broadcast_to(complete, n),
    )
    nothing = np.full(n, NAN)
    return Predictions(
        value=np.zeros((n, 0)) if value is None else np.array(value, float),
        updates=np.zeros(n, np.int64),
        loss=np.where(np.isnan(length), NAN, loss),
        error=wrong / np.maximum(1.0, length),
        grad_norm=nothing,
        rivals=np.full((n, 2), NAN),
        width=nothing,
        rank=np.full((n, 2), NAN),
        delay=nothing,
        sequences=scores,
    )


def scored(config: Config, decoded: Decoded, predictions: Predictions) -> list[Score]:
    scorer = scorer_of(config.learner_spec())
    scorer.score(decoded, predictions)
    return scorer.scores()


def test_macro_f1_weighs_classes_alike_and_leaves_out_those_that_never_came() -> None:
    assert macro_f1(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]])) == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(macro_f1(np.zeros((3, 2), np.int64)))


def test_one_label_is_scored_beside_frequencies_and_the_stream_s_last_class() -> None:
    config = sequence_job(TARGETS["label"])
    decoded = decode(config, *({"frames": FRAMES, "y": y} for y in ("high", "low", "high", None)))
    value = [[0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]]
    loss = [-math.log(0.8), -math.log(0.4), -math.log(0.7), NAN]
    said = predicted([[]] * 4, [0, 1, 0, NAN], [1, 1, 1, NAN], value=value, loss=loss)
    model, often, again = scored(config, decoded, said)
    assert model.scored == 3
    assert model.values["error rate"] == pytest.approx(1 / 3)
    assert model.values["log-loss"] == pytest.approx(sum(loss[:3]) / 3)
    assert model.values["macro-F1"] == pytest.approx((2 * 2 / 5 + 0) / 2)
    # Each class counts as seen once: low at 1/2, then high at 2 of 3, low at 2 of 4.
    assert often.values["log-loss"] == pytest.approx(-sum(map(math.log, (1 / 2, 1 / 3, 2 / 4))) / 3)
    assert often.values["error rate"] == pytest.approx(3 / 3)  # low, high, low were said
    assert again.values["error rate"] == pytest.approx(3 / 3)
    assert "log-loss" not in again.values


def test_labels_that_come_in_chunks_are_scored_together_and_gaps_are_left_out() -> None:
    config = sequence_job(TARGETS["labels"], source="end_field: last")
    decoded = decode(
        config,
        {"frames": FRAMES * 2, "y": ["low", None]},
        {"frames": FRAMES},  # unknown
        {"frames": FRAMES * 2, "y": ["high", "high"], "last": True},
    )
    said = predicted([[0, 0], [0], [0, 1, 1, 1, 0]], [NAN, NAN, 1], [NAN, NAN, 3], complete=[False, False, True])
    model, often = scored(config, decoded, said)
    assert (model.scored, model.values["error rate"]) == (3, pytest.approx(1 / 3))
    assert model.values["macro-F1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert often.values["error rate"] == pytest.approx(2 / 3)  # the first of the two, until others are more


def test_symbols_are_scored_by_the_sum_of_edits_over_the_sum_of_symbols() -> None:
    config = sequence_job(TARGETS["transcript"])
    decoded = decode(config, *({"frames": FRAMES, "y": y} for y in ("ab", "", "a", None)))
    model, nothing = scored(config, decoded, predicted([[0], [1], [], []], [1, 1, 1, NAN], [2, 0, 1, NAN]))
    assert (model.scored, model.values["symbol error rate"]) == (3, 1.0)
    assert model.values["log-loss"] == pytest.approx(0.5)
    assert nothing.values == {"symbol error rate": 1.0}


def test_numbers_are_scored_beside_their_mean_at_each_place() -> None:
    config = sequence_job(TARGETS["numbers"])
    decoded = decode(config, {"frames": FRAMES, "y": [1, 2, None]}, {"frames": FRAMES, "y": [3, 4, 5]})
    model, rival = scored(config, decoded, predicted([[0] * 3] * 2, [1.5, 3.0], [2, 3]))
    assert (model.scored, model.values["MAE"]) == (5, pytest.approx(0.9))
    assert rival.values["MAE"] == pytest.approx((1 + 2 + 2 + 2 + 5) / 5)  # 0 at first, then 1, 2, and still 0


def test_partitions_are_merged_as_if_they_were_one() -> None:
    config = sequence_job(TARGETS["label"])

    def part(ys: list[str], highs: list[float]) -> list[Score]:
        decoded = decode(config, *({"frames": FRAMES, "y": y} for y in ys))
        value = [[1 - p, p] for p in highs]
        wrong = [float((p > 0.5) != (y == "high")) for y, p in zip(ys, highs, strict=True)]
        return scored(config, decoded, predicted([[]] * len(ys), wrong, [1] * len(ys), value=value))

    (model, *_) = merged([part(["high", "low"], [0.9, 0.9]), part(["low"], [0.1])])
    assert model.values["macro-F1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert model.values["error rate"] == pytest.approx(1 / 3)


def records(kind: str, *, in_chunks: bool, n: int = 40) -> list[Record]:
    made = chunks(kind, n) if in_chunks else sequences(kind, n)
    return [Record("in", 0, i, 5 + i, key.encode(), json.dumps(value).encode()) for i, (key, value) in enumerate(made)]


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("kind", TARGETS)
def test_an_evaluation_of_each_kind_has_a_rival_on_the_same_answers(kind: str, in_chunks: bool) -> None:
    config = sequence_job(TARGETS[kind], source="end_field: last" if in_chunks else "")
    report = evaluate(config, records(kind, in_chunks=in_chunks))
    model, *rivals = report.scores
    assert rivals
    assert model.scored >= 10
    assert all(math.isfinite(value) for value in model.values.values())
    first = model.values[report.metrics[0]]
    assert all(score.scored == model.scored for score in rivals)
    (verdict,) = verdicts(report.metrics[0], report.scores)
    assert f"{verdict.metric} " in verdict.sentence
    assert 0.0 < first < 5.0
    assert report.known.item() > 0


@pytest.mark.parametrize("in_chunks", [False, True])
def test_one_label_of_an_open_set_is_scored_as_its_output_records_say(in_chunks: bool) -> None:
    parts = {"frames": "columns: [a, b], max_steps: 12", "source": "end_field: last"} if in_chunks else {}
    config = sequence_job("{fields: [y], kind: label, classes: {open: true, max: 4}}", **parts)
    records = [
        Record("in", 0, i, 1_000 * i, key.encode(), json.dumps(value).encode())
        for i, (key, value) in enumerate((chunks if in_chunks else sequences)("label", 120))
    ]
    out = io.BytesIO()
    report = evaluate(config, records, predictions=out)
    outputs = [json.loads(line) for line in out.getvalue().splitlines()]
    bits = [output["surprise"]["bits"] for output in outputs if output.get("surprise")]
    model, *rivals = report.scores
    assert model.scored == len(bits) > 20
    assert model.values["log-loss"] == pytest.approx(np.mean(bits) * math.log(2), rel=1e-6)
    known = [output for output in outputs if output["target"] is not None and output.get("surprise")]
    # A class that came first counts as other, which no output record names.
    seen: set[str] = set()
    right = []
    for output in known:
        said, others = output["prediction"]["probabilities"], output["prediction"]["other"]
        likeliest = max(said.values(), default=0.0)
        named = output["prediction"]["class"] if likeliest > others else None
        right.append(named == (output["target"] if output["target"] in seen else None))
        seen.add(output["target"])
    assert model.values["error rate"] == pytest.approx(1.0 - np.mean(right))
    assert {score.predictor for score in rivals} == {"class frequencies", "last class of the stream"}
    assert {score.scored for score in rivals} == {model.scored}


def test_labels_of_steps_of_an_open_set_are_scored_as_their_output_records_say() -> None:
    config = sequence_job("{fields: [y], kind: labels, classes: {open: true, max: 4}}")
    records = [
        Record("in", 0, i, 1_000 * i, key.encode(), json.dumps(value).encode())
        for i, (key, value) in enumerate(sequences("labels", 120))
    ]
    out = io.BytesIO()
    report = evaluate(config, records, predictions=out)
    seen: set[str] = set()
    right = []
    for line in out.getvalue().splitlines():
        output = json.loads(line)
        if output["target"] is not None:
            pairs = zip(output["prediction"]["labels"], output["target"], strict=True)
            right += [said == (came if came in seen else None) for said, came in pairs]
            seen |= set(output["target"])
    model, *_ = report.scores
    assert model.scored == len(right) > 100
    assert model.values["error rate"] == pytest.approx(1.0 - np.mean(right))
