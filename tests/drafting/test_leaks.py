"""What is known only with the target, or after it, is left out; what merely goes along with it stays."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from streamrnn.broker.protocol import Record
from streamrnn.drafting.draft import Draft, draft
from streamrnn.drafting.sample import Source, sample_of
from tests.support.topics import START_MS

N, STREAMS = 3_000, 10


def wandering(n: int, step: Callable[[float], float]) -> list[list[float]]:
    """A series for each stream, longer at both ends than the records that are made of it."""
    series = [[0.0] for _ in range(STREAMS)]
    for row in series:
        for _ in range(n // STREAMS + 8):
            row.append(step(row[-1]))
    return series


def drafted(
    fields: Callable[[list[float], int, random.Random], dict[str, Any]],
    n: int = N,
    step: Callable[[float, random.Random], float] = lambda last, rng: 0.9 * last + rng.gauss(0, 1),
    target: Any = lambda y: y,
    seed: int = 1,
) -> Draft:
    """A draft of records with y, x that helps, and what is made of y's series and the place in it."""
    rng = random.Random(seed)
    series = wandering(n, lambda last: step(last, rng))
    records = []
    for i in range(n):
        row, at = series[i % STREAMS], i // STREAMS + 4
        document = {"y": target(row[at]), "x": row[at] + rng.gauss(0, 1), **fields(row, at, rng)}
        key, value = f"k{i % STREAMS}".encode(), json.dumps(document).encode()
        records.append(Record("t", 0, i, START_MS + 1_000 * i, key, value))
    return draft(sample_of(Source(topic="t", records=n), records), "y")


def reason(found: Draft, path: str = "f") -> str:
    return {one.path: one.why for one in found.left_out}.get(path, "kept")


@pytest.mark.parametrize(
    ("leak", "why"),
    [
        (lambda y: round(y), "it stands for ranges of the target, as what is rounded does"),
        (lambda y: "high" if y > 1 else "mid" if y > -1 else "low", "it stands for ranges of the target"),
        (lambda y: "near" if abs(y) < 1 else "mid" if abs(y) < 3 else "far", "it stands for ranges of the target"),
        (lambda y: y * y, "a function of the target"),
        (lambda y: math.sin(y), "a function of the target"),
        (lambda y: f"{y:.3f} C", "by the number in it, a linear function of the target (1 times it"),
        (lambda y: f"{y:.1f} C", "by the number in it, it stands for ranges of the target"),
        (lambda y: f"was {y:.4f} of 100", "by the number in it, a linear function of the target"),
    ],
)
def test_a_function_of_the_target_that_is_no_line_is_left_out(leak: Callable[[float], Any], why: str) -> None:
    found = drafted(lambda row, at, rng: {"f": leak(row[at])})
    assert reason(found).startswith(f"GIVES THE TARGET AWAY: {why}")
    assert "x" in [feature.path for feature in found.features]


def test_what_the_target_was_rounded_from_is_left_out() -> None:
    found = drafted(lambda row, at, rng: {"f": row[at]}, target=lambda y: round(2 * y))
    assert "the target stands for ranges of it" in reason(found)


@pytest.mark.parametrize(("ahead", "said"), [(1, "of the stream's next record"), (3, "of the stream 3 records later")])
@pytest.mark.parametrize("leak", [lambda y: y, lambda y: 2 * y - 7])
def test_a_later_value_of_the_target_is_left_out(ahead: int, said: str, leak: Callable[[float], float]) -> None:
    found = drafted(lambda row, at, rng: {"f": leak(row[at + ahead])})
    assert f"GIVES THE TARGET AWAY: it says the target {said}" in reason(found)


def test_the_previous_value_of_the_target_is_shown_anyway() -> None:
    found = drafted(lambda row, at, rng: {"f": row[at - 1]})
    assert reason(found) == "the target of the stream's previous record, which the network is shown without it"


def test_a_later_class_is_left_out() -> None:
    found = drafted(lambda row, at, rng: {"f": row[at + 1] > 0}, target=lambda y: y > 0)
    assert found.target.classes == [False, True]
    assert "the target of the stream's next record" in reason(found)


def test_the_change_since_the_previous_value_is_warned_of() -> None:
    found = drafted(lambda row, at, rng: {"f": row[at] - row[at - 1]})
    assert "y is a sum of multiples of f and of the stream's previous target" in found.warnings[-1]


HONEST: dict[str, Callable[[list[float], int, random.Random], Any]] = {
    "a noisy measurement of it": lambda row, at, rng: row[at] * math.exp(rng.gauss(0, 0.02)) + rng.gauss(0, 0.05),
    "its value two records ago": lambda row, at, rng: row[at - 2],
    "its mean of late": lambda row, at, rng: sum(row[at - 3 : at]) / 3,
    "what it was, with noise": lambda row, at, rng: row[at - 1] + rng.gauss(0, 0.1),
    "its square, with noise": lambda row, at, rng: row[at] ** 2 * (1 + rng.gauss(0, 0.05)) + rng.gauss(0, 0.1),
    "a class that it makes likelier": lambda row, at, rng: rng.random() < 1 / (1 + math.exp(-3 * row[at])),
    "a number rounded from near it": lambda row, at, rng: round(row[at] + rng.gauss(0, 0.3)),
}


@pytest.mark.parametrize("n", [40, 150, 600, 3_000])
@pytest.mark.parametrize("what", HONEST)
@pytest.mark.parametrize(
    "step",
    [
        lambda last, rng: 0.9 * last + rng.gauss(0, 1),
        lambda last, rng: last if rng.random() < 0.95 else rng.gauss(0, 3),  # mostly stands still
    ],
)
def test_what_merely_goes_along_with_the_target_stays(
    what: str, n: int, step: Callable[[float, random.Random], float]
) -> None:
    found = drafted(lambda row, at, rng: {"f": HONEST[what](row, at, rng)}, n=n, step=step)
    assert reason(found) == "kept"


def test_groups_that_lie_apart_stay() -> None:
    found = drafted(
        lambda row, at, rng: {"f": "dear" if row[at] > 50 else "cheap"},
        step=lambda last, rng: rng.choice((10, 100)) + rng.gauss(0, 5),
    )
    assert reason(found) == "kept"


def test_two_that_are_seldom_anything_but_nought_are_not_the_same() -> None:
    found = drafted(
        lambda row, at, rng: {"f": rng.random() if rng.random() < 0.002 else 0.0},
        step=lambda last, rng: rng.random() if rng.random() < 0.002 else 0.0,
    )
    assert reason(found) == "kept"


def test_one_record_far_out_makes_no_line() -> None:
    def fields(row: list[float], at: int, rng: random.Random) -> dict[str, Any]:
        return {"f": row[at] + (rng.gauss(0, 1) if row[at] < 1e5 else 0)}

    assert reason(drafted(fields, step=lambda last, rng: 1e6 if rng.random() < 2e-3 else rng.gauss(0, 1))) == "kept"
