"""Far jumps of stream time in the daemon: said once, counted, and the same after any stop."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.support.learners import differing
from tests.support.scenario import START_MS, TP, Scenario

YEAR_MS = 365 * 86_400_000
STREAMS = "{max_streams: 20, ttl_s: 86400, reset_after_s: 3600}"


def filled(directory: Path) -> Scenario:
    """Ten streams; one goes far ahead alone, then three do, then the others go on as before."""
    scenario = Scenario(directory, streams=STREAMS)
    order = [(i % 10, START_MS + 1000 * i) for i in range(40)]
    order += [(7, START_MS + YEAR_MS)] * 20 + [(0, START_MS + 41_000)]
    order += [(stream, START_MS + YEAR_MS + stream) for stream in (7, 8, 9, 7, 8, 9)]
    order += [(i % 7, START_MS + 42_000 + 1000 * i) for i in range(30)]
    for i, (stream, time_ms) in enumerate(order):
        value = {"a": i % 5, "b": {"c": "x"}, "y": float(i % 3)}
        scenario.log.append("in", b"s%d" % stream, json.dumps(value).encode(), timestamp_ms=time_ms, partition=0)
    scenario.log.flush()
    return scenario


def told(caplog: pytest.LogCaptureFixture) -> tuple[int, int]:
    """Lines about a time that changed, and about records that were not believed."""
    lines = [record.getMessage() for record in caplog.records]
    return sum("stream time went" in line for line in lines), sum("count as now" in line for line in lines)


def test_a_jump_and_its_return_are_logged_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    run = filled(tmp_path).run()
    for cause, count in (("refused", 22), ("believed", 1), ("taken_back", 1)):
        assert run.value("streamrnn_time_jumps_total", cause=cause) == count
    changed, refused = told(caplog)
    assert 1 <= changed <= 2
    assert refused == 1
    assert run.value("streamrnn_stream_timestamp_seconds") == (START_MS + 71_000) / 1000
    assert run.value("streamrnn_active_streams") == 10


def test_a_jump_among_the_very_first_records_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenario = Scenario(tmp_path, streams=STREAMS)
    times = [0, 1, 2, *[YEAR_MS + i for i in range(6)]]
    for i, ahead in enumerate(times):
        value = json.dumps({"a": 1, "b": {"c": "x"}, "y": 1.0}).encode()
        scenario.log.append("in", b"s%d" % (i % 3), value, timestamp_ms=START_MS + ahead, partition=0)
    scenario.log.flush()
    caplog.set_level(logging.WARNING)
    run = scenario.run()
    assert run.value("streamrnn_time_jumps_total", cause="believed") == 1
    assert told(caplog) == (1, 1)


def test_a_replay_says_nothing_of_jumps_and_leads_to_the_same_learner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = filled(tmp_path / "whole").run()
    scenario = filled(tmp_path / "stopped")
    first = scenario.run(checkpoint="interval_s: 3600, max_replay_records: 100000", stop_after=2)
    for path in scenario.manifests()[1:]:
        path.unlink()  # as if it had been killed: the replay begins at the genesis checkpoint
    caplog.set_level(logging.WARNING)
    assert first.learners == {}
    scenario.run()
    for path in scenario.manifests()[1:]:
        path.unlink()
    caplog.clear()
    last = scenario.run()
    assert told(caplog) == (0, 0)
    assert differing(last.learners[TP], whole.learners[TP]) == []
