"""How long partitions are silent while workers come and go, on a real Kafka.

    python -m tests.bench.rebalance                          every scenario, a Kafka started for it (Java 17 and Maven)
    python -m tests.bench.rebalance --only join rolling      some of them
    python -m tests.bench.rebalance --bootstrap HOST:PORT    a real Kafka that runs
    python -m tests.bench.rebalance --streamrnn ../before/.venv/bin/streamrnn    another checkout's workers

Some workers, each a ``streamrnn run`` of its own, share six partitions under 300 records a second, and something
happens to them. A partition is silent between two predictions that the broker appended one after the other; records
come every 20 ms, so what is longer is the rebalance. Predictions sent again do not break a silence. The longest one of
any partition counts, apart for those that stayed with their worker all the time and those that moved.

Further columns: "refused", commits that met a change of the group; "false", learners restored though their partition
had not moved; "repeated", predictions sent twice; "lost", records never predicted.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import Record
from streamrnn.daemon.opening import open_broker
from streamrnn.demo.log import read_all
from streamrnn.job.job_file import parse
from tests.bench.end_to_end import kafka

PARTITIONS, RATE = 6, 300
WORKERS = ("one", "two", "three", "four")
SETTLED_S = 5.0  # of undisturbed running before and after something happens
DEADLINE_S = 90.0

JOB = """
job: {job}
kafka: {{bootstrap_servers: '{bootstrap}', group_instance_id: {instance}, {settings}}}
input: {{topic: {job}-in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{cell: gru, hidden_size: 8}}
learning: {{k1: 2, k2: 8}}
streams: {{max_streams: 1000}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {directory}/checkpoints}}
http: null
"""


class Feed(threading.Thread):
    """Writes ``RATE`` records a second, to the partitions in turn, until told to stop."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._sender, self._topic = KafkaSender(KafkaConnection(bootstrap_servers=bootstrap)), topic
        self._ended = threading.Event()
        self.written = [0] * PARTITIONS

    def run(self) -> None:
        began_s, n = time.monotonic(), 0
        while not self._ended.wait(0.005):
            while n < RATE * (time.monotonic() - began_s):
                partition = n % PARTITIONS
                value = json.dumps({"a": n % 17, "y": n % 5}).encode()
                self._sender.send(self._topic, b"%d" % (n % 60), value, partition=partition)
                self.written[partition] += 1
                n += 1
        self._sender.flush(30.0)
        self._sender.close(5.0)

    def stop(self) -> None:
        self._ended.set()
        self.join(60.0)


class Group:
    """The workers of one job on the cluster, by name, and what they say."""

    def __init__(self, bootstrap: str, directory: Path, command: list[str], settings: str) -> None:
        self.job, self.directory, self.bootstrap = f"bench-{uuid.uuid4().hex[:8]}", directory, bootstrap
        self._command, self._settings = command, settings
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._said: dict[str, int] = {}  # by earlier processes of that name
        stamped = {"message.timestamp.type": "LogAppendTime"}
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
            topics = [f"{self.job}-{name}" for name in ("in", "out", "dead")]
            admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=stamped) for name in topics])

    def text(self, instance: str) -> str:
        return JOB.format(
            job=self.job, bootstrap=self.bootstrap, instance=instance, directory=self.directory, settings=self._settings
        )

    def start(self, *names: str) -> None:
        for name in names:
            file = self.directory / f"{name}.yaml"
            file.write_text(self.text(name))
            self._said[name] = len(self.says(name))
            with (self.directory / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [*self._command, "run", "-c", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def end(self, *names: str, kill: bool = False) -> None:
        ended = [self._running.pop(name) for name in names]
        for process in ended:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        for process in ended:
            process.wait(DEADLINE_S)

    def stall(self, name: str, seconds: float) -> None:
        """Keep a worker from doing anything for a while, its heartbeats included."""
        self._running[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._running[name].send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.end(*self._running, kill=True)

    def says(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_until_at_work(self, *names: str) -> None:
        """Until each of these workers, just started, has caught up on a partition."""
        deadline = time.monotonic() + DEADLINE_S
        for name in names:
            while ": caught up at offset" not in self.says(name)[self._said[name] :]:
                if time.monotonic() > deadline or self._running[name].poll() is not None:
                    raise SystemExit(f"{name} is not at work:\n{self.says(name)[-3000:]}")
                time.sleep(0.1)


def join(group: Group) -> None:
    """A third worker joins two."""
    group.start("three")
    group.wait_until_at_work("three")


def returns(group: Group) -> None:
    """A worker comes back after its partitions have moved."""
    group.start("three")
    group.wait_until_at_work("three")


def rolling(group: Group) -> None:
    """Each of three is stopped and started again, one after the other."""
    for name in ("one", "two", "three"):
        group.end(name)
        group.start(name)
        group.wait_until_at_work(name)
        time.sleep(SETTLED_S)


def stop_two(group: Group) -> None:
    """Two of three are stopped at once."""
    group.end("two", "three")


def kill(group: Group) -> None:
    """One of three dies."""
    group.end("three", kill=True)


def scale_out(group: Group) -> None:
    """Three workers join one at the same moment."""
    group.start("two", "three", "four")
    group.wait_until_at_work("two", "three", "four")


def stalled(group: Group) -> None:
    """One of three is held for longer than its session, then goes on."""
    group.stall("three", 15.0)


def _one(group: Group) -> None:
    group.start("one")
    group.wait_until_at_work("one")


def _two(group: Group) -> None:
    group.start("one", "two")
    group.wait_until_at_work("one", "two")


def _three(group: Group) -> None:
    _two(group)
    group.start("three")
    group.wait_until_at_work("three")
    time.sleep(SETTLED_S)


def _two_of_three(group: Group) -> None:
    _three(group)
    group.end("three")
    time.sleep(SETTLED_S + 12.0)  # beyond the session of the one that left


SCENARIOS: dict[str, tuple[Callable[[Group], None], Callable[[Group], None], float]] = {
    "join": (_two, join, 15.0),
    "return": (_two_of_three, returns, 15.0),
    "rolling": (_three, rolling, 10.0),
    "stop two": (_three, stop_two, 25.0),
    "kill": (_three, kill, 20.0),
    "scale out": (_one, scale_out, 15.0),
    "stalled": (_three, stalled, 15.0),
}
"""What comes before, what is measured, and for how many seconds it is watched afterwards."""


@dataclasses.dataclass(frozen=True)
class Result:
    stayed_s: float
    moved_s: float
    moved: int
    refused: int
    false: int
    repeated: int
    lost: int

    def row(self, name: str) -> str:
        stayed = "" if self.moved == PARTITIONS else f"{self.stayed_s:.1f}"
        moved = f"{self.moved_s:.1f}" if self.moved else ""
        counts = f"{self.refused} | {self.false} | {self.repeated} | {self.lost}"
        return f"| {name} | {stayed} | {moved} | {self.moved} | {counts} |"


HEAD = """| | stayed, s | moved, s | partitions moved | refused | false | repeated | lost |
|---|--:|--:|--:|--:|--:|--:|--:|"""


def measure(name: str, bootstrap: str, directory: Path, command: list[str], settings: str) -> Result:
    """Run one scenario."""
    before, happens, watched_s = SCENARIOS[name]
    group = Group(bootstrap, directory, command, settings)
    feed = Feed(bootstrap, f"{group.job}-in")
    try:
        feed.start()
        before(group)
        time.sleep(SETTLED_S)
        read = {worker: len(group.says(worker)) for worker in WORKERS}
        began_ms = 1000 * time.time()
        happens(group)
        time.sleep(watched_s)
        ended_ms = 1000 * time.time()
        feed.stop()
        logs = [group.says(worker)[length:] for worker, length in read.items()]
        time.sleep(SETTLED_S)
    finally:
        group.close()
    config = parse(group.text("reader"), env={})
    out = list(read_all(open_broker(config, f"{group.job}-reader"), config.output.topic))
    return judge(out, logs, feed.written, began_ms, ended_ms)


def judge(out: list[Record], logs: list[str], written: list[int], began_ms: float, ended_ms: float) -> Result:
    """What the outputs and the logs of one scenario say."""
    appended: list[dict[int, int]] = [{} for _ in range(PARTITIONS)]
    for record in out:
        appended[record.partition].setdefault(json.loads(record.value or b"")["offset"], record.timestamp_ms)
    text = "\n".join(logs)
    assigned = [int(p) for line in re.findall(r": assigned: (.*)", text) for p in re.findall(r"-in/(\d+)", line)]
    restored = len(re.findall(r": restored the checkpoint at", text))
    silences = [silence_s(sorted(times.values()), began_ms, ended_ms) for times in appended]
    moved = set(assigned)
    return Result(
        stayed_s=max((silences[p] for p in range(PARTITIONS) if p not in moved), default=0.0),
        moved_s=max((silences[p] for p in moved), default=0.0),
        moved=len(moved),
        refused=text.count("the group changed during a commit"),
        false=max(0, restored - len(assigned)),
        repeated=len(out) - sum(map(len, appended)),
        lost=sum(written) - sum(map(len, appended)),
    )


def silence_s(times: list[int], began_ms: float, ended_ms: float) -> float:
    """The longest silence between two times, of what was broken after ``began_ms`` and began before ``ended_ms``."""
    times = [*times, max(round(ended_ms), times[-1])] if times else []
    pairs = itertools.pairwise(times)
    return max(((b - a) / 1000 for a, b in pairs if b >= began_ms and a <= ended_ms), default=0.0)


@contextlib.contextmanager
def _kafka(bootstrap: str | None) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        yield bootstrap or stack.enter_context(kafka(Path(scratch)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each scenario."""
    parser = argparse.ArgumentParser(description="Measure how long partitions are silent while workers come and go.")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="scenarios to run")
    parser.add_argument("--bootstrap", help="HOST:PORT of a Kafka that runs; topics are created on it")
    parser.add_argument("--streamrnn", help="command to run as a worker (default: this checkout's)")
    parser.add_argument("--settings", default="session_timeout_s: 10", help="further settings of the section kafka")
    parser.add_argument("--keep", type=Path, help="keep job files and logs in this directory")
    options = parser.parse_args(arguments)
    ours = [sys.executable, "-c", "from streamrnn.cli import main; main()"]
    command = shlex.split(options.streamrnn) if options.streamrnn else ours
    print(HEAD, flush=True)
    with _kafka(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            directory = (options.keep or Path(scratch)).resolve() / name.replace(" ", "-")
            directory.mkdir(parents=True)
            print(measure(name, bootstrap, directory, command, options.settings).row(name), flush=True)


if __name__ == "__main__":
    main()
