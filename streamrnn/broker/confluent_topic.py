"""Whether the topic that is read with confluent-kafka is still the one it was, or was deleted and made anew.

librdkafka knows topics by their names. One that is made anew soon is the same for it: members keep their partitions,
even those that are no more, and read on behind the old one's last record. What it does tell is that a partition is
unknown. Then the topic itself is looked at, by its id, and nothing of it is handed out while it is gone.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError

from streamrnn.broker.protocol import TopicDescription, TopicPartition
from streamrnn.errors import BrokerError

DOUBTFUL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,
}
"""Errors of a consumer after which its topic is looked at: something is unknown, or its log ends before an offset."""

_AGAIN_S = 1.0
_IN_DOUBT_S = 15.0
"""Brokers hear of a deletion one after the other: for so long one may still tell of the old topic."""


class State(enum.Enum):
    """What became of the topic."""

    THE_SAME = enum.auto()
    GONE = enum.auto()
    ANEW = enum.auto()


class Topic:
    """The topic of a subscription. ``describe`` asks the cluster for it, ``after`` is the one before it.

    No id comes back: a broker that tells of a former one has not heard of what came after it.
    """

    def __init__(
        self,
        describe: Callable[[], TopicDescription | None],
        clock: Callable[[], float] = time.monotonic,
        after: Topic | None = None,
    ) -> None:
        self._describe, self._clock = describe, clock
        self._state = State.THE_SAME
        self._doubted_until = self._look_again_at = 0.0
        found = describe()
        self._former: set[str] = set() if after is None else after._former
        self._known: str = "" if after is None else after._found or after._known
        self._id: str = self._known or ("" if found is None else found.id)
        self._found: str = ""  # the id of another one
        self._lost = False  # nothing is subscribed to: whatever is found has to be

    def doubt(self) -> None:
        """The client told one of these errors."""
        self._doubted_until, self._look_again_at = self._clock() + _IN_DOUBT_S, 0.0

    def known(self) -> str:
        """The id of a topic that was found to be another one; "" of the first. Looked at again: it may be a third."""
        if self._known:
            self._doubted_until = self._clock() + _IN_DOUBT_S
        return self._known

    def missing(self) -> None:
        """The new one could not be subscribed to: it counts as gone, and is looked at a moment later."""
        self._state, self._lost, self._look_again_at = State.GONE, True, self._clock() + _AGAIN_S

    def lacks(self, partitions: Iterable[TopicPartition]) -> bool:
        """Whether one of these that a broker does not know is not there any more; BrokerError where nobody says."""
        self.doubt()
        found = self._describe()
        if found is None or any(tp.partition >= found.partitions for tp in partitions):
            return True
        return bool(found.id and self._id) and found.id != self._id

    def state(self) -> State:
        """As it was found last; looked at again, once a second, while it is in doubt or gone."""
        now = self._clock()
        in_doubt = self._state is State.GONE or (self._state is State.THE_SAME and now < self._doubted_until)
        if in_doubt and now >= self._look_again_at:
            with contextlib.suppress(BrokerError):  # nobody answers: an outage, which is told of elsewhere
                self._state = self._looked_at(self._describe())
            self._look_again_at = self._clock() + _AGAIN_S
        return self._state

    def _looked_at(self, found: TopicDescription | None) -> State:
        if found is None:
            return State.GONE
        if found.id in self._former:
            return self._state
        if self._lost:
            return State.ANEW
        if found.id and self._id:
            if found.id == self._id:
                return State.THE_SAME
            self._former.add(self._id)
            self._found = found.id
            return State.ANEW
        return State.ANEW if self._state is State.GONE else State.THE_SAME  # a cluster that gives topics no ids
