"""Are checkpoints felt? Memory and the longest batch while they are made, a stop, and a restore, by number of streams.

    python -m tests.bench.checkpoints                              1,000, 100,000 and 1,000,000 streams
    python -m tests.bench.checkpoints --streams 100000 --seconds 60
    python -m tests.bench.checkpoints --beside ../before           the same script run in another checkout

A partition of the plain job (two fields, LSTM 32) at full speed: batches of 5,000 records of random streams, straight
through learner and partition, and a checkpoint every ``--records`` of them, which is about every 20 s. Memory is the
process's: "idle" is before the first checkpoint. A batch is what lies between two looks at the log; beside its records
it pays for whatever of a checkpoint is done on the loop's thread, which is the rest of it. Where others are busy, the
thread's time on a processor says more than the clock's. At the end a stop, as by SIGTERM with everything changed since
the last checkpoint, until all is durable; and a restore, by a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon import collector
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.restored import Restoring
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from streamrnn.learner.block import Block

try:
    from streamrnn.daemon.saving import Copier
except ImportError:  # another checkout, from before
    Copier = None

BATCH = 5_000
RECORDS = 600_000
TP = TopicPartition("p.in", 0)
LINEAGE = "20250309-0123abcd"

JOB = """
job: plain
kafka: {{bootstrap_servers: "127.0.0.1:9092"}}
input: {{topic: p.in}}
features:
  - {{field: temp, encoder: numeric}}
  - {{field: load, encoder: numeric}}
target: {{fields: [power]}}
streams: {{max_streams: {streams}}}
output: {{topic: p.out, dead_letter_topic: p.dead}}
checkpoint: {{directory: {directory}}}
"""


def config_of(directory: Path, streams: int) -> Config:
    """The job, with its checkpoints in a directory of its own."""
    return parse(JOB.format(streams=streams, directory=directory), env={})


def megabytes(field: str) -> int:
    """What the system says of this process's memory: ``VmRSS``, now; ``VmHWM``, the most since ``forget_most``."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


def forget_most() -> None:
    """The most memory is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")


class Traffic:
    """Blocks of random streams' records."""

    def __init__(self, streams: int) -> None:
        self._keys = [b"sensor-%d" % i for i in range(streams)]
        self._rng, self._now = np.random.default_rng(0), 0

    def all_once(self, batch: int) -> Sequence[Block]:
        """A record of each stream."""
        return [self._block(self._keys[a : a + batch]) for a in range(0, len(self._keys), batch)]

    def some(self, batch: int) -> Block:
        """Records of streams drawn at random."""
        return self._block([self._keys[i] for i in self._rng.integers(0, len(self._keys), batch).tolist()])

    def _block(self, keys: list[bytes]) -> Block:
        n, rng = len(keys), self._rng
        self._now += n
        times = 10 * np.arange(self._now - n, self._now)
        return Block.events(keys, rng.standard_normal((n, 2)), rng.standard_normal((n, 1)), time_ms=times)


class Run:
    """A partition that is given blocks as the loop would: learned from, committed, checkpointed when that is due."""

    def __init__(self, config: Config, streams: int) -> None:
        job = Job(config)
        start = Start(lineage=LINEAGE, position=0, ordinal=0, replay_until=0)
        self.traffic = Traffic(streams)
        metrics = Metrics(CollectorRegistry())
        self.partition = Partition(job, TP, metrics, job.learner(TP), start)
        self.partition.caught_up = True
        self.copier = Copier(metrics) if Copier is not None else None
        self.batches_ms: list[float] = []
        self.learning_ms: list[float] = []
        self.copying_ms: list[float] = []
        self.pauses_ms: list[float] = []
        self.wanted = False
        for block in self.traffic.all_once(BATCH):
            self.batch(block)
        for values in (self.batches_ms, self.learning_ms, self.copying_ms):
            values.clear()

    def batch(self, block: Block, checkpoint: bool = False) -> None:
        """A turn of the loop."""
        partition, began, cpu_s = self.partition, time.perf_counter(), time.thread_time()
        partition.learner.process(block)
        learned_s = time.thread_time()
        partition.position += len(block)
        partition.ordinal += len(block)
        partition.committed = partition.position
        if self.copier is not None:
            partition.saving.learned(len(block))
        self.wanted |= checkpoint
        if self.wanted and (self.copier is None or partition.saving.writer.idle):  # as the loop decides
            self.wanted, paused = False, time.thread_time()
            self.checkpoint()
            self.pauses_ms.append(1000 * (time.thread_time() - paused))
        if self.copier is not None:
            self.copier.go_on([partition])
        self.copying_ms.append(1000 * (time.thread_time() - learned_s))
        self.learning_ms.append(1000 * (learned_s - cpu_s))
        self.batches_ms.append(1000 * (time.perf_counter() - began))

    def checkpoint(self) -> None:
        """Begin one. In checkouts from before there was anything to copy bit by bit: make one."""
        partition = self.partition
        if self.copier is None:
            partition.checkpoint()
        else:
            partition.saving.asked = True
            self.copier.begin_due([partition])

    def random(self, records: int, every: int | None = None) -> None:
        """So many records of random streams, with a checkpoint behind every so many."""
        for at in range(BATCH, records + 1, BATCH):
            self.batch(self.traffic.some(BATCH), every is not None and at % every == 0)

    def longest(self) -> str:
        """What the batches since the last call took."""
        told = []
        for name, values in (("", self.batches_ms), ("learning ", self.learning_ms), ("the rest ", self.copying_ms)):
            middle, high, most = np.quantile(values, (0.5, 0.99, 1.0))
            told.append(f"{name}median {middle:.1f} ms, 99 % {high:.1f}, longest {most:.1f}")
            values.clear()
        return f"{told[0]}\n    on a processor {', '.join(told[1:])}"


def measure(directory: Path, streams: int, every: int, checkpoints: int) -> None:
    """Print what making checkpoints costs, and what a stop does; leaves the last one for ``restore``."""
    with collector.seldom():
        run = Run(config_of(directory, streams), streams)
        collector.freeze()
        run.random(100 * BATCH)
        idle = megabytes("VmRSS")
        print(f"{streams:,} streams\n  without checkpoints: {idle} MB; a batch: {run.longest()}", flush=True)
        forget_most()
        cpu_s = time.process_time()
        run.random(every * checkpoints + every // 2, every)
        cpu_us = 1e6 * (time.process_time() - cpu_s) / (every * checkpoints + every // 2)
        pauses = ", ".join(f"{pause:.1f}" for pause in run.pauses_ms)
        most = megabytes("VmHWM")
        print(f"  with: at most {most} MB ({most / idle:.2f} of it); a batch: {run.longest()}", flush=True)
        print(f"    begun in {pauses} ms of processor; {cpu_us:.1f} us of processor a record", flush=True)
        stop(run)


def stop(run: Run) -> None:
    """As the loop does when it is told to."""
    forget_most()
    began, cpu_s = time.perf_counter(), time.process_time()
    if run.copier is None:
        run.checkpoint()
    else:
        run.partition.saving.last()
    durable = run.partition.close(600.0)
    took, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    size = sum(path.stat().st_size for path in Path(run.partition.job.config.checkpoint.directory).rglob("*.safe*"))
    print(f"  stop: {'durable' if durable else 'NOT durable'} after {took:.1f} s, {cpu_s:.1f} s of processor, at most "
          f"{megabytes('VmHWM')} MB; all that is stored: {size / 1e6:.0f} MB", flush=True)  # fmt: skip


def restore(directory: Path, streams: int) -> None:
    """Print how long it takes until the learner of the newest checkpoint is there."""
    job = Job(config_of(directory, streams))
    job.learner(TP)  # so that loading the kernels is not counted
    forget_most()
    before, began, cpu_s = megabytes("VmRSS"), time.perf_counter(), time.process_time()
    made = job.checkpoints(TP).use_newest(LINEAGE, Restoring(job, TP)).made
    took, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    assert made is not None
    print(f"  restore: {took:.1f} s, {cpu_s:.1f} s of processor; {megabytes('VmRSS') - before} MB more, at most "
          f"{megabytes('VmHWM') - before}; {len(made.learner.streams):,} streams", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report, each measurement made by a process of its own."""
    parser = argparse.ArgumentParser(description="Measure what checkpoints cost, by number of streams.")
    parser.add_argument("--streams", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--records", type=int, default=RECORDS, help="between two checkpoints (default 600,000)")
    parser.add_argument("--checkpoints", type=int, default=3, help="how many are made (default 3)")
    parser.add_argument("--beside", type=Path, help="another checkout, in which the same is run first")
    options = parser.parse_args(arguments)
    if options.beside is not None:
        given = [*(f"{n}" for n in options.streams)]
        command = [sys.executable, "-P", Path(__file__).resolve(), "--streams", *given,
                   "--records", f"{options.records}", "--checkpoints", f"{options.checkpoints}"]  # fmt: skip
        print(f"in {options.beside}:", flush=True)
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(options.beside.resolve())})
        print("here:", flush=True)
    spawn = multiprocessing.get_context("spawn")
    for streams in options.streams:
        with tempfile.TemporaryDirectory() as scratch:
            for work, given in (
                (measure, (Path(scratch), streams, options.records, options.checkpoints)),
                (restore, (Path(scratch), streams)),
            ):
                process = spawn.Process(target=work, args=given)
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
