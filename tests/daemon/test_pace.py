"""Claims about how many records a poll brings: a turn stays short, and cheap records are not held up."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.protocol import Polled
from streamrnn.daemon.pace import FASTER, FIRST, TURN_S, Pace
from streamrnn.daemon.run import run_worker
from tests.support.learners import Bits
from tests.support.scenario import Scenario


def limits(cost_s: float, polls: int) -> list[int]:
    """Limits of the polls of a log that always has more, whose records cost so much each."""
    pace, found = Pace(), []
    for _ in range(polls):
        found.append(pace.records)
        pace.took(pace.records, cost_s * pace.records)
    return found


def test_records_that_cost_little_are_soon_polled_by_thousands() -> None:
    cost_s = 2.0**-15
    assert limits(cost_s, 6) == [FIRST * FASTER**n for n in range(6)]
    assert limits(cost_s, 20)[-1] == TURN_S * 2**15


def test_records_that_cost_much_come_one_by_one() -> None:
    assert limits(3.0, 3) == [FIRST, 1, 1]


@given(st.floats(1e-6, 10.0))
def test_a_turn_behind_the_first_takes_no_longer_than_it_should_unless_by_a_single_record(cost_s: float) -> None:
    for limit in limits(cost_s, 12)[1:]:
        assert limit == 1 or limit * cost_s <= TURN_S * (1 + 1e-9)


def test_a_poll_that_brought_nothing_says_nothing() -> None:
    pace = Pace()
    pace.took(0, 0.0)
    assert pace.records == FIRST


def test_the_loop_polls_no_more_records_than_it_has_time_for(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrnn.daemon.pace.TURN_S", 0.0)
    asked: list[int] = []

    class Asked(EmbeddedBroker):
        def poll(self, timeout_s: float, max_records: int) -> Polled:
            asked.append(max_records)
            return super().poll(timeout_s, max_records)

    config, stop = scenario.config(), threading.Event()
    run_worker(config, Asked(scenario.log, config.group_id), stop, idle=stop.set)
    assert set(asked) == {FIRST, 1}
    assert scenario.predictions() == reference[1]
