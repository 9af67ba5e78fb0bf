"""Whole sequences out of a record: its frames and its answer, and what makes a dead letter."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, FORGET
from tests.support.jobs import NAN, decode, rejection
from tests.support.sequence_jobs import TARGETS, sequence_job

OBJECTS = sequence_job(
    frames="max_steps: 9",
    features="[{field: a, encoder: numeric}, {field: n.b, encoder: numeric}, "
    "{field: c, encoder: onehot, categories: [x, z]}]",
)
NUMERIC = sequence_job(frames="max_steps: 9", features="[{field: a, encoder: numeric}, {field: b, encoder: numeric}]")
SCALARS = sequence_job(frames="max_steps: 9", features="[{field: v, encoder: numeric}]")
LETTERS = sequence_job(frames="max_steps: 9", features="[{field: v, encoder: symbol, symbols: {open: true}}]")
CHUNKS = sequence_job(TARGETS["transcript"], source="end_field: last")


def frames(config: Config, *values: Any) -> list[Any]:
    decoded = decode(config, *values)
    assert decoded.block.frames is not None
    assert not decoded.rejected
    assert decoded.block.x.shape == (len(values), 0)
    bounds = decoded.block.frames.bounds.tolist()
    return [decoded.block.frames.x[a:b].tolist() for a, b in pairwise(bounds)]


def same(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.array(found, float), np.array(expected, float))


number = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53), st.booleans())
maybe = st.one_of(number, st.none())
text_of = st.sampled_from([json.dumps, lambda value: json.dumps(str(value).lower())])


@given(st.lists(st.tuples(maybe, maybe, st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_numbers_come_back_whatever_frames_are_made_of(rows: list[tuple[Any, Any, bool, bool]]) -> None:
    expected = [[NAN if v is None else float(v) for v in row[:2]] for row in rows]
    arrays = [[_text(v) if as_text else v for v, as_text in zip(row[:2], row[2:], strict=True)] for row in rows]
    objects = [dict(zip("ab", frame, strict=True)) for frame in arrays]
    same(frames(sequence_job(), {"frames": arrays})[0], expected)
    same(frames(NUMERIC, {"frames": objects})[0], expected)
    same(frames(SCALARS, {"frames": [frame[0] for frame in arrays]})[0], [row[:1] for row in expected])


def _text(value: Any) -> Any:
    return value if value is None else json.dumps(value)


@given(st.lists(st.lists(st.lists(maybe, min_size=2, max_size=2), min_size=1, max_size=4), max_size=5), st.data())
def test_what_a_record_decodes_to_does_not_depend_on_its_neighbours(records: list[Any], data: st.DataObject) -> None:
    values = [{"frames": each, "y": data.draw(st.sampled_from(["low", "high", None]))} for each in records]
    together = decode(sequence_job(), *values).block
    for i, value in enumerate(values):
        alone, one = decode(sequence_job(), value).block, together.rows(slice(i, i + 1))
        assert one.frames is not None and alone.frames is not None
        same(one.frames.x, alone.frames.x)
        same(one.y, alone.y)


def test_objects_are_read_with_the_ordinary_encoders() -> None:
    first, second = {"a": 1, "n": {"b": 2.5}, "c": "z"}, {"n.b": "7", "c": "?"}
    same(frames(OBJECTS, {"frames": [first, second, None]})[0], [[1, 2.5, 0, 1], [NAN, 7, 0, 0], [NAN, NAN, 0, 0]])


def test_features_pick_columns_by_name_in_their_own_order() -> None:
    config = sequence_job(
        frames="columns: [a, b, c]", features="[{field: c, encoder: numeric}, {field: a, encoder: numeric}]"
    )
    same(frames(config, {"frames": [[1, 2, 3], [4, 5, 6]]})[0], [[3, 1], [6, 4]])
    one = sequence_job(frames="columns: [a, b, c]", features="[{field: b, encoder: log1p}]")
    same(frames(one, {"frames": [[1, 0, 3]]})[0], [[0]])


def test_a_text_is_the_sequence_of_its_characters() -> None:
    block = decode(LETTERS, {"frames": "né1"}, {"frames": ["n", 1, None]}).block
    assert block.frames is not None
    assert block.frames.symbols == (["n", "é", "1", "n", "1", None],)
    assert (block.frames.bounds.tolist(), block.frames.x.shape) == ([0, 3, 6], (6, 0))


@pytest.mark.parametrize(
    ("config", "value", "reason", "detail"),
    [
        (NUMERIC, {}, "empty_sequence", "field 'frames': missing or null, expected an array of frames"),
        (NUMERIC, {"frames": None}, "empty_sequence", "missing or null"),
        (NUMERIC, {"frames": []}, "empty_sequence", "found no frames, expected at least one"),
        (NUMERIC, {"frames": [{}] * 10}, "too_long", "found 10 frames, expected at most 9 (input.sequence.max_steps"),
        (NUMERIC, {"frames": "ab"}, "wrong_type", "found the string 'ab', expected an array"),
        (NUMERIC, {"frames": {"a": 1}}, "wrong_type", "found the object"),
        (
            NUMERIC,
            {"frames": [{}, [1, 2]]},
            "wrong_type",
            "frame 1: found the array [1, 2], expected an object",
        ),
        (
            NUMERIC,
            {"frames": [{"a": "x"}]},
            "wrong_type",
            "frame 0: field 'a': found the string 'x', expected",
        ),
        (sequence_job(), {"frames": [[1, 2], [1]]}, "wrong_length", "frame 1: found 1 numbers, expected 2"),
        (
            sequence_job(),
            {"frames": [1, 2]},
            "wrong_type",
            "frame 0: found the number 1, expected an array of 2 numbers (input.sequence.columns); leave columns out",
        ),
        (sequence_job(), {"frames": [[1, "2 m"]]}, "wrong_type", "frame 0: field 'b': found the string '2 m'"),
        (sequence_job(), {"frames": [[1, [2]]]}, "wrong_type", "frame 0: field 'b': found the array [2]"),
        (SCALARS, {"frames": 3}, "wrong_type", "found the number 3, expected an array, or a text"),
        (sequence_job(), {"frames": [[1, 2]], "y": "maybe"}, "unknown_class", "found the string 'maybe'"),
    ],
)
def test_frames_that_cannot_be_read_make_a_dead_letter(config: Config, value: Any, reason: str, detail: str) -> None:
    error = rejection(config, value)
    assert error.reason == reason
    assert detail in error.detail


def test_an_integer_beyond_float64_is_out_of_range_and_strict_jobs_take_no_text() -> None:
    assert rejection(sequence_job(), b'{"frames": [[1, 1' + b"0" * 400 + b"]]}").reason == "out_of_range"
    assert rejection(sequence_job(source="numbers: strict"), {"frames": [[1, "2"]]}).reason == "wrong_type"


def answers(config: Config, *values: Any) -> list[Any]:
    """Of each record None where its answer is unknown, or its elements."""
    found = decode(config, *({"frames": [[1, 2], [3, 4]], **value} for value in values)).block.answers
    assert found is not None
    elements: list[Any] = found.value.tolist() if found.labels is None else found.labels
    bounds = found.bounds.tolist()
    known = found.known.tolist()
    return [elements[a:b] if there else None for (a, b), there in zip(pairwise(bounds), known, strict=True)]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("labels", [["high", "low"], None, ["low", None]], [[1, 0], None, [0, NAN]]),
        ("labels of numbers", [[1.5, "2"], [None, 3]], [[1.5, 2], [NAN, 3]]),
        ("transcript", ["abca", "", None], [[0, 1, 2, 0], [], None]),
        ("sequence", ["c  a b", ""], [[2, 0, 1], []]),
        ("numbers", [[1, 2.5, None], [True, "4", 5]], [[1, 2.5, NAN], [1, 4, 5]]),
        ("open transcript", [["x", 3, True], []], [["x", "3", "true"], []]),
    ],
)
def test_answers_of_each_kind(kind: str, values: list[Any], expected: list[Any]) -> None:
    found = answers(sequence_job(TARGETS[kind]), *({"y": value} for value in values))
    assert repr([x and [e if isinstance(e, str) else float(e) for e in x] for x in found]) == repr(
        [x and [e if isinstance(e, str) else float(e) for e in x] for x in expected]
    )


@pytest.mark.parametrize(
    ("kind", "value", "reason", "detail"),
    [
        ("labels", ["high"], "wrong_length", "field 'y': found 1 labels, expected 2, one for each frame"),
        ("labels", "high", "wrong_type", "found the string 'high', expected an array"),
        (
            "labels",
            ["high", "?"],
            "unknown_class",
            "element 1: found the string '?', expected one of low, high",
        ),
        ("transcript", ["a"], "wrong_type", "found the array ['a'], expected a text"),
        ("transcript", "abd", "unknown_class", "element 2: found the string 'd', expected one of a, b, c"),
        ("open transcript", ["x", None], "wrong_type", "element 1: found nothing, expected a symbol"),
        ("open transcript", ["x", ["y"]], "wrong_type", "field 'y[1]': found the array ['y']"),
        ("numbers", [1, 2], "wrong_length", "found 2 numbers, expected 3 (target.horizon)"),
        ("numbers", [1, 2, "x"], "wrong_type", "field 'y[2]': found the string 'x', expected a number"),
    ],
)
def test_answers_that_cannot_be_read_make_a_dead_letter(kind: str, value: Any, reason: str, detail: str) -> None:
    error = rejection(sequence_job(TARGETS[kind]), {"frames": [[1, 2], [3, 4]], "y": value})
    assert error.reason == reason
    assert detail in error.detail


def test_one_label_stands_where_that_of_a_single_step_stands() -> None:
    block = decode(sequence_job(), {"frames": [[1, 2]], "y": "high"}, {"frames": [[1, 2]]}).block
    same(block.y, [[1], [NAN]])
    assert block.answers is None
    opened = decode(sequence_job("{fields: [y], kind: label, classes: {open: true}}"), {"frames": [[1, 2]], "y": 7})
    assert opened.block.labels == ["7"]


def test_a_chunk_may_be_empty_or_long_and_its_answer_is_read_at_the_end_only() -> None:
    long = [[0, 0]] * 2_000
    decoded = decode(CHUNKS, {"frames": long, "y": "not one of them"}, {}, {"last": True, "y": "ab"})
    assert decoded.block.frames is not None and decoded.block.answers is not None
    assert decoded.block.frames.bounds.tolist() == [0, 2_000, 2_000, 2_000]
    assert decoded.block.end.tolist() == [False, False, True]
    assert decoded.block.answers.known.tolist() == [False, False, True]
    label = decode(sequence_job(source="end_field: last"), {"y": "high"}, {"y": "high", "last": True}).block
    assert [math.isnan(y) for y in label.y[:, 0]] == [True, False]


BAD = {"frames": [[1, 2]], "y": "abd"}


@pytest.mark.parametrize(
    ("kind", "bad", "reason"),
    [
        ("transcript", BAD, "unknown_class"),
        ("transcript", {"frames": [[1]]}, "wrong_length"),
        ("transcript", {"frames": "ab"}, "wrong_type"),
        ("label", {"frames": [[1, 2]], "y": "neither"}, "unknown_class"),
        ("labels", {"frames": [[1, 2]], "y": []}, "wrong_length"),
        ("open transcript", {"y": [None]}, "wrong_type"),
    ],
)
def test_a_refused_record_that_ends_its_sequence_does_so_in_silence(kind: str, bad: Any, reason: str) -> None:
    config = sequence_job(TARGETS[kind], source="end_field: last")
    decoded = decode(config, {"frames": []}, {**bad, "last": True}, {**bad, "last": False, "frames": [[1]]}, None)
    block = decoded.block
    assert [error.reason for _, error in decoded.rejected] == [reason, "wrong_length"]
    assert decoded.silent.tolist() == [False, True, False]
    assert (block.kind.tolist(), block.end.tolist()) == ([EVENT, EVENT, FORGET], [False, True, False])
    assert block.frames is not None
    assert block.frames.bounds.tolist() == [0, 0, 0, 0]
    assert math.isnan(block.y[1, 0])
    assert block.labels is None or block.labels[1] is None
    assert block.answers is None or (not block.answers.known[1] and block.answers.bounds[-1] == 0)
    assert (decoded.filtered, decoded.tombstones, len(decoded.sources)) == (0, 1, 3)


def test_fields_of_a_refused_record_that_ends_its_sequence_are_counted_as_those_of_any_that_is_refused() -> None:
    roles = ["feature", "feature", "target", "frames", "end_field"]
    assert [field.role for field in RecordCodec(CHUNKS).fields] == roles
    for bad in ({"frames": [[1]], "last": True}, {"frames": [[1]]}):
        seen = decode(CHUNKS, {"frames": [[1, 2]], "last": True, "y": "a"}, bad, {}).seen
        assert (seen.present.tolist(), seen.missing.tolist()) == ([1, 1, 1, 1, 1], [0, 0, 0, 1, 1])


def test_without_chunks_or_a_mark_that_can_be_read_a_refused_record_has_no_row() -> None:
    assert rejection(sequence_job(TARGETS["transcript"]), BAD).reason == "unknown_class"
    assert rejection(CHUNKS, {**BAD, "last": "perhaps"}).reason == "wrong_type"
    assert rejection(CHUNKS, {**BAD, "last": True}, time_ms=-1).reason == "bad_timestamp"


def test_labels_come_with_each_chunk() -> None:
    config = sequence_job(TARGETS["labels"], source="end_field: last")
    found = decode(config, {"frames": [[1, 2]], "y": ["low"]}, {"frames": [], "y": [], "last": True}).block.answers
    assert found is not None
    assert (found.known.tolist(), found.value.tolist()) == ([True, True], [0])


def test_a_tombstone_holds_no_frames() -> None:
    block = decode(sequence_job(TARGETS["transcript"]), {"frames": [[1, 2]], "y": "a"}, None).block
    assert block.kind.tolist() == [EVENT, FORGET]
    assert block.frames is not None and block.answers is not None
    assert (block.frames.bounds.tolist(), block.answers.known.tolist()) == ([0, 1, 1], [True, False])


def test_fields_within_frames_are_counted_by_the_record() -> None:
    config = OBJECTS
    decoded = decode(
        config,
        {"frames": [{"a": 1}, {"c": "x"}], "y": "low"},
        {"frames": [{"a": None}], "y": None},
        {"frames": []},
        {},
    )
    seen = dict(zip(RecordCodec(config).fields, zip(*map(np.ndarray.tolist, decoded.seen), strict=True), strict=True))
    assert {(field.path, field.role): count for field, count in seen.items()} == {
        ("a", "feature"): (1, 1),
        ("n.b", "feature"): (0, 2),
        ("c", "feature"): (1, 1),
        ("y", "target"): (1, 1),
        ("frames", "frames"): (3, 1),
    }
