"""Partitions that are added: before the worker starts, while it runs, to its input or its outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.protocol import Commit, TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.uncommitted import began_with
from streamrnn.job.job import Job
from tests.support.rebalancing import RebalancingBroker, add_partitions
from tests.support.scenario import (
    FREQUENT,
    SECOND,
    START_MS,
    TP,
    Scenario,
    append_to,
    lose_offsets,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


def started_latest(directory: Path) -> Scenario:
    """A job that began at the end of its one partition, where two records lie behind it."""
    scenario = Scenario(directory, input="start: latest")
    append_to(scenario, 0, 2)
    scenario.run(stop_after=1)
    return scenario


def test_a_partition_added_later_is_read_from_its_beginning_though_the_group_began_at_the_end(tmp_path: Path) -> None:
    scenario = started_latest(tmp_path)
    add_partitions(scenario.log, "in", 2)
    append_to(scenario, 1)
    scenario.run()
    assert scenario.mark(SECOND)["ordinal"] == 5
    assert scenario.mark(TP)["ordinal"] == 0
    assert scenario.mark(SECOND)["began_with"] == scenario.mark(TP)["began_with"] == 1


def test_a_partition_that_was_there_when_the_group_began_starts_at_the_end_whoever_gets_to_it_first(
    tmp_path: Path,
) -> None:
    scenario = Scenario(tmp_path, partitions=2, input="start: latest")
    append_to(scenario, 0)
    append_to(scenario, 1)
    scenario.run(stop_after=1, turn=lambda _, broker: broker.reassign([SECOND]))  # another worker has the first
    lose_offsets(scenario, TP)
    shutil.rmtree(Path(Job(scenario.config()).checkpoints(TP).place), ignore_errors=True)
    scenario.run()
    assert scenario.mark(TP)["ordinal"] == 0
    assert scenario.mark(TP)["began_with"] == 2


def test_the_count_the_group_began_with_is_carried_on_by_every_commit(tmp_path: Path) -> None:
    scenario = started_latest(tmp_path)
    add_partitions(scenario.log, "in", 2)
    append_to(scenario, 0)
    append_to(scenario, 1)
    scenario.run()
    append_to(scenario, 1)
    scenario.run()
    add_partitions(scenario.log, "in", 3)
    append_to(scenario, 2)
    scenario.run()
    third = TopicPartition("in", 2)
    assert [scenario.mark(tp)["began_with"] for tp in (TP, SECOND, third)] == [1, 1, 1]
    assert scenario.mark(third)["ordinal"] == 5


def test_commits_of_an_earlier_version_tell_how_many_there_were_too(tmp_path: Path) -> None:
    scenario = started_latest(tmp_path)
    commit = scenario.log.commits("j")[TP]
    mark: dict[str, Any] = json.loads(commit.metadata)
    del mark["began_with"]
    scenario.log.store_commits("j", {TP: Commit(commit.offset, json.dumps(mark))})
    add_partitions(scenario.log, "in", 2)
    append_to(scenario, 1)
    scenario.run()
    assert scenario.mark(SECOND)["ordinal"] == 5


def test_where_all_offsets_are_gone_the_checkpoints_of_the_others_tell_it(tmp_path: Path) -> None:
    scenario = started_latest(tmp_path)
    lose_offsets(scenario)
    add_partitions(scenario.log, "in", 2)
    append_to(scenario, 1)
    scenario.run()
    assert scenario.mark(SECOND)["ordinal"] == 5


def test_a_restart_forgets_what_checkpoints_tell_of_the_beginning(tmp_path: Path) -> None:
    scenario = started_latest(tmp_path)
    lose_offsets(scenario)
    add_partitions(scenario.log, "in", 2)
    for policy, count in (("resume", 1), ("restart", 2)):
        job = Job(scenario.config(checkpoint=f"{FREQUENT}, on_lost_offsets: {policy}"))
        assert began_with(job, EmbeddedBroker(scenario.log, "j"), SECOND) == count
    append_to(scenario, 1)
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: restart")
    assert [scenario.mark(tp)["ordinal"] for tp in (TP, SECOND)] == [0, 0]
    assert scenario.mark(SECOND)["began_with"] == 2


@pytest.mark.parametrize(
    "order",
    [("in",), ("out", "dead", "in"), ("in", "out", "dead"), ("out", "in"), ("dead", "in", "out")],
    ids="+".join,
)
def test_partitions_added_to_any_topic_in_any_order_while_it_runs_stop_nobody(
    tmp_path: Path, order: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    scenario = Scenario(tmp_path)
    scenario.fill(400)
    steps = iter([None, *order, None, "records"])

    def turn(_: Loop, broker: RebalancingBroker) -> None:
        step = next(steps, None)
        if step in order:
            add_partitions(scenario.log, step, 2)
        if step == "in":
            append_to(scenario, 1)
            scenario.append(b"s1", b"no json", START_MS, 1)
            broker.reassign([TP, SECOND])
        if step == "records":
            append_to(scenario, 0)
            append_to(scenario, 1)

    scenario.run(turn=turn)
    predicted = [json.loads(r.value) for p in range(2) for r in read(scenario, "out", p)]
    offsets = sorted((each["partition"], each["offset"]) for each in predicted)
    assert offsets == [(0, i) for i in range(405)] + [(1, i) for i in range(11) if i != 5]
    assert len(read(scenario, "dead", 0) + read(scenario, "dead", 1)) == 1
    assert "topic in had 1 partitions and now has 2: keys moved" in caplog.text


def test_outputs_follow_the_input_s_partitions_once_there_are_as_many_and_the_key_until_then(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    append_to(scenario, 1)
    scenario.run()
    assert len(read(scenario, "out", 1)) == 5  # wherever their key would go
    add_partitions(scenario.log, "in", 3)
    append_to(scenario, 2)
    scenario.run()
    keys = {record.key for p in range(2) for record in read(scenario, "out", p)}
    assert keys == {b"s1", b"s2"}
    assert sum(len(read(scenario, "out", p)) for p in range(2)) == 10


def test_an_output_topic_made_anew_with_fewer_partitions_falls_back_to_the_key(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    append_to(scenario, 1)

    def turn(_: Loop, broker: RebalancingBroker) -> None:
        if not made:
            made.append(True)
            broker.log.delete_topic("out")
            broker.log.create_topic("out", 1)

    made: list[bool] = []
    scenario.run(turn=turn)
    assert len(read(scenario, "out", 0)) == 5


def read(scenario: Scenario, topic: str, partition: int) -> list[Any]:
    """Records of a topic's partition, none where it does not exist."""
    there = partition in scenario.log.partitions(topic)
    scenario.log._partitions.clear()
    return scenario.records(topic, partition) if there else []
