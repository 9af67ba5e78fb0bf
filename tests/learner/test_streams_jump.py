"""Far jumps of time: several streams have to confirm them, they evict nobody by themselves, and there is a way back.

Where nothing else is said there are a hundred streams, one record a second each minute or so, a ``ttl`` of a day and
jumps of up to a week that need no confirmation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamrnn.learner.clock
import streamrnn.learner.streams
import tests.oracle.streams
from streamrnn.core.kinds import EVENT, LABEL
from streamrnn.learner import placing
from streamrnn.learner.streams import StreamIndex
from tests.learner.test_streams import Row, events, everything, fed, restored
from tests.oracle.streams import Clock

HOUR = 3_600_000
DAY, WEEK, MONTH, YEAR = 24 * HOUR, 168 * HOUR, 720 * HOUR, 8760 * HOUR
START = 1_700_000_000_000


def of(streams: Iterable[int], start: int, step_ms: int = 1000) -> list[Row]:
    """One record of each of these streams, a step apart."""
    return events(*[(b"device %d" % stream, start + step_ms * i) for i, stream in enumerate(streams)])


def running(streams: int = 100, ttl_ms: int | None = DAY) -> tuple[StreamIndex, int]:
    """An index at work, and what time its next record would have."""
    index = StreamIndex(1000, ttl_ms, WEEK)
    log = of([i % streams for i in range(500)], START)
    fed(index, log)
    return index, log[-1][1] + 1000


def jumps(index: StreamIndex) -> tuple[int, int, int]:
    clock = index.clock
    return clock.time_jumps_refused, clock.time_jumps_believed, clock.time_jumps_taken_back


def test_no_number_of_records_of_one_device_among_many_moves_time_or_evicts() -> None:
    index, now = running()
    for i in range(50):
        fed(index, of([7] * 90, now + YEAR + i))
        fed(index, of([i % 100], now + 1000 * i))
    assert (len(index), index.evictions_ttl) == (100, 0)
    assert index.clock.now == now + 49_000
    assert jumps(index) == (50 * 90, 0, 0)


def test_two_devices_of_a_hundred_do_not_confirm_each_other() -> None:
    index, now = running()
    fed(index, of([7, 8] * 40, now + YEAR))
    assert index.clock.now == now - 1000


def test_three_devices_in_a_row_confirm_a_jump_and_a_jump_evicts_nobody_who_stays_away() -> None:
    index, now = running()
    out = fed(index, of([7, 8, 9], now + YEAR))
    assert [time for _, _, time in out] == [now - 1000, now - 1000, now + YEAR + 2000]
    assert index.clock.now == now + YEAR + 2000
    assert len(index) == 100
    assert [fresh for _, fresh, _ in out] == [False, False, True]  # the third came back after a year, for all we know


def test_devices_that_were_wrong_together_are_corrected_by_the_others_and_have_harmed_nobody() -> None:
    index, now = running()
    fed(index, of([7, 8, 9, 7, 8, 9], now + YEAR))
    wrong = (b"device 7", b"device 8", b"device 9")
    slots = {key: index.find(key) for key in list(index.keys()) if key not in wrong}
    out = fed(index, of(range(10, 100), now))
    assert index.clock.now == now + 89_000
    assert not any(fresh for _, fresh, _ in out)
    assert {key: index.find(key) for key in slots} == slots
    assert jumps(index) == (2, 1, 1)
    assert all(time == now + 1000 * i for i, (_, _, time) in enumerate(out))


def test_streams_that_followed_a_wrong_jump_count_as_seen_when_time_went_back() -> None:
    index, now = running()
    fed(index, of([7, 8, 9], now + YEAR))
    fed(index, of(range(10, 20), now))
    seen = index.state()[3][:, 0]
    assert seen.max() == index.clock.now == now + 9000
    fed(index, of([10, 11], now + DAY + 10_000))
    assert index.find(b"device 9") == index.blank  # idle like the others, not alive for a year


def test_a_first_record_from_1970_keeps_nobody_from_the_time_that_the_others_agree_on() -> None:
    index = StreamIndex(1000, DAY, WEEK)
    out = fed(index, [*of([0], 0), *of([1, 2, 3, 4], START)])
    assert [time for _, _, time in out] == [0, 0, 0, START + 2000, START + 3000]


def test_a_pause_of_a_month_over_all_devices_is_believed_with_the_third_and_each_starts_over_as_it_returns() -> None:
    index, now = running()
    out = fed(index, of(range(100), now + MONTH))
    assert index.clock.now == now + MONTH + 99_000
    assert [fresh for _, fresh, _ in out] == [False, False] + [True] * 98
    again = fed(index, of(range(100), now + MONTH + 100_000))
    assert [fresh for _, fresh, _ in again] == [True] * 2 + [False] * 98
    assert index.evictions_ttl == 100


def test_streams_that_do_not_return_after_a_pause_leave_once_they_were_idle_in_the_time_lived_through() -> None:
    index, now = running()
    fed(index, of([0, 1, 2] * 20, now + MONTH))
    assert len(index) == 100
    fed(index, of([0, 1, 2], now + MONTH + DAY - HOUR))
    fed(index, of([0, 1, 2], now + MONTH + DAY + HOUR))
    assert index.keys() == [b"device 0", b"device 1", b"device 2"]


def test_a_topic_of_one_device_follows_that_device_and_back() -> None:
    index, now = running(streams=1)
    fed(index, of([0] * 3, now + YEAR))
    assert index.clock.now == now + YEAR + 2000
    fed(index, of([0] * 10, now))
    assert index.clock.now == now + 9000


def test_of_two_devices_both_have_to_agree() -> None:
    index, now = running(streams=2)
    fed(index, of([0] * 20, now + YEAR))
    assert index.clock.now < now
    fed(index, of([1], now + YEAR))
    assert index.clock.now == now + YEAR


def test_devices_that_are_gone_for_good_do_not_stop_time() -> None:
    index, now = running(ttl_ms=None)
    fed(index, of([0] * 99, now + MONTH))
    assert index.clock.now < now
    fed(index, of([0], now + MONTH))
    assert index.clock.now == now + MONTH


def test_new_keys_confirm_nothing() -> None:
    index, now = running()
    fed(index, events(*[(b"made up %d" % i, now + YEAR) for i in range(99)]))
    assert (index.clock.now, jumps(index)) == (now - 1000, (99, 0, 0))


def test_new_keys_alone_move_time_after_a_hundred_records() -> None:
    """A topic whose keys are sessions: after a pause none of the old ones comes back."""
    index, now = running()
    fed(index, events(*[(b"session %d" % i, now + MONTH + i) for i in range(100)]))
    assert index.clock.now == now + MONTH + 99


def test_a_gateway_that_stamps_half_of_the_streams_wrongly_costs_the_other_half_nothing() -> None:
    index, now = running()
    order = [(i * 7919) % 100 for i in range(5000)]
    log = [(key, time + (YEAR if int(key.split()[1]) < 50 else 0), kind) for key, time, kind in of(order, now)]
    out = fed(index, log)
    assert not any(fresh for stream, (_, fresh, _) in zip(order, out, strict=True) if stream >= 50)
    assert [time for stream, (_, _, time) in zip(order, out, strict=True) if stream >= 50] == [
        time for stream, (_, time, _) in zip(order, log, strict=True) if stream >= 50
    ]
    assert jumps(index)[1] <= 6


def test_a_far_past_record_moves_nothing_and_confirms_nothing() -> None:
    index, now = running()
    for i in range(200):
        fed(index, events((b"device 1", 0), (b"device 2", START - YEAR + i)))
        fed(index, of([i % 100], now + 1000 * i))
    assert index.clock.now == now + 199_000
    assert jumps(index) == (0, 0, 0)


def test_all_streams_stamped_in_the_wrong_unit_from_the_start_are_corrected() -> None:
    index = StreamIndex(1000, DAY, WEEK)
    log = of([i % 10 for i in range(300)], START)
    fed(index, [(key, 1000 * time, kind) for key, time, kind in log[:100]])
    assert index.clock.now == 1000 * log[99][1]
    fed(index, log[100:])
    assert index.clock.now == log[-1][1]


def test_records_of_one_stream_at_one_time_in_a_block_move_time_as_they_do_one_by_one() -> None:
    whole, single = running(streams=1)[0], running(streams=1)[0]
    log = events(*[(b"device 0", START + YEAR)] * 5)
    assert fed(whole, log) == [single.assign_one(*row) for row in log]
    assert everything(whole) == everything(single)
    assert whole.clock.now == START + YEAR


# -- against the naive clock, with small numbers so that everything happens soon --------------------------------------

steps = st.tuples(
    st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
    st.sampled_from((0, 0, 0, 1, 1, 2, -1)),  # which time it believes in, in weeks
    st.integers(0, 400),
    st.sampled_from((EVENT, EVENT, EVENT, LABEL)),
)
runs = st.lists(st.tuples(steps, st.integers(1, 6)), max_size=25)


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "naive" in request.node.name or "cut" in request.node.name:
        for module in (streamrnn.learner.clock, tests.oracle.streams):
            monkeypatch.setattr(module, "RETURNS", 4)
            monkeypatch.setattr(module, "UNCONTRADICTED", 7)
        monkeypatch.setattr(streamrnn.learner.streams, "UNCONTRADICTED", 7)
        monkeypatch.setattr(placing, "ONE_BY_ONE", 0)
        monkeypatch.setattr(placing, "AT_ONCE", 3)


def log_of(drawn: list[tuple[tuple[bytes, int, int, int], int]]) -> list[Row]:
    """Runs of records of one stream, each at a time that goes on slowly in one of several far places."""
    log: list[Row] = []
    for (key, place, jitter, kind), count in drawn:
        log += [(key, place * WEEK + 50 * len(log) + jitter + i, kind) for i in range(count)]
    return log


@given(st.sampled_from((None, 3000)), st.integers(1, 5), runs)
def test_time_and_streams_are_those_of_the_naive_clock(ttl: int | None, capacity: int, drawn: list[object]) -> None:
    log = log_of(drawn)  # type: ignore[arg-type]
    index, clock = StreamIndex(capacity, ttl, 1000), Clock(1000)
    seen: dict[bytes, tuple[int, int, int]] = {}  # least recently seen first: time, lived, number
    for number, (row, out) in enumerate(zip(log, fed(index, log), strict=True), 1):
        key, time_ms, kind = row
        effective = clock.advance(time_ms, key, {k: n for k, (_, _, n) in seen.items()}, number)
        assert clock.now_ms is not None
        if clock.went_back:
            seen = {k: (min(t, clock.now_ms), lived, n) for k, (t, lived, n) in seen.items()}
        if ttl is not None:
            seen = {
                k: (t, lived, n)
                for k, (t, lived, n) in seen.items()
                if clock.lived_ms - lived <= ttl and (k != key or effective - t <= ttl)
            }
        fresh = key not in seen
        assert out[1:] == (fresh and kind == EVENT, effective)
        if kind == EVENT or not fresh:
            seen.pop(key, None)
            if len(seen) == capacity:
                del seen[next(iter(seen))]
            seen[key] = (clock.now_ms, clock.lived_ms, number)
    assert index.keys() == list(seen)
    if log:
        assert (index.clock.now, index.clock.lived) == (clock.now_ms, clock.lived_ms)
    counts = [clock.counts[f"time_jumps_{cause}"] for cause in ("refused", "believed", "taken_back")]
    assert list(jumps(index)) == counts


@given(st.sampled_from((None, 3000)), runs, st.lists(st.integers(0, 100), max_size=4), st.booleans())
def test_any_cut_and_any_restore_gives_the_same(
    ttl: int | None, drawn: list[object], cuts: list[int], one_by_one: bool
) -> None:
    log = log_of(drawn)  # type: ignore[arg-type]
    whole, index = StreamIndex(4, ttl, 1000), StreamIndex(4, ttl, 1000)
    expected, out = fed(whole, log), []
    for start, stop in itertools.pairwise([0, *sorted(cuts), max([*cuts, len(log)])]):
        piece = log[start:stop]
        out += [index.assign_one(*row) for row in piece] if one_by_one else fed(index, piece)
        index = restored(index)
    assert out == expected
    assert everything(index) == everything(whole)
