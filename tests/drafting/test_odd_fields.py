"""Fields that a job cannot read, or too many of them: each is named, and none refuses the topic or is hashed unseen."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from streamrnn.broker.protocol import Record
from streamrnn.drafting.draft import Draft, draft
from streamrnn.drafting.fields import MOST_FIELDS
from streamrnn.drafting.sample import Source, sample_of
from streamrnn.drafting.written import numbers_written
from streamrnn.errors import ConfigError
from tests.support.topics import START_MS

N = 600


def drafted(values: list[bytes | dict[str, Any]], target: str | None = "y", *, keyed: bool = True) -> Draft:
    records = [
        Record(
            "t",
            0,
            i,
            START_MS + i,
            f"k{i % 5}".encode() if keyed else None,
            v if isinstance(v, bytes) else json.dumps(v).encode(),
        )
        for i, v in enumerate(values)
    ]
    return draft(sample_of(Source(topic="t", records=len(records)), records), target)


def reasons(found: Draft) -> dict[str, str]:
    return {one.path: one.why for one in found.left_out}


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,234.56", "7.00", "12,345,678.90", "1,000.00", "3.10"], [1234.56, 7.0, 12345678.9, 1000.0, 3.1]),
        (["1.234,56", "7,00", "12.345.678,90", "1.000,00", "3,10"], [1234.56, 7.0, 12345678.9, 1000.0, 3.1]),
        (["$12.30", "$1.00", "-$4.50", "$3.99", "($7.25)"], [12.3, 1.0, -4.5, 3.99, -7.25]),
        (["EUR 12,50", "EUR 3,00", "EUR 9,99", "EUR 1,10", "EUR 2,20"], [12.5, 3.0, 9.99, 1.1, 2.2]),
        (["12.5 °C", "-3.0 °C", "7.1 °C", "0.4 °C", "8.8 °C"], [12.5, -3.0, 7.1, 0.4, 8.8]),
        (["5 %", "7 %", "11 %", "13 %", "17 %"], [5, 7, 11, 13, 17]),
        (["12B", "3A", "7C", "14B", "15A"], None),
        (["A320", "B737", "B747", "A380", "A350"], None),
        (["192.168.0.1", "10.0.0.7", "10.1.1.1", "10.2.2.2", "10.3.3.3"], None),
        (["007", "042", "100", "300", "251"], None),
        (["red", "green", "blue", "black", "white"], None),
    ],
)
def test_numbers_written_for_people_are_told_from_names(texts: list[str], numbers: list[float] | None) -> None:
    assert numbers_written(texts) == numbers


def money(i: int, rng: random.Random) -> dict[str, Any]:
    return {"y": rng.random(), "amount": f"{rng.uniform(1, 9_999):,.2f}", "token": f"{rng.getrandbits(40 + i % 2):x}z"}


def test_a_number_written_for_people_is_left_out_with_how_it_should_be_written() -> None:
    rng = random.Random(1)
    values: list[bytes | dict[str, Any]] = [money(i, rng) for i in range(N)]
    assert "which a job does not read; have the producer write" in reasons(drafted(values))["amount"]
    with pytest.raises(ConfigError, match=r"--target: 'amount' is a number written as \d,\d\d\d\.\d\d, which a job"):
        drafted(values, "amount")


def test_text_that_is_mostly_different_is_no_category() -> None:
    rng = random.Random(1)
    why = reasons(drafted([{"y": rng.random(), "token": f"t-{rng.randrange(500):x}"} for i in range(N)]))
    assert why["token"].startswith("an identifier or free text: ")


def test_the_target_and_the_key_are_kept_among_many_fields_and_the_rest_is_counted() -> None:
    rng = random.Random(1)
    many: dict[str, Any] = dict.fromkeys((f"f{i}" for i in range(MOST_FIELDS + 50)), 1)
    values: list[bytes | dict[str, Any]] = [
        many | {"device": f"d{i % 7}"} | ({"y": rng.random()} if i % 2 else {}) for i in range(N)
    ]
    found = drafted(values, keyed=False)
    assert (found.target.path, found.streams.field) == ("y", "device")
    assert "records have 452 fields, of which 52 were not looked at" in found.warnings[0]


def test_a_field_of_mixed_kinds_is_named() -> None:
    rng = random.Random(1)
    values: list[bytes | dict[str, Any]] = [
        {"y": rng.random(), "m": [1, "a", None, [1], {"b": 2}][i % 5]} for i in range(N)
    ]
    assert reasons(drafted(values))["m"].startswith(
        "a single value in some records, and an object or an array in others"
    )
    with pytest.raises(ConfigError, match="'m' is a single value in some records, and an object or an array in others"):
        drafted(values, "m")


def test_a_number_out_of_range_costs_its_field_and_no_other() -> None:
    rng = random.Random(1)
    found = drafted(
        [b'{"y": %r, "x": %d, "over": %s}' % (rng.random(), i % 9, b"1e400" if i == 3 else b"1") for i in range(N)]
    )
    assert found.sample.foreign == 0
    assert [feature.path for feature in found.features] == ["x"]
    assert "a number beyond float64, at least in some records" in reasons(found)["over"]


def test_large_numbers_are_looked_at_without_overflow() -> None:
    rng = random.Random(1)
    with np.errstate(all="raise"):
        found = drafted([{"y": rng.random() * 1e200, "x": rng.random() * 1e250} for _ in range(N)])
    assert [feature.path for feature in found.features] == ["x"]
