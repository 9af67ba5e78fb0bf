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
from collections.abc import Sequence
from typing import Any

import confluent_kafka
from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker.confluent_positions import Positions
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
        self.resumed: set[TopicPartition] = set()
        self.closing = False

    def callbacks(self) -> dict[str, Any]:
        """As the client's ``subscribe`` takes them."""
        return {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        placed = [ClientTopicPartition(tp.topic, tp.partition, PLACEHOLDER) for tp in partitions]
        consumer.incremental_assign(placed)
        if placed:
            consumer.pause(placed)
            self._tell(Assigned, placed)

    def _revoked(self, consumer: Any, partitions: Sequence[Any]) -> None:
        if self.closing:
            consumer.incremental_unassign(partitions)
            return
        consumer.incremental_assign([])  # the client takes this for our answer, and does nothing of its own
        consumer.pause(partitions)
        self._leaving += partitions
        self._tell(Revoked, partitions)

    def _lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        consumer.incremental_unassign(partitions)
        self._tell(Lost, partitions)

    def _tell(self, kind: type[Assigned | Revoked | Lost], partitions: Sequence[Any]) -> None:
        ours = tuple(sorted(TopicPartition(tp.topic, tp.partition) for tp in partitions))
        for tp in ours:
            self.positions.forget(tp)
            self.resumed.discard(tp)
        if ours:
            self._events.append(kind(ours))

    def go_on(self, consumer: Any) -> None:
        """Give up for good what was told as given up; the group may hand it on."""
        if self._leaving:
            leaving, self._leaving = self._leaving, []
            consumer.incremental_unassign(leaving)
