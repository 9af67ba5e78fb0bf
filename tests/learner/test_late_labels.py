"""What becomes of labels that come later: how long they took, and which events were forgotten before theirs came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.learner.block import EVENT, FORGET, LABEL, Block
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec, StreamSpec
from tests.support.small_learners import spec

Row = tuple[str, int, int, int]
"""Stream, kind, event, second."""


def of(memory: int = 3, **streams: object) -> LearnerSpec:
    plain = spec(0, dt=True, known="label", event_field="id", label_field="of", label_memory=memory)
    return replace(plain, streams=StreamSpec(**streams))  # type: ignore[arg-type]


def log(rows: Sequence[Row], y: float = 1.0) -> Block:
    keys, kind, event, seconds = zip(*rows, strict=True)
    known = np.where(np.array(kind) == LABEL, y, np.nan)[:, None]
    times = 1000 * np.array(seconds)
    return Block.events(
        [k.encode() for k in keys], np.zeros((len(rows), 0)), known, time_ms=times, kind=kind, event=event
    )


def lost(of: LearnerSpec, rows: Sequence[Row]) -> int:
    """Lost labels of this log, the same however it is cut, given record by record, or saved and restored."""
    counts = set()
    for cut in (len(rows), 1, 3):
        learner = Learner(of, 1)
        for start in range(0, len(rows), cut):
            learner.process(log(rows[start : start + cut]))
            again = Learner(of, 1)
            again.resume(learner.state())
            learner = again
        counts.add(learner.counters()["lost_labels"])
    single = Learner(of, 1)
    for key, kind, event, second in rows:
        single.step(key.encode(), kind, [], 1.0 if kind == LABEL else np.nan, 1000 * second, event=event)
    (count,) = counts | {single.counters()["lost_labels"]}
    return count


def events(key: str, *numbers: int, at: int = 0) -> list[Row]:
    return [(key, EVENT, number, at) for number in numbers]


def test_an_event_is_lost_when_as_many_newer_ones_came_as_are_remembered() -> None:
    assert lost(of(3), events("a", 1, 2, 3)) == 0
    assert lost(of(3), events("a", 1, 2, 3, 4, 5)) == 2


def test_an_event_whose_label_came_cannot_be_lost() -> None:
    assert lost(of(3), [*events("a", 1, 2), ("a", LABEL, 1, 0), *events("a", 3, 4, 5)]) == 1


def test_a_label_without_a_value_is_none() -> None:
    rows = [*events("a", 1, 2), ("a", LABEL, 1, 0), *events("a", 3, 4)]
    learner = Learner(of(3), 1)
    told = learner.process(log(rows, y=np.nan))
    assert learner.counters()["lost_labels"] == 1
    assert np.isnan(told.delay).all()


def test_events_without_a_number_wait_for_no_label() -> None:
    assert lost(of(3), events("a", 0, 0, 0, 0, 0, 0)) == 0


def test_the_events_of_a_stream_are_lost_with_it_at_a_tombstone() -> None:
    rows = [*events("a", 1, 2), ("a", LABEL, 1, 0), *events("b", 5), ("a", FORGET, 0, 0)]
    assert lost(of(3), rows) == 1
    assert lost(of(3), [*rows, *events("a", 7), *events("c", 8, 9)]) == 1


def test_the_events_of_a_stream_are_lost_when_it_is_dropped_for_another() -> None:
    rows = [*events("a", 1, 2), *events("b", 3, 4, 5)]
    assert lost(of(3, max_streams=2), rows) == 0
    assert lost(of(3, max_streams=2), [*rows, *events("c", 6)]) == 2


def test_the_events_of_an_idle_stream_are_lost_at_once_and_not_when_its_place_is_taken() -> None:
    rows = [*events("a", 1, 2), *events("b", 3, at=5), *events("b", 4, at=12)]
    assert lost(of(3, ttl_s=10), rows) == 2
    assert lost(of(3, ttl_s=10), [*rows, *events("c", 6, 7, at=13)]) == 2
    assert lost(of(3, ttl_s=10), [*rows, *events("a", 8, 9, at=13)]) == 2


def test_a_sequence_that_ends_loses_no_event() -> None:
    rows = [*events("a", 1, 2), *events("a", 3, at=60), ("a", LABEL, 1, 61)]
    assert lost(of(3, reset_after_s=10), rows) == 0


def test_fewer_events_remembered_and_less_room_for_streams_lose_those_that_there_is_no_room_for() -> None:
    learner = Learner(of(3, max_streams=3), 1)
    learner.process(log([*events("a", 1, 2, 3), *events("b", 4, 5), *events("c", 6, 7, 8), ("c", LABEL, 8, 0)]))
    fewer, smaller = Learner(of(2, max_streams=3), 1), Learner(of(3, max_streams=2), 1)
    carry_over(learner.state(), fewer, [])
    carry_over(learner.state(), smaller, [])
    assert learner.counters()["lost_labels"] == 0
    assert fewer.counters()["lost_labels"] == 2, "1 of a, 6 of c, whose 8 has its label"
    assert smaller.counters()["lost_labels"] == 3, "all of a"


@pytest.mark.parametrize("cut", [5, 1])
def test_a_delay_is_the_event_time_from_an_event_to_its_label(cut: int) -> None:
    rows = [("a", EVENT, 1, 10), ("a", EVENT, 2, 15), ("a", LABEL, 1, 40), ("a", LABEL, 9, 41), ("a", LABEL, 2, 12)]
    learner = Learner(of(3), 1)
    block = log(rows)
    delays = np.concatenate([learner.process(block.rows(slice(i, i + cut))).delay for i in range(0, 5, cut)])
    # None for a label of no event; 0, and not less than nothing, for one that is stamped before its event.
    np.testing.assert_array_equal(delays, [np.nan, np.nan, 30, np.nan, 0])


def test_a_label_that_is_sent_twice_has_one_delay() -> None:
    rows = [("a", EVENT, 1, 10), ("a", LABEL, 1, 40), ("a", LABEL, 1, 70)]
    np.testing.assert_array_equal(Learner(of(3), 1).process(log(rows)).delay, [np.nan, 30, np.nan])
