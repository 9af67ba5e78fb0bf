"""Types, ranges and numbers of values decide how a field enters the network, or that it does not."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import pytest

from streamrnn.drafting.encoders import Feature, Habits, LeftOut, encoded, habits_of
from streamrnn.drafting.fields import Kind, field_of

RNG = random.Random(4)
N = 400
NO_HABITS = Habits(False, [f"k{i % 4}" for i in range(N)])
HEAVY = [math.exp(RNG.gauss(2, 2)) for _ in range(N)]
EVEN = [RNG.uniform(-5, 5) for _ in range(N)]


def becomes(path: str, values: list[Any]) -> Feature | LeftOut:
    return encoded(field_of(path, values), NO_HABITS)


def feature(path: str, values: list[Any]) -> tuple[str, dict[str, Any]]:
    found = becomes(path, values)
    assert isinstance(found, Feature), found
    return found.encoder, found.settings


@pytest.mark.parametrize(
    ("path", "values", "encoder", "settings"),
    [
        ("x", EVEN, "numeric", {}),
        ("x", [str(v) for v in EVEN], "numeric", {}),
        ("on", [i % 3 == 0 for i in range(N)], "numeric", {}),
        ("on", ["True" if i % 3 else "False" for i in range(N)], "numeric", {}),
        ("price", HEAVY, "log1p", {}),
        ("x", [v if i % 10 else None for i, v in enumerate(EVEN)], "numeric", {"missing": "mean"}),
        ("carrier", [("UA", "AA", "DL")[i % 3] for i in range(N)], "onehot", {"categories": ["AA", "DL", "UA"]}),
        ("status_code", [(200, 404, 500)[i % 3] for i in range(N)], "onehot", {"categories": ["200", "404", "500"]}),
        ("page", [f"/p/{i % 90}" for i in range(N)], "hash", {"buckets": 32}),
        ("hour", [i % 24 for i in range(N)], "cyclic", {"period": 24.0}),
        ("clock.hourOfDay", [i % 24 for i in range(N)], "cyclic", {"period": 24.0}),
        ("weekday", [i % 7 for i in range(N)], "cyclic", {"period": 7.0}),
        ("month", [1 + i % 12 for i in range(N)], "cyclic", {"period": 12.0}),
        ("minutes", [i * 3 % 1440 for i in range(N)], "cyclic", {"period": 1440.0}),
        ("heading", [RNG.uniform(0, 360) for _ in range(N)], "cyclic", {"period": 360.0}),
        ("theta", [RNG.uniform(-3.14, 3.14) for _ in range(N)], "cyclic", {"period": 2 * math.pi}),
        ("mixed", [i % 3 if i % 2 else "x" for i in range(N)], "onehot", {"categories": ["0", "1", "2", "x"]}),
    ],
)  # fmt: skip
def test_a_field_gets_the_encoder_that_fits(
    path: str, values: list[Any], encoder: str, settings: dict[str, Any]
) -> None:
    assert feature(path, values) == (encoder, settings)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("hour", [i % 60 for i in range(N)]),
        ("month", [i % 40 for i in range(N)]),
        ("heading", [i % 9 for i in range(N)]),
    ],
)
def test_a_name_alone_makes_nothing_go_round(path: str, values: list[Any]) -> None:
    assert feature(path, values)[0] == "numeric"


@pytest.mark.parametrize(
    ("path", "values", "why"),
    [
        ("x", [None] * N, "null in every record"),
        ("unit", ["C"] * N, "the same in every record: C"),
        ("unit", ["C"] * 300 + [None] * 100, r"the same in every record: C or missing \(25 %\)"),
        ("event", [f"{i * 7919 % 1000:03d}-x" for i in range(N)], "an identifier: 400 different values in 400"),
        ("order_id", [i * 7919 % 100_003 for i in range(N)], "an identifier"),
        ("seq", list(range(N)), "a counter"),
        ("text", [f"so I wrote you {i} times about it" for i in range(N)], "free text"),
        ("made_at", [f"2025-01-01T00:{i // 60:02d}:{i % 60:02d}" for i in range(N)], r"a time \(iso8601\)"),
        ("made", [f"01/02/2025 00:{i // 60:02d}:{i % 60:02d}" for i in range(N)], "a form other than ISO 8601"),
        ("ts", [1_760_000_000_000_000_000 + i for i in range(N)], "a time in nanoseconds"),
        ("tags", [["a"] * (i % 3) for i in range(N)], "no single values"),
        ("huge", [10**400] * N, "no single values"),
    ],
)
def test_a_field_that_can_teach_nothing_is_left_out_with_the_reason(path: str, values: list[Any], why: str) -> None:
    found = becomes(path, values)
    assert isinstance(found, LeftOut), found
    assert re.search(why, found.why), found.why


def test_numbers_with_zeros_before_them_are_names() -> None:
    assert field_of("zip", ["01234", "99999"]).kind is Kind.TEXT
    assert field_of("zip", ["1234", "99999"]).kind is Kind.NUMBER


def test_a_value_sent_only_when_it_changes_is_kept_as_the_last() -> None:
    rng, level = random.Random(5), {}
    values: list[Any] = []
    for i in range(N):
        key = NO_HABITS.keys[i]
        if rng.random() < 0.3:
            level[key] = rng.choice([v for v in (1.5, 2.5, 3.5, 4.5) if v != level.get(key)])
            values.append(level[key])
        else:
            values.append(None)
    assert feature("setpoint", values) == ("numeric", {"missing": "last"})


def test_zeros_that_a_producer_leaves_out_are_zeros() -> None:
    counts = [i % 4 for i in range(N)]
    absent = counts.count(0)
    left_out = field_of("n", [v or None for v in counts], absent=absent)
    other = field_of("x", EVEN)
    habits = habits_of([left_out, other], NO_HABITS.keys)
    assert habits.zeros_left_out
    found = encoded(left_out, habits)
    assert isinstance(found, Feature)
    assert found.settings == {"missing": "zero"}
    null = field_of("n", [v or None for v in counts], absent=0)
    assert not habits_of([null, other], NO_HABITS.keys).zeros_left_out
    zero = field_of("z", counts)
    assert not habits_of([left_out, other, zero], NO_HABITS.keys).zeros_left_out
