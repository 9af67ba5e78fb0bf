"""Cells with exact gradients on a real Kafka, and a kill in between: traces come back as they were, late targets too.

What waits at a kill is what such a cell has more than others: traces of every stream, a second state behind the one
that predicts, and the inputs between the two.
"""

from __future__ import annotations

import json
import random
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka_job import PARTITIONS, Message, Place, check

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

JOB = """
job: {job}
{log}
input: {{topic: {job}-departures, end_field: end}}
features: [{{field: x, encoder: numeric}}, {{field: kind, encoder: hash, buckets: 4}}]
streams: {{max_streams: 60}}
output: {{topic: {job}-predictions, dead_letter_topic: {job}-dead-letters}}
checkpoint: {{directory: {directory}/checkpoints, max_replay_records: {max_replay_records}}}
http: null
"""
LABELS = """
target: {{fields: [y], known: label, event_field: id, label_field: of, label_memory: 12}}
model: {{cell: elstm, hidden_size: 12, hidden_layer: 8}}
learning: {{k1: 3}}
"""
FORECAST = """
target: {{fields: [x], known: forecast, horizon: 3}}
model: {{cell: glru, hidden_size: 12, memory: 200}}
"""
MACHINES = 20


def steps(n: int, labels: bool) -> list[Message]:
    """``n`` records of several machines at once. With ``labels`` an event's target comes up to ten records later, as
    a record of its own, where it comes at all; now and then a sequence ends."""
    rng, found, due = random.Random(3), list[Message](), list[tuple[int, bytes, dict[str, object]]]()

    def add(key: bytes, value: dict[str, object]) -> None:
        at_ms = 1_700_000_000_000 + 100 * len(found)
        found.append((key, json.dumps(value).encode(), at_ms, zlib.crc32(key) % PARTITIONS))

    for i in range(n):
        key, x = b"machine-%d" % rng.randrange(MACHINES), round(rng.gauss(0.0, 1.0), 3)
        value: dict[str, object] = {"x": x, "kind": rng.choice("abc"), "end": rng.random() < 0.01}
        add(key, {**value, "id": i} if labels else value)
        if labels and rng.random() < 0.9:
            due.append((i + rng.randrange(10), key, {"of": i, "y": 2 * x + 1}))
        for label in [label for label in due if label[0] <= i]:
            due.remove(label)
            add(*label[1:])
    return found


@pytest.fixture
def place(kafka_bootstrap: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(kafka_bootstrap, tmp_path, JOB + request.param, max_replay_records=700)
    yield made
    made.close()


@pytest.mark.parametrize("place", [LABELS, FORECAST], ids=["labels", "forecast"], indirect=True)
def test_a_kill_changes_no_bit_of_traces_nor_of_what_lags_behind(place: Place, tmp_path: Path) -> None:
    labels = "label_field" in place.template
    messages = steps(4_000, labels)
    half = len(messages) * 2 // 3
    place.produce(messages[:half])
    with place.running() as process:
        place.wait_for(half // 3, process)
        process.send_signal(signal.SIGSTOP)  # so that there is work left when it is killed, however fast it was
        place.produce(messages[half:])
        process.kill()
        assert process.wait(10.0) == -signal.SIGKILL
    assert half // 3 <= place.committed() < len(messages)
    with place.running() as process:
        place.wait_for(len(messages), process)
        place.stop(process)
    check(
        place, messages, tmp_path / "embedded", duplicates=True, predicted_of=lambda message: b'"of"' not in message[1]
    )
    log = (tmp_path / "worker.log").read_text()
    assert "replaying to" in log
    assert "by exact gradients" in log
