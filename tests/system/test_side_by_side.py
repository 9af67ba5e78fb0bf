"""Work that is shared out comes back in order, and one failure ends it."""

from __future__ import annotations

import threading

import pytest

from streamrnn.system.side_by_side import MOST_THREADS, side_by_side, threads


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    assert side_by_side(lambda n: n * n, range(20), count) == [n * n for n in range(20)]
    assert side_by_side(lambda n: n, [], count) == []


def test_as_many_work_at_once_as_are_asked_for() -> None:
    meeting = threading.Barrier(3)
    side_by_side(lambda _: meeting.wait(30.0), range(3), 3)
    assert 1 < threads() <= MOST_THREADS


def test_the_error_of_the_first_item_is_raised_and_nothing_further_is_begun() -> None:
    begun: list[int] = []
    meeting = threading.Barrier(2)

    def fail(number: int) -> None:
        begun.append(number)
        meeting.wait(30.0)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        side_by_side(fail, range(100), 2)
    assert sorted(begun) == [0, 1]


def test_nobody_is_left_behind() -> None:
    before = threading.active_count()
    side_by_side(abs, range(9), 4)
    assert threading.active_count() == before
