"""Decoding: every record is a row or a rejection, by itself."""

import gc
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamrnn.broker.protocol import Record, Refused
from streamrnn.job.codec.dead_letters import REASONS, encode_dead_letter
from streamrnn.job.codec.fields import event_id
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.input_config import MAX_KEY_BYTES
from streamrnn.learner.block import FORGET
from tests.support.jobs import CLASSES, LABELLED, NAN, NESTED_KEY, PLAIN, decode, job, record, rejection


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
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"{'a': 1}", "malformed"),
        (b'{"a": 1,}', "malformed"),
        (b'{"a": 1} x', "malformed"),
        (b'{"a": NaNs}', "malformed"),
        (b'{"unused": Infinite}', "malformed"),
        (b'{"unused": 1NaN}', "malformed"),
        (b'{"a": NaN, "y": 1e999}', "out_of_range"),
        (b'{"a": NaN,}', "malformed"),
        (b"[NaN]", "not_an_object"),
        (b"\xef\xbb\xbf[1]", "not_an_object"),
        (b'{"a": 01}', "malformed"),
        (b'{"c": "\xff"}', "malformed"),
        (b'{"c": "\\ud800"}', "malformed"),
        (b"\x00\x01\xff", "malformed"),
        (b"[1, 2", "malformed"),
        (b"[1, 2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"7", "not_an_object"),
        ({"a": "one"}, "wrong_type"),
        ({"a": [1]}, "wrong_type"),
        ({"n": 3}, "wrong_type"),
        ({"c": {}}, "wrong_type"),
        ({"y": "seven"}, "wrong_type"),
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


def test_a_large_record_is_rejected_unread() -> None:
    codec = RecordCodec(job(source="{topic: in, max_record_bytes: 100}"))
    exact = b'{"a":"%s"}' % (b"x" * (100 - 8 - 1))
    assert [len(exact) + 1, len(exact) + 2] == [100, 101]
    decoded = codec.decode([record(exact), record(exact, key=b"kk"), record(b"[" * 10_000_000)])
    assert [error.reason for _, error in decoded.rejected] == ["wrong_type", "too_large", "too_large"]


@pytest.mark.parametrize("time_ms", [0, -62_135_596_800_000, 253_402_300_799_999])
def test_record_timestamps_of_every_year_are_taken(time_ms: int) -> None:
    assert decode(PLAIN, {}, time_ms=time_ms).block.time_ms.tolist() == [time_ms]


@pytest.mark.parametrize("time_ms", [-1, 2**63 - 1, -(2**63), 253_402_300_800_000])
def test_record_timestamps_beyond_are_bad(time_ms: int) -> None:
    assert rejection(PLAIN, {}, time_ms=time_ms).reason == "bad_timestamp"


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


def test_a_rejected_record_leaves_no_trace_in_its_neighbours() -> None:
    good = {"a": 1, "n": {"b": 2}, "c": "x", "y": 3}
    alone = decode(PLAIN, good, good)
    mixed = decode(PLAIN, {**good, "y": "x"}, good, b"junk", {"a": 9, "c": []}, good, b"")
    for name in ("x", "y", "time_ms", "end", "kind", "event"):
        np.testing.assert_array_equal(getattr(mixed.block, name), getattr(alone.block, name))
    assert [error.reason for _, error in mixed.rejected] == ["wrong_type", "malformed", "wrong_type", "malformed"]


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
sizes = st.none() | st.integers(0, 2**31)
refusals = st.builds(Refused, st.sampled_from(["too_large", "corrupt"]), st.text(), sizes, sizes)
coordinates = (st.just("in"), st.just(3), st.integers(0, 2**63 - 1), timestamps, st.none() | st.binary())
records = st.builds(Record, *coordinates, payloads, st.just(()), st.none()) | st.builds(
    Record, *coordinates, st.none(), st.just(()), refusals
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


def test_keys_too_long_for_an_output_record_are_refused() -> None:
    """A prediction carries the key twice; one that no broker takes would stop the job for ever."""
    by_field = job(source="{topic: in, stream_key: k}")
    long = b"k" * (MAX_KEY_BYTES + 1)
    assert rejection(PLAIN, {}, key=long).reason == "too_large"
    assert rejection(by_field, {"k": "short"}, key=long).reason == "too_large"
    assert decode(by_field, {"k": "short"}, key=long[1:]).rejected == []


@pytest.mark.parametrize(("source", "most"), [("{topic: in%s}", 1024), ("{topic: in, max_key_bytes: 9%s}", 9)])
def test_records_of_streams_with_longer_names_are_refused_whatever_names_them(source: str, most: int) -> None:
    """Each stream's name is kept in memory."""
    by_key, by_field = job(source=source % ""), job(source=source % ", stream_key: k.id")
    fits, long = b"7" * most, b"7" * (most + 1)
    found = f"of {most + 1} bytes, expected at most {most} (input.max_key_bytes)"
    error = rejection(by_key, {}, key=long)
    assert (error.reason, error.detail) == ("too_large", f"found a key {found}")
    assert rejection(by_key, None, key=long).detail == f"found a key {found}"
    for value in (long.decode(), int(long)):
        assert rejection(by_field, {"k": {"id": value}}).detail == f"field 'k.id': found a stream key {found}"
    assert decode(by_key, {}, None, key=fits).block.keys == [fits, fits]
    assert decode(by_field, {"k": {"id": fits.decode()}}, {"k": {"id": int(fits)}}).block.keys == [fits, fits]


def test_a_stream_s_name_is_as_long_as_its_utf_8() -> None:
    by_field = job(source="{topic: in, stream_key: k, max_key_bytes: 4}")
    assert decode(by_field, {"k": "éé"}).rejected == []
    assert rejection(by_field, {"k": "ééé"}).reason == "too_large"


def test_a_tombstone_is_a_row_that_forgets_its_stream() -> None:
    decoded = decode(PLAIN, {"a": 1}, None, time_ms=-1)
    assert [error.reason for _, error in decoded.rejected] == ["bad_timestamp"]
    assert decoded.block.keys == [b"k"]
    assert decoded.block.kind.tolist() == [FORGET]
    assert np.isnan(decoded.block.x).all()
    assert np.isnan(decoded.block.y).all()
    assert (decoded.tombstones, decoded.filtered) == (1, 0)
    assert rejection(PLAIN, None, key=b"k" * 1025).reason == "too_large"


def test_a_tombstone_that_names_no_stream_is_a_dead_letter_with_the_remedy() -> None:
    for error in (rejection(PLAIN, None, key=None), rejection(job(source="{topic: in, stream_key: k}"), None)):
        assert error.reason == "null_value"
        assert "input.tombstones: ignore" in error.detail


def test_tombstones_may_be_dead_letters_or_ignored() -> None:
    assert rejection(job(source="{topic: in, tombstones: dead_letter}"), None).reason == "null_value"
    for source in ("{topic: in, tombstones: ignore}", "{topic: in, tombstones: ignore, stream_key: a}"):
        decoded = decode(job(source=source), None, {"a": 1}, None)
        assert (len(decoded.block), decoded.tombstones, decoded.filtered, decoded.rejected) == (1, 2, 0, [])


def seen(config: Config, *values: Any, **changes: Any) -> dict[str, tuple[int, int]]:
    """Of each field of the job: records with a value, and records without."""
    codec = RecordCodec(config)
    counts = codec.decode([record(value, **changes) for value in values]).seen
    assert counts.present.dtype == counts.missing.dtype == np.int64
    return {
        field.path: (int(present), int(missing))
        for field, present, missing in zip(codec.fields, counts.present, counts.missing, strict=True)
    }


def test_it_counts_in_how_many_records_each_field_has_a_value() -> None:
    values: list[Any] = [{"a": 1, "c": "x", "y": 1}, {"n": {"b": 2}, "c": None}, {"a": 0, "c": "", "y": 0}, b"junk"]
    assert seen(PLAIN, *values) == {"a": (2, 1), "n.b": (1, 2), "c": (2, 1), "y": (2, 1)}
    assert seen(PLAIN) == {"a": (0, 0), "n.b": (0, 0), "c": (0, 0), "y": (0, 0)}
    assert seen(PLAIN, b'{"a": NaN, "c": "x"}', None) == {"a": (0, 1), "n.b": (0, 1), "c": (1, 0), "y": (0, 1)}
    zero = job(target="{fields: [y, z], missing: zero}", features="[]")
    assert seen(zero, {"y": 0}, {"y": 5, "z": None}, b'{"y": NaN}') == {"y": (2, 1), "z": (0, 3)}


def test_a_category_that_is_not_declared_is_there_all_the_same() -> None:
    config = job(features="[{field: c, encoder: onehot, categories: [x]}, {field: a, encoder: numeric}]")
    assert seen(config, {"c": "other"}, {"a": 1}, {"c": "x", "a": 2}, {"c": [], "a": 1}) == {
        "c": (2, 1), "a": (2, 1), "y": (0, 3),
    }  # fmt: skip


def test_fields_of_other_roles_are_counted_where_they_are_looked_at() -> None:
    base: dict[str, Any] = {"k": {"id": 1}, "t": "2013-01-01"}
    # One whose time cannot be used has one all the same, one without does not.
    values = [base, {**base, "last": False}, {**base, "t": 1}, {"k": {"id": 1}}, {"t": "2013-01-01"}]
    found = seen(NESTED_KEY, *values)
    assert {name: found[name] for name in ("k.id", "t", "last")} == {"k.id": (2, 1), "t": (3, 1), "last": (1, 1)}
    labels = seen(LABELLED, {"id": 1, "a": 1}, {"of": 1, "y": 3}, {"of": 1}, {"a": 2}, {"of": "", "id": 2})
    assert {name: labels[name] for name in ("id", "of", "y", "a")} == {
        "id": (1, 1), "of": (3, 2), "y": (1, 2), "a": (2, 0),
    }  # fmt: skip


def test_a_flat_name_with_dots_is_found_by_the_path_of_that_text() -> None:
    config = job(features="[{field: cpu.load, encoder: numeric}, {field: 'r[0].v', encoder: numeric}]")
    values: list[Any] = [{"cpu.load": 3, "r[0].v": 1}, {"cpu": {"load": 4}, "r": [{"v": 2}]}]
    both = {"cpu.load": 5, "cpu": {"load": 6}, "r": [{"v": 3}]}
    block = decode(config, *values, both, {"cpu.load": 7, "cpu": 8, "r": []}).block
    np.testing.assert_array_equal(block.x, [[3, 1], [4, 2], [5, 3], [7, NAN]])
    quoted = job(features="""[{field: '["cpu.load"]', encoder: numeric}]""")
    np.testing.assert_array_equal(decode(quoted, *values).block.x, [[3], [NAN]])


def test_elements_of_arrays_are_found_from_either_end() -> None:
    config = job(features="[{field: 'r[0]', encoder: numeric}, {field: 'r[-1].v', encoder: numeric}]")
    block = decode(config, {"r": [1, 2, {"v": 3}]}, {"r": []}, {}).block
    np.testing.assert_array_equal(block.x, [[1, 3], [NAN, NAN], [NAN, NAN]])
    assert (
        rejection(config, {"r": {"v": 1}}).detail
        == "field 'r[0]': found the object {'v': 1} above 0, expected an array"
    )


@pytest.mark.parametrize("tombstones", ["forget", "dead_letter", "ignore"])
def test_a_record_that_was_not_read_is_rejected_and_no_tombstone_whatever_becomes_of_those(tombstones: str) -> None:
    config = job(source=f"{{topic: in, tombstones: {tombstones}}}")
    unread = record(None)._replace(refused=Refused("too_large", "found 300 bytes", 1, 299))
    decoded = RecordCodec(config).decode([record({"a": 1}), record(None), unread, record({"a": 2})])
    assert [error.reason for _, error in decoded.rejected][-1] == "too_large"
    assert decoded.rejected[-1][0] == unread
    assert decoded.tombstones == (tombstones != "dead_letter")
    assert (decoded.block.kind == FORGET).sum() == (tombstones == "forget")
    assert decoded.filtered == 0
    letter = json.loads(encode_dead_letter(*decoded.rejected[-1]))
    assert (letter["reason"], letter["detail"]) == ("too_large", "found 300 bytes")
    assert (letter["key_bytes"], letter["value"], letter["value_bytes"]) == (1, None, 299)


@pytest.mark.parametrize(
    "value",
    [b"junk", b"[1]", b"[" * 100, {"a": "x"}, {"a": 10**400}, {"a": "1e999"}, {"y": [1]}, None, b"1" * 2000],
    ids=lambda value: repr(value)[:12],
)
def test_a_refused_record_leaves_nothing_to_the_garbage_collector(value: Any) -> None:
    """The daemon's looks seldom; until then all records of the batch would stay in memory."""
    codec = RecordCodec(job(source="{topic: in, tombstones: dead_letter, max_record_bytes: 1000}"))
    records = [record(value), record({"a": 1})]
    codec.decode(records)
    while gc.collect():  # the codecs of other tests take several rounds, as they have made classes
        pass
    gc.disable()
    try:
        assert len(codec.decode(records).rejected) == 1
        assert gc.collect() == 0
    finally:
        gc.enable()
