"""Where a worker stands beyond what is no record, by accounts that may be old or come too early."""

from __future__ import annotations

import json

import pytest

from streamrnn.broker.confluent_positions import Positions
from streamrnn.broker.protocol import TopicPartition

TP = TopicPartition("t", 0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def account(given_at: float, next_offset: int = 12, waiting: int = 0, state: str = "active") -> str:
    read = {"next_offset": next_offset, "fetchq_cnt": waiting, "fetch_state": state}
    return json.dumps({"ts": int(1e6 * given_at), "topics": {"t": {"partitions": {"-1": read, "0": read}}}})


@pytest.fixture
def positions() -> Positions:
    """At offset 7 since second 100, in second 110."""
    made = Positions(clock := Clock())
    made[TP] = 7
    clock.now = 110.0
    return made


def test_two_accounts_that_agree_move_it_and_one_does_not(positions: Positions) -> None:
    positions.account(account(101.0))
    assert positions[TP] == 7
    positions.account(account(101.0))  # the same one again
    assert positions[TP] == 7
    positions.account(account(102.0))
    assert positions[TP] == 12


@pytest.mark.parametrize(
    "second", [account(102.0, 13), account(102.0, waiting=1), account(102.0, state="stopped"), account(102.0, 5)]
)
def test_accounts_that_differ_or_tell_of_something_that_waits_do_not(positions: Positions, second: str) -> None:
    positions.account(account(101.0))
    positions.account(second)
    assert positions[TP] == 7


def test_accounts_from_before_it_was_moved_or_of_another_clock_say_nothing(positions: Positions) -> None:
    for given_at in (98.0, 99.0, 1e9, 1e9 + 1):
        positions.account(account(given_at))
    assert positions[TP] == 7
    positions.account(account(101.0))
    positions[TP] = 8  # a record came, in second 110
    positions.account(account(102.0))
    assert positions[TP] == 8


def test_an_end_moves_it_forward_only_and_what_is_forgotten_comes_back_by_a_seek(positions: Positions) -> None:
    positions.ended(TP, 9)
    positions.ended(TP, 8)
    assert positions[TP] == 9
    positions.forget(TP)
    positions.ended(TP, 20)
    positions.account(account(101.0))
    assert TP not in positions
