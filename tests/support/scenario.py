"""A small job on an embedded log, runs of it with faults, and what is left afterwards.

Nothing here depends on the wall clock: polls return at once, pauses between attempts last a millisecond, and the loop's
clock is one that moves on by more than a commit interval whenever it is read, so that every turn commits. ``run`` ends
when the log is read to its end or ``stop_after`` polls have passed; a fault may end it before.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from streamrnn.broker.columns import Outputs
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Record, TopicPartition, send_each
from streamrnn.daemon.background import Background
from streamrnn.daemon.health import Health
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.questions import Questions
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from tests.support.learners import Bits, bits_of, differing
from tests.support.rebalancing import RebalancingBroker, append_gap

N = 300
"""Records in the log of the fixture ``scenario``."""
START_MS = 1_700_000_000_000
TP = TopicPartition("in", 0)
SECOND = TopicPartition("in", 1)
CHANGED = "the group changed during a commit"

JOB = """
job: j
embedded: {{directory: log, partitions: {partitions}}}
input: {{topic: in, {input}}}
features: [{{field: a, encoder: numeric}}, {{field: b.c, encoder: onehot, categories: [x, y]}}]
target: {target}
model: {{cell: {cell}, hidden_size: 4, dtype: float32}}
learning: {learning}
streams: {streams}
output: {{topic: out, dead_letter_topic: dead}}
commit_interval_ms: 1
checkpoint: {{directory: checkpoints, {checkpoint}}}
http: null
"""
JOBS: dict[str, dict[str, str]] = {
    "windows": {},
    "exact": {"cell": "glru, hidden_layer: 3", "learning": "{k1: 2}"},
    "exact forecasts": {"cell": "elstm", "learning": "{}", "target": "{fields: [y], known: forecast, horizon: [1, 3]}"},
    "bank": {"cell": "bank, readout: rls, lags: 2, hidden_layer: 6", "learning": "{}"},
}
"""Settings of the job above, by how it learns."""
EXACT = list(JOBS)[1:]
"""Those that carry their gradient along, or have none."""
FREQUENT = "interval_s: 3600, max_replay_records: 25"


@functools.cache
def parsed(text: str) -> Config:
    """A configuration; parsing takes longer than most runs here."""
    return parse(text, env={})


class KilledError(Exception):
    """Stands for the death of the process at this point: nothing that follows runs."""


Hook = Callable[[int], None]


def nth(number: int, error: Exception) -> Hook:
    """A hook that raises at that call."""

    def hook(n: int) -> None:
        if n == number:
            raise error

    return hook


class ScriptedBroker:
    """The embedded broker, small irregular polls, and hooks around its calls.

    ``before`` and ``after`` map a method's name to what happens around its n-th call (n from 1).
    """

    def __init__(
        self,
        broker: RebalancingBroker,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
        seed: int = 0,
    ) -> None:
        self.inner = broker
        self._before, self._after = dict(before or {}), dict(after or {})
        self._random = random.Random(seed)
        self.calls: dict[str, int] = {}

    def deliver(self, *args: Any) -> None:
        """As the embedded broker does, with this one's hooks around its parts."""
        RebalancingBroker.deliver(self, *args)  # type: ignore[arg-type]

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """One by one where something is to happen around a ``send``, so that it may happen within a batch."""
        if {"send"} & {*self._before, *self._after}:
            send_each(cast(Any, self), outputs, partition)
        else:
            self.inner.send_all(outputs, partition)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            n = self.calls[name] = self.calls.get(name, 0) + 1
            if name == "poll":
                args, kwargs = (0.0, self._random.choice((1, 3, 7, 20, 50))), {}
            if name in self._before:
                self._before[name](n)
            result = method(*args, **kwargs)
            if name in self._after:
                self._after[name](n)
            return result

        return call


@dataclass
class Run:
    """What a run left behind in memory."""

    learners: dict[TopicPartition, Bits]
    registry: CollectorRegistry
    health: Health
    loop: Loop
    broker: ScriptedBroker
    ready: list[bool] = field(default_factory=list)

    def value(self, name: str, **labels: str) -> float:
        """A sample, partition 0's unless labels say otherwise; 0 when there is none."""
        wanted = {"topic": "in", "partition": "0", **labels} if "partition" not in labels else {"topic": "in", **labels}
        return self.shown.get((name, tuple(sorted(wanted.items()))), 0.0)

    shown: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)


class Scenario:
    """One job directory with its log."""

    def __init__(
        self,
        directory: Path,
        *,
        partitions: int = 1,
        input: str = "start: earliest",
        target: str = "{fields: [y]}",
        cell: str = "lstm",
        learning: str = "{k1: 2, k2: 4}",
        streams: str = "{max_streams: 6}",
        checkpoint: str = FREQUENT,
    ) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = {
            "partitions": partitions, "input": input, "target": target, "cell": cell, "learning": learning,
            "streams": streams, "checkpoint": checkpoint,
        }  # fmt: skip
        self.log = EmbeddedLog(directory / "log")
        for topic in ("in", "out", "dead"):
            self.log.create_topic(topic, partitions)

    def config(self, **changes: str) -> Config:
        """The job, with settings changed."""
        config = parsed(JOB.format(**self.settings | changes))
        assert config.embedded is not None
        return replace(
            config,
            embedded=replace(config.embedded, directory=str(self.directory / "log")),
            checkpoint=replace(config.checkpoint, directory=str(self.directory / "checkpoints")),
        )

    def fill(self, n: int, seed: int = 0, gaps: bool = False) -> None:
        """Append ``n`` good records of nine streams."""
        rng, gap_rng = random.Random(seed), random.Random(seed)
        for i in range(n):
            stream = rng.randrange(9)
            partition = stream % self.settings["partitions"]
            value = {"a": rng.gauss(0, 1), "b": {"c": rng.choice("xyz")}, "y": rng.gauss(stream, 1)}
            self.append(b"s%d" % stream, json.dumps(value).encode(), START_MS + 1000 * i, partition)
            if gaps and gap_rng.random() < 0.15:
                append_gap(self.log, "in", partition, gap_rng.randint(1, 30))

    def append(self, key: bytes | None, value: bytes | None, time_ms: int = START_MS, partition: int = 0) -> None:
        """Append one record, durable at once."""
        self.log.append("in", key, value, timestamp_ms=time_ms, partition=partition)
        self.log.flush()

    def run(
        self,
        *,
        before: Mapping[str, Hook] | None = None,
        after: Mapping[str, Hook] | None = None,
        stop_after: int | None = None,
        seed: int = 0,
        turn: Callable[[Loop, RebalancingBroker], None] | None = None,
        broker: type[RebalancingBroker] = RebalancingBroker,
        background: Background | None = None,
        questions: Questions | None = None,
        **changes: str,
    ) -> Run:
        """Run the job until the log is read; ``turn`` is called at every poll. Raises what the loop raises."""
        job = Job(self.config(**changes))
        stop = threading.Event()
        inner = broker(EmbeddedLog(self.directory / "log"), job.config.group_id)
        hooks = dict(before or {})
        given = hooks.get("poll")

        def on_poll(n: int) -> None:
            run.ready.append(health.ready()[0])
            if stop_after is not None and n >= stop_after:
                stop.set()
            if turn is not None:
                turn(loop, inner)
            if given is not None:
                given(n)

        hooks["poll"] = on_poll
        scripted = ScriptedBroker(inner, hooks, after, seed)
        metrics, health = Metrics(CollectorRegistry()), Health()

        def idle() -> None:
            run.learners = {tp: bits_of(partition.learner) for tp, partition in loop.partitions.items()}
            stop.set()

        clock = itertools.count(0.0, 2 * job.config.commit_interval_ms / 1000).__next__
        loop = Loop(job, scripted, metrics, health, stop, idle, clock, background=background, questions=questions)
        run = Run({}, metrics.registry, health, loop, scripted)
        # Series go with their partition: what they showed at the end is read just before.
        drop = loop._drain

        def drain() -> None:
            for tp, partition in loop.partitions.items():
                writer = partition.saving.writer
                with writer._changed:
                    copying = partition.saving.copying  # which nobody goes on with before the loop's own drain
                    assert copying or writer._changed.wait_for(writer._idle, 60.0), "one was not written"
                partition.show(inner.lag(tp))
            for family in metrics.registry.collect():
                for sample in family.samples:
                    run.shown[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
            drop()

        loop._drain = drain  # type: ignore[method-assign]
        try:
            loop.run()
        finally:
            scripted.close(1.0)
            inner.log.close()
        return run

    # -- what is left -------------------------------------------------------------------------------------------------

    def records(self, topic: str, partition: int = 0) -> list[Record]:
        """Everything in a topic's partition."""
        return list(self.log.read(topic, partition))

    def predictions(self, partition: int = 0) -> dict[int, bytes]:
        """The prediction of every input offset; fails when one offset was predicted in two ways."""
        found: dict[int, bytes] = {}
        for record in self.records("out", partition):
            assert record.value is not None
            offset = json.loads(record.value)["offset"]
            assert found.setdefault(offset, record.value) == record.value, "a duplicate with other bytes"
        return found

    def saved(self, tp: TopicPartition = TP) -> Bits:
        """The learner in the newest checkpoint of the committed lineage, bit for bit, restored."""
        job = Job(self.config())
        lineage = self.mark(tp)["lineage"]
        found = job.checkpoints(tp).newest(lineage)
        assert found.checkpoint is not None
        learner = job.learner(tp)
        learner.resume(found.checkpoint.state())
        return bits_of(learner)

    def mark(self, tp: TopicPartition = TP) -> dict[str, Any]:
        """The metadata of the committed offset, with the offset."""
        commit = self.log.commits(self.config().group_id)[tp]
        return {**json.loads(commit.metadata), "offset": commit.offset}

    def manifests(self, tp: TopicPartition = TP) -> list[Path]:
        """The manifests of the committed lineage, oldest first."""
        return sorted((Path(Job(self.config()).checkpoints(tp).place) / self.mark(tp)["lineage"]).glob("manifest-*"))


def assert_same(scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]) -> None:
    assert differing(scenario.saved(), reference[0]) == []
    assert scenario.predictions() == reference[1]
    # At least once is in order: what is repeated was sent before, and nothing is skipped.
    seen = -1
    for record in scenario.records("out"):
        offset = json.loads(record.value or b"")["offset"]
        assert offset <= seen + 1
        seen = max(seen, offset)


def kill_behind_the_checkpoint(scenario: Scenario) -> tuple[int, int]:
    """Leave a commit well behind the newest checkpoint; returns the two positions."""
    with pytest.raises(KilledError):
        scenario.run(after={"commit": nth(9, KilledError())}, checkpoint="interval_s: 3600")
    return 0, scenario.mark()["offset"]


def lose_offsets(scenario: Scenario, *tps: TopicPartition) -> None:
    """What a broker does to a group that was away for a week: of these partitions, or of all."""
    left = {tp: commit for tp, commit in scenario.log.commits("j").items() if tps and tp not in tps}
    (scenario.directory / "log" / "groups" / "j.json").unlink()
    if left:
        scenario.log.store_commits("j", left)


def append_to(scenario: Scenario, partition: int, count: int = 5) -> None:
    for i in range(count):
        value = {"a": i, "b": {"c": "x"}, "y": float(i)}
        scenario.append(b"s%d" % partition, json.dumps(value).encode(), START_MS + 1000 * i, partition)
