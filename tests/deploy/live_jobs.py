"""Small jobs, each with something that a healthy one does not have, for a real Prometheus to see.

A ``Worker`` runs one on a thread of the test's process, over an embedded log that ``feed`` writes. Brokers that
misbehave stand in for broken clusters: a partition that does not move, one that is not restored, refused commits.

What a job shows lasts: in every record that is still to come, or in what has been counted. Where it would pass by
itself, the job waits with it until ``Worker.seen``: whoever looks may be slow.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec.structs import replace

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Broker, Commit, Membership, Polled, TopicPartition
from streamrnn.daemon.mark import Mark
from streamrnn.daemon.run import run_worker
from streamrnn.errors import BrokerError
from streamrnn.job.job_file import parse
from tests.support.refusing import RefusingBroker, of_late

STOP_TIMEOUT_S = 30.0
UNSEEN_S = 120.0  # nobody looks any more
IN = TopicPartition("in", 0)
START_MS = 1_700_000_000_000
JOB = """
job: {name}
{log}
input: {{topic: in}}
{sections}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {directory}/checkpoints, interval_s: {interval_s}, on_inexact: continue}}
http: {{port: {port}}}
"""
PLAIN = """
features: [{field: x, encoder: numeric}]
target: {fields: [y]}
model: {hidden_size: 4, readout: linear}
"""

Message = tuple[bytes, bytes]


def _message(key: str, **fields: Any) -> Message:
    return key.encode(), json.dumps(fields).encode()


def _plain() -> Iterator[Message]:
    chance = random.Random(1)
    for i in itertools.count():
        yield _message(f"s{i % 5}", x=chance.gauss(0, 1), y=math.sin(i / 9) + chance.gauss(0, 0.1))


def _labels() -> Iterator[Message]:
    """Labels in time, too late, of nothing, and events that never get one; each tenth record is no record."""
    for i in itertools.count():
        yield _message("s", id=f"e{i}", x=i % 7)
        if i % 3 == 0:
            yield _message("s", of=f"e{i}", y=i % 5)
        if i % 3 == 1 and i > 4:
            yield _message("s", of=f"e{i - 3}", y=i % 5)
        if i % 7 == 0:
            yield _message("s", of="nothing", y=0)
        if i % 10 == 0:
            yield b"s", b"{"


def _ramp() -> Iterator[Message]:
    """Always above what was there before, so that no interval holds."""
    for i in itertools.count():
        yield _message(f"s{i % 3}", x=i % 7, y=1.001**i)


def _walk() -> Iterator[Message]:
    chance, y = random.Random(2), 0.0
    for i in itertools.count():
        y += chance.gauss(0, 1)
        yield _message("s", x=i % 7, y=y)


def _classes() -> Iterator[Message]:
    for i in itertools.count():
        yield _message(f"s{i % 3}", x=i % 7, page=f"/{i % 4}", y="abc"[i % 3])


def _spoilt() -> Iterator[Message]:
    """Targets change their unit time and again, inputs are absurd in ever new ways, and a field never comes."""
    chance = random.Random(3)
    for i in itertools.count():
        x = chance.gauss(0, 1) if i % 40 < 30 else 10.0 ** (i // 40 % 250)
        yield _message(f"s{i % 5}", x=x, y=chance.gauss(1 if i % 1_000 < 600 else 40, 0.01))


def _infinite() -> Iterator[Message]:
    """Errors that are finite, and times the newest target, which is an input, are not in float32."""
    for i in itertools.count():
        yield _message("s", x=i % 7, y=(-1) ** i * 1e38)


def _crowd() -> Iterator[Message]:
    """First as many streams as nearly fill the store, for some time; then more than it holds."""
    for i in itertools.count():
        yield _message(f"s{i % (19 if i < 2_000 else 40)}", x=i % 7, y=i % 3)


class Kind(NamedTuple):
    """A kind of job: what it is fed with, its sections, the broker it has, and how often it makes a checkpoint."""

    records: Callable[[], Iterator[Message]]
    sections: str = PLAIN
    broker: Callable[[EmbeddedLog, str], Broker] = EmbeddedBroker
    interval_s: int = 1
    passing: str | None = None
    """The alert that it raises until it is seen, and not again."""


class Stuck(EmbeddedBroker):
    """Gives the first records, and says of the rest only that it is there."""

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        if self.position(IN) >= 20 if self._readers.get(IN) else False:
            time.sleep(timeout_s)
            return Polled({}, None, True)
        return super().poll(timeout_s, min(max_records, 20))

    def newest_timestamp(self, tp: TopicPartition) -> int | None:
        return max((record.timestamp_ms for record in self.log.read(*tp, self.position(tp))), default=None)


class Refusing(EmbeddedBroker):
    """Refuses every other commit."""

    _commits = 0

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        self._commits += 1
        if self._commits > 1 and self._commits % 2:
            raise BrokerError("the coordinator is loading")
        super().commit(offsets, membership, timeout_s)


class Slow(EmbeddedBroker):
    """Does not say what is committed before ``seen``, as a broker that is overloaded takes long for it."""

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        super().__init__(log, group)
        self.seen = threading.Event()

    def committed(self, tp: TopicPartition) -> Commit | None:
        self.seen.wait(UNSEEN_S)
        return super().committed(tp)


class Choosy(RefusingBroker):
    """Takes no prediction stamped long ago, none at all of two streams, and of one of these no dead letter either."""

    rules = MappingProxyType(
        {
            "out": lambda sent: "too_large" if sent.key in (b"s2", b"s3") else of_late(3600.0)(sent),
            "dead": lambda sent: "too_large" if sent.key == b"s3" else None,
        }
    )


KINDS = {
    "plain": Kind(_plain),
    "labels": Kind(
        _labels,
        """
features: [{field: x, encoder: numeric}]
target: {fields: [y], known: label, event_field: id, label_field: of, label_memory: 4}
model: {hidden_size: 4, readout: linear}
learning: {k1: 1, k2: 2}
""",
    ),
    "intervals": Kind(
        _ramp,
        """
features: [{field: x, encoder: numeric}]
target: {fields: [y]}
model: {hidden_size: 4, readout: linear, loss: quantile, quantiles: [0.1, 0.5, 0.9]}
learning: {lr: 0.00001}
""",
    ),
    "mixture": Kind(_walk, PLAIN.replace("linear", "rls")),
    "exact": Kind(_plain, PLAIN.replace("{hidden_size", "{cell: elstm, hidden_size")),
    "ahead": Kind(_plain, PLAIN.replace("linear", "linear, direction: both, lookahead: 3")),
    "classes": Kind(
        _classes,
        """
features: [{field: x, encoder: numeric}, {field: page, encoder: symbol, symbols: {open: true, max: 2}}]
target: {fields: [y], classes: [a, b, c]}
model: {hidden_size: 4, readout: softmax}
""",
    ),
    "spoilt": Kind(
        _spoilt,
        """
features: [{field: x, encoder: numeric}, {field: never, encoder: numeric}]
target: {fields: [y]}
model: {hidden_size: 4, readout: linear}
learning: {lr: 0.5, clip_norm: 0.1, polyak_bound: null}
""",
    ),
    "infinite": Kind(_infinite, PLAIN + "learning: {scale: false}\n"),
    "crowd": Kind(_crowd, PLAIN + "streams: {max_streams: 20}\n"),
    "stuck": Kind(_plain, broker=Stuck),
    "refused": Kind(_plain, broker=Refusing),
    "slow": Kind(_plain, broker=Slow, interval_s=3_600, passing="StreamrnnRestoreStuck"),
    "choosy": Kind(_plain, broker=Choosy),
}


class Worker:
    """A job of a kind at work on a thread, and the log it reads."""

    def __init__(self, kind: str, directory: Path, port: int) -> None:
        self.kind, self.port, self._made = kind, port, KINDS[kind]
        self.log = EmbeddedLog(directory / "log")
        log = f"embedded: {{directory: {directory}/log}}"
        text = JOB.format(
            name=kind, log=log, sections=self._made.sections, directory=directory, interval_s=self._made.interval_s,
            port=port,
        )  # fmt: skip
        self.config = parse(text, {})
        for topic in ("in", "out", "dead"):
            self.log.create_topic(topic)
        self._records, self._fed = self._made.records(), 0
        self._stop = threading.Event()
        self._error: list[BaseException] = []
        self._broker: Broker | None = None
        self._thread: threading.Thread | None = None

    @property
    def passing(self) -> str | None:
        """The alert that it raises until ``seen``, and not again."""
        return self._made.passing

    def feed(self, count: int) -> None:
        """Append so many records, a minute apart by their time."""
        for key, value in itertools.islice(self._records, count):
            self.log.append("in", key, value, timestamp_ms=START_MS + 60_000 * self._fed, partition=0)
            self._fed += 1
        self.log.flush()

    def start(self) -> None:
        """Run it, until ``stop``."""
        self._stop.clear()
        self._broker = self._made.broker(EmbeddedLog(self.log.directory), self.kind)
        self._thread = threading.Thread(target=self._run, args=(self._broker,), name=self.kind)
        self._thread.start()

    def seen(self) -> None:
        """Go on with what would pass by itself: it has been seen."""
        if isinstance(self._broker, Slow):
            self._broker.seen.set()

    def _run(self, broker: Broker) -> None:
        try:
            run_worker(self.config, broker, self._stop)
        except BaseException as error:  # shown by stop()
            self._error.append(error)

    def stop(self) -> None:
        """Stop it, if it runs, and raise what ended it otherwise."""
        if self._thread is not None:
            self._stop.set()
            self.seen()
            self._thread.join(STOP_TIMEOUT_S)
            assert not self._thread.is_alive()
            self._thread = None
        if self._error:
            raise self._error[0]

    def begin_again_with_another_digest(self) -> None:
        """Stop and start; in between, let the group have committed another digest than the learner's."""
        self.stop()
        (commit,) = self.log.commits(self.kind).values()
        mark = Mark.from_metadata(commit.metadata)
        assert mark is not None
        forged = replace(mark, digest=mark.digest ^ 1)
        self.log.store_commits(self.kind, {IN: commit._replace(metadata=forged.to_metadata())})
        self.start()
