"""Both clients of a real Kafka, chosen by the name that a job file gives them.

Tests of the daemon that decide whether a client can be trusted run with both; the others with the one that
``STREAMRNN_TEST_CLIENT`` names.
"""

from __future__ import annotations

import os

import pytest

from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Broker, Sender

CLIENTS = ("kafka-python", "confluent")
CLIENT = os.environ.get("STREAMRNN_TEST_CLIENT", CLIENTS[0])
WITH_BOTH = pytest.mark.parametrize("client", CLIENTS, indirect=True)
"""Of a test whose members are made by the fixture of that name."""


def broker_of(client: str, connection: KafkaConnection, group: KafkaGroup) -> Broker:
    if client == "confluent":
        from streamrnn.broker.confluent_client import ConfluentBroker

        return ConfluentBroker(connection, group)
    from streamrnn.broker.kafka_client import KafkaBroker

    return KafkaBroker(connection, group)


def sender_of(client: str, connection: KafkaConnection) -> Sender:
    if client == "confluent":
        from streamrnn.broker.confluent_sender import ConfluentSender

        return ConfluentSender(connection)
    from streamrnn.broker.kafka_sender import KafkaSender

    return KafkaSender(connection)
