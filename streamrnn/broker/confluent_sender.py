"""The producing half of confluent-kafka: records handed over one by one in C, and a flush that says which arrived.

Kept: a failed flush purges the producer and drops it, so that nothing given up on arrives later. The producer is made
when first needed. Python hears of records that failed alone, each by its place in the order of sending.

A broker takes or refuses the records of a partition that were sent together as a whole, for the sake of one of them, so
a refusal is of all of these until each is sent by itself; newer brokers name the culprits. Batches behind a refused one
arrive, and are sent again behind it by whoever keeps the order of a stream. (``enable.gapless.guarantee`` would keep
them back; with 2.16 its error comes as an exception in the middle of a callback.)
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Mapping
from itertools import repeat
from operator import length_hint
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer

from streamrnn.broker.columns import NOW, Outputs
from streamrnn.broker.confluent_answers import Standing
from streamrnn.broker.confluent_connect import let_go, made
from streamrnn.broker.confluent_errors import as_kafka, error_of, fail
from streamrnn.broker.confluent_settings import UNKNOWN_TOPIC_MS, producer_properties
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_hurry import LEAST_S, Hurried
from streamrnn.broker.kafka_rights import missing_right
from streamrnn.broker.kafka_settings import BATCH_BYTES, KafkaConnection
from streamrnn.errors import BrokerError, RefusedError, UndeliveredError

_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.RECORD_LIST_TOO_LARGE: "too_large",
    KafkaError.INVALID_TIMESTAMP: "bad_timestamp",
    KafkaError.INVALID_RECORD: "invalid",
    KafkaError.INVALID_MSG: "invalid",
    KafkaError.POLICY_VIOLATION: "invalid",
}
"""What a broker has against single records, as reasons of a RefusedError. The rest concerns a topic or the cluster."""

_BESIDE = (KafkaError._INVALID_DIFFERENT_RECORD,)
"""What befalls records that were sent with one that was refused."""

_GIVEN_UP = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
"""What becomes of records for which nobody waits any longer."""

_NOT_THERE = (KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC)

_BY_KEY, _CLIENTS_NOW = -1, 0  # as the client has a partition and a time that are not given

_LEAST_BATCH_BYTES = 1024

_SLICE_S = 0.5
_PARTING_S = 1.0

_RANGE = re.compile(r"\[(-?\d+), (-?\d+)\]")


class _Failed(NamedTuple):
    """What befell a record, and where it was to go."""

    error: KafkaError
    topic: str


class _Place:
    """A record's place in the order of sending, called by the client when the record has failed."""

    __slots__ = ("_failures", "_place")

    def __init__(self, failures: dict[int, _Failed], place: int) -> None:
        self._failures, self._place = failures, place

    def __call__(self, error: KafkaError, message: Any) -> None:
        self._failures[self._place] = _Failed(error, message.topic())


class ConfluentSender(Hurried):
    """A producer on a Kafka cluster: the whole :class:`streamrnn.broker.protocol.Sender` protocol."""

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(connection)
        self._producer: Any = None
        self._sent = 0  # since the last flush
        self._failures: dict[int, _Failed] = {}  # by their place in the order of sending
        self._places: list[_Place] = []  # as many as were ever sent between two flushes
        self._batch_bytes = BATCH_BYTES
        self._standing = Standing(connection.security)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`. Keys choose partitions by murmur2, as Java's clients do."""
        self._hand_over(topic, [key], [value], [NOW if timestamp_ms is None else timestamp_ms], partition)

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        times = outputs.timestamp_ms.tolist()
        self._hand_over(outputs.topic, outputs.keys.tolist(), outputs.values.tolist(), times, partition)

    def _hand_over(
        self,
        topic: str,
        keys: list[bytes | None],
        values: list[bytes | None],
        times: list[int],
        partition: int | None,
    ) -> None:
        """Hand records over in order. The client copies them, and takes a time of 0 for now."""
        producer = self._producing()
        until = times.index(0) if 0 in times else len(times)
        if NOW in times:
            times = [_CLIENTS_NOW if time_ms == NOW else time_ms for time_ms in times]
        self._places += [_Place(self._failures, place) for place in range(len(self._places), self._sent + until)]
        place, deadline = 0, math.inf
        while place < until:
            before = place
            place, raised = self._produced(producer, topic, keys, values, times, partition, place, until)
            if raised is None:
                break
            if place > before or deadline == math.inf:
                deadline = time.monotonic() + self._within(self.connection.request_timeout_s)
            if time.monotonic() > deadline or not self._mends(producer, raised, topic, partition):
                self._refuse(raised, topic, place)
        producer.poll(0)
        if until < len(times):
            raise _at(until, RefusedError("bad_timestamp", f"sending to topic {topic} failed: {_NO_EPOCH}", _TIMES))

    def _produced(
        self,
        producer: Any,
        topic: str,
        keys: list[bytes | None],
        values: list[bytes | None],
        times: list[int],
        partition: int | None,
        place: int,
        until: int,
    ) -> tuple[int, KafkaException | BufferError | None]:
        """Hand over from ``place`` on; how far it went, and what ended it before the end. All of the loop is C."""
        rows = iter(values[place:until])
        calls = map(
            producer.produce,
            repeat(topic),
            rows,
            keys[place:until],
            repeat(_BY_KEY if partition is None else partition),
            self._places[self._sent : self._sent + until - place],
            repeat(None),
            times[place:until],
        )
        raised: KafkaException | BufferError | None = None
        try:
            deque(calls, maxlen=0)
        except (KafkaException, BufferError) as error:
            raised = error
        handed = until - place - length_hint(rows) - (raised is not None)
        self._sent += handed
        return place + handed, raised

    def _mends(self, producer: Any, raised: KafkaException | BufferError, topic: str, partition: int | None) -> bool:
        """Wait for what may let a record be taken at another try; whether there is anything to wait for."""
        if isinstance(raised, BufferError):  # as much waits as may
            producer.poll(LEAST_S)
            return True
        if partition is None or error_of(raised).code() not in _NOT_THERE:
            return False
        # The client asks what partitions there are only every few minutes, and one may have been added.
        wait_s = min(UNKNOWN_TOPIC_MS / 1000, self._within(self.connection.request_timeout_s))
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                found = producer.list_topics(topic, timeout=left_s).topics[topic]
            except KafkaException:
                return False
            if partition in found.partitions:
                return True
            time.sleep(LEAST_S)  # a broker may be a moment behind the one that added it
        return False

    def _refuse(self, raised: KafkaException | BufferError, topic: str, place: int) -> None:
        what = f"sending to topic {topic} failed"
        if isinstance(raised, BufferError):
            waiting = f"{len(self._producer)} records wait to be sent and none was acknowledged"
            told = self._standing.told()
            raise _at(place, BrokerError(f"{what}: {waiting}{told and f' ({told})'}")) from raised
        error = error_of(raised)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise _at(place, RefusedError("too_large", f"{what}: {error.str()}")) from raised
        try:
            fail(what, error, self.connection, "this producer", topic=topic, operation="WRITE")
        except BrokerError as failed:
            raise _at(place, failed) from raised

    def flush(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`.

        When anything failed, the producer is dropped with all it still held, and the next send makes a new one.
        """
        if self._producer is None:
            return
        timeout_s, began, producer = self._within(timeout_s), time.monotonic(), self._producer
        deadline, timed_out, waits = began + timeout_s, False, len(producer) > 0
        while len(producer) and not timed_out:
            # In slices, since a stop that is asked for meanwhile leaves less time.
            left_s = self._within(deadline - time.monotonic())
            producer.flush(max(0.0, min(left_s, _SLICE_S)))
            timed_out = left_s <= 0 and len(producer) > 0
        total, self._sent = self._sent, 0
        if not self._failures and not timed_out:
            if waits:  # what was acknowledged before says nothing of whether anybody answers now
                self._standing.answered()
            return
        waited_s = min(timeout_s, time.monotonic() - began)
        self._give_up(total, f"no answer within {waited_s:.3g} s" if timed_out else "")

    def _give_up(self, total: int, waited: str) -> None:
        """Drop the producer and say what became of what was sent; ``waited`` where nobody said."""
        told = self._standing.told()
        if waited or any(failed.error.code() < 0 for failed in self._failures.values()):
            self._standing.gave_up("send")
        self._drop_producer(LEAST_S)
        failed = [self._failures[place] for place in sorted(self._failures)]
        failures = {place: failed.error for place, failed in self._failures.items()}
        self._failures, self._places = {}, []
        if any(error.code() == KafkaError.MSG_SIZE_TOO_LARGE for error in failures.values()):
            # Perhaps none of them was too large, but all together for this topic; the client splits no batch.
            self._batch_bytes = max(_LEAST_BATCH_BYTES, self._batch_bytes // 4)
        first = next((each for each in failed if each.error.code() not in _GIVEN_UP), None)
        reason: object = told or waited
        if first is not None:
            as_said = as_kafka(*first)
            reason = missing_right(as_said, "WRITE") or told or f"{first.error.str()} (topic {first.topic})"
        message = f"{len(failures)} of the last {total} records were not acknowledged; first reason: {reason}"
        raise UndeliveredError(message, None if waited else _refused(failures))

    def _drop_producer(self, timeout_s: float) -> None:
        """Let go of the producer and of every record it has not sent; what it still held counts as failed."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer.purge()
        producer.flush(timeout_s)
        self._standing.dropped("producer")
        held = [producer]
        del producer
        let_go(held.clear, _PARTING_S)

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Sender`. Says what is wrong where no connection can be made."""
        found = KafkaAdministration(self._hurried()).describe_topics([topic])[topic]
        return [] if found is None else list(range(found.partitions))

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        self._closed = True
        self._drop_producer(min(LEAST_S, self._within(timeout_s)))

    def _producing(self) -> Any:
        if self._producer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            hurried = self._hurried()
            properties = producer_properties(hurried, self._batch_bytes)
            self._producer = made(Producer, "producer", properties, hurried, self._standing)
            self._sent, self._failures, self._places = 0, {}, []
        return self._producer


_TIMES = (1, (1 << 63) - 1)
_NO_EPOCH = "this client takes the timestamp 0, the first moment of 1970, for the present one, so it is not sent"


def _at(place: int, error: BrokerError) -> BrokerError:
    """The same error, of the record at that place of a batch."""
    error.place = place
    return error


def _refused(failures: Mapping[int, KafkaError]) -> dict[int, RefusedError | None] | None:
    """What became of each, where refusals of single records explain all failures; else None."""
    kinds = {error.code() for error in failures.values()}
    if kinds.isdisjoint(_REFUSALS) or not kinds <= {*_REFUSALS, *_BESIDE}:
        return None
    return {place: _refusal(error) for place, error in failures.items()}


def _refusal(error: KafkaError) -> RefusedError | None:
    if (reason := _REFUSALS.get(error.code())) is None:
        return None
    # Brokers say "The timestamp should be within [1, 2]" or nothing of the kind.
    said = _RANGE.search(error.str()) if reason == "bad_timestamp" else None
    return RefusedError(reason, error.str(), None if said is None else (int(said[1]), int(said[2])))
