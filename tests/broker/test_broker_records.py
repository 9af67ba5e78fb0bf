"""One suite over every broker: records and batches arrive as they were sent, in order, where their keys belong."""

from __future__ import annotations

import time

import pytest

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import (
    Output,
    Record,
)
from streamrnn.errors import BrokerError
from tests.support.broker_worlds import World, drained, started

HEADERS = [("schema", b"\x00\x00\x07"), ("schema", b""), ("trace", b"\xff\xfe"), ("", b"unnamed")]


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
