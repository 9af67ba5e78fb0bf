"""Deaths, stops and outages that no record is to blame for: what was in hand is taken back, and none is given up."""

from __future__ import annotations

import contextlib
import json
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import streamrnn.daemon.delivery
from streamrnn.broker.protocol import Commit, Membership, Record, TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.quarantine import SOLITARY_TRIES
from streamrnn.errors import BrokerError, RecoveryError, UndeliveredError
from streamrnn.job.codec.records import Decoded, RecordCodec
from tests.support.learners import differing
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import START_MS, TP, KilledError, Scenario, nth

SELDOM = "interval_s: 3600, max_replay_records: 1000000"
POISON = b'{"a": 0.5, "b": {"c": "x"}, "y": 1.0, "poison": true}'
SECOND = TopicPartition("in", 1)
STARTS = 25

pytestmark = pytest.mark.usefixtures("no_pauses")


def filled(directory: Path, n: int, poison: Sequence[int] = (), partitions: int = 1) -> Scenario:
    """A log with ``n`` records in partition 0, and no checkpoint but the first."""
    scenario = Scenario(directory, partitions=partitions, checkpoint=SELDOM)
    append(scenario, n, 0, poison)
    return scenario


def append(scenario: Scenario, n: int, partition: int, poison: Sequence[int] = ()) -> None:
    rng = random.Random(1)
    for i in range(n):
        good = json.dumps({"a": rng.gauss(0, 1), "b": {"c": "x"}, "y": rng.gauss(0, 1)}).encode()
        value = POISON if i in poison else good
        scenario.log.append("in", b"s%d" % (i % 5), value, timestamp_ms=START_MS + 1000 * i, partition=partition)
    scenario.log.flush()


def committed_and_killed(scenario: Scenario, at: int) -> None:
    """All of partition 0 is committed, and its worker is killed before it has written a checkpoint."""

    def turn(loop: Loop, _: RebalancingBroker) -> None:
        if TP in loop.partitions and loop.partitions[TP].committed == at:
            raise KilledError

    with pytest.raises(KilledError):
        scenario.run(turn=turn)


def poison_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on whoever decodes one is killed."""
    decode = RecordCodec.decode

    def deadly(codec: RecordCodec, records: Sequence[Record]) -> Decoded:
        if any(record.value == POISON for record in records):
            raise KilledError
        return decode(codec, records)

    monkeypatch.setattr(RecordCodec, "decode", deadly)


def letters(scenario: Scenario, partition: int = 0) -> list[int]:
    found = [json.loads(record.value or b"") for record in scenario.records("dead", partition)]
    assert {letter["reason"] for letter in found} <= {"quarantined"}
    return [letter["offset"] for letter in found]


# -- replays ----------------------------------------------------------------------------------------------------------


def test_behind_a_replay_that_succeeded_the_commit_says_of_none_for_one_commit_more(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 60)
    committed_and_killed(scenario, 60)
    before = scenario.mark()
    run = scenario.run()
    assert scenario.mark() == before
    assert before["replayed"] is None
    assert run.value("streamrnn_replayed_records_total") == 60
    assert run.broker.calls["commit"] == 2  # that there is a replay, and that there was


def test_kills_while_nothing_is_in_hand_condemn_none(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 60)
    committed_and_killed(scenario, 60)
    before = scenario.mark()
    for _ in range(3 * SOLITARY_TRIES):
        caught_up: list[bool] = []

        def turn(loop: Loop, _: RebalancingBroker, caught_up: list[bool] = caught_up) -> None:
            caught_up += [p.caught_up for p in loop.partitions.values()]
            if any(caught_up):
                raise KilledError

        with pytest.raises(KilledError):
            scenario.run(turn=turn, seed=1)
        assert scenario.mark() == before
    assert letters(scenario) == []


@pytest.mark.parametrize("poison", [[10], [10, 15], [10, 15, 20]])
def test_a_neighbours_poison_condemns_no_record_of_a_partition_that_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: list[int]
) -> None:
    scenario = filled(tmp_path / "job", 60, partitions=2)
    committed_and_killed(scenario, 60)
    append(scenario, 30, 1, poison)
    poison_records(monkeypatch)

    def first_is_replayed_before_the_second(loop: Loop, broker: RebalancingBroker) -> None:
        first = loop.partitions.get(TP)
        if SECOND in loop.partitions and SECOND not in loop._held:
            (broker.resume if first is not None and first.caught_up else broker.pause)([SECOND])

    for start in range(STARTS):
        with contextlib.suppress(KilledError):
            scenario.run(seed=start, turn=first_is_replayed_before_the_second)
            break
        assert scenario.mark()["replayed"] is None
    assert (letters(scenario, 0), letters(scenario, 1)) == ([], poison)


@pytest.mark.parametrize("careful", [False, True])
def test_orderly_stops_in_a_replay_are_no_losses(tmp_path: Path, careful: bool) -> None:
    scenario = filled(tmp_path / "job", 200)
    committed_and_killed(scenario, 200)
    if careful:  # a worker is lost in the first part
        with pytest.raises(KilledError):
            scenario.run(after={"commit": nth(1, KilledError())})

    def stop(loop: Loop, _: RebalancingBroker) -> None:
        if loop.partitions[TP].replaying and loop.partitions[TP].position > 50:
            loop.stop.set()

    for _ in range(3 * SOLITARY_TRIES):
        scenario.run(turn=lambda loop, broker: stop(loop, broker) if TP in loop.partitions else None, seed=1)
        says = scenario.mark()["replayed"]
        if careful:  # up to there it is known to be harmless, and nothing is known to be harmful
            assert says is None or (says["tries"] == 0 and says["alone"] == -1 and says["until"] == says["since"] > 50)
        else:
            assert says is None
    run = scenario.run()
    assert letters(scenario) == []
    assert scenario.mark()["replayed"] is None
    assert differing(run.learners[TP], filled(tmp_path / "whole", 200).run().learners[TP]) == []


def test_a_partition_given_up_in_its_replay_is_not_lost(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 200, partitions=2)
    committed_and_killed(scenario, 200)
    said: list[object] = []

    def turn(loop: Loop, broker: RebalancingBroker) -> None:
        if TP in loop.partitions and loop.partitions[TP].replaying and loop.partitions[TP].position > 50 and not said:
            said.append(scenario.mark()["replayed"])
            broker.reassign([SECOND])

    scenario.run(turn=turn, seed=1)
    assert said == [{"until": 200, "alone": -1, "tries": 0, "since": -1}]
    assert scenario.mark()["replayed"] is None


# -- live records -----------------------------------------------------------------------------------------------------


class Timed(RebalancingBroker):
    """One that, like a real one, answers nothing in no time."""

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        if timeout_s < 0.1:
            raise BrokerError(f"commit was not answered within {timeout_s:g} s")
        super().commit(offsets, membership, timeout_s)


def test_stops_during_an_outage_of_the_output_topic_condemn_none(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 120)
    scenario.run(stop_after=3)
    before = scenario.mark()
    with pytest.raises(KilledError):
        scenario.run(after={"commit": nth(1, KilledError())}, broker=Timed)
    lost = scenario.mark()
    assert lost["handed"]["until"] > lost["offset"] == before["offset"]
    loops: list[Loop] = []

    def away(_: int) -> None:
        loops[-1].stop.set()  # a deployment, while the flush waits ...
        loops[-1]._stopped_at = loops[-1].clock() - 10_000  # ... which takes all the time there is
        raise UndeliveredError("outputs were not acknowledged")

    for _ in range(3 * SOLITARY_TRIES):
        with pytest.raises(BrokerError):
            scenario.run(before={"flush": away}, turn=lambda loop, _: loops.append(loop), broker=Timed)
        assert scenario.mark() == lost
    scenario.run(broker=Timed)
    assert letters(scenario) == []


def test_a_first_batch_that_the_broker_did_not_take_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamrnn.daemon.delivery, "ATTEMPTS", 1)
    scenario = filled(tmp_path / "job", 120)
    scenario.run(stop_after=3)
    before = scenario.mark()
    with pytest.raises(BrokerError):
        scenario.run(before={"flush": nth(1, UndeliveredError("no leader"))})
    assert scenario.mark() == before


def test_time_is_kept_for_it_while_something_is_in_hand(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 120)
    left: list[float] = []

    def flush(_: int) -> None:
        loop = loops[-1]
        loop.stop.set()
        loop._stopped_at, loop.clock = 0.0, lambda: 0.0
        left.append(loop._time_left())

    loops: list[Loop] = []
    run = scenario.run(before={"flush": flush}, turn=lambda loop, _: loops.append(loop))
    whole = run.loop.job.config.shutdown_timeout_s
    assert left == [pytest.approx(0.8 * whole)]
    assert run.loop._time_left() == pytest.approx(0.9 * whole)


def test_a_try_whose_commit_a_rebalance_refused_is_taken_back_on_a_stop(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", 120)
    scenario.run(stop_after=3)
    with pytest.raises(KilledError):
        scenario.run(after={"commit": nth(1, KilledError())})
    lost = scenario.mark()

    class Unsettled(RebalancingBroker):
        """The group changes while a record is tried, and does not come to rest; what is in hand can be taken back."""

        tries = 0

        def commit(self, offsets: Mapping[TopicPartition, Commit], membership: object, timeout_s: float) -> None:  # noqa: ARG002
            self.tries += 1
            if any(offset.offset > lost["offset"] for offset in offsets.values()):
                self.begin_rebalance()
            self._stable = self._stable or self.tries > 2
            super().commit(offsets, self._membership(), timeout_s)

        def poll(self, timeout_s: float, max_records: int) -> object:  # type: ignore[override]
            return super().poll(timeout_s, max_records)._replace(stable=self.tries < 2)

    scenario.run(broker=Unsettled, turn=lambda loop, broker: loop.stop.set() if broker.tries >= 2 else None)  # type: ignore[attr-defined]
    assert scenario.mark() == lost


def test_the_first_batch_waits_for_the_group_to_be_stable(tmp_path: Path) -> None:
    positions: list[int] = []

    def turn(loop: Loop, broker: RebalancingBroker) -> None:
        positions.append(loop.partitions[TP].position if TP in loop.partitions else -1)
        if len(positions) == 1:
            broker.begin_rebalance()
        if len(positions) == 8:
            broker.reassign([TP])

    scenario = filled(tmp_path / "job", 60)
    scenario.run(stop_after=2)
    committed = scenario.mark()["offset"]
    scenario.run(turn=turn)
    assert positions[1:8] == [committed] * 7
    assert sorted(scenario.predictions()) == list(range(60))


# -- what is given up -------------------------------------------------------------------------------------------------


def test_a_quarantine_is_told_of_once_its_commit_is_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streamrnn.daemon.delivery, "ATTEMPTS", 1)
    poison_records(monkeypatch)
    scenario = filled(tmp_path / "job", 30, [0])
    for start in range(STARTS):
        if scenario.log.commits("j") and (scenario.mark()["handed"] or {}).get("tries") == SOLITARY_TRIES:
            break
        with contextlib.suppress(KilledError):
            scenario.run(seed=start)
    caplog.set_level(logging.ERROR)
    for _ in range(3):
        with pytest.raises(UndeliveredError):
            scenario.run(before={"flush": nth(1, UndeliveredError("no leader"))})
    assert "quarantined" not in caplog.text
    run = scenario.run()
    assert run.value("streamrnn_dead_letters_total", reason="quarantined") == 1
    assert caplog.text.count("quarantined") == 1


def test_a_quarantined_record_costs_a_later_replay_no_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = filled(tmp_path / "job", 60, [33])
    committed_and_killed(scenario, 60)
    poison_records(monkeypatch)
    for start in range(STARTS):
        try:
            scenario.run(seed=start)
        except KilledError:
            continue
        except RecoveryError:
            break
    assert letters(scenario) == [33]
    said: list[int] = []

    def watch(_: int) -> None:
        said.append((scenario.mark()["replayed"] or {}).get("alone", -1))

    for n in range(1, 9):
        with contextlib.suppress(KilledError, RecoveryError):
            scenario.run(after={"commit": lambda k, n=n: (watch(k), nth(n, KilledError())(k))})
    assert 33 not in said
    assert letters(scenario) == [33]
