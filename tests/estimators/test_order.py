"""Behind a transformer that goes on learning labels are taken in order, and find back to it when labels are lost."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable

import pytest

from streamrnn.estimators import order as order_module
from streamrnn.estimators.awaited import Awaited, Seen, mark_of
from streamrnn.estimators.order import AHEAD, BEHIND, HAD_ITS_LABEL, Order

KEY = b""
RANDOM = random.Random(1)
WORLDS: dict[str, list[list[float]]] = {
    "one feature": [[RANDOM.gauss(10, 3)] for _ in range(1000)],
    "five features": [[RANDOM.gauss(10, 3) for _ in range(5)] for _ in range(1000)],
    "a wave": [[math.sin(i / 100)] for i in range(1000)],
    "a trend": [[float(i), float(i % 7)] for i in range(1000)],
    "weekdays": [[float(i % 7)] for i in range(1000)],
    "levels": [[RANDOM.gauss(20.0 * (i // 200 % 2), 1)] for i in range(1000)],
}


class Scaler:
    """Standardises by the lessons so far, each feature by itself."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, [0.0] * 9, [0.0] * 9

    def learn(self, row: list[float]) -> None:
        self.n += 1
        for k, value in enumerate(row):
            before = value - self.mean[k]
            self.mean[k] += before / self.n
            self.squares[k] += before * (value - self.mean[k])

    def __call__(self, row: list[float]) -> bytes:
        spreads = [math.sqrt(each / self.n) if self.n else 0.0 for each in self.squares]
        return mark_of([(v - m) / s if s else 0.0 for v, m, s in zip(row, self.mean, spreads, strict=False)])


def wrong_ones(
    rows: list[list[float]], moments: Callable[[int], int | None], saved_at: Iterable[int] = ()
) -> list[int]:
    """The events whose label went to another one, with their labels at these moments."""
    scaler, awaited = Scaler(), Awaited(Seen.PREDICTED, 1)
    numbers, due, wrong = [], {}, []  # type: list[int], dict[int, list[int]], list[int]
    for i, row in enumerate(rows):
        if i in saved_at:
            awaited = Awaited.restored(json.loads(json.dumps(awaited.state())), 1)
        numbers.append(awaited.add(KEY, scaler(row), None))
        if (moment := moments(i)) is not None:
            due.setdefault(moment, []).append(i)
        for j in due.pop(i, []):
            scaler.learn(rows[j])
            found = awaited.take(KEY, scaler(rows[j]), None)
            if found is None or found.number != numbers[j]:
                wrong.append(j)
    return wrong


@pytest.mark.parametrize("delay", [3, 10, 50, 200])
@pytest.mark.parametrize("world", WORLDS)
def test_labels_that_come_in_order_find_their_events(world: str, delay: int) -> None:
    assert wrong_ones(WORLDS[world], lambda i: i + delay) == []


@pytest.mark.parametrize(("world", "limit"), [("one feature", 12), ("five features", 8)])
def test_a_lost_label_costs_a_few_that_follow(world: str, limit: int) -> None:
    wrong = wrong_ones(WORLDS[world], lambda i: None if i == 500 else i + 20)
    assert 0 < len(wrong) <= limit
    assert min(wrong) > 500
    assert max(wrong) <= 500 + limit


def test_labels_are_in_order_again_after_one_that_came_late() -> None:
    wrong = wrong_ones(WORLDS["five features"], lambda i: 600 if i == 500 else i + 20)
    assert len(wrong) <= 20
    assert max(wrong) < 600


def test_what_was_learned_of_the_order_is_saved() -> None:
    def moments(i: int) -> int | None:
        return None if i in (500, 700) else 650 if i == 540 else i + 20

    rows = WORLDS["one feature"]
    assert wrong_ones(rows, moments, saved_at=range(1000)) == wrong_ones(rows, moments)


def test_a_handful_of_events_is_compared_with_a_lesson(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]
    distance = order_module._distance

    def counted(one: bytes, other: bytes) -> float:
        calls[0] += 1
        return distance(one, other)

    monkeypatch.setattr(order_module, "_distance", counted)
    most, before = 0, [0]

    def moments(i: int) -> int:
        nonlocal most
        most, before[0] = max(most, calls[0] - before[0]), calls[0]
        return i + 300 + (i * 7919) % 11 * (i > 500)

    wrong_ones(WORLDS["one feature"], moments)
    assert 0 < most <= 11 * (AHEAD + BEHIND + 2)


def test_after_labels_of_others_as_many_are_dropped_and_the_order_is_found_again() -> None:
    rows = WORLDS["five features"]
    order, waiting = Order(), {i: mark_of(rows[i]) for i in range(1, 201)}
    chosen = []
    for i in [*range(1, 51), 901, 902, 903, *range(51, 101)]:  # three of events that were never seen
        number = order.choose(waiting, mark_of(rows[i]))
        waiting.pop(number, None)
        chosen.append((i, number))
    assert chosen[50:53] == [(901, 51), (902, 52), (903, 53)]
    dropped = [i for i, number in chosen if number == HAD_ITS_LABEL]
    assert dropped == [58, 59, 60]  # at the eighth proof
    assert all(i == number for i, number in chosen if i > 60 and i < 900)
