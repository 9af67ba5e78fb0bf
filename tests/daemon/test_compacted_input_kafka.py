"""A replay over a topic that a real broker has compacted meanwhile: it cannot arrive, and the error says why."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.errors import RecoveryError
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.support.kafka_clients import CLIENTS

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DEADLINE_S = 90.0
RECORDS = 40
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.0001"}


@pytest.fixture
def topics(kafka_bootstrap: str) -> Iterator[list[str]]:
    job = f"compacted-{uuid.uuid4().hex[:8]}"
    names = [f"{job}-{name}" for name in ("in", "out", "dead")]
    administration = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_bootstrap))
    administration.create_topics(dict.fromkeys(names, 1), keep_forever=True)
    yield names
    administration.delete_topics(names)


def job_of(topics: list[str], bootstrap: str, client: str, directory: Path, on_inexact: str = "fail") -> Config:
    source, out, dead = topics
    return parse(
        f"""
job: {source}
kafka: {{client: {client}, bootstrap_servers: '{bootstrap}', group_instance_id: one, session_timeout_s: 6}}
input: {{topic: {source}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
learning: {{k1: 1, k2: 3}}
streams: {{max_streams: 10}}
output: {{topic: {out}, dead_letter_topic: {dead}}}
checkpoint: {{directory: {directory}, on_inexact: {on_inexact}}}
http: null
""",
        env={},
    )


def produce(bootstrap: str, topic: str, first: int, count: int) -> None:
    sender = KafkaSender(KafkaConnection(bootstrap_servers=bootstrap))
    for i in range(first, first + count):
        sender.send(topic, b"ab"[i % 2 : i % 2 + 1], json.dumps({"x": i, "y": i % 3}).encode())
    sender.flush(20.0)
    sender.close(5.0)


def run_to_the_end(config: Config) -> None:
    """Run until everything that is there is predicted and committed."""
    stop, broker, tp = threading.Event(), open_broker(config), TopicPartition(config.input.topic, 0)
    deadline = time.monotonic() + DEADLINE_S

    def idle() -> None:
        commit = broker.committed(tp)
        assert time.monotonic() < deadline
        if commit is not None and commit.offset == broker.log_end(tp):
            stop.set()

    run_worker(config, broker, stop, idle=idle)


def compact(bootstrap: str, topic: str) -> None:
    """Have the broker compact the topic and wait until it has."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=COMPACTED)])
    admin.close()
    administration, tp = KafkaAdministration(KafkaConnection(bootstrap_servers=bootstrap)), TopicPartition(topic, 0)
    deadline = time.monotonic() + DEADLINE_S
    n = RECORDS
    while len(administration.read({tp: 0}, RECORDS, 10.0)[tp]) == RECORDS:
        assert time.monotonic() < deadline, "the broker did not compact the topic"
        time.sleep(0.3)
        produce(bootstrap, topic, n, 1)  # a record that comes later begins a new segment: only old ones are compacted
        n += 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_replay_that_meets_compaction_says_so_and_goes_on_where_it_is_told_to(
    topics: list[str], kafka_bootstrap: str, tmp_path: Path, client: str
) -> None:
    source = topics[0]
    produce(kafka_bootstrap, source, 0, RECORDS)
    run_to_the_end(job_of(topics, kafka_bootstrap, client, tmp_path))
    (last,) = tmp_path.rglob(f"manifest-{RECORDS:020d}.json")
    last.unlink()  # as if the worker had been killed before it wrote one: the replay begins at offset 0
    compact(kafka_bootstrap, source)
    with pytest.raises(RecoveryError, match=rf"replay reached offset .* Topic {source} is compacted.*on_inexact"):
        run_to_the_end(job_of(topics, kafka_bootstrap, client, tmp_path))
    run_to_the_end(job_of(topics, kafka_bootstrap, client, tmp_path, on_inexact="continue"))
    administration = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_bootstrap))
    (end,) = (bounds.end for bounds in administration.bounds(source).values())
    assert administration.commits(source)[TopicPartition(source, 0)].offset == end
