"""While a group rebalances, its members go on; what moves is committed first, and nothing that stays is restored."""

from __future__ import annotations

import gc
import logging
import random
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import streamrnn.daemon.delivery
import streamrnn.daemon.loop
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.background import Background
from streamrnn.daemon.loop import Loop
from streamrnn.errors import FencedError, RebalanceError, RecoveryError
from streamrnn.learner.foundation import Foundation
from tests.support.learners import differing
from tests.support.rebalancing import RebalancingBroker, delete_before
from tests.support.scenario import CHANGED, SECOND, TP, KilledError, Run, Scenario

N = 300
Turn = Callable[[Loop, RebalancingBroker], None]


pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture(autouse=True)
def _all_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Two partitions with records."""
    made = Scenario(tmp_path / "job", partitions=2)
    made.fill(N)
    return made


def at(**turns: Turn) -> Turn:
    """What happens at which poll, named ``poll_4``."""
    polls = 0

    def turn(loop: Loop, broker: RebalancingBroker) -> None:
        nonlocal polls
        polls += 1
        if (happens := turns.get(f"poll_{polls}")) is not None:
            happens(loop, broker)

    return turn


def begin(_: Loop, broker: RebalancingBroker) -> None:
    broker.begin_rebalance()


def assign(*tps: TopicPartition) -> Turn:
    return lambda _, broker: broker.reassign(tps)


nothing_moves, second_moves = assign(TP, SECOND), assign(TP)


def assert_complete(scenario: Scenario, run: Run, *, repeated: bool = False) -> None:
    """Every record was predicted as in an undisturbed run, once, and nothing was ever replayed."""
    whole = Scenario(scenario.directory.parent / "whole", partitions=2)
    whole.fill(N)
    expected = whole.run()
    for tp in (TP, SECOND):
        assert differing(run.learners[tp], expected.learners[tp]) == []
        assert scenario.predictions(tp.partition) == whole.predictions(tp.partition)
        assert run.value("streamrnn_replayed_records_total", partition=str(tp.partition)) == 0
    once = sum(len(scenario.records("in", p)) for p in (0, 1))
    sent = sum(len(scenario.records("out", p)) for p in (0, 1))
    assert sent > once if repeated else sent == once


def test_what_stays_is_predicted_during_a_rebalance_and_committed_after_it(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    def look(_: Loop, broker: RebalancingBroker) -> None:
        broker.log.flush()
        seen.append(
            ([len(scenario.records("out", p)) for p in (0, 1)], [scenario.mark(tp)["offset"] for tp in (TP, SECOND)])
        )

    seen: list[tuple[list[int], list[int]]] = []
    run = scenario.run(turn=at(poll_4=begin, poll_5=look, poll_12=look, poll_13=nothing_moves, poll_15=look))
    (predicted, committed), (later, the_same), (_, caught_up) = seen
    assert all(b > a for a, b in zip(predicted, later, strict=True))
    assert the_same == committed
    assert all(b >= a for a, b in zip(later, caught_up, strict=True)), "the whole batch was committed at once"
    assert CHANGED not in caplog.text
    assert_complete(scenario, run)


def test_a_commit_refused_by_a_rebalance_is_made_after_it_and_nothing_is_restored(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(n: int) -> None:
        if n == 6:
            broker[0].begin_rebalance()  # between the poll and the commit

    broker: list[RebalancingBroker] = []
    turns = at(poll_1=lambda _, inner: broker.append(inner), poll_12=nothing_moves)
    run = scenario.run(turn=turns, before={"commit": refuse})
    assert caplog.text.count(CHANGED) == 1, "it is not tried again before the group is stable"
    assert "restor" not in caplog.text
    assert_complete(scenario, run)


def test_a_commit_whose_answer_a_rebalance_swallowed_is_not_taken_for_somebody_else_s(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    def swallow(n: int) -> None:
        if n == 6:
            broker[0].begin_rebalance()
            raise RebalanceError("no longer in this generation")

    broker: list[RebalancingBroker] = []
    turns = at(poll_1=lambda _, inner: broker.append(inner), poll_12=nothing_moves)
    run = scenario.run(turn=turns, after={"commit": swallow})
    assert caplog.text.count(CHANGED) == 1
    assert "restor" not in caplog.text
    assert_complete(scenario, run)


def test_what_was_done_for_a_partition_that_is_given_up_is_committed_and_checkpointed_first(scenario: Scenario) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        partition = loop.partitions[SECOND]
        left.append((partition.committed, partition.position))

    def give_up(loop: Loop, broker: RebalancingBroker) -> None:
        look(loop, broker)
        broker.reassign([TP])

    left: list[tuple[int, int]] = []
    scenario.run(turn=at(poll_4=begin, poll_9=give_up))
    ((committed, position),) = left
    assert committed < position == scenario.mark(SECOND)["offset"]
    assert scenario.manifests(SECOND)[-1].name == f"manifest-{position:020d}.json"
    assert_complete(scenario, scenario.run())


@pytest.mark.parametrize("lost", [False, True])
def test_the_memory_of_a_partition_that_went_away_is_free_without_a_collection_of_garbage(
    scenario: Scenario, lost: bool
) -> None:
    """Which counts objects: a million streams' gigabytes may wait for it for as long as a worker runs."""

    def go(loop: Loop, broker: RebalancingBroker) -> None:
        learners.append(weakref.ref(loop.partitions[SECOND].learner))
        gc.collect()
        gc.disable()
        broker.lose([SECOND]) if lost else broker.reassign([TP])

    def gone(loop: Loop, _: RebalancingBroker) -> None:
        assert SECOND not in loop.partitions
        left.append(learners[0]())
        gc.enable()

    learners, left = list["weakref.ref[Foundation]"](), list[object]()
    try:
        scenario.run(turn=at(poll_4=go, poll_7=gone))
    finally:
        gc.enable()
    assert left == [None]


def test_what_could_not_be_committed_before_it_was_given_up_is_done_again_by_the_next_owner(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: int) -> None:
        if refusing:
            refusing.pop()
            raise RebalanceError("the next round has begun")

    refusing: list[int] = []

    def give_up(loop: Loop, broker: RebalancingBroker) -> None:
        assert loop.partitions[SECOND].dirty
        refusing.append(1)
        broker.reassign([TP])

    scenario.run(turn=at(poll_4=begin, poll_9=give_up), before={"commit": refuse})
    assert "given up without a commit" in caplog.text
    assert not refusing
    scenario.run()
    assert sorted(scenario.predictions(1)) == [r.offset for r in scenario.records("in", 1)]
    assert len(scenario.records("out", 1)) > len(scenario.records("in", 1))
    assert len(scenario.records("out", 0)) == len(scenario.records("in", 0))


def test_a_worker_fenced_while_it_gives_a_partition_up_stops_at_once(scenario: Scenario) -> None:
    def fence(_: int) -> None:
        if fenced:
            raise FencedError("another process")

    def give_up(_: Loop, broker: RebalancingBroker) -> None:
        fenced.append(1)
        broker.reassign([TP])

    fenced: list[int] = []
    with pytest.raises(FencedError):
        scenario.run(turn=at(poll_4=begin, poll_9=give_up), before={"commit": fence})


def test_a_stop_in_the_middle_of_a_rebalance_commits_once_it_is_over(scenario: Scenario) -> None:
    scenario.run(turn=at(poll_4=begin, poll_9=nothing_moves), stop_after=6)
    for p, tp in enumerate((TP, SECOND)):
        committed = scenario.mark(tp)["offset"]
        assert sorted(scenario.predictions(p)) == list(range(committed))
        assert scenario.manifests(tp)[-1].name == f"manifest-{committed:020d}.json"
    assert_complete(scenario, scenario.run())


def test_a_stop_does_not_wait_for_ever_for_a_rebalance(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        reached.extend(loop.partitions[tp].position for tp in (TP, SECOND))

    reached: list[int] = []
    run = scenario.run(turn=at(poll_4=begin, poll_6=look), stop_after=6)
    assert run.loop.partitions == {}
    assert "in the middle of a rebalance, without a commit" in caplog.text
    assert sum(scenario.mark(tp)["offset"] for tp in (TP, SECOND)) < sum(reached)
    scenario.run()
    for p in (0, 1):
        assert sorted(scenario.predictions(p)) == [r.offset for r in scenario.records("in", p)]


def test_what_the_log_says_of_partitions_that_come_and_go_has_them_in_fields(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamrnn.daemon.loop")
    scenario.run(turn=at(poll_4=second_moves))
    told = [record.__dict__["fields"] for record in caplog.records if "event" in record.__dict__.get("fields", {})]
    assert {"event": "assigned", "topic": "in", "partitions": [0, 1]} in told
    assert {"event": "revoked", "topic": "in", "partitions": [1]} in told


@pytest.mark.parametrize("seed", range(8))
def test_any_course_of_rebalances_loses_nothing_and_repeats_the_same_bytes(scenario: Scenario, seed: int) -> None:
    def turn(_: Loop, broker: RebalancingBroker) -> None:
        match rng.choice(("begin", "assign", "lose", "", "", "")):
            case "begin":
                broker.begin_rebalance()
            case "assign":
                broker.reassign(rng.choice(([TP], [SECOND], [TP, SECOND], [TP, SECOND])))
            case "lose":
                broker.lose([rng.choice((TP, SECOND))])

    rng = random.Random(seed)
    scenario.run(turn=turn, stop_after=40, seed=seed)
    scenario.run()
    whole = Scenario(scenario.directory.parent / "whole", partitions=2)
    whole.fill(N)
    whole.run()
    for tp in (TP, SECOND):
        assert scenario.predictions(tp.partition) == whole.predictions(tp.partition)
        assert differing(scenario.saved(tp), whole.saved(tp)) == []


def test_partitions_are_restored_one_between_two_polls(tmp_path: Path) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        restored.append(len(loop.partitions))

    restored: list[int] = []
    scenario = Scenario(tmp_path, partitions=4)
    scenario.fill(N)
    scenario.run(turn=look)
    assert restored[:5] == [1, 2, 3, 4, 4]


def test_a_first_start_waits_for_a_stable_group_and_leaves_one_lineage(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    run = scenario.run(turn=at(poll_1=begin, poll_5=nothing_moves))
    for tp in (TP, SECOND):
        assert run.loop.job.checkpoints(tp).lineages() == [scenario.mark(tp)["lineage"]]
    assert "trying again" not in caplog.text
    assert_complete(scenario, run)


def test_a_new_lineage_behind_a_gap_waits_for_a_stable_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def kill(n: int) -> None:
        if n == 9:
            raise KilledError

    scenario = Scenario(tmp_path)
    scenario.fill(N)
    with pytest.raises(KilledError):
        scenario.run(after={"commit": kill}, checkpoint="interval_s: 3600")
    before = scenario.mark()
    delete_before(scenario.log, TP, before["offset"] - 5)
    caplog.clear()
    turns = at(poll_1=begin, poll_6=assign(TP))
    run = scenario.run(turn=turns, checkpoint="on_gap: continue, max_replay_records: 25")
    lineages = run.loop.job.checkpoints(TP).lineages()
    assert sorted(lineages) == sorted([before["lineage"], scenario.mark()["lineage"]])
    assert len(set(lineages)) == 2
    assert "restoring again" not in caplog.text
    assert sorted(scenario.predictions()) == list(range(N))
    assert len(scenario.records("out")) == N


def test_records_wait_when_too_many_outputs_wait_for_the_group(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        waiting.append(sum(partition.waiting for partition in loop.partitions.values()))

    waiting: list[int] = []
    monkeypatch.setattr(streamrnn.daemon.loop, "MAX_UNCOMMITTED", 60)
    run = scenario.run(turn=at(poll_4=begin, poll_20=look, poll_30=look, poll_31=nothing_moves))
    assert 60 <= waiting[0] == waiting[1] < N
    assert_complete(scenario, run)


def test_records_wait_too_when_too_many_outputs_wait_for_a_commit_that_a_stable_group_refuses(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        waiting.append(sum(partition.waiting for partition in loop.partitions.values()))
        refused[:] = [] if len(waiting) == 2 else refused

    def commit(broker: RebalancingBroker, *arguments: Any) -> None:
        if refused and any(partition.waiting for partition in loops[-1].partitions.values()):
            raise RebalanceError("a partition is gone")
        commits(broker, *arguments)

    waiting: list[int] = []
    refused, loops, commits, begun = [True], list[Loop](), RebalancingBroker.commit, Loop.run
    monkeypatch.setattr(Loop, "run", lambda loop: (loops.append(loop), begun(loop))[1])
    monkeypatch.setattr(RebalancingBroker, "commit", commit)
    monkeypatch.setattr(streamrnn.daemon.loop, "MAX_UNCOMMITTED", 60)
    run = scenario.run(turn=at(poll_6=look, poll_60=look))
    assert 60 <= waiting[0] == waiting[1] < N
    assert_complete(scenario, run)


class ByHand(Background):
    """Does what it was given when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        self.given.append((Future(), work))
        return self.given[-1][0]

    def do(self, *_: object) -> None:
        for future, work in self.given:
            if future.set_running_or_notify_cancel():
                future.set_result(work())


def test_what_stays_is_predicted_while_the_checkpoint_of_another_partition_is_read(scenario: Scenario) -> None:
    def look(loop: Loop, _: RebalancingBroker) -> None:
        seen.append({tp: partition.position for tp, partition in loop.partitions.items()})

    seen: list[dict[TopicPartition, int]] = []
    background = ByHand()
    run = scenario.run(
        turn=at(
            poll_4=second_moves, poll_6=nothing_moves, poll_8=look, poll_12=look, poll_13=background.do, poll_16=look
        ),
        background=background,
    )
    before, meanwhile, after = seen
    assert before.keys() == meanwhile.keys() == {TP}
    assert meanwhile[TP] > before[TP]
    assert after.keys() == {TP, SECOND}
    assert len(background.given) == 1
    assert_complete(scenario, run)


def test_what_was_read_for_a_partition_that_is_gone_again_is_not_given_to_its_next_assignment(
    scenario: Scenario,
) -> None:
    background = ByHand()
    turns = at(
        poll_4=second_moves,
        poll_6=nothing_moves,
        poll_8=second_moves,
        poll_10=nothing_moves,
        poll_12=background.do,
    )
    run = scenario.run(turn=turns, background=background)
    assert [future.cancelled() for future, _ in background.given] == [True, False]
    assert_complete(scenario, run)


def test_a_checkpoint_that_cannot_be_read_in_the_background_stops_the_worker_with_its_reason(
    scenario: Scenario,
) -> None:
    def damage(_: Loop, broker: RebalancingBroker) -> None:
        for manifest in scenario.manifests(SECOND):
            manifest.write_text("{}")
        broker.reassign([TP, SECOND])

    with pytest.raises(RecoveryError, match="no usable checkpoint"):
        scenario.run(turn=at(poll_4=second_moves, poll_6=damage), background=Background())
