"""What the page's charts are made of."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint.history import MOST, POINTS, History, Latency
from streamrnn.daemon.metrics import Delta, Metrics

TPS = TopicPartition("t", 0), TopicPartition("t", 1)


class Clocked:
    """A history whose time goes on by five seconds a step."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.metrics = Metrics(CollectorRegistry())
        self.history = History(self.metrics.registry, lambda: self.now)
        self.partitions = [self.metrics.partition(tp) for tp in TPS]
        self.history.step()

    def step(self) -> None:
        self.now += 5.0
        self.history.step()


def test_before_the_first_step_nothing_is_known() -> None:
    history = Clocked().history
    assert history.rate() is None
    assert history.charts() == {"at": [], "records_per_second": [], "network": [], "rivals": {}}


def test_rates_and_errors_are_of_all_partitions_together() -> None:
    clocked = Clocked()
    for partition, error in zip(clocked.partitions, (10.0, 50.0), strict=True):
        partition.add(Delta(counts={"records_consumed": 100}, error_sum=error, error_count=10))
        partition.add_sum("streamrnn_rival_error", 2 * error, 10, "last")
    clocked.step()
    assert clocked.history.rate() == 40.0
    assert clocked.history.charts() == {
        "at": [1005.0], "records_per_second": [40.0], "network": [3.0], "rivals": {"last": [6.0]},
    }  # fmt: skip


def test_a_step_without_scores_has_no_error() -> None:
    clocked = Clocked()
    clocked.step()
    assert clocked.history.charts()["network"] == [None]
    assert clocked.history.rate() == 0.0


def test_a_partition_that_leaves_takes_nothing_back_and_one_that_returns_begins_anew() -> None:
    clocked = Clocked()
    clocked.partitions[0].add(Delta(counts={"records_consumed": 500}))
    clocked.step()
    clocked.partitions[0].remove()
    clocked.partitions[1].add(Delta(counts={"records_consumed": 50}))
    clocked.step()
    assert clocked.history.rate() == 10.0
    again = clocked.metrics.partition(TPS[0])
    again.add(Delta(counts={"records_consumed": 25}))
    clocked.step()
    assert clocked.history.rate() == 5.0
    again.remove()
    clocked.metrics.partition(TPS[0]).add(Delta(counts={"records_consumed": 5}))
    clocked.step()
    assert clocked.history.rate() == 1.0


def test_it_is_bounded_and_a_chart_has_few_points_that_lose_nothing() -> None:
    clocked = Clocked()
    for _ in range(MOST + 50):
        clocked.partitions[0].add(Delta(counts={"records_consumed": 10}))
        clocked.step()
    charts = clocked.history.charts()
    assert len(charts["at"]) == POINTS
    assert charts["at"][-1] == clocked.now
    assert charts["records_per_second"] == [2.0] * POINTS


def test_latency_is_read_off_the_buckets_of_what_came_while_somebody_looked() -> None:
    clocked = Clocked()
    latency, partition = Latency(clocked.metrics.registry, lambda: clocked.now), clocked.partitions[0]
    partition.observe("streamrnn_prediction_latency_seconds", [3000.0] * 100)
    latency.look()
    assert latency.quantile(0.5) is None, "what was before the first look does not count"
    partition.observe("streamrnn_prediction_latency_seconds", [0.03] * 50 + [0.07] * 50)
    clocked.now += 2
    latency.look()
    assert latency.quantile(0.25) == pytest.approx(0.0375)  # the middle of 0.025 to 0.05
    assert latency.quantile(0.5) == pytest.approx(0.05)
    assert latency.quantile(1.0) == pytest.approx(0.1)
    clocked.now += 59
    latency.look()
    assert latency.quantile(0.5) == pytest.approx(0.05)
    clocked.now += 2
    latency.look()
    assert latency.quantile(0.5) is None, "nor what was longer than a minute ago"
