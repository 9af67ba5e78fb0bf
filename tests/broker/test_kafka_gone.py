"""When a partition counts as gone for kafka-python, by what the newest metadata say of its topic."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import kafka.errors as client_errors
import pytest
from kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker.kafka_gone import GoneError, end_what_asks_for_what_is_gone


class Cluster:
    """Is told ``error`` of the topic, or else that it has ``count`` partitions."""

    def __init__(self, error: int, count: int) -> None:
        self.error, self.count, self.known = error, count, {0, 1}

    def add_topic(self, _: str) -> None:
        pass

    def partitions_for_topic(self, _: str) -> set[int] | None:
        return self.known

    def request_update(self) -> None:
        self.update_metadata(SimpleNamespace(topics=[SimpleNamespace(name="t", error_code=self.error)]))

    def update_metadata(self, _: Any) -> None:
        self.known = None if self.error else set(range(self.count))


@pytest.mark.parametrize(
    ("error", "count", "gone"),
    [
        (client_errors.UnknownTopicOrPartitionError.errno, 0, True),
        (client_errors.LeaderNotAvailableError.errno, 0, False),
        (0, 1, True),
        (0, 2, False),
    ],
    ids=["unknown", "passes", "fewer", "there"],
)
def test_a_partition_is_gone_where_its_topic_is_unknown_or_has_fewer(error: int, count: int, gone: bool) -> None:
    async def refused(_: Any) -> Any:
        raise client_errors.UnknownTopicOrPartitionError("t")

    async def wait_for(*_: Any) -> None:
        pass

    coordinator = SimpleNamespace(_send_offset_commit_request=refused, _manager=SimpleNamespace(wait_for=wait_for))
    fetcher = SimpleNamespace(_send_list_offsets_requests=refused)
    consumer = SimpleNamespace(_coordinator=coordinator, _fetcher=fetcher, _cluster=Cluster(error, count))
    end_what_asks_for_what_is_gone(consumer)
    for ask in (coordinator._send_offset_commit_request, fetcher._send_list_offsets_requests):
        with pytest.raises(client_errors.KafkaError) as raised:
            asyncio.run(ask({ClientTopicPartition("t", 1): 0}))
        assert isinstance(raised.value, GoneError) is gone
