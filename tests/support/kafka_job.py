"""A job on a real Kafka, in a process of its own, and the same job undisturbed on an embedded log to compare it with.

Seeds derive from job, topic and partition, so the two must agree bit for bit, whatever happened to the process.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned, Record, TopicPartition
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from tests.support.kafka_clients import CLIENT
from tests.support.learners import Bits, bits_of, differing

PARTITIONS = 2
DEADLINE_S = 90.0
Message = tuple[bytes, bytes, int, int]
"""Key, value, timestamp and partition."""


class Place:
    """A job on the cluster: its topics, its directory, and the process that runs it.

    ``template`` is the job file, with places for ``job``, ``log``, ``directory`` and ``max_replay_records``.
    """

    def __init__(
        self, bootstrap: str, directory: Path, template: str, max_replay_records: int, client: str = CLIENT
    ) -> None:
        self.template, self._client = template, client
        self.job = f"e2e-{uuid.uuid4().hex[:8]}"
        self.directory = directory
        self.connection = KafkaConnection(bootstrap_servers=bootstrap)
        self.topics = [f"{self.job}-{name}" for name in ("departures", "predictions", "dead-letters")]
        self._max_replay_records = max_replay_records
        # Records stamped 2013 would be removed by the first look of the broker's retention.
        KafkaAdministration(self.connection).create_topics(dict.fromkeys(self.topics, PARTITIONS), keep_forever=True)
        # Looks up what is committed; it never joins.
        self._observer = KafkaBroker(self.connection, KafkaGroup(group_id=self.job, instance_id="observer"))

    def kafka_text(self, instance: str | None = "one") -> str:
        settings = (
            f"client: {self._client}, bootstrap_servers: '{self.connection.bootstrap_servers}', session_timeout_s: 6"
        )
        named = f", group_instance_id: {instance}" if instance else ""
        return self.text(f"kafka: {{{settings}{named}}}", self.directory)

    def text(self, log: str, directory: Path) -> str:
        return self.template.format(
            job=self.job, log=log, directory=directory, max_replay_records=self._max_replay_records
        )

    def close(self) -> None:
        self._observer.close(5.0)
        KafkaAdministration(self.connection).delete_topics(self.topics)

    def produce(self, messages: Sequence[Message]) -> None:
        broker = KafkaSender(self.connection)
        for key, value, time_ms, partition in messages:
            broker.send(self.topics[0], key, value, timestamp_ms=time_ms, partition=partition)
        broker.flush(60.0)
        broker.close(5.0)

    def committed(self) -> int:
        found = [self._observer.committed(TopicPartition(self.topics[0], p)) for p in range(PARTITIONS)]
        return sum(commit.offset for commit in found if commit is not None)

    @contextlib.contextmanager
    def running(self, instance: str | None = "one") -> Iterator[subprocess.Popen[bytes]]:
        config = self.directory / f"{instance or 'job'}.yaml"
        config.write_text(self.kafka_text(instance))
        command = [sys.executable, "-c", "from streamrnn.cli import main; main()", "run", "-c", str(config)]
        log = (self.directory / "worker.log").open("ab")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10.0)
            log.close()

    def wait_for(self, offsets: int, process: subprocess.Popen[bytes]) -> int:
        """Wait until so many offsets are committed; returns how many are."""
        deadline = time.monotonic() + DEADLINE_S
        while (now := self.committed()) < offsets:
            log = (self.directory / "worker.log").read_text()
            assert process.poll() is None, f"the worker ended:\n{log[-3000:]}"
            assert time.monotonic() < deadline, f"{now} of {offsets} committed in {DEADLINE_S} s:\n{log[-3000:]}"
            time.sleep(0.02)
        return now

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) == 0, (self.directory / "worker.log").read_text()[-3000:]

    def predictions(self) -> dict[TopicPartition, list[Record]]:
        """All that was predicted, by input partition, in the order of sending."""
        broker = KafkaBroker(self.connection, KafkaGroup(group_id=f"{self.job}-reader", instance_id="reader"))
        broker.subscribe(self.topics[1])
        found: dict[TopicPartition, list[Record]] = {}
        ends: dict[TopicPartition, int] = {}
        deadline = time.monotonic() + DEADLINE_S
        while len(ends) < PARTITIONS or any(broker.position(tp) < end for tp, end in ends.items()):
            assert time.monotonic() < deadline
            for tp, records in broker.poll(0.1, 10_000).records.items():
                found.setdefault(TopicPartition(self.topics[0], tp.partition), []).extend(records)
            for event in broker.events():
                assert isinstance(event, Assigned)
                for tp in event.partitions:
                    ends[tp] = broker.log_end(tp)
                    broker.seek(tp, 0)
                broker.resume(event.partitions)
        broker.close(5.0)
        return found


def saved(text: str, tp: TopicPartition) -> Bits:
    """The learner in the partition's newest checkpoint, bit for bit. There is one lineage."""
    job = Job(parse(text, env={}))
    store = job.checkpoints(tp)
    (lineage,) = store.lineages()
    found = store.newest(lineage)
    assert found.checkpoint is not None
    learner = job.learner(tp)
    learner.resume(found.checkpoint.state())
    return bits_of(learner)


def undisturbed(place: Place, messages: Sequence[Message], directory: Path) -> tuple[str, EmbeddedLog]:
    """Run the job over the same records on an embedded log; returns its configuration and the log."""
    log = EmbeddedLog(directory / "log")
    for topic in place.topics:
        log.create_topic(topic, PARTITIONS)
    for key, value, time_ms, partition in messages:
        log.append(place.topics[0], key, value, timestamp_ms=time_ms, partition=partition)
    log.flush()
    text = place.text(f"embedded: {{directory: {directory}/log, partitions: {PARTITIONS}}}", directory)
    config = parse(text, env={})
    stop = threading.Event()
    run_worker(config, open_broker(config), stop, idle=stop.set)
    return text, log


def check(
    place: Place,
    messages: Sequence[Message],
    directory: Path,
    *,
    duplicates: bool,
    in_order: bool = True,
    predicted_of: Callable[[Message], bool] = lambda message: True,
) -> int:
    """Compare predictions and final state with an undisturbed run; returns how many predictions are repeated.

    ``in_order``: whether the undisturbed run predicts records in their order. ``predicted_of``: which it predicts.
    """
    text, log = undisturbed(place, messages, directory)
    found = place.predictions()
    repeated = 0
    for p in range(PARTITIONS):
        tp = TopicPartition(place.topics[0], p)
        expected = [record.value for record in log.read(place.topics[1], p)]
        here = [message for message in messages if message[3] == p]
        offsets = [offset for offset, message in enumerate(here) if predicted_of(message)]
        assert len(expected) == len(offsets)
        predicted: dict[int, Any] = {}
        for record in found[tp]:
            offset = json.loads(record.value or b"")["offset"]
            assert predicted.setdefault(offset, record.value) == record.value, "a duplicate with other bytes"
        if not in_order:
            assert list(predicted.values()) == expected
            expected = sorted(expected, key=lambda value: int(json.loads(value or b"")["offset"]))
        assert [predicted.get(offset) for offset in offsets] == expected
        repeated += len(found[tp]) - len(predicted)
        assert differing(saved(place.kafka_text(), tp), saved(text, tp)) == []
    assert duplicates or repeated == 0
    log.close()
    return repeated


def wait_for_log(directory: Path, text: str, times: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (log := (directory / "worker.log").read_text()).count(text) < times:
        assert time.monotonic() < deadline, log[-3000:]
        time.sleep(0.1)
