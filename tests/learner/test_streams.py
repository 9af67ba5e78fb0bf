"""Slots are given, kept and taken away record by record, the same for any cut of the log and across a restore."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamrnn.learner.streams
from streamrnn.core.kinds import EVENT, FORGET, LABEL
from streamrnn.learner import placing
from streamrnn.learner.room import INDEX_BYTES
from streamrnn.learner.streams import IDLE_AT_ONCE, StreamIndex

JUMP_MS, TTL_MS = 1000, 300
YEAR_9999 = 253_402_300_799_999

Row = tuple[bytes, int, int]

rows = st.tuples(
    st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f" * 30]),
    st.one_of(st.integers(0, 2000), st.sampled_from((YEAR_9999, 10**9, 10**9 + 1, -(10**9)))),
    st.sampled_from((EVENT, EVENT, EVENT, LABEL, EVENT, FORGET)),
)
indexes = st.builds(
    StreamIndex,
    max_streams=st.integers(1, 6),
    ttl_ms=st.sampled_from((None, 0, TTL_MS)),
    max_time_jump_ms=st.just(JUMP_MS),
    protected_share=st.sampled_from((0.0, 0.5, 0.8)),
    max_bytes=st.sampled_from((None, 3 * INDEX_BYTES + 40)),
    stream_bytes=st.just(5),
    names_leaving=st.booleans(),
)


def fed(index: StreamIndex, log: Sequence[Row]) -> list[tuple[int, bool, int]]:
    slots, fresh, times = index.assign([r[0] for r in log], [r[1] for r in log], [r[2] for r in log])
    return list(zip(slots.tolist(), fresh.tolist(), times.tolist(), strict=True))


def everything(index: StreamIndex) -> tuple[object, ...]:
    clock, arrivals, keys, seen = index.state()
    room = index.room
    rest = room.key_bytes, room.established, [room.first_to_leave()]
    return list(keys), seen.tolist(), index.keys(), clock.tolist(), arrivals.tolist(), index.n_slots, rest


def empty_like(index: StreamIndex) -> StreamIndex:
    room = index.room
    return StreamIndex(
        index.max_streams,
        index.ttl_ms,
        index.clock.max_jump_ms,
        protected_share=room.protected_share,
        max_bytes=room.max_bytes,
        stream_bytes=room.stream_bytes,
        names_leaving=index._names_leaving,
    )


def restored(index: StreamIndex) -> StreamIndex:
    again = empty_like(index)
    again.resume(*index.state())
    return again


def events(*pairs: tuple[bytes, int]) -> list[Row]:
    return [(key, time_ms, EVENT) for key, time_ms in pairs]


def test_the_least_recently_seen_stream_leaves_for_a_new_one() -> None:
    index = StreamIndex(2, None, JUMP_MS)
    out = fed(index, events((b"a", 1), (b"b", 2), (b"a", 3), (b"c", 4), (b"b", 5)))
    assert [slot for slot, _, _ in out] == [0, 1, 0, 1, 0]
    assert [fresh for _, fresh, _ in out] == [True, True, False, True, True]
    assert index.evictions_capacity == 2
    assert index.keys() == [b"c", b"b"]
    assert index.find(b"a") == index.blank == 2


def test_seen_again_counts_by_arrival_not_by_timestamp() -> None:
    index = StreamIndex(2, None, JUMP_MS)
    fed(index, events((b"a", 100), (b"b", 90), (b"a", 10), (b"c", 50)))
    assert index.keys() == [b"a", b"c"]


def test_a_stream_idle_for_longer_than_ttl_is_dropped_exactly_then() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", TTL_MS)))
    assert index.find(b"a") == 0
    fed(index, events((b"b", TTL_MS + 1)))
    assert index.find(b"a") == index.blank
    assert (index.evictions_ttl, len(index)) == (1, 1)


def test_a_stream_that_comes_back_after_ttl_starts_over_even_if_it_is_the_one_seen() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    out = fed(index, events((b"a", 0), (b"a", TTL_MS + 1)))
    assert [fresh for _, fresh, _ in out] == [True, True]


def test_a_record_from_the_year_9999_evicts_nothing() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", 1), (b"c", YEAR_9999), (b"a", 2), (b"b", 3), (b"c", YEAR_9999), (b"c", 4)))
    assert (index.evictions_ttl, index.keys()) == (0, [b"a", b"b", b"c"])


def test_a_first_record_from_the_year_9999_evicts_nothing_and_does_not_live_forever() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", YEAR_9999), (b"b", 0), (b"b", 1)))
    assert (index.evictions_ttl, index.keys()) == (0, [b"a", b"b"])
    fed(index, events((b"b", TTL_MS + 1)))
    assert index.keys() == [b"b"]


def test_a_label_creates_no_stream_and_evicts_none_for_room() -> None:
    index = StreamIndex(1, None, JUMP_MS)
    out = fed(index, [(b"a", 0, EVENT), (b"b", 1, LABEL), (b"a", 2, LABEL)])
    assert [slot for slot, _, _ in out] == [0, index.blank, 0]
    assert (index.keys(), index.evictions_capacity) == ([b"a"], 0)


def test_a_freed_slot_is_used_again_before_a_new_one() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", 200), (b"c", 400)))
    assert index.state()[2] == [b"c", b"b"]


def test_free_slots_are_given_out_in_the_same_order_after_a_restore() -> None:
    log = events(*[(b"%d" % i, 10 * i) for i in range(5)], (b"5", TTL_MS + 100))
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, log)
    again = restored(index)
    more = events(*[(b"n%d" % i, TTL_MS + 100) for i in range(6)])
    assert fed(again, more) == fed(index, more)
    assert everything(again) == everything(index)


@pytest.mark.usefixtures("tiny_segments")
def test_to_touch_a_slot_marks_its_segment_and_nothing_else() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", 0), (b"c", 0)))
    index.pop_touched_segments()
    before = everything(index)
    index.touch(2)
    index.touch(index.blank)
    assert everything(index) == before
    assert index.pop_touched_segments() == {1}


def test_find_changes_nothing() -> None:
    index = StreamIndex(2, None, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", 1)))
    before = everything(index)
    assert (index.find(b"a"), index.find(b"nobody")) == (0, 2)
    assert everything(index) == before


@given(indexes, st.lists(rows, max_size=80), st.lists(st.integers(0, 80), max_size=4), st.booleans())
def test_any_cut_and_any_restore_gives_the_same(
    index: StreamIndex, log: list[Row], cuts: list[int], restore: bool
) -> None:
    whole = empty_like(index)
    expected = fed(whole, log)
    out = []
    for a, b in itertools.pairwise([0, *sorted(cuts), len(log)]):
        out += fed(index, log[a:b])
        if restore:
            index = restored(index)
    assert out[: len(log)] == expected
    assert everything(index) == everything(whole)


@pytest.mark.usefixtures("tiny_segments", "any_block_counts_as_large")
@given(indexes, st.lists(rows, max_size=80), st.integers(0, 80))
def test_a_block_gives_what_its_records_give_one_by_one(index: StreamIndex, log: list[Row], cut: int) -> None:
    twin = empty_like(index)
    for part in (log[:cut], log[cut:]):
        assert fed(index, part) == [twin.assign_one(*row) for row in part]
        assert everything(index) == everything(twin)
        assert index.clock.state().tolist() == twin.clock.state().tolist()
        assert index.pop_touched_segments() == twin.pop_touched_segments()


@pytest.mark.parametrize("at_once", [3, 40, 1024])
@settings(max_examples=25)
@given(st.integers(0, 1000), st.sampled_from((None, 5_000)), st.floats(0, 0.02))
def test_large_blocks_of_many_streams_give_what_their_records_give_one_by_one(
    at_once: int, seed: int, ttl_ms: int | None, new: float
) -> None:
    rng = np.random.default_rng(seed)
    streams = np.where(rng.random(2_000) < new, rng.integers(100, 10_000, 2_000), rng.integers(0, 60, 2_000))
    times = np.cumsum(rng.integers(0, 9, 2_000)) - rng.integers(0, 500, 2_000) * (rng.random(2_000) < 0.3)
    log = [(b"%d" % stream, int(time), EVENT) for stream, time in zip(streams, times, strict=True)]
    index = StreamIndex(80, ttl_ms, 1_000, protected_share=0.5)
    twin = empty_like(index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placing, "AT_ONCE", at_once)
        assert fed(index, log) == [twin.assign_one(*row) for row in log]
    assert everything(index) == everything(twin)
    assert index.clock.state().tolist() == twin.clock.state().tolist()
    assert index.pop_touched_segments() == twin.pop_touched_segments()


def test_records_of_known_streams_at_usual_times_are_placed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    index, log = StreamIndex(80, None, 1_000), events(*((b"%d" % (i % 7), i) for i in range(3_000)))
    fed(index, log[:100])
    for each in ("assign_one", "_assign_usual"):
        monkeypatch.setattr(StreamIndex, each, None)
    fed(index, events(*((b"%d" % (i % 7), i) for i in range(100, 3_000))))
    assert (index.records, index.clock.now) == (3_000, 2_999)


@pytest.mark.usefixtures("any_block_counts_as_large")
def test_far_jumps_in_a_block_must_agree_in_a_row() -> None:
    log = events((b"a", 0), (b"a", 1), (b"b", 10**9), (b"b", 10**9), (b"a", 2), (b"c", 10**9), (b"c", 10**9), (b"a", 3))
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    assert [time for _, _, time in fed(index, log)] == [0, 1, 1, 1, 2, 2, 2, 3]
    assert (index.clock.now, index.keys()) == (3, [b"b", b"c", b"a"])


@pytest.mark.usefixtures("any_block_counts_as_large")
def test_the_first_stream_of_all_may_leave_within_the_block_it_came_in() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, [(b"a", 0, LABEL), (b"a", 1, LABEL)])
    fed(index, events((b"a", 2), (b"b", 2 + TTL_MS), (b"b", 3 + TTL_MS)))
    assert (index.keys(), index.evictions_ttl) == ([b"b"], 1)


@pytest.mark.usefixtures("any_block_counts_as_large")
def test_a_shorter_ttl_holds_from_the_first_record_on() -> None:
    longer, shorter = StreamIndex(9, None, JUMP_MS), StreamIndex(9, TTL_MS, JUMP_MS)
    fed(longer, events((b"a", 0), (b"b", 900)))
    shorter.resume(*longer.state())
    assert fed(shorter, events((b"a", 900), (b"b", 900))) == [(0, True, 900), (1, False, 900)]
    assert shorter.evictions_ttl == 1


@given(indexes, st.lists(rows, max_size=40))
def test_no_stream_outlives_ttl_and_none_exceeds_the_capacity(index: StreamIndex, log: list[Row]) -> None:
    for row in log:
        fed(index, [row])
        assert len(index) <= index.max_streams
        assert index.n_slots <= index.max_streams
        slots = [index.find(key) for key in list(index.keys())]
        assert len(set(slots)) == len(slots)
        gone = index.pop_leaving()
        if index.ttl_ms is not None and len(gone) < IDLE_AT_ONCE and row[2] != FORGET:
            assert (index.clock.lived - index.state()[3][slots, 2] <= index.ttl_ms).all()
        if row[2] == EVENT:
            assert index.keys()[-1] == row[0]


@pytest.fixture
def any_block_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "ONE_BY_ONE", 0)
    monkeypatch.setattr(placing, "AT_ONCE", 3)


@pytest.fixture
def tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamrnn.learner.streams, "SEGMENT_SLOTS", 2)


@pytest.mark.usefixtures("tiny_segments")
def test_a_stream_that_is_dropped_touches_its_segment() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    fed(index, events((b"a", 0), (b"b", 0), (b"c", 0), (b"d", 200)))
    index.pop_touched_segments()
    fed(index, events((b"d", TTL_MS + 1)))
    assert index.keys() == [b"d"]
    assert index.pop_touched_segments() == {0, 1}


@pytest.mark.usefixtures("tiny_segments")
def test_a_withdrawn_first_time_touches_every_stream_seen_under_it() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    first = YEAR_9999 // 2
    fed(index, [(b"%d" % i, first if i == 0 else YEAR_9999 - 2 * JUMP_MS * i, EVENT) for i in range(5)])
    index.pop_touched_segments()
    fed(index, events((b"4", 0)))
    assert index.state()[3][:, 0].tolist() == [0] * 5
    assert index.pop_touched_segments() == {0, 1, 2}


@pytest.mark.usefixtures("tiny_segments")
@given(indexes, st.lists(rows, max_size=40), st.integers(0, 40))
def test_segments_that_are_not_reported_as_touched_did_not_change(index: StreamIndex, log: list[Row], cut: int) -> None:
    fed(index, log[:cut])
    index.pop_touched_segments()
    keys, seen = list(index.state()[2]), index.state()[3].copy()
    fed(index, log[cut:])
    touched = index.pop_touched_segments()
    _, _, later_keys, later_seen = index.state()
    for slot in range(len(later_keys)):
        if slot // 2 not in touched:
            assert later_keys[slot] == keys[slot]
            assert np.array_equal(later_seen[slot], seen[slot])
    assert index.pop_touched_segments() == set()


def test_a_tombstone_drops_its_stream_where_it_stands_and_moves_no_clock() -> None:
    index = StreamIndex(9, TTL_MS, JUMP_MS)
    log = [(b"a", 0, EVENT), (b"b", 1, EVENT), (b"a", 10**12, FORGET), (b"c", 2, FORGET), (b"a", 3, EVENT)]
    log.append((b"c", 4, EVENT))
    assert fed(index, log) == [
        (0, True, 0), (1, True, 1), (0, True, 10**12), (9, False, 2), (0, True, 3), (2, True, 4),
    ]  # fmt: skip
    assert (index.evictions_tombstone, index.evictions_ttl, index.clock.now, index.records) == (1, 0, 4, 6)
    again = restored(index)
    assert everything(again) == everything(index)
    assert again.evictions_tombstone == 1


def test_a_label_behind_its_stream_s_tombstone_finds_no_stream() -> None:
    index = StreamIndex(9, None, JUMP_MS)
    out = fed(index, [(b"a", 0, EVENT), (b"a", 1, FORGET), (b"a", 2, LABEL), (b"a", 3, FORGET)])
    assert [slot for slot, _, _ in out] == [0, 0, 9, 9]
    assert len(index) == 0


def test_streams_that_leave_are_named_in_order_with_the_record_for_which_they_do() -> None:
    def named() -> StreamIndex:
        return StreamIndex(2, 10_000, 10**9, names_leaving=True)

    keys = [b"a", b"b", b"c", b"c", b"b", b"b"]
    times, kinds = [0, 1, 5_000, 11_000, 11_001, 11_002], [EVENT, EVENT, EVENT, EVENT, EVENT, FORGET]
    whole, single = named(), named()
    whole.assign(keys, times, kinds)
    for record in zip(keys, times, kinds, strict=True):
        single.assign(*([value] for value in record))
    # For want of room, idle for too long (with the first record that finds it so), told to go.
    expected = [(3, 0, b"a"), (4, 1, b"b"), (6, 1, b"b")]
    assert whole.pop_leaving() == single.pop_leaving() == expected
    assert whole.pop_leaving() == []
    silent = StreamIndex(2, 10_000, 10**9)
    silent.assign(keys, times, kinds)
    assert silent.leaving == []


def after_a_pause() -> StreamIndex:
    """Ten streams that are named when they leave, all of them idle for too long with the next record."""
    index = StreamIndex(30, 10_000, 10**9, names_leaving=True)
    fed(index, events(*((b"%d" % i, i) for i in range(10))))
    return index


@pytest.mark.parametrize("records", [[b"z"] * 5, [b"z", b"y", b"z", b"y", b"z"]])
def test_where_streams_are_named_few_idle_ones_leave_with_each_record(records: list[bytes]) -> None:
    """Also where records of one stream at one time are placed together."""
    whole, single, other = after_a_pause(), after_a_pause(), after_a_pause()
    log = events(*((key, 20_000) for key in records))
    fed(whole, log)
    for row in log:
        single = restored(single)
        fed(single, [row])
        other.leaving += single.leaving
    expected = [(11 + i // 4, i, b"%d" % i) for i in range(10)]
    assert whole.pop_leaving() == other.pop_leaving() == expected
    assert everything(whole) == everything(single)
    assert whole.evictions_ttl == 10
    at_once = StreamIndex(30, 10_000, 10**9)
    at_once.resume(*after_a_pause().state())
    fed(at_once, log[:1])
    assert at_once.keys() == [b"z"]


def test_an_idle_stream_whose_turn_to_leave_has_not_come_starts_over_when_it_returns() -> None:
    """Even with a record of old, which by its own time comes soon enough."""
    index = after_a_pause()
    assert fed(index, events((b"z", 20_000)))[0][1]
    assert fed(index, events((b"9", 9_000)))[0][1]
    assert index.pop_leaving()[4:] == [(12, i, b"%d" % i) for i in (4, 5, 6, 7)] + [(12, 9, b"9")]
    assert fed(index, events((b"9", 9_001)))[0][1:] == (False, 9_001)
