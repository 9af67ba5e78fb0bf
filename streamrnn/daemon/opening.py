"""Opens what a configuration's log offers, embedded or a Kafka cluster: a worker's broker, a writer, its topics; and
tells which kernels that takes.

The one place that knows which kinds of log there are. A Kafka client takes a moment to import and an embedded log does
without, so each is imported only where it is used.
"""

from __future__ import annotations

import importlib.util

from streamrnn.broker.embedded import EmbeddedAdministration, EmbeddedBroker, EmbeddedSender
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.kafka_compression import missing_codecs, what_is_missing
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup, Limits
from streamrnn.broker.protocol import Administration, Broker, Sender
from streamrnn.core.kinds import BYTES, Family
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config, EmbeddedConfig


def open_broker(config: Config, group: str | None = None) -> Broker:
    """A member of the job's group, or of another ``group`` that reads beside it.

    An embedded log's topics are created as needed; a cluster's must exist. Raises ConfigError where records could come
    that cannot be decompressed here: better now than with the first of them.
    """
    if config.embedded is not None:
        log = _embedded_log(config.embedded)
        for topic in topics_of(config):
            if not log.partitions(topic):
                log.create_topic(topic, config.embedded.partitions)
        return EmbeddedBroker(log, group or config.group_id)
    if missing := missing_codecs():  # looked at with either client: what is read from outside, kafka-python reads
        raise ConfigError(f"topic {config.input.topic}: {what_is_missing(missing)}")
    assert config.kafka is not None
    place = KafkaGroup(
        group_id=group or config.group_id,
        instance_id=config.kafka.group_instance_id,
        session_timeout_s=config.kafka.session_timeout_s,
        limits=Limits(config.input.max_record_bytes, config.input.max_unpacked_bytes),
    )
    connection = _connection(config)
    if config.kafka.client == "confluent":
        from streamrnn.broker.confluent_client import ConfluentBroker

        return ConfluentBroker(connection, place)
    from streamrnn.broker.kafka_client import KafkaBroker

    return KafkaBroker(connection, place)


def open_sender(config: Config) -> Sender:
    """A writer of any topic."""
    if config.embedded is not None:
        return EmbeddedSender(_embedded_log(config.embedded))
    assert config.kafka is not None
    connection = _connection(config)
    if config.kafka.client == "confluent":
        from streamrnn.broker.confluent_sender import ConfluentSender

        return ConfluentSender(connection)
    from streamrnn.broker.kafka_sender import KafkaSender

    return KafkaSender(connection)


def open_administration(config: Config) -> Administration:
    """The log's topics, which kafka-python looks at for either client."""
    if config.embedded is not None:
        return EmbeddedAdministration(_embedded_log(config.embedded))
    from streamrnn.broker.kafka_admin import KafkaAdministration

    return KafkaAdministration(_connection(config))


def kernels_of(config: Config) -> tuple[tuple[str, Family], ...]:
    """What the kernels compute with that a worker runs, and which they are: its model's, and a client's."""
    of_model: tuple[str, Family] = (config.model.dtype, config.learner_spec().kernels)
    return (of_model,) if config.kafka is None else (of_model, (BYTES, "wire"))


def topics_of(config: Config) -> tuple[str, str, str]:
    """The topics a job reads and writes."""
    return config.input.topic, config.output.topic, config.output.dead_letter_topic


def _embedded_log(place: EmbeddedConfig) -> EmbeddedLog:
    return EmbeddedLog(place.directory, mode=int(place.mode, 8))


def _connection(config: Config) -> KafkaConnection:
    assert config.kafka is not None
    if missing := config.kafka.security.missing_package():
        raise ConfigError(missing)
    if config.kafka.client == "confluent" and importlib.util.find_spec("confluent_kafka") is None:
        raise ConfigError(
            "kafka.client: confluent needs the package confluent-kafka, which is not there: "
            "pip install 'streamrnn[confluent]'"
        )
    return KafkaConnection(
        bootstrap_servers=config.kafka.servers, security=config.kafka.security, client_id=f"streamrnn-{config.job}"
    )
