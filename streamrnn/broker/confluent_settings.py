"""How a Kafka cluster is reached with confluent-kafka: our settings as librdkafka's properties.

Pure functions from settings to properties, as kafka_settings.py is for kafka-python, and with the same rules: nothing
here imports the client. What librdkafka cannot do is refused by :func:`refused`, with the reason, before a client is
made: nothing that a job file asks for is left out silently.
"""

from __future__ import annotations

from typing import Any

from streamrnn.broker.kafka_settings import (
    BATCH_BYTES,
    FETCH_PARTITION_BYTES,
    FETCH_WAIT_MS,
    HEARTBEAT_MS,
    LINGER_MS,
    KafkaConnection,
    KafkaGroup,
    Limits,
)
from streamrnn.broker.security import KafkaSecurity

FETCH_TOTAL_BYTES = 16 << 20
"""Bytes that are fetched at once, and that wait for a poll before no more are fetched: librdkafka fetches on a thread
of its own, so there is one answer in each place. Both, and a poll that takes them all, stay below ``reading_bytes``."""

QUEUE_FULL_MS = 20
"""How long nothing more is fetched once so much waits. Its own second is longer than a poll needs to take it."""

STATISTICS_MS = 1000
"""Between two of the client's accounts of its connections, from which we know whether the cluster answers."""

RECORD_BYTES = 1 << 20
"""The largest record that is sent, as with kafka-python."""

UNSENT_KILOBYTES = 256 << 10
"""Records that may wait to be sent; whoever sends more waits until some are acknowledged."""

UNKNOWN_TOPIC_MS = 2000
"""How long a topic that the cluster does not know is waited for; it may have been made a moment ago."""

DELETED_TOPIC_MS = 1000
"""The same of the topic that is read. While it is waited for, the client takes one that was deleted and made anew for
the same: it goes on behind the old one's last record. Its own half a minute counts from when the worker started."""


def refused(security: KafkaSecurity, limits: Limits | None = None) -> str:
    """What a job asks for and this client cannot do, as a sentence with what to do about it; or nothing."""
    if security.sasl_mechanism == "GSSAPI":
        return (
            "kafka.security.sasl_mechanism: GSSAPI does not go with kafka.client confluent, whose wheels are built "
            "without Kerberos; use kafka.client: kafka-python"
        )
    if security.sasl_mechanism == "AWS_MSK_IAM":
        return (
            "kafka.security.sasl_mechanism: AWS_MSK_IAM does not go with kafka.client confluent, whose librdkafka does "
            "not know it; use kafka.client: kafka-python"
        )
    if limits is not None and limits.max_unpacked_bytes != Limits().max_unpacked_bytes:
        return (
            "input.max_unpacked_bytes: does not go with kafka.client confluent, which unpacks batches before anybody "
            "can look at them; leave it out, or use kafka.client: kafka-python"
        )
    return ""


def client_properties(connection: KafkaConnection) -> dict[str, Any]:
    """Return the properties every kind of client takes: where, how long, and as whom."""
    security = connection.security
    request_ms = round(connection.request_timeout_s * 1000)
    properties: dict[str, Any] = {
        "bootstrap.servers": ",".join(connection.servers),
        "client.id": connection.client_id,
        "security.protocol": security.protocol,
        "socket.timeout.ms": max(10, request_ms),
        "socket.connection.setup.timeout.ms": max(1000, round(connection.connect_timeout_s * 1000)),
        "reconnect.backoff.max.ms": 2000,  # a broker that comes back is found again within seconds
        "allow.auto.create.topics": False,
        "statistics.interval.ms": STATISTICS_MS,
        "log.connection.close": False,  # idle connections are closed by brokers, and outages are told by us
    }
    return properties | _tls(security) | _sasl(security)


def _tls(security: KafkaSecurity) -> dict[str, Any]:
    if not security.protocol.endswith("SSL"):
        return {}
    given = {
        "ssl.ca.location": security.ssl_cafile,
        "ssl.certificate.location": security.ssl_certfile,
        "ssl.key.location": security.ssl_keyfile or security.ssl_certfile,  # both may lie in one file
        "ssl.key.password": None if security.ssl_key_password is None else security.ssl_key_password.reveal(),
        "ssl.endpoint.identification.algorithm": "https" if security.ssl_check_hostname else "none",
    }
    return {name: value for name, value in given.items() if value is not None}


def _sasl(security: KafkaSecurity) -> dict[str, Any]:
    if not security.protocol.startswith("SASL"):
        return {}
    given = {
        "sasl.mechanisms": security.sasl_mechanism,
        "sasl.username": security.sasl_username,
        "sasl.password": None if security.sasl_password is None else security.sasl_password.reveal(),
    }
    return {name: value for name, value in given.items() if value is not None}


def consumer_properties(connection: KafkaConnection, group: KafkaGroup) -> dict[str, Any]:
    """Return the consumer's properties. The group's ``instance_id`` must be known by now."""
    return client_properties(connection) | {
        "group.id": group.group_id,
        "group.instance.id": group.instance_id,
        "session.timeout.ms": round(group.session_timeout_s * 1000),
        "heartbeat.interval.ms": round(min(HEARTBEAT_MS, group.session_timeout_s * 1000 / 4)),
        "max.poll.interval.ms": round(max(group.max_poll_interval_s, group.session_timeout_s) * 1000),
        "partition.assignment.strategy": "cooperative-sticky",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,  # tells the position at the end, beyond a transaction's marker
        "check.crcs": True,
        "topic.metadata.refresh.interval.ms": 30_000,
        "topic.metadata.propagation.max.ms": DELETED_TOPIC_MS,
        "max.partition.fetch.bytes": FETCH_PARTITION_BYTES,
        "fetch.max.bytes": FETCH_TOTAL_BYTES,
        "queued.max.messages.kbytes": FETCH_TOTAL_BYTES >> 10,
        "fetch.queue.backoff.ms": QUEUE_FULL_MS,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        # Brokers hand out a batch as a whole, however large: one that is too long for us, too, so that it is refused.
        "receive.message.max.bytes": 2 * FETCH_TOTAL_BYTES + 2 * group.limits.max_record_bytes,
    }


def producer_properties(connection: KafkaConnection, batch_bytes: int = BATCH_BYTES) -> dict[str, Any]:
    """Return the producer's properties; ``batch_bytes`` is what it puts into one batch at most, or one record more."""
    request_ms = round(connection.request_timeout_s * 1000)
    return client_properties(connection) | {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": LINGER_MS,
        "batch.size": batch_bytes,
        "message.max.bytes": RECORD_BYTES,
        "partitioner": "murmur2_random",  # as Java's clients and kafka-python choose
        "request.timeout.ms": max(1, request_ms),
        "delivery.timeout.ms": 6 * max(10, request_ms),
        "topic.metadata.propagation.max.ms": UNKNOWN_TOPIC_MS,
        "queue.buffering.max.messages": 0,
        "queue.buffering.max.kbytes": UNSENT_KILOBYTES,
        "delivery.report.only.error": True,
    }
