"""Stream time follows the records, and a few absurd timestamps cannot move it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.learner.clock import StreamClock

JUMP = 1000
YEAR_9999 = 253_402_300_799_999
times = st.one_of(st.integers(0, 5 * JUMP), st.sampled_from((10**9, -(10**13), 10**12, 10**12 + 1, YEAR_9999)))


def test_time_is_the_running_maximum() -> None:
    clock = StreamClock(JUMP)
    assert not clock.started
    now = []
    for time_ms in (100, 300, 200, 1300, 400):
        assert clock.observe(time_ms) == time_ms
        now.append(clock.now)
    assert clock.started
    assert now == [100, 300, 300, 1300, 1300]


def test_one_absurd_timestamp_moves_nothing_and_counts_as_now() -> None:
    clock = StreamClock(JUMP)
    assert [clock.observe(t) for t in (0, 10, YEAR_9999, 20)] == [0, 10, 10, 20]
    assert clock.now == 20


def test_a_far_jump_is_believed_when_three_in_a_row_agree() -> None:
    clock = StreamClock(JUMP)
    far = 10**9
    assert [clock.observe(t) for t in (0, 1, far, far + 5, far + 3)] == [0, 1, 1, 1, far + 3]
    assert clock.now == far + 3


def test_far_jumps_that_disagree_or_are_interrupted_never_confirm_each_other() -> None:
    clock = StreamClock(JUMP)
    for t in (0, 1, 10**9, 10**10, 10**11, 10**9, 2, 10**9, 10**9, 3):
        clock.observe(t)
    assert clock.now == 3


def test_a_first_timestamp_from_the_year_9999_is_withdrawn() -> None:
    clock = StreamClock(JUMP)
    assert [clock.observe(t) for t in (YEAR_9999, 50, 60)] == [YEAR_9999, 50, 60]
    assert clock.now == 60


def test_going_back_never_moves_time_once_two_records_agreed() -> None:
    clock = StreamClock(JUMP)
    for t in (10_000, 10_001, 0, -(10**12)):
        clock.observe(t)
    assert clock.now == 10_001


def test_the_boundary_of_a_jump_is_inclusive() -> None:
    clock = StreamClock(JUMP)
    clock.observe(0)
    clock.observe(0)
    assert clock.observe(JUMP) == JUMP
    assert clock.observe(2 * JUMP + 1) == JUMP


def test_two_confirmations_before_a_restart_count_after_it() -> None:
    far = 10**9
    clock, again = StreamClock(JUMP), StreamClock(JUMP)
    for t in (0, 1, far, far):
        clock.observe(t)
    again.restore(clock.state())
    assert (again.observe(far), again.now) == (far, far)


@given(st.lists(times, max_size=40), st.integers(0, 40))
def test_saving_and_restoring_at_any_record_changes_nothing(log: list[int], cut: int) -> None:
    whole, first = StreamClock(JUMP), StreamClock(JUMP)
    expected = [(whole.observe(t), whole.now) for t in log]
    seen = [(first.observe(t), first.now) for t in log[:cut]]
    second = StreamClock(JUMP)
    second.restore(first.state())
    seen += [(second.observe(t), second.now) for t in log[cut:]]
    assert seen == expected
    assert np.array_equal(second.state(), whole.state())


@given(st.lists(times, max_size=40))
def test_time_goes_back_only_while_provisional_and_never_beyond_a_record(log: list[int]) -> None:
    clock = StreamClock(JUMP)
    settled = False
    for i, time_ms in enumerate(log):
        before = clock.now
        believed = clock.observe(time_ms)
        assert clock.now in log[: i + 1]
        assert believed in (time_ms, before)
        if settled:
            assert clock.now >= before
        settled = settled or (i > 0 and clock.now >= before and abs(time_ms - before) <= JUMP)
