"""Which event a label belongs to, and how long an event waits for it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.estimators.awaited import GUESSES, LARGEST_MEMORY, NAMES, ROOMY, UNLEARNED, Awaited, Found, Seen, mark_of

KEY = b"stream"


def awaited(max_streams: int = 3) -> Awaited:
    return Awaited(Seen.PREDICTED, max_streams)


def test_an_event_is_recognised_by_its_values_whatever_columns_came_since() -> None:
    assert mark_of([1.0, math.nan]) == mark_of([1.0]) == mark_of([1.0, 0.0, math.nan])
    assert mark_of([1.0, 2.0]) != mark_of([2.0, 1.0])
    assert mark_of([]) == mark_of([0.0])


@given(st.lists(st.floats(allow_nan=False), max_size=5), st.lists(st.floats(allow_nan=False), max_size=5))
def test_different_values_are_different_events(a: list[float], b: list[float]) -> None:
    def shortened(row: list[float]) -> list[str]:
        texts = [repr(value) for value in row]
        while texts and texts[-1] == "0.0":
            texts.pop()
        return texts

    assert (mark_of(a) == mark_of(b)) == (shortened(a) == shortened(b))


def test_of_events_that_look_alike_the_oldest_is_meant() -> None:
    events = awaited()
    numbers = [events.add(KEY, mark_of([value]), None) for value in (1.0, 2.0, 1.0)]
    taken = [events.take(KEY, mark_of([value]), None) for value in (1.0, 2.0, 1.0)]
    assert [found and found.number for found in taken] == numbers
    assert [found and found.age for found in taken] == [2, 1, 0]
    assert len(events) == 0


def test_another_streams_event_is_not_meant() -> None:
    events = awaited()
    events.add(b"a", mark_of([1.0]), None)
    assert events.take(b"b", mark_of([1.0]), None) is None


def test_changed_values_mean_the_oldest_however_alike_another_is() -> None:
    events = awaited()
    numbers = [events.add(KEY, mark_of([value, value]), None) for value in (1.0, 1.5, 9.0)]
    taken = [events.take(KEY, mark_of(row), None) for row in ([8.9, 9.2], [1.2, 1.2], [70.0, 1.2])]
    assert taken == [Found(numbers[0], 2), Found(numbers[1], 1), Found(numbers[2], 0)]


def test_where_most_events_are_changed_a_row_that_is_met_by_chance_is_in_order_too() -> None:
    events = awaited()
    numbers = [events.add(KEY, mark_of([float(i)]), None) for i in range(20)]
    taken = [events.take(KEY, mark_of([i + 0.01]), None) for i in range(GUESSES)]
    taken.append(events.take(KEY, mark_of([15.0]), None))
    assert [found and found.number for found in taken] == numbers[: GUESSES + 1]


def test_where_labels_come_in_order_changed_values_mean_the_oldest() -> None:
    events = awaited()
    events.in_order = True
    numbers = [events.add(KEY, mark_of([value]), None) for value in (1.0, 9.0)]
    assert events.take(KEY, mark_of([8.9]), None) == Found(numbers[0], 1)


def test_where_events_are_recognised_an_unknown_one_was_never_seen() -> None:
    events = awaited()
    for value in (1.0, 2.0, 3.0):
        events.add(KEY, mark_of([value]), None)
    assert events.take(KEY, mark_of([1.0]), None) is not None
    assert events.take(KEY, mark_of([2.1]), None) is None
    assert len(events) == 2


def test_an_event_without_values_says_nothing_of_how_events_are_recognised() -> None:
    events = awaited()
    numbers = [events.add(KEY, mark_of([value]), None) for value in (0.0, 2.0)]
    assert events.take(KEY, mark_of([0.0]), None) == Found(numbers[0], 1)
    assert events.take(KEY, mark_of([1.9]), None) == Found(numbers[1], 0)


def test_memory_is_due_to_the_delay_and_not_to_lost_labels() -> None:
    delayed, lossy = awaited(), awaited()
    for i in range(2 * ROOMY):
        delayed.add(KEY, mark_of([float(i)]), None)
        lossy.add(KEY, mark_of([float(i)]), None)
        if i:
            lossy.take(KEY, mark_of([float(i)]), None)
    delayed.memory = lossy.memory = ROOMY
    assert delayed.is_full(KEY)
    assert delayed.deserves_memory(KEY)
    assert lossy.is_full(KEY)
    assert not lossy.deserves_memory(KEY)
    delayed.memory = LARGEST_MEMORY
    assert not delayed.deserves_memory(KEY)
    lossy.give_up(KEY)
    assert not lossy.is_full(KEY)
    assert lossy.counts["given_up"] == 1


def test_a_label_is_news_of_its_stream() -> None:
    events = awaited(max_streams=2)
    for key in (b"a", b"a", b"b"):
        events.add(key, mark_of([1.0]), None)
    events.take(b"a", mark_of([1.0]), None)
    events.add(b"c", mark_of([1.0]), None)
    assert [events.take(key, mark_of([1.0]), None) is None for key in (b"a", b"b", b"c")] == [False, True, False]


def test_the_stream_that_saw_no_event_for_longest_is_forgotten_first() -> None:
    events = awaited(max_streams=2)
    for key in (b"a", b"b", b"a", b"c"):
        events.add(key, mark_of([1.0]), None)
    assert events.take(b"b", mark_of([1.0]), None) is None
    assert [events.take(key, mark_of([1.0]), None) is None for key in (b"a", b"a", b"c")] == [False] * 3
    assert events.counts["given_up"] == 1


def test_of_events_without_a_learner_the_one_that_is_given_up_is_dropped() -> None:
    events = awaited()
    for key in (b"a", b"b", b"b"):
        events.put_off(events.add(key, mark_of([1.0]), None), key, [1.0])
    events.give_up(b"b")
    assert [(number, each.key) for number, each in events.unlearned.items()] == [(1, b"a"), (3, b"b")]
    events.forget(b"a")
    assert list(events.unlearned) == [3]


@pytest.mark.parametrize("waits", [True, False])
def test_events_without_a_learner_are_bounded(waits: bool) -> None:
    events = awaited()
    for i in range(UNLEARNED + 5):
        events.put_off(events.add(KEY, mark_of([float(i)]), None), KEY, [float(i)])
        if not waits:
            events.take(KEY, mark_of([float(i)]), None)
    assert list(events.unlearned) == list(range(6, UNLEARNED + 6))
    assert events.counts["given_up"] == (5 if waits else 0)


def test_labels_of_events_given_up_are_not_called_repeated() -> None:
    events = Awaited(Seen.NAMED, 1)
    for name in "abc":
        events.add(KEY, b"", name)
    events.take(KEY, b"", "b")
    events.give_up(KEY)
    assert not events.has_dropped
    events.add(b"another", b"", "d")
    assert events.has_dropped
    for name in "abbc":
        events.refuse(KEY, name)
    assert events.counts == {"given_up": 2, "repeated_labels": 2, "forgotten_labels": 2}


def test_names_that_need_no_label_are_forgotten_at_last() -> None:
    events = Awaited(Seen.NAMED, 1)
    for i in range(NAMES + 5):
        events.add(KEY, b"", f"{i}")
        events.take(KEY, b"", f"{i}")
    assert not events.has_finished(KEY, "4")
    assert events.has_finished(KEY, "5")


@pytest.mark.parametrize("name", [None, "a name"])
def test_what_waits_comes_back_from_its_json(name: str | None) -> None:
    events = Awaited(Seen.PREDICTED if name is None else Seen.NAMED, 2)
    events.add(KEY, mark_of([1.0, 2.0]), name)
    events.add(b"\xff\x00", mark_of([]), name)
    events.add(KEY, mark_of([3.0]), None if name is None else "another")
    events.take(KEY, mark_of([1.0, 2.0]), name)
    again = Awaited.restored(json.loads(json.dumps(events.state())), 2)
    assert again.state() == events.state()
    assert again.take(b"\xff\x00", b"", name) == events.take(b"\xff\x00", b"", name)
