"""Liveness follows progress, readiness follows restoration; neither follows the broker."""

from __future__ import annotations

import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.health import Health
from streamrnn.errors import ConfigError

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    health = Health(stall_after_s=60, clock=clock)
    for tp in (A, B):
        health.assigned(tp)
        health.restored(tp)
    return health


def test_a_partition_with_lag_that_does_not_move_is_unhealthy_and_named(health: Health, clock: Clock) -> None:
    for _ in range(61):
        health.progress(A, 5, lag=3)
        health.progress(B, int(clock.now), lag=3)
        assert health.healthy()[0]
        clock.now += 1
    healthy, detail = health.healthy()
    assert not healthy
    assert [p["healthy"] for p in detail["partitions"]] == [False, True]
    assert detail["partitions"][0] == {
        "topic": "t", "partition": 0, "state": "stalled", "position": 5, "lag": 3, "unmoved_s": 61.0, "healthy": False,
    }  # fmt: skip
    health.progress(A, 6, lag=2)
    assert health.healthy()[0], "it moves again"


@pytest.mark.parametrize("lag", [0, None])
def test_an_idle_or_unknown_partition_stays_healthy_for_ever(health: Health, clock: Clock, lag: int | None) -> None:
    for _ in range(100):
        health.progress(A, 5, lag)
        clock.now += 50
    assert health.healthy()[0]


def test_the_first_record_after_a_long_idle_time_does_not_count_as_a_stall(health: Health, clock: Clock) -> None:
    for lag in (0, 0, 0, 1):
        health.progress(A, 5, lag)
        clock.now += 59
    assert health.healthy()[0]
    clock.now += 2
    health.beat()
    healthy, detail = health.healthy()
    assert not healthy
    assert detail["partitions"][0]["unmoved_s"] == 61


def test_an_unreachable_broker_is_not_our_death(health: Health, clock: Clock) -> None:
    health.progress(A, 5, lag=3)
    for _ in range(100):
        clock.now += 30
        health.progress(A, 5, lag=None)
        assert health.healthy()[0]


def test_a_loop_that_falls_silent_is_unhealthy_even_without_lag(health: Health, clock: Clock) -> None:
    health.progress(A, 5, lag=0)
    clock.now += 61
    healthy, detail = health.healthy()
    assert not healthy
    assert detail["loop_silent_s"] == 61
    health.beat()
    assert health.healthy()[0]


def test_silence_before_the_first_report_and_during_a_restore_is_no_hang(clock: Clock) -> None:
    health = Health(stall_after_s=60, clock=clock)
    clock.now += 1_000
    assert health.healthy()[0]
    health.assigned(A)
    clock.now += 1_000
    assert health.healthy()[0]
    health.restored(A)
    clock.now += 61
    assert not health.healthy()[0]


def test_a_removed_partition_is_no_longer_judged(health: Health, clock: Clock) -> None:
    health.progress(A, 5, lag=3)
    clock.now += 61
    health.beat()
    assert not health.healthy()[0]
    health.removed(A)
    assert health.healthy()[0]
    health.progress(A, 5, lag=3)
    health.restored(A)
    assert [p["partition"] for p in health.healthy()[1]["partitions"]] == [1]


def test_ready_means_assigned_and_all_restored() -> None:
    health = Health()
    assert not health.ready()[0]
    health.assigned(A)
    health.assigned(B)
    health.restored(A)
    ready, detail = health.ready()
    assert not ready
    assert [p["restored"] for p in detail["partitions"]] == [True, False]
    health.restored(B)
    assert health.ready()[0]
    health.assigned(A)
    assert not health.ready()[0], "assigned anew, not restored anew"
    health.removed(A)
    assert health.ready()[0]
    health.removed(B)
    assert not health.ready()[0]


def test_a_worker_the_group_has_no_partition_for_is_ready() -> None:
    health = Health()
    health.standby()
    assert health.ready()[0]
    health.assigned(A)
    assert not health.ready()[0]


def test_a_stall_time_that_is_not_positive_is_refused() -> None:
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="stall_after_s"):
            Health(wrong)


def test_an_answer_is_put_together_while_the_loop_may_go_on_reporting() -> None:
    """The clock is asked once the reports are copied; a loop that had to wait would not come to its end here."""
    health: Health

    def clock() -> float:
        assert not health._lock.locked() or not answering
        return 0.0

    answering = False
    health = Health(60, clock)
    health.assigned(A)
    answering = True
    assert health.healthy()[1]["partitions"][0]["topic"] == A.topic
