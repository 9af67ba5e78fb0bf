"""Stream time follows the records, and a few absurd timestamps cannot move it.

Here all records are of one stream, as in a topic of one device; where several have to agree, see ``test_streams``.
"""

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


def test_a_jump_is_taken_back_when_ten_in_a_row_come_at_the_time_before_it() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 1, far, far, far, *range(2, 11)):
        assert clock.observe(t) in (t, 1)
    assert clock.now == far
    assert (clock.observe(11), clock.now) == (11, 11)
    assert (clock.time_jumps_refused, clock.time_jumps_believed, clock.time_jumps_taken_back) == (2, 1, 1)


def test_a_jump_is_kept_while_some_records_still_come_at_the_later_time() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 1, far, far, far, *range(2, 11), far + 1, *range(11, 20), far + 2):
        clock.observe(t)
    assert clock.now == far + 2


def test_records_from_long_ago_do_not_stand_in_the_way_of_taking_a_jump_back() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 1, far, far, far):
        clock.observe(t)
    for t in range(2, 12):
        clock.observe(-(10**9))
        clock.observe(t)
    assert clock.now == 11


def test_the_next_jump_after_one_that_was_taken_back_needs_twice_as_many_records() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 1, far, far, far, *range(2, 12)):
        clock.observe(t)
    assert [clock.observe(far) for _ in range(6)] == [11] * 5 + [far]


def test_a_jump_that_time_has_gone_on_from_is_not_taken_back_by_ten_records() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 1, far, far, far, far + JUMP, far + JUMP + 1, *range(2, 50)):
        clock.observe(t)
    assert clock.now == far + JUMP + 1


def test_time_that_was_wrong_from_the_start_on_is_corrected_by_a_hundred_records_in_a_row() -> None:
    clock = StreamClock(JUMP)
    for t in (10**9, 10**9 + 1, *range(99)):
        clock.observe(t)
    assert clock.now == 10**9 + 1
    assert (clock.observe(99), clock.now) == (99, 99)


def test_records_further_apart_than_a_jump_may_be_still_move_time_at_last() -> None:
    clock = StreamClock(10)
    for t in range(0, 5_000, 50):
        clock.observe(t)
    assert clock.now == 0
    clock.observe(5_000)
    assert clock.now == 50  # the nearest of the hundred


def test_the_time_lived_through_leaves_jumps_out_and_never_falls() -> None:
    far = 10**9
    clock = StreamClock(JUMP)
    for t in (0, 500, far, far, far, far + 300, *range(501, 512)):
        clock.observe(t)
    assert (clock.now, clock.lived) == (511, 500 + 300 + 1)


@given(st.lists(times, max_size=40))
def test_time_goes_back_only_while_provisional_or_after_a_jump_and_never_beyond_a_record(log: list[int]) -> None:
    clock = StreamClock(JUMP)
    settled = False
    for i, time_ms in enumerate(log):
        before = clock.now
        believed = clock.observe(time_ms)
        assert clock.now in log[: i + 1]
        assert believed in (time_ms, before)
        if settled and not clock.time_jumps_believed:
            assert clock.now >= before
        settled = settled or (i > 0 and clock.now >= before and abs(time_ms - before) <= JUMP)
