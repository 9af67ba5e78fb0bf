"""The usual records of a batch, read at once, against the same records looked at one by one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Record, Refused
from streamrnn.job.codec import records as codec_records
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.bench.fuzz_bytes import KEPT
from tests.support.byte_path import JOBS, SEEDS, config_of, from_line
from tests.support.jobs import EXAMPLES, job, text_job

FIELDS = """
  - {field: a, encoder: numeric}
  - {field: n.b, encoder: log1p, missing: zero}
  - {field: c, encoder: onehot, categories: [x, 1, "true"]}
  - {field: h, encoder: cyclic, period: 24, missing: last}
  - {field: c, encoder: hash, buckets: 5}
  - {field: n.m.d, encoder: numeric}
"""
TYPED = {
    "by key": job(features=FIELDS, target="{fields: [y]}"),
    "strict, several targets": job(
        source="{topic: in, numbers: strict, stream_key: k, max_key_bytes: 5}",
        features=FIELDS,
        target="{fields: [y, n.z], missing: zero}",
    ),
    "iso times": job(
        source="{topic: in, stream_key: n.id, timestamp: {field: t, unit: iso8601}, end_field: last}",
        features=FIELDS,
        target="{fields: [y], classes: [late, 1, true]}",
    ),
    "seconds, small": job(
        source="{topic: in, timestamp: {field: t, unit: s}, max_record_bytes: 200, tombstones: ignore}",
        features=FIELDS,
        target="{fields: [a], known: forecast, horizon: 2}",
    ),
    "yes or no": job(features=FIELDS, target="{fields: [late], classes: [false, true], missing: zero}"),
}

NUMBERS = st.one_of(
    st.integers(-5, 30).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "-0.0", "0.0", "1e400", "-1e400", "1e-400", "9007199254740993", "18446744073709551616", "1" * 30,
         "1" * 400, "1" * 5000, "NaN", "Infinity", "-inf", "01", "1.", "0e-077007", "1E5", "true", "false", "null"]
    ),
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=4).map(json.dumps),
    st.sampled_from(
        ['"x"', '"true"', '"late"', '"1"', '"1.5"', '" 12 "', '"1e400"', '"nan"', '"\\ud83d"', '"\\ud83d\\ude00"',
         '"2020-01-01"', '"2020-01-01T00:00:00+23:59"', '"0001-01-01T00:00:00+23:59"', f'"{"k" * 70}"', '"\ufdd0"']
    ),
)  # fmt: skip
OTHERS = st.sampled_from(["[]", "[1]", "{}", '{"b": 1}', "[" * 70 + "]" * 70, '{"z": ' * 30 + "1" + "}" * 30, "", "x"])
VALUES = st.one_of(NUMBERS, TEXTS, OTHERS)
WITHIN = st.dictionaries(st.sampled_from(["b", "z", "id", "m", "d"]), VALUES, max_size=4)
NAMES = st.sampled_from(["a", "c", "h", "y", "k", "t", "late", "last", "n.b", "n.m.d", "n", "else"])


def _object(fields: Sequence[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields) + "}"


INNER = st.one_of(WITHIN.map(lambda inner: _object(list(inner.items()))), st.just('{"b": 2, "m": {"d": 1}, "id": "s"}'))
# Names may come twice.
DOCUMENTS = st.lists(st.one_of(st.tuples(NAMES, VALUES), st.tuples(st.just("n"), INNER)), max_size=7).map(_object)
USUAL = st.builds(
    lambda a, b, within, c, h, y, t, rest: _object(
        [("a", repr(a)), ("n", f'{{"b": {b}{within}}}'), ("c", json.dumps(c)),
         ("h", str(h)), ("y", y), ("late", "true"), ("k", '"s"'), ("t", t), ("last", "false"), *rest]
    ),
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 9),
    st.sampled_from(["", "", ', "m": {"d": 1}', ', "z": 4', ', "id": "s"', ', "z": 1e400', ', "id": "\\ud83d"']),
    st.sampled_from(["x", "y", 1, None]),
    st.sampled_from([0, 23, -0.0, 1.5]), st.sampled_from(["1.5", "3", "null", '"late"', "1"]),
    st.sampled_from(["1600000000", '"2020-01-01T00:00:00Z"']), st.lists(st.tuples(st.just("else"), VALUES), max_size=1),
)  # fmt: skip
BYTES = st.one_of(
    USUAL.map(str.encode),
    DOCUMENTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b"{}", b"[{}]", b"null", b'{"a": 1} x', b'\xef\xbb\xbf{"a": 1}', b'{"c": "\xff"}', b"\x00"]),
    st.tuples(USUAL, st.integers(0, 300)).map(lambda cut: cut[0].encode()[: cut[1]]),
    st.tuples(USUAL, st.integers(0, 300), st.binary(min_size=1, max_size=2)).map(
        lambda cut: (text := cut[0].encode())[: cut[1]] + cut[2] + text[cut[1] + 1 :]
    ),
)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from([b"k", b"other", b"\xff", b"", None, b"k" * 2000]),
        st.one_of(BYTES, BYTES, BYTES, st.none()),
        st.sampled_from([1_600_000_000_000, 5, 0, -1, -2, 1 << 62]),
    ),
    max_size=12,
)


def told(decoded: Decoded) -> tuple[Any, ...]:
    block = decoded.block
    arrays = [getattr(block, name) for name in ("time_ms", "x", "y", "end", "kind", "event")]
    return (
        block.keys, [(array.dtype, array.shape, array.tobytes()) for array in arrays], list(decoded.sources),
        [(record, str(error), type(error)) for record, error in decoded.rejected], decoded.filtered, decoded.tombstones,
        [counts.tolist() for counts in decoded.seen], decoded.silent.tolist(),
    )  # fmt: skip


def one_by_one(codec: RecordCodec, records: Sequence[Record]) -> Decoded:
    typed, codec._typed = codec._typed, None
    try:
        return codec.decode(records)
    finally:
        codec._typed = typed


@pytest.fixture(autouse=True)
def any_batch_counts_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_records, "FEW", 0)


CODECS = {name: RecordCodec(config) for name, config in TYPED.items()}


@pytest.mark.parametrize("name", TYPED)
@given(given_records=RECORDS)
@settings(max_examples=300)
def test_a_batch_decodes_to_what_its_records_decode_to_one_by_one(
    name: str, given_records: list[tuple[bytes | None, bytes | None, int]]
) -> None:
    codec = CODECS[name]
    assert codec._typed is not None
    records = [Record("in", 3, i, time_ms, key, value) for i, (key, value, time_ms) in enumerate(given_records)]
    assert told(codec.decode(records)) == told(one_by_one(codec, records))


@pytest.mark.parametrize("name", JOBS)
def test_what_a_fuzz_found_decodes_the_same_in_a_batch(name: str) -> None:
    codec = RecordCodec(config_of(name))
    found = [*SEEDS, *map(from_line, KEPT.read_text().splitlines())]
    values: list[Any] = [record for each in found if each.job == name for record in each.records]
    records = [Record("in", 3, i, time_ms, key, value) for i, (key, value, time_ms) in enumerate(values)]
    assert told(codec.decode(records)) == told(one_by_one(codec, records))
    for i in range(0, len(records), 5):
        few = records[i : i + 5]
        assert told(codec.decode(few)) == told(one_by_one(codec, few))


@pytest.mark.parametrize("file", ["minimal", "flights"])
def test_usual_records_of_the_examples_are_all_read_at_once(file: str) -> None:
    config: Config = parse((EXAMPLES / f"{file}.yaml").read_text(), {})
    codec = RecordCodec(config)
    assert codec._typed is not None
    values = [
        {"distance": i, "carrier": "UA", "delay": -1.5 if i % 3 else None, "minutes": i, "weekday": i % 7, "month": 1,
         "origin": "EWR", "dest": "LAX", "origin_delay": None, "number": [{}]}
        for i in range(50)
    ]  # fmt: skip
    records = Records.of([Record("in", 0, i, 5, b"N1", json.dumps(v).encode()) for i, v in enumerate(values)])
    assert codec._typed.read(records).places.tolist() == list(range(50))
    assert codec.decode(records).sources is records
    assert told(codec.decode(records)) == told(one_by_one(codec, records))


@pytest.mark.parametrize(
    "config",
    [
        job(features="[{field: 'l[0]', encoder: numeric}]"),
        job(features="[{field: a, encoder: numeric}, {field: a, encoder: hash, buckets: 2}]"),
        job(features="[{field: a, encoder: numeric}, {field: a.b, encoder: numeric}]"),
        job(source="{topic: in, where: [{field: a, exists: true}]}"),
        text_job(),
        job(features="""[{field: '["a\\"b"]', encoder: numeric}]"""),
    ],
    ids=["inside an array", "of two types", "a number and an object", "conditions", "texts", "a quote"],
)
def test_jobs_whose_fields_no_struct_can_say_have_no_usual_records(config: Config) -> None:
    assert RecordCodec(config)._typed is None


def test_records_that_were_not_read_or_lie_between_others_keep_their_places() -> None:
    codec, rows = CODECS["by key"], []
    for i in range(20):
        refused = Refused("corrupt", "a sum that is not right", 1, 10) if i == 7 else None
        value = None if i in (3, 7) else b"junk" if i == 11 else b'{"a": "%d", "y": 1}' % i if i % 2 else b'{"a": 1}'
        rows.append(Record("in", 0, 10 * i, 1000 + i, b"k%d" % i, value, (), refused))
    decoded = codec.decode(Records.of(rows))
    assert [record.offset for record, _ in decoded.rejected] == [70, 110]
    assert decoded.sources.offset.tolist() == [10 * i for i in range(20) if i not in (7, 11)]
    assert decoded.block.keys == [b"k%d" % i for i in range(20) if i not in (7, 11)]
    assert decoded.block.x[4, 0] == 1.0
    assert decoded.block.x[5, 0] == 5.0
    assert told(decoded) == told(one_by_one(codec, rows))


@pytest.mark.parametrize(
    "inside",
    [
        b'"other": "\xdc"', b'"\xdc": 1', b'"other": 1e400', b'"other": "\\ud83d"', b'"m": {"\xff": 1}',
        b'"m": {"e": [1e400]}', b'"other": NaN', b'"z": %s' % (b"9" * 4301), b'"m": {"d": 1, "e": {"f": "\\ud83d"}}',
        b'"other": 1', b'"": null',
    ],
)  # fmt: skip
def test_what_lies_beside_a_field_within_an_object_is_read_or_refused_as_ever(inside: bytes) -> None:
    value = b'{"a": 1, "c": "x", "n": {"b": 2, %s}, "y": 1.5}' % inside
    usual = b'{"a": 1, "c": "x", "n": {"b": 2}, "y": 1.5}'
    for name in ("by key", "yes or no"):
        codec = CODECS[name]
        records = [Record("in", 0, i, 5, b"k", each) for i, each in enumerate((usual, value, usual))]
        assert told(codec.decode(records)) == told(one_by_one(codec, records))
        assert codec._typed is not None
        assert codec._typed.read(Records.of(records)).places.tolist()[0] == 0


def test_nesting_is_limited_where_nothing_else_is_unusual() -> None:
    deep = [b'{"a": 1, "else": %s%s}' % (b"[" * n, b"]" * n) for n in (1, 63, 64, 200, 5_000)] * 4
    decoded = CODECS["by key"].decode([Record("in", 0, i, 5, b"k", value) for i, value in enumerate(deep)])
    assert [record.offset % 5 for record, _ in decoded.rejected] == [2, 3, 4] * 4
    assert {error.reason for _, error in decoded.rejected} == {"malformed"}


def test_a_missing_number_is_nan_and_a_number_is_one() -> None:
    values = [b"{}", b'{"a": null, "n": {"b": -0.0}}', b'{"a": 7, "n.b": 3}']
    x = CODECS["by key"].decode([Record("in", 0, i, 5, b"k", value) for i, value in enumerate(values)]).block.x
    assert np.isnan(x[:2, 0]).all()
    assert x[2, 0] == 7.0
    assert math.copysign(1.0, x[1, 1]) < 0.0
    assert x[2, 1] == math.log1p(3.0)
