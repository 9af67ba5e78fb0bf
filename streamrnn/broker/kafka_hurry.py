"""How a client of either kind reaches its cluster in the time that is left, which a stop makes short."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from streamrnn.broker.kafka_settings import KafkaConnection

LEAST_S = 0.1
"""What is tried at all is given so much."""


class Hurried:
    """What the senders of both clients begin with: a connection, and somebody who may be in a hurry."""

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection
        self._closed = False
        self._time_left: Callable[[], float] = lambda: math.inf

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection!r})"

    def hurry(self, time_left: Callable[[], float]) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        self._time_left = time_left

    def _within(self, timeout_s: float) -> float:
        return min(timeout_s, self._time_left())

    def _hurried(self) -> KafkaConnection:
        """How to reach the cluster in the time that is left."""
        given = self.connection
        connect_s, request_s = self._within(given.connect_timeout_s), self._within(given.request_timeout_s)
        return replace(given, connect_timeout_s=max(LEAST_S, connect_s), request_timeout_s=max(LEAST_S, request_s))
