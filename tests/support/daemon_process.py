"""``streamrnn run`` on a broker, as an operator meets it: its log, its endpoint, what it predicts."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import TopicPartition
from tests.support.kafka_clients import CLIENT

WAIT_S = 90.0
PARTITIONS = 2
JOB = """
job: {job}
kafka:
  {{client: {client}, bootstrap_servers: '{servers}', group_instance_id: one, session_timeout_s: {session_s}{security}}}
input: {{topic: {job}-in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {at}/checkpoints}}
commit_interval_ms: {commit_interval_ms}
log: {{format: json}}
http: {{port: 0}}
"""


class Worker:
    """A job on a broker, and the process that runs it, with its log as JSON."""

    def __init__(
        self,
        servers: str,
        at: Path,
        *,
        listener: str = "",
        security: str = "",
        before: str = "",
        client: str = CLIENT,
        commit_interval_ms: int = 100,
    ) -> None:
        """``listener`` is where the process connects, if not to ``servers``; ``before`` what it does first of all."""
        self.job = f"outage-{uuid.uuid4().hex[:8]}"
        self.topics = [f"{self.job}-{name}" for name in ("in", "out", "dead")]
        self.connection = KafkaConnection(bootstrap_servers=servers)
        self.log = at / "worker.log"
        (at / "job.yaml").write_text(
            JOB.format(
                client=client,
                job=self.job,
                servers=listener or servers,
                at=at,
                security=security,
                commit_interval_ms=commit_interval_ms,
                # confluent takes itself for dead once it has not heard of its group for a session, as in an outage.
                session_s=6 if client == "kafka-python" else 60,
            )
        )
        self._command = [sys.executable, "-c", f"{before}\nfrom streamrnn.cli import main; main()", "run", "-c"]
        self._command.append(str(at / "job.yaml"))
        self._sent = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(self._command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            yield self.process
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(10.0)

    def entries(self) -> list[dict[str, Any]]:
        """The log; whatever is no JSON fails here."""
        return [json.loads(line) for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_until(self, so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not so():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def wait_for(self, text: str, times: int = 1) -> None:
        self.wait_until(lambda: sum(text in entry["message"] for entry in self.entries()) >= times)

    def send(self, count: int) -> None:
        sender = KafkaSender(self.connection)
        for i in range(self._sent, self._sent + count):
            value = json.dumps({"a": i % 5, "y": i % 7}).encode()
            sender.send(self.topics[0], b"k%d" % (i % 9), value, partition=i % PARTITIONS)
        sender.flush(30.0)
        sender.close(5.0)
        self._sent += count

    def ask(self, path: str) -> tuple[int, str]:
        address = next(m[0] for entry in self.entries() if (m := re.search(r"http://[0-9.:]+", entry["message"])))
        try:
            with urllib.request.urlopen(address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def value(self, name: str, **labels: str) -> float | None:
        for family in text_string_to_metric_families(self.ask("/metrics")[1]):
            for sample in family.samples:
                if sample.name == f"streamrnn_{name}" and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    def predicted(self) -> dict[TopicPartition, list[int]]:
        """Input offsets that were predicted, by partition, in the order of the output topic."""
        administration = KafkaAdministration(self.connection)
        found: dict[TopicPartition, list[int]] = {}
        for tp, bounds in administration.bounds(self.topics[1]).items():
            records = administration.read({tp: bounds.start}, 100_000, 30.0)[tp] if bounds.end else []
            found[tp] = [json.loads(record.value or b"")["offset"] for record in records]
        return found
