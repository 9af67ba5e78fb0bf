"""Workers on a real Kafka and a real Prometheus that scrapes them: every expression of rules, alerts and dashboards.

The flights come first, as they would on a good day: dashboards show something, no alert says anything. Then come jobs
that lack something, a second worker that takes a partition and is killed, and a cluster that stops answering. What an
expression says in any second of that, it has said. What takes an hour is told by promtool's tests of the alerts.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.daemon import loop, metric_table, run
from streamrnn.daemon.health import Health
from streamrnn.demo.flights import load_flights, stream_key
from tests.deploy.alerts import alerts, rules
from tests.deploy.dashboards import queries
from tests.deploy.expected_empty import HASTENED, expected_empty
from tests.deploy.live_jobs import KINDS, Worker
from tests.kafka.server import KafkaServer
from tests.support.programs import program
from tests.support.prometheus_server import PrometheusServer, free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DEADLINE_S = 90.0
PARTITIONS = 2
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
FLIGHTS = "streamrnn-flights"
GONE, WITHOUT_KAFKA = "streamrnn-gone", "streamrnn-without-kafka"
TOKEN = "only-for-tests"
ALERTS = {alert["alert"] for alert in alerts()}
WORKER_JOB = """
job: {job}
kafka: {{bootstrap_servers: '{servers}', group_instance_id: {instance}, session_timeout_s: 6}}
input: {{topic: {job}-departures}}
features:
  - {{field: minutes, encoder: cyclic, period: 1440}}
  - {{field: origin, encoder: onehot, categories: [EWR, JFK, LGA]}}
  - {{field: dest, encoder: hash, buckets: 16}}
  - {{field: distance, encoder: numeric}}
  - {{field: origin_delay, encoder: numeric}}
inputs: {{dt: false, previous_target: true}}
target: {{fields: [delay]}}
model: {{cell: lstm, hidden_size: 16, loss: absolute}}
learning: {{k1: 2, k2: 8}}
streams: {{max_streams: 6000}}
output: {{topic: {job}-predictions, dead_letter_topic: {job}-dead-letters}}
checkpoint: {{directory: {directory}/checkpoints, interval_s: 1}}
http: {{port: {port}, token: {token}}}
"""


class OverdueError(AssertionError):
    """Something was waited for in vain."""


def until(what: str, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise OverdueError(f"no {what} within {DEADLINE_S:.0f} s")
        time.sleep(0.2)
    return found


class Flights:
    """The demo's departures on a cluster, some more with each ``feed``, and processes that run their job."""

    def __init__(self, servers: str, directory: Path, ports: list[int]) -> None:
        self.job, self.directory, self.servers = f"live-{uuid.uuid4().hex[:8]}", directory, servers
        self.ports = ports
        self._connection = KafkaConnection(bootstrap_servers=servers)
        self._topics = [f"{self.job}-{name}" for name in ("departures", "predictions", "dead-letters")]
        self._admin = KafkaAdministration(self._connection)
        self._admin.create_topics(dict.fromkeys(self._topics, PARTITIONS), keep_forever=True)
        self._sender = KafkaSender(self._connection)
        self._flights = itertools.cycle(load_flights(30_000))
        self.processes: list[subprocess.Popen[bytes]] = []

    def feed(self, count: int) -> None:
        for flight in itertools.islice(self._flights, count):
            key, value = stream_key(flight).encode(), json.dumps(flight).encode()
            partition = zlib.crc32(key) % PARTITIONS
            self._sender.send(self._topics[0], key, value, timestamp_ms=flight["timestamp"], partition=partition)
        self._sender.flush(30.0)

    def start(self, number: int, servers: str | None = None) -> subprocess.Popen[bytes]:
        """Start a worker at the port of this number, of the flights or of a job whose cluster is nowhere."""
        path = self.directory / f"worker-{number}.yaml"
        path.write_text(
            WORKER_JOB.format(
                job=self.job if servers is None else f"{self.job}-nowhere", servers=servers or self.servers,
                instance=f"worker-{number}", directory=self.directory, port=self.ports[number], token=TOKEN,
            )
        )  # fmt: skip
        with (self.directory / f"worker-{number}.log").open("ab") as log:
            command = [sys.executable, "-c", "from streamrnn.cli import main; main()", "run", "-c", str(path)]
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        return self.processes[-1]

    def require(self, number: int) -> None:
        """Fail, with the end of its log, unless this worker runs."""
        log = self.directory / f"worker-{number}.log"
        assert self.processes[number].poll() is None, f"the worker ended:\n{log.read_text()[-3000:]}"

    def scrape(self, number: int) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[number]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=30.0) as answer:
            return str(answer.read().decode())

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(10.0)
        self._sender.close(5.0)
        self._admin.delete_topics(self._topics)


class Story:
    """What has been seen of each expression, by where it stands, from the beginning on."""

    def __init__(self, server: PrometheusServer, flights: Flights, workers: dict[str, Worker]) -> None:
        self.server, self.flights, self.workers = server, flights, workers
        self.began_s = time.time()
        jobs = (FLIGHTS, WITHOUT_KAFKA, *(f"streamrnn-{kind}" for kind in workers))
        self._asked = {job: _asked(job) for job in jobs}
        self.scraped = ""
        self.empty_while_healthy: dict[str, str] = {}
        self.active_while_healthy: list[dict[str, Any]] = []
        self.annotations: dict[str, dict[str, str]] = {}
        self.read: set[tuple[str | None, str]] = set()
        self.broken_rules: set[str] = set()
        self.silent: dict[str, str] = {}

    def healthy(self) -> None:
        """The flights alone, until the dashboards are full."""
        self.flights.feed(2_000)
        self.flights.start(0)
        self.empty_while_healthy = missing = self._asked[FLIGHTS].copy()

        def full() -> bool:
            self.flights.require(0)
            self.flights.feed(200)
            for where, expression in list(missing.items()):
                if any(not math.isnan(float(one["value"][1])) for one in self.server.now(expression)):
                    del missing[where]
            return not any(expected_empty(expression) is None for expression in missing.values())

        with contextlib.suppress(OverdueError):  # a test shows what is missing
            until("full dashboards", full)
        self.active_while_healthy = [
            {**alert["labels"], "state": alert["state"]}
            for rule in self.server.rules()
            for alert in rule.get("alerts", ())
            # The model is half a minute old: that it may be worse than a rule for the moment is no news for an hour.
            if alert["labels"].get("job") == FLIGHTS and rule["name"] != "StreamrnnWorseThanNaive"
        ]
        self.scraped = self.flights.scrape(0)

    def provoked(self, kafka: KafkaServer) -> None:
        """All the rest, until every expression has had something to say."""
        raised = {rule["name"]: rule["query"] for rule in self.server.rules() if rule["type"] == "alerting"}
        self.silent = {**self._asked[FLIGHTS], **raised}
        self.server.watch(
            {
                FLIGHTS: self.flights.ports[:2],
                WITHOUT_KAFKA: self.flights.ports[2:],
                GONE: free_ports(1),
                **{f"streamrnn-{kind}": [worker.port] for kind, worker in self.workers.items()},
            }
        )
        for worker in self.workers.values():
            worker.feed(20)
            worker.start()
        self.flights.start(2, servers="127.0.0.1:9")
        until("job that says what it has counted", self._all_count)
        for worker in self.workers.values():
            worker.feed(1_000)
        second = self.flights.start(1)
        mine = f'sum(streamrnn_assigned_partitions{{job="{FLIGHTS}", instance=~".*:{self.flights.ports[0]}"}}) == '
        until("partition at the second worker", lambda: self._go_on() and self.server.now(f"{mine} 1"))
        second.kill()
        until("return of the partition", lambda: self._go_on() and self.server.now(f"{mine} 2"))
        self.workers["plain"].begin_again_with_another_digest()
        self._outage(kafka)
        with contextlib.suppress(OverdueError):  # a test shows what is missing
            until("word from everything", lambda: self._go_on() and self._all_heard())

    def _all_count(self) -> bool:
        """Whether every small job has been scraped: what it counted before that was no increase to Prometheus."""
        self._read_rules()
        counted = {one["metric"]["job"] for one in self.server.now("streamrnn_records_consumed_total > 0")}
        return counted >= {f"streamrnn-{kind}" for kind in self.workers}

    def _outage(self, kafka: KafkaServer) -> None:
        assert kafka.pid is not None
        connected = f'streamrnn_broker_connected{{job="{FLIGHTS}"}} == '
        raised = {(FLIGHTS, "StreamrnnBrokerAway"), (FLIGHTS, "StreamrnnNotReady")}
        os.kill(kafka.pid, signal.SIGSTOP)
        try:
            until("outage", lambda: self.server.now(f"{connected} 0"))
            until("alert of the outage", lambda: self._have_read(raised))
        finally:
            os.kill(kafka.pid, signal.SIGCONT)
        until("end of the outage", lambda: self.server.now(f"{connected} 1"))

    def _go_on(self) -> bool:
        self.flights.require(0)
        self.flights.feed(100)
        for worker in self.workers.values():
            worker.feed(100)
        self._read_rules()
        return True

    def _have_read(self, raised: set[tuple[str | None, str]]) -> bool:
        self._read_rules()
        return self.read >= raised

    def _read_rules(self) -> None:
        for rule in self.server.rules():
            for alert in rule.get("alerts", ()):
                self.annotations[rule["name"]] = alert["annotations"]
                self.read.add((alert["labels"].get("job"), rule["name"]))
            if rule["health"] == "err":
                self.broken_rules.add(f"{rule['name']}: {rule['lastError']}")
        for kind, worker in self.workers.items():
            if worker.passing is not None and (f"streamrnn-{kind}", worker.passing) in self.read:
                worker.seen()

    def _all_heard(self) -> bool:
        """Whether every expression has said something by now, of whatever job, and every alert was written out."""
        for where, expression in list(self.silent.items()):
            for asked in self._asked.values():
                found = self.server.since(self.began_s, asked.get(where, expression))
                if any(not math.isnan(float(value)) for one in found for _, value in one["values"]):
                    del self.silent[where]
                    break
        return not self.silent and self.annotations.keys() >= ALERTS


def _asked(job: str) -> dict[str, str]:
    """Every expression of dashboards and recording rules, by where it stands."""
    found = queries(job, range_s=60, rate_interval="10s", interval="1s")
    shown = {f"{q[0]}: {q[2]} {i}": q[3] for i, q in enumerate(found)}
    return shown | {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


@pytest.fixture(scope="module")
def story(kafka_server: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Tells the whole of it; the server stays, to be asked."""
    program("prometheus")
    directory = tmp_path_factory.mktemp("live")
    ports = free_ports(3 + len(KINDS))
    token = directory / "token"
    token.write_text(TOKEN)
    server = PrometheusServer(directory, dict.fromkeys((FLIGHTS, WITHOUT_KAFKA), token), HASTENED)
    server.watch({FLIGHTS: ports[:1]})
    workers = {kind: Worker(kind, directory / kind, port) for kind, port in zip(KINDS, ports[3:], strict=True)}
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        # Of the workers on threads here: a partition counts as stalled after two minutes, and is looked at every ten
        # seconds.
        patch.setattr(run, "Health", functools.partial(Health, stall_after_s=2.0))
        patch.setattr(loop, "PROBE_INTERVAL_S", 1.0)
        flights = Flights(kafka_server.bootstrap, directory, ports[:3])
        stack.callback(flights.close)
        stack.callback(server.stop)
        server.start()
        told = Story(server, flights, workers)
        for worker in workers.values():
            stack.callback(worker.stop)
        told.healthy()
        told.provoked(kafka_server)
        yield told


def test_dashboards_of_a_healthy_job_are_full_but_for_what_is_named_with_its_reason(
    story: Story,
) -> None:
    unexpected = {where: e for where, e in story.empty_while_healthy.items() if expected_empty(e) is None}
    assert unexpected == {}


def test_no_alert_minds_a_healthy_job(story: Story) -> None:
    assert story.active_while_healthy == []


def test_every_expression_says_something_in_a_run_that_provokes_it(story: Story) -> None:
    assert story.silent == {}


def test_no_rule_fails(story: Story) -> None:
    assert story.broken_rules == set()


def test_a_replay_that_was_inexact_is_on_its_tile(story: Story) -> None:
    asked = queries("streamrnn-plain", range_s=60, rate_interval="10s", interval="1s")
    (tile,) = (query.expr for query in asked if query.name == "Inexact replays A")
    (shown,) = story.server.since(story.began_s, tile)
    assert max(float(value) for _, value in shown["values"]) == 1


def test_every_alert_is_written_out_with_its_labels_and_value(story: Story) -> None:
    assert story.annotations.keys() == ALERTS
    for name, texts in story.annotations.items():
        for text in texts.values():
            assert text, name
            assert not re.search(r"<no value>|<error|%!|\{\{|  ", text), f"{name}: {text}"


def test_no_alert_is_there_once_for_each_worker(story: Story) -> None:
    raised = story.server.series("ALERTS", story.began_s)
    assert {labels["alertname"] for labels in raised} == ALERTS
    assert not [labels for labels in raised if "instance" in labels]


def test_promtool_has_no_remark_on_what_a_worker_serves(story: Story) -> None:
    said = subprocess.run(
        [program("promtool"), "check", "metrics"], input=story.scraped, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_every_metric_of_the_table_was_seen_with_its_labels_and_no_other(story: Story) -> None:
    seen: dict[str, set[tuple[str, ...]]] = {}
    for labels in story.server.series('{__name__=~"streamrnn_.*"}', story.began_s):
        names = labels.keys() - {"__name__", "job", "instance", "le"}
        seen.setdefault(labels["__name__"], set()).add(tuple(sorted(names)))
    for metric in metric_table.METRICS:
        for suffix in SUFFIXES.get(metric.kind, ("",)):
            found = seen.pop(metric.name + suffix, None)
            assert found is not None, f"{metric.name}{suffix} was never seen"
            if metric.kind != "info":  # has labels that tell instead of a value
                assert found == {tuple(sorted(metric.all_labels))}, metric.name
    assert seen == {}


def test_every_metric_has_the_type_of_the_table(story: Story) -> None:
    declared = story.server.metadata()
    for metric in metric_table.METRICS:
        name = metric.name
        for suffix in ("_total", "_info"):  # OpenMetrics knows families, without the suffixes of their samples
            name = name.removesuffix(suffix)
        assert declared.get(name, declared.get(metric.name)) == {metric.kind}, metric.name
