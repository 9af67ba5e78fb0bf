"""Logs with topics, on files and on a real Kafka, and brokers on them: what one suite over every broker runs on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from streamrnn.broker.columns import Records
from streamrnn.broker.embedded import EmbeddedAdministration, EmbeddedBroker, EmbeddedSender
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import (
    Administration,
    Assigned,
    Broker,
    Record,
    Sender,
    TopicPartition,
)
from tests.support.kafka_clients import broker_of, sender_of
from tests.support.kafka_members import DEADLINE_S, until


class World(Protocol):
    """A log with topics, and brokers on it that end with the test."""

    def topic(self, partitions: int = 1) -> str: ...
    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None: ...
    def member(self, group: str) -> Broker: ...
    def sender(self) -> Sender: ...
    def administration(self) -> Administration: ...


class EmbeddedWorld:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: list[Any] = []

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{uuid.uuid4().hex[:8]}"
        with EmbeddedLog(self._directory) as log:
            log.create_topic(name, partitions)
        return name

    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        with EmbeddedLog(self._directory) as log:
            log.append(topic, b"k", value, headers=headers)
            log.flush()

    def member(self, group: str) -> Broker:
        log = EmbeddedLog(self._directory)  # each with files of its own, as processes would
        broker = EmbeddedBroker(log, group)
        self._open += [broker, log]
        return broker

    def sender(self) -> Sender:
        log = EmbeddedLog(self._directory)
        self._open.append(log)
        return EmbeddedSender(log)

    def administration(self) -> Administration:
        log = EmbeddedLog(self._directory)
        self._open.append(log)
        return EmbeddedAdministration(log)

    def close(self) -> None:
        for opened in self._open:
            opened.close(5.0) if isinstance(opened, EmbeddedBroker) else opened.close()


class KafkaWorld:
    def __init__(self, bootstrap: str, client: str) -> None:
        from streamrnn.broker.kafka_settings import KafkaConnection

        self._client = client
        self._connection = KafkaConnection(bootstrap_servers=bootstrap, request_timeout_s=4.0)
        self._open: list[Sender] = []
        self._topics: list[str] = []

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{uuid.uuid4().hex[:8]}"
        self.administration().create_topics({name: partitions})
        self._topics.append(name)
        return name

    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self._connection.servers)
        try:
            producer.send(topic, value=value, key=b"k", headers=list(headers)).get(10.0)
        finally:
            producer.close(5)

    def member(self, group: str) -> Broker:
        from streamrnn.broker.kafka_settings import KafkaGroup

        # The same instance id each time: the next member takes over at once, as a restarted worker does.
        place = KafkaGroup(group_id=group, instance_id="worker-0", session_timeout_s=6.0)
        broker = broker_of(self._client, self._connection, place)
        self._open.append(broker)
        return broker

    def sender(self) -> Sender:
        self._open.append(sender_of(self._client, self._connection))
        return self._open[-1]

    def administration(self) -> Administration:
        from streamrnn.broker.kafka_admin import KafkaAdministration

        return KafkaAdministration(self._connection)

    def close(self) -> None:
        for opened in self._open:
            opened.close(5.0)
        self.administration().delete_topics(self._topics)


KAFKA = {"kafka": "kafka-python", "kafka-confluent": "confluent"}
"""What stands in a test's name, and the client."""


def joined(broker: Broker, topic: str) -> list[TopicPartition]:
    """Subscribe and poll until the assignment is there; nothing may arrive before it is resumed."""
    broker.subscribe(topic)

    def assigned() -> list[TopicPartition]:
        assert broker.poll(0.05, 100).records == {}
        return [tp for event in broker.events() if isinstance(event, Assigned) for tp in event.partitions]

    return until("assignment", assigned)


def started(broker: Broker, topic: str, offset: int = 0) -> list[TopicPartition]:
    tps = joined(broker, topic)
    for tp in tps:
        broker.seek(tp, offset)
    broker.resume(tps)
    return tps


def drained(broker: Broker, count: int, max_records: int = 1000) -> list[Record]:
    """Poll until ``count`` records are there, and once more to see that there are no more."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(records) < count and time.monotonic() < deadline:
        for tp, polled in broker.poll(0.2, max_records).records.items():
            assert isinstance(polled, Records) and 0 < len(polled) <= max_records
            assert all(record[:2] == tp for record in polled)
            records += polled
    records += [record for polled in broker.poll(0.2, 1000).records.values() for record in polled]
    assert len(records) == count
    return records
