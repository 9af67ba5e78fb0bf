"""Batches that are written whole are those that the client would have made, and what becomes of them is known."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.partitioner.default import DefaultPartitioner
from kafka.producer.future import FutureProduceResult
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from streamrnn.broker import kafka_produced
from streamrnn.broker.columns import Outputs
from streamrnn.broker.kafka_produced import HandedOver, WholeBatches, whole_batches
from streamrnn.broker.kafka_sender import FEW, KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import Output
from streamrnn.errors import BrokerError, UndeliveredError

TP = TopicPartition("t", 0)
BATCH_BYTES = 600
MOST_BYTES = 20_000
CODECS = (0, 1, 2, 3, 4)
STRINGS = st.none() | st.binary(max_size=12) | st.sampled_from([b"", b"k" * 63, b"k" * 64, b"v" * 300, b"v" * 1500])
OUTPUTS = st.lists(
    st.tuples(STRINGS, STRINGS, st.integers(0, 1 << 41))
    .filter(lambda row: row[:2] != (None, None))
    .map(lambda row: Output("t", *row)),
    min_size=1,
    max_size=60,
)


class Producer:
    """The client's producer as far as batches are concerned: its accumulator, from which nothing is taken."""

    def __init__(self, codec: int = 0, partitions: int = 1, **config: Any) -> None:
        self._accumulator = RecordAccumulator(batch_size=BATCH_BYTES, compression_attrs=codec)
        numbers = set(range(partitions))
        self._metadata = SimpleNamespace(
            topics=lambda: {"t"},
            partitions_for_topic={"t": numbers}.get,
            available_partitions_for_topic={"t": numbers}.get,
        )
        self.woken = 0
        self._sender = SimpleNamespace(wakeup=self._wake)
        self._transaction_manager = None
        self.config = {"max_request_size": MOST_BYTES, "partitioner": DefaultPartitioner()} | config

    def _wake(self) -> None:
        self.woken += 1

    def _partition(self, topic: str, _: None, key: Any, value: Any, *__: Any) -> int:
        chosen: int = self.config["partitioner"].partition(topic, key, key, value, value, self._metadata)
        return chosen

    def append(self, output: Output, partition: int = 0) -> None:
        """One record by the client's own way."""
        tp = TopicPartition("t", partition)
        self._accumulator.append(tp, output.timestamp_ms, output.key, output.value, [])

    def send(self, topic: str, value: Any, key: Any, partition: int, timestamp_ms: int) -> Any:
        tp = TopicPartition(topic, partition)
        return self._accumulator.append(tp, timestamp_ms, key, value, [])[0]

    def batches(self, partition: int = 0) -> list[Any]:
        return list(self._accumulator._batches[TopicPartition("t", partition)])

    def sent(self, partition: int = 0) -> list[bytes]:
        """Its batches, closed and numbered as for an idempotent producer that is in a transaction."""
        found = []
        for number, batch in enumerate(self.batches(partition)):
            batch.records.set_producer_state(77, 3, 10 * number, bool(number % 2))
            batch.records.close()
            found.append(bytes(batch.records.buffer()))
        return found


def whole(producer: Producer) -> WholeBatches:
    found = whole_batches(producer)
    assert found is not None
    return found


def sending(producer: Producer) -> KafkaSender:
    """A sender with this producer."""
    sender = KafkaSender(KafkaConnection(bootstrap_servers="nowhere:9092"))
    sender._producer, sender._batches = producer, whole(producer)
    return sender


def values_of(batch: Any) -> list[bytes]:
    """The values in a batch, which is closed as it is before it is sent."""
    batch.records.close()
    return [record.value for data in MemoryRecords(bytes(batch.records.buffer())) for record in data]


def handed_over(
    producer: Producer, outputs: list[Output], cuts: list[int] | None = None, partition: int | None = 0
) -> list[HandedOver]:
    batches, found = Outputs.of(outputs), []
    for start, end in zip([0, *(cuts or [])], [*(cuts or []), len(outputs)], strict=True):
        whole(producer).hand_over(batches[start:end], partition, start, found)
    return found


@given(OUTPUTS, st.lists(st.integers(1, 59), max_size=4), st.sampled_from(CODECS))
def test_batches_are_byte_for_byte_those_that_the_client_makes_however_they_are_cut(
    outputs: list[Output], cuts: list[int], codec: int
) -> None:
    ours, theirs = Producer(codec), Producer(codec)
    for output in outputs:
        theirs.append(output)
    handed = handed_over(ours, outputs, sorted({cut for cut in cuts if cut < len(outputs)}))
    assert ours.sent() == theirs.sent()
    assert np.concatenate([each.places for each in handed]).tolist() == list(range(len(outputs)))
    assert [batch.record_count for batch in ours.batches()] == [batch.record_count for batch in theirs.batches()]


@given(OUTPUTS, st.integers(2, 7))
def test_without_a_partition_the_key_decides_as_the_client_lets_it(outputs: list[Output], partitions: int) -> None:
    outputs = [output._replace(key=output.key or b"") for output in outputs]
    ours, theirs = Producer(partitions=partitions), Producer(partitions=partitions)
    for output in outputs:
        theirs.append(output, theirs._partition("t", None, output.key, output.value))
    handed = handed_over(ours, outputs, partition=None)
    assert [ours.sent(n) for n in range(partitions)] == [theirs.sent(n) for n in range(partitions)]
    assert sorted(place for each in handed for place in each.places.tolist()) == list(range(len(outputs)))


def test_records_without_a_key_go_to_partitions_at_random() -> None:
    producer = Producer(partitions=3)
    handed_over(producer, [Output("t", None, b"v", 5)] * 60, partition=None)
    assert all(producer.batches(number) for number in range(3))


def test_what_has_no_time_has_the_present_one() -> None:
    producer, before = Producer(), time.time_ns() // 1_000_000
    handed_over(producer, [Output("t", b"k", b"v"), Output("t", b"k", b"v", 5)])
    (data,) = producer.sent()
    (batch,) = list(MemoryRecords(data))
    now, then = [record.timestamp for record in batch]
    assert before <= now <= time.time_ns() // 1_000_000 and then == 5


def test_single_records_and_batches_stay_in_the_order_in_which_they_were_handed_over() -> None:
    producer, outputs = Producer(), [Output("t", b"k", b"%d" % i, 5) for i in range(30)]
    for i in range(0, 30, 6):
        producer.append(outputs[i])
        handed_over(producer, outputs[i + 1 : i + 6], [2])
    values = [record.value for data in producer.sent() for batch in MemoryRecords(data) for record in batch]
    assert values == [output.value for output in outputs]


def _come_to_pass(producer: Producer, what: str) -> list[bytes]:
    """The oldest batch is sent; returns the values that arrive."""
    batch = producer._accumulator._batches[TP].popleft()
    held = values_of(batch)
    if what == "answer":
        answered(batch)
        return held
    if what == "split" and len(held) > 1:
        producer._accumulator.split_and_reenqueue(batch)
    else:
        producer._accumulator.reenqueue(batch)
    return []


STEPS = st.lists(
    st.tuples(st.sampled_from(["send"] * 4 + ["answer", "try again", "split"]), st.integers(1, 3 * FEW)), max_size=30
)


@given(STEPS, st.integers(0, 200))
def test_a_partition_has_its_records_in_order_however_few_and_many_follow_each_other(
    steps: list[tuple[str, int]], size: int
) -> None:
    """Few are handed over one by one, many as a whole, and meanwhile batches are sent, tried again and split."""
    producer = Producer()
    sender, queue = sending(producer), producer._accumulator._batches[TP]
    n, arrived = 0, list[bytes]()
    for what, many in steps:
        if what == "send":
            rows = [Output("t", b"k", b"%d." % i + b"v" * size, 5) for i in range(n, n + many)]
            sender.send_all(Outputs.of(rows), 0)
            n += many
        elif queue:
            arrived += _come_to_pass(producer, what)
    while queue:
        arrived += _come_to_pass(producer, "answer")
    assert [int(value.split(b".")[0]) for value in arrived] == list(range(n))
    sender.flush(1.0)


def _fails_at(producer: Producer, partition: int) -> None:
    """From here on nothing can be appended to that partition."""
    lock_of = producer._accumulator._tp_lock

    def lock(tp: Any) -> Any:
        if tp.partition == partition:
            raise KafkaError("something is wrong there")
        return lock_of(tp)

    producer._accumulator._tp_lock = lock


def half_handed_over() -> tuple[Producer, KafkaSender]:
    """Some records arrived; of those behind, the client has those of the first partition, and the second one failed."""
    producer = Producer(partitions=2)
    sender, rows = sending(producer), [Output("t", b"k%d" % i, b"%d" % i, 5) for i in range(40)]
    sender.send_all(Outputs.of(rows[:FEW]), 1)
    _fails_at(producer, 1)
    with pytest.raises(BrokerError, match="something is wrong there") as caught:
        sender.send_all(Outputs.of(rows), None)
    assert caught.value.place == 0
    answered(producer.batches(1)[0])
    assert len(producer.batches(0)) == 1
    return producer, sender


def test_a_flush_waits_for_records_that_were_handed_over_before_another_partition_failed() -> None:
    producer, sender = half_handed_over()
    flushed = threading.Thread(target=sender.flush, args=(30.0,))
    flushed.start()
    time.sleep(0.05)
    assert flushed.is_alive()
    answered(producer.batches(0)[0])
    flushed.join(5.0)
    assert not flushed.is_alive()


def test_what_befalls_records_that_count_as_not_handed_over_is_laid_to_no_other_ones() -> None:
    producer, sender = half_handed_over()
    waiting = producer.batches(0)[0].record_count
    answered(producer.batches(0)[0], MessageSizeTooLargeError(), culprit=1)
    sender._drop_producer = lambda: None  # type: ignore[method-assign]
    with pytest.raises(UndeliveredError, match=f"^{waiting} of the last {FEW + waiting} records") as caught:
        sender.flush(1.0)
    assert caught.value.refused == {}


def test_what_comes_behind_joins_a_batch_that_is_not_on_its_way_yet() -> None:
    producer, outputs = Producer(), [Output("t", b"k", b"v", 5)] * 9
    handed_over(producer, outputs[:3])
    handed_over(producer, outputs[3:6])
    assert [batch.record_count for batch in producer.batches()] == [6]
    assert producer.woken == 1, "the sender knows of that batch already"
    producer.sent()
    handed_over(producer, outputs[6:])
    assert [batch.record_count for batch in producer.batches()] == [6, 3]


@pytest.mark.parametrize(
    ("bad", "partition", "taken"),
    [
        (Output("t", b"k", b"v" * MOST_BYTES), 0, 4),
        (Output("t", None, None), 0, 4),
        (Output("t", b"k", b"v"), 3, 0),
        (Output("t", b"k", b"v"), None, 9),
    ],
)
def test_what_the_client_refuses_or_does_not_know_is_left_to_its_public_way(
    bad: Output, partition: int | None, taken: int
) -> None:
    outputs = [Output("t", b"k", b"v")] * 9
    outputs[4] = bad
    assert whole(Producer()).takes(Outputs.of(outputs), partition) == taken


def test_a_topic_that_is_not_known_is_left_to_the_public_way() -> None:
    assert whole(Producer()).takes(Outputs.of([Output("other", b"k", b"v")]), None) == 0


@given(st.integers(0, 1000))
def test_a_record_is_left_to_the_client_where_it_may_be_too_large_and_nowhere_else(size: int) -> None:
    producer = Producer(max_request_size=500)
    output = Output("t", b"k" * (size % 7), b"v" * size)
    estimate = 61 + 21 + 1 + sum(len(each or b"") + (1 if len(each or b"") < 64 else 2) for each in output[1:3])
    if whole(producer).takes(Outputs.of([output]), 0):
        assert estimate <= 500
    else:
        assert estimate > 500 - 10


def answered(batch: Any, error: KafkaError | None = None, culprit: int | None = None) -> None:
    """What the client's sender does once a broker has answered."""
    if error is None:
        batch.complete(100, -1)
    else:
        of = [error] * batch.record_count
        if culprit is not None:
            of = [KafkaError("fell with another")] * batch.record_count
            of[culprit] = error
        batch.complete_exceptionally(error, of.__getitem__)


def test_it_is_known_which_records_did_not_arrive() -> None:
    producer = Producer()
    handed = handed_over(producer, [Output("t", b"k", b"v" * 100, 5)] * 12, [3])
    first, second, *_ = producer.batches()
    assert not any(each.is_done for each in handed)
    answered(first)
    assert [each.is_done for each in handed] == [True, *[False] * (len(handed) - 1)] or handed[1].is_done
    refusal = MessageSizeTooLargeError()
    answered(second, refusal, culprit=1)
    failed = {place: error for each in handed if each.is_done for place, error in each.failures().items()}
    begins = first.record_count
    assert sorted(failed) == list(range(begins, begins + second.record_count))
    assert failed[begins + 1] is refusal and failed[begins] is not refusal


def test_a_batch_that_is_split_again_and_again_tells_of_each_record() -> None:
    producer, outputs = Producer(), [Output("t", b"k", b"%d" % i, 5) for i in range(8)]
    handed = handed_over(producer, outputs, [3])
    accumulator, refusal = producer._accumulator, MessageSizeTooLargeError()
    values: list[bytes] = []
    while queue := accumulator._batches[TP]:
        batch = queue.popleft()
        batch.records.close()
        held = [r.value for data in MemoryRecords(bytes(batch.records.buffer())) for r in data]
        if b"5" not in held:
            values += held
            answered(batch)
        elif len(held) > 2:
            accumulator.split_and_reenqueue(batch)
        else:
            assert held == [b"4", b"5"]
            answered(batch, refusal, culprit=1)
    assert values == [b"%d" % i for i in range(8) if i not in (4, 5)], "in order"
    assert all(each.is_done for each in handed)
    failures = [each.failures() for each in handed]
    assert [[*each] for each in failures] == [[], [4, 5]]
    assert failures[1][5] is refusal and failures[1][4] is not refusal


def test_who_waits_for_a_batch_that_is_split_meanwhile_waits_for_its_parts() -> None:
    producer = Producer()
    (handed,) = handed_over(producer, [Output("t", b"k", b"v", 5)] * 4)
    accumulator = producer._accumulator
    waiting = threading.Thread(target=handed.wait, args=(30.0,))
    waiting.start()
    batch = accumulator._batches[TP].popleft()
    batch.records.close()
    accumulator.split_and_reenqueue(batch)
    time.sleep(0.05)
    assert waiting.is_alive() and not handed.is_done
    while accumulator._batches[TP]:
        answered(accumulator._batches[TP].popleft())
    waiting.join(5.0)
    assert not waiting.is_alive() and handed.is_done and handed.failures() == {}


def test_waiting_ends_by_its_time() -> None:
    (handed,) = handed_over(Producer(), [Output("t", b"k", b"v", 5)])
    handed.wait(0.01)
    assert not handed.is_done


def test_a_producer_that_is_closed_by_force_fails_all_that_it_held_and_takes_no_more() -> None:
    producer = Producer()
    handed = handed_over(producer, [Output("t", b"k", b"v" * 100, 5)] * 12)
    producer._accumulator.close()
    producer._accumulator.abort_incomplete_batches()
    assert sorted(place for each in handed for place in each.failures()) == list(range(12))
    with pytest.raises(KafkaError, match="closed"):
        handed_over(producer, [Output("t", b"k", b"v")])


@pytest.fixture
def _unchecked() -> Iterator[None]:
    for cache in (kafka_produced._tell, kafka_produced._tried):
        cache.cache_clear()
    yield
    for cache in (kafka_produced._tell, kafka_produced._tried):
        cache.cache_clear()


def _otherwise(self: Any, tp: Any, timestamp_ms: Any) -> None:
    """An ``append`` of another version."""


_end = FutureProduceResult.success


@pytest.mark.usefixtures("_unchecked")
@pytest.mark.parametrize(
    ("of", "name", "other", "said"),
    [
        (RecordAccumulator, "append", _otherwise, "RecordAccumulator.append("),
        (kafka_produced.MemoryRecordsBuilder, "close", lambda self: None, "AssertionError"),
        (kafka_produced.DefaultRecordBatchBuilder, "_get_attributes", lambda self, _: 64, None),
        (kafka_produced._Batch, "take", lambda *_: None, "AssertionError"),
        (FutureProduceResult, "success", lambda self, value: _end(self, value[:2]), "ValueError"),
        (FutureProduceResult, "success", lambda self, value: _end(self, (*value, None)), "ValueError"),
        (FutureProduceResult, "success", lambda self, value: _end(self, (0, *value[1:])), "tells of it otherwise"),
    ],
)
def test_a_client_that_is_made_otherwise_is_given_records_one_by_one_as_one_line_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, of: type, name: str, other: Any, said: str | None
) -> None:
    monkeypatch.setattr(of, name, other)
    with caplog.at_level(logging.WARNING):
        found = [whole_batches(Producer()) for _ in range(3)]
    if said is None:  # of both ways alike
        assert None not in found and not caplog.messages
        return
    assert found == [None] * 3
    (line,) = caplog.messages
    assert said in line and "one by one" in line


@pytest.mark.usefixtures("_unchecked")
def test_a_client_whose_batches_have_other_bytes_is_given_records_one_by_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kafka_produced, "records_of", lambda *of: (np.zeros(9, np.uint8), len(of[2]), int(of[2].max())))
    assert whole_batches(Producer()) is None
    assert "the bytes of a batch are others" in caplog.text


@pytest.mark.usefixtures("_unchecked")
def test_a_producer_without_what_is_leaned_on_is_given_records_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    producer = Producer()
    del producer._accumulator._incomplete
    assert whole_batches(producer) is None
    assert "no _accumulator._incomplete" in caplog.text


def test_records_of_older_formats_and_other_partitioners_go_the_public_way_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, other = Producer(), Producer(partitioner=lambda *_: 0)
    old._accumulator.config["message_version"] = 1
    assert whole_batches(old) is None and whole_batches(other) is None
    assert not caplog.messages
