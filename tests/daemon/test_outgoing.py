"""What is sent for a batch may wait long for its commit, and holds no more in memory than it says."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record
from streamrnn.daemon import outgoing
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from tests.support.predictions import said

JOB = """
job: j
kafka: {{bootstrap_servers: "localhost:9092"}}
input: {{topic: in{source}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
output: {{topic: out, dead_letter_topic: dead, dead_letter_value_bytes: 50}}
checkpoint: {{directory: /nowhere}}
"""
N, LARGE = 40, 100_000


def fetched(values: list[bytes]) -> Records:
    """Records as a client fetches them: keys and values in one buffer."""
    half, others = (
        Records.of([Record("in", 0, i, 1_700_000_000_000, b"s%d" % i, value) for i, value in of])
        for of in (list(enumerate(values))[: N // 2], list(enumerate(values))[N // 2 :])
    )
    records = Records.joined([half, others])
    assert records.keys.buffer is records.values.buffer
    return records


@pytest.mark.parametrize("source", ["", ", stream_key: id"])
@pytest.mark.parametrize("bad", [0, N // 2, N])
def test_outputs_of_large_records_hold_no_more_bytes_than_they_have(source: str, bad: int) -> None:
    """Predictions and dead letters, however many there are of each."""
    job = Job(parse(JOB.format(source=source), env={}))
    good = b'{"x": 1.5, "y": 2.0, "id": "a", "other": "' + b"z" * LARGE + b'"}'
    records = fetched([good[:-1] if i < bad else good for i in range(N)])
    decoded = job.codec.decode(records)
    predictions = said(np.zeros((N - bad, 1)))
    batches = outgoing.outputs(job, decoded, predictions, None, job.encoder.condensed(predictions.value))
    assert sum(map(len, batches)) == N
    held = {id(strings.buffer): len(strings.buffer) for batch in batches for strings in (batch.keys, batch.values)}
    said_bytes = sum(int((batch.keys.sizes + batch.values.sizes).sum()) for batch in batches)
    assert sum(held.values()) <= said_bytes + N * len("\n")
