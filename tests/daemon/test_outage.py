"""Of an outage the log has a line when it begins, one a minute, one when it ends, and one when it is made up for."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import Connectivity, TopicPartition
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.outage import Outages

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
NOW = 1_790_000_000.0  # 14:13:20 UTC


class World:
    """A broker whose answers are set, two partitions, and everything that is told of them."""

    def __init__(self) -> None:
        self.now, self.answered_at, self.away_since = NOW, NOW, None
        self.failures = {"connect": 0, "fetch": 2}
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.health = Health(120, lambda: self.now, self.metrics.partition_state, self.connectivity)
        self.partitions: dict[TopicPartition, Any] = {}
        for tp in (A, B):
            self.partitions[tp] = SimpleNamespace(position=100, waiting=0)
            self.health.assigned(tp)
            self.health.restored(tp)
        self.outages = Outages(self, "Kafka at b:9092", self.metrics, self.health, self.partitions.copy)

    def connectivity(self) -> Connectivity:
        cause = "" if self.away_since is None else "nothing listens there"
        at = self.answered_at
        return Connectivity(at, self.away_since, cause, {"connected": 1, "disconnected": 2}, self.failures)

    def cut(self) -> None:
        self.away_since = self.now

    def mend(self) -> None:
        self.away_since, self.answered_at = None, self.now

    def look(self, seconds: float = 1.0) -> None:
        """Let so much time pass, with a look each second."""
        for _ in range(round(seconds)):
            self.now += 1.0
            self.outages.look(self.now)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"streamrnn_{name}", labels)


@pytest.fixture
def world() -> World:
    return World()


def test_the_lines_of_an_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.look(30)
    assert not caplog.messages
    world.cut()
    world.partitions[A].waiting = 1_200
    world.look(125)
    world.mend()
    world.look(3)
    world.partitions[A].position, world.partitions[A].waiting = 1_350, 0
    world.health.progress(A, 1_350, lag=0)
    world.health.progress(B, 100, lag=0)
    world.look(100)
    assert caplog.messages == [
        "Kafka at b:9092 has not answered since 14:13:50 UTC: nothing listens there. Nothing is read or predicted "
        "until it does. Partitions held: 2; 1,200 predictions wait to be delivered; what waits is tried 6 times, each "
        "for 20 s at most, then this process ends with status 1, and the next one reads it again",
        "Kafka at b:9092 has not answered for 1 min 1 s, since 14:13:50 UTC: nothing listens there. "
        "Partitions held: 2; 1,200 predictions wait to be delivered",
        "Kafka at b:9092 has not answered for 2 min 1 s, since 14:13:50 UTC: nothing listens there. "
        "Partitions held: 2; 1,200 predictions wait to be delivered",
        "Kafka at b:9092 answers again after 2 min 5 s. Partitions held: 2; 1,200 predictions wait to be delivered",
        "caught up after the outage: 1,250 offsets were read within 3 s",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "WARNING", "INFO", "INFO"]
    fields: list[dict[str, Any]] = [record.__dict__["fields"] for record in caplog.records]
    assert all(one["broker"] == "Kafka at b:9092" for one in fields)
    assert [one.get("away_s") for one in fields] == [1.0, 61.0, 121.0, 125.0, None]


def test_they_pass_the_filter_that_keeps_repetition_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    from streamrnn.daemon.logs import _Repeated

    world.cut()
    world.look(200)
    repeated = _Repeated(clock=lambda: 0.0)
    assert len(caplog.records) == 4
    assert all(repeated.filter(record) for record in caplog.records)


def test_where_nothing_came_meanwhile_nothing_is_said_of_catching_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.cut()
    world.look(2)
    world.mend()
    caplog.set_level(logging.INFO)
    caplog.clear()
    world.look(2)
    for tp in (A, B):
        world.health.progress(tp, 100, lag=0)
    world.look(5)
    assert len(caplog.messages) == 1


def test_a_second_outage_before_the_first_is_made_up_for_is_another_one(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        world.cut()
        world.look(3)
        world.mend()
        world.look(1)
    assert world.value("broker_outages_total") == 2
    assert [message.partition("9092 ")[2][:12] for message in caplog.messages] == ["has not answ", "answers agai"] * 2


def test_an_outage_before_the_first_answer_is_said_to_be_one(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.answered_at = None
    world.cut()
    world.look(1)
    assert caplog.messages == [
        "Kafka at b:9092 has not answered since this process asked it first, 1 s ago: nothing listens there. A "
        "start is given up after 10 s without an answer, with status 1"
    ]
    assert world.value("broker_connected") == 0
    assert world.value("broker_last_answer_timestamp_seconds") is None


def test_what_the_metrics_show(world: World) -> None:
    assert world.value("broker_connected") is None, "not known yet"
    world.look(1)
    assert world.value("broker_connected") == 1
    assert world.value("broker_last_answer_timestamp_seconds") == NOW
    assert world.value("broker_connections", state="connected") == 1
    assert world.value("broker_connections", state="disconnected") == 2
    assert world.value("broker_failures_total", request="fetch") == 2
    assert world.value("broker_failures_total", request="send") == 0, "its first increase is seen as one"
    assert world.value("ready") == 1
    world.cut()
    world.failures = {"connect": 3, "fetch": 2}
    world.look(5)
    assert world.value("broker_connected") == world.value("ready") == 0
    assert world.value("broker_outages_total") == 1
    assert world.value("broker_failures_total", request="connect") == 3
    assert world.value("broker_failures_total", request="fetch") == 2
    world.mend()
    world.look(1)
    assert world.value("broker_connected") == world.value("ready") == 1
    assert world.value("broker_outages_total") == 1


def test_a_lag_is_forgotten_and_comes_back_with_the_broker(world: World) -> None:
    shown = world.metrics.partition(A)

    def lags() -> list[float | None]:
        return [world.value(f"input_lag_{unit}", topic="t", partition="0") for unit in ("records", "seconds")]

    def show(lag: float | None) -> None:
        for unit in ("records", "seconds"):
            shown.set(f"streamrnn_input_lag_{unit}", lag)

    show(7)
    world.look(1)
    assert lags() == [7, 7]
    world.cut()
    world.look(1)
    assert lags() == [None, None]
    show(7)  # by a loop that had asked before
    world.look(1)
    assert lags() == [None, None]
    show(None)
    world.mend()
    world.look(1)
    show(8)
    assert lags() == [8, 8]
    shown.remove()
    assert lags() == [None, None]


def test_states_are_series_that_go_with_their_partition(world: World) -> None:
    def states() -> list[float | None]:
        names = ("restoring", "replaying", "live", "stalled")
        return [world.value("partition_state", topic="t", partition="0", state=name) for name in names]

    assert states() == [0, 0, 1, 0]
    world.health.assigned(A)
    assert states() == [1, 0, 0, 0]
    world.health.removed(A)
    assert states() == [None] * 4


def test_a_look_that_comes_late_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process was halted: what the broker has answered is there, and nobody has read it."""
    from streamrnn.daemon import outage

    moments = iter([0.0, 1.0, 1.0, 300.0, 300.0, 301.0, 301.0])
    monkeypatch.setattr(outage, "time", SimpleNamespace(monotonic=lambda: next(moments), time=lambda: world.now))
    looks: list[float] = []
    monkeypatch.setattr(world.outages, "look", looks.append)
    waits = iter([False, False, False, True])
    monkeypatch.setattr(world.outages, "_ended", SimpleNamespace(wait=lambda _: next(waits)))
    world.outages._run()
    assert len(looks) == 2, "of three, the one after the halt is missing"


def test_the_thread_looks_until_the_context_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from streamrnn.daemon import outage

    monkeypatch.setattr(outage, "LOOK_S", 0.01)
    looked = threading.Event()
    monkeypatch.setattr(world.outages, "look", lambda now: looked.set())
    with world.outages:
        assert looked.wait(30.0)
    assert not world.outages._thread.is_alive()
