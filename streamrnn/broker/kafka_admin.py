"""Topics of a Kafka cluster: creating, deleting and describing them. Each call opens a client of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import kafka.errors as client_errors
from kafka import KafkaAdminClient

from streamrnn.broker.kafka_connect import connect
from streamrnn.broker.kafka_settings import KafkaConnection, client_kwargs
from streamrnn.broker.protocol import TopicDescription
from streamrnn.errors import BrokerError


class KafkaAdministration:
    """A cluster's topics: the whole :class:`streamrnn.broker.protocol.Administration` protocol."""

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection

    def create_topics(self, topics: Mapping[str, int], *, keep_forever: bool = False) -> None:
        """See :class:`streamrnn.broker.protocol.Administration`. There will be as many replicas as the cluster sets."""
        existing = self.describe_topics(topics)
        for name, found in existing.items():
            if found is not None and found.partitions != topics[name]:
                raise BrokerError(
                    f"topic {name} has {found.partitions} partitions, not {topics[name]}; delete it or use another name"
                )
        configs = {"retention.ms": "-1"} if keep_forever else {}
        wanted = {
            name: {"num_partitions": count, "replication_factor": -1, "configs": configs}
            for name, count in topics.items()
            if existing[name] is None
        }
        if wanted:
            with self._client(f"creating the topics {', '.join(wanted)}") as admin:
                admin.create_topics(wanted)
                admin.wait_for_topics(list(wanted), timeout_ms=self.connection.request_timeout_s * 1000)

    def delete_topics(self, topics: Iterable[str]) -> None:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        names = [name for name, found in self.describe_topics(topics).items() if found is not None]
        if names:
            with self._client(f"deleting the topics {', '.join(names)}") as admin:
                admin.delete_topics(names)

    def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
        """See :class:`streamrnn.broker.protocol.Administration`. Topics that must not be seen do not exist."""
        described: dict[str, TopicDescription | None] = dict.fromkeys(topics)
        with self._client(f"describing the topics {', '.join(described)}") as admin:
            for topic in admin.describe_topics(list(described)) if described else ():
                name, error = topic["name"], client_errors.for_code(topic["error_code"])
                if error is client_errors.NoError:
                    rights = frozenset(topic["authorized_operations"])
                    described[name] = TopicDescription(len(topic["partitions"]), rights)
                elif not issubclass(
                    error, (client_errors.UnknownTopicOrPartitionError, client_errors.AuthorizationError)
                ):
                    raise error(name)
        return described

    @contextlib.contextmanager
    def _client(self, what: str) -> Iterator[Any]:
        admin = connect(KafkaAdminClient, self.connection, client_kwargs(self.connection))
        try:
            yield admin
        except (client_errors.KafkaError, OSError) as error:
            raise BrokerError(f"{what} failed: {error} (Kafka at {', '.join(self.connection.servers)})") from error
        finally:
            admin.close()
