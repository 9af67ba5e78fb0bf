"""What fields mean: streams, ids, times, end marks and classes, and what is refused in them."""

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import ConfigError
from streamrnn.job.codec.fields import event_id
from tests.support.jobs import CLASSES, LABELLED, NAN, NESTED_KEY, PLAIN, decode, job, rejection


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
    [("ms", v) for v in (None, True, "1 h", [], 1e300, -1e300, 10**30, 253_402_300_800_000, -62_135_596_800_001)]
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
    for bad in ("yes", 2, []):
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


STRICT, LENIENT = (job(source=f"{{topic: in, numbers: {mode}}}") for mode in ("strict", "lenient"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), (" -2 ", -2.0), ("1e3", 1000.0), ("+.5", 0.5), ("5.", 5.0), ("007", 7.0)]
    + [("123456789012345678", 1.2345678901234568e17), ("-1.50E-2", -0.015), ("\t7\r\n", 7.0)]
    + [("true", 1.0), ("False", 0.0)]
    + [(word, NAN) for word in ("", "  ", "NaN", "nan", "-NaN", "Infinity", "-Infinity", "inf", "NA", "null", "None")],
)  # fmt: skip
def test_a_number_may_be_text_unless_numbers_are_strict(text: str, value: float) -> None:
    block = decode(LENIENT, {"a": text, "n": {"b": text}, "y": text}).block
    np.testing.assert_array_equal([*block.x[0, :2], *block.y[0]], [value] * 3)
    for field in ({"a": text}, {"n": {"b": text}}, {"y": text}):
        assert rejection(STRICT, field).reason == "wrong_type"


@pytest.mark.parametrize(
    "text",
    ["1,5", "1.234,5", "1_000", "0x10", "1e", "--1", "1 2", ".", "e5", "٣", "1\u00a0", "yes", "nano", "AfQ=", "NaN%"],
)
def test_text_that_is_no_number_is_refused_also_where_numbers_may_be_text(text: str) -> None:
    for field in ({"a": text}, {"y": text}):
        assert rejection(LENIENT, field).reason == "wrong_type"


def test_text_beyond_float64_is_out_of_range_like_a_number() -> None:
    for text in ("1e999", "-" + "9" * 400):
        assert rejection(LENIENT, {"a": text}).reason == rejection(LENIENT, {"y": text}).reason == "out_of_range"


def test_a_decimal_in_base64_is_refused_with_the_remedy() -> None:
    assert "decimal.handling.mode to string" in rejection(LENIENT, {"a": "AfQ="}).detail
    assert "decimal" not in rejection(LENIENT, {"a": "a cat"}).detail


@pytest.mark.parametrize("values", [{"a": 1, "n": {"b": 2.5}, "c": "7", "y": 3}, {"a": None, "c": 7}, {"a": True}])
def test_what_is_fine_in_strict_mode_has_the_same_bits_in_lenient_mode(values: dict[str, Any]) -> None:
    strict, lenient = decode(STRICT, values).block, decode(LENIENT, values).block
    for name in ("x", "y", "time_ms"):
        assert getattr(strict, name).tobytes() == getattr(lenient, name).tobytes()


def test_numbers_as_text_beside_categories_that_look_like_numbers() -> None:
    block = decode(LENIENT, {"a": "1", "c": "1"}, {"a": 1, "c": 1}).block
    assert block.x[0].tobytes() == block.x[1].tobytes()


def test_end_marks_may_be_text_or_zero_and_one_unless_numbers_are_strict() -> None:
    base = {"k": {"id": 1}, "t": "2013-01-01"}
    values = [{**base, "last": last} for last in ("true", "FALSE", 1, 0, "1", "", "0")]
    assert decode(NESTED_KEY, *values).block.end.tolist() == [True, False, True, False, True, False, False]
    strict = job(source="{topic: in, end_field: last, numbers: strict}")
    for bad in ("true", 1, 0):
        assert rejection(strict, {"last": bad}).reason == "wrong_type"


@pytest.mark.parametrize(
    ("unit", "text", "time_ms"),
    [
        ("ms", "9007199254740993", None),
        ("ms", " 1357034400123", 1357034400123),
        ("s", "1357034400.5", 1357034400500),
        ("s", "1.3570344e9", 1357034400000),
        ("us", "1357034400123999", 1357034400123),
    ],
)
def test_a_time_may_be_a_number_in_text(unit: str, text: str, time_ms: int | None) -> None:
    source = f"{{topic: in, timestamp: {{field: t, unit: {unit}}}, numbers: %s}}"
    if time_ms is None:  # beyond the year 9999, told exactly
        assert text in rejection(job(source=source % "lenient"), {"t": text}).detail
    else:
        assert decode(job(source=source % "lenient"), {"t": text}).block.time_ms.tolist() == [time_ms]
    assert rejection(job(source=source % "strict"), {"t": text}).reason == "bad_timestamp"


def test_a_target_that_is_left_out_is_zero_where_the_job_says_so() -> None:
    values: list[Any] = [{}, {"y": None}, {"y": 2}, b'{"y": NaN}', {"y": "NaN"}, {"y": ""}]
    zero = decode(job(target="{fields: [y], missing: zero}"), *values).block.y[:, 0]
    np.testing.assert_array_equal(zero, [0, 0, 2, NAN, NAN, NAN])
    unknown = decode(PLAIN, *values).block.y[:, 0]
    np.testing.assert_array_equal(unknown, [NAN, NAN, 2, NAN, NAN, NAN])
    two = decode(job(target="{fields: [y, z], missing: zero}"), {"z": 1}, {}).block.y
    assert two.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("classes", "index"), [("[true, false]", 1), ("[0, 1, 2]", 0), ("[a, '']", 1), ("[a, '0']", 1)]
)
def test_of_classes_the_one_that_is_zero_is_left_out(classes: str, index: int) -> None:
    config = job(target=f"{{fields: [y], classes: {classes}, missing: zero}}", model="{readout: softmax}")
    assert decode(config, {}, {"y": None}).block.y.tolist() == [[index], [index]]


def test_classes_of_which_none_is_zero_cannot_be_left_out() -> None:
    with pytest.raises(ConfigError, match="needs exactly one class that is left out"):
        job(target="{fields: [y], classes: [late, punctual], missing: zero}", model="{readout: softmax}")


def test_zeros_left_out_of_labels_are_targets_of_zero_and_those_of_events_stay_unknown() -> None:
    config = job(target="{fields: [y], known: label, event_field: id, label_field: of, missing: zero}")
    block = decode(config, {"id": 1}, {"of": 1}, {"of": 1, "y": 3}).block
    np.testing.assert_array_equal(block.y[:, 0], [NAN, 0, 3])


def test_nan_is_missing_wherever_it_stands() -> None:
    assert rejection(NESTED_KEY, b'{"k": {"id": NaN}, "t": "2013-01-01"}').reason == "null_key"
    assert decode(NESTED_KEY, b'{"k": {"id": 1}, "t": "2013-01-01", "last": NaN}').block.end.tolist() == [False]
    np.testing.assert_array_equal(decode(CLASSES, b'{"y": NaN}').block.y, [[NAN]])
    labels = decode(LABELLED, b'{"id": NaN}', b'{"of": NaN, "id": 1}').block
    assert labels.event.tolist() == [0, event_id("1")]
    assert decode(PLAIN, b'{"c": NaN}').block.x[0, 2:].tolist() == [0, 0]
