"""Floods of new keys drive out each other; streams with history keep their share, and bytes of keys are bounded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from streamrnn.core.kinds import EVENT
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.room import ESTABLISHED, INDEX_BYTES, survivors
from streamrnn.learner.spec import InputSpec, LearnerSpec, StreamSpec
from streamrnn.learner.streams import StreamIndex
from streamrnn.learner.target_spec import TargetSpec

JUMP_MS = 10_000
HONEST = [b"honest-%d" % i for i in range(50)]


def index_of(max_streams: int = 100, share: float = 0.8, max_bytes: int | None = None) -> StreamIndex:
    return StreamIndex(max_streams, None, JUMP_MS, protected_share=share, max_bytes=max_bytes)


def feed(index: StreamIndex, keys: list[bytes], time_ms: int = 0) -> None:
    index.assign(keys, [time_ms] * len(keys), [EVENT] * len(keys))


def with_history(index: StreamIndex, keys: list[bytes] = HONEST, times: int = 10) -> None:
    for i in range(times):
        feed(index, keys, 100 * i)


def flood(n: int, times: int = 1, size: int = 0) -> Iterator[bytes]:
    return (b"flood-%d" % i + b"." * size for i in range(n) for _ in range(times))


@pytest.mark.parametrize("times", range(1, ESTABLISHED))
def test_a_flood_of_new_keys_drops_no_stream_with_history(times: int) -> None:
    index = index_of()
    with_history(index)
    feed(index, list(flood(10_000, times)), 1000)
    assert set(HONEST) <= set(index.keys())
    assert (len(index), index.room.established) == (100, 50)
    assert (index.evictions_capacity, index.evictions_in_use) == (10_000 - 50, 0)


def test_without_a_protected_share_the_same_flood_drops_them_all_and_it_is_counted() -> None:
    index = index_of(share=0.0)
    with_history(index)
    feed(index, list(flood(10_000)), 1000)
    assert not set(HONEST) & set(index.keys())
    assert index.evictions_in_use == len(HONEST)


def test_a_newcomer_gets_in_during_a_flood_and_comes_to_have_history() -> None:
    index = index_of()
    with_history(index)
    keys = list(flood(1000))
    for i in range(ESTABLISHED):  # it comes again before as many others came as the room that new ones have
        feed(index, [*keys[40 * i : 40 * (i + 1)], b"newcomer"], 1000)
    feed(index, keys[500:], 1000)
    assert index.find(b"newcomer") != index.blank
    assert {b"newcomer", *HONEST} <= set(index.keys())


def test_keys_that_come_often_enough_take_what_is_beyond_the_share_and_cost_a_record_each_time() -> None:
    index = index_of(share=0.5)
    with_history(index, HONEST[:20])
    cost = 0
    for key in flood(1000, ESTABLISHED):
        feed(index, [key], 1000)
        cost += 1
        if not set(HONEST[:20]) <= set(index.keys()):
            break
    # Twenty have history, the share is fifty: whoever is to drop one of them must fill it, and all that is beyond.
    assert cost > ESTABLISHED * (50 - 20)
    assert index.evictions_in_use == 1


def test_streams_with_history_beyond_their_share_leave_as_they_were_last_seen() -> None:
    index = index_of(max_streams=10, share=0.5)
    with_history(index, HONEST[:10])
    feed(index, [HONEST[0]], 2000)
    feed(index, list(flood(1000)), 2000)
    assert set(index.keys()) >= {HONEST[0], *HONEST[6:10]}
    assert index.room.established == 5


def test_one_slot_is_open_to_all_however_large_the_share() -> None:
    index = index_of(max_streams=3, share=0.999)
    with_history(index, HONEST[:3])
    feed(index, [b"new"], 1000)
    assert index.find(b"new") != index.blank
    assert index.keys() == [HONEST[1], HONEST[2], b"new"]


def test_a_single_slot_goes_to_whoever_comes() -> None:
    index = index_of(max_streams=1)
    with_history(index, HONEST[:1])
    feed(index, [b"new"], 1000)
    assert index.keys() == [b"new"]


def test_a_stream_that_starts_over_has_no_history() -> None:
    index = StreamIndex(4, 300, JUMP_MS, protected_share=0.8)
    for i in range(10):
        feed(index, [b"a"], i)
    feed(index, [b"b"], 1000)
    assert (index.evictions_ttl, index.room.established) == (1, 0)
    feed(index, [b"a", b"c", b"d", b"e"], 1000)
    assert index.keys() == [b"a", b"c", b"d", b"e"]


def test_what_was_silent_for_longer_than_it_had_come_is_not_in_use() -> None:
    index = index_of(max_streams=1)
    for time_ms in (0, 10, 20, 30):
        feed(index, [b"a"], time_ms)
    feed(index, [b"b"], 61)
    assert (index.evictions_capacity, index.evictions_in_use) == (1, 0)
    for time_ms in (65, 70, 91):
        feed(index, [b"b"], time_ms)
    feed(index, [b"c"], 121)
    assert (index.evictions_capacity, index.evictions_in_use) == (2, 1)


def test_bytes_of_keys_are_counted_and_bounded() -> None:
    budget = 30 * INDEX_BYTES
    index = index_of(max_streams=1000, max_bytes=budget)
    with_history(index, HONEST[:10])
    for key in flood(500, size=1000):
        feed(index, [key], 1000)
        keys = index.keys()
        taken = sum(INDEX_BYTES + len(key) for key in keys)
        assert taken <= budget
        assert index.room.key_bytes == sum(map(len, keys))
    assert set(HONEST[:10]) <= set(index.keys())
    assert len(index) == 16  # keys of a thousand bytes take three times the room


def test_long_keys_with_history_have_no_more_than_their_share_of_bytes() -> None:
    index = index_of(max_streams=1000, max_bytes=30 * INDEX_BYTES, share=0.5)
    with_history(index, HONEST[:4])
    feed(index, list(flood(100, ESTABLISHED + 1, size=1000)), 1000)
    established = list(filter(lambda key: index.find(key) in established_slots(index), index.keys()))
    assert sum(INDEX_BYTES + len(key) for key in established) <= 30 * INDEX_BYTES
    assert sum(map(len, established)) == index.room._established_key_bytes


def established_slots(index: StreamIndex) -> set[int]:
    seen = index.state()[3]
    return {slot for slot in range(index.n_slots) if seen[slot, 3] >= ESTABLISHED}


def test_with_less_room_those_remain_who_would_if_the_others_had_left_one_by_one() -> None:
    streams = [(b"old%d" % i, 9) for i in range(6)] + [(b"new%d" % i, 1) for i in range(4)]
    assert survivors(streams, 5, 0.8) == {b"old2", b"old3", b"old4", b"old5", b"new3"}
    assert survivors(streams, 5, 0.0) == {b"old5", b"new0", b"new1", b"new2", b"new3"}
    assert survivors(streams, 10, 0.8) == dict(streams).keys()


def mean_error(flooded: bool, share: float = 0.8) -> float:
    """Of 100 streams on levels of their own, over the last of 40 records each; among them come 20,000 new streams."""
    spec = LearnerSpec(
        n_features=1,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(hidden_size=8),
        streams=StreamSpec(max_streams=500, protected_share=share),
        inputs=InputSpec(dt=False),
    )
    learner, rng, errors = Learner(spec, seed=1), np.random.default_rng(0), []
    level = rng.uniform(0, 60, 100)
    keys = list(flood(20_000))
    for step in range(40):
        x, y = np.sin(step / 3 + level)[:, None], level[:, None] + np.sin((step + 1) / 3 + level)[:, None]
        predictions = learner.process(Block.events([b"honest-%d" % i for i in range(100)], x, y)).value
        if step >= 30:
            errors.append(np.abs(predictions - y).mean())
            if flooded:
                among = keys[2000 * (step - 30) : 2000 * (step - 29)]
                unknown = np.full((len(among), 1), np.nan)
                learner.process(Block.events(among, np.sin(rng.uniform(0, 6, len(among)))[:, None], unknown))
    return float(np.mean(errors))


def test_honest_streams_are_predicted_as_well_in_a_flood_as_without() -> None:
    quiet = mean_error(flooded=False)
    assert mean_error(flooded=True) < 1.1 * quiet
    assert mean_error(flooded=True, share=0.0) > 5 * quiet
