"""Real flights through a real Kafka into a running ``streamrnn run``, which is stopped, killed and started again.

What it leaves is compared, bit for bit, with an uninterrupted run over the same records in an embedded log: seeds
derive from job, topic and partition, so the two must agree.
"""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.demo.flights import load_flights, stream_key
from tests.support.kafka_clients import CLIENT, CLIENTS
from tests.support.kafka_job import PARTITIONS, Message, Place, check, wait_for_log

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KILLS = int(os.environ.get("STREAMRNN_TEST_KILLS", "3"))

JOB = """
job: {job}
{log}
input: {{topic: {job}-departures}}
features:
  - {{field: minutes, encoder: cyclic, period: 1440}}
  - {{field: weekday, encoder: cyclic, period: 7}}
  - {{field: origin, encoder: onehot, categories: [EWR, JFK, LGA]}}
  - {{field: dest, encoder: hash, buckets: 16}}
  - {{field: distance, encoder: numeric}}
  - {{field: origin_delay, encoder: numeric}}
inputs: {{dt: false, previous_target: true}}
target: {{fields: [delay]}}
model: {{cell: lstm, hidden_size: 32, loss: absolute}}
learning: {{k1: 2, k2: 8}}
streams: {{max_streams: 6000}}
output: {{topic: {job}-predictions, dead_letter_topic: {job}-dead-letters}}
checkpoint: {{directory: {directory}/checkpoints, max_replay_records: {max_replay_records}}}
http: null
"""


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    """Key, value, timestamp and partition of 50,000 departures in order."""
    encode = json.JSONEncoder().encode
    found = []
    for flight in load_flights(50_000):
        key = stream_key(flight).encode()
        found.append((key, encode(flight).encode(), flight["timestamp"], zlib.crc32(key) % PARTITIONS))
    return found


@pytest.fixture
def place(kafka_bootstrap: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    client = getattr(request, "param", CLIENT)
    made = Place(kafka_bootstrap, tmp_path, JOB, max_replay_records=3_000, client=client)
    yield made
    made.close()


def test_fifty_thousand_flights_with_a_stop_in_the_middle(
    place: Place, messages: list[Message], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.produce(messages[:25_000])
    with place.running() as process:
        stopped_at = place.wait_for(12_000, process)
        place.stop(process)
    left = place.committed()
    assert stopped_at <= left < len(messages)
    place.produce(messages[25_000:])
    with place.running() as process:
        first = place.wait_for(left + 1, process)
        began = time.monotonic()
        place.wait_for(len(messages), process)
        rate = (len(messages) - first) / (time.monotonic() - began)
        place.stop(process)
    assert place.committed() == len(messages)
    check(place, messages, tmp_path / "embedded", duplicates=False)
    with capsys.disabled():
        print(f"\n  end to end on real Kafka: {rate:,.0f} records/s over {len(messages) - first:,} flights")


@pytest.mark.parametrize("place", CLIENTS, indirect=True)
def test_kills_lose_nothing_and_change_nothing(
    place: Place, messages: list[Message], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The worker is held while the rest of a portion arrives: there is work left when it is killed, however fast it was.
    size = 42_000 // KILLS
    produced = 0
    for first in range(0, KILLS * size, size):
        portion = messages[first : first + size]
        early = size * 5 // 7
        place.produce(portion[:early])
        with place.running() as process:
            place.wait_for(produced + size * 3 // 14, process)
            process.send_signal(signal.SIGSTOP)
            place.produce(portion[early:])
            process.kill()
            assert process.wait(10.0) == -signal.SIGKILL
        produced += len(portion)
        assert place.committed() < produced
    with place.running() as process:
        place.wait_for(produced, process)
        place.stop(process)
    repeated = check(place, messages[:produced], tmp_path / "embedded", duplicates=True)
    assert "replaying to" in (tmp_path / "worker.log").read_text()
    with capsys.disabled():
        print(f"\n  {KILLS} kills: {repeated} of {produced:,} predictions sent twice, none lost")


@pytest.mark.parametrize("place", CLIENTS, indirect=True)
def test_workers_that_come_and_go_hand_partitions_over_exactly(
    place: Place, messages: list[Message], tmp_path: Path
) -> None:
    with place.running("one") as one:
        place.produce(messages[:2_000])
        place.wait_for(2_000, one)
        with place.running("two") as two:
            wait_for_log(tmp_path, "restored the checkpoint", 1)  # a partition has moved
            place.produce(messages[2_000:6_000])
            place.wait_for(6_000, two)
            place.stop(one)
            assert "left the group; others have the partitions" in (tmp_path / "worker.log").read_text()
            place.produce(messages[6_000:9_000])
            place.wait_for(9_000, two)  # with the other partition, which its worker has left
            place.stop(two)
    check(place, messages[:9_000], tmp_path / "embedded", duplicates=True)


def test_two_workers_of_one_job_file_live_beside_each_other_on_one_host(
    place: Place, messages: list[Message], tmp_path: Path
) -> None:
    with place.running(None) as one, place.running(None) as two:
        place.produce(messages[:2_000])
        place.wait_for(2_000, one)
        wait_for_log(tmp_path, f"assigned: {place.job}", 2)  # each has got something
        place.produce(messages[2_000:6_000])
        place.wait_for(6_000, two)
        assert one.poll() is None
        place.stop(one)
        place.stop(two)
    assert "another process runs as" not in (tmp_path / "worker.log").read_text()
    check(place, messages[:6_000], tmp_path / "embedded", duplicates=True)
