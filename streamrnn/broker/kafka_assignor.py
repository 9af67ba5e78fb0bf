"""Who reads which partition: the cooperative sticky assignment, which also says what it was made of.

A static member that starts again within its session gets its stored assignment back without a rebalance, and nobody
tells it over how many partitions that was made: some may have been added since, the leader may not have heard of the
topic yet, or the second half of a rebalance may never have come. Only the member that made an assignment watches for
partitions that are added, and one that started again does not know that it did. So an assignment carries two numbers,
the partitions its maker knew and those it gave to somebody, and every member compares them with the topic as it is.

One that finds a difference joins again. The broker answers a follower that says what it said before with the very same
assignment; so it says something else each time, which makes the group rebalance. Members refresh the topic's metadata
before they join (kafka_group.py), so the first who asks is nearly always the only one.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any, NamedTuple

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

logger = logging.getLogger(__name__)

# How long whoever gives partitions up may take to begin the second round, which hands them on.
_SECOND_ROUND_S = 3.0
# A group may take a while, and a broker may know less than another one: nobody asks more often than this.
_ASK_AGAIN_S = 5.0

_SAID = re.compile(rb"partitions (\d+) handed-out (\d+)")


class Shared(NamedTuple):
    """What an assignment says of itself: how many partitions its maker knew, and how many of them it handed out."""

    known: int
    handed_out: int

    def encoded(self) -> bytes:
        """As it travels with every member's part of the assignment."""
        return b"partitions %d handed-out %d" % self


def decoded(data: bytes | None) -> Shared | None:
    """None where an assignment says nothing: its maker was another program, or an older version.

    >>> decoded(Shared(4, 3).encoded())
    Shared(known=4, handed_out=3)
    >>> decoded(b"")
    """
    found = _SAID.fullmatch(data or b"")
    return None if found is None else Shared(*map(int, found.groups()))


class TellingAssignor(CooperativeStickyAssignor):  # type: ignore[misc]
    """One member's; it remembers what the newest assignment said."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: Shared | None = None
        self._since: float | None = None  # when the newest assignment came
        self._ask_at = 0.0
        self._asked_of_unknown = False
        self._said = b""

    def metadata(self, topics: Any) -> Any:
        """What this member tells the group when it joins."""
        subscription = super().metadata(topics)
        subscription.user_data = self._said
        return subscription

    def assign(self, cluster: Any, members: Any) -> dict[str, Any]:
        """The leader's: each member's part, and with it what all of them were made of."""
        parts: dict[str, Any] = super().assign(cluster, members)
        topics = {topic for member in members for topic in member.metadata.topics}
        known = sum(len(cluster.partitions_for_topic(topic) or ()) for topic in topics)
        handed_out = sum(len(partitions) for part in parts.values() for _, partitions in part.assigned_partitions)
        for part in parts.values():
            part.user_data = Shared(known, handed_out).encoded()
        return parts

    def on_assignment(self, assignment: Any, generation: int) -> None:
        """A new one, or the stored one of a member that started again."""
        super().on_assignment(assignment, generation)
        self._shared, self._since = decoded(assignment.user_data), time.monotonic()

    @property
    def assigned(self) -> bool:
        """Whether the group has ever answered this member."""
        return self._since is not None

    def whole(self, partitions: int) -> bool:
        """Whether the newest assignment hands out all the partitions that the topic has, as far as it says."""
        return self._shared is None or self._shared == (partitions, partitions)

    def asks(self, partitions: int) -> bool:
        """Whether this member has to join again since the topic's ``partitions`` are not all handed out.

        True once, and then not for a few seconds: whoever is told so joins at once.
        """
        now = time.monotonic()
        if self._since is None or not partitions or now < self._ask_at:
            return False
        if self._shared is None:
            asks, self._asked_of_unknown = not self._asked_of_unknown, True
        else:
            asks = not self.whole(partitions)
            if self._shared.known == partitions:
                asks = asks and now - self._since >= _SECOND_ROUND_S
        if asks:
            self._ask_at, self._said = now + _ASK_AGAIN_S, secrets.token_bytes(8)
            logger.info("the topic has %d partitions, and the group has shared out %s: sharing anew", partitions,
                        "an unknown number" if self._shared is None else self._shared.handed_out)  # fmt: skip
        return asks
