"""A commit with confluent-kafka that is waited for, and no longer than a caller has time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker.confluent_answers import Standing
from streamrnn.broker.confluent_calls import Calls
from streamrnn.broker.confluent_errors import error_of
from streamrnn.broker.kafka_gone import GONE
from streamrnn.broker.protocol import Commit, TopicPartition
from streamrnn.errors import BrokerError, RebalanceError


def commit_and_wait(
    consumer: Any,
    offsets: Mapping[TopicPartition, Commit],
    calls: Calls,
    standing: Standing,
    timeout_s: float,
    gone: Callable[[Iterable[TopicPartition]], bool],
) -> None:
    """Raises the client's own error where it was refused, a BrokerError where no answer came in time.

    RebalanceError of a partition that is ``gone``, which is asked where a broker does not know one, as it may not have
    heard of it yet: the group will have to share out what there is.
    """
    stored = [ClientTopicPartition(*tp, commit.offset, commit.metadata) for tp, commit in offsets.items()]
    try:
        answers = calls.run(lambda: consumer.commit(offsets=stored, asynchronous=False), timeout_s)
        for answer in answers or ():
            if answer.error is not None:
                raise KafkaException(answer.error)
    except TimeoutError as error:
        standing.gave_up("commit")
        told = standing.told()
        raise BrokerError(
            f"commit of {positions(offsets)} was not answered within {timeout_s:g} s{told and f' ({told})'}; "
            "whether it took effect is unknown: read committed()"
        ) from error
    except KafkaException as raised:
        if error_of(raised).code() == KafkaError.UNKNOWN_TOPIC_OR_PART and gone(offsets):  # as with the other client
            raise RebalanceError(f"commit of {positions(offsets)} failed: {GONE}") from raised
        if error_of(raised).code() < 0:  # the client's own word, which is not an answer
            standing.gave_up("commit")
        raise
    standing.answered()


def positions(offsets: Mapping[TopicPartition, Commit]) -> str:
    """What is committed, in words."""
    return ", ".join(f"{tp} at {commit.offset}" for tp, commit in sorted(offsets.items())) or "nothing"
