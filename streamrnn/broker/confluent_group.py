"""A consumer's life in its group with confluent-kafka: what happens in its rebalance callbacks, and its membership.

The callbacks run inside a poll. What is assigned is paused there, at a placeholder, and told. What is given up is told,
and given up only at the next poll: librdkafka goes on with the rebalance once it is told that a partition is unassigned
and not before, so until then nobody else has it and what was done for it can be committed. What is lost is gone.

librdkafka gives a member's place in its group as bytes, for transactions. They hold generation and member in a form
that it marks by a number of its own; another number is refused, since nothing would then be compared.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import confluent_kafka
from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker import kafka_group
from streamrnn.broker.confluent_positions import Positions
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned, Event, Lost, Membership, Revoked, TopicPartition
from streamrnn.errors import BrokerError

_MARK = b"CGMDv2:"

PLACEHOLDER = 0
"""Where a partition stands under its pause until it is sought; without one the client would ask what is committed."""


def membership_of(consumer: Any) -> Membership:
    """The generation, -1 outside the group, and the member's id."""
    return decoded(consumer.consumer_group_metadata())


def decoded(said: bytes) -> Membership:
    """What the client says of a member's place.

    >>> decoded(b"CGMDv2:" + (7).to_bytes(4, sys.byteorder) + b"group\\0member\\0\\0instance\\0")
    Membership(generation=7, member_id='member')
    """
    at = len(_MARK) + 4
    names = said[at:].split(b"\0")
    if not said.startswith(_MARK) or len(names) < 3:
        raise BrokerError(
            f"confluent-kafka {confluent_kafka.__version__} gives a member's place in its group in a form that "
            "streamrnn does not know; install a version of 2, from 2.14 on"
        )
    return Membership(int.from_bytes(said[len(_MARK) : at], sys.byteorder, signed=True), names[1].decode())


class Rebalances:
    """What the client's callbacks do and tell. They run on the caller's thread, within a poll or a close."""

    def __init__(self, events: deque[Event]) -> None:
        self._events = events
        self._leaving: list[Any] = []  # given up, and told so, and not yet unassigned
        self.positions = Positions()
        self.assigned: set[TopicPartition] = set()  # by the client's account, which only these callbacks change
        self.late: set[TopicPartition] = set()  # moved while the client could not be asked
        self.resumed: set[TopicPartition] = set()
        self.closing = self.lost = False

    def callbacks(self) -> dict[str, Any]:
        """As the client's ``subscribe`` takes them."""
        return {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        placed = [ClientTopicPartition(tp.topic, tp.partition, PLACEHOLDER) for tp in partitions]
        consumer.incremental_assign(placed)
        self.assigned |= set(_named(partitions))
        if placed:
            consumer.pause(placed)
            self._tell(Assigned, placed)

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        if self.closing:
            self._give_up(consumer, partitions)
            return
        consumer.incremental_assign([])  # the client takes this for our answer, and does nothing of its own
        consumer.pause(partitions)
        self._leaving += partitions
        self._tell(Revoked, partitions)

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        self._give_up(consumer, partitions)
        self.lost = True
        self._tell(Lost, partitions)

    def _tell(self, kind: type[Assigned | Revoked | Lost], partitions: Sequence[Any]) -> None:
        ours = tuple(sorted(_named(partitions)))
        for tp in ours:
            self.positions.forget(tp)
            self.resumed.discard(tp)
        if ours:
            self._events.append(kind(ours))

    def go_on(self, consumer: Any) -> None:
        """Give up for good what was told as given up; the group may hand it on."""
        leaving, self._leaving = [tp for tp in self._leaving if self.assigned.intersection(_named([tp]))], []
        if leaving:
            self._give_up(consumer, leaving)

    def _give_up(self, consumer: Any, partitions: Sequence[Any]) -> None:
        consumer.incremental_unassign(partitions)
        self.assigned -= set(_named(partitions))


def _named(partitions: Sequence[Any]) -> Iterator[TopicPartition]:
    return (TopicPartition(tp.topic, tp.partition) for tp in partitions)


def forget_a_stale_share(connection: KafkaConnection, group: KafkaGroup, topic: str, partitions: Sequence[int]) -> None:
    """Before joining, be forgotten where the group would give this worker back what no longer is its share.

    A static member that starts again within its session gets its stored part of the assignment without a rebalance,
    and the client takes it as it is: of another topic, if the job read another one, or without the partitions that
    were added since, which nobody watches for. kafka_assignor.py answers the same with the other client.
    """
    members = KafkaAdministration(connection).describe_group(group.group_id).members
    mine = next((member for member in members if member.instance_id == group.instance_id), None)
    if mine is None:
        return
    handed_out = {tp for member in members for tp in member.assigned if tp.topic == topic}
    whole = {TopicPartition(topic, partition) for partition in partitions}
    if handed_out != whole or any(tp.topic != topic for tp in mine.assigned):
        kafka_group.forget(connection, group, connection.request_timeout_s)
