"""Sequences in chunks, and events that wait, when their stream is dropped, or their partition moves, in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamrnn.daemon.loop import Loop
from streamrnn.job.config import Config
from tests.support.learners import differing
from tests.support.lookahead_jobs import LookaheadScenario, events, lookahead_job
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import START_MS, TP
from tests.support.sequence_jobs import TARGETS, sequence_job
from tests.support.sequence_records import chunks
from tests.support.symbol_jobs import SymbolScenario

CHUNKED = {
    "frames": "columns: [a, b], max_steps: 12",
    "source": "end_field: last",
    "model": "{cell: gru, hidden_size: 4}",
}

pytestmark = pytest.mark.usefixtures("no_pauses")


def run(directory: Path, config: Config, records: list[tuple[bytes, Any]]) -> tuple[SymbolScenario, dict[str, float]]:
    """Records of one job, None a tombstone; and what was counted."""
    made = SymbolScenario(directory, config)
    for i, (key, value) in enumerate(records):
        encoded = None if value is None else json.dumps(value).encode()
        made.log.append("in", key, encoded, timestamp_ms=START_MS + 1000 * i, partition=0)
    made.log.flush()
    ran = made.run()
    names = ("updates_total", "sequences_ended_total", "frames_total", "tombstones_total")
    return made, {name: ran.value(f"streamrnn_{name}") for name in names}


def outputs(made: SymbolScenario) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in made.records("out")]


FIRST, REST = {"frames": [[0.9, 1.0], [0.1, 2.0]]}, {"frames": [[0.2, 0.5]] * 4, "last": True, "y": "low"}


def test_a_tombstone_within_a_sequence_forgets_its_chunks_and_the_rest_is_a_sequence_of_its_own(tmp_path: Path) -> None:
    config = sequence_job(TARGETS["label"], **CHUNKED)
    made, counted = run(tmp_path / "tombstone", config, [(b"k", FIRST), (b"k", None), (b"k", REST)])
    assert (counted["updates_total"], counted["sequences_ended_total"], counted["tombstones_total"]) == (1, 1, 1)
    first, last = outputs(made)
    assert (first["complete"], last["complete"], last["frames"]) == (False, True, 4)
    assert last["updates"] == 0
    whole, _ = run(tmp_path / "whole", config, [(b"k", FIRST), (b"k", REST)])
    assert outputs(whole)[-1]["prediction"] != last["prediction"]


def test_a_stream_dropped_for_another_within_a_sequence_begins_anew_with_its_next_chunk(tmp_path: Path) -> None:
    small = sequence_job(TARGETS["label"], **CHUNKED, more="streams: {max_streams: 1, protected_share: 0}")
    large = sequence_job(TARGETS["label"], **CHUNKED)
    records = [(b"k", FIRST), (b"other", FIRST), (b"k", REST)]
    made, counted = run(tmp_path / "small", small, records)
    kept, _ = run(tmp_path / "large", large, records)
    forgotten, _ = run(tmp_path / "forgotten", large, [records[0], records[1], (b"k", None), records[2]])
    assert counted["updates_total"] == 1
    assert [output["prediction"] for output in outputs(made)] == [o["prediction"] for o in outputs(forgotten)]
    assert outputs(made)[-1]["prediction"] != outputs(kept)[-1]["prediction"]


def test_a_stream_idle_beyond_ttl_within_a_sequence_begins_anew(tmp_path: Path) -> None:
    config = sequence_job(TARGETS["label"], **CHUNKED, more="streams: {ttl_s: 1.5}")
    records = [(b"k", FIRST), (b"other", FIRST), (b"other", REST), (b"k", REST)]
    made, counted = run(tmp_path / "idle", config, records)
    large = sequence_job(TARGETS["label"], **CHUNKED)
    forgotten, _ = run(tmp_path / "forgotten", large, [*records[:3], (b"k", None), records[3]])
    assert counted["updates_total"] == 2
    assert [output["prediction"] for output in outputs(made)] == [o["prediction"] for o in outputs(forgotten)]


def moving(at: int) -> Any:
    """The one partition leaves its worker at a poll, and comes back two polls later."""
    polls = 0

    def turn(_: Loop, broker: RebalancingBroker) -> None:
        nonlocal polls
        polls += 1
        if polls in (at, at + 2):
            broker.begin_rebalance()
        if polls == at + 1:
            broker.reassign(())
        if polls == at + 3:
            broker.reassign((TP,))

    return turn


@pytest.mark.parametrize("at", range(2, 10, 2))
@pytest.mark.parametrize("kind", ["label", "labels", "transcript", "sequence"])
def test_a_rebalance_within_sequences_changes_no_byte(tmp_path: Path, kind: str, at: int) -> None:
    config = sequence_job(TARGETS[kind], **CHUNKED)
    found = []
    for name, turn in (("whole", None), ("moved", moving(at))):
        made = SymbolScenario(tmp_path / name, config)
        made.write(chunks(kind, 60))
        made.run(turn=turn, seed=at)
        found.append(made)
    whole, moved = found
    assert moved.predictions() == whole.predictions()
    assert len(moved.records("out")) == len(whole.records("out")) == 60
    assert differing(moved.saved(), whole.saved()) == []


@pytest.mark.parametrize("at", range(2, 10))
def test_a_rebalance_while_events_wait_changes_no_byte(tmp_path: Path, at: int) -> None:
    messages = events(120)
    whole = LookaheadScenario(tmp_path / "whole", lookahead_job(), messages)
    whole.run()
    moved = LookaheadScenario(tmp_path / "moved", lookahead_job(), messages)
    moved.run(turn=moving(at), seed=at)
    assert [record.value for record in moved.records("out")] == [record.value for record in whole.records("out")]
    assert moved.mark()["digest"] == whole.mark()["digest"]
    assert differing(moved.saved(), whole.saved()) == []
