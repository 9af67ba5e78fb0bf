"""One suite over every broker: consuming, committing and delivering are the same on files and on a real Kafka."""

from __future__ import annotations

import itertools
import time
import uuid

import numpy as np
import pytest

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.protocol import (
    Administration,
    Broker,
    Commit,
    Output,
    Sender,
    TopicPartition,
    check_topics,
)
from streamrnn.errors import BrokerError, UndeliveredError
from tests.support.broker_worlds import EmbeddedWorld, World, drained, joined, started
from tests.support.kafka_members import until


def test_both_brokers_are_brokers(world: World) -> None:
    assert isinstance(world.member("g"), Broker)
    assert isinstance(world.sender(), Sender)
    assert not isinstance(world.sender(), Broker)
    assert isinstance(world.administration(), Administration)


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
