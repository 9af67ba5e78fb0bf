"""Whatever happens to a worker, its learners, predictions and counts are those of a run that nothing happened to."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import streamrnn.daemon.delivery
import streamrnn.daemon.loop
from streamrnn.broker.protocol import NothingAssigned, TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.saving import Copier
from streamrnn.errors import BrokerError, RebalanceError
from tests.support.learners import Bits, differing
from tests.support.rebalancing import RebalancingBroker, append_gap
from tests.support.scenario import (
    CHANGED,
    EXACT,
    SECOND,
    START_MS,
    TP,
    KilledError,
    N,
    Scenario,
    assert_same,
    kill_behind_the_checkpoint,
    nth,
)
from tests.support.segments import make_segments_tiny

pytestmark = pytest.mark.usefixtures("no_pauses")


# -- a plain run ------------------------------------------------------------------------------------------------------


def test_every_record_is_predicted_once_in_order(scenario: Scenario) -> None:
    scenario.run()
    inputs, outputs = scenario.records("in"), scenario.records("out")
    assert [json.loads(r.value or b"")["offset"] for r in outputs] == [r.offset for r in inputs]
    assert [(r.key, r.timestamp_ms) for r in outputs] == [(r.key, r.timestamp_ms) for r in inputs]
    shown = json.loads(outputs[10].value or b"")
    given = json.loads(inputs[10].value or b"")
    assert (shown["stream"], shown["target"]) == ((inputs[10].key or b"").decode(), given["y"])
    assert shown.keys() == {"stream", "topic", "partition", "offset", "timestamp", "prediction", "target", "updates"}
    mark = scenario.mark()
    assert (mark["offset"], mark["ordinal"], mark["partitions"]) == (N, N, 1)


def test_the_drain_leaves_a_checkpoint_at_the_committed_offset(scenario: Scenario) -> None:
    run = scenario.run(checkpoint="interval_s: 3600")
    assert differing(scenario.saved(), run.learners[TP]) == []
    assert scenario.manifests()[-1].name == f"manifest-{N:020d}.json"


def test_checkpoints_bound_the_replay_and_only_so_many_are_kept(scenario: Scenario) -> None:
    run = scenario.run()
    assert run.value("streamrnn_checkpoint_duration_seconds_count") >= 1
    assert 1 <= len(scenario.manifests()) <= 4

    killed = Scenario(scenario.directory.parent / "killed")
    killed.fill(N)
    with pytest.raises(KilledError):
        killed.run(before={"commit": nth(12, KilledError())})
    again = killed.run()
    # The last poll before the checkpoint and the batch behind it come on top of the bound.
    assert 0 <= again.value("streamrnn_replayed_records_total") <= 25 + 2 * 50


def test_metrics_say_what_happened(tmp_path: Path) -> None:
    target = "{fields: [y], known: label, event_field: id, label_field: of}"
    scenario = Scenario(tmp_path, target=target)
    rng = random.Random(1)
    events = labels = broken = 0
    for i in range(200):
        kind = rng.random()
        if kind < 0.2:
            scenario.append(b"s", b"{not json")
            broken += 1
        elif kind < 0.5:
            scenario.append(b"s", json.dumps({"of": rng.randrange(max(1, i)), "y": 1.0}).encode())
            labels += 1
        else:
            scenario.append(b"s", json.dumps({"id": i, "a": 1.0 if i % 3 else None}).encode())
            events += 1
    for stop_after in (5, 9, None):
        with pytest.raises(KilledError):
            scenario.run(before={"commit": nth(4, KilledError())}) if stop_after else scenario.run(
                after={"commit": nth(6, KilledError())}
            )
    run = scenario.run()
    replayed = run.value("streamrnn_replayed_records_total")
    consumed = run.value("streamrnn_records_consumed_total")
    predicted = run.value("streamrnn_records_predicted_total")
    taken = run.value("streamrnn_label_records_total")
    dead = run.value("streamrnn_dead_letters_total", reason="malformed")
    assert consumed == predicted + taken + dead
    assert consumed < 200
    assert replayed > 0

    whole = Scenario(tmp_path / "whole", target=target)
    for record in scenario.records("in"):
        whole.append(record.key, record.value, record.timestamp_ms)
    run = whole.run()
    got = [run.value(f"streamrnn_{name}_total") for name in ("records_consumed", "records_predicted", "label_records")]
    assert got == [200, events, labels]
    assert run.value("streamrnn_dead_letters_total", reason="malformed") == broken
    assert run.value("streamrnn_replayed_records_total") == 0
    assert (len(whole.records("out")), len(whole.records("dead"))) == (events, broken)
    assert run.value("streamrnn_position_offset") == run.value("streamrnn_committed_offset") == 200
    assert run.value("streamrnn_input_lag_records") == 0
    assert run.value("streamrnn_active_streams") == 1
    assert run.value("streamrnn_imputed_inputs_total") > 0
    assert run.value("streamrnn_updates_total") == json.loads(whole.records("out")[-1].value or b"")["updates"] > 0
    assert whole.predictions() == scenario.predictions()


def test_a_partition_s_series_go_with_it(scenario: Scenario) -> None:
    run = scenario.run()
    left = [s for f in run.registry.collect() for s in f.samples if "partition" in s.labels]
    assert left == []


def test_offsets_with_gaps_are_positions_and_not_counts(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    append_gap(scenario.log, "in", 0, 7)
    scenario.fill(120, gaps=True)
    append_gap(scenario.log, "in", 0, 5)
    for k in (10, 25, 5, 20):
        with pytest.raises(KilledError):
            scenario.run(after={"send": nth(k, KilledError())}, seed=k)
    scenario.run(stop_after=4)
    scenario.run()
    dense = Scenario(tmp_path / "dense")
    dense.fill(120)
    dense.run()
    assert differing(scenario.saved(), dense.saved()) == []
    assert scenario.mark()["ordinal"] == 120
    assert sorted(scenario.predictions()) == [r.offset for r in scenario.records("in")]


def test_partitions_learn_apart(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    for seed in range(3):
        with pytest.raises(KilledError):
            scenario.run(after={"commit": nth(3, KilledError())}, seed=seed)
    run = scenario.run()
    inputs = {p: [r.offset for r in scenario.records("in", p)] for p in (0, 1)}
    assert {p: sorted(scenario.predictions(p)) for p in (0, 1)} == inputs
    assert run.learners[TP]["model.theta"] != run.learners[SECOND]["model.theta"]

    alone = Scenario(tmp_path / "alone", partitions=2)
    for record in scenario.records("in", 1):
        alone.append(record.key, record.value, record.timestamp_ms, partition=1)
    assert differing(alone.run().learners[SECOND], run.learners[SECOND]) == []
    assert alone.predictions(1) == scenario.predictions(1)


# -- stops, kills, restarts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "seed"), [*(("windows", seed) for seed in range(6)), *((kind, 0) for kind in EXACT)])
def test_stops_at_any_point_change_nothing_and_repeat_nothing(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], seed: int
) -> None:
    rng = random.Random(seed)
    for _ in range(6):
        scenario.run(stop_after=rng.randint(1, 8), seed=rng.randrange(100))
    scenario.run(seed=seed)
    assert_same(scenario, reference)
    assert len(scenario.records("out")) == N


def test_a_stop_while_a_checkpoint_is_copied_leaves_a_later_one_and_changes_nothing(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_segments_tiny(monkeypatch)
    copying = []
    with monkeypatch.context() as context:
        context.setattr(Copier, "go_on", lambda _, partitions: copying.append(Copier.busy(partitions)))
        scenario.run(stop_after=8)
    assert copying[-1]
    committed = scenario.mark()["offset"]
    assert committed > 25, "the one that was copied is an earlier one"
    assert scenario.manifests()[-1].name == f"manifest-{committed:020d}.json"
    again = scenario.run()
    assert again.value("streamrnn_replayed_records_total") == 0
    assert_same(scenario, reference)


@pytest.mark.parametrize("where", ["after send", "before flush", "before commit", "after commit", "after poll"])
@pytest.mark.parametrize(("kind", "seed"), [*(("windows", seed) for seed in range(3)), *((kind, 0) for kind in EXACT)])
def test_kills_at_any_point_lose_nothing_and_repeat_the_same_bytes(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], where: str, seed: int
) -> None:
    rng = random.Random(seed)
    when, method = where.split()
    for _ in range(5):
        hook = {method: nth(rng.randint(1, 60 if method == "send" else 6), KilledError())}
        with pytest.raises(KilledError):
            scenario.run(**{when: hook}, seed=rng.randrange(100))  # type: ignore[arg-type]
    scenario.run(seed=seed)
    assert_same(scenario, reference)


def test_a_replay_ends_at_the_committed_offset_in_the_middle_of_a_poll(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KilledError):
        scenario.run(before={"commit": nth(7, KilledError())}, checkpoint="interval_s: 3600")
    committed = scenario.mark()["offset"]
    assert 0 < committed < N
    monkeypatch.setattr(random.Random, "choice", lambda self, options: N)  # one poll for everything
    run = scenario.run(checkpoint="interval_s: 3600")
    assert run.value("streamrnn_replayed_records_total") == committed
    assert run.value("streamrnn_records_consumed_total") == N - committed
    assert run.value("streamrnn_inexact_replays_total") == 0
    assert_same(scenario, reference)


def test_a_kill_before_the_genesis_commit_starts_again(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    with pytest.raises(KilledError):
        scenario.run(before={"commit": nth(1, KilledError())})
    assert scenario.log.commits("j") == {}
    scenario.run()
    assert_same(scenario, reference)


def test_the_first_start_begins_at_the_earliest_or_the_latest_record(tmp_path: Path) -> None:
    for start, expected in (("earliest", [0, 1, 2, 3, 4, 5]), ("latest", [3, 4, 5])):
        scenario = Scenario(tmp_path / start, input=f"start: {start}")
        scenario.fill(3)
        scenario.run(stop_after=1)
        scenario.fill(3, seed=1)
        scenario.run()
        assert sorted(scenario.predictions()) == expected
        assert scenario.mark()["ordinal"] == len(expected)


# -- assignment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reassign", "lose"])
def test_partitions_that_leave_and_come_back_go_on_exactly(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    def turn(loop: Loop, broker: RebalancingBroker) -> None:
        polls.append(sorted(loop.partitions))
        n = len(polls)
        if n in (3, 9):
            broker.reassign([TP]) if how == "reassign" else broker.lose([SECOND])
        elif n in (6, 11):
            samples = [sample for family in loop.metrics.registry.collect() for sample in family.samples]
            assert {sample.labels["partition"] for sample in samples if "partition" in sample.labels} == {"0"}
            broker.reassign([TP, SECOND])

    polls: list[list[TopicPartition]] = []
    scenario = Scenario(tmp_path, partitions=2)
    scenario.fill(N)
    run = scenario.run(turn=turn)
    assert CHANGED not in caplog.text, "each commit was made under the membership of the newest poll"
    assert [TP] in polls
    assert [TP, SECOND] in polls

    undisturbed = Scenario(tmp_path / "undisturbed", partitions=2)
    undisturbed.fill(N)
    expected = undisturbed.run()
    for tp in (TP, SECOND):
        assert differing(run.learners[tp], expected.learners[tp]) == []
        assert scenario.predictions(tp.partition) == undisturbed.predictions(tp.partition)
    assert run.value("streamrnn_replayed_records_total", partition="0") == 0


def test_records_polled_for_a_former_assignment_are_not_given_to_its_successor(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    def leave_and_return(n: int) -> None:
        if n in (4, 9):
            inner = run_broker[0]
            inner.reassign([])
            inner.reassign([TP])

    run_broker: list[RebalancingBroker] = []
    scenario.run(turn=lambda loop, broker: run_broker.append(broker), after={"poll": leave_and_return})
    assert_same(scenario, reference)


def test_a_group_that_changes_while_a_partition_is_restored_is_waited_for(
    scenario: Scenario, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    run = scenario.run(before={"commit": lambda n: nth(n, RebalanceError("not now"))(n) if n <= 2 else None})
    assert run.ready[0] is False
    assert_same(scenario, reference)


def test_a_worker_is_ready_only_once_its_partition_has_caught_up(scenario: Scenario) -> None:
    _, committed = kill_behind_the_checkpoint(scenario)
    positions: list[int] = []
    run = scenario.run(turn=lambda loop, _: positions.append(loop.partitions[TP].position))
    assert positions[0] == 0
    assert False in run.ready
    for ready, position in zip(run.ready, positions, strict=True):
        assert ready == (position >= committed)


def test_a_worker_without_partitions_is_ready_once_the_group_has_answered(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: RebalancingBroker, tps: list[TopicPartition]) -> None:
        assert tps == [TP]
        self._events.append(NothingAssigned())

    monkeypatch.setattr(RebalancingBroker, "_assign", answer)
    run = scenario.run(stop_after=2)
    assert run.ready == [True, True]
    assert run.loop.partitions == {}


def test_a_gap_at_the_log_s_end_is_no_lag(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    def report_to(loop: Loop, _: RebalancingBroker) -> None:
        monkeypatch.setattr(loop.health, "progress", lambda tp, position, lag: reported.append(lag))

    reported: list[int | None] = []
    monkeypatch.setattr(streamrnn.daemon.loop, "SHOW_INTERVAL_S", 0.0)
    monkeypatch.setattr(streamrnn.daemon.loop, "PROBE_INTERVAL_S", 0.0)
    append_gap(scenario.log, "in", 0, 3)
    run = scenario.run(turn=report_to)
    assert run.value("streamrnn_input_lag_records") == 0
    assert (reported[0], reported[-1]) != (0, 3)
    assert reported[-1] == 0


def test_the_lag_of_a_partition_whose_end_cannot_be_asked_for_is_unknown(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that has lost its leader while other brokers answer: the client has heard of no newer end."""

    def leaderless(n: int) -> None:
        if 3 <= n < 6:
            raise BrokerError("NotLeaderForPartitionError")

    def look(loop: Loop, _: RebalancingBroker) -> None:
        shown = loop.metrics.registry.get_sample_value
        seen.append(shown("streamrnn_input_lag_records", {"topic": "in", "partition": "0"}))

    seen: list[float | None] = []
    monkeypatch.setattr(streamrnn.daemon.loop, "SHOW_INTERVAL_S", 0.0)
    monkeypatch.setattr(streamrnn.daemon.loop, "PROBE_INTERVAL_S", 0.0)
    run = scenario.run(turn=look, before={"log_end": leaderless})
    first, *others = [number for number, lag in enumerate(seen) if lag is None][-3:]
    assert others == [first + 1, first + 2]
    assert None not in seen[first + 3 :] and None not in seen[first - 2 : first]
    assert run.value("streamrnn_input_lag_records") == 0


def test_a_timestamp_from_the_future_is_not_given_to_the_prediction(tmp_path: Path) -> None:
    """A broker would refuse it, and with it the batch, for ever."""
    scenario = Scenario(tmp_path)
    scenario.append(b"s", b'{"y": 1.0}', 253_402_300_799_000)
    scenario.append(b"s", b'{"y": 1.0}', START_MS)
    scenario.run()
    stamps = [record.timestamp_ms for record in scenario.records("out")]
    assert START_MS < stamps[0] < 10_000_000_000_000
    assert stamps[1] == START_MS
    assert json.loads(scenario.records("out")[0].value or b"")["timestamp"] == 253_402_300_799_000
