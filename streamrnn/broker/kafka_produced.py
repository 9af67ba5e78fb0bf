"""Whole batches for the client's producer: their records are written at once, and nothing is made for a single one.

kafka-python (3.0.12, sources read) appends records one by one to the newest batch of a partition, and its sender's
thread takes batches from there. Here a batch of columns is written into the client's own builder instead, which
compresses, numbers and closes it as always: when it is sent, tried again, split or given up stays the client's matter.

What batches lean on of its inner parts stands in this file alone; what a producer that is dropped or a partition that
is new takes of them is in ``kafka_sender``. ``whole_batches`` checks the former at the first use, not least by building
a batch in both ways and by ending some; where it is not as expected, records go one by one by the public way.
"""

from __future__ import annotations

import functools
import logging
import time
from bisect import bisect_right
from typing import Any

import kafka
import numpy as np
import numpy.typing as npt
from kafka.errors import IllegalStateError
from kafka.partitioner.default import DefaultPartitioner
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.structs import TopicPartition as ClientTopicPartition

from streamrnn.broker.columns import NOW, Outputs, Strings
from streamrnn.broker.kafka_inner import KNOWN, differs
from streamrnn.broker.records import Output
from streamrnn.core.wire.handle import Column, hashes_of, records_of

_log = logging.getLogger(__name__)

Integers = npt.NDArray[np.int64]

_FORMAT = 2
_MOST_AROUND = DefaultRecordBatchBuilder.HEADER_STRUCT.size + DefaultRecordBatchBuilder.MAX_RECORD_OVERHEAD + 11
"""Bytes that the client counts beside key and value, at most: 11 are two lengths and the number of headers."""
_RECHECK_S = 0.001  # a batch that is being split wakes who waits for it a little too early


class HandedOver:
    """Records of one batch of the client's that were handed over together.

    ``places`` are theirs in the order of everything that is sent.
    """

    def __init__(self, places: Integers, future: FutureProduceResult, first: int, size: int) -> None:
        self.places, self.size = places, size
        self._future, self._first = future, first  # the place of the first one in that batch
        self._moved: dict[int, tuple[FutureProduceResult, int]] = {}  # to smaller batches

    def __len__(self) -> int:
        return len(self.places)

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of all of them."""
        return all(future.is_done for future in self._futures())

    def wait(self, timeout_s: float) -> None:
        """Wait until that is known, or until the time is over."""
        deadline = time.monotonic() + timeout_s
        while (open_one := next((f for f in self._futures() if not f.is_done), None)) is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if open_one.wait(left) and not open_one.is_done:
                time.sleep(min(left, _RECHECK_S))

    def failures(self) -> dict[int, BaseException]:
        """What kept records from arriving, by their places; nothing for those that did. All must be done."""
        if not self._moved and self._future.succeeded() and self._future.value[2] is None:
            return {}
        found = {place: self._failure(i) for i, place in enumerate(self.places.tolist())}
        return {place: error for place, error in found.items() if error is not None}

    def _failure(self, i: int) -> BaseException | None:
        future, place = self._moved.get(i, (self._future, self._first + i))
        if future.failed():
            error: BaseException = future.exception
            return error
        _, _, error_of = future.value
        return None if error_of is None else error_of(place)

    def _futures(self) -> list[FutureProduceResult]:
        if not self._moved:
            return [self._future]
        moved = list({id(future): future for future, _ in list(self._moved.values())}.values())
        return moved if len(self._moved) == len(self) else [*moved, self._future]

    def move(self, i: int, future: FutureProduceResult, place: int) -> None:
        """The client split the batch: record ``i`` of these is that of another one now."""
        before, _ = self._moved.get(i, (self._future, 0))
        self._moved[i] = future, place
        before._latch.set()  # nothing else will come of that one


class _Followers:
    """In place of the client's list of futures, one for each record of a batch: what it moves when it splits one."""

    def __init__(self) -> None:
        self._groups: list[HandedOver] = []
        self._ends: list[int] = []

    def add(self, handed: HandedOver) -> None:
        self._ends.append(len(self) + len(handed))
        self._groups.append(handed)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: int) -> _Follower:
        group = bisect_right(self._ends, place)
        handed = self._groups[group]
        return _Follower(handed, place - (self._ends[group] - len(handed)))


class _Follower:
    def __init__(self, handed: HandedOver, i: int) -> None:
        self._handed, self._i = handed, i

    def rebind(self, future: FutureProduceResult, place: int) -> None:
        self._handed.move(self._i, future, place)


class _Batch(ProducerBatch):  # type: ignore[misc]
    """A batch that is written from columns. Single records that come behind it begin another one."""

    def __init__(self, tp: Any, settings: dict[str, Any]) -> None:
        records = MemoryRecordsBuilder(_FORMAT, settings["compression_attrs"], settings["batch_size"])
        super().__init__(tp, records)
        self._record_futures = _Followers()

    def try_append(self, *_: Any, **__: Any) -> None:
        """Records one by one are not taken."""

    def take(self, outputs: Outputs, places: Integers) -> HandedOver | None:
        """Write as many of the outputs, which have timestamps, as there is room for; None where there is none."""
        records, builder = self.records, self.records._builder
        if records._closed:
            return None
        stamps, before = np.require(outputs.timestamp_ms, np.int64, ("C", "W")), builder._num_records
        first = int(stamps[0]) if before == 0 else builder._first_timestamp
        room = builder._batch_size - len(builder._buffer)
        data, count, latest = records_of(_column(outputs.keys), _column(outputs.values), stamps, first, before, room)
        if not count:
            return None
        builder._buffer += data.data
        builder._first_timestamp = first
        builder._max_timestamp = latest if before == 0 else max(builder._max_timestamp, latest)
        builder._num_records = records._next_offset = before + count
        builder._last_offset = before + count - 1
        handed = HandedOver(places[:count], self.produce_future, before, len(data))
        self._record_futures.add(handed)
        return handed


def _column(strings: Strings) -> Column:
    return (
        strings.buffer,
        np.require(strings.start, np.int64, ("C", "W")),
        np.require(strings.end, np.int64, ("C", "W")),
    )


class WholeBatches:
    """Hands outputs to one producer of the client's."""

    def __init__(self, producer: Any) -> None:
        self._producer, self._accumulator = producer, producer._accumulator

    def takes(self, outputs: Outputs, partition: int | None) -> int:
        """How many of the first outputs can be handed over so; the next one is a matter for the public way.

        That finds out about topics and partitions that are not known yet, and refuses what the client refuses.
        """
        known = self._producer._metadata.partitions_for_topic(outputs.topic)
        if known is None or (partition is not None and partition not in known):
            return 0
        sizes = outputs.keys.sizes + outputs.values.sizes
        # Exact where it matters: what is near the limit is estimated by the client.
        sendable = sizes + _MOST_AROUND <= self._producer.config["max_request_size"]
        sendable &= ~(outputs.keys.missing & outputs.values.missing)
        return len(outputs) if sendable.all() else int(sendable.argmin())

    def hand_over(self, outputs: Outputs, partition: int | None, place: int, into: list[HandedOver]) -> None:
        """Hand over outputs of which ``takes`` said so; the first is at ``place`` of all that was sent.

        Raises the client's errors; what was handed over before one is in ``into`` all the same.
        """
        stamps = outputs.timestamp_ms
        if (without := stamps == NOW).any():
            stamps = np.where(without, time.time_ns() // 1_000_000, stamps)
        outputs = Outputs(outputs.topic, outputs.keys, outputs.values, stamps, outputs.offset)
        places = np.arange(place, place + len(outputs))
        if partition is not None:
            self._append(ClientTopicPartition(outputs.topic, partition), outputs, places, into)
            return
        partitions = self._partitions(outputs)
        for number in np.unique(partitions).tolist():
            rows = np.flatnonzero(partitions == number)
            self._append(ClientTopicPartition(outputs.topic, number), outputs.at(rows), places[rows], into)

    def _partitions(self, outputs: Outputs) -> Integers:
        """By the keys' hashes, as the client's partitioner chooses; at random where there is no key."""
        topic, keys, producer = outputs.topic, outputs.keys, self._producer
        numbers = np.array(sorted(producer._metadata.partitions_for_topic(topic)), np.int64)
        if len(numbers) == 1:
            return np.repeat(numbers, len(outputs))
        chosen = np.empty(len(outputs), np.int64)
        keyed = np.flatnonzero(~keys.missing)
        chosen[keyed] = numbers[hashes_of(_column(keys.at(keyed))) % len(numbers)]
        for i in np.flatnonzero(keys.missing).tolist():
            chosen[i] = producer._partition(topic, None, None, outputs.values[i], None, outputs.values[i])
        return chosen

    def _append(self, tp: Any, outputs: Outputs, places: Integers, into: list[HandedOver]) -> None:
        """As the client's own ``append`` does it, a batch at a time."""
        accumulator, begun = self._accumulator, False
        accumulator._appends_in_progress.increment()
        try:
            with accumulator._tp_lock(tp):
                if accumulator._closed:
                    raise IllegalStateError("the producer is closed")
                batches = accumulator._batches[tp]
                while len(outputs):
                    newest = batches[-1] if batches else None
                    taken = newest.take(outputs, places) if isinstance(newest, _Batch) else None
                    if taken is None:
                        begun = True
                        batches.append(_Batch(tp, accumulator.config))
                        accumulator._incomplete.add(batches[-1])
                        continue
                    into.append(taken)
                    outputs, places = outputs[len(taken) :], places[len(taken) :]
        finally:
            accumulator._appends_in_progress.decrement()
        if begun:
            self._producer._sender.wakeup()


def whole_batches(producer: Any) -> WholeBatches | None:
    """The way to hand whole batches to ``producer``, None where it is not made as expected, as a line says then."""
    if trouble := differs(producer, _PATHS, _METHODS, _tried):
        _tell(trouble)
        return None
    return WholeBatches(producer) if _writes_such_batches(producer) else None


def _writes_such_batches(producer: Any) -> bool:
    """Whether it writes records in today's format, and to partitions that are chosen by murmur2."""
    manager = producer._transaction_manager
    return (
        producer._accumulator.config["message_version"] == _FORMAT
        and type(producer.config["partitioner"]) is DefaultPartitioner
        and (manager is None or not manager.is_transactional())
    )


@functools.cache
def _tell(trouble: str) -> None:
    _log.warning(
        "kafka-python %s makes batches in another way than the versions that streamrnn knows (%s): %s. "
        "Outputs are handed to it one by one, which takes several times the processor's time",
        kafka.__version__, KNOWN, trouble,
    )  # fmt: skip


_METHODS = (
    (RecordAccumulator, "append", ("tp", "timestamp_ms", "key", "value", "headers", "now", "abort_on_new_batch")),
    (RecordAccumulator, "split_and_reenqueue", ("batch", "now")),
    (RecordAccumulator, "_tp_lock", ("tp",)),
    (ProducerBatch, "__init__", ("tp", "records", "now")),
    (ProducerBatch, "try_append", ("timestamp_ms", "key", "value", "headers", "now")),
    (FutureProduceResult, "wait", ("timeout",)),
    (FutureRecordMetadata, "rebind", ("new_produce_future", "new_batch_index")),
)
_PATHS = (
    "_accumulator._batches",
    "_accumulator._incomplete",
    "_accumulator._appends_in_progress",
    "_accumulator._closed",
    "_accumulator.config",
    "_metadata.partitions_for_topic",
    "_sender.wakeup",
)
_RECORDS = (
    (1_700_000_000_000, b"key", b"value"),
    (1_600_000_000_000, None, b""),
    (1_800_000_000_000, b"k" * 200, None),
)


_SETTINGS = {"compression_attrs": 0, "batch_size": 1 << 14}


@functools.cache
def _tried() -> str:
    """In what batches end, or are written, otherwise than expected."""
    if trouble := _trouble_with_ends():
        return trouble
    ours, theirs = (_sample(one_by_one) for one_by_one in (False, True))
    return "" if ours == theirs else "the bytes of a batch are others"


def _trouble_with_ends() -> str:
    """In what it is told otherwise than expected what became of a batch."""
    arrived, given_up = (_Batch(ClientTopicPartition("t", 0), _SETTINGS) for _ in range(2))
    arrived.complete(7, -1)
    reason = RuntimeError("given up")
    given_up.abort(reason)
    _, _, error_of = given_up.produce_future.value
    if arrived.produce_future.value == (7, -1, None) and error_of(1) is reason:
        return ""
    return "a batch that ends tells of it otherwise"


def _sample(one_by_one: bool) -> bytes:
    """A batch, made in one of the two ways."""
    if one_by_one:
        records = MemoryRecordsBuilder(_FORMAT, *_SETTINGS.values())
        for time_ms, key, value in _RECORDS:
            records.append(time_ms, key, value)
    else:
        batch = _Batch(ClientTopicPartition("t", 0), _SETTINGS)
        outputs = Outputs.of([Output("t", key, value, time_ms) for time_ms, key, value in _RECORDS])
        for part in (outputs[:1], outputs[1:]):
            assert batch.take(part, np.arange(len(part))) is not None
        records = batch.records
    assert records.next_offset() == len(_RECORDS)
    records.set_producer_state(7, 1, 5, False)
    records.close()
    return bytes(records.buffer())
