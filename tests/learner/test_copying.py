"""A copy made bit by bit is the one that would have been made at once, whatever the learner does meanwhile."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core.jit import JIT_DISABLED
from streamrnn.learner.block import Block
from streamrnn.learner.copying import Spare, StreamsCopy
from streamrnn.learner.learner import Learner
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, StreamSpec
from streamrnn.learner.state import LearnerState
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.segments import Segment, pack_segment
from streamrnn.storage.snapshot import Snapshot, take_snapshot
from streamrnn.storage.tensors import encode
from tests.support.learners import one_by_one
from tests.support.logs import logs, part, specs
from tests.support.segments import make_segments_tiny

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
MANY = settings(max_examples=15 if JIT_DISABLED else 120, deadline=None, suppress_health_check=QUIET)
any_spec = st.sampled_from(("float32", "float64")).flatmap(specs)

SPEC = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), has_end=True, streams=StreamSpec(max_streams=8))


@pytest.fixture(autouse=True)
def _tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    make_segments_tiny(monkeypatch)


def stored(snapshot: Snapshot) -> dict[int, bytes]:
    """The bytes of each segment on the disk."""
    return {number: encode(pack_segment(segment, number)) for number, segment in snapshot.segments.items()}


def copied(copy: StreamsCopy, most: int | None = None) -> dict[int, bytes]:
    """Copy so many segments (None: all that are left)."""
    done, room = {}, copy.room()
    while copy.left and (most is None or len(done) < most):
        number, arrays, keys = copy.copy_next(room)  # into the same room each time, as when each is written at once
        done[number] = encode(pack_segment(Segment(arrays, tuple(keys)), number))
    return done


def events(keys: str, time_ms: int = 0) -> Block:
    rng, n = np.random.default_rng(time_ms), len(keys)
    return Block.events(
        [key.encode() for key in keys], rng.normal(size=(n, 1)), rng.normal(size=(n, 1)),
        time_ms=np.full(n, time_ms, np.int64),
    )  # fmt: skip


@MANY
@given(st.data())
def test_any_interleaving_of_records_and_copying_gives_the_bytes_of_a_copy_at_once(data: st.DataObject) -> None:
    spec = data.draw(any_spec, label="spec")
    block = data.draw(logs(spec), label="log")
    learner, at = Learner(spec, seed=7), 0
    copy, expected, found = None, {}, {}
    learner.pop_touched_segments()
    while at < len(block):
        more = part(block, at, min(len(block), at + data.draw(st.integers(1, 12), label="records")))
        at += len(more)
        if data.draw(st.booleans(), label="one by one"):
            one_by_one(learner, more)
        else:
            learner.process(more)
        if copy is None or not copy.left:
            assert found == expected
            touched = learner.pop_touched_segments()
            numbers = data.draw(st.sampled_from((None, touched)), label="begin, which")
            expected = stored(take_snapshot(learner.state(), numbers))
            copy, found = learner.copy_streams(numbers), {}
        found |= copied(copy, data.draw(st.integers(0, 2), label="segments"))
    assert copy is not None
    found |= copied(copy)
    assert found == expected


@MANY
@given(st.data())
def test_copying_changes_nothing_about_the_learner(data: st.DataObject) -> None:
    spec = data.draw(any_spec, label="spec")
    block = data.draw(logs(spec), label="log")
    half = len(block) // 2
    learner, undisturbed = Learner(spec, seed=7), Learner(spec, seed=7)
    for each in (learner, undisturbed):
        each.process(part(block, 0, half))
    copied(learner.copy_streams())
    learner.copy_streams()
    for each in (learner, undisturbed):
        each.process(part(block, half, len(block)))
    assert stored(take_snapshot(learner.state())) == stored(take_snapshot(undisturbed.state()))
    assert learner.digest == undisturbed.digest


def test_a_closed_stream_is_copied_as_it_was_before() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abcdabcd"))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    learner.close(b"d")
    assert stored(take_snapshot(learner.state())) != expected
    assert copied(copy) == expected


def test_a_closed_stream_whose_events_wait_is_copied_as_it_was_before() -> None:
    model = ModelSpec(direction="both", lookahead=2, hidden_size=3)
    learner = LookaheadLearner(replace(SPEC, model=model, inputs=InputSpec(previous_target=False)), seed=1)
    learner.process(events("abcdabcd"))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    learner.close(b"d")
    assert stored(take_snapshot(learner.state())) != expected
    assert copied(copy) == expected


def test_slots_given_out_since_are_none_of_it() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abc"))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    learner.process(events("defgh", time_ms=1))
    assert copied(copy) == expected
    assert copy.n_slots == 3


def test_a_learner_without_streams_has_nothing_to_copy() -> None:
    copy = Learner(SPEC, seed=1).copy_streams()
    assert (copy.left, copy.n_slots) == ([], 0)


def test_only_one_copy_is_made_at_a_time_unless_the_one_before_has_ended() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abc"))
    copy = learner.copy_streams()
    with pytest.raises(RuntimeError, match="under way"):
        learner.copy_streams()
    copy.end()
    learner.process(events("abc", time_ms=1))
    expected = stored(take_snapshot(learner.state()))
    assert copied(learner.copy_streams()) == expected


def test_what_is_put_aside_lies_where_the_copy_before_had_it() -> None:
    learners, spare, found = [Learner(SPEC, seed=seed) for seed in (1, 2)], Spare(), []
    for learner in learners:
        learner.process(events("abcdefgh"))
    for time_ms in (1, 2):
        for learner in learners:
            expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams(spare=spare)
            assert spare.arrays == {}
            learner.process(events("ab", time_ms))
            found.append(copy._aside.arrays["state"])
            assert copied(copy) == expected
            assert learner.streams.before_change is None
    assert all(each is found[0] is spare.arrays["state"] for each in found)


@pytest.mark.parametrize(("changed", "ended", "kept"), [("ab", False, 8), ("abc", False, 0), ("ab", True, 0)])
def test_memory_is_kept_after_a_complete_copy_that_used_little_of_it(changed: str, ended: bool, kept: int) -> None:
    learner, spare = Learner(SPEC, seed=1), Spare()
    learner.process(events("abcdefgh"))
    copy = learner.copy_streams(spare=spare)
    learner.process(events(changed, 1))
    copied(copy, 1)
    if ended:
        copy.end()
    else:
        copied(copy)
    assert {len(array) for array in spare.arrays.values()} == ({kept} if kept else set())
    assert copy._aside.arrays == copy._known_aside.arrays == {}


def test_memory_of_rows_of_another_kind_or_too_few_is_not_used() -> None:
    spare = Spare()
    spare.arrays = {"state": np.empty((4, 2))}
    for rows, slots in ((np.empty((9, 2)), 5), (np.empty((9, 3)), 4), (np.empty((9, 2), np.float32), 4)):
        before = spare.arrays["state"]
        spare.arrays = spare.take({"state": rows}, slots)
        assert spare.arrays["state"] is not before
        assert (spare.arrays["state"].shape, spare.arrays["state"].dtype) == ((slots, *rows.shape[1:]), rows.dtype)
        spare.arrays = {"state": before}


def test_rows_of_segments_that_were_copied_make_room_for_others() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abcdefgh"))  # two of them are a segment
    expected, copy, found = stored(take_snapshot(learner.state())), learner.copy_streams(), {}
    for time_ms, keys in enumerate(("cd", "ef", "gh"), start=1):
        found |= copied(copy, 1)
        learner.process(events(keys, time_ms))
        found |= copied(copy, 1)
    learner.process(events("abcdefgh", 5))
    assert copy._aside._n_used == copy._known_aside._n_used == 0  # all is copied
    assert found == expected


def test_no_more_memory_is_used_than_there_are_rows_aside_at_a_time() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abcdefgh"))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    learner.process(events("ab", 1))
    found = copied(copy, 1)
    learner.process(events("abcd", 2))
    found |= copied(copy, 1)
    learner.process(events("efabcd", 3))
    assert copy._aside._n_used == copy._known_aside._n_used == len(copy._keys_aside) == 2
    assert found | copied(copy) == expected


def test_what_is_put_aside_of_the_index_holds_no_batch_in_memory() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abc"))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    for key in "aabbc":
        learner.process(events(key, time_ms=1))
    assert len(copy._keys_aside) == 3
    assert copied(copy) == expected
    assert copy._keys_aside == []
    assert copy._known_aside.arrays == {}


def test_room_for_what_is_put_aside_is_asked_for_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, undisturbed = Learner(SPEC, seed=1), Learner(SPEC, seed=1)
    for each in (learner, undisturbed):
        each.process(events("abc"))

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError("unable to allocate")

    copy = learner.copy_streams()
    monkeypatch.setattr(np, "empty", refuse)
    copy.before_rows_change(np.array([0, 2]))
    copy.end()
    with pytest.raises(MemoryError):
        learner.copy_streams()
    monkeypatch.undo()
    for each in (learner, undisturbed):
        each.process(events("abcd", time_ms=1))
    assert stored(take_snapshot(learner.state())) == stored(take_snapshot(undisturbed.state()))


def test_another_state_ends_the_copy_of_the_one_before() -> None:
    learner = Learner(SPEC, seed=1)
    learner.process(events("abc"))
    copy, before = learner.copy_streams(), learner.state().copy()
    learner.resume(before)
    assert copy.left == []


def test_streams_that_go_back_with_stream_time_are_copied_as_they_were_before() -> None:
    late = 100 * 10**9
    learner = Learner(msgspec.structs.replace(SPEC, streams=StreamSpec(max_streams=8, max_time_jump_s=60.0)), seed=1)
    for time_ms in range(late, late + 5):
        learner.process(events("abcd", time_ms))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    for time_ms in range(40):
        learner.process(events("abc", time_ms))  # so many agree that they are believed, and the d has seen the future
    assert learner.streams.clock.time_jumps_taken_back == 1
    assert copied(copy) == expected


def test_a_stream_that_left_is_copied_with_the_events_that_waited_for_labels() -> None:
    target = TargetSpec(fields=("y",), known="label", event_field="id", label_field="of")
    learner = Learner(msgspec.structs.replace(SPEC, target=target, streams=StreamSpec(max_streams=8, ttl_s=1.0)), 1)
    keys = [b"a", b"b", b"c"]
    waiting = Block.events(keys, np.ones((3, 1)), np.full((3, 1), np.nan), event=np.arange(1, 4, dtype=np.uint64))
    learner.process(waiting)
    learner.process(events("a", 1))
    expected, copy = stored(take_snapshot(learner.state())), learner.copy_streams()
    learner.process(events("a", 5_000))
    assert learner.streams.evictions_ttl > 1
    assert learner.counters()["lost_labels"] > 0
    assert copied(copy) == expected


def test_a_state_that_was_read_into_a_learners_own_rows_is_gone_on_from() -> None:
    learner, other = Learner(SPEC, seed=1), Learner(SPEC, seed=2)
    learner.process(events("abcab"))
    state = learner.state()
    rows = other.rows(len(state.keys))
    for name, array in state.streams.items():
        rows[name][...] = array
    other.resume(LearnerState(SPEC, state.model, rows, state.keys), fits=True)
    assert stored(take_snapshot(other.state())) == stored(take_snapshot(learner.state()))
    more = events("dcba", time_ms=9)
    assert other.process(more).value.tobytes() == learner.process(more).value.tobytes()
    with pytest.raises(ValueError, match="9 slots are asked for, the learner has 8"):
        other.rows(9)
