"""What a cluster's administration says when the client fails; what it does on a cluster: test_broker_outside.py."""

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


class Group:
    """A client whose coordinator moves: each answer is the next one, an error is raised."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.made = 0

    def connect(self, *_: Any) -> Group:
        self.made += 1
        return self

    def describe_groups(self, groups: list[str]) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        empty = {"members": [], "protocol_type": "", "protocol_data": "", "authorized_operations": ["READ"]}
        return dict.fromkeys(groups, empty | {"error": answer})

    def close(self) -> None:
        """Nothing is open."""


def test_a_group_is_asked_for_again_while_its_coordinator_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = client_errors.CoordinatorNotAvailableError()
    group = Group([moving, client_errors.NotCoordinatorError(), "[Error 14] CoordinatorLoadInProgressError", None])
    monkeypatch.setattr(kafka_admin, "connect", group.connect)
    found = kafka_admin.KafkaAdministration(KafkaConnection(bootstrap_servers="here:9092")).describe_group("g")
    assert (found.operations, found.refused) == ({"READ"}, "")
    assert group.made == 4  # a client remembers who the coordinator was


def test_a_coordinator_that_is_never_found_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group([client_errors.NotCoordinatorError()] * 9)
    monkeypatch.setattr(kafka_admin, "connect", group.connect)
    connection = KafkaConnection(bootstrap_servers="here:9092", request_timeout_s=0.1)
    with pytest.raises(BrokerError, match="describing the group g failed"):
        kafka_admin.KafkaAdministration(connection).describe_group("g")


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ("[Error 69] GroupIdNotFoundError: Group g not found.", ""),
        ("[Error 69] GroupIdNotFoundError: Group g is not a classic group.", "newer consumer protocol"),
        ("[Error 30] GroupAuthorizationFailedError", "GroupAuthorizationFailedError"),
    ],
)
def test_a_group_that_is_not_there_is_told_from_one_that_cannot_be_joined(
    monkeypatch: pytest.MonkeyPatch, error: str, refused: str
) -> None:
    monkeypatch.setattr(kafka_admin, "connect", Group([error]).connect)
    found = kafka_admin.KafkaAdministration(KafkaConnection(bootstrap_servers="here:9092")).describe_group("g")
    assert refused in found.refused
    assert bool(found.refused) == bool(refused)


@pytest.mark.parametrize(
    ("told", "expected"), [(None, {"READ", "WRITE", "DESCRIBE"}), ([], set()), (["READ"], {"READ"})]
)
def test_a_broker_that_does_not_tell_rights_is_not_taken_to_refuse_them(
    monkeypatch: pytest.MonkeyPatch, told: list[str] | None, expected: set[str]
) -> None:
    class Topics(Group):
        def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
            partition = {"partition_index": 0, "leader_id": 1, "replica_nodes": [1]}
            return [
                {"name": name, "error_code": 0, "partitions": [partition], "authorized_operations": told}
                for name in topics
            ]

    monkeypatch.setattr(kafka_admin, "connect", Topics([]).connect)
    found = kafka_admin.KafkaAdministration(KafkaConnection(bootstrap_servers="here:9092")).describe_topics(["a"])["a"]
    assert found is not None
    assert found.operations == expected
