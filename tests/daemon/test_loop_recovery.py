"""What recovery finds: checkpoints that are damaged, foreign commits, lost logs, replays that arrive elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrnn.broker.protocol import Commit
from streamrnn.errors import FingerprintMismatch, RecoveryError
from tests.support.learners import Bits, differing
from tests.support.rebalancing import delete_before
from tests.support.scenario import (
    TP,
    N,
    Scenario,
    assert_same,
    kill_behind_the_checkpoint,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_corrupt_checkpoint_gives_way_to_the_one_before(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    scenario.run(stop_after=12)
    before, newest = scenario.manifests()[-2:]
    committed = scenario.mark()["offset"]
    damage(newest)
    run = scenario.run()
    assert run.value("streamrnn_corrupt_checkpoints_total") == 1
    assert run.value("streamrnn_replayed_records_total") == committed - int(before.stem.split("-")[1]) > 0
    assert_same(scenario, reference)


def test_without_any_usable_checkpoint_it_stops_and_names_them(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    for manifest in scenario.manifests():
        damage(manifest)
    with pytest.raises(RecoveryError, match=r"no usable checkpoint(.|\n)*manifest-(.|\n)*start afresh"):
        scenario.run()


def test_another_configuration_is_refused(scenario: Scenario) -> None:
    scenario.run(stop_after=5)
    with pytest.raises(FingerprintMismatch, match="cell"):
        scenario.run(cell="gru")


def test_a_foreign_commit_is_refused(scenario: Scenario) -> None:
    for metadata in ("", "someone's", '{"lineage": 3}'):
        scenario.log.store_commits("j", {TP: Commit(10, metadata)})
        with pytest.raises(RecoveryError, match="was not written by streamrnn"):
            scenario.run()


def test_a_log_that_was_made_anew_is_refused(scenario: Scenario) -> None:
    scenario.run()
    (scenario.directory / "log" / "topics" / "in" / "0.jsonl").write_text("")
    with pytest.raises(RecoveryError, match=f"offset {N} is committed, the log ends at 0"):
        scenario.run()


def test_a_log_that_no_longer_reaches_back_stops_the_worker(scenario: Scenario) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    delete_before(scenario.log, TP, committed - 5)
    with pytest.raises(RecoveryError, match=rf"begins at {committed - 5}.*{committed - 5} offsets are gone"):
        scenario.run()


@pytest.mark.parametrize("beyond", [-5, 0, 5])
def test_a_gap_may_be_skipped_in_a_new_lineage(scenario: Scenario, beyond: int) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    before = scenario.mark()["lineage"]
    delete_before(scenario.log, TP, committed + beyond)
    run = scenario.run(checkpoint="on_gap: continue, max_replay_records: 25")
    assert run.value("streamrnn_replayed_records_total") == max(0, -beyond)
    mark = scenario.mark()
    assert mark["lineage"] != before
    assert (mark["offset"], mark["ordinal"]) == (N, N - committed - beyond)
    assert sorted(scenario.predictions()) == [*range(committed), *range(max(committed, committed + beyond), N)]
    # The new lineage stands by itself: it recovers without the old one, and exactly.
    again = scenario.run()
    assert again.value("streamrnn_inexact_replays_total") == 0
    assert differing(scenario.saved(), run.learners[TP]) == []


def tamper(scenario: Scenario, offset: int) -> None:
    path = scenario.directory / "log" / "topics" / "in" / "0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert f'"offset":{offset},' in lines[offset]
    line = json.loads(lines[offset])
    line["value"] = json.dumps({**json.loads(line["value"]), "a": 99.0})
    lines[offset] = json.dumps(line, separators=(",", ":")) + "\n"
    path.write_text("".join(lines))


def test_a_replay_that_arrives_elsewhere_stops_the_worker(scenario: Scenario) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    tamper(scenario, committed - 10)
    with pytest.raises(RecoveryError, match=rf"replay reached offset {committed} .*digest"):
        scenario.run()
    assert len(scenario.predictions()) == committed


def test_a_replay_that_arrives_elsewhere_may_go_on_in_a_new_lineage(scenario: Scenario) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    before = scenario.mark()["lineage"]
    tamper(scenario, committed - 10)
    run = scenario.run(checkpoint="on_inexact: continue, interval_s: 3600")
    assert run.value("streamrnn_inexact_replays_total") == 1
    assert scenario.mark()["lineage"] != before
    assert sorted(scenario.predictions()) == list(range(N))
    assert scenario.run().value("streamrnn_inexact_replays_total") == 0
    assert differing(scenario.saved(), run.learners[TP]) == []


def test_a_missing_record_shows_in_the_ordinal(scenario: Scenario) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    path = scenario.directory / "log" / "topics" / "in" / "0.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[: committed - 1], *lines[committed:]]))
    with pytest.raises(RecoveryError, match=f"ordinal {committed - 1} .*committed were {committed} "):
        scenario.run()
    # A replay that ends in a gap swallows nothing of what comes after.
    scenario.run(checkpoint="on_inexact: continue")
    assert sorted(scenario.predictions()) == list(range(N))
