"""A topic on an embedded log; one on the real Kafka, and members of groups that read it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    """Embedded, with the topic ``t``."""
    log = EmbeddedLog(tmp_path)
    log.create_topic("t")
    return log


@pytest.fixture
def connection(kafka_bootstrap: str) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=kafka_bootstrap, request_timeout_s=5.0)


@pytest.fixture
def topic(connection: KafkaConnection) -> Iterator[str]:
    name = f"topic-{uuid.uuid4().hex[:8]}"
    KafkaAdministration(connection).create_topics({name: 2})
    yield name
    KafkaAdministration(connection).delete_topics([name])


@pytest.fixture
def member(connection: KafkaConnection) -> Iterator[Callable[..., KafkaBroker]]:
    opened: list[KafkaBroker] = []

    def make(instance_id: str | None = "worker-0", group: str = "g", session_timeout_s: float = 6.0) -> KafkaBroker:
        place = KafkaGroup(group_id=f"{group}-{run}", instance_id=instance_id, session_timeout_s=session_timeout_s)
        opened.append(KafkaBroker(connection, place))
        return opened[-1]

    run = uuid.uuid4().hex[:8]
    yield make
    for broker in opened:
        broker.close(5.0)
