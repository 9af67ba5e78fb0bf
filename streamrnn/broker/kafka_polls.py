"""When a consumer is asked for records: rarely where few come, and always for what came meanwhile.

A poll that brings records costs kafka-python a millisecond and a half, however few they are. At 400 records/s nearly
every record came by itself, and the daemon took nearly twice the processor's time that it takes with polls 20 ms apart.
"""

from __future__ import annotations

import time
from typing import Any

from streamrnn.broker.columns import Records
from streamrnn.broker.kafka_connect import outage
from streamrnn.broker.kafka_fetcher import records_of
from streamrnn.broker.kafka_group import GroupMember

PAUSE_S = 0.02
FEW = 500
"""So many records are worth a poll, and nothing waits after it."""
FRESH_MS = 3
"""How long to wait for an answer that the broker has ready: a poll that only waits brings nothing worse than that."""


class SeldomPolls:
    """The polls of one consumer, whose own thread keeps its membership alive between them."""

    def __init__(self, consumer: Any, member: GroupMember) -> None:
        self._consumer, self._member = consumer, member
        self._next_at = 0.0

    def poll(self, timeout_s: float, max_records: int) -> dict[Any, Records]:
        """The client's poll, at least 20 ms after one that brought few records; the timeout covers the pause as well.

        A broker that goes away just while it is asked is an outage like any other, and nothing was read.
        """
        pause_s = min(timeout_s, self._next_at - time.monotonic())
        if pause_s > 0:
            time.sleep(pause_s)
            timeout_s -= pause_s
        if self._member.rebalancing():
            polled: dict[Any, Any] = {}
            with outage(self._consumer):
                polled = self._member.poll_rebalancing(timeout_s, max_records)
            return {tp: records_of(records) for tp, records in polled.items()}
        found = self._ask(timeout_s * 1000, max_records)
        count = sum(map(len, found.values()))
        if pause_s > 0 and 0 < count < max_records and not self._member.rebalancing():
            # The client asked for these when it handed out the ones before, and was answered when the first one came.
            # It has only now asked for those that came during the pause; without them they would wait for another one.
            for tp, records in self._ask(FRESH_MS, max_records - count).items():
                found[tp] = Records.joined([found[tp], records]) if tp in found else records
            count = sum(map(len, found.values()))
        self._next_at = time.monotonic() + PAUSE_S if 0 < count < min(FEW, max_records) else 0.0
        return found

    def _ask(self, timeout_ms: float, max_records: int) -> dict[Any, Records]:
        polled: dict[Any, Any] = {}
        with outage(self._consumer):
            polled = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
        return {tp: records_of(records) for tp, records in polled.items()}
