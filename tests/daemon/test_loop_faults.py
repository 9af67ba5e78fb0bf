"""Faults of the broker: outputs that are not acknowledged, commits in doubt, workers that are fenced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import streamrnn.daemon.delivery
import streamrnn.daemon.loop
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Commit
from streamrnn.errors import BrokerError, FencedError, RebalanceError, RecoveryError
from tests.support.learners import Bits
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import (
    CHANGED,
    SECOND,
    TP,
    N,
    Scenario,
    assert_same,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.mark.parametrize("method", ["flush", "send"])
@pytest.mark.parametrize("numbers", [(2,), (3, 4, 5), (2, 6, 7, 9)])
def test_outputs_that_were_not_acknowledged_are_sent_again(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], method: str, numbers: tuple[int, ...]
) -> None:
    def fail(n: int) -> None:
        if n in numbers:
            raise BrokerError("no answer")

    run = scenario.run(before={method: fail})
    assert_same(scenario, reference)
    assert run.value("streamrnn_records_predicted_total") == N


def test_a_flush_that_lost_the_records_sends_the_whole_batch_again(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    def lose(n: int) -> None:
        if n in (2, 3, 8):
            for file in inner[0].log._files.values():
                file.pending.clear()
            raise BrokerError("some were not acknowledged")

    inner: list[RebalancingBroker] = []
    scenario.run(turn=lambda loop, broker: inner.append(broker), before={"flush": lose})
    assert_same(scenario, reference)
    assert len(scenario.records("out")) == N


def test_a_broker_that_stays_away_stops_the_worker_and_nothing_is_lost(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    def away(n: int) -> None:
        if n >= 5:
            raise BrokerError("nobody there")

    for method in ("flush", "commit", "send"):
        with pytest.raises(BrokerError, match="nobody there"):
            scenario.run(before={method: away})
    scenario.run()
    assert_same(scenario, reference)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("error", [BrokerError("in doubt"), RebalanceError("the group changed")])
def test_a_commit_in_doubt_is_settled_by_what_is_committed(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], applied: bool, error: BrokerError
) -> None:
    def fail(n: int) -> None:
        if n in (3, 6, 7, 12):
            raise error

    hooks = {"after" if applied else "before": {"commit": fail}}
    run = scenario.run(**hooks)  # type: ignore[arg-type]
    assert_same(scenario, reference)
    assert len(scenario.records("out")) == N
    assert run.value("streamrnn_replayed_records_total") == 0


def test_a_commit_refused_in_a_new_generation_is_made_again_under_that_one(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    def begin_generation(n: int) -> None:
        if n in (3, 7):
            inner[0].reassign([TP])  # nothing moves, the membership is another one

    inner: list[RebalancingBroker] = []
    run = scenario.run(turn=lambda loop, broker: inner.append(broker), before={"commit": begin_generation})
    assert caplog.text.count(CHANGED) == 2
    assert run.value("streamrnn_replayed_records_total") == 0
    assert len(scenario.records("out")) == N
    assert_same(scenario, reference)


def test_a_partition_found_committed_by_somebody_else_is_restored(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    """Another worker of the same job took it, went on, and gave it back."""

    def usurp(n: int) -> None:
        if n == 6:
            whole = Scenario(scenario.directory.parent / "other")
            raise_commit(whole)
            raise RebalanceError("the group changed")

    def raise_commit(whole: Scenario) -> None:
        # The other worker did the records up to 200, as this one would have: same lineage, ordinal and digest.
        lineage = scenario.mark()["lineage"]
        whole.fill(200)
        whole.run()
        mark = whole.mark()
        metadata = json.dumps({"lineage": lineage, "ordinal": 200, "digest": mark["digest"], "partitions": 1})
        EmbeddedLog(scenario.directory / "log").store_commits("j", {TP: Commit(200, metadata)})
        for record in whole.records("out"):
            if json.loads(record.value or b"")["offset"] > len(scenario.records("out")) - 1:
                scenario.log.append("out", record.key, record.value, timestamp_ms=record.timestamp_ms, partition=0)
        scenario.log.flush()

    run = scenario.run(before={"commit": usurp})
    assert run.value("streamrnn_inexact_replays_total") == 0
    assert run.value("streamrnn_replayed_records_total") > 0
    assert_same(scenario, reference)


def test_a_commit_of_another_lineage_is_not_taken_for_ours(scenario: Scenario) -> None:
    def usurp(n: int) -> None:
        if n == 6:
            mark = json.dumps({"lineage": "20200101-00000000", "ordinal": 1, "digest": 1, "partitions": 1})
            EmbeddedLog(scenario.directory / "log").store_commits("j", {TP: Commit(scenario.mark()["offset"], mark)})
            raise RebalanceError("the group changed")

    with pytest.raises(RecoveryError, match="no usable checkpoint of lineage 20200101-00000000"):
        scenario.run(before={"commit": usurp})


def test_a_partition_lost_during_a_commit_is_not_committed(tmp_path: Path) -> None:
    def lose(n: int) -> None:
        if n == 8:
            inner[0].lose([SECOND])

    inner: list[RebalancingBroker] = []
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    run = scenario.run(turn=lambda loop, broker: inner.append(broker), before={"commit": lose})
    assert set(run.learners) == {TP}
    assert sorted(scenario.predictions(0)) == [r.offset for r in scenario.records("in", 0)]
    assert scenario.mark(SECOND)["offset"] < len(scenario.records("in", 1))
    whole = Scenario(tmp_path / "whole", partitions=2)
    whole.fill(N)
    whole.run()
    scenario.run()
    assert {p: scenario.predictions(p) for p in (0, 1)} == {p: whole.predictions(p) for p in (0, 1)}


@pytest.mark.parametrize("method", ["send", "flush", "commit"])
def test_a_fenced_worker_stops_at_once(scenario: Scenario, method: str) -> None:
    def fence(n: int) -> None:
        if n >= 3:
            raise FencedError("another process")

    with pytest.raises(FencedError):
        scenario.run(before={method: fence})
    assert scenario.run().value("streamrnn_inexact_replays_total") == 0


def test_a_stop_does_not_wait_for_a_broker_that_is_away(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(n: int) -> None:
        calls.append(n)
        raise BrokerError("nobody there")

    calls: list[int] = []
    monkeypatch.setattr(streamrnn.daemon.delivery, "FIRST_PAUSE_S", 3600.0)
    with pytest.raises(BrokerError, match="nobody there"):
        scenario.run(before={"flush": away}, stop_after=3)
    assert calls == [1]


def test_missing_topics_are_named(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    (tmp_path / "log" / "topics" / "dead" / "0.jsonl").unlink()
    (tmp_path / "log" / "topics" / "dead").rmdir()
    with pytest.raises(BrokerError, match="topics dead do not exist"):
        scenario.run()
