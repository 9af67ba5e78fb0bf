"""Claims about how many records a poll brings: a turn stays short, and cheap records are not held up."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.broker.columns import Records, Strings
from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.protocol import Polled
from streamrnn.daemon.pace import FASTER, FIRST, MOST_BYTES, PIECE_S, TURN_S, Pace
from streamrnn.daemon.run import run_worker
from tests.support.learners import Bits
from tests.support.scenario import Scenario


class Worked:
    """A clock that goes on by what records cost: ``cost_s`` each, and ``byte_s`` each byte of their values."""

    def __init__(self, cost_s: float, byte_s: float = 0.0) -> None:
        self.cost_s, self.byte_s, self.now = cost_s, byte_s, 0.0

    def __call__(self) -> float:
        return self.now

    def turn(self, pace: Pace, records: Records) -> list[int]:
        """Hand records on as the loop does; returns how many bytes each piece's values had."""
        sizes = []
        with pace.turn():
            for piece in pace.pieces(records):
                sizes.append(int(piece.values.sizes.sum()))
                self.now += self.cost_s * len(piece) + self.byte_s * sizes[-1]
        return sizes


def of_size(size: int, n: int) -> Records:
    """So many records with values of this size, which are all the same bytes."""
    none = np.zeros(n, np.int64)
    return Records("in", 0, none, none, Strings(b"", none, none - 1), Strings(b"x" * size, none, none + size))


def limits(cost_s: float, polls: int) -> list[int]:
    """Limits of the polls of a log that always has more, whose records cost so much each."""
    worked, found = Worked(cost_s), []
    pace = Pace(worked)
    for _ in range(polls):
        found.append(pace.records)
        worked.turn(pace, of_size(0, pace.records))
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
    with pace.turn():
        assert list(pace.pieces(of_size(0, 0))) == []
    assert pace.records == FIRST


@pytest.mark.parametrize("byte_s", [1e-9, 1e-6, 1e-5])
def test_long_records_behind_thousands_of_short_ones_are_handed_on_a_few_at_a_time(byte_s: float) -> None:
    worked = Worked(1e-6, byte_s)
    pace = Pace(worked)
    for _ in range(10):
        worked.turn(pace, of_size(6, pace.records))
    assert pace.records > 1_000
    began_at = worked.now
    sizes = worked.turn(pace, of_size(100_000, pace.records))
    assert max(sizes) <= MOST_BYTES
    # The cost of a byte is found out by the first piece, so no more than that and the turn's time pass.
    assert worked.now - began_at <= TURN_S + max(PIECE_S, 2 * MOST_BYTES * byte_s) + 100_000 * byte_s


def test_records_of_a_kind_are_handed_on_in_pieces_of_about_the_time_one_should_take() -> None:
    worked = Worked(0.0, 2e-6)
    pace = Pace(worked)
    for _ in range(5):
        sizes = worked.turn(pace, of_size(400, 10_000))
    assert all(size * worked.byte_s <= PIECE_S for size in sizes)
    assert sizes[0] * worked.byte_s > PIECE_S / 2


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
