"""What the example charge-hardness claims: what is said once is still known two hundred records later, and used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.job import Job
from tests.support.charges import NOISE, as_records, charges
from tests.support.symbol_jobs import example

CHARGES = 300


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(as_records(charges(CHARGES)))


def last_third(records: list[Record], **changes: Any) -> float:
    """The mean absolute error of the last third of charges."""
    config = example("charge-hardness", **changes)
    learner, codec = Job(config).first_learner(TopicPartition("in", 0)), RecordCodec(config)
    parts = [records[i : i + 20_000] for i in range(0, len(records), 20_000)]
    errors = [learner.process(codec.decode(part).block).error.ravel() for part in parts]
    scored = np.concatenate(errors)
    scored = scored[np.isfinite(scored)]
    assert len(scored) == 4 * CHARGES
    return float(scored[-len(scored) // 3 :].mean())


@pytest.mark.slow
def test_the_example_knows_at_a_charge_s_end_what_went_in_and_a_window_does_not(records: list[Record]) -> None:
    of_the_noise, of_the_mean = NOISE * np.sqrt(2 / np.pi), 20 / 3
    assert last_third(records) < 1.5 * of_the_noise
    assert last_third(records, model={"cell": "lstm"}) > 0.9 * of_the_mean
