"""A topic on an embedded log; one on the real Kafka, and members of groups that read it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Broker
from tests.support.broker_worlds import KAFKA, EmbeddedWorld, KafkaWorld, World
from tests.support.kafka_clients import CLIENT, broker_of


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
def client(request: pytest.FixtureRequest) -> str:
    """Which client a member has; tests that run with both say so."""
    return str(getattr(request, "param", CLIENT))


@pytest.fixture
def member(connection: KafkaConnection, client: str) -> Iterator[Callable[..., Any]]:
    opened: list[Broker] = []

    def make(instance_id: str | None = "worker-0", group: str = "g", session_timeout_s: float = 6.0) -> Broker:
        place = KafkaGroup(group_id=f"{group}-{run}", instance_id=instance_id, session_timeout_s=session_timeout_s)
        opened.append(broker_of(client, connection, place))
        return opened[-1]

    run = uuid.uuid4().hex[:8]
    yield make
    for broker in opened:
        broker.close(5.0)


@pytest.fixture(params=["embedded", *(pytest.param(name, marks=pytest.mark.kafka) for name in KAFKA)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "embedded":
        made: Any = EmbeddedWorld(tmp_path / "log")
    else:
        made = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), KAFKA[request.param])
    yield made
    made.close()
