"""The compose file's own commands, on a real broker: topics, departures without end, two workers that share them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.job.job_file import parse
from tests.demo.test_run import needs_flights
from tests.deploy.test_compose import DOCKER, SERVICES, WORKERS

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(400), needs_flights]

WAIT_S = 150.0


@pytest.fixture
def job_file(kafka_bootstrap: str, tmp_path: Path) -> Path:
    """The job of the compose file, with its broker's address, topics and directory exchanged for the test's."""
    text = (DOCKER / "../deploy/examples/compose.yaml").read_text()
    run = f"compose-{uuid.uuid4().hex[:8]}"
    for old, new in (
        ("job: flights", f"job: {run}"),
        ("kafka:9092", kafka_bootstrap),
        ("topic: departures", f"topic: {run}.departures"),
        ("topic: delay-predictions", f"topic: {run}.predictions"),
        ("topic: dead-letters", f"topic: {run}.dead"),
        ("/var/lib/streamrnn", str(tmp_path)),
        ("host: 0.0.0.0, port: 9308", "host: 127.0.0.1, port: 0"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return path


def command(service: str, job_file: Path) -> list[str]:
    """What the service runs; a worker's is the image's own."""
    words = SERVICES[service].get("command", ["run", "--config", "/etc/streamrnn/job.yaml"])
    put = {"/etc/streamrnn/job.yaml": str(job_file), "${RECORDS_PER_S:-200}": "200"}
    return [sys.executable, "-P", "-m", "streamrnn", *(put.get(word, word) for word in words)]


@contextlib.contextmanager
def running(service: str, job_file: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The service, with its log."""
    log = job_file.with_name(f"{service}.log")
    with log.open("wb") as out:
        environment = os.environ | SERVICES[service].get("environment", {})
        process = subprocess.Popen(command(service, job_file), stdout=out, stderr=out, env=environment)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def counted(log: Path) -> dict[str, float]:
    """Predictions delivered, by partition, as a worker's metrics say that listens where its log says."""
    (address,) = [word for word in log.read_text().split() if word.startswith("http://127.0.0.1:")][:1]
    with urllib.request.urlopen(f"{address.rstrip(',')}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith("streamrnn_prediction_latency_seconds_count{")]
    return {line.partition('partition="')[2].partition('"')[0]: float(line.split()[-1]) for line in found}


def test_kafka_topics_feeder_and_two_workers_make_the_picture(kafka_bootstrap: str, job_file: Path) -> None:
    subprocess.run(command("topics", job_file), check=True, timeout=WAIT_S)
    config = parse(job_file.read_text(), env={})
    topics = [config.input.topic, config.output.topic, config.output.dead_letter_topic]
    administration = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_bootstrap))
    described = administration.describe_topics(topics).values()
    assert [topic.partitions for topic in described if topic is not None] == [4, 4, 4]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(running(service, job_file)) for service in ("feeder", *WORKERS)]
        deadline = time.monotonic() + WAIT_S
        shares: list[dict[str, float]] = []
        while sorted(partition for share in shares for partition in share) != ["0", "1", "2", "3"]:
            logs = [f"{log.name}: {log.read_text()[-1_500:]}" for _, log in started]
            assert time.monotonic() < deadline and all(process.poll() is None for process, _ in started), logs
            time.sleep(1.0)
            with contextlib.suppress(ValueError, OSError):  # not listening yet
                shares = [{p: n for p, n in counted(log).items() if n > 0} for _, log in started[1:]]
        assert [len(share) for share in shares] == [2, 2]
        members = administration.describe_group(config.group_id).members
        assert {member.instance_id for member in members} == set(WORKERS)
        for process, log in reversed(started):
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0, log.read_text()[-2_000:]
    administration.delete_topics(topics)
