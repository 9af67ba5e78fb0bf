"""What our settings become for librdkafka, and that nothing a job asks for is left out silently."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from streamrnn.broker.confluent_settings import client_properties, consumer_properties, producer_properties
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.security import KafkaSecurity, OAuth, Secret
from streamrnn.daemon.opening import open_broker, open_sender
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse


def job(kafka: str, reading: str = "") -> Config:
    return parse(
        f"""
job: j
kafka: {{client: confluent, bootstrap_servers: "127.0.0.1:1"{kafka}}}
input: {{topic: a{reading}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
output: {{topic: b, dead_letter_topic: c}}
checkpoint: {{directory: d}}
""",
        env={},
    )


def properties(**security: Any) -> dict[str, Any]:
    return client_properties(KafkaConnection(bootstrap_servers="a:1, b:2", security=KafkaSecurity(**security)))


def test_each_setting_of_security_has_its_property() -> None:
    given = properties(
        protocol="SASL_SSL", sasl_mechanism="SCRAM-SHA-512", sasl_username="me", sasl_password=Secret("hunter2-7c"),
        ssl_cafile="ca", ssl_certfile="crt", ssl_keyfile="key", ssl_key_password=Secret("hunter2-key"),
        ssl_check_hostname=False,
    )  # fmt: skip
    expected = {
        "bootstrap.servers": "a:1,b:2", "security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "me", "sasl.password": "hunter2-7c", "ssl.ca.location": "ca",
        "ssl.certificate.location": "crt",
        "ssl.key.location": "key", "ssl.key.password": "hunter2-key", "ssl.endpoint.identification.algorithm": "none",
    }  # fmt: skip
    assert given.items() >= expected.items()
    assert "hunter2" not in repr(given)


def test_what_is_not_given_is_left_to_the_client_but_for_checking_the_host() -> None:
    given = properties(protocol="SSL", ssl_certfile="both")
    assert given["ssl.key.location"] == "both"
    assert given["ssl.endpoint.identification.algorithm"] == "https"
    assert not {"ssl.ca.location", "ssl.key.password", "sasl.mechanisms"} & given.keys()
    assert not [name for name in properties() if name.startswith(("ssl", "sasl"))]
    oauth = properties(protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", oauth=OAuth(token_file="t"))
    assert oauth["sasl.mechanisms"] == "OAUTHBEARER"


def test_a_consumer_commits_nothing_by_itself_and_reads_what_is_committed_in_bounded_memory() -> None:
    group = KafkaGroup(group_id="g", instance_id="one", session_timeout_s=1.0)
    given = consumer_properties(KafkaConnection(bootstrap_servers="a:1"), group)
    expected = {
        "group.id": "g", "group.instance.id": "one", "session.timeout.ms": 1000, "heartbeat.interval.ms": 250,
        "partition.assignment.strategy": "cooperative-sticky", "isolation.level": "read_committed",
        "enable.auto.commit": False, "enable.auto.offset.store": False, "auto.offset.reset": "error",
        "allow.auto.create.topics": False, "fetch.max.bytes": 16 << 20, "queued.max.messages.kbytes": 16 << 10,
    }  # fmt: skip
    assert given.items() >= expected.items()


def test_a_producer_is_idempotent_and_chooses_partitions_as_the_other_client() -> None:
    given = producer_properties(KafkaConnection(bootstrap_servers="a:1"))
    expected = {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "message.max.bytes": 1 << 20,
    }
    assert given.items() >= expected.items()


@pytest.mark.parametrize(
    ("kafka", "reading", "expected"),
    [
        (", security: {protocol: SASL_SSL, sasl_mechanism: GSSAPI}", "", "sasl_mechanism: GSSAPI does not go with"),
        (", security: {protocol: SASL_SSL, sasl_mechanism: AWS_MSK_IAM}", "", "AWS_MSK_IAM does not go with"),
        ("", ", max_unpacked_bytes: 4000000", "input.max_unpacked_bytes: does not go with kafka.client confluent"),
    ],
)
def test_what_this_client_cannot_do_is_refused_with_the_way_out(kafka: str, reading: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"{expected}.*kafka\.client: kafka-python"):
        job(kafka, reading)


def test_a_client_that_is_not_installed_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    config = job("")
    found = "importlib.util.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == "confluent_kafka" else sys)
    for opened in (open_broker, open_sender):
        with pytest.raises(
            ConfigError, match=r"kafka\.client: confluent needs .* pip install 'streamrnn\[confluent\]'"
        ):
            opened(config)
