"""What is said where a broker refuses something: the right that is missing, and the command that grants it."""

from __future__ import annotations

import kafka.errors as client_errors
import pytest

from streamrnn.broker.kafka_connect import fail
from streamrnn.broker.kafka_rights import missing_right
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.rights import command
from streamrnn.errors import BrokerError


@pytest.mark.parametrize(
    ("error", "operation", "expected"),
    [
        (
            client_errors.TopicAuthorizationFailedError({"b", "a"}),
            "READ",
            "this user has no right to READ topic a, b; grant it: "
            f"{command('READ', 'topic', 'a')}; {command('READ', 'topic', 'b')}",
        ),
        (
            client_errors.GroupAuthorizationFailedError("flights"),
            "READ",
            f"this user has no right to READ group flights; grant it: {command('READ', 'group', 'flights')}",
        ),
        (
            client_errors.ClusterAuthorizationFailedError("request", "and answer"),
            "WRITE",
            "this user has no right to WRITE any topic, without which no producer is let in; grant it: "
            f"{command('WRITE', 'topic', 'TOPIC')} (brokers before 2.8 ask for IDEMPOTENT_WRITE on the cluster, too)",
        ),
        (
            client_errors.KafkaError("fatal: ClusterAuthorizationFailedError"),  # as from the producer's thread
            "WRITE",
            "this user has no right to WRITE any topic, without which no producer is let in; grant it: "
            f"{command('WRITE', 'topic', 'TOPIC')} (brokers before 2.8 ask for IDEMPOTENT_WRITE on the cluster, too)",
        ),
        (
            client_errors.ClusterAuthorizationFailedError(),
            "CREATE",
            "this user has no right to CREATE on the cluster",
        ),
        (
            client_errors.TransactionalIdAuthorizationFailedError("tx-1"),
            "WRITE",
            "this user has no right to WRITE under its transactional id; grant it: "
            f"{command('WRITE', 'transactional-id', 'ID')}",
        ),
    ],
)
def test_a_refusal_is_told_as_the_right_that_is_missing(error: Exception, operation: str, expected: str) -> None:
    assert missing_right(error, operation) == expected
    with pytest.raises(BrokerError) as raised:
        fail("sending", error, KafkaConnection(bootstrap_servers="a:1"), "i", operation=operation)
    assert str(raised.value) == f"sending: {expected}"


def test_what_is_no_refusal_names_no_right() -> None:
    assert missing_right(client_errors.KafkaTimeoutError("later"), "WRITE") == ""
