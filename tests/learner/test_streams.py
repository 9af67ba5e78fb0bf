"""Slots are given, kept and taken away record by record, the same for any cut of the log and across a restore."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamrnn.learner.streams
from streamrnn.core.kinds import EVENT, LABEL
from streamrnn.learner.streams import StreamStore

JUMP_MS, TTL_MS = 1000, 300
YEAR_9999 = 253_402_300_799_999

Row = tuple[bytes, int, int]

rows = st.tuples(
    st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f"]),
    st.one_of(st.integers(0, 2000), st.sampled_from((YEAR_9999, 10**9, 10**9 + 1, -(10**9)))),
    st.sampled_from((EVENT, EVENT, EVENT, LABEL)),
)
limits = st.tuples(st.integers(1, 6), st.sampled_from((None, 0, TTL_MS)))


def fed(store: StreamStore, log: Sequence[Row]) -> list[tuple[int, bool, int]]:
    slots, fresh, times = store.assign([r[0] for r in log], [r[1] for r in log], [r[2] for r in log])
    return list(zip(slots.tolist(), fresh.tolist(), times.tolist(), strict=True))


def everything(store: StreamStore) -> tuple[object, ...]:
    keys, seen = store.slots()
    return keys, seen.tolist(), store.keys(), store.clock.state().tolist(), store.counters().tolist(), store.n_slots


def restored(store: StreamStore) -> StreamStore:
    again = StreamStore(store.max_streams, store.ttl_ms, JUMP_MS)
    keys, seen = store.slots()
    again.restore(store.clock.state(), store.counters(), keys, seen)
    return again


def events(*pairs: tuple[bytes, int]) -> list[Row]:
    return [(key, time_ms, EVENT) for key, time_ms in pairs]


def test_the_least_recently_seen_stream_leaves_for_a_new_one() -> None:
    store = StreamStore(2, None, JUMP_MS)
    out = fed(store, events((b"a", 1), (b"b", 2), (b"a", 3), (b"c", 4), (b"b", 5)))
    assert [slot for slot, _, _ in out] == [0, 1, 0, 1, 0]
    assert [fresh for _, fresh, _ in out] == [True, True, False, True, True]
    assert store.evictions_capacity == 2
    assert store.keys() == [b"c", b"b"]
    assert store.find(b"a") == store.blank == 2


def test_seen_again_counts_by_arrival_not_by_timestamp() -> None:
    store = StreamStore(2, None, JUMP_MS)
    fed(store, events((b"a", 100), (b"b", 90), (b"a", 10), (b"c", 50)))
    assert store.keys() == [b"a", b"c"]


def test_a_stream_idle_for_longer_than_ttl_is_dropped_exactly_then() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", TTL_MS)))
    assert store.find(b"a") == 0
    fed(store, events((b"b", TTL_MS + 1)))
    assert store.find(b"a") == store.blank
    assert (store.evictions_ttl, len(store)) == (1, 1)


def test_a_stream_that_comes_back_after_ttl_starts_over_even_if_it_is_the_one_seen() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    out = fed(store, events((b"a", 0), (b"a", TTL_MS + 1)))
    assert [fresh for _, fresh, _ in out] == [True, True]


def test_a_record_from_the_year_9999_evicts_nothing() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", 1), (b"c", YEAR_9999), (b"a", 2), (b"b", 3), (b"c", YEAR_9999), (b"c", 4)))
    assert (store.evictions_ttl, store.keys()) == (0, [b"a", b"b", b"c"])


def test_a_first_record_from_the_year_9999_evicts_nothing_and_does_not_live_forever() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", YEAR_9999), (b"b", 0), (b"b", 1)))
    assert (store.evictions_ttl, store.keys()) == (0, [b"a", b"b"])
    fed(store, events((b"b", TTL_MS + 1)))
    assert store.keys() == [b"b"]


def test_a_label_creates_no_stream_and_evicts_none_for_room() -> None:
    store = StreamStore(1, None, JUMP_MS)
    out = fed(store, [(b"a", 0, EVENT), (b"b", 1, LABEL), (b"a", 2, LABEL)])
    assert [slot for slot, _, _ in out] == [0, store.blank, 0]
    assert (store.keys(), store.evictions_capacity) == ([b"a"], 0)


def test_a_freed_slot_is_used_again_before_a_new_one() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", 200), (b"c", 400)))
    assert store.slots()[0] == [b"c", b"b"]


def test_free_slots_are_given_out_in_the_same_order_after_a_restore() -> None:
    log = events(*[(b"%d" % i, 10 * i) for i in range(5)], (b"5", TTL_MS + 100))
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, log)
    again = restored(store)
    more = events(*[(b"n%d" % i, TTL_MS + 100) for i in range(6)])
    assert fed(again, more) == fed(store, more)
    assert everything(again) == everything(store)


@pytest.mark.usefixtures("tiny_segments")
def test_to_touch_a_slot_marks_its_segment_and_nothing_else() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", 0), (b"c", 0)))
    store.take_touched_segments()
    before = everything(store)
    store.touch(2)
    store.touch(store.blank)
    assert everything(store) == before
    assert store.take_touched_segments() == {1}


def test_find_changes_nothing() -> None:
    store = StreamStore(2, None, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", 1)))
    before = everything(store)
    assert (store.find(b"a"), store.find(b"nobody")) == (0, 2)
    assert everything(store) == before


@given(limits, st.lists(rows, max_size=40), st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_any_cut_and_any_restore_gives_the_same(
    limit: tuple[int, int | None], log: list[Row], cuts: list[int], restore: bool
) -> None:
    whole = StreamStore(*limit, JUMP_MS)
    expected = fed(whole, log)
    store = StreamStore(*limit, JUMP_MS)
    out = []
    for a, b in itertools.pairwise([0, *sorted(cuts), len(log)]):
        out += fed(store, log[a:b])
        if restore:
            store = restored(store)
    assert out[: len(log)] == expected
    assert everything(store) == everything(whole)
    assert store.last_seen(0) == whole.last_seen(0) if store.n_slots else True


@given(limits, st.lists(rows, max_size=40))
def test_no_stream_outlives_ttl_and_none_exceeds_the_capacity(limit: tuple[int, int | None], log: list[Row]) -> None:
    store = StreamStore(*limit, JUMP_MS)
    for row in log:
        fed(store, [row])
        assert len(store) <= store.max_streams
        assert store.n_slots <= store.max_streams
        slots = [store.find(key) for key in list(store.keys())]
        assert len(set(slots)) == len(slots)
        if store.ttl_ms is not None:
            assert all(store.clock.now - store.last_seen(slot) <= store.ttl_ms for slot in slots)
        if row[2] == EVENT:
            assert store.keys()[-1] == row[0]


@pytest.fixture
def tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamrnn.learner.streams, "SEGMENT_SLOTS", 2)


@pytest.mark.usefixtures("tiny_segments")
def test_a_stream_that_is_dropped_touches_its_segment() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    fed(store, events((b"a", 0), (b"b", 0), (b"c", 0), (b"d", 200)))
    store.take_touched_segments()
    fed(store, events((b"d", TTL_MS + 1)))
    assert store.keys() == [b"d"]
    assert store.take_touched_segments() == {0, 1}


@pytest.mark.usefixtures("tiny_segments")
def test_a_withdrawn_first_time_touches_every_stream_seen_under_it() -> None:
    store = StreamStore(9, TTL_MS, JUMP_MS)
    first = YEAR_9999 // 2
    fed(store, [(b"%d" % i, first if i == 0 else YEAR_9999 - 2 * JUMP_MS * i, EVENT) for i in range(5)])
    store.take_touched_segments()
    fed(store, events((b"4", 0)))
    assert store.slots()[1][:, 0].tolist() == [0] * 5
    assert store.take_touched_segments() == {0, 1, 2}


@pytest.mark.usefixtures("tiny_segments")
@given(limits, st.lists(rows, max_size=30), st.integers(0, 30))
def test_segments_that_are_not_reported_as_touched_did_not_change(
    limit: tuple[int, int | None], log: list[Row], cut: int
) -> None:
    store = StreamStore(*limit, JUMP_MS)
    fed(store, log[:cut])
    store.take_touched_segments()
    keys, seen = store.slots()
    fed(store, log[cut:])
    touched = store.take_touched_segments()
    later_keys, later_seen = store.slots()
    for slot in range(len(later_keys)):
        if slot // 2 not in touched:
            assert later_keys[slot] == keys[slot]
            assert np.array_equal(later_seen[slot], seen[slot])
    assert store.take_touched_segments() == set()
