"""Decoding: every record is a row or a rejection, by itself; encoding: valid JSON whatever the numbers and keys are."""

import base64
import json
import math
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamrnn.broker.protocol import Record
from streamrnn.errors import RecordError
from streamrnn.job.codec import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    REASONS,
    Decoded,
    PredictionEncoder,
    RecordCodec,
    encode_dead_letter,
    event_id,
)
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse

NAN = math.nan
FEATURES = "[{field: a, encoder: numeric}, {field: n.b, encoder: numeric}, {field: c, encoder: hash, buckets: 2}]"


def job(
    *,
    features: str = FEATURES,
    target: str = "{fields: [y]}",
    source: str = "{topic: in}",
    model: str = "{}",
) -> Config:
    return parse(
        f"""
job: j
embedded: {{directory: log}}
input: {source}
features: {features}
target: {target}
model: {model}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: checkpoints}}
""",
        {},
    )


PLAIN = job()
NESTED_KEY = job(source="{topic: in, stream_key: k.id, timestamp: {field: t, unit: iso8601}, end_field: last}")
LABELLED = job(target="{fields: [y], known: label, event_field: id, label_field: of}")
CLASSES = job(target="{fields: [y], classes: [late, 1, true]}", model="{readout: softmax}")


def record(value: Any, *, key: bytes | None = b"k", time_ms: int = 5, offset: int = 0) -> Record:
    encoded = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record("in", 3, offset, time_ms, key, encoded)


def decode(config: Config, *values: Any, **changes: Any) -> Decoded:
    return RecordCodec(config).decode([record(value, **changes) for value in values])


def rejection(config: Config, value: Any, **changes: Any) -> RecordError:
    decoded = decode(config, value, **changes)
    assert len(decoded.block) == 0
    assert decoded.sources == []
    ((source, error),) = decoded.rejected
    assert source.topic == "in"
    assert error.reason in REASONS
    assert len(error.detail) < 1000
    return error


def test_fields_become_the_rows_of_the_block() -> None:
    decoded = decode(PLAIN, {"a": 1, "n": {"b": 2.5}, "c": "x", "y": 7, "unused": [{}]}, {"y": None})
    block = decoded.block
    assert block.keys == [b"k", b"k"]
    assert block.x[0, :2].tolist() == [1.0, 2.5]
    assert block.x[0, 2:].sum() == 1.0
    np.testing.assert_array_equal(block.x[1], [NAN, NAN, 0.0, 0.0])
    np.testing.assert_array_equal(block.y, [[7.0], [NAN]])
    assert block.time_ms.tolist() == [5, 5]
    assert not block.end.any()
    assert not block.kind.any()
    assert not block.event.any()
    assert decoded.rejected == []


@pytest.mark.parametrize("values", [[], [b"junk"], [{}]])
def test_arrays_have_the_learners_types_and_shapes(values: list[Any]) -> None:
    for config in (PLAIN, job(features="[]"), job(target="{fields: [y, z]}")):
        block = decode(config, *values).block
        spec, n = config.learner_spec(), len(block)
        assert n == (1 if values == [{}] else 0)
        assert block.x.shape == (n, spec.n_features)
        assert block.y.shape == (n, spec.n_targets)
        expected = {
            "time_ms": "int64",
            "x": "float64",
            "y": "float64",
            "end": "bool",
            "kind": "uint8",
            "event": "uint64",
        }
        for name, dtype in expected.items():
            array = getattr(block, name)
            assert (array.dtype, len(array)) == (np.dtype(dtype), n)
            assert array.flags.c_contiguous
            assert array.flags.writeable
            assert array.flags.aligned


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"{'a': 1}", "invalid_json"),
        (b'{"a": 1,}', "invalid_json"),
        (b'{"a": 1} x', "invalid_json"),
        (b'{"a": NaN}', "invalid_json"),
        (b'{"unused": Infinity}', "invalid_json"),
        (b'{"a": 01}', "invalid_json"),
        (b'{"c": "\xff"}', "invalid_json"),
        (b'{"c": "\\ud800"}', "invalid_json"),
        (b"\x00\x01\xff", "invalid_json"),
        (b"[1, 2", "invalid_json"),
        (b"[1, 2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"7", "not_an_object"),
        ({"a": "1"}, "wrong_type"),
        ({"a": [1]}, "wrong_type"),
        ({"n": 3}, "wrong_type"),
        ({"c": {}}, "wrong_type"),
        ({"y": "7"}, "wrong_type"),
        ({"y": {}}, "wrong_type"),
        (b'{"a": 1e999}', "out_of_range"),
        (b'{"y": -1e999}', "out_of_range"),
        (b'{"a": ' + b"9" * 400 + b"}", "out_of_range"),
        (b'{"a": ' + b"9" * 9000 + b"}", "out_of_range"),
        (b'{"y": ' + b"9" * 400 + b"}", "out_of_range"),
    ],
)
def test_a_value_that_cannot_be_used_is_rejected_with_its_reason(value: Any, reason: str) -> None:
    assert rejection(PLAIN, value).reason == reason


def test_a_rejection_names_field_found_and_expected() -> None:
    assert rejection(PLAIN, {"n": {"b": "x"}}).detail == "field 'n.b': found the string 'x', expected a number"
    assert rejection(PLAIN, {"n": "x"}).detail == "field 'n.b': found the string 'x' above 'b', expected an object"


def test_a_null_key_is_rejected_when_it_names_the_stream() -> None:
    assert rejection(PLAIN, {}, key=None).reason == "null_key"
    assert decode(PLAIN, {}, key=b"").block.keys == [b""]
    assert decode(NESTED_KEY, {"k": {"id": 1}, "t": "2013-01-01"}, key=None).block.keys == [b"1"]


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


def test_a_large_record_is_rejected_unread() -> None:
    codec = RecordCodec(job(source="{topic: in, max_record_bytes: 100}"))
    exact = b'{"a":"%s"}' % (b"x" * (100 - 8 - 1))
    assert [len(exact) + 1, len(exact) + 2] == [100, 101]
    decoded = codec.decode([record(exact), record(exact, key=b"kk"), record(b"[" * 10_000_000)])
    assert [error.reason for _, error in decoded.rejected] == ["wrong_type", "too_large", "too_large"]


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 900, 1100, 100_000])
@pytest.mark.parametrize("field", ["a", "unused"])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"b":', b"}")])
def test_nesting_is_limited_at_a_fixed_depth(depth: int, field: str, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    inner = depth - 1  # the record itself is one level
    value = b'{"%s":%s1%s}' % (field.encode(), opening * inner, closing * inner)
    decoded = decode(PLAIN, value)
    reasons = [error.reason for _, error in decoded.rejected]
    if depth > MAX_DEPTH:
        assert reasons == ["invalid_json"]
    else:
        assert reasons == (["wrong_type"] if field == "a" else [])


def test_many_shallow_brackets_and_brackets_in_text_are_no_nesting() -> None:
    flat = {"unused": [[{}] for _ in range(500)], "text": '[{"\\' * 500}
    assert decode(PLAIN, flat).rejected == []


def test_the_outcome_does_not_depend_on_the_depth_of_the_callers_stack() -> None:
    value = b'{"unused":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    codec = RecordCodec(PLAIN)

    def at_depth(depth: int) -> int:
        return at_depth(depth - 1) if depth else len(codec.decode([record(value)]).block)

    assert at_depth(0) == at_depth(700) == 1


@pytest.mark.parametrize("time_ms", [0, -62_135_596_800_000, 253_402_300_799_999])
def test_record_timestamps_of_every_year_are_taken(time_ms: int) -> None:
    assert decode(PLAIN, {}, time_ms=time_ms).block.time_ms.tolist() == [time_ms]


@pytest.mark.parametrize("time_ms", [-1, 2**63 - 1, -(2**63), 253_402_300_800_000])
def test_record_timestamps_beyond_are_bad(time_ms: int) -> None:
    assert rejection(PLAIN, {}, time_ms=time_ms).reason == "bad_timestamp"


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


def test_label_records_bring_the_targets_of_their_event() -> None:
    event = {"a": 1, "id": "e1", "y": "not looked at"}
    label = {"of": "e1", "y": 3, "a": "not looked at"}
    block = decode(LABELLED, event, label, {"a": 2}, {"of": None, "id": 7}, {"of": 7}).block
    assert block.kind.tolist() == [0, 1, 0, 0, 1]
    assert block.event.tolist() == [event_id("e1"), event_id("e1"), 0, event_id("7"), event_id("7")]
    np.testing.assert_array_equal(block.y[:, 0], [NAN, 3, NAN, NAN, NAN])
    assert np.isnan(block.x[1]).all()
    assert rejection(LABELLED, {"of": 1.5}).reason == "wrong_type"
    assert rejection(LABELLED, {"of": "e", "y": "x"}).reason == "wrong_type"
    assert rejection(LABELLED, {"id": []}).reason == "wrong_type"


def test_event_ids_are_a_fixed_function_of_the_text() -> None:
    # Written down: the ids are part of saved states.
    assert event_id("N14228/1") == 11262476384033402926


def test_a_rejected_record_leaves_no_trace_in_its_neighbours() -> None:
    good = {"a": 1, "n": {"b": 2}, "c": "x", "y": 3}
    alone = decode(PLAIN, good, good)
    mixed = decode(PLAIN, {**good, "y": "x"}, good, b"junk", {"a": 9, "c": []}, good, None)
    for name in ("x", "y", "time_ms", "end", "kind", "event"):
        np.testing.assert_array_equal(getattr(mixed.block, name), getattr(alone.block, name))
    assert [error.reason for _, error in mixed.rejected] == ["wrong_type", "invalid_json", "wrong_type", "null_value"]


# --- fuzz -----------------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
json_values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=6
)
documents = st.dictionaries(st.sampled_from(["a", "n", "c", "y", "k", "t", "last", "id", "of"]), json_values)
payloads = (
    st.none()
    | st.binary(max_size=40)
    | st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace"))
    | json_values.map(lambda v: json.dumps(v).encode())
    | documents.map(lambda v: json.dumps(v).encode())
    | st.tuples(documents.map(lambda v: json.dumps(v).encode()), st.integers(0, 60)).map(lambda p: p[0][: p[1]])
)
timestamps = st.integers(-(2**63), 2**63 - 1) | st.integers(-1, 10**13)
records = st.builds(
    Record, st.just("in"), st.just(3), st.integers(0, 2**63 - 1), timestamps, st.none() | st.binary(), payloads
)


def row(decoded: Decoded, i: int) -> tuple[Any, ...]:
    b = decoded.block
    return (b.keys[i], *(getattr(b, name)[i].tobytes() for name in ("time_ms", "x", "y", "end", "kind", "event")))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([PLAIN, NESTED_KEY, LABELLED, CLASSES]), st.lists(records, max_size=6))
@example(PLAIN, [record(b"[" * 200_000), record(b'{"a":' * 200_000), record(b'{"a":"' + b"[" * 200_000)])
@example(PLAIN, [record(b"x" * 10_000_000), record({}), record(b'{"a": 1e400}')])
def test_every_record_is_a_row_or_a_rejection_whatever_surrounds_it(config: Config, batch: list[Record]) -> None:
    codec = RecordCodec(config)
    together = codec.decode(batch)
    assert len(together.sources) == len(together.block)
    assert len(together.sources) + len(together.rejected) == len(batch)
    assert not np.isinf(together.block.x).any()
    assert not np.isinf(together.block.y).any()
    rows, rejected = iter(range(len(together.block))), iter(together.rejected)
    for one in batch:
        alone = RecordCodec(config).decode([one])
        if alone.sources:
            i = next(rows)
            assert together.sources[i] == one
            assert row(together, i) == row(alone, 0)
        else:
            source, error = next(rejected)
            assert (source, error.reason, error.detail) == (one, *vars(alone.rejected[0][1]).values())
            assert error.reason in REASONS
            letter = json.loads(encode_dead_letter(source, error))
            assert letter["reason"] == error.reason


# --- predictions ----------------------------------------------------------------------------------------------------


def output(config: Config, value: list[float], target: list[float], key: bytes = b"k") -> dict[str, Any]:
    encoder = PredictionEncoder(config.learner_spec())
    text = encoder.encode(record({}, offset=9), key, 77, value, target, 4)
    decoded: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    return decoded


def test_an_output_record_holds_where_it_comes_from_and_what_was_predicted() -> None:
    assert output(PLAIN, [1.5], [2.0]) == {
        "stream": "k", "topic": "in", "partition": 3, "offset": 9, "timestamp": 77,
        "prediction": 1.5, "target": 2.0, "updates": 4,
    }  # fmt: skip


def test_an_unknown_target_and_a_prediction_that_is_not_finite_are_null() -> None:
    for value in (NAN, math.inf, -math.inf):
        out = output(PLAIN, [value], [NAN])
        assert (out["prediction"], out["target"]) == (None, None)


def test_several_outputs_are_named_by_target_step_and_level() -> None:
    two = job(target="{fields: [y, z]}")
    assert output(two, [1, 2], [3, NAN])["prediction"] == {"y": 1, "z": 2}
    assert output(two, [1, 2], [3, NAN])["target"] == {"y": 3, "z": None}
    levels = job(model="{loss: quantile, quantiles: [0.05, 0.5]}")
    assert output(levels, [1, NAN], [3])["prediction"] == {"y": {"0.05": 1, "0.5": None}}
    ahead = job(target="{fields: [y], known: forecast, horizon: 2}")
    assert output(ahead, [1, 2], [3])["prediction"] == {"y": {"1": 1, "2": 2}}
    assert output(ahead, [1, 2], [3])["target"] is None
    one_ahead = job(target="{fields: [y], known: forecast}")
    assert output(one_ahead, [1], [3])["prediction"] == 1
    everything = job(
        target="{fields: [y, z], known: forecast, horizon: 2}", model="{loss: quantile, quantiles: [0.1, 0.9]}"
    )
    # Columns: levels within targets within steps, the last running fastest.
    assert output(everything, list(range(8)), [3, 4])["prediction"] == {
        "y": {"1": {"0.1": 0, "0.9": 1}, "2": {"0.1": 4, "0.9": 5}},
        "z": {"1": {"0.1": 2, "0.9": 3}, "2": {"0.1": 6, "0.9": 7}},
    }


def test_classes_are_named_by_their_label() -> None:
    out = output(CLASSES, [0.2, 0.7, 0.1], [2.0])
    assert out["prediction"] == {"class": 1, "probabilities": {"late": 0.2, "1": 0.7, "true": 0.1}}
    assert out["target"] is True
    assert output(CLASSES, [NAN, 0.7, 0.1], [NAN])["prediction"]["class"] is None
    assert output(CLASSES, [NAN, 0.7, 0.1], [NAN])["target"] is None
    logistic = job(target="{fields: [y], classes: [no-show, show]}", model="{readout: logistic}")
    assert output(logistic, [0.75], [0.0])["prediction"] == {
        "class": "show", "probabilities": {"no-show": 0.25, "show": 0.75},
    }  # fmt: skip
    assert output(logistic, [0.75], [0.0])["target"] == "no-show"
    assert output(logistic, [NAN], [0.0])["prediction"]["class"] is None


@given(st.binary(max_size=20))
@example(b"\xff\xfe")
@example(b'"\\\x00')
def test_any_key_comes_back_from_the_output_record(key: bytes) -> None:
    out = output(PLAIN, [1.0], [1.0], key)
    if out["stream"] is None:
        assert base64.b64decode(out["stream_base64"]) == key
    else:
        assert "stream_base64" not in out
        assert out["stream"].encode() == key


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_bit_for_bit(value: float) -> None:
    out = output(PLAIN, [value], [value])
    assert np.float64(out["prediction"]).tobytes() == np.float64(value).tobytes()


def test_a_block_of_predictions_skips_label_records() -> None:
    decoded = decode(LABELLED, {"id": 1}, {"of": 1, "y": 2}, {"id": 2})
    encoder = PredictionEncoder(LABELLED.learner_spec())
    lines = encoder.encode_block(decoded, np.array([[1.0], [NAN], [3.0]]), np.array([5, 5, 6]))
    assert [line and (json.loads(line)["prediction"], json.loads(line)["updates"]) for line in lines] == [
        (1.0, 5), None, (3.0, 6),
    ]  # fmt: skip


# --- dead letters ---------------------------------------------------------------------------------------------------

ERROR = RecordError("wrong_type", "field 'a': found x, expected y")


def test_a_dead_letter_says_why_where_and_what() -> None:
    letter = json.loads(encode_dead_letter(record(b"{broken", key=b"\xff"), ERROR))
    assert letter == {
        "reason": "wrong_type", "detail": "field 'a': found x, expected y",
        "topic": "in", "partition": 3, "offset": 0, "timestamp": 5,
        "key": "/w==", "key_encoding": "base64", "key_bytes": 1,
        "value": "{broken", "value_encoding": "utf-8", "value_bytes": 7,
    }  # fmt: skip
    nulls = json.loads(encode_dead_letter(record(None, key=None), ERROR))
    assert [nulls[f"{part}{suffix}"] for part in ("key", "value") for suffix in ("", "_encoding", "_bytes")] == [
        None
    ] * 6


def test_a_long_value_is_cut_between_characters_and_its_size_noted() -> None:
    letter = json.loads(encode_dead_letter(record("é".encode() * 100), ERROR, max_value_bytes=11))
    assert (letter["value"], letter["value_encoding"], letter["value_bytes"]) == ("é" * 5, "utf-8", 200)
    whole = json.loads(encode_dead_letter(record("é".encode()[:1]), ERROR))
    assert (whole["value"], whole["value_encoding"]) == ("ww==", "base64")


@pytest.mark.parametrize(
    "piece", [b"x", b'"', b"\\", b"\x00", b"\xff", "é".encode(), b"\n", b"\x7f", "\u2028".encode()]
)
def test_a_dead_letter_stays_below_1_mb(piece: bytes) -> None:
    blob = piece * (10_000_000 // len(piece))
    error = RecordError("wrong_type", "é" * 1_000_000)
    letter = encode_dead_letter(record(blob, key=blob), error, max_value_bytes=256 * 1024)
    assert len(letter) < 1_000_000
    assert json.loads(letter)["value_bytes"] == len(blob)


@given(st.none() | st.binary(), st.none() | st.binary(), st.text())
def test_a_dead_letter_holds_any_record(key: bytes | None, value: bytes | None, detail: str) -> None:
    letter = json.loads(encode_dead_letter(record(value, key=key), RecordError("wrong_type", detail)))
    for part, data in (("key", key), ("value", value)):
        text, encoding = letter[part], letter[f"{part}_encoding"]
        assert data == (None if text is None else base64.b64decode(text) if encoding == "base64" else text.encode())


def test_keys_too_long_for_an_output_record_are_refused() -> None:
    """A prediction carries the key twice; one that no broker takes would stop the job for ever."""
    by_field = job(source="{topic: in, stream_key: k}")
    long = "k" * (MAX_KEY_BYTES + 1)
    assert rejection(PLAIN, {}, key=long.encode()).reason == "too_large"
    assert rejection(by_field, {"k": "short"}, key=long.encode()).reason == "too_large"
    assert rejection(by_field, {"k": long}).reason == "too_large"
    assert decode(by_field, {"k": long[1:]}, key=long[1:].encode()).rejected == []
