"""Batches that a real broker takes and that unpack to hundreds of megabytes, or lie, are read in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup, Limits
from streamrnn.broker.protocol import Assigned, Record, TopicPartition
from tests.support.batches import batch, produce, record, zeros

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MIB = 1 << 20
ROOM_BYTES = 64 * MIB
"""What a worker takes besides what it has anyway: a poll's records and what was fetched, and some for the allocator."""

BOMBS = {"gzip": 300_000_000, "lz4": 240_000_000, "zstd": 300_000_000, "snappy": 20_000_000}


def read_elsewhere(bootstrap: str, topic: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.read_records", bootstrap, topic, str(count)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize("codec", list(BOMBS))
def test_hundreds_of_megabytes_beside_good_records_cost_little_memory(
    kafka_bootstrap: str, topic: str, codec: str
) -> None:
    size = BOMBS[codec]
    for sent in (
        batch([record(b"first", 0)], codec),
        zeros(size, codec, before=[b"a", b"b"], behind=[b"c"]),
        batch([record(b"last", 0)], codec),
    ):
        assert len(sent) < 1_000_000
        assert produce(kafka_bootstrap, topic, sent) == 0
    found = read_elsewhere(kafka_bootstrap, topic, 6)
    refused = f"found {size + 1} bytes of key and value, expected at most 1048576 (max_record_bytes)"
    assert found["records"] == [
        [0, [5, "first"], None],
        [1, [1, "a"], None],
        [2, [1, "b"], None],
        [3, None, ["too_large", refused, 1, size]],
        [4, [1, "c"], None],
        [5, [4, "last"], None],
    ]
    assert found["peak"] - found["before"] < ROOM_BYTES


def test_a_thousand_records_of_a_megabyte_in_a_small_batch_cost_little_memory(kafka_bootstrap: str, topic: str) -> None:
    n = 900
    sent = batch([record(bytes(MIB - 100), i) for i in range(n)], "zstd")
    assert produce(kafka_bootstrap, topic, sent) == 0
    found = read_elsewhere(kafka_bootstrap, topic, n)
    assert [offset for offset, _, _ in found["records"]] == list(range(n))
    assert {value[0] for _, value, _ in found["records"]} == {MIB - 100}
    assert found["peak"] - found["before"] < 2 * ROOM_BYTES


def test_a_hundred_thousand_headers_in_each_of_many_records_cost_little_memory(
    kafka_bootstrap: str, topic: str
) -> None:
    n = 20
    sent = batch([record(b"v", i, headers=[(b"", None)] * 100_000) for i in range(n)], "zstd")
    assert produce(kafka_bootstrap, topic, sent) == 0
    found = read_elsewhere(kafka_bootstrap, topic, n)
    assert [offset for offset, _, _ in found["records"]] == list(range(n))
    assert found["peak"] - found["before"] < 2 * ROOM_BYTES


def drained(broker: KafkaBroker, topic: str, until: int) -> list[Record]:
    broker.subscribe(topic)
    found: list[Record] = []
    for _ in range(200):
        for event in broker.events():
            if isinstance(event, Assigned):
                for tp in event.partitions:
                    broker.seek(tp, 0)
                broker.resume(event.partitions)
        for records in broker.poll(0.2, 5_000).records.values():
            found += records
        if TopicPartition(topic, 0) in broker._positioned and broker.position(TopicPartition(topic, 0)) >= until:
            break
    return found


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_lies_and_that_a_broker_takes_stops_no_partition(
    kafka_bootstrap: str, topic: str, member: Callable[..., KafkaBroker], codec: str
) -> None:
    """Of compressed records a broker looks at neither lengths nor names of headers, and time wraps round as in Java."""
    for length in (50, -5, 2**31 - 1, 2**31):
        lying = [record(b"a", 0), record(b"b", 1, length=length), record(b"c", 2)]
        assert produce(kafka_bootstrap, topic, batch(lying, codec)) == 0
    odd = [record(b"a", 0, headers=[(b"\xff", b"1")])]
    assert produce(kafka_bootstrap, topic, batch(odd, codec)) == 0
    long_ago = [record(b"a", 0, time_delta=-(2**63))]
    assert produce(kafka_bootstrap, topic, batch(long_ago, codec, first_timestamp=-(2**63))) == 0
    assert produce(kafka_bootstrap, topic, batch([record(b"last", 0)], codec)) == 0
    found = drained(member(), topic, 15)
    assert [one.offset for one in found] == list(range(15))
    told = ["!" if one.refused else (one.value or b"").decode() for one in found]
    assert told == [*"a!!" * 4, "a", "a", "last"]
    assert {one.refused.reason for one in found if one.refused} == {"corrupt"}
    assert found[13].timestamp_ms == 0


def test_a_position_in_the_middle_of_a_batch_is_read_on_from(
    kafka_bootstrap: str, topic: str, connection: KafkaConnection
) -> None:
    sent = zeros(100_000_000, "zstd", before=[b"a", b"b"], behind=[b"c", b"d"])
    assert produce(kafka_bootstrap, topic, sent) == 0
    admin = KafkaAdministration(connection)
    for offset in range(5):
        found = admin.read({TopicPartition(topic, 0): offset}, 10, 10.0)[TopicPartition(topic, 0)]
        assert [one.offset for one in found] == list(range(offset, 5))
        assert [one.offset for one in found if one.refused] == ([2] if offset <= 2 else [])


def test_the_limits_of_the_job_are_those_of_the_reader(
    kafka_bootstrap: str, topic: str, connection: KafkaConnection
) -> None:
    sent = zeros(30_000_000, "zstd", before=[b"a"], behind=[b"b"])
    assert produce(kafka_bootstrap, topic, sent) == 0
    for limits, told in (
        (Limits(max_record_bytes=30_000_001), "a0b"),
        (Limits(max_record_bytes=30_000_000), "a0b"),  # within a MiB more it is read, and the job looks at it
        (Limits(max_record_bytes=20_000_000), "a!b"),
        (Limits(max_unpacked_bytes=20_000_000), "a!!"),
    ):
        group = KafkaGroup(group_id=f"g-{uuid.uuid4().hex[:8]}", instance_id="one", limits=limits)
        broker = KafkaBroker(connection, group)
        try:
            found = drained(broker, topic, 3)
        finally:
            broker.close(5.0)
        values = ["!" if one.refused else (one.value or b"")[:1].decode() for one in found]
        assert "".join(values).replace("\0", "0") == told
