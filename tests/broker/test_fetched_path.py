"""Answers of brokers that a search by coverage found (``tests/bench/fuzz_fetched.py``): each keeps every promise."""

from __future__ import annotations

import contextlib
import json
import struct
from collections import Counter

import pytest
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords

from tests.bench.fuzz_fetched import KEPT, MOST_KEPT_BYTES
from tests.support.fetched_path import fetched, from_line, go, seeds, to_line

INPUTS = [from_line(line) for line in KEPT.read_text().splitlines()]


@pytest.mark.parametrize("part", range(4))
def test_answers_that_were_found_break_no_promise_and_take_no_second(part: int) -> None:
    for data in [*seeds(), *INPUTS][part::4]:
        try:
            go(data)
        except BaseException as error:
            raise AssertionError(to_line(data)) from error


def test_the_kept_answers_hold_every_format_and_end_in_every_way() -> None:
    assert KEPT.stat().st_size <= MOST_KEPT_BYTES
    formats: Counter[int] = Counter()
    reasons: Counter[str] = Counter()
    details = ""
    for data in [*seeds(), *INPUTS]:
        with contextlib.suppress(CorruptRecordError, struct.error):
            if (batch := MemoryRecords(fetched(data)).next_batch()) is not None:
                formats[batch.magic] += 1
        for output in map(json.loads, go(data)):
            reasons[output.get("reason", "predicted")] += 1
            details += f"{output.get('detail')}\n"
    assert {0, 1, 2} <= set(formats)
    assert {"predicted", "corrupt", "too_large"} <= set(reasons)
    for said in (
        "max_unpacked_bytes", "ends inside a record", "a record's length is", "records are refused before it",
        "holds more than", "claims the offset", "a codec of the number", "in headers", "gzip cannot", "snappy cannot",
        "lz4 cannot", "zstd cannot", "its checksum is wrong", "inside of one that is",
    ):  # fmt: skip
        assert said in details, said


def test_any_bytes_are_an_answer() -> None:
    for data in (b"", b"\x00", b"\xff" * 100, b"\x1e\x1d\x1e" * 100, bytes(range(256)), bytes(1_000)):
        go(data)
        assert from_line(to_line(data)) == data
