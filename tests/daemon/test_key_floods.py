"""Keys that were made up cost no more memory than is stated: measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamrnn.learner.lowering import bytes_per_slot, most_bytes
from tests.support.jobs import job

FEATURES, STREAMS = "[{field: a, encoder: numeric}]", "{max_streams: 20000%s}"

CHILD = """
import sys
from pathlib import Path
from prometheus_client import CollectorRegistry
from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.job.job import Job
from tests.support.jobs import job

tp = TopicPartition("in", 0)
made = Job(job(features=sys.argv[1], streams=sys.argv[2]))
start = Start(lineage="a", position=0, ordinal=0, replay_until=0)
partition = Partition(made, tp, Metrics(CollectorRegistry()), made.first_learner(tp), start)

def give(n, length):
    for first in range(partition.position, partition.position + n, 50):
        numbers = range(first, first + 50)
        keys = ((b"%d-" % i).ljust(length, b".") for i in numbers)
        records = [Record("in", 0, i, i, key, b'{"a": 1, "y": 1}') for i, key in zip(numbers, keys)]
        partition.process(Records.of(records))
        partition.outputs.clear()

def highest():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])

give(200, 20)
before = highest()
give(int(sys.argv[3]), int(sys.argv[4]))
print(highest() - before, partition.learner.progress().key_bytes, len(partition.learner.streams))
"""


def flooded(streams: str, records: int, length: int) -> tuple[int, int, int]:
    """Growth of the process by so many records, each of a new key of this length; bytes of keys, streams."""
    arguments = [FEATURES, streams, str(records), str(length)]
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=True, capture_output=True, text=True)
    grown, key_bytes, remembered = map(int, done.stdout.split())
    return grown, key_bytes, remembered


@pytest.mark.slow
def test_records_of_long_keys_take_no_memory() -> None:
    grown, key_bytes, remembered = flooded(STREAMS % "", 4000, 60_000)  # 240 MB of keys
    assert grown < 15_000_000
    assert (remembered, key_bytes < 10_000) == (200, True)


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["", ", max_bytes: 40000000"])
def test_the_longest_keys_allowed_take_what_the_bound_says(limit: str) -> None:
    streams = STREAMS % limit
    config = job(features=FEATURES, streams=streams)
    bound = most_bytes(config.learner_spec(), config.input.max_key_bytes)
    grown, key_bytes, remembered = flooded(streams, 40_000, 1024)
    assert key_bytes == pytest.approx(1024 * remembered, rel=0.01)
    assert remembered == pytest.approx(bound / (bytes_per_slot(config.learner_spec()) + 1024), rel=0.01)
    assert grown < bound + 15_000_000
