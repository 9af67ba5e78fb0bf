"""Inputs that a search by coverage found (``tests/bench/fuzz_bytes.py``): each keeps every promise, once and again."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from streamrnn.job.codec.dead_letters import REASONS
from tests.bench.fuzz_bytes import KEPT, MOST_KEPT_BYTES, of_bytes, to_bytes
from tests.support.byte_path import JOBS, SEEDS, Given, from_line, go, to_line

INPUTS = [from_line(line) for line in KEPT.read_text().splitlines()]
MOST_CPU_S = 1.0


@pytest.mark.parametrize("job", JOBS)
def test_records_that_were_found_break_no_promise_and_take_no_second(job: str) -> None:
    for given in [*SEEDS, *INPUTS]:
        if given.job == job:
            started = time.thread_time()
            go(given)
            assert time.thread_time() - started < MOST_CPU_S, to_line(given)


def test_the_kept_inputs_are_of_every_job_and_end_in_every_way() -> None:
    assert KEPT.stat().st_size <= MOST_KEPT_BYTES
    assert {given.job for given in INPUTS} == set(JOBS)
    ends: Counter[str] = Counter()
    for given in [*SEEDS, *INPUTS]:
        ends.update(output.partition(b",")[0].decode() for output in go(given) if output.startswith(b'{"reason"'))
    reasons = {end.partition(":")[2].strip('"') for end in ends}
    assert reasons >= set(REASONS) - {"undeliverable", "quarantined", "corrupt"}  # which the codec knows nothing of


def test_any_bytes_are_an_input_and_are_written_as_they_are_read() -> None:
    for given in [*SEEDS, *INPUTS, Given("plain", ((None, None, -(2**63)), (b"\xff\x00", b"", 2**63 - 1)))]:
        assert of_bytes(to_bytes(given)) == given
        assert from_line(to_line(given)) == given
    for data in (b"", b"\x00", b"\xff" * 100, b"\x1e" * 100, bytes(range(256))):
        go(of_bytes(data))
