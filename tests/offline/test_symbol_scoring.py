"""Symbols scored in bits: what rivals say is what counting says, and the model's are the learner's own."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.job.job import Job
from streamrnn.offline.evaluation import evaluate
from streamrnn.offline.scoring import Score
from tests.support.byte_path import TP
from tests.support.jobs import NEXT, text_job

WORDS = text_job("{field: message, unit: word, mark_end: false}")


def records(values: list[tuple[str, dict[str, str]]]) -> list[Record]:
    return [
        Record("in", 3, i, 5 + i, key.encode(), json.dumps(value).encode()) for i, (key, value) in enumerate(values)
    ]


def scores(config: object, given: list[Record]) -> list[Score]:
    return evaluate(config, given).scores  # type: ignore[arg-type]


def test_rivals_count_by_hand_as_here() -> None:
    """Of one stream a b a b, each first appearance scored as other, which alone is in use at the beginning."""
    model, often, after = scores(WORDS, records([("k", {"message": "a b a b"})]))
    assert model.scored == often.scored == after.scored == 4
    # other: 1 of 1; then other again (one counted, two numbers in use); then a and b, of three, and never counted.
    chances = [1.0, (1 + 1 / 2) / 2, (0 + 1 / 3) / 3, (0 + 1 / 3) / 4]
    assert often.values["bits per symbol"] == pytest.approx(-sum(map(math.log2, chances)) / 4)
    # Behind a came other once, behind b nothing.
    behind = [*chances[:3], (0 + chances[3]) / 2]
    assert after.values["bits per symbol"] == pytest.approx(-sum(map(math.log2, behind)) / 4)
    assert often.values["accuracy"] == 1 / 4  # nothing was counted before the first, and later other was the likeliest


def test_the_model_s_bits_are_the_learner_s() -> None:
    pages = [(f"v{i % 3}", {"page": "/" + "abcd"[i * i % 4]}) for i in range(40)]
    given = records(pages)
    job = Job(NEXT)
    loss = job.learner(TP).process(job.codec.decode(given).block).loss
    model, *_ = scores(NEXT, given)
    assert model.scored == 37
    assert model.values["bits per symbol"] == pytest.approx(np.nansum(loss) / math.log(2) / 37)


def test_an_evaluation_of_texts_counts_texts_as_known() -> None:
    report = evaluate(WORDS, records([("k", {"message": "a b"}), ("k", {})]))
    assert report.known.tolist() == [1]
    assert report.rejected == {"null_text": 1}
