"""The producing half of a Kafka client: records are sent in batches, and a flush says which of them arrived.

Kept: a failed flush drops the producer, so that nothing given up on arrives later. The producer is made when first
needed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any

import kafka.errors as client_errors
from kafka import KafkaProducer

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_connect import FENCED, connect, fail
from streamrnn.broker.kafka_settings import KafkaConnection, producer_kwargs
from streamrnn.errors import BrokerError, FencedError

_ACKNOWLEDGED_SWEEP = 4096  # sends between two sweeps of acknowledged ones, so that a long batch holds few of them

_METADATA_WAIT_S, _METADATA_PAUSE_S = 2.0, 0.2


class KafkaSender:
    """A producer on a Kafka cluster: the whole :class:`streamrnn.broker.protocol.Sender` protocol."""

    def __init__(self, connection: KafkaConnection) -> None:
        self.connection = connection
        self._producer: Any = None
        self._sent: deque[Any] = deque()  # futures in the order of sending
        self._failed = 0
        self._first_failure: BaseException | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection!r})"

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`.

        Keys choose partitions by murmur2, as Java's clients do. Raises :class:`BrokerError` at once for a topic that
        is not there, a record above 1 MiB, and a record with neither key nor value, which this client does not send.
        """
        producer = self._producing()
        try:
            try:
                future = producer.send(topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms)
            except ValueError:
                if partition is None or not self._finds(topic, partition):
                    raise
                future = producer.send(topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms)
        except (client_errors.KafkaError, ValueError) as error:
            fail(f"sending to topic {topic} failed", error, self.connection, "this producer")
        self._sent.append(future)
        if not len(self._sent) % _ACKNOWLEDGED_SWEEP:
            while self._sent and self._sent[0].is_done:
                self._note(self._sent.popleft())

    def _finds(self, topic: str, partition: int) -> bool:
        """Whether the cluster has a partition that the client does not know: it asks again only every few minutes."""
        producer, deadline = self._producing(), time.monotonic() + _METADATA_WAIT_S
        while time.monotonic() < deadline:
            answered = threading.Event()
            producer._metadata.request_update().add_both(lambda _, answered=answered: answered.set())
            producer._sender.wakeup()
            answered.wait(max(0.0, deadline - time.monotonic()))
            if partition in (producer._metadata.partitions_for_topic(topic) or ()):
                return True
            time.sleep(_METADATA_PAUSE_S)  # a broker may be a moment behind the one that added it
        return False

    def flush(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`.

        When anything failed, the producer is dropped with all it still held, and the next send makes a new one.
        """
        deadline = time.monotonic() + timeout_s
        total = self._failed + len(self._sent)
        timed_out = False
        while self._sent:
            future = self._sent[0]
            if not future.is_done:
                # Errors are read from the future below; only its waiting for an answer counts here.
                with contextlib.suppress(Exception):
                    future.get(timeout=max(0.0, deadline - time.monotonic()))
                if not future.is_done:
                    timed_out = True
                    break
            self._note(self._sent.popleft())
        if not self._failed and not timed_out:
            return
        missing, first = self._failed + len(self._sent), self._first_failure
        self._drop_producer()
        reason = first if first is not None else f"no answer within {timeout_s:g} s"
        message = f"{missing} of the last {total} records were not acknowledged; first reason: {reason}"
        raise (FencedError if isinstance(first, FENCED) else BrokerError)(message) from first

    def _note(self, done: Any) -> None:
        if done.failed():
            self._failed += 1
            self._first_failure = self._first_failure or done.exception

    def _drop_producer(self, timeout_s: float = 1.0) -> None:
        """Let go of the producer and of every record it has not sent."""
        producer, self._producer = self._producer, None
        self._sent.clear()
        self._failed, self._first_failure = 0, None
        if producer is not None:
            producer._sender.force_close()  # the public close() would first wait for the unsent records
            with contextlib.suppress(client_errors.KafkaError):
                producer.close(timeout=timeout_s)

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        found = KafkaAdministration(self.connection).describe_topics([topic])[topic]
        return [] if found is None else list(range(found.partitions))

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        self._closed = True
        if self._producer is not None:
            self._drop_producer(timeout_s)

    def _producing(self) -> Any:
        if self._producer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            self._producer = connect(KafkaProducer, self.connection, producer_kwargs(self.connection))
        return self._producer
