"""Whatever is in a record, the loop goes on, accounts for it, and learns as if the bad ones had never been."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from streamrnn.job.codec.dead_letters import REASONS
from tests.support.learners import differing
from tests.support.scenario import START_MS, TP, Scenario

YEAR_9999_MS = 253_402_300_799_000
FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example),
)

Row = tuple[bytes | None, bytes | None, int]

good_values = st.fixed_dictionaries(
    {"a": st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-(2**53), 2**53))},
    optional={
        "b": st.one_of(st.none(), st.fixed_dictionaries({"c": st.sampled_from(["x", "y", "never seen", None])})),
        "y": st.one_of(st.none(), st.floats(-100, 100), st.just(1e200)),
        "else": st.text(max_size=5),
    },
)
good = st.tuples(
    st.sampled_from((b"s0", b"s1", b"s2", b"\xff\xfe", b"")),
    good_values.map(lambda value: json.dumps(value).encode()),
    st.integers(START_MS, START_MS + 10**6),
)

NESTED = b"[" * 20_000 + b"]" * 20_000
DEEP = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
LONG = b'{"y": 1, "a": "' + b"x" * 900_000 + b'"}'
BLOB = b"\x00\xff" * 5_000_000
broken_values = st.one_of(
    st.binary(max_size=60).filter(lambda value: not value.strip().startswith(b"{")),
    st.sampled_from(
        (
            b"", b"{", b'{"a":1', b'{"a":1}{', b'{"a":1,}', b'{"a":NaNs}', b'{"a":Infinite}', b"null", b"[]",
            b'"text"', b"1e999", b'{"a":1e999}', b'{"y":-1e400}', b'{"a":"one"}', b'{"a":[1]}', b'{"a":{"b":1}}',
            b'{"y":"late"}', b'{"b":7}', b'{"b":{"c":[1]}}', b'{"a":\xff}', b'\xef\xbb\xbf{"a":1',
            b'{"b":{"c":"\\ud800"}}', b'{"a":1' + b"0" * 5000 + b"}", NESTED, DEEP,
        )
    ),
)  # fmt: skip
broken = st.one_of(
    st.tuples(st.sampled_from((b"s0", b"new", None)), broken_values, st.integers(START_MS, START_MS + 10**6)),
    st.tuples(st.none(), st.sampled_from((None, b'{"a": 1}')), st.just(START_MS)),
    st.tuples(st.just(b"k" * 70_000), st.just(b'{"a": 1}'), st.just(START_MS)),
    st.tuples(st.just(b"s0"), st.just(b'{"a": 1}'), st.sampled_from((-1, -(10**17), 10**17))),
)
marked = st.one_of(good.map(lambda row: (True, row)), broken.map(lambda row: (False, row)))


pytestmark = pytest.mark.usefixtures("no_pauses")


def run(rows: list[Row], stops: list[int], within: str) -> tuple[Scenario, Any]:
    scenario = Scenario(Path(tempfile.mkdtemp(dir=within)), streams="{max_streams: 4, ttl_s: 500}")
    for key, value, time_ms in rows:
        scenario.log.append("in", key, value, timestamp_ms=time_ms, partition=0)
    scenario.log.flush()
    for stop_after in stops:
        scenario.run(stop_after=stop_after)
    return scenario, scenario.run()


@FUZZ
@given(st.lists(marked, min_size=1, max_size=30), st.lists(st.integers(1, 4), max_size=2))
@example([(False, (b"s0", BLOB, START_MS)), (True, (b"s0", b"{}", START_MS)), (False, (b"s0", LONG, START_MS))], [])
@example([(False, (b"k" * 900_000, b"{}", START_MS)), (True, (b"s0", b"{}", START_MS))], [1])
def test_bad_records_are_dead_letters_and_leave_no_other_trace(rows: list[tuple[bool, Row]], stops: list[int]) -> None:
    with tempfile.TemporaryDirectory() as within:
        scenario, end = run([row for _, row in rows], stops, within)
        predicted, dead = scenario.records("out"), scenario.records("dead")
        assert [json.loads(r.value or b"")["offset"] for r in predicted] == [i for i, (ok, _) in enumerate(rows) if ok]
        letters = [json.loads(record.value or b"") for record in dead]
        assert [letter["offset"] for letter in letters] == [i for i, (ok, _) in enumerate(rows) if not ok]
        assert {letter["reason"] for letter in letters} <= set(REASONS)
        assert all(len(record.value or b"") < 1_000_000 and len(record.key or b"") < 100_000 for record in dead)
        assert scenario.mark()["ordinal"] == len(rows)

        clean, clean_end = run([row for ok, row in rows if ok], [], within)
        assert differing(end.learners[TP], clean_end.learners[TP]) == []
        assert differing(scenario.saved(), clean.saved()) == []


@FUZZ
@given(st.lists(good, min_size=1, max_size=25), st.lists(st.binary(max_size=200), max_size=25))
def test_binary_junk_is_accounted_for_whatever_it_turns_out_to_be(rows: list[Row], junk: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as within:
        mixed = [row for pair in zip(rows, [(b"s0", value, START_MS) for value in junk], strict=False) for row in pair]
        scenario, end = run([*mixed, rows[0]], [], within)
        n = len(mixed) + 1
        assert len(scenario.records("out")) + len(scenario.records("dead")) == n
        assert end.value("streamrnn_records_consumed_total") == n
        assert end.value("streamrnn_records_predicted_total") == len(scenario.records("out"))


@FUZZ
@given(st.lists(good, min_size=3, max_size=25), st.integers(0, 25))
def test_a_record_from_the_year_9999_evicts_nothing(rows: list[Row], at: int) -> None:
    with tempfile.TemporaryDirectory() as within:
        at = min(at, len(rows))
        stray: Row = (b"s0", b'{"a": 1.0, "y": 2.0}', YEAR_9999_MS)
        now: Row = (b"s0", stray[1], max([START_MS, *(time_ms for _, _, time_ms in rows[:at])]))
        scenario, end = run([*rows[:at], stray, *rows[at:]], [], within)
        _, same = run([*rows[:at], now, *rows[at:]], [], within)
        assert len(scenario.records("out")) == len(rows) + 1
        evicted = [ended.value("streamrnn_evictions_total", cause="ttl") for ended in (end, same)]
        assert evicted[0] <= evicted[1]
        if at > 1:  # before two records agree, what time it is can only be guessed
            # The clock remembers that it met one; everything else is as if it had come now.
            assert set(differing(end.learners[TP], same.learners[TP])) <= {"model.clock"}
