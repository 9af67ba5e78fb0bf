"""Moving a consumer of confluent-kafka to an offset, although librdkafka refuses it while it does not fetch."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker.confluent_errors import error_of
from streamrnn.broker.protocol import TopicPartition

_SEEK_S, _SEEK_AGAIN_S = 0.2, 0.005


def seek(consumer: Any, tp: TopicPartition, offset: int, *, paused: bool) -> None:
    """Make ``offset`` the next one of an assigned partition, which is ``paused`` or not, and stays so."""
    place = ClientTopicPartition(tp.topic, tp.partition, offset)
    deadline = time.monotonic() + _SEEK_S
    while not _sought(consumer, place):
        if time.monotonic() > deadline:  # it has stopped fetching, as behind an offset that is not there
            consumer.incremental_unassign([place])
            consumer.incremental_assign([place])
            if paused:
                consumer.pause([place])
            return
        time.sleep(_SEEK_AGAIN_S)


def _sought(consumer: Any, place: Any) -> bool:
    try:
        consumer.seek(place)
    except KafkaException as raised:
        if error_of(raised).code() != KafkaError._STATE:
            raise
        return False
    return True
