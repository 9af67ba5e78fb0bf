"""A start that gets no answer: what is to be seen of it, on listeners that are no brokers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import pretenders
from tests.support.daemon_process import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_start_that_nobody_answers_ends_with_the_cause_and_no_noise(tmp_path: Path) -> None:
    with pretenders.serving(pretenders.silent) as address:
        worker = Worker(address, tmp_path)
        with worker.running() as process:
            worker.wait_for("has not answered since this process asked it first")
            status, said = worker.ask("/readyz")
            assert (status, json.loads(said)["broker"]["connected"]) == (503, False)
            assert worker.ask("/healthz")[0] == 200
            assert process.wait(60.0) == 1
    entries = worker.entries()
    assert not [entry for entry in entries if not entry["logger"].startswith("streamrnn.daemon")]
    assert (
        f"exit status 1: no answer from Kafka at {address} within 10 s: nothing was answered" in entries[-1]["message"]
    )
    assert entries[-1]["exit_status"] == 1
