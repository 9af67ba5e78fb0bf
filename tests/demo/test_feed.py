"""Claims about ``streamrnn feed``: it keeps its speed, its time goes on with the data begun anew, it ends when told."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from streamrnn.broker.embedded import EmbeddedSender
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.opening import open_administration, open_broker, open_sender
from streamrnn.demo import feed as module
from streamrnn.demo.feed import feed
from streamrnn.demo.log import read_all
from streamrnn.job.job_file import parse
from tests.demo.test_run import needs_flights

YEAR = [{"tailnum": f"N{i}", "delay": float(i), "timestamp": 1_357_000_000_000 + i} for i in range(5)]


class Clock:
    """Moves a tick at every look of the feed's between sends; sending takes ``cost`` of a second."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now, self.cost = 1_700_000_000.0, cost

    def __call__(self) -> float:
        self.now += self.cost
        return self.now


class Ticks(Event):
    """An event that nobody waits for: time passes at once, and it is set after ``count`` ticks."""

    def __init__(self, clock: Clock, count: int) -> None:
        super().__init__()
        self.clock, self.left = clock, count

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == module.TICK_S
        self.clock.now += timeout
        self.left -= 1
        return self.left < 0


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log")
    log.create_topic("departures", 1)
    return log


def fed(log: EmbeddedLog, rate: float, ticks: int, cost: float = 0.0, limit: int | None = None) -> list[dict[str, Any]]:
    clock = Clock(cost)
    sent = feed(EmbeddedSender(log), "departures", YEAR, rate, Ticks(clock, ticks), limit=limit, clock=clock)
    records = list(log.read("departures", 0))
    assert len(records) == sent
    assert [record.timestamp_ms for record in records] == [json.loads(record.value)["timestamp"] for record in records]
    assert [record.key for record in records] == [json.loads(record.value)["tailnum"].encode() for record in records]
    return [json.loads(record.value) for record in records]


def test_time_goes_on_when_the_data_begins_anew_and_all_else_is_the_data_s(log: EmbeddedLog) -> None:
    records = fed(log, rate=20.0, ticks=10)
    assert [r["delay"] for r in records] == [r["delay"] for r in itertools.islice(itertools.cycle(YEAR), len(records))]
    assert len(records) > 2 * len(YEAR)
    times = [r["timestamp"] for r in records]
    assert times == sorted(times)
    assert times[0] > 1_700_000_000_000 and times[-1] <= 1_700_000_001_001


@pytest.mark.parametrize("rate", [0.5, 7.0, 10.0, 333.0, 20_000.0])
def test_so_many_are_sent_in_a_second_as_asked_for(log: EmbeddedLog, rate: float) -> None:
    assert len(fed(log, rate, ticks=43)) == pytest.approx(4.3 * rate, rel=0.001, abs=1)


def test_what_sending_takes_is_caught_up_with_within_bounds(log: EmbeddedLog) -> None:
    # Each look at the clock takes 10 ms: sending ten costs a tick, which the next batch makes good.
    kept = fed(log, 50.0, ticks=20, cost=0.01)
    elapsed = (kept[-1]["timestamp"] - 1_700_000_000_000) / 1000
    assert len(kept) == pytest.approx(50 * elapsed, abs=8)


def test_nobody_is_flooded_after_a_long_halt(log: EmbeddedLog) -> None:
    clock = Clock()
    stop = Ticks(clock, 3)

    class Halting(EmbeddedSender):
        def flush(self, timeout_s: float) -> None:
            super().flush(timeout_s)
            clock.now += 3_600

    assert feed(Halting(log), "departures", YEAR, 100.0, stop, clock=clock) == pytest.approx(10 + 100 + 100, abs=1)


@pytest.mark.parametrize("limit", [1, 4, 5, 12])
def test_it_ends_after_so_many(log: EmbeddedLog, limit: int) -> None:
    assert len(fed(log, 1_000.0, ticks=50, limit=limit)) == limit


@needs_flights
@pytest.mark.slow
def test_the_command_feeds_the_job_s_topic_until_sigterm(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    text = (Path(module.__file__).with_name("flights.yaml")).read_text().replace("./streamrnn-demo", str(tmp_path))
    job.write_text(text)
    EmbeddedLog(tmp_path / "log").create_topic("departures", 2)
    command = [sys.executable, "-P", "-m", "streamrnn", "feed", "-c", str(job), "--rate", "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("300 departures a second to departures")
        log = EmbeddedLog(tmp_path / "log")
        while not all(any(log.read("departures", partition)) for partition in (0, 1)):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "departures sent" in process.stdout.read()


@pytest.mark.kafka
def test_kafka_gets_departures_whose_time_is_now_on_all_partitions(kafka_bootstrap: str) -> None:
    topic = "feed.departures"
    job = parse(
        f"job: feed\nkafka: {{bootstrap_servers: '{kafka_bootstrap}'}}\ninput: {{topic: {topic}}}\n"
        "target: {fields: [delay]}\noutput: {topic: feed.predictions, dead_letter_topic: feed.dead}\n"
        "checkpoint: {directory: /nowhere}\n",
        env={},
    )
    admin = open_administration(job)
    admin.create_topics({topic: 4})
    sender = open_sender(job)
    year = [{"tailnum": f"N{i}", "delay": float(i), "timestamp": 0} for i in range(50)]
    try:
        assert feed(sender, topic, year, 400.0, Event(), limit=120) == 120
    finally:
        sender.close(5.0)
    records = list(read_all(open_broker(job, "feed-reader"), topic))
    assert len(records) == 120
    assert {record.partition for record in records} == {0, 1, 2, 3}
    by_partition: dict[TopicPartition, list[int]] = {}
    for record in records:
        assert json.loads(record.value or b"")["timestamp"] == record.timestamp_ms > 1_700_000_000_000
        by_partition.setdefault(TopicPartition(topic, record.partition), []).append(record.timestamp_ms)
    assert all(times == sorted(times) for times in by_partition.values())
    admin.delete_topics([topic])
