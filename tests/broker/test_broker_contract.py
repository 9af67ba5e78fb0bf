"""One suite over every broker: what the loop relies on holds on files and on a real Kafka alike."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.embedded import EmbeddedAdministration, EmbeddedBroker, EmbeddedSender
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import (
    CONNECTION_STATES,
    REQUESTS,
    Administration,
    Assigned,
    Broker,
    Commit,
    Connectivity,
    Output,
    Record,
    Sender,
    TopicPartition,
    check_topics,
)
from streamrnn.errors import BrokerError, UndeliveredError
from tests.support.kafka_clients import broker_of, sender_of
from tests.support.kafka_members import DEADLINE_S, until

HEADERS = [("schema", b"\x00\x00\x07"), ("schema", b""), ("trace", b"\xff\xfe"), ("", b"unnamed")]


class World(Protocol):
    """A log with topics, and brokers on it that end with the test."""

    def topic(self, partitions: int = 1) -> str: ...
    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None: ...
    def member(self, group: str) -> Broker: ...
    def sender(self) -> Sender: ...
    def administration(self) -> Administration: ...


class EmbeddedWorld:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: list[Any] = []

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{uuid.uuid4().hex[:8]}"
        with EmbeddedLog(self._directory) as log:
            log.create_topic(name, partitions)
        return name

    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        with EmbeddedLog(self._directory) as log:
            log.append(topic, b"k", value, headers=headers)
            log.flush()

    def member(self, group: str) -> Broker:
        log = EmbeddedLog(self._directory)  # each with files of its own, as processes would
        broker = EmbeddedBroker(log, group)
        self._open += [broker, log]
        return broker

    def sender(self) -> Sender:
        log = EmbeddedLog(self._directory)
        self._open.append(log)
        return EmbeddedSender(log)

    def administration(self) -> Administration:
        log = EmbeddedLog(self._directory)
        self._open.append(log)
        return EmbeddedAdministration(log)

    def close(self) -> None:
        for opened in self._open:
            opened.close(5.0) if isinstance(opened, EmbeddedBroker) else opened.close()


class KafkaWorld:
    def __init__(self, bootstrap: str, client: str) -> None:
        from streamrnn.broker.kafka_settings import KafkaConnection

        self._client = client
        self._connection = KafkaConnection(bootstrap_servers=bootstrap, request_timeout_s=4.0)
        self._open: list[Sender] = []
        self._topics: list[str] = []

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{uuid.uuid4().hex[:8]}"
        self.administration().create_topics({name: partitions})
        self._topics.append(name)
        return name

    def append(self, topic: str, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self._connection.servers)
        try:
            producer.send(topic, value=value, key=b"k", headers=list(headers)).get(10.0)
        finally:
            producer.close(5)

    def member(self, group: str) -> Broker:
        from streamrnn.broker.kafka_settings import KafkaGroup

        # The same instance id each time: the next member takes over at once, as a restarted worker does.
        place = KafkaGroup(group_id=group, instance_id="worker-0", session_timeout_s=6.0)
        broker = broker_of(self._client, self._connection, place)
        self._open.append(broker)
        return broker

    def sender(self) -> Sender:
        self._open.append(sender_of(self._client, self._connection))
        return self._open[-1]

    def administration(self) -> Administration:
        from streamrnn.broker.kafka_admin import KafkaAdministration

        return KafkaAdministration(self._connection)

    def close(self) -> None:
        for opened in self._open:
            opened.close(5.0)
        self.administration().delete_topics(self._topics)


KAFKA = {"kafka": "kafka-python", "kafka-confluent": "confluent"}
"""What stands in a test's name, and the client."""


@pytest.fixture(params=["embedded", *(pytest.param(name, marks=pytest.mark.kafka) for name in KAFKA)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "embedded":
        made: Any = EmbeddedWorld(tmp_path / "log")
    else:
        made = KafkaWorld(request.getfixturevalue("kafka_bootstrap"), KAFKA[request.param])
    yield made
    made.close()


def joined(broker: Broker, topic: str) -> list[TopicPartition]:
    """Subscribe and poll until the assignment is there; nothing may arrive before it is resumed."""
    broker.subscribe(topic)

    def assigned() -> list[TopicPartition]:
        assert broker.poll(0.05, 100).records == {}
        return [tp for event in broker.events() if isinstance(event, Assigned) for tp in event.partitions]

    return until("assignment", assigned)


def started(broker: Broker, topic: str, offset: int = 0) -> list[TopicPartition]:
    tps = joined(broker, topic)
    for tp in tps:
        broker.seek(tp, offset)
    broker.resume(tps)
    return tps


def drained(broker: Broker, count: int, max_records: int = 1000) -> list[Record]:
    """Poll until ``count`` records are there, and once more to see that there are no more."""
    records: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(records) < count and time.monotonic() < deadline:
        for tp, polled in broker.poll(0.2, max_records).records.items():
            assert isinstance(polled, Records) and 0 < len(polled) <= max_records
            assert all(record[:2] == tp for record in polled)
            records += polled
    records += [record for polled in broker.poll(0.2, 1000).records.values() for record in polled]
    assert len(records) == count
    return records


def test_both_brokers_are_brokers(world: World) -> None:
    assert isinstance(world.member("g"), Broker)
    assert isinstance(world.sender(), Sender)
    assert not isinstance(world.sender(), Broker)
    assert isinstance(world.administration(), Administration)


def test_records_come_back_with_the_bytes_they_were_sent_with(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    sent = [
        (b"key", b"value"),
        (None, b'{"a": 1}'),
        (b"tombstone", None),
        (b"", b""),
        (bytes(range(256)), bytes(reversed(range(256)))),
        ("Überflug".encode(), "\u2028\n\r\0".encode()),
        (b"\xff\xfe", b"\x80" * 1000),
        (b"big", b"x" * 500_000),
    ]
    for i, (key, value) in enumerate(sent):
        broker.send(topic, key, value, timestamp_ms=1_357_027_200_000 + i)
    broker.flush(10.0)
    started(broker, topic)
    records = drained(broker, len(sent))
    assert [(r.key, r.value) for r in records] == sent
    assert [r.timestamp_ms for r in records] == [1_357_027_200_000 + i for i in range(len(sent))]
    assert all(type(r) is Record and type(r.value) in (bytes, type(None)) for r in records)


def test_offsets_ascend_from_zero_in_the_order_of_sending(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    for i in range(300):
        broker.send(topic, b"k", str(i).encode())
        if i % 100 == 99:
            broker.flush(10.0)
    (tp,) = started(broker, topic)
    records = drained(broker, 300, max_records=7)
    assert [r.offset for r in records] == list(range(300))
    assert [r.value for r in records] == [str(i).encode() for i in range(300)]
    assert broker.position(tp) == 300


def test_a_key_stays_in_one_partition_and_a_named_partition_is_kept(world: World) -> None:
    topic, broker = world.topic(partitions=3), world.member("g")
    for i in range(60):
        broker.send(topic, f"key-{i % 20}".encode(), b"v")
    broker.send(topic, b"key-0", b"named", partition=2)
    broker.flush(10.0)
    assert sorted(tp.partition for tp in started(broker, topic)) == [0, 1, 2] == broker.partitions(topic)
    records = drained(broker, 61)
    homes: dict[bytes | None, set[int]] = {}
    for record in records:
        if record.value != b"named":
            homes.setdefault(record.key, set()).add(record.partition)
    assert all(len(partitions) == 1 for partitions in homes.values())
    assert len(set.union(*homes.values())) > 1
    assert [r.partition for r in records if r.value == b"named"] == [2]


STRINGS = [b"key", None, b"", bytes(range(256)), "Überflug".encode(), b"\xff\xfe", b"x" * 70, "\u2028\n\r\0".encode()]


def batch_of(topic: str, count: int) -> Outputs:
    """Outputs of every kind, numbered by their timestamps, cut out of more."""
    times = [1_357_027_200_000 + i * (-1) ** i for i in range(count)]
    made = [
        Output(topic, STRINGS[i % 7], STRINGS[i // 7 % 8], time)
        for i, time in enumerate(times)
    ]  # fmt: skip
    made = [one if (one.key, one.value) != (None, None) else one._replace(value=b"v") for one in made]
    return Outputs.of([Output(topic, b"not", b"sent"), *made, Output(topic, b"not", b"sent")])[1:-1]


def test_a_batch_comes_back_as_it_was_sent_between_what_was_sent_before_and_after(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    batch = batch_of(topic, 300)
    for i in range(3):
        broker.send(topic, b"alone", b"%d" % i, partition=0)
        broker.send_all(batch[100 * i : 100 * i + 90], 0)
        broker.send_all(batch[100 * i + 90 : 100 * (i + 1)], 0)
    broker.flush(10.0)
    started(broker, topic)
    records = drained(broker, 303)
    assert [record.value for record in records[::101]] == [b"0", b"1", b"2"]
    found = [(r.key, r.value, r.timestamp_ms) for i, r in enumerate(records) if i % 101]
    assert found == [(one.key, one.value, one.timestamp_ms) for one in batch]


def test_a_batch_of_more_than_goes_into_one_request_arrives_in_order(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    values = [b"%d:" % i + b"x" * (100 + 400_000 * (i % 100 == 7)) for i in range(1000)]
    broker.send_all(Outputs.of([Output(topic, b"k", value) for value in values]), None)
    broker.flush(20.0)
    started(broker, topic)
    assert [record.value for record in drained(broker, 1000)] == values


def test_a_batch_without_a_partition_goes_where_single_records_of_its_keys_go(world: World) -> None:
    topic, broker = world.topic(partitions=3), world.member("g")
    keys = [b"key-%d" % (i % 20) for i in range(60)]
    broker.send(topic, b"first", b"v")
    broker.send_all(Outputs.of([Output(topic, key, b"%d" % i) for i, key in enumerate(keys)]), None)
    for key in sorted({*keys}):
        broker.send(topic, key, b"alone")
    broker.flush(10.0)
    started(broker, topic)
    records = [record for record in drained(broker, 81) if record.key != b"first"]
    for number in range(3):
        of = [record for record in records if record.partition == number and record.value != b"alone"]
        assert of and [int(r.value or b"") for r in of] == sorted(int(r.value or b"") for r in of)
        assert {r.key for r in of} == {r.key for r in records if r.partition == number and r.value == b"alone"}


def test_a_batch_has_the_time_at_which_it_is_sent_where_it_has_none(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    before = time.time_ns() // 1_000_000
    broker.send_all(Outputs.of([Output(topic, b"k", b"v", None if i % 2 else 5) for i in range(20)]), 0)
    broker.flush(10.0)
    started(broker, topic)
    times = [record.timestamp_ms for record in drained(broker, 20)]
    assert times[::2] == [5] * 10
    assert all(before <= time_ms <= time.time_ns() // 1_000_000 for time_ms in times[1::2])


def test_a_batch_for_a_partition_that_is_not_there_says_so_and_none_of_it_arrives(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    with pytest.raises(BrokerError) as caught:
        broker.send_all(batch_of(topic, 20), 3)
        broker.flush(10.0)
    assert caught.value.place == 0
    broker.send_all(batch_of(topic, 20), 0)
    broker.flush(10.0)
    started(broker, topic)
    assert len(drained(broker, 20)) == 20


def test_a_timestamp_left_out_is_now(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    before = time.time_ns() // 1_000_000
    broker.send(topic, b"k", b"v")
    broker.flush(10.0)
    started(broker, topic)
    (record,) = drained(broker, 1)
    assert before <= record.timestamp_ms <= time.time_ns() // 1_000_000


def test_headers_come_back_in_order_with_the_bytes_they_were_sent_with(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    for headers in (HEADERS, [], HEADERS[:1]):
        world.append(topic, b"v", headers)
    started(broker, topic)
    assert [list(record.headers) for record in drained(broker, 3)] == [HEADERS, [], HEADERS[:1]]


def test_seek_moves_both_ways_while_paused_or_not(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    for i in range(50):
        broker.send(topic, b"k", str(i).encode())
    broker.flush(10.0)
    (tp,) = started(broker, topic, offset=40)
    assert drained(broker, 10)[0].offset == 40
    broker.seek(tp, 5)
    assert broker.position(tp) == 5
    assert drained(broker, 45)[0].offset == 5
    broker.pause([tp])
    broker.seek(tp, 49)
    broker.resume([tp])
    assert [r.offset for r in drained(broker, 1)] == [49]


def test_paused_partitions_give_nothing_and_keep_their_position(world: World) -> None:
    topic, broker = world.topic(partitions=2), world.member("g")
    for i in range(20):
        broker.send(topic, b"k", b"v", partition=i % 2)
    broker.flush(10.0)
    first, second = sorted(started(broker, topic))
    broker.pause([first])
    assert {r.partition for r in drained(broker, 10, max_records=3)} == {1}
    assert broker.position(first) == 0
    broker.pause([second])
    broker.resume([first])
    assert [(r.partition, r.offset) for r in drained(broker, 10)] == [(0, i) for i in range(10)]


def test_poll_returns_no_more_than_asked_for(world: World) -> None:
    topic, broker = world.topic(partitions=2), world.member("g")
    for i in range(40):
        broker.send(topic, b"k", b"v", partition=i % 2)
    broker.flush(10.0)
    started(broker, topic)
    seen = 0
    while seen < 40:
        polled = sum(map(len, broker.poll(1.0, 3).records.values()))
        assert polled <= 3
        seen += polled


def test_a_poll_gives_columns_of_what_was_sent_and_its_slices_do_too(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    odd = (None, b"", b"\xffk")
    pairs = list(itertools.product(odd, repeat=2))[1:]  # with neither key nor value it is refused
    sent = [(key, value, 7 * i) for i, (key, value) in enumerate(pairs * 4, start=1)]
    for key, value, timestamp_ms in sent:
        broker.send(topic, key, value, timestamp_ms=timestamp_ms)
    broker.flush(10.0)
    (tp,) = started(broker, topic)
    parts: list[Records] = []

    def polled() -> bool:
        parts.extend(broker.poll(0.2, 10).records.values())
        return sum(map(len, parts)) == len(sent)

    until("all records", polled)
    records = Records.joined(parts)
    for found, expected in ((records, sent), (records[5:20:2], sent[5:20:2])):
        assert list(zip(found.keys, found.values, found.timestamp_ms.tolist(), strict=True)) == expected
        assert (np.diff(found.offset) > 0).all()
        assert list(found) == [found[i] for i in range(len(found))]
        assert [(one.key, one.value, one.timestamp_ms) for one in found] == expected
        assert {(one.topic, one.partition, one.refused) for one in found} == {(*tp, None)}


def test_poll_waits_no_longer_than_its_timeout(world: World) -> None:
    """The shortest of several short waits is compared with one long wait, whatever else the machine does."""
    topic, broker = world.topic(), world.member("g")
    started(broker, topic)

    def waited_s(timeout_s: float) -> float:
        began = time.monotonic()
        assert broker.poll(timeout_s, 10).records == {}
        return time.monotonic() - began

    assert 3 * min(waited_s(0.05) for _ in range(5)) < waited_s(0.6)


def test_a_partition_needs_a_seek_before_it_has_a_position(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    (tp,) = joined(broker, topic)
    with pytest.raises(BrokerError, match="seek"):
        broker.position(tp)
    with pytest.raises(BrokerError, match="seek"):
        broker.resume([tp])
    with pytest.raises(BrokerError, match="not assigned"):
        broker.seek(TopicPartition(topic, 7), 0)


def test_what_is_assigned_stays_paused_until_it_is_resumed(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    broker.send(topic, b"k", b"v")
    broker.flush(10.0)
    (tp,) = joined(broker, topic)
    for _ in range(5):
        assert broker.poll(0.1, 10).records == {}
    broker.seek(tp, 0)
    assert broker.poll(0.3, 10).records == {}
    broker.resume([tp])
    assert len(drained(broker, 1)) == 1


def test_ends_position_and_lag_agree(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    (tp,) = started(broker, topic)
    assert (broker.log_start(tp), broker.log_end(tp), broker.position(tp)) == (0, 0, 0)
    for i in range(10):
        broker.send(topic, b"k", str(i).encode())
    broker.flush(10.0)
    drained(broker, 10, max_records=4)
    assert (broker.log_start(tp), broker.log_end(tp), broker.position(tp), broker.lag(tp)) == (0, 10, 10, 0)
    broker.seek(tp, 3)
    assert broker.lag(tp) == 7
    assert broker.lag(TopicPartition(topic, 9)) is None


def test_the_newest_timestamp_is_the_latest_one_wherever_it_stands_where_the_broker_knows(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    (tp,) = started(broker, topic)
    assert broker.newest_timestamp(tp) is None
    for time_ms in (1_000, 9_000, 5_000):
        broker.send(topic, b"k", b"1", timestamp_ms=time_ms)
    broker.flush(10.0)
    assert broker.newest_timestamp(tp) == (None if isinstance(world, EmbeddedWorld) else 9_000)


def test_a_position_outside_the_log_raises(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    (tp,) = started(broker, topic)
    with pytest.raises(BrokerError, match="offset"):
        broker.seek(tp, 99)
        until("error", lambda: broker.poll(0.5, 10))


def test_commits_with_metadata_survive_the_member(world: World) -> None:
    topic, broker = world.topic(partitions=2), world.member("g")
    first, second = sorted(joined(broker, topic))
    assert broker.committed(first) is None
    membership = broker.poll(0.05, 1).membership
    broker.commit({first: Commit(3, '{"lineage":"ä","ordinal":3}')}, membership, 10.0)
    broker.commit({first: Commit(4, "four"), second: Commit(0, "")}, membership, 10.0)
    assert broker.committed(first) == Commit(4, "four")
    broker.close(5.0)

    again = world.member("g")
    assert sorted(joined(again, topic)) == [first, second]
    assert again.committed(first) == Commit(4, "four")
    assert again.committed(second) == Commit(0, "")
    assert world.member("another-group").committed(first) is None


def test_a_restarted_member_goes_on_where_it_committed(world: World) -> None:
    topic, broker = world.topic(), world.member("g")
    for i in range(10):
        broker.send(topic, b"k", str(i).encode())
    broker.flush(10.0)
    (tp,) = started(broker, topic)
    drained(broker, 10)
    broker.commit({tp: Commit(6)}, broker.poll(0.05, 1).membership, 10.0)
    broker.close(5.0)

    again = world.member("g")
    (tp,) = joined(again, topic)
    commit = again.committed(tp)
    assert commit is not None
    again.seek(tp, commit.offset)
    again.resume([tp])
    assert [r.offset for r in drained(again, 4)] == [6, 7, 8, 9]


def test_outputs_and_offsets_are_delivered_together(world: World) -> None:
    source, sink, broker = world.topic(), world.topic(partitions=2), world.member("g")
    (tp,) = started(broker, source)
    broker.send(sink, b"k", b"early")
    outputs = [Outputs.of([Output(sink, b"k", b"late", 7)]), Outputs.of([Output(sink, b"k", b"later")])]
    broker.deliver(iter(outputs), {tp: Commit(3, "three")}, broker.poll(0.05, 1).membership, 10.0)
    assert broker.committed(tp) == Commit(3, "three")
    broker.deliver((), {tp: Commit(4, "four")}, broker.poll(0.05, 1).membership, 10.0)
    assert broker.committed(tp) == Commit(4, "four")
    broker.close(5.0)

    reader = world.member("reader")
    started(reader, sink)
    records = drained(reader, 3)
    assert [r.value for r in records] == [b"early", b"late", b"later"]
    assert [r.timestamp_ms for r in records if r.value == b"late"] == [7]


def test_no_offset_is_committed_when_an_output_is_missing(world: World) -> None:
    source, broker = world.topic(), world.member("g")
    (tp,) = started(broker, source)
    membership = broker.poll(0.05, 1).membership
    with pytest.raises(UndeliveredError, match="nowhere"):
        broker.deliver([Outputs.of([Output("nowhere", b"k", b"v")])], {tp: Commit(3)}, membership, 10.0)
    assert broker.committed(tp) is None
    broker.deliver((), {tp: Commit(3)}, membership, 10.0)  # what could not be sent is forgotten
    assert broker.committed(tp) == Commit(3)


@pytest.mark.slow
def test_a_topic_that_is_not_there_has_no_partitions_and_refuses(world: World) -> None:
    broker = world.member("g")
    assert broker.partitions("nowhere") == []
    with pytest.raises(BrokerError, match="nowhere"):
        broker.subscribe("nowhere")
    with pytest.raises(BrokerError, match="nowhere"):
        broker.send("nowhere", b"k", b"v")
        broker.flush(10.0)


def test_flush_with_nothing_sent_returns_and_close_can_be_repeated(world: World) -> None:
    broker = world.member("g")
    broker.flush(1.0)
    broker.close(5.0)
    broker.close(5.0)


def test_a_sender_needs_no_group(world: World) -> None:
    topic, sender, broker = world.topic(), world.sender(), world.member("g")
    assert sender.partitions(topic) == [0]
    sender.send(topic, b"k", b"v")
    sender.flush(10.0)
    sender.close(5.0)
    started(broker, topic)
    assert [r.value for r in drained(broker, 1)] == [b"v"]


def test_topics_are_created_described_checked_and_deleted(world: World) -> None:
    name, administration = f"topic-{uuid.uuid4().hex[:8]}", world.administration()
    administration.create_topics({name: 3}, keep_forever=True)
    administration.create_topics({name: 3})
    with pytest.raises(BrokerError, match="has 3 partitions, not 2"):
        administration.create_topics({name: 2})
    described = administration.describe_topics([name, "nowhere"])
    found = described[name]
    assert found is not None
    assert (found.partitions, described["nowhere"]) == (3, None)
    assert {"READ", "WRITE"} <= found.operations
    assert check_topics(administration, read=[name], write=[name]) == []
    (problem,) = check_topics(administration, read=["nowhere"], write=[name])
    assert problem.startswith("topic nowhere does not exist")
    administration.delete_topics([name, "nowhere"])
    until("deletion", lambda: administration.describe_topics([name])[name] is None)


# -- looking from outside ---------------------------------------------------------------------------------------------


def test_a_topic_tells_its_settings(world: World) -> None:
    topic, administration = world.topic(), world.administration()
    settings = administration.topic_configs([topic])[topic]
    assert settings["cleanup.policy"] == "delete"
    assert int(settings["retention.ms"]) >= -1


def test_the_bounds_of_a_topic_are_those_a_consumer_may_read(world: World) -> None:
    topic, administration = world.topic(2), world.administration()
    sender = world.sender()
    for _ in range(3):
        sender.send(topic, b"k", b"v", partition=1)
    sender.flush(10.0)
    assert administration.bounds(topic) == {TopicPartition(topic, 0): (0, 0), TopicPartition(topic, 1): (0, 3)}
    assert administration.bounds("nowhere") == {}


def test_records_are_read_from_outside_and_nobody_can_tell(world: World) -> None:
    topic, administration, sender = world.topic(2), world.administration(), world.sender()
    for i in range(5):
        sender.send(topic, b"k", b"%d" % i, timestamp_ms=1_700_000_000_000 + i, partition=1)
    sender.flush(10.0)
    left, right = TopicPartition(topic, 0), TopicPartition(topic, 1)
    found = administration.read({left: 0, right: 2}, max_records=2, timeout_s=10.0)
    assert [(r.offset, r.value, r.timestamp_ms) for r in found[right]] == [
        (2, b"2", 1_700_000_000_002),
        (3, b"3", 1_700_000_000_003),
    ]
    assert found[left] == []
    group = f"g-{uuid.uuid4().hex[:8]}"
    assert administration.commits(group) == {}
    assert administration.describe_group(group).members == ()


def test_reading_from_outside_ends_before_it_fills_the_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("embedded", "kafka_admin"):
        monkeypatch.setattr(f"streamrnn.broker.{module}.MAX_READ_BYTES", 10_000)
    topic, sender = world.topic(2), world.sender()
    for i in range(400):
        sender.send(topic, b"k", bytes(1_000), partition=i % 2)
    sender.flush(10.0)
    found = world.administration().read({TopicPartition(topic, 0): 0, TopicPartition(topic, 1): 0}, 200, 10.0)
    assert 10 <= sum(map(len, found.values())) < 400


def test_a_group_tells_its_members_and_what_they_committed(world: World) -> None:
    name = f"g-{uuid.uuid4().hex[:8]}"
    topic, administration, broker = world.topic(), world.administration(), world.member(name)
    (tp,) = started(broker, topic)
    broker.commit({tp: Commit(0, "text")}, broker.poll(0.0, 1).membership, 5.0)
    group = administration.describe_group(name)
    assert "READ" in group.operations
    assert len(group.members) == 1
    assert group.refused == ""
    assert administration.commits(name) == {tp: Commit(0, "text")}


def test_a_group_that_nobody_made_yet_has_no_members_and_may_be_joined(world: World) -> None:
    group = world.administration().describe_group(f"g-{uuid.uuid4().hex[:8]}")
    assert (group.members, "READ" in group.operations, group.refused) == ((), True, "")


def test_a_log_that_answers_says_so_to_any_thread_and_misses_nothing(world: World) -> None:
    topic = world.topic()
    member = world.member("g")
    began = time.time()
    member.subscribe(topic)
    deadline = time.monotonic() + DEADLINE_S
    while not any(isinstance(event, Assigned) for event in member.events()):
        assert time.monotonic() < deadline
        member.poll(0.1, 10)
    found: list[Connectivity] = []
    asking = threading.Thread(target=lambda: found.append(member.connectivity()))
    asking.start()
    asking.join(DEADLINE_S)
    (answer,) = found
    assert answer.away_since is None and answer.cause == ""
    assert answer.answered_at is not None and began - 1 <= answer.answered_at <= time.time() + 1
    assert not any(answer.failures.values())
    assert set(answer.failures) in (set(), set(REQUESTS))
    assert set(answer.connections) in (set(), set(CONNECTION_STATES))
    assert not answer.connections or answer.connections["connected"] > 0
