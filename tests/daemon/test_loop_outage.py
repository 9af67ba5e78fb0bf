"""What the loop does with a broker that fails or is away: failed commits are counted at once, nobody waits in vain."""

from __future__ import annotations

import logging
import time

import pytest

from streamrnn.broker.protocol import Connectivity, TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.errors import BrokerError, RebalanceError, UndeliveredError
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import N, Scenario, nth

pytestmark = pytest.mark.usefixtures("no_pauses")


class Distant(RebalancingBroker):
    """A broker that can be away, as far as it says itself."""

    away = False
    asked = 0

    def connectivity(self) -> Connectivity:
        now = time.time()
        return Connectivity(now, now - 10.0, "cut") if self.away else Connectivity(now)

    def log_end(self, tp: TopicPartition) -> int:
        type(self).asked += 1
        return super().log_end(tp)


@pytest.mark.parametrize("error", [BrokerError("in doubt"), RebalanceError("the group changed")])
def test_each_commit_that_fails_is_counted_when_it_does(scenario: Scenario, error: BrokerError) -> None:
    seen: list[float] = []
    loops: list[Loop] = []

    def fail(n: int) -> None:
        if n in (3, 6, 7):
            seen.append(loops[0].metrics.registry.get_sample_value("streamrnn_commit_failures_total") or 0.0)
            raise error

    run = scenario.run(before={"commit": fail}, turn=lambda loop, _: loops.append(loop))
    assert seen == [0, 1, 2], "each by the time of the next one"
    assert run.registry.get_sample_value("streamrnn_commit_failures_total") == 3
    assert len(scenario.predictions()) == N


def test_outputs_that_do_not_arrive_are_a_failed_commit_each_time(scenario: Scenario) -> None:
    def fail(n: int) -> None:
        if n in (2, 3, 4):
            raise UndeliveredError("no answer")

    run = scenario.run(before={"flush": fail})
    assert run.registry.get_sample_value("streamrnn_commit_failures_total") == 3
    assert len(scenario.predictions()) == N


@pytest.mark.parametrize("away", [False, True])
def test_what_fails_in_an_outage_is_told_by_the_outage_alone(
    scenario: Scenario, caplog: pytest.LogCaptureFixture, away: bool
) -> None:
    caplog.set_level(logging.DEBUG)

    class Cut(Distant):
        pass

    def fail(n: int) -> None:
        Cut.away = away and n in (3, 4)
        if n in (3, 4):
            raise BrokerError("in doubt")

    scenario.run(before={"commit": fail}, broker=Cut)
    levels = {record.levelname for record in caplog.records if "commit in doubt" in record.getMessage()}
    assert levels == {"DEBUG" if away else "WARNING"}


def test_the_end_of_the_log_is_not_asked_for_while_nobody_answers_and_at_once_when_somebody_does(
    scenario: Scenario,
) -> None:
    class Cut(Distant):
        pass

    asked: list[int] = []

    def turn(loop: Loop, _: RebalancingBroker) -> None:
        Cut.away = 5 <= len(asked) < 12
        loop._shown_at = -1e9  # each turn reports
        if len(asked) == 5:
            loop._probed_at = -1e9  # a look is due
        asked.append(Cut.asked)

    scenario.run(turn=turn, broker=Cut)
    assert asked[12] == asked[5], "nobody was asked in vain"
    assert asked[13] > asked[12], "the look that was due"


def test_the_commit_of_a_first_start_counts_as_any_other(scenario: Scenario) -> None:
    run = scenario.run(before={"commit": nth(1, RebalanceError("the group changed"))})
    assert run.registry.get_sample_value("streamrnn_commit_failures_total") == 1
    assert len(scenario.predictions()) == N
