"""A real cluster whose topics are set up wrongly, as people do it, and what the preflight says before the job runs."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned, Commit, TopicPartition
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.preflight.checks import Preflight
from streamrnn.daemon.preflight.findings import Kind
from streamrnn.daemon.run import run_worker
from streamrnn.errors import BrokerError
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.kafka.server import SASL_PASSWORD, SASL_USER, KafkaServer

pytestmark = pytest.mark.kafka

DAY = 86_400_000


class Place:
    """A job's three topics on a cluster, and what the preflight says of them."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self.job = f"preflight-{uuid.uuid4().hex[:8]}"
        self.source, self.out, self.dead = (f"{self.job}-{name}" for name in ("in", "out", "dead"))
        self.bootstrap, self.directory = bootstrap, directory
        self.connection = KafkaConnection(bootstrap_servers=bootstrap)
        self.administration = KafkaAdministration(self.connection)
        self._made: list[str] = []

    def create(self, topic: str, partitions: int = 1, **settings: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        configs = {name.replace("_", "."): value for name, value in settings.items()}
        admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}})
        admin.wait_for_topics([topic], timeout_ms=10_000)
        admin.close()
        self._made.append(topic)

    def produce(self, values: list[bytes], *, key: bytes | None = b"s", age_ms: int = 0) -> None:
        sender = KafkaSender(self.connection)
        for value in values:
            sender.send(self.source, key, value, timestamp_ms=int(1000 * time.time()) - age_ms)
        sender.flush(20.0)
        sender.close(5.0)

    def config(self, kafka: str = "", checkpoint: str = "") -> Config:
        return parse(
            f"""
job: {self.job}
kafka: {{{kafka or f"bootstrap_servers: '{self.bootstrap}', group_instance_id: one, session_timeout_s: 6"}}}
input: {{topic: {self.source}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
streams: {{max_streams: 10}}
output: {{topic: {self.out}, dead_letter_topic: {self.dead}}}
checkpoint: {{directory: {self.directory}/checkpoints{checkpoint}}}
http: null
""",
            env={},
        )

    def said(self, config: Config | None = None) -> dict[Kind, list[str]]:
        found: dict[Kind, list[str]] = {kind: [] for kind in Kind}
        for finding in Preflight(config or self.config()).findings(lambda _: None):
            found[finding.kind].append(finding.text)
        return found

    def close(self) -> None:
        self.administration.delete_topics(self._made)


@pytest.fixture
def place(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(kafka_bootstrap, tmp_path)
    yield made
    made.close()


def filled(place: Place) -> Place:
    for topic in (place.source, place.out, place.dead):
        place.create(topic)
    place.produce([json.dumps({"x": i, "y": i % 3}).encode() for i in range(100)])
    return place


@pytest.fixture
def topics(place: Place) -> Place:
    """The place with three topics as they should be, and a hundred records."""
    return filled(place)


@pytest.fixture
def own(kafka_server: KafkaServer, tmp_path: Path) -> Iterator[Place]:
    """The same on a broker whose users and process are at hand."""
    made = filled(Place(kafka_server.bootstrap, tmp_path))
    yield made
    made.close()


def only(texts: list[str], part: str) -> str:
    (found,) = [text for text in texts if part in text]
    return found


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30.0
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def run_to_the_end(config: Config) -> None:
    """Run until everything is predicted and committed."""
    stop, broker, tp = threading.Event(), open_broker(config), TopicPartition(config.input.topic, 0)
    deadline = time.monotonic() + 60.0

    def idle() -> None:
        assert time.monotonic() < deadline
        if (commit := broker.committed(tp)) is not None and commit.offset == broker.log_end(tp):
            stop.set()

    run_worker(config, broker, stop, idle=idle)


# -- topics and records -----------------------------------------------------------------------------------------------


def test_a_job_that_can_run_has_no_problem_and_no_warning(topics: Place) -> None:
    found = topics.said()
    assert (found[Kind.PROBLEM], found[Kind.WARNING]) == ([], [])
    assert "sample: all 100 records can be used" in found[Kind.FINE]


def test_nothing_is_changed_by_looking(topics: Place) -> None:
    topics.said()
    assert not (topics.directory / "checkpoints").exists()
    assert topics.administration.commits(topics.job) == {}
    assert topics.administration.describe_group(topics.job).members == ()


def test_topics_that_refuse_what_the_job_writes_are_told(place: Place) -> None:
    place.create(place.source)
    place.create(place.out, partitions=2, message_timestamp_before_max_ms=str(DAY), max_message_bytes="300")
    place.create(place.dead, max_message_bytes="20000", cleanup_policy="compact", min_insync_replicas="2")
    place.produce([b'{"x": 1, "y": 2}'] * 20, age_ms=3 * DAY)
    found = place.said()
    assert "max.message.bytes is 300" in only(found[Kind.PROBLEM], f"topic {place.out}: a prediction")
    assert only(found[Kind.PROBLEM], "min.insync.replicas is 2, and there are 1 replicas")
    warnings = found[Kind.WARNING]
    assert only(warnings, f"topic {place.out} has 2 partitions, {place.source} has 1")
    assert only(warnings, "refuses records older than 1 day (message.timestamp.before.max.ms), as all 20")
    assert only(warnings, f"topic {place.dead}: a dead letter may have")
    assert only(warnings, f"topic {place.dead}: is compacted")


def test_a_compacted_input_topic_is_told(place: Place) -> None:
    place.create(place.source, cleanup_policy="compact")
    for topic in (place.out, place.dead):
        place.create(topic)
    (warning,) = place.said()[Kind.WARNING]
    assert warning.startswith(f"topic {place.source}: is compacted")


def test_foreign_records_are_counted_with_their_reason(topics: Place) -> None:
    topics.produce([b"<xml/>"] * 20 + [b'{"x": {}}'] * 5)
    topics.produce([b'{"x": 1, "y": 1}'] * 5, key=None)
    warnings = topics.said()[Kind.WARNING]
    assert "20 of 130 (15 %) records would become dead letters as malformed" in only(warnings, "malformed")
    assert "5 of 130 (3.8 %) records would become dead letters as wrong_type" in only(warnings, "wrong_type")
    assert "5 of 130 (3.8 %) records would become dead letters as null_key" in only(warnings, "null_key")


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_can_be_read(place: Place, codec: str) -> None:
    place.create(place.source, compression_type=codec)
    for topic in (place.out, place.dead):
        place.create(topic)
    place.produce([b'{"x": 1, "y": 2}'] * 20)
    found = place.said()
    assert found[Kind.PROBLEM] == []
    assert "sample: all 20 records can be used" in found[Kind.FINE]


# -- the group and a restart ------------------------------------------------------------------------------------------


def test_a_job_that_has_run_goes_on_and_what_became_of_its_surroundings_is_told(topics: Place) -> None:
    config = topics.config()
    run_to_the_end(config)
    found = topics.said()
    assert found[Kind.PROBLEM] == []
    assert only(found[Kind.FINE], "1 of 1 partitions have been committed by this group; offsets waiting: 0")
    # A member that closes keeps its place until its session has run out.
    assert only(found[Kind.WARNING], "a worker with this group_instance_id (one) is in it now")

    kept = topics.directory / "checkpoints"
    kept.rename(topics.directory / "moved")
    assert only(topics.said()[Kind.PROBLEM], "no usable checkpoint of lineage")
    (topics.directory / "moved").rename(kept)

    (last,) = kept.rglob("manifest-*100.json")
    text = last.read_text()
    last.write_text(text.replace("1", "2", 1))
    assert only(topics.said()[Kind.WARNING], "the checkpoint at 100 cannot be used, and an earlier one has to do")
    last.write_text(text)

    until(lambda: not topics.administration.describe_group(topics.job).members)
    admin = KafkaAdminClient(bootstrap_servers=topics.bootstrap)
    admin.delete_groups([topics.job])
    admin.close()
    assert only(topics.said()[Kind.WARNING], "has no committed offset although checkpoints exist")


def test_a_group_that_another_program_uses_is_told(topics: Place) -> None:
    broker = KafkaBroker(topics.connection, KafkaGroup(group_id=topics.job, instance_id="x", session_timeout_s=6.0))
    broker.subscribe(topics.out)
    deadline = time.monotonic() + 30.0
    while not any(isinstance(event, Assigned) for event in broker.events()):
        assert time.monotonic() < deadline
        membership = broker.poll(0.2, 1).membership
    broker.commit({TopicPartition(topics.out, 0): Commit(0)}, membership, 5.0)
    found = topics.said()
    assert only(found[Kind.PROBLEM], f"reads {topics.out} in it and not {topics.source}")
    assert only(found[Kind.WARNING], f"it also has committed offsets of {topics.out}")
    broker.close(5.0)


def test_rights_that_are_missing_are_told(own: Place, kafka_server: KafkaServer) -> None:
    from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

    def allow(user: str, operation: ACLOperation, kind: ResourceType, name: str) -> ACL:
        return ACL(
            principal=f"User:{user}",
            host="*",
            operation=operation,
            permission_type=ACLPermissionType.ALLOW,
            resource_pattern=ResourcePattern(kind, name),
        )

    admin = KafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    kafka = (
        f"bootstrap_servers: '{kafka_server.sasl_bootstrap}', security: {{protocol: SASL_PLAINTEXT, sasl_mechanism: "
        f"PLAIN, sasl_username: {SASL_USER}, sasl_password: {SASL_PASSWORD}}}"
    )
    group = (ResourceType.GROUP, own.job)
    admin.create_acls(
        [
            allow(SASL_USER, ACLOperation.READ, ResourceType.TOPIC, own.source),
            allow(SASL_USER, ACLOperation.WRITE, ResourceType.TOPIC, own.out),
            allow("somebody", ACLOperation.WRITE, ResourceType.TOPIC, own.dead),
            allow("somebody", ACLOperation.READ, *group),
        ]
    )
    config = own.config(kafka=kafka)
    found = until(lambda: (said := own.said(config))[Kind.PROBLEM] and said)
    assert only(found[Kind.PROBLEM], f"topic {own.dead} does not exist, or this user may not see it")
    assert only(found[Kind.PROBLEM], f"group {own.job} could not be described: not authorized")
    assert only(found[Kind.WARNING], f"topic {own.out}: its settings may not be seen")
    admin.create_acls([allow(SASL_USER, ACLOperation.DESCRIBE, *group)])
    until(lambda: only_read_is_missing(own, config))
    admin.create_acls([allow(SASL_USER, ACLOperation.READ, *group)])
    until(lambda: not any("group" in text for text in own.said(config)[Kind.PROBLEM]))
    admin.close()


def only_read_is_missing(topics: Place, config: Config) -> bool:
    expected = f"group {topics.job}: this user may not join it or commit; grant READ on the group"
    return any(text.startswith(expected) for text in topics.said(config)[Kind.PROBLEM])


@pytest.mark.slow
def test_a_cluster_that_stops_answering_ends_the_look(own: Place, kafka_server: KafkaServer) -> None:
    assert kafka_server.pid is not None

    def tell(what: str) -> None:
        if what == "the group":
            os.kill(kafka_server.pid or 0, signal.SIGSTOP)

    resumed = threading.Timer(120.0, os.kill, (kafka_server.pid, signal.SIGCONT))
    resumed.start()
    try:
        with pytest.raises(BrokerError, match=r"no answer from Kafka|describing the group .* failed"):
            list(Preflight(own.config()).findings(tell))
        assert resumed.is_alive(), "it waited until the broker was there again"
    finally:
        resumed.cancel()
        os.kill(kafka_server.pid, signal.SIGCONT)
