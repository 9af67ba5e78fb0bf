"""Liveness follows progress and never the broker; readiness follows restoration, and whether the broker answers."""

from __future__ import annotations

import pytest

from streamrnn.broker.protocol import Connectivity, TopicPartition
from streamrnn.daemon.health import Health, State
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


class Line:
    """Whether the broker answers, as it is set."""

    def __init__(self) -> None:
        self.now = Connectivity(answered_at=1_790_000_000.0)

    def cut(self) -> None:
        self.now = Connectivity(1_790_000_000.0, 1_790_000_000.0, "nothing listens there\x1b")

    def __call__(self) -> Connectivity:
        return self.now


def test_in_an_outage_a_worker_is_alive_and_not_ready_and_says_since_when_and_why(clock: Clock) -> None:
    line = Line()
    health = Health(60, clock, connectivity=line)
    health.assigned(A)
    health.restored(A)
    health.progress(A, 5, lag=3)
    line.cut()
    clock.now += 1_000  # the loop waits for an answer and reports nothing
    healthy, alive = health.healthy()
    ready, detail = health.ready()
    assert (healthy, ready) == (True, False)
    expected = {
        "connected": False, "last_answer": "2026-09-21T14:13:20Z", "away_since": "2026-09-21T14:13:20Z",
        "cause": "nothing listens there\\x1b",
    }  # fmt: skip
    assert alive["broker"] == detail["broker"] == expected
    assert alive["partitions"][0]["lag"] is None, "it is not known any more"
    line.now = Connectivity(answered_at=1_790_000_100.0)
    assert health.ready()[0]
    assert health.ready()[1]["broker"]["connected"] is True
    assert health.healthy()[0], "it has had no time to go on yet"
    clock.now += 59
    health.beat()
    assert health.healthy()[0]
    clock.now += 2
    health.beat()
    assert not health.healthy()[0], "it has had time"


def test_before_anything_was_asked_nothing_is_said_of_the_broker() -> None:
    health = Health()
    assert health.ready()[1]["broker"] == {"connected": None, "last_answer": None, "away_since": None, "cause": None}
    health.standby()
    assert health.ready()[0]


def test_states_are_shown_as_they_change(clock: Clock) -> None:
    shown: list[tuple[TopicPartition, State | None]] = []
    health = Health(60, clock, show=lambda tp, state: shown.append((tp, state)))

    def told() -> list[State | None]:
        found = [state for tp, state in shown if tp == A]
        shown.clear()
        assert [p["state"] for p in health.ready()[1]["partitions"]] == [found[-1]] * (found[-1] is not None)
        return found

    health.assigned(A)
    assert told() == ["restoring"]
    health.replaying(A)
    assert told() == ["replaying"]
    health.restored(A)
    health.progress(A, 5, lag=3)
    assert told() == ["live", "live"]
    clock.now += 61
    health.progress(A, 5, lag=3)
    assert told() == ["stalled"]
    health.progress(A, 6, lag=2)
    assert told() == ["live"]
    health.removed(A)
    assert told() == [None]
    health.replaying(A)
    health.restored(A)
    assert not shown, "what is gone comes back by an assignment alone"


def test_a_partition_that_cannot_be_asked_while_others_answer_is_stalled_and_nobody_s_death(clock: Clock) -> None:
    line = Line()
    health = Health(60, clock, connectivity=line)
    health.assigned(A)
    health.restored(A)
    for expected in ("live", "stalled"):
        health.progress(A, 5, lag=None)
        assert health.healthy()[1]["partitions"][0]["state"] == expected
        clock.now += 61
    assert health.healthy()[0] is False, "the loop is silent by now"
    health.progress(A, 5, lag=None)
    assert health.healthy()[0]
    line.cut()
    assert health.healthy()[1]["partitions"][0]["state"] == "live", "the outage is told as such"
    line.now = Connectivity(answered_at=1_790_000_100.0)
    health.progress(A, 5, lag=0)
    assert health.healthy()[1]["partitions"][0]["state"] == "live"


def test_what_is_seen_is_shown_and_not_judged(health: Health, clock: Clock) -> None:
    health.progress(A, 5, lag=3)
    for _ in range(61):
        health.seen(A, 5, lag=9)
        health.beat()
        clock.now += 1
    healthy, detail = health.healthy()
    assert not healthy, "the clock of the stall went on"
    assert (detail["partitions"][0]["position"], detail["partitions"][0]["lag"]) == (5, 9)
    health.seen(A, 6, lag=9)
    health.progress(A, 6, lag=9)
    assert health.healthy()[0], "it has moved since it was judged"


def test_caught_up_means_that_nothing_was_left_to_read_when_that_was_asked(health: Health, clock: Clock) -> None:
    health.progress(A, 5, lag=0)
    health.progress(B, 5, lag=0)
    clock.now += 10
    assert health.caught_up(within_s=10)
    assert not health.caught_up(within_s=9)
    health.progress(A, 5, lag=1)
    health.progress(B, 5, lag=0)
    assert not health.caught_up(within_s=10)
    health.progress(A, 6, lag=0)
    health.assigned(B)
    health.progress(B, 5, lag=0)
    assert not health.caught_up(within_s=10)


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
