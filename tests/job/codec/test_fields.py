"""What fields mean: streams, ids, times, end marks and classes, and what is refused in them."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.job.codec.fields import event_id
from tests.support.jobs import CLASSES, NAN, NESTED_KEY, decode, job, rejection


@pytest.mark.parametrize(
    ("value", "key"), [("N1", b"N1"), ("é", "é".encode()), (12, b"12"), (True, b"true"), ("", b"")]
)
def test_a_field_names_the_stream_by_its_canonical_text(value: Any, key: bytes) -> None:
    assert decode(NESTED_KEY, {"k": {"id": value}, "t": "2013-01-01"}).block.keys == [key]


@pytest.mark.parametrize(
    ("value", "reason"),
    [({}, "null_key"), ({"k": None}, "null_key"), ({"k": {"id": None}}, "null_key"), ({"k": 1}, "wrong_type")]
    + [({"k": {"id": bad}}, "wrong_type") for bad in (1.5, [], {})],
)
def test_a_field_that_does_not_name_the_stream_is_rejected(value: dict[str, Any], reason: str) -> None:
    assert rejection(NESTED_KEY, {"t": "2013-01-01", **value}).reason == reason


@pytest.mark.parametrize(
    ("unit", "value", "time_ms"),
    [
        ("ms", 1357034400123, 1357034400123),
        ("ms", 1357034400123.9, 1357034400123),
        ("s", 1357034400, 1357034400000),
        ("s", 1357034400.5, 1357034400500),
        ("us", 1357034400123999, 1357034400123),
        ("us", -1, -1),
        ("ms", -1, -1),
        ("iso8601", "2013-01-01T10:00:00Z", 1357034400000),
        ("iso8601", "2013-01-01T05:00:00.250-05:00", 1357034400250),
        ("iso8601", "2013-01-01 10:00", 1357034400000),
        ("iso8601", "1969-12-31T23:59:59.9999Z", -1),
        ("iso8601", "0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("iso8601", "9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_field_gives_the_time(unit: str, value: Any, time_ms: int) -> None:
    config = job(source=f"{{topic: in, timestamp: {{field: t, unit: {unit}}}}}")
    assert decode(config, {"t": value}, time_ms=-1).block.time_ms.tolist() == [time_ms]


@pytest.mark.parametrize(
    ("unit", "value"),
    [("ms", v) for v in (None, True, "1", [], 1e300, -1e300, 10**30, 253_402_300_800_000, -62_135_596_800_001)]
    + [("s", 253_402_300_800), ("s", 1e17), ("us", 10**25)]
    + [("iso8601", v) for v in (None, 5, "", "yesterday", "2013-13-01", "2013-01-01T23:59:60Z", "10000-01-01")]
    + [("iso8601", "0001-01-01T00:00:00+14:00"), ("iso8601", "9999-12-31T23:59:59-14:00"), ("iso8601", "é" * 9)],
)
def test_a_field_that_gives_no_time_is_bad(unit: str, value: Any) -> None:
    config = job(source=f"{{topic: in, timestamp: {{field: t, unit: {unit}}}}}")
    assert rejection(config, {"t": value}).reason == "bad_timestamp"
    assert rejection(config, {}).reason == "bad_timestamp"


@given(st.datetimes(), st.sampled_from(["", "Z", "+05:30", "-11:00"]))
def test_iso_times_are_floored_to_the_millisecond(moment: datetime, zone: str) -> None:
    config = job(source="{topic: in, timestamp: {field: t, unit: iso8601}}")
    text = moment.isoformat() + zone
    aware = datetime.fromisoformat(text if zone else text + "+00:00")
    exact = aware - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    decoded = decode(config, {"t": text})
    for time_ms in decoded.block.time_ms.tolist():
        assert time_ms == (exact.days * 86_400_000_000 + exact.seconds * 1_000_000 + exact.microseconds) // 1000
    assert len(decoded.block) == 1 or moment.year in (1, 9999)


def test_the_end_field_marks_the_last_record_of_a_sequence() -> None:
    base = {"k": {"id": 1}, "t": "2013-01-01"}
    values = [{**base, "last": last} for last in (True, False, None)] + [base]
    assert decode(NESTED_KEY, *values).block.end.tolist() == [True, False, False, False]
    for bad in ("true", 1, []):
        assert rejection(NESTED_KEY, {**base, "last": bad}).reason == "wrong_type"


def test_classes_become_their_index() -> None:
    block = decode(CLASSES, *({"y": y} for y in ("late", 1, 1.0, True, None))).block
    np.testing.assert_array_equal(block.y[:, 0], [0, 1, 1, 2, NAN])
    error = rejection(CLASSES, {"y": "early"})
    assert error.reason == "unknown_class"
    assert error.detail == "field 'y': found the string 'early', expected one of late, 1, true"
    assert rejection(CLASSES, {"y": ["late"]}).reason == "wrong_type"


def test_event_ids_are_a_fixed_function_of_the_text() -> None:
    # Written down: the ids are part of saved states.
    assert event_id("N14228/1") == 11262476384033402926
