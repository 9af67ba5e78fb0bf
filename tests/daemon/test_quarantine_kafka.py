"""A record that holds the process for longer than its session, on a real Kafka: the partition comes back, and goes on.

The whole process stands still, heartbeats included, as it does in one long call that keeps the interpreter's lock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import TopicPartition

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400)]

SESSION_S, HELD_S = 6.0, 8.0
WAIT_S = 240.0
N, AT = 20, 10
JOB = """
job: {job}
{log}
input: {{topic: {job}-in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {at}/checkpoints}}
http: null
"""
RUN = """
import os, signal, subprocess
from streamrnn.cli import main
from streamrnn.job.codec.records import RecordCodec
decode = RecordCodec.decode
def holding(codec, records):
    if any(b"poison" in record.value for record in records):
        subprocess.Popen(["sh", "-c", "sleep {held_s}; kill -CONT %d" % os.getpid()])
        os.kill(os.getpid(), signal.SIGSTOP)
    return decode(codec, records)
RecordCodec.decode = holding
main()
"""


def values(poison: bytes) -> list[bytes]:
    return [poison if i == AT else json.dumps({"a": i % 5, "y": i % 7}).encode() for i in range(N)]


def test_a_record_that_takes_longer_than_the_session_is_quarantined_and_its_partition_goes_on(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    connection = KafkaConnection(bootstrap_servers=kafka_bootstrap)
    job = f"held-{uuid.uuid4().hex[:8]}"
    topics = [f"{job}-{name}" for name in ("in", "out", "dead")]
    admin = KafkaAdministration(connection)
    admin.create_topics(dict.fromkeys(topics, 1), keep_forever=True)
    sender = KafkaSender(connection)
    for i, value in enumerate(values(b'{"a": 1, "y": 2, "poison": true}')):
        sender.send(topics[0], b"s%d" % (i % 3), value, timestamp_ms=1_700_000_000_000 + 1000 * i)
    sender.flush(10.0)
    sender.close(5.0)
    kafka = f"kafka: {{bootstrap_servers: '{kafka_bootstrap}', session_timeout_s: {SESSION_S}}}"
    process, log = start(tmp_path / "kafka", job, kafka)
    try:
        deadline = time.monotonic() + WAIT_S
        while (commit := admin.commits(job).get(TopicPartition(topics[0], 0))) is None or commit.offset < N:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        process.terminate()
        assert process.wait(60.0) == 0, log.read_text()
        sent = {name: read(admin, f"{job}-{name}") for name in ("out", "dead")}
    finally:
        process.kill()
        process.wait(10.0)
        admin.delete_topics(topics)
    assert [(letter["offset"], letter["reason"]) for letter in sent["dead"]] == [(AT, "quarantined")], log.read_text()
    times = Counter(prediction["offset"] for prediction in sent["out"])
    assert sorted(times) == [*range(AT), *range(AT + 1, N)]
    assert max(times.values()) <= 2
    # Bit for bit the predictions of a run whose log had an unreadable record in its place.
    expected = undisturbed(tmp_path / "whole", job)
    assert {prediction["offset"]: prediction for prediction in sent["out"]} == expected


def start(at: Path, job: str, log: str) -> tuple[subprocess.Popen[bytes], Path]:
    at.mkdir(exist_ok=True)
    (at / "job.yaml").write_text(JOB.format(job=job, log=log, at=at))
    command = [sys.executable, "-c", RUN.format(held_s=HELD_S), "run", "-c", str(at / "job.yaml")]
    with (at / "worker.log").open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out), at / "worker.log"


def read(admin: KafkaAdministration, topic: str) -> list[dict[str, Any]]:
    (tp,), (bounds,) = zip(*admin.bounds(topic).items(), strict=True)
    return [json.loads(record.value or b"") for record in admin.read({tp: bounds.start}, 1000, 10.0)[tp]]


def undisturbed(at: Path, job: str) -> dict[int, dict[str, Any]]:
    at.mkdir()
    with EmbeddedLog(at / "log") as log:
        log.create_topic(f"{job}-in", 1)
        for i, value in enumerate(values(b"{")):
            log.append(f"{job}-in", b"s%d" % (i % 3), value, timestamp_ms=1_700_000_000_000 + 1000 * i)
        log.flush()
    process, worker = start(at, job, f"embedded: {{directory: {at}/log}}")
    deadline = time.monotonic() + WAIT_S
    try:
        with EmbeddedLog(at / "log") as log:
            while (commit := log.commits(job).get(TopicPartition(f"{job}-in", 0))) is None or commit.offset < N:
                assert process.poll() is None and time.monotonic() < deadline, worker.read_text()
                time.sleep(0.05)
            predictions = [json.loads(record.value or b"") for record in log.read(f"{job}-out", 0)]
    finally:
        process.kill()
        process.wait(10.0)
    return {prediction["offset"]: prediction for prediction in predictions}
