"""JSON and habits of producers, in time in proportion to the bytes; nesting has a fixed limit that nothing changes."""

import json
import math
import time
from collections.abc import Callable

import numpy as np
import pytest

from streamrnn.job.codec.json_parser import MAX_DEPTH
from streamrnn.job.codec.records import RecordCodec
from streamrnn.learner.paths import path_text
from tests.support.jobs import NAN, PLAIN, decode, job, record, rejection


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
        assert reasons == ["malformed"]
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


@pytest.mark.parametrize(
    "token", ["NaN", "Infinity", "-Infinity", "nan", "-nan", "inf", "-inf", "+Infinity", "NAN", "INF"]
)
def test_what_is_written_for_no_number_is_missing_where_it_is_used_and_nothing_elsewhere(token: str) -> None:
    used = decode(PLAIN, f'{{"a": {token}, "n": {{"b": 2}}, "y": {token}, "c": "NaN, Infinity"}}'.encode())
    np.testing.assert_array_equal(used.block.x[0, :2], [NAN, 2])
    assert np.isnan(used.block.y).all()
    record = {"a": 1.5, "n": {"b": 1e-300}, "y": 3}
    plain = decode(PLAIN, record).block
    for unused in (f'"u": {token}', f'"u": [[{{"v": [1,{token}]}}]]', f'"say": "\\"NaN", "u": {token}'):
        mended = decode(PLAIN, (json.dumps(record)[:-1] + ", " + unused + "}").encode()).block
        assert mended.x.tobytes() == plain.x.tobytes()
        assert mended.y.tobytes() == plain.y.tobytes()


def test_what_python_writes_is_read() -> None:
    value = json.dumps({"a": math.nan, "n": {"b": 4}, "u": [math.inf, {"v": -math.inf}], "y": 0.1}).encode()
    block = decode(PLAIN, value).block
    np.testing.assert_array_equal(block.x[0, :2], [NAN, 4])
    assert block.y.tolist() == [[0.1]]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decode(PLAIN, b'\xef\xbb\xbf{"a": 1, "y": 2}').block.y.tolist() == [[2]]
    assert decode(PLAIN, b'\xef\xbb\xbf {"a": NaN, "y": 2}').block.y.tolist() == [[2]]


def test_half_a_surrogate_pair_spoils_the_fields_of_the_job_only() -> None:
    assert decode(PLAIN, b'{"y": 2, "note": "cut \\ud83d"}').block.y.tolist() == [[2]]
    assert decode(PLAIN, b'{"y": 2, "c": "\\ud83d\\ude00", "note": "\\ude00 \\\\ud83d"}').block.y.tolist() == [[2]]
    for bad in (b'{"c": "\\ud83d"}', b'{"n": {"b": 1, "\\udc00": 2}}', b'{"c": ["\\ud83d x"]}'):
        assert rejection(PLAIN, bad).reason == "malformed"


NAMES = [
    'a"b',
    "a\\b",
    "",
    " ",
    "a b",
    "ключ",
    "a\nb",
    "\x00",
    "a'b",
    '"',
    "\\",
    "$",
    "a.b",
    "a[0]",
    "type",
    "__class__",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_may_have_any_name(name: str) -> None:
    path = path_text([name])
    features = json.dumps([{"field": path, "encoder": "numeric"}])
    config = job(features=features, source=json.dumps({"topic": "in", "stream_key": path_text(["of", name])}))
    block = decode(config, {name: 2, "of": {name: "k"}, "y": 1}, {"of": {name: 7}}).block
    assert block.keys == [b"k", b"7"]
    np.testing.assert_array_equal(block.x[:, 0], [2, NAN])


@pytest.mark.parametrize("name", NAMES)
def test_inside_a_field_of_any_name(name: str) -> None:
    field = json.dumps([{"field": path_text([name, name, 1]), "encoder": "numeric"}])
    block = decode(job(features=field), {name: {name: [1, 2.5]}}, {name: {}}, {"other": 1}).block
    np.testing.assert_array_equal(block.x[:, 0], [2.5, NAN, NAN])
    odd = job(features=field)
    for value, reason in ((b"[1]", "not_an_object"), (b"{", "malformed")):
        assert rejection(odd, value).reason == reason
    assert rejection(odd, json.dumps({name: 0}).replace("0}", "1e999}").encode()).reason == "out_of_range"


def growth(make: Callable[[int], bytes]) -> float:
    """How much longer it takes for eight times the bytes: 8 when in proportion, 64 when in their square."""
    codec = RecordCodec(job(source="{topic: in, max_record_bytes: 60000000}"))

    def cpu(n: int) -> float:
        value, best = record(make(n)), math.inf
        for _ in range(5):
            started = time.process_time()
            codec.decode([value])
            best = min(best, time.process_time() - started)
        return best

    small = 20_000
    while cpu(small) < 0.004:
        small *= 2
    return cpu(8 * small) / cpu(small)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"[" * 65 + b'"' + b'\\"' * n,
        lambda n: b"[" * 65 + b'"' * n,
        lambda n: b"[" * 65 + b"\\" * n,
        lambda n: b'{"u": NaN, "v": "' + b'\\"' * n,
        lambda n: b'{"u": ' + b"NaN" * n,
        lambda n: b'{"u": ' + b"-" * n,
        lambda n: b'{"u": [' + b"NaN," * n + b"1]}",
        lambda n: b'{"u": NaN, "v": "' + b"\\ud800" * n + b'"}',
        lambda n: b'{"a": "' + b"1" * n + b'"}',
        lambda n: b'{"a": "' + b"1" * n + b'x"}',
        lambda n: b'{"a": "1.' + b"1" * n + b'x"}',
        lambda n: b'{"a": "' + b" " * n + b'x"}',
        lambda n: b'{"a": "' + b"A" * n + b'"}',
        lambda n: b'{"a": ' + b"9" * n + b"}",
    ],
    ids=["escapes", "quotes", "backslashes", "nan and escapes", "nans", "signs", "array of nans", "halves", "digits",
         "digits and more", "places and more",
         "spaces", "base64", "integer"],
)  # fmt: skip
def test_hostile_bytes_take_time_in_proportion_to_their_number(make: Callable[[int], bytes]) -> None:
    assert growth(make) < 24


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"NaN", "found the number nan,"),
        (b"[NaN]", "found the array [nan],"),
        (b'{"a": 1}x', "trailing characters (byte 9),"),
        (b'{"a":NaN}x', "trailing characters,"),  # places in what was mended are not those of the record
    ],
)
def test_a_refusal_tells_of_the_record_and_not_of_what_became_of_it(value: bytes, found: str) -> None:
    assert found in str(rejection(PLAIN, value))


def test_code_points_that_are_no_characters_are_no_half_of_a_pair() -> None:
    assert decode(PLAIN, '{"a": 1, "c": "\ufdd0", "y": 2, "unused": "\\ud800"}'.encode()).rejected == []
