"""Checkpoints are begun when they are due, copied while records go on, and given up for the last one."""

from __future__ import annotations

import itertools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.restored import Restoring
from streamrnn.daemon.saving import COPY_S, GIVE_UP_S, HURRY_S, LATE_S, Copier
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from streamrnn.learner import copying
from streamrnn.learner.block import Block
from streamrnn.learner.foundation import Foundation
from tests.support.learners import bits_of, differing
from tests.support.segments import make_segments_tiny

JOB = """
job: j
kafka: {{bootstrap_servers: "localhost:9092"}}
input: {{topic: in}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 2}}
streams: {{max_streams: 40}}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {directory}, max_replay_records: 20}}
"""
LINEAGE = "20250309-0123abcd"
STREAMS = 20
LABELS = {"topic": "in", "partition": "0"}


@pytest.fixture(autouse=True)
def _tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    make_segments_tiny(monkeypatch)


class Refusing:
    """NumPy, which refuses new arrays of so many rows."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        if shape[0] == self._rows:
            raise MemoryError(f"unable to allocate {shape}")
        return np.empty(shape, dtype)


class Worker:
    """Partitions that learn from blocks, and a copier that is given one segment a turn."""

    def __init__(self, directory: Path, partitions: int = 1) -> None:
        self.job, self.metrics = Job(parse(JOB.format(directory=directory), env={})), Metrics(CollectorRegistry())
        self.partitions = [self._partition(TopicPartition("in", n)) for n in range(partitions)]
        # Each call takes longer than the share of the time that it may copy for, so it copies one segment.
        self.copier = Copier(self.metrics, itertools.count(step=1e-4).__next__)

    def _partition(self, tp: TopicPartition) -> Partition:
        start = Start(lineage=LINEAGE, position=0, ordinal=0, replay_until=0)
        partition = Partition(self.job, tp, self.metrics, self.job.learner(tp), start)
        partition.caught_up = True
        return partition

    def learn(self, partition: Partition, streams: int = STREAMS) -> None:
        rng, n = np.random.default_rng(partition.position), partition.position
        keys = [b"s%d" % i for i in range(streams)]
        partition.learner.process(Block.events(keys, rng.normal(size=(streams, 1)), rng.normal(size=(streams, 1))))
        partition.position = partition.ordinal = partition.committed = n + streams
        partition.saving.learned(streams)

    def copy(self) -> None:
        """Until nothing is left to copy or to write."""
        give_up = time.monotonic() + 30.0
        while self.copier.busy(self.partitions) or not all(p.saving.writer.idle for p in self.partitions):
            assert time.monotonic() < give_up, "a checkpoint is never done"
            self.copier.go_on(self.partitions)
            time.sleep(0.001)

    def positions(self, number: int = 0) -> list[int]:
        return self.job.checkpoints(TopicPartition("in", number)).positions(LINEAGE)

    def restored(self, number: int = 0) -> Foundation:
        tp = TopicPartition("in", number)
        made = self.job.checkpoints(tp).use_newest(LINEAGE, Restoring(self.job, tp)).made
        assert made is not None
        return made.learner


def test_a_restored_learner_is_the_one_of_when_the_checkpoint_began(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    before = bits_of(partition.learner)
    worker.copier.begin_due(worker.partitions)
    worker.learn(partition)
    worker.copy()
    assert worker.positions() == [STREAMS]
    assert differing(bits_of(worker.restored()), before) == []
    assert differing(bits_of(partition.learner), before) != []


def test_none_begins_while_one_is_copied(tmp_path: Path) -> None:
    worker = Worker(tmp_path, partitions=2)
    for partition in worker.partitions:
        worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    worker.copier.begin_due(worker.partitions)
    assert [partition.saving.copying for partition in worker.partitions] == [True, False]
    worker.learn(worker.partitions[0])
    assert not worker.partitions[0].saving.due()
    worker.copy()
    assert worker.partitions[0].saving.due()
    worker.copier.begin_due(worker.partitions[1:])
    worker.copy()
    assert worker.positions(1) == [STREAMS]


def test_a_checkpoint_is_due_only_at_the_committed_position(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    assert not partition.saving.due(), "nothing was learned"
    worker.learn(partition, streams=19)
    assert not partition.saving.due(), "too little was learned"
    worker.learn(partition)
    assert partition.saving.due()
    partition.position += 1
    assert not partition.saving.due()


def test_the_last_checkpoint_is_complete_at_once_and_overtakes_one_under_way(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    worker.copier.go_on(worker.partitions)
    worker.learn(partition, streams=3)
    partition.saving.last()
    assert partition.close(30.0)
    assert worker.positions() == [STREAMS + 3]
    assert differing(bits_of(worker.restored()), bits_of(partition.learner)) == []


def test_one_under_way_is_copied_to_its_end_before_a_partition_closes(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    before = bits_of(partition.learner)
    worker.copier.begin_due(worker.partitions)
    worker.learn(partition)
    partition.position += 1  # as at a stop in a rebalance: something is not committed
    assert not partition.saving.possible
    assert partition.close(30.0)
    assert worker.positions() == [STREAMS]
    assert differing(bits_of(worker.restored()), before) == []


def test_one_under_way_is_more_than_what_is_durable_even_where_no_record_has_come_since(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    assert partition.saving.changed
    worker.copy()
    assert not partition.saving.changed


def test_one_that_there_is_no_time_to_copy_is_not_called_durable(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    assert not partition.close(0.0)
    assert not partition.close(30.0)
    assert worker.positions() == []


def test_a_disk_that_hangs_keeps_a_partition_that_closes_no_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    disk = threading.Event()
    monkeypatch.setattr(partition.saving.writer._store, "write", lambda *_, **__: disk.wait(30.0))
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    assert not partition.close(0.05)
    disk.set()


def test_each_partition_has_its_turn_where_copies_span_turns(tmp_path: Path) -> None:
    worker, behind = Worker(tmp_path, partitions=3), []
    for _ in range(12):
        for partition in worker.partitions:
            worker.learn(partition)
        worker.copier.begin_due(worker.partitions)  # as after each commit
        worker.copy()
        behind.append(max(partition.saving.records for partition in worker.partitions))
    assert [len(worker.positions(number)) for number in range(3)] == [3, 3, 3]  # of 4, as many as are retained
    assert max(behind) == 2 * STREAMS
    for partition in worker.partitions:
        partition.close(30.0)


@pytest.mark.parametrize("refused", ["put aside", "segment"])
def test_where_there_is_no_memory_for_a_copy_one_checkpoint_fails_and_records_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    with monkeypatch.context() as context:
        rows = {"put aside": STREAMS, "segment": 2}[refused]
        context.setattr(copying, "np", Refusing(rows))
        worker.copier.begin_due(worker.partitions)
        worker.learn(partition, streams=3)
        worker.copy()
    assert partition.position == STREAMS + 3
    assert "checkpoint at 20 failed" in caplog.text
    assert "no memory for a copy" in caplog.text
    assert partition.saving.changed
    (outcome,) = partition.saving.writer.outcomes()
    assert outcome.manifest is None
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    assert worker.positions() == [2 * STREAMS + 3]
    assert differing(bits_of(worker.restored()), bits_of(partition.learner)) == []


def test_segments_of_one_that_could_not_be_begun_are_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    worker.learn(partition, streams=STREAMS + 1)  # room for the others was kept
    with monkeypatch.context() as context:
        context.setattr(copying, "np", Refusing(STREAMS + 1))
        worker.copier.begin_due(worker.partitions)
    worker.learn(partition, streams=1)
    partition.saving.last()
    assert partition.close(30.0)
    assert differing(bits_of(worker.restored()), bits_of(partition.learner)) == []


def test_nobody_waits_for_what_cannot_be_copied_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    disk, now = threading.Event(), [0.0]
    monkeypatch.setattr(partition.saving.writer._store, "write", lambda *_, **__: disk.wait(30.0))
    copier = Copier(worker.metrics, lambda: now[0])
    worker.learn(partition)
    copier.begin_due(worker.partitions)
    for hurries in (True, True, False):  # segments come in the first two turns, until there is no room for more
        copier.go_on(worker.partitions)
        now[0] += HURRY_S / 2
        assert copier.hurries(worker.partitions) is hurries
    assert copier.busy(worker.partitions)
    disk.set()
    partition.close(30.0)


def test_a_disk_that_hangs_for_one_partition_keeps_others_waiting_for_so_long_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(tmp_path, partitions=2)
    hanging, other = worker.partitions
    disk, now, write = threading.Event(), [0.0], hanging.saving.writer._store.write

    def write_later(*args: Any, **settings: Any) -> Any:
        disk.wait(30.0)
        return write(*args, **settings)

    monkeypatch.setattr(hanging.saving.writer._store, "write", write_later)
    copier = Copier(worker.metrics, lambda: now[0])
    for partition in worker.partitions:
        worker.learn(partition)
    copier.begin_due(worker.partitions)
    for waited_s in (0.0, 0.0, 0.0, 0.0, *range(1, round(GIVE_UP_S))):  # in the first four there is room for a segment
        now[0] = waited_s
        copier.go_on(worker.partitions)
        copier.begin_due(worker.partitions)
        assert [partition.saving.copying for partition in worker.partitions] == [True, False]
    now[0] = GIVE_UP_S
    copier.go_on(worker.partitions)
    copier.begin_due(worker.partitions)
    assert [partition.saving.copying for partition in worker.partitions] == [False, True]
    assert hanging.saving.changed
    assert not hanging.saving.due(), "the disk has not done with the one before"
    while other.saving.copying or not other.saving.writer.idle:
        worker.copier.go_on([other])
    assert worker.positions(1) == [STREAMS]
    (outcome,) = hanging.saving.writer.outcomes()
    assert "took nothing of it for 30 s" in str(outcome.error)
    disk.set()
    while not hanging.saving.writer.idle:
        time.sleep(0.001)
    assert hanging.saving.writer.outcomes() == [], "it is told once"
    assert caplog.text.count("checkpoint at 20 failed") == 1
    worker.learn(hanging)
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    assert worker.positions() == [2 * STREAMS]
    assert differing(bits_of(worker.restored()), bits_of(hanging.learner)) == []


def test_a_process_that_was_halted_gives_no_copy_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    disk, now, write = threading.Event(), [0.0], partition.saving.writer._store.write
    monkeypatch.setattr(
        partition.saving.writer._store, "write", lambda *given, **named: disk.wait(30.0) and write(*given, **named)
    )
    copier = Copier(worker.metrics, lambda: now[0])
    worker.learn(partition)
    copier.begin_due(worker.partitions)
    for halted_s in (0.0, 0.0, 0.0, 0.0, 10 * GIVE_UP_S, 1.0, 10 * GIVE_UP_S, 1.0):
        now[0] += halted_s
        copier.go_on(worker.partitions)
    assert partition.saving.copying
    disk.set()
    worker.copy()
    assert worker.positions() == [STREAMS]
    (outcome,) = partition.saving.writer.outcomes()
    assert outcome.error is None


@pytest.mark.parametrize("fails", [False, True])
def test_a_write_that_hangs_after_all_is_copied_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    disk, write = threading.Event(), partition.saving.writer._store.write

    def write_later(*args: Any, **settings: Any) -> Any:
        disk.wait(30.0)
        if fails:
            raise OSError("the disk is gone")
        return write(*args, **settings)

    monkeypatch.setattr(partition.saving.writer._store, "write", write_later)
    worker.learn(partition, streams=2)  # a single segment
    partition.saving.asked = True
    copier = Copier(worker.metrics, itertools.count(step=LATE_S / 4).__next__)
    copier.begin_due(worker.partitions)
    assert not partition.saving.copying
    for _ in range(400):
        copier.go_on(worker.partitions)
    partition.show(0)
    assert "took nothing of it for 30 s" in caplog.text
    disk.set()
    worker.copy()
    partition.show(0)
    assert caplog.text.count("checkpoint at 2 failed") == 1
    failures = worker.metrics.registry.get_sample_value("streamrnn_checkpoint_failures_total", LABELS)
    assert failures == 1
    assert worker.positions() == ([] if fails else [2])
    assert partition.saving.writer.behind is fails


def test_partitions_share_the_memory_of_what_is_put_aside(tmp_path: Path) -> None:
    worker, kept = Worker(tmp_path, partitions=3), []
    for partition in worker.partitions * 2:
        worker.learn(partition)
        partition.saving.asked = True
        worker.copier.begin_due([partition])
        copy = partition.learner._copy
        assert copy is not None
        worker.learn(partition, streams=2)
        worker.copy()
        assert copy._aside.arrays == {}
        kept.append(worker.copier._spare.arrays["state"])
    assert len({id(array) for array in kept}) == 1


def test_after_a_failure_the_next_checkpoint_holds_what_was_not_written(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    worker.learn(partition)
    partition.learner._per_stream.y_m2[7] = -1.0
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    assert partition.saving.writer.behind
    assert not partition.saving.copying
    partition.learner._per_stream.y_m2[7] = 1.0
    worker.learn(partition, streams=20)
    worker.copier.begin_due(worker.partitions)
    worker.copy()
    assert worker.positions() == [STREAMS, 3 * STREAMS]
    assert differing(bits_of(worker.restored()), bits_of(partition.learner)) == []


def test_a_little_is_copied_at_a_time_but_a_segment_at_least(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (partition,) = worker.partitions
    worker.learn(partition)
    partition.saving.begin()
    arriving = partition.saving._arriving
    assert arriving is not None
    # Left at 0; asked at 10, and again after each segment, each of which takes so long:
    for took_s, segments in ((1.0, 1), (0.9 * COPY_S, 2)):
        ticks, left = iter([0.0, 10.0, *(10.0 + took_s * n for n in range(1, 9))]), len(arriving._copy.left)
        Copier(worker.metrics, lambda ticks=ticks: next(ticks)).go_on(worker.partitions)
        assert left - len(arriving._copy.left) == segments
    partition.close(30.0)
