"""What a cluster's administration says when the client fails; what it does on a cluster: test_broker_contract.py."""

from __future__ import annotations

from typing import Any, NoReturn

import kafka.errors as client_errors
import pytest

from streamrnn.broker import kafka_admin
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.errors import BrokerError


class Unreachable:
    """A client that was made, and cannot reach the brokers it was told of."""

    closed = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def describe_topics(self, topics: list[str]) -> NoReturn:  # noqa: ARG002 - its client's signature
        raise self.error

    def close(self) -> None:
        self.closed = True


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[Unreachable, str]:
    """The message of a failed request, and the client that failed."""
    client = Unreachable(error)

    def connect(*_: Any) -> Unreachable:
        return client

    monkeypatch.setattr(kafka_admin, "connect", connect)
    with pytest.raises(BrokerError) as raised:
        kafka_admin.KafkaAdministration(KafkaConnection(bootstrap_servers="here:9092")).describe_topics(["a"])
    return client, str(raised.value)


def test_addresses_that_are_advertised_and_cannot_be_reached_are_what_the_error_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, message = failing(monkeypatch, client_errors.KafkaConnectionError("111 ECONNREFUSED"))
    assert "describing the topics a failed" in message
    assert "advertised.listeners" in message
    assert client.closed


def test_another_failure_names_the_servers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, message = failing(monkeypatch, client_errors.RequestTimedOutError("slow"))
    assert message.endswith("slow (Kafka at here:9092)")
