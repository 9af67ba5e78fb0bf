"""Partitions are added to topics of a real Kafka while two workers run, and group offsets are deleted."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kafka.errors as client_errors
import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions
from kafka.cluster import ClusterMetadata

import streamrnn.broker.confluent_client
import streamrnn.broker.kafka_client
from streamrnn.broker.confluent_settings import consumer_properties
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection, consumer_kwargs
from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.errors import BrokerError
from streamrnn.job.job_file import parse
from tests.support.kafka_clients import CLIENT

pytestmark = pytest.mark.kafka

DEADLINE_S = 60.0
JOB = """
job: {job}
kafka: {{client: {client}, bootstrap_servers: '{servers}', group_instance_id: {instance}, session_timeout_s: 6}}
input: {{topic: {job}-in, start: {start}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {directory}/checkpoints}}
http: null
"""


class Cluster:
    """A job's topics, and workers that run on threads."""

    def __init__(self, servers: str, directory: Path, client: str = CLIENT) -> None:
        self.job = f"added-{uuid.uuid4().hex[:8]}"
        self.directory, self.servers, self.client = directory, servers, client
        self.connection = KafkaConnection(bootstrap_servers=servers, request_timeout_s=5.0)
        self.topics = [f"{self.job}-{name}" for name in ("in", "out", "dead")]
        self.admin = KafkaAdministration(self.connection)
        self.admin.create_topics(dict.fromkeys(self.topics, 1))
        self.errors: list[BaseException] = []
        self._running: list[tuple[threading.Event, threading.Thread]] = []

    def add_partitions(self, name: str, count: int) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        admin.create_partitions({f"{self.job}-{name}": NewPartitions(count)})
        admin.close()

    def produce(self, partition: int, count: int) -> None:
        sender = KafkaSender(self.connection)
        for i in range(count):
            value = json.dumps({"x": i % 7, "y": i % 3}).encode()
            sender.send(self.topics[0], b"s%d" % partition, value, partition=partition)
        sender.flush(10.0)
        sender.close(5.0)

    def start(self, instance: str, start: str = "earliest") -> None:
        text = JOB.format(**vars(self), instance=instance, start=start)
        config, stop = parse(text, {}), threading.Event()

        def run() -> None:
            try:
                run_worker(config, open_broker(config), stop)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self._running.append((stop, thread))

    def stop(self) -> None:
        for stop, _ in self._running:
            stop.set()
        for _, thread in self._running:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        self._running = []

    def predicted(self) -> list[tuple[int, int]]:
        """Partition and offset of every record that was predicted, as often as it was. No worker may have ended."""
        assert self.errors == []
        values = [json.loads(record.value or b"") for record in self.read("out")]
        return sorted((value["partition"], value["offset"]) for value in values)

    def read(self, name: str) -> list[Record]:
        bounds = self.admin.bounds(f"{self.job}-{name}")
        found = self.admin.read({tp: b.start for tp, b in bounds.items()}, 10_000, 10.0)
        return [record for records in found.values() for record in records]

    def committed(self) -> dict[TopicPartition, Any]:
        return {tp: json.loads(commit.metadata) for tp, commit in self.admin.commits(self.job).items()}


@pytest.fixture
def cluster(
    kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    # Half a minute is what a client takes to notice that a topic was widened.
    monkeypatch.setattr(
        streamrnn.broker.kafka_client,
        "consumer_kwargs",
        lambda *args: {**consumer_kwargs(*args), "metadata_max_age_ms": 1000},
    )
    monkeypatch.setattr(
        streamrnn.broker.confluent_client,
        "consumer_properties",
        lambda *args: {**consumer_properties(*args), "topic.metadata.refresh.interval.ms": 1000},
    )
    made = Cluster(kafka_bootstrap, tmp_path, getattr(request, "param", CLIENT))
    yield made
    made.stop()
    made.admin.delete_topics(made.topics)


def until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE_S:g} s"
        time.sleep(0.2)


def test_a_sender_finds_a_partition_that_was_added_since_it_asked(cluster: Cluster) -> None:
    sender = KafkaSender(cluster.connection)
    sender.send(cluster.topics[1], b"k", b"0", partition=0)
    sender.flush(10.0)
    with pytest.raises(BrokerError, match="Unrecognized partition 1"):
        sender.send(cluster.topics[1], b"k", b"1", partition=1)
    cluster.add_partitions("out", 2)
    sender.send(cluster.topics[1], b"k", b"1", partition=1)
    sender.flush(10.0)
    sender.close(5.0)
    assert sorted((record.partition, record.value) for record in cluster.read("out")) == [(0, b"0"), (1, b"1")]


@pytest.mark.slow
@pytest.mark.parametrize("order", [("in",), ("out", "dead", "in"), ("in", "dead", "out")], ids="+".join)
def test_partitions_added_while_two_workers_run_stop_none_of_them_and_lose_nothing(
    cluster: Cluster, order: tuple[str, ...]
) -> None:
    cluster.produce(0, 10)
    cluster.start("one", "latest")
    until("the first commit", lambda: len(cluster.committed()) == 1)
    cluster.start("two", "latest")
    cluster.produce(0, 10)
    for name in order:
        cluster.add_partitions(name, 3)
        if name == "in":
            for partition in (1, 2):
                cluster.produce(partition, 20)  # before any worker has noticed
    expected = [(0, i) for i in range(10, 20)] + [(p, i) for p in (1, 2) for i in range(20)]
    until("all predictions", lambda: sorted(set(cluster.predicted())) == expected)
    for partition in range(3):
        cluster.produce(partition, 5)
    expected = sorted(expected + [(p, i) for p in range(3) for i in range(20, 25)])
    until("more predictions", lambda: sorted(set(cluster.predicted())) == expected)
    assert cluster.errors == []
    cluster.stop()
    assert cluster.errors == []
    assert cluster.predicted() == expected
    assert {mark["began_with"] for mark in cluster.committed().values()} == {1}


@pytest.mark.slow
def test_a_group_that_was_deleted_resumes_at_its_checkpoint(cluster: Cluster) -> None:
    cluster.produce(0, 50)
    cluster.start("one")
    until("all predictions", lambda: len(cluster.predicted()) == 50)
    cluster.stop()
    (before,) = cluster.committed().values()
    admin = KafkaAdminClient(bootstrap_servers=cluster.servers)
    until("the group is empty", lambda: not cluster.admin.describe_group(cluster.job).members)
    admin.delete_groups([cluster.job])
    admin.close()
    assert cluster.committed() == {}
    cluster.produce(0, 50)
    cluster.start("one")
    until("more predictions", lambda: len(cluster.predicted()) == 100)
    cluster.stop()
    assert cluster.errors == []
    assert cluster.predicted() == [(0, i) for i in range(100)]
    (after,) = cluster.committed().values()
    assert (after["lineage"], after["ordinal"]) == (before["lineage"], 100)


@pytest.mark.slow
@pytest.mark.parametrize(("cluster", "count"), [("kafka-python", 1), ("confluent", 3)], indirect=["cluster"])
def test_an_input_topic_made_anew_with_fewer_partitions_or_as_many_is_read_from_its_beginning(
    cluster: Cluster, count: int
) -> None:
    cluster.add_partitions("in", 3)
    for partition in (0, 2):
        cluster.produce(partition, 5)
    cluster.start("one")
    until("all predictions", lambda: len(cluster.predicted()) == 10)
    # A commit of a partition that is being deleted is not answered, and holds things up for as long as one may take.
    until("all is committed", lambda: sum(mark["ordinal"] for mark in cluster.committed().values()) == 10)
    cluster.admin.delete_topics([cluster.topics[0]])
    until("the topic is gone", lambda: cluster.admin.describe_topics([cluster.topics[0]])[cluster.topics[0]] is None)
    time.sleep(2.5)  # the worker asks for topics every second: one that it never finds missing may seem the same one
    cluster.admin.create_topics({cluster.topics[0]: count})
    cluster.produce(0, 8)  # more than the checkpoint of the old topic's partition was at
    expected = sorted([*[(p, i) for p in (0, 2) for i in range(5)], *[(0, i) for i in range(8)]])
    until("predictions of the new topic", lambda: cluster.predicted() == expected)
    # Partitions without a record begin one after the other, and may do so behind the last prediction.
    until("all partitions have begun", lambda: len(cluster.committed()) == count)
    cluster.stop()
    assert cluster.errors == []
    assert [mark["ordinal"] for _, mark in sorted(cluster.committed().items())] == [8, 0, 0][:count]


@pytest.mark.slow
@pytest.mark.parametrize(("cluster", "count"), [("kafka-python", 1), ("kafka-python", 3)], indirect=["cluster"])
def test_an_input_topic_made_anew_that_is_never_found_missing_is_read_from_its_beginning(
    cluster: Cluster, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is made anew between two questions. It has more records than were read, so no offset is refused."""
    name, update, told = cluster.topics[0], ClusterMetadata.update_metadata, []

    def update_unless_missing(cluster: Any, metadata: Any) -> None:  # named as the client's, or none is known
        if any(topic.name == name and topic.error_code for topic in metadata.topics):
            told.append(metadata)
            cluster.failed_update(client_errors.UnknownTopicOrPartitionError(name))
        else:
            update(cluster, metadata)

    monkeypatch.setattr(ClusterMetadata, "update_metadata", update_unless_missing)
    cluster.add_partitions("in", 3)
    cluster.produce(0, 5)
    cluster.start("one")
    until("all is committed", lambda: sum(mark["ordinal"] for mark in cluster.committed().values()) == 5)
    cluster.admin.delete_topics([name])
    until("the worker's client asked in between", lambda: bool(told))
    until("the topic is gone", lambda: cluster.admin.describe_topics([name])[name] is None)
    cluster.admin.create_topics({name: count})
    cluster.produce(0, 8)
    expected = Counter((0, i) for i in (*range(5), *range(8)))  # those behind the fifth twice, if read before
    until("predictions of the new topic", lambda: Counter(cluster.predicted()) >= expected)
    cluster.stop()
    assert cluster.errors == []
    assert cluster.committed()[TopicPartition(name, 0)]["ordinal"] == 8
