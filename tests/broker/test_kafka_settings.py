"""The rules the service relies on, read off the client arguments; and that no secret shows."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from streamrnn.broker.kafka_settings import (
    HEARTBEAT_MS,
    KafkaConnection,
    KafkaGroup,
    client_kwargs,
    consumer_kwargs,
    keep_credentials_out_of_logs,
    producer_kwargs,
)
from streamrnn.broker.security import KafkaSecurity, Secret

SASL_SSL = KafkaSecurity(
    protocol="SASL_SSL",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="alice",
    sasl_password=Secret("pass-in-the-clear"),
    ssl_cafile="ca.pem",
    ssl_certfile="cert.pem",
    ssl_keyfile="key.pem",
    ssl_key_password=Secret("key-in-the-clear"),
    ssl_check_hostname=False,
)
GROUP = KafkaGroup(group_id="flights", instance_id="host-1", session_timeout_s=8.0)


def test_consumers_read_committed_and_leave_offsets_to_the_service() -> None:
    kwargs = consumer_kwargs(KafkaConnection(bootstrap_servers="a:1"), GROUP)
    assert kwargs["isolation_level"] == "read_committed"
    assert kwargs["enable_auto_commit"] is False
    assert kwargs["auto_offset_reset"] == "none"
    assert kwargs["allow_auto_create_topics"] is False
    assert (kwargs["group_id"], kwargs["group_instance_id"]) == ("flights", "host-1")
    assert kwargs["session_timeout_ms"] == 8000
    assert kwargs["heartbeat_interval_ms"] == HEARTBEAT_MS
    hasty = consumer_kwargs(KafkaConnection(bootstrap_servers="a:1"), dataclasses.replace(GROUP, session_timeout_s=1.0))
    assert 3 * hasty["heartbeat_interval_ms"] <= hasty["session_timeout_ms"] == 1000
    assert kwargs["max_poll_interval_ms"] == 1_800_000


def test_producers_are_idempotent_and_wait_for_every_replica() -> None:
    kwargs = producer_kwargs(KafkaConnection(bootstrap_servers="a:1", request_timeout_s=5.0))
    assert (kwargs["acks"], kwargs["enable_idempotence"]) == ("all", True)
    assert kwargs["allow_auto_create_topics"] is False
    assert kwargs["max_block_ms"] == kwargs["request_timeout_ms"] == 5000
    assert kwargs["delivery_timeout_ms"] >= kwargs["request_timeout_ms"] + kwargs["linger_ms"]


def test_security_passes_to_every_client_in_full() -> None:
    connection = KafkaConnection(bootstrap_servers="a:1", security=SASL_SSL)
    expected = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": "pass-in-the-clear",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "cert.pem",
        "ssl_keyfile": "key.pem",
        "ssl_password": "key-in-the-clear",
        "ssl_check_hostname": False,
    }
    for kwargs in (client_kwargs(connection), consumer_kwargs(connection, GROUP), producer_kwargs(connection)):
        assert {name: kwargs[name] for name in expected} == expected


def test_a_configurations_sealed_secret_is_opened_for_the_client_only() -> None:
    security = KafkaSecurity(
        protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="alice",
        sasl_password=Secret("pass-in-the-clear"),
    )
    kwargs = client_kwargs(KafkaConnection(bootstrap_servers="a:1", security=security))
    assert kwargs["sasl_plain_password"] == "pass-in-the-clear"
    assert "in-the-clear" not in repr(kwargs)


def test_an_open_listener_gets_no_security_arguments() -> None:
    kwargs = client_kwargs(KafkaConnection(bootstrap_servers="a:1"))
    assert kwargs["security_protocol"] == "PLAINTEXT"
    assert not [name for name in kwargs if name.startswith(("ssl", "sasl"))]


def test_no_secret_shows_in_a_repr() -> None:
    connection = KafkaConnection(bootstrap_servers="a:1", security=SASL_SSL)
    kwargs = consumer_kwargs(connection, GROUP)
    for shown in (repr(connection), repr(SASL_SSL), repr(kwargs), f"{kwargs}", "%r" % kwargs, "%s" % kwargs):  # noqa: UP031
        assert "in-the-clear" not in shown


@pytest.mark.parametrize("given", ["a:1, b:2", ["a:1", "b:2"], ("a:1", "b:2")])
def test_bootstrap_servers_are_a_string_or_a_list(given: str | list[str]) -> None:
    assert client_kwargs(KafkaConnection(bootstrap_servers=given))["bootstrap_servers"] == ["a:1", "b:2"]


def test_requests_with_credentials_and_wire_bytes_are_not_logged_other_requests_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class SaslAuthenticateRequest:
        def __str__(self) -> str:
            return "in-the-clear"

    keep_credentials_out_of_logs()
    keep_credentials_out_of_logs()
    with caplog.at_level(logging.DEBUG, logger="kafka"):
        logging.getLogger("kafka.net.connection").debug("Request %d: %s", 1, SaslAuthenticateRequest())
        logging.getLogger("kafka.net.connection").debug("Request %d: %s", 2, "MetadataRequest")
        logging.getLogger("kafka.protocol.parser").debug("Send: %r", b"in-the-clear")
    assert caplog.messages == ["Request 2: MetadataRequest"]
