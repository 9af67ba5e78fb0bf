"""Partitions without a committed offset: with checkpoints and lost offsets, or with a first start interrupted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from streamrnn.broker.embedded import EmbeddedAdministration, EmbeddedBroker
from streamrnn.broker.protocol import TopicDescription
from streamrnn.errors import RebalanceError, RecoveryError
from streamrnn.job.job import Job
from tests.support.learners import Bits, differing
from tests.support.rebalancing import delete_before
from tests.support.scenario import (
    FREQUENT,
    SECOND,
    TP,
    KilledError,
    N,
    Scenario,
    append_to,
    lose_offsets,
    nth,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


# -- lost offsets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [5, 12, 20])
def test_lost_offsets_resume_at_the_newest_checkpoint_with_the_same_bits_and_the_same_bytes_again(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], stop_after: int
) -> None:
    scenario.run(stop_after=stop_after)
    lineage, committed, written = scenario.mark()["lineage"], scenario.mark()["offset"], len(scenario.records("out"))
    scenario.manifests()[-1].unlink()  # as if it had been killed a while after the checkpoint before that one
    position = int(scenario.manifests()[-1].stem.split("-")[1])
    assert position < committed
    lose_offsets(scenario)
    run = scenario.run()
    assert run.value("streamrnn_replayed_records_total") == 0
    assert scenario.mark()["lineage"] == lineage
    assert differing(run.learners[TP], reference[0]) == []
    assert scenario.predictions() == reference[1]  # fails where one offset was predicted in two ways
    assert len(scenario.records("out")) == N + written - position


def test_what_was_lost_is_committed_before_anything_is_predicted(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    lineage, position = scenario.mark()["lineage"], int(scenario.manifests()[-1].stem.split("-")[1])
    lose_offsets(scenario)
    with pytest.raises(KilledError):
        scenario.run(before={"commit": nth(2, KilledError())})
    assert (scenario.mark()["lineage"], scenario.mark()["offset"]) == (lineage, position)


def test_lost_offsets_resume_in_the_lineage_that_was_written_last(scenario: Scenario) -> None:
    with pytest.raises(KilledError):
        scenario.run(after={"commit": nth(9, KilledError())}, checkpoint="interval_s: 3600")
    delete_before(scenario.log, TP, scenario.mark()["offset"] + 3)
    scenario.run(stop_after=6, checkpoint="on_gap: continue, max_replay_records: 25")
    second = scenario.mark()["lineage"]
    store = Job(scenario.config()).checkpoints(TP)
    assert len(store.lineages()) == 2
    lose_offsets(scenario)
    scenario.run(checkpoint="on_gap: continue, max_replay_records: 25")
    assert scenario.mark()["lineage"] == second


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    scenario.run(stop_after=12)
    newest = scenario.manifests()[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    lose_offsets(scenario)
    run = scenario.run()
    assert run.value("streamrnn_corrupt_checkpoints_total") == 1
    assert differing(run.learners[TP], reference[0]) == []


def test_without_any_usable_checkpoint_it_stops_and_names_them(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    for manifest in scenario.manifests():
        manifest.write_bytes(b"{}")
    lose_offsets(scenario)
    with pytest.raises(RecoveryError, match=r"none can be used(.|\n)*on_lost_offsets: restart"):
        scenario.run()


def test_fail_stops_and_says_the_ways_out(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    lose_offsets(scenario)
    with pytest.raises(RecoveryError, match=r"no committed offset although checkpoints exist.*resume.*restart"):
        scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    assert scenario.log.commits("j") == {}


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_restart_learns_anew_from_where_a_first_start_would(scenario: Scenario, start: str) -> None:
    scenario.run(stop_after=12)
    lineage = scenario.mark()["lineage"]
    lose_offsets(scenario)
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: restart", input=f"start: {start}")
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == (N if start == "earliest" else 0)


def test_to_resume_does_not_ask_where_a_first_start_would_begin(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    lose_offsets(scenario)
    scenario.run(input="start: latest")
    assert scenario.mark()["ordinal"] == N


@pytest.fixture
def made_anew(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whoever appends to it says that the topic has another id from here on."""
    times: list[bool] = []
    monkeypatch.setattr(
        EmbeddedAdministration,
        "describe_topics",
        lambda _, topics: {topic: TopicDescription(1, frozenset(), id=str(times)) for topic in topics},
    )
    return times


@pytest.mark.parametrize("lost", ["resume", "restart", "fail"])
@pytest.mark.parametrize("records", [3, N + 50], ids=["shorter", "longer"])
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    scenario: Scenario, start: str, records: int, lost: str, caplog: pytest.LogCaptureFixture, made_anew: list[bool]
) -> None:
    """Brokers delete a group's offsets with the topic, and give the new one another id."""
    scenario.run()
    lineage = scenario.mark()["lineage"]
    lose_offsets(scenario)
    scenario.log.delete_topic("in")
    scenario.log.create_topic("in", 1)
    made_anew.append(True)
    append_to(scenario, 0, records)
    with pytest.raises(RecoveryError, match=r"made anew(.|\n)*on_new_topic: restart"):
        scenario.run(input=f"start: {start}", checkpoint=f"{FREQUENT}, on_lost_offsets: {lost}, on_new_topic: fail")
    scenario.run(input=f"start: {start}", checkpoint=f"{FREQUENT}, on_lost_offsets: {lost}")
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == records
    assert "the topic was made anew" in caplog.text


def test_a_topic_made_anew_of_which_a_worker_committed_before_it_noticed_is_read_from_its_beginning(
    scenario: Scenario, caplog: pytest.LogCaptureFixture, made_anew: list[bool]
) -> None:
    scenario.run()
    lineage = scenario.mark()["lineage"]
    made_anew.append(True)
    with pytest.raises(RecoveryError, match=rf"made anew since.*offset {N} is committed of the former one"):
        scenario.run(checkpoint=f"{FREQUENT}, on_new_topic: fail")
    assert scenario.mark()["lineage"] == lineage
    scenario.run(input="start: latest", checkpoint=f"{FREQUENT}, on_lost_offsets: fail")  # none is lost
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == N
    assert "the topic was made anew" in caplog.text


@pytest.mark.parametrize("offsets", ["lost", "committed"])
@pytest.mark.parametrize("told", ["none", "the old one"])
def test_what_a_broker_says_that_has_not_heard_of_the_new_topic_yet_leads_nowhere(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: str, offsets: str
) -> None:
    """Restored from, records of the new log before the old offset would be passed over."""
    answers: list[str | None] = ["old"]

    def described(_: object, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return {topic: None if answer is None else TopicDescription(1, frozenset(), id=answer) for topic in topics}

    monkeypatch.setattr(EmbeddedAdministration, "describe_topics", described)
    scenario.run()
    lineage = scenario.mark()["lineage"]
    if offsets == "lost":
        lose_offsets(scenario)
    late = None if told == "none" else "old"
    answers[:] = [late, late, late, "new"]
    monkeypatch.setattr(EmbeddedBroker, "topic_id", lambda *_: "new")
    scenario.run()
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == N
    assert "the topic was made anew" in caplog.text
    assert caplog.text.count("trying again") == 3


def test_a_log_that_ends_before_the_checkpoint_is_read_from_its_beginning(scenario: Scenario) -> None:
    scenario.run()
    lose_offsets(scenario)
    (scenario.directory / "log" / "topics" / "in" / "0.jsonl").write_text("")
    append_to(scenario, 0)
    scenario.run()
    assert scenario.mark()["ordinal"] == 5


@pytest.mark.parametrize("on_gap", ["fail", "continue"])
def test_a_log_that_no_longer_reaches_back_to_the_checkpoint_is_a_gap(scenario: Scenario, on_gap: str) -> None:
    scenario.run(stop_after=12)
    lineage, position = scenario.mark()["lineage"], scenario.mark()["offset"]
    lose_offsets(scenario)
    delete_before(scenario.log, TP, position + 7)
    if on_gap == "fail":
        with pytest.raises(RecoveryError, match="7 offsets are gone"):
            scenario.run()
        return
    scenario.run(checkpoint=f"{FREQUENT}, on_gap: continue")
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == N - 7


def test_only_the_partition_whose_offset_is_gone_resumes_at_its_checkpoint(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    scenario.run(stop_after=20)
    lose_offsets(scenario, SECOND)
    scenario.run()
    whole = Scenario(tmp_path / "whole", partitions=2)
    whole.fill(N)
    expected = whole.run()
    for tp in (TP, SECOND):
        assert differing(scenario.saved(tp), expected.learners[tp]) == []
        assert scenario.predictions(tp.partition) == whole.predictions(tp.partition)


def test_settings_that_changed_while_the_offsets_were_lost_are_taken_up(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    lineage = scenario.mark()["lineage"]
    lose_offsets(scenario)
    scenario.run(streams="{max_streams: 9}")
    assert scenario.mark()["lineage"] != lineage
    assert scenario.mark()["ordinal"] == N


# -- a first start that was interrupted before its commit --------------------------------------------------------------


POLICIES = ["fail", "resume", "restart"]


def interrupted(scenario: Scenario, commit: int = 1, **settings: str) -> None:
    """The process dies when genesis checkpoints are there and this commit is not."""
    with pytest.raises(KilledError):
        scenario.run(before={"commit": nth(commit, KilledError())}, **settings)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said, but for what the watch says of the records' streams."""
    said = [record for record in caplog.records if record.name != "streamrnn.daemon.watch"]
    return [record.getMessage() for record in said if record.levelname != "INFO"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupted_first_start_is_no_loss_of_offsets(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], policy: str, times: int,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    settings = {"checkpoint": f"{FREQUENT}, on_lost_offsets: {policy}"}
    for _ in range(times):
        interrupted(scenario, **settings)
    run = scenario.run(**settings)
    assert warned(caplog) == []
    assert differing(run.learners[TP], reference[0]) == []
    assert scenario.predictions() == reference[1]
    assert len(scenario.records("out")) == N


@pytest.mark.parametrize("policy", POLICIES)
def test_what_came_since_an_interrupted_first_start_at_the_end_is_read(scenario: Scenario, policy: str) -> None:
    settings = {"checkpoint": f"{FREQUENT}, on_lost_offsets: {policy}", "input": "start: latest"}
    interrupted(scenario, **settings)
    append_to(scenario, 0)
    scenario.run(**settings)
    assert sorted(scenario.predictions()) == list(range(N, N + 5))


@pytest.mark.parametrize(
    "changed", [{"streams": "{max_streams: 9}"}, {"cell": "gru"}], ids=["that could be taken up", "that could not"]
)
def test_other_settings_after_an_interrupted_first_start_begin_where_it_began(
    scenario: Scenario, changed: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(scenario, input="start: latest", checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    append_to(scenario, 0)
    scenario.run(input="start: latest", checkpoint=f"{FREQUENT}, on_lost_offsets: fail", **changed)
    assert warned(caplog) == []
    assert sorted(scenario.predictions()) == list(range(N, N + 5))


def test_an_interrupted_first_start_that_left_no_whole_checkpoint_is_no_loss_of_offsets(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    interrupted(scenario)
    place = Path(Job(scenario.config()).checkpoints(TP).place)
    (manifest,) = place.rglob("manifest-*")
    manifest.unlink()  # it is written last
    assert Job(scenario.config()).checkpoints(TP).lineages()
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    assert scenario.predictions() == reference[1]


def test_a_damaged_segment_of_an_interrupted_first_start_is_not_needed(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    interrupted(scenario)
    for segment in Path(Job(scenario.config()).checkpoints(TP).place).rglob("*.safetensors"):
        segment.write_bytes(b"")
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    assert scenario.predictions() == reference[1]


def test_a_group_that_changes_at_its_first_commit_begins_in_one_lineage(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    scenario.run(before={"commit": nth(1, RebalanceError("changed"))}, checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    assert Job(scenario.config()).checkpoints(TP).lineages() == [scenario.mark()["lineage"]]
    assert scenario.predictions() == reference[1]


def test_of_several_partitions_those_begin_again_that_were_interrupted(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2, input="start: latest")
    append_to(scenario, 0)
    append_to(scenario, 1)
    settings = {"checkpoint": f"{FREQUENT}, on_lost_offsets: fail"}
    interrupted(scenario, 2, **settings)
    assert len(scenario.log.commits("j")) == 1
    append_to(scenario, 0)
    append_to(scenario, 1)
    scenario.run(**settings)
    for tp in (TP, SECOND):
        assert sorted(scenario.predictions(tp.partition)) == list(range(5, 10))
        assert scenario.mark(tp)["began_with"] == 2


def test_a_log_that_no_longer_reaches_back_to_an_interrupted_first_start_is_read_from_its_beginning(
    scenario: Scenario,
) -> None:
    interrupted(scenario)
    delete_before(scenario.log, TP, 7)
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: fail")
    assert sorted(scenario.predictions()) == list(range(7, N))


def test_a_later_lineage_that_was_not_committed_does_not_hide_that_offsets_were_lost(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    interrupted(scenario, streams="{max_streams: 9}")
    store = Job(scenario.config()).checkpoints(TP)
    assert len(store.lineages()) == 2
    lose_offsets(scenario)
    with pytest.raises(RecoveryError, match="no committed offset although checkpoints exist"):
        scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: fail", streams="{max_streams: 9}")


def test_to_learn_anew_is_begun_once_though_it_was_interrupted(scenario: Scenario) -> None:
    scenario.run(stop_after=12)
    lose_offsets(scenario)
    settings = {"checkpoint": f"{FREQUENT}, on_lost_offsets: restart", "input": "start: latest"}
    interrupted(scenario, **settings)
    written = len(scenario.records("out"))
    append_to(scenario, 0)
    scenario.run(**settings)
    assert scenario.mark()["ordinal"] == 5
    assert len(scenario.records("out")) == written + 5
