"""Which records count: conditions on fields, of records of any shape, before anything else is asked of them."""

from typing import Any

import pytest

from streamrnn.errors import ConfigError
from tests.support.jobs import decode, job, rejection

RECORDS: list[dict[str, Any]] = [
    {"op": "c"}, {"op": "d"}, {"op": None}, {}, {"op": 1}, {"op": "1"}, {"op": True}, {"op": {"x": 1}}, {"op": [1]},
]  # fmt: skip


def kept(where: str, *values: Any) -> list[int]:
    """Numbers of the records that count."""
    config = job(source=f"{{topic: in, where: {where}}}")
    result = []
    for i, value in enumerate(values):
        decoded = decode(config, value)
        assert decoded.rejected == []
        assert len(decoded.block) + decoded.filtered == 1
        result += [i] * len(decoded.block)
    return result


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("{field: op, equals: c}", [0]),
        ("{field: op, in: [c, d]}", [0, 1]),
        ("{field: op, equals: c, not: true}", [1, 2, 3, 4, 5, 6, 7, 8]),
        ("{field: op, in: [c, d], not: true}", [2, 3, 4, 5, 6, 7, 8]),
        ("{field: op, equals: 1}", [4, 5]),
        ("{field: op, equals: true}", [6]),
        ("{field: op, exists: true}", [0, 1, 4, 5, 6, 7, 8]),
        ("{field: op, exists: false}", [2, 3]),
        ("{field: op, exists: true, not: true}", [2, 3]),
        ("{field: op.x, exists: true}", [7]),
        ("{field: 'op[0]', equals: 1}", [8]),
    ],
)
def test_a_condition_holds_for_these_records(condition: str, numbers: list[int]) -> None:
    assert kept(f"[{condition}]", *RECORDS) == numbers


def test_all_conditions_must_hold() -> None:
    where = "[{field: op, in: [c, u]}, {field: test, equals: true, not: true}]"
    assert kept(where, {"op": "c"}, {"op": "c", "test": True}, {"op": "u", "test": False}, {"op": "d"}) == [0, 2]


def test_what_is_filtered_need_not_be_as_the_job_expects() -> None:
    where = "[{field: type, equals: trade}]"
    foreign = {"type": "quote", "a": "x", "y": [], "n": 1, "c": {}}
    assert kept(where, foreign, {"type": "trade"}) == [1]
    keyed = job(source=f"{{topic: in, where: {where}, stream_key: k, timestamp: {{field: t}}}}")
    decoded = decode(keyed, foreign, {"type": "trade"}, key=None, time_ms=-1)
    assert decoded.filtered == 1
    assert [error.reason for _, error in decoded.rejected] == ["null_key"]
    unkeyed = decode(job(source=f"{{topic: in, where: {where}}}"), foreign, key=None)
    assert (unkeyed.filtered, unkeyed.rejected) == (1, [])


def test_what_cannot_be_read_is_a_dead_letter_before_it_can_be_filtered() -> None:
    config = job(source="{topic: in, where: [{field: op, equals: c}]}")
    assert rejection(config, b"junk").reason == "malformed"
    assert rejection(config, b"[]").reason == "not_an_object"


def test_an_envelope_of_debezium_gives_its_rows_and_passes_over_deletes() -> None:
    config = job(
        features="[{field: payload.after.amount, encoder: numeric}]",
        target="{fields: [payload.after.delay]}",
        source="{topic: in, where: [{field: payload.op, in: [c, r, u]}], timestamp: {field: payload.ts_ms}}",
    )
    row = {"amount": "12.50", "delay": 3}
    decoded = decode(
        config,
        {"schema": {}, "payload": {"op": "c", "before": None, "after": row, "ts_ms": 7}},
        {"schema": {}, "payload": {"op": "d", "before": row, "after": None, "ts_ms": 8}},
        None,
    )
    assert decoded.block.x[0].tolist() == [12.5]
    assert decoded.block.y[0].tolist() == [3]
    assert decoded.block.kind.tolist() == [0, 5]
    assert (decoded.filtered, decoded.tombstones, decoded.rejected) == (1, 1, [])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("[{field: op}]", "exactly one of equals, in and exists; found none"),
        ("[{field: op, equals: 1, in: [2]}]", "found equals and in"),
        ("[{field: op, in: []}]", r"input\.where\[0\]\.in: found a list of 0"),
        ("[{field: $.op, equals: 1}]", r"input\.where\[0\]\.field: .*leave it out: op"),
        ("[{feld: op, equals: 1}]", "did you mean 'field'"),
    ],
)
def test_a_condition_that_asks_nothing_or_two_things_is_refused(where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(source=f"{{topic: in, where: {where}}}")
