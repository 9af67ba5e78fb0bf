"""The whole way of a record through several jobs: bytes, document, block, learner, output or dead letter.

``go`` takes an input, which is a job's name and some records, and asserts what must hold whatever their bytes are.
``tests/bench/fuzz_bytes.py`` searches for inputs at which it does not; those that found new ways through the code are
kept in ``tests/data/byte_path.jsonl``, which ``tests/job/codec/test_byte_path.py`` replays.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.codec.dead_letters import REASONS, encode_dead_letter, shorten_dead_letter
from streamrnn.job.codec.fields import MAX_TIME_MS, MIN_TIME_MS
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from streamrnn.learner.block import EVENT, FORGET, LABEL
from streamrnn.learner.learner import Learner
from streamrnn.learner.paths import path_text

TP = TopicPartition("in", 3)
MOST_BYTES = 1_000_000
"""No output may be larger, or a broker with Kafka's defaults would refuse it."""

_SMALL = "hidden_size: 3, lags: 2, dtype: float64"
_EVERY_ENCODER = """
  - {field: a, encoder: numeric}
  - {field: n.b, encoder: log1p, missing: zero}
  - {field: c, encoder: onehot, categories: [x, 1, "true"]}
  - {field: c, encoder: hash, buckets: 5}
  - {field: "l[1].h", encoder: cyclic, period: 24, missing: last}
"""
_SYMBOLS = """
  - {field: a, encoder: symbol, symbols: {bytes: true}}
  - {field: n.b, encoder: numeric}
  - {field: y, encoder: symbol, symbols: {open: true, max: 2}}
"""
_ODD = json.dumps(
    [
        {"field": path_text(['a"b']), "encoder": "numeric"},
        {"field": path_text(["\\", "\n", 0]), "encoder": "log1p"},
        {"field": path_text(["d.e"]), "encoder": "hash", "buckets": 2},
    ]
)
_JOBS = {
    "plain": ("{topic: in}", _EVERY_ENCODER, "{fields: [y]}", "{%s}"),
    "strict": (
        "{topic: in, numbers: strict, tombstones: dead_letter, stream_key: k}",
        _EVERY_ENCODER,
        "{fields: [y, n.z]}",
        "{%s, readout: linear, loss: huber}",
    ),
    "iso": (
        "{topic: in, stream_key: n.id, timestamp: {field: t, unit: iso8601}, end_field: last}",
        _EVERY_ENCODER,
        "{fields: [y], missing: zero}",
        "{%s, readout: linear, loss: quantile, quantiles: [0.1, 0.5]}",
    ),
    "seconds": (
        "{topic: in, timestamp: {field: t, unit: s}, end_field: last, tombstones: ignore, where: "
        "[{field: kind, equals: 1}, {field: a, exists: true}, {field: n.b, in: [x, 2, true], not: true}]}",
        _EVERY_ENCODER,
        "{fields: [y], known: forecast, horizon: 2, baseline: 3}",
        "{%s}",
    ),
    "micros": (
        "{topic: in, stream_key: k, timestamp: {field: t, unit: us}, max_record_bytes: 400}",
        _EVERY_ENCODER,
        "{fields: [y], classes: [late, 1, true]}",
        "{%s, readout: softmax}",
    ),
    "logistic": (
        "{topic: in, timestamp: {field: t}, numbers: strict}",
        _EVERY_ENCODER,
        "{fields: [late], classes: [false, true], missing: zero}",
        "{%s, readout: logistic, cell: gru}",
    ),
    "labels": (
        "{topic: in, end_field: last}",
        _EVERY_ENCODER,
        "{fields: [y], known: label, event_field: id, label_field: of}",
        "{%s, cell: rnn, readout: linear}",
    ),
    "odd": ("{topic: in}", _ODD, json.dumps({"fields": [path_text(["y\n"])]}), "{%s}"),
    "next": (
        "{topic: in, end_field: last}",
        _SYMBOLS,
        "{fields: [c], known: forecast, classes: {open: true, max: 2}}",
        "{%s}",
    ),
    "text": ("{topic: in, text: {field: k, max_units: 9}}", _SYMBOLS, "null", "{%s}"),
    "words": (
        "{topic: in, end_field: last, text: {field: k, unit: word, carry: false, symbols: {open: true, max: 3}}}",
        "[]",
        "null",
        "{%s}",
    ),
    "letters": (
        "{topic: in, text: {field: k, unit: character, mark_end: false, symbols: {values: [s, t, é]}}}",
        "[]",
        "null",
        "{%s}",
    ),
    "frames": (
        "{topic: in, sequence: {field: q, columns: [a, b], max_steps: 2}}",
        "[]",
        "{fields: [y], kind: labels, classes: [late, 1, true]}",
        "{%s}",
    ),
}
JOBS = tuple(_JOBS)


class Given(NamedTuple):
    """What is tried: records of one job, each a key, a value and a time."""

    job: str
    records: tuple[tuple[bytes | None, bytes | None, int], ...]


_FULL = (
    b'{"a":1,"n":{"b":-2.5,"id":"q","z":3},"c":"x","l":[1,{"h":13}],"y":1.5,"k":"s","t":%s,"kind":1,"last":%s,'
    b'"late":true,"id":%d,"a\\"b":4,"\\\\":{"\\n":[7]},"d.e":"w","y\\n":2,"else":[{}]}'
)
SEEDS = tuple(
    Given(
        name,
        (
            (b"k", _FULL % (time, b"false", 7), 1_600_000_000_000),
            (b"k", _FULL.replace(b'"y":1.5', b'"y":late') % (time, b"1", 7), 1_600_000_000_000),
            (b"k", b'{"y": 1, "of": 7, "late": false}', 1_600_000_001_000),
            (b"\xff", _FULL.replace(b'"y":1.5', b'"y":"late"') % (time, b"true", 8), 5),
            (None, b'{"a": NaN, "c": "\\ud83d", "y": "1e3"}', -1),
            (b"k", None, 1_600_000_002_000),
            (b"k", _FULL % (b"1600000003", b"null", 9), 1_600_000_003_000),
            (b"k", b'{"else": "' + b"x" * 400 + b'"}', 1_600_000_003_000),
        ),
    )
    for name in JOBS
    for time in (b"1600000000000", b'"2020-09-13T12:26:40Z"')
)
SEEDS += (
    Given(
        "frames",
        tuple(
            (b"k", value, 1_600_000_000_000 + i)
            for i, value in enumerate(
                (
                    b'{"q": [[1, 2], [3, null]], "y": ["late", 1]}',
                    b'{"q": [[1, 2], [3, 4], [5, 6]], "y": ["late", 1, 1]}',
                    b'{"q": [[1, 2], [3]], "y": null}',
                    b'{"q": [[1, 2]], "y": ["late", 1]}',
                    b'{"q": [], "y": []}',
                    b'{"q": [[1, 2]], "y": [null]}',
                )
            )
        ),
    ),
)
"""Inputs in which most of each job's fields have a value, to begin a search with."""


def config_of(name: str) -> Config:
    """One of the jobs, each with other fields, kinds of targets and rules."""
    source, features, target, model = _JOBS[name]
    return parse(
        f"""
job: j
embedded: {{directory: log}}
input: {source}
features: {features}
target: {target}
model: {model % _SMALL}
learning: {{k1: 1, k2: 4}}
streams: {{max_streams: 3, ttl_s: 1000, reset_after_s: 100}}
output: {{topic: out, dead_letter_topic: dead, dead_letter_value_bytes: 200}}
checkpoint: {{directory: checkpoints}}
""",
        {},
    )


@cache
def job_of(name: str) -> Job:
    """The job with its codec and encoder."""
    return Job(config_of(name))


def go(given: Given) -> list[bytes]:
    """Take records through codec and learner; returns predictions and dead letters. Asserts what must always hold."""
    return through(
        given.job, [Record(*TP, i, time_ms, key, value) for i, (key, value, time_ms) in enumerate(given.records)]
    )


def through(name: str, records: Sequence[Record]) -> list[bytes]:
    """The same, of records that have been read, some of which may be refused already."""
    job = job_of(name)
    learner = job.learner(TP)
    decoded = job.codec.decode(records)
    block = decoded.block
    assert len(block) == len(decoded.sources)
    forgotten = int(np.count_nonzero(block.kind == FORGET))
    assert len(block) + len(decoded.rejected) + decoded.filtered + decoded.tombstones - forgotten == len(records)
    assert set(block.kind.tolist()) <= {EVENT, LABEL, FORGET}
    assert not np.isinf(block.x).any() and not np.isinf(block.y).any()
    timed = block.kind != FORGET
    assert ((block.time_ms >= MIN_TIME_MS) & (block.time_ms <= MAX_TIME_MS))[timed].all()
    _alone(job, records, decoded)
    predictions = learner.process(block)
    assert np.isfinite(predictions.value[block.kind == EVENT]).all(), "a prediction that is no number"
    _finite(learner)
    outputs = job.encoder.encode_block(decoded, predictions, learner.classes)
    letters = []
    for record, error in decoded.rejected:
        assert error.reason in REASONS
        assert len(error.detail) < 1_000
        letter = encode_dead_letter(record, error, job.config.output.dead_letter_value_bytes)
        assert len(shorten_dead_letter(letter, 400)) <= max(400, 300)
        letters.append(letter)
    written = [output for output in outputs.values if output is not None] + letters
    for output in written:
        assert len(output) <= MOST_BYTES
        assert isinstance(json.loads(output, parse_constant=_no_constant), dict)
    return written


def _alone(job: Job, records: Sequence[Record], decoded: Any) -> None:
    """A record decodes alone as it does among others."""
    rows = {record.offset: i for i, record in enumerate(decoded.sources)}
    refused = {record.offset: error for record, error in decoded.rejected}
    for record in records:
        one = job.codec.decode([record])
        assert len(one.block) == (record.offset in rows)
        if one.rejected:
            assert str(one.rejected[0][1]) == str(refused[record.offset])
        if len(one.block):
            at = rows[record.offset]
            assert one.block.keys == decoded.block.keys[at : at + 1]
            for name in ("x", "y", "time_ms", "end", "kind", "event"):
                row = getattr(decoded.block, name)[at : at + 1]
                assert getattr(one.block, name).tobytes() == row.tobytes()
            assert one.block.symbols == tuple(column[at : at + 1] for column in decoded.block.symbols)
            for name in ("labels", "texts"):
                whole = getattr(decoded.block, name)
                assert getattr(one.block, name) == (None if whole is None else whole[at : at + 1])


def _finite(learner: Learner) -> None:
    state = learner.state()
    arrays = {**state.model, "state": state.streams["state"], "before": state.streams["before"]}
    for name, array in arrays.items():
        assert np.isfinite(array).all(), f"{name} is not finite"


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


# -- inputs as text ----------------------------------------------------------------------------------------------------


def to_line(given: Given) -> str:
    """One line of the corpus; bytes stand as Latin-1 text."""
    records = [[_text(key), _text(value), time_ms] for key, value, time_ms in given.records]
    return json.dumps({"job": given.job, "records": records})


def from_line(line: str) -> Given:
    """An input from a line of the corpus."""
    data = json.loads(line)
    records = tuple((_bytes(key), _bytes(value), time_ms) for key, value, time_ms in data["records"])
    return Given(data["job"], records)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
