"""What a worker makes of what librdkafka says, with a consumer that is made up here."""

from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker.confluent_client import ConfluentBroker
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Lost, NothingAssigned, TopicPartition

PARTITION = TopicPartition("t", 0)


class Consumer:
    """Is in its group, and gives its partitions up when it is told to."""

    def __init__(self, broker: ConfluentBroker) -> None:
        self.broker, self.generation, self.loses = broker, 3, False

    def consume(self, *_: Any) -> list[Any]:
        if self.loses:
            self.broker._rebalances._lost(self, [ClientTopicPartition(*PARTITION)])
        self.loses = False
        return []

    def poll(self, _: float) -> None:
        pass

    def incremental_unassign(self, _: Any) -> None:
        pass

    def assignment(self) -> list[TopicPartition]:
        return list(self.broker._rebalances.assigned)

    def consumer_group_metadata(self) -> bytes:
        return b"CGMDv2:" + self.generation.to_bytes(4, sys.byteorder) + b"g\0member\0\0one\0"


def test_partitions_that_a_client_gave_up_by_itself_are_no_answer_of_the_group() -> None:
    broker = ConfluentBroker(KafkaConnection(bootstrap_servers="a:1"), KafkaGroup(group_id="g", instance_id="one"))
    consumer = broker._consumer = Consumer(broker)
    broker._rebalances.assigned.add(PARTITION)
    broker.poll(0.0, 1)
    told = broker.connectivity().answered_at
    assert told is not None, "a generation is an answer"
    consumer.loses = True
    broker.poll(0.0, 1)
    assert broker.events() == [Lost((PARTITION,))]
    broker._idle_since -= 10.0
    broker.poll(0.0, 1)
    assert broker.events() == [], "whether others have them is not known"
    assert broker.connectivity().answered_at == told
    consumer.generation = 4
    broker.poll(0.0, 1)
    assert broker.events() == [NothingAssigned()]
    assert broker.connectivity().answered_at != told
