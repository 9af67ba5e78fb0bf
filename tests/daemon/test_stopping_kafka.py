"""A stop while the cluster hangs: it took its connections, and answers nothing any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from tests.kafka.server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(200)]

BUDGET_S = 8.0
WAIT_S = 60.0
PARTITIONS = 6
JOB = """
job: {job}
kafka: {{client: {client}, bootstrap_servers: '{servers}', group_instance_id: one, session_timeout_s: 6}}
input: {{topic: {job}-in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {at}/checkpoints}}
shutdown_timeout_s: {budget_s}
http: null
"""


@pytest.mark.parametrize(("client", "already_s"), [("kafka-python", 0.0), ("kafka-python", 4.0), ("confluent", 4.0)])
def test_a_stop_while_the_cluster_hangs_with_records_under_way_takes_no_longer_than_it_may(
    kafka_server: KafkaServer, tmp_path: Path, client: str, already_s: float
) -> None:
    connection = KafkaConnection(bootstrap_servers=kafka_server.bootstrap)
    job = f"stop-{uuid.uuid4().hex[:8]}"
    topics = [f"{job}-{name}" for name in ("in", "out", "dead")]
    KafkaAdministration(connection).create_topics(dict.fromkeys(topics, PARTITIONS))
    config = tmp_path / "job.yaml"
    config.write_text(
        JOB.format(client=client, job=job, servers=kafka_server.bootstrap, at=tmp_path, budget_s=BUDGET_S)
    )
    log = tmp_path / "worker.log"
    command = [sys.executable, "-c", "from streamrnn.cli import main; main()", "run", "-c", str(config)]
    sender = KafkaSender(connection)
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + WAIT_S
        while log.read_text().count("caught up") < PARTITIONS:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        for i in range(20 * PARTITIONS):  # one commit interval after another has something to deliver
            value = json.dumps({"a": i % 5, "y": i % 7}).encode()
            sender.send(topics[0], b"k%d" % i, value, partition=i % PARTITIONS)
            if i % 10 == 0:
                sender.flush(10.0)
        assert kafka_server.pid is not None
        os.kill(kafka_server.pid, signal.SIGSTOP)
        time.sleep(already_s)
        process.send_signal(signal.SIGTERM)
        status = process.wait(2 * BUDGET_S)
        assert status in (0, 1), log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10.0)
        if kafka_server.pid is not None:
            os.kill(kafka_server.pid, signal.SIGCONT)
        sender.close(1.0)
        KafkaAdministration(connection).delete_topics(topics)
