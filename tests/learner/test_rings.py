"""Windows, lags and remembered events of another length: what a learner goes on with is what it would always have had.

The learners here take steps too small to move a weight. Two of them then differ in what they remember alone, and a
gradient says whether a window, and the state before it, is the one that a learner of the new settings has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import Block, Learner, LearnerSpec
from streamrnn.learner.block import LABEL
from streamrnn.learner.growth import carry_over
from streamrnn.learner.spec import StreamSpec
from tests.support.small_learners import STREAMS_SEEN, block, spec

STILL = {"optimizer": "sgd", "lr": 1e-300}


def of_windows(k1: int, k2: int, **more: Any) -> LearnerSpec:
    return spec(learning={**STILL, "k1": k1, "k2": k2}, **more)


def changed(old: LearnerSpec, new: LearnerSpec, n: int) -> tuple[Learner, Learner]:
    """After n events: the learner that changed its settings, and one that always had the new ones."""
    before, after, always = Learner(old, 1), Learner(new, 1), Learner(new, 1)
    before.process(block(old, n))
    always.process(block(new, n))
    carry_over(before.state(), after, range(old.n_features))
    return after, always


def gradients(learner: Learner, start: int, n: int = 120) -> np.ndarray[Any, Any]:
    return learner.process(block(learner.spec, n, start=start)).grad_norm


KEPT = [((2, 6), (4, 6)), ((2, 6), (2, 4)), ((2, 6), (4, 4)), ((1, 5), (2, 4)), ((1, 8), (3, 5)), ((2, 6), (2, 6))]
"""Changes after which every state that a window starts from was kept."""


@pytest.mark.parametrize(("old", "new"), KEPT)
def test_windows_of_other_lengths_are_those_of_a_learner_that_always_had_them(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    # Both have just learned a window of each stream: no target waits in one and not in the other.
    after, always = changed(of_windows(*old), of_windows(*new), 36 * STREAMS_SEEN)
    found, expected = gradients(after, 999), gradients(always, 999)
    assert np.isfinite(expected).sum() > 20
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("old", [(2, 6), (4, 6), (3, 7), (6, 6), (1, 4)])
@pytest.mark.parametrize("new", [(1, 9), (2, 7), (3, 4), (4, 12), (5, 5)])
@pytest.mark.parametrize("n", [1, 4, 5, 60, 61])
def test_once_a_window_has_passed_all_are_those_of_a_learner_that_always_had_them(
    old: tuple[int, int], new: tuple[int, int], n: int
) -> None:
    after, always = changed(of_windows(*old), of_windows(*new), n * STREAMS_SEEN)
    shift = (always.state().streams["steps"] - after.state().streams["steps"])[:STREAMS_SEEN]
    # Steps may be counted from later on: events of another number bring both to the same step of their window.
    rest = block(after.spec, 3 * 20 * STREAMS_SEEN, start=999)
    found, expected = after.process(rest), always.process(rest)
    np.testing.assert_array_equal(found.value, expected.value)
    if not shift.any() or not (shift % new[0]).any():
        passed = slice((new[0] + new[1]) * STREAMS_SEEN, None)
        np.testing.assert_array_equal(found.grad_norm[passed], expected.grad_norm[passed])
    assert np.isfinite(found.grad_norm).sum() >= 3 * 20 * STREAMS_SEEN // new[0] - STREAMS_SEEN


@pytest.mark.parametrize("n", [3, 6, 50, 51])
def test_in_a_longer_window_the_sequence_begins_with_the_oldest_step_remembered(n: int) -> None:
    old, new = of_windows(2, 6), of_windows(2, 11)
    before, after = Learner(old, 1), Learner(new, 1)
    before.process(block(old, n * STREAMS_SEEN))
    carry_over(before.state(), after, range(3))
    theirs, mine = before.state().streams, after.state().streams
    for slot in range(STREAMS_SEEN):
        steps, remembered = int(theirs["steps"][slot]), min(n, 6)
        assert (steps, int(mine["steps"][slot])) == (n, remembered)
        for ago in range(1, remembered + 1):
            place, was_at = (remembered - ago) % 11, (steps - ago) % 6
            np.testing.assert_array_equal(mine["x"][slot, place], theirs["x"][slot, was_at])
            np.testing.assert_array_equal(mine["y"][slot, place], theirs["y"][slot, was_at])


def test_events_that_wait_for_a_label_keep_their_step_when_the_window_grows() -> None:
    old, new = of_labels(4), with_fields(of_labels(4), learning=of_windows(2, 11).learning)
    before, after = Learner(old, 1), Learner(new, 1)
    before.process(events(old, 20 * STREAMS_SEEN))
    carry_over(before.state(), after, range(3))
    # Of the newest four of twenty events; six steps are remembered, the oldest of which is number 0 by now.
    for slot in range(STREAMS_SEEN):
        assert sorted(before.state().streams["event_step"][slot]) == [16, 17, 18, 19]
        assert sorted(after.state().streams["event_step"][slot]) == [2, 3, 4, 5]
    after.process(labels(new, 20 * STREAMS_SEEN, STREAMS_SEEN))
    assert after.counters()["late_labels"] == after.counters()["unmatched_labels"] == 0
    waiting = after.state().streams["y"][:STREAMS_SEEN, :, 0]
    assert [np.flatnonzero(np.isfinite(row)).tolist() for row in waiting] == [[5]] * STREAMS_SEEN


def test_sequences_that_end_from_now_on_find_their_states() -> None:
    old = of_windows(2, 6)
    for new in (with_fields(old, has_end=True), with_fields(old, streams=StreamSpec(max_streams=10, reset_after_s=60))):
        after, always = changed(old, new, 36 * STREAMS_SEEN)
        np.testing.assert_array_equal(gradients(after, 999), gradients(always, 999))


def test_a_sequence_closed_right_after_the_change_is_learned_to_its_end() -> None:
    old = of_windows(1, 4)
    new = with_fields(of_windows(4, 4), has_end=True)
    after = Learner(new, 1)
    before = Learner(old, 1)
    before.process(block(old, 30))
    carry_over(before.state(), after, range(3))
    for key in (b"0", b"1", b"2"):
        after.close(key)
    assert after.counters()["sequences_ended"] == STREAMS_SEEN


# -- labels -----------------------------------------------------------------------------------------------------------


def of_labels(memory: int, known: str = "label", **more: Any) -> LearnerSpec:
    names = {"event_field": "e", "label_field": "l"} if known == "label" else {}
    return spec(known=known, label_memory=memory, learning={**STILL, "k1": 2, "k2": 6}, **names, **more)


def events(of: LearnerSpec, n: int, start: int = 0) -> Block:
    plain = block(of, n, start=start)
    return replace(plain, event=np.arange(start + 1, start + n + 1, dtype=np.uint64), y=np.full_like(plain.y, np.nan))


def labels(of: LearnerSpec, newest: int, n: int) -> Block:
    """Labels of the last n events of a log of ``newest`` ones."""
    plain = block(of, n, start=newest - n)
    chosen = range(newest - n, newest)
    return replace(
        plain,
        keys=[b"%d" % (i % STREAMS_SEEN) for i in chosen],
        kind=np.full(n, LABEL, np.uint8),
        event=np.array([i + 1 for i in chosen], np.uint64),
        time_ms=np.full(n, 1000 * newest),
    )


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize(("old", "new"), [(4, 9), (9, 4), (4, 5), (64, 3)])
@pytest.mark.parametrize("n", [2, 30, 31])
def test_the_newest_events_that_wait_for_a_label_are_kept(readout: str, old: int, new: int, n: int) -> None:
    small, large = (of_labels(memory, model={"readout": readout}) for memory in (old, new))
    n *= STREAMS_SEEN
    before, after, always = Learner(small, 1), Learner(large, 1), Learner(large, 1)
    before.process(events(small, n))
    always.process(events(large, n))
    carry_over(before.state(), after, range(3))
    waiting = min(n, STREAMS_SEEN * min(old, new))
    found, expected = (learner.process(labels(large, n, waiting)) for learner in (after, always))
    np.testing.assert_array_equal(found.loss, expected.loss)
    counts, others = after.counters(), always.counters()
    assert counts.pop("lost_labels") == n - waiting, "the one that remembers fewer decides"
    others.pop("lost_labels")
    assert counts == others
    assert after.counters()["unmatched_labels"] == 0
    again = after.process(labels(large, n, n))
    assert after.counters()["unmatched_labels"] == n  # all others were forgotten, and these are answered
    assert np.isnan(again.loss).all()
    rest = events(large, 30, start=n)
    np.testing.assert_array_equal(after.process(rest).grad_norm, always.process(rest).grad_norm)


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_targets_of_the_record_may_come_as_labels_from_now_on_and_back(readout: str) -> None:
    model = {"readout": readout}
    plain, labelled = of_labels(4, "record", model=model), of_labels(4, model=model)
    first, second, third = Learner(plain, 1), Learner(labelled, 1), Learner(plain, 1)
    first.process(block(plain, 60))
    carry_over(first.state(), second, range(3))
    second.process(events(labelled, 30, start=60))
    answered = second.process(labels(labelled, 90, 6))
    assert np.isfinite(answered.loss).all()
    carry_over(second.state(), third, range(3))
    assert np.isfinite(third.process(block(plain, 30, start=90)).loss).all()


# -- lags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "baseline"), [("record", None), ("forecast", None), ("forecast", 3)])
def test_more_lags_change_no_prediction_until_they_are_known(known: str, baseline: int | None) -> None:
    model = {"readout": "rls", "lags": 2}
    old = spec(model=model, known=known, baseline=baseline)
    new = spec(model=model | {"lags": 6}, known=known, baseline=baseline)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(block(old, 200))
    carry_over(source.state(), target, range(3))
    rest = block(old, STREAMS_SEEN, start=200)
    np.testing.assert_allclose(target.process(rest).value, source.process(rest).value, rtol=1e-11, atol=1e-11)
    more = block(old, 300, start=203)
    target.process(more)
    weights = target.get_weights()["rls.weight"][0]
    assert np.all(weights[-9:] != 0.0)


# -- forecasts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("baseline", [None, "last", 3])
def test_forecasts_keep_their_place_when_windows_grow(readout: str, baseline: str | int | None) -> None:
    more: dict[str, Any] = {"known": "forecast", "horizon": 2, "baseline": baseline, "model": {"readout": readout}}
    after, always = changed(of_windows(2, 5, **more), of_windows(2, 8, **more), 31 * STREAMS_SEEN)
    rest = block(after.spec, 60, start=999)
    found, expected = after.process(rest), always.process(rest)
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.loss, expected.loss)
