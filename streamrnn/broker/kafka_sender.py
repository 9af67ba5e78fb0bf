"""The producing half of a Kafka client: records are sent in batches, and a flush says which of them arrived.

Kept: a failed flush drops the producer, so that nothing given up on arrives later. The producer is made when first
needed.

A broker takes or refuses the records of a partition that were sent together as a whole, for the sake of one of them;
and this client, which numbers what it sends, gives up on everything it holds once something was refused. So a refusal
is of all of these until each is sent by itself; newer brokers name up to three culprits.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NoReturn

import kafka.errors as client_errors
import numpy as np
from kafka import KafkaProducer

from streamrnn.broker.columns import Outputs
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_answers import Answers
from streamrnn.broker.kafka_connect import FENCED, connect, fail, told_by
from streamrnn.broker.kafka_hurry import Hurried
from streamrnn.broker.kafka_produced import HandedOver, WholeBatches, whole_batches
from streamrnn.broker.kafka_rights import missing_right
from streamrnn.broker.kafka_settings import KafkaConnection, producer_kwargs
from streamrnn.broker.protocol import send_each
from streamrnn.errors import BrokerError, FencedError, RefusedError, UndeliveredError

_REFUSALS = {
    client_errors.MessageSizeTooLargeError: "too_large",
    client_errors.RecordListTooLargeError: "too_large",
    client_errors.InvalidTimestampError: "bad_timestamp",
    client_errors.InvalidRecordError: "invalid",
    client_errors.CorruptRecordError: "invalid",  # what brokers before 2.4 say of a record without a key
    client_errors.PolicyViolationError: "invalid",
}
"""What a broker has against single records, as reasons of a RefusedError. The rest concerns a topic or the cluster."""

_SLICE_S = 0.5

_RANGE = re.compile(r"\[(-?\d+), (-?\d+)\]")

_BESIDE = (client_errors.KafkaError, client_errors.OutOfOrderSequenceNumberError, client_errors.UnknownProducerIdError)
"""What befalls records that were sent with, or behind, one that was refused."""

_ACKNOWLEDGED_SWEEP = 4096  # sends between two sweeps of acknowledged ones, so that a long batch holds few of them

FEW = 8
"""Outputs that are handed over one by one: each takes the client 20 us, and to begin with a whole batch 80."""

MOST_ON_THE_WAY = 64 << 20
"""Bytes of batches that may wait to be acknowledged; more are handed over once some are. Memory has an end."""

_METADATA_WAIT_S, _METADATA_PAUSE_S = 2.0, 0.2


class KafkaSender(Hurried):
    """A producer on a Kafka cluster: the whole :class:`streamrnn.broker.protocol.Sender` protocol."""

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._producer: Any = None
        self._batches: WholeBatches | None = None  # the producer's
        self._sent: deque[HandedOver | _Single] = (
            deque()
        )  # in the order of sending, those in the front taken off when done
        self._handed_over = 0  # how many records since the last flush
        self._uncounted = 0  # and how many more whose handing over ended in an error; their places are below 0
        self._on_the_way = 0  # bytes of batches
        self._failures: dict[int, BaseException] = {}  # by their place in the order of sending
        self._answers = Answers()

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

        Keys choose partitions by murmur2, as Java's clients do. Raises at once: :class:`BrokerError` for a topic that
        is not there, :class:`RefusedError` for a record above 1 MiB or with neither key nor value, which this client
        does not send.
        """
        if key is None and value is None:
            raise RefusedError("invalid", f"sending to topic {topic} failed: a record needs a key or value")
        producer = self._producing()
        try:
            try:
                future = producer.send(topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms)
            except ValueError:
                if partition is None or not self._finds(topic, partition):
                    raise
                future = producer.send(topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms)
        except client_errors.MessageSizeTooLargeError as error:
            raise RefusedError("too_large", f"sending to topic {topic} failed: {error}") from error
        except (client_errors.KafkaError, ValueError) as error:
            self._fail(topic, error)
        self._sent.append(_Single(self._handed_over, future))
        self._handed_over += 1
        if not len(self._sent) % _ACKNOWLEDGED_SWEEP:
            self._sweep()

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

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`.

        Raises BrokerError, and has handed nothing over, when too much is on its way and is not acknowledged in time.
        """
        self._producing()
        self._make_room()
        if self._batches is None or len(outputs) < FEW:
            send_each(self, outputs, partition)
            return
        done = 0
        while done < len(outputs):
            rest = outputs[done:]
            whole = self._batches.takes(rest, partition)
            try:
                # What the client would refuse, or has to ask about first, it is given by itself.
                self._send_whole(rest[:whole], partition) if whole else send_each(self, rest[:1], partition)
            except BrokerError as error:
                error.place = done
                raise
            done += whole or 1

    def _send_whole(self, outputs: Outputs, partition: int | None) -> None:
        assert self._batches is not None
        handed: list[HandedOver] = []
        try:
            self._batches.hand_over(outputs, partition, self._handed_over, handed)
        except (client_errors.KafkaError, ValueError) as error:
            for each in handed:  # by key, to some partitions: to the caller these are none of what was handed over
                each.places = np.arange(-len(each), 0) - self._uncounted
                self._uncounted += len(each)
            self._fail(outputs.topic, error)
        else:
            self._handed_over += len(outputs)
        finally:  # a flush waits for all that may arrive
            self._sent += handed
            self._on_the_way += sum(each.size for each in handed)

    def _make_room(self) -> None:
        self._sweep()
        deadline = time.monotonic() + self.connection.request_timeout_s
        while self._on_the_way > MOST_ON_THE_WAY:
            if (left := self._within(deadline - time.monotonic())) <= 0:
                self._answers.gave_up("send")
                told = told_by(self._producer) or "they are not acknowledged in time"
                raise BrokerError(f"{self._on_the_way} bytes of outputs are on their way: {told}")
            self._sent[0].wait(min(left, _SLICE_S))
            self._sweep()

    def _sweep(self) -> None:
        while self._sent and self._sent[0].is_done:
            self._note(self._sent.popleft())

    def _fail(self, topic: str, error: Exception) -> NoReturn:
        what, told = f"sending to topic {topic} failed", told_by(self._producer)
        fail(what, error, self.connection, "this producer", operation="WRITE", told=told)

    def flush(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`.

        When anything failed, the producer is dropped with all it still held, and the next send makes a new one.
        """
        timeout_s = self._within(timeout_s)
        began = time.monotonic()
        deadline = began + timeout_s
        total, timed_out = self._handed_over + self._uncounted, False
        while self._sent:
            front = self._sent[0]
            while not front.is_done and not timed_out:
                # In slices, since a stop that is asked for meanwhile leaves less time.
                left = self._within(deadline - time.monotonic())
                front.wait(max(0.0, min(left, _SLICE_S)))
                timed_out = left <= 0
            if not front.is_done:
                break
            self._note(self._sent.popleft())
        self._handed_over, self._uncounted, failures, self._failures = 0, 0, self._failures, {}
        if not failures and not timed_out:
            return
        missing, first = len(failures) + sum(map(len, self._sent)), failures.get(min(failures, default=-1))
        told = told_by(self._producer)
        if timed_out:
            self._answers.gave_up("send")
        self._drop_producer()
        reason: object = told or f"no answer within {min(timeout_s, time.monotonic() - began):.3g} s"
        if first is not None:
            reason = missing_right(first, "WRITE") or told or first
        message = f"{missing} of the last {total} records were not acknowledged; first reason: {reason}"
        if isinstance(first, FENCED):
            raise FencedError(message) from first
        raise UndeliveredError(message, None if timed_out else _refused(failures)) from first

    def _note(self, done: HandedOver | _Single) -> None:
        self._failures |= done.failures()
        self._on_the_way -= done.size

    def _drop_producer(self, timeout_s: float = 1.0) -> None:
        """Let go of the producer and of every record it has not sent."""
        producer, self._producer, self._batches = self._producer, None, None
        self._sent.clear()
        self._handed_over, self._uncounted, self._on_the_way, self._failures = 0, 0, 0, {}
        if producer is not None:
            producer._sender.force_close()  # the public close() would first wait for the unsent records
            with contextlib.suppress(client_errors.KafkaError):
                producer.close(timeout=timeout_s)
            producer._closed = True  # a close that failed would be tried again by its __del__, with a traceback

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        found = KafkaAdministration(self._hurried(), self._answers).describe_topics([topic])[topic]
        return [] if found is None else list(range(found.partitions))

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        self._closed = True
        if self._producer is not None:
            self._drop_producer(self._within(timeout_s))

    def _producing(self) -> Any:
        if self._producer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            hurried = self._hurried()
            self._producer = connect(KafkaProducer, hurried, producer_kwargs(hurried), self._answers)
            self._batches = whole_batches(self._producer)
        return self._producer


class _Single:
    """One record that was handed over by itself."""

    size = 0  # what the client is given one by one is not counted

    def __init__(self, place: int, future: Any) -> None:
        self._place, self._future = place, future

    def __len__(self) -> int:
        return 1

    @property
    def is_done(self) -> bool:
        done: bool = self._future.is_done
        return done

    def wait(self, timeout_s: float) -> None:
        with contextlib.suppress(Exception):  # errors are read below; only its waiting for an answer counts here
            self._future.get(timeout=timeout_s)

    def failures(self) -> dict[int, BaseException]:
        return {self._place: self._future.exception} if self._future.failed() else {}


def _refused(failures: Mapping[int, BaseException]) -> dict[int, RefusedError | None] | None:
    """What became of each, where refusals of single records explain all failures; else None."""
    kinds = {type(error) for error in failures.values()}
    if min(failures, default=0) < 0:  # one that the caller does not know as handed over
        return None
    if kinds.isdisjoint(_REFUSALS) or not kinds <= {*_REFUSALS, *_BESIDE}:
        return None
    return {place: _refusal(error) for place, error in failures.items()}


def _refusal(error: BaseException) -> RefusedError | None:
    if (reason := _REFUSALS.get(type(error))) is None:
        return None
    # Brokers say "The timestamp should be within [1, 2]" or nothing of the kind.
    said = _RANGE.search(str(error)) if reason == "bad_timestamp" else None
    return RefusedError(reason, str(error), None if said is None else (int(said[1]), int(said[2])))
