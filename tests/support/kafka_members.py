"""Members of a group on a real Kafka, followed as a loop would follow them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.protocol import Assigned, Membership, NothingAssigned, TopicPartition

DEADLINE_S = 30.0


def until(what: str, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
    return pytest.fail(f"no {what} within {DEADLINE_S:.0f} s")


def follow(broker: KafkaBroker, owned: set[TopicPartition], seen: list[Any]) -> None:
    """Poll once, and keep ``owned`` and ``seen`` up to date as a loop would, resuming what is assigned at its start."""
    broker.poll(0.05, 100)
    for event in broker.events():
        if isinstance(event, NothingAssigned):
            continue
        seen.append(event)
        if isinstance(event, Assigned):
            owned.update(event.partitions)
            for tp in event.partitions:
                broker.seek(tp, 0)
            broker.resume(event.partitions)
        else:
            owned.difference_update(event.partitions)


def membership_of(broker: KafkaBroker) -> Membership | None:
    return broker.poll(0.0, 1).membership


def started(broker: KafkaBroker, topic: str) -> list[TopicPartition]:
    owned: set[TopicPartition] = set()
    broker.subscribe(topic)
    until("assignment", lambda: follow(broker, owned, []) or owned)
    return sorted(owned)


class Following(threading.Thread):
    """A member with a thread of its own, as workers have: a join waits for all members, so they must poll at once."""

    def __init__(self, broker: KafkaBroker) -> None:
        super().__init__(daemon=True)
        self.broker = broker
        self.owned: set[TopicPartition] = set()
        self.seen: list[Any] = []
        self.error: BaseException | None = None
        self._stopping, self._going = threading.Event(), threading.Event()
        self._going.set()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._going.wait()
                follow(self.broker, self.owned, self.seen)
        except BaseException as error:  # shown by stop()
            self.error = error

    def hold(self) -> None:
        """Poll no more, as when something takes long; the client's own thread keeps the session alive."""
        self._going.clear()

    def go_on(self) -> None:
        """Poll again."""
        self._going.set()

    def stop(self) -> None:
        """Stop polling and close: the session then has to expire, for a static member does not say good-bye."""
        self._stopping.set()
        self.join(DEADLINE_S)
        self.broker.close(5.0)
        if self.error is not None:
            raise self.error
