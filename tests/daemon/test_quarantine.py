"""A record at which workers are lost is tried alone, then quarantined; all else is as if it had not been readable."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import streamrnn.daemon.delivery
import streamrnn.daemon.quarantine
from streamrnn.broker.protocol import Record
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.mark import Handed, Mark
from streamrnn.daemon.quarantine import SOLITARY_TRIES, lost_at
from streamrnn.errors import BrokerError, RecoveryError, UndeliveredError
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.learner.learner import Learner
from streamrnn.storage.manifest import DIGEST_END, KEPT_QUARANTINED, new_lineage
from tests.support.learners import Bits, differing
from tests.support.rebalancing import RebalancingBroker, delete_before
from tests.support.scenario import START_MS, TP, KilledError, Run, Scenario, nth

SELDOM = "interval_s: 3600, max_replay_records: 1000000"
POISON = b'{"a": 0.5, "b": {"c": "x"}, "y": 1.0, "poison": true}'
"""A record like any other, which the tests have end whoever reads it. See :func:`poisonous`."""
UNREADABLE = b"{poison"
"""What stands in its place in the log of the undisturbed run: it touches the learner no more than a quarantined one."""
STARTS = 25  # more than any test needs

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def poisonous(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """Whoever decodes a batch with the poison in it is killed; returns the offsets of every batch that was decoded."""
    decoded: list[list[int]] = []
    decode = RecordCodec.decode

    def deadly(codec: RecordCodec, records: Sequence[Record]) -> Decoded:
        decoded.append([record.offset for record in records])
        if any(record.value == POISON for record in records):
            raise KilledError
        return decode(codec, records)

    monkeypatch.setattr(RecordCodec, "decode", deadly)
    yield decoded


def filled(directory: Path, poison: Sequence[int], value: bytes, n: int = 120, **settings: Any) -> Scenario:
    """A log of good records with ``value`` at the offsets ``poison``."""
    scenario, rng = Scenario(directory, **settings), random.Random(1)
    for i in range(n):
        good = {"a": rng.gauss(0, 1), "b": {"c": rng.choice("xyz")}, "y": rng.gauss(0, 1)}
        content = value if i in poison else json.dumps(good).encode()
        scenario.log.append("in", b"s%d" % rng.randrange(9), content, timestamp_ms=START_MS + 1000 * i, partition=0)
    scenario.log.flush()
    return scenario


def survive(scenario: Scenario, by: type[BaseException] = KilledError, **options: Any) -> tuple[Run, int]:
    """Start it again and again until it reads to the end; returns that run, and how often it was killed before."""
    for killed in range(STARTS):
        try:
            return scenario.run(seed=killed, **options), killed
        except by:
            pass
    raise AssertionError(f"still being killed after {STARTS} starts, committed: {scenario.mark()}")


def letters(scenario: Scenario) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in scenario.records("dead")]


def undisturbed(scenario: Scenario, poison: Sequence[int], **settings: Any) -> tuple[Bits, dict[int, bytes]]:
    """State and predictions of a run whose log holds something unreadable in the poison's place."""
    whole = filled(scenario.directory.parent / "undisturbed", poison, UNREADABLE, **settings)
    run = whole.run()
    return run.learners[TP], whole.predictions()


@pytest.mark.usefixtures("poisonous")
@pytest.mark.parametrize("poison", [[0], [57], [119], [40, 41, 42], [3, 60, 90]])
def test_a_record_that_kills_is_quarantined_and_all_else_is_as_if_it_could_not_be_read(
    tmp_path: Path, poison: list[int]
) -> None:
    scenario = filled(tmp_path / "job", poison, POISON)
    run, killed = survive(scenario)
    assert killed <= len(poison) * (SOLITARY_TRIES + 3)
    assert [letter["offset"] for letter in letters(scenario)] == poison
    assert {letter["reason"] for letter in letters(scenario)} == {"quarantined"}
    state, predictions = undisturbed(scenario, poison)
    assert differing(run.learners[TP], state) == []
    assert differing(scenario.saved(), state) == []
    assert scenario.predictions() == predictions
    times = Counter(json.loads(record.value or b"")["offset"] for record in scenario.records("out"))
    assert max(times.values()) <= 3
    assert scenario.mark()["handed"] is None
    # After that, it is a worker like any other.
    scenario.run()
    assert len(letters(scenario)) == len(poison)


def test_the_record_is_tried_alone_before_it_is_given_up(tmp_path: Path, poisonous: list[list[int]]) -> None:
    scenario = filled(tmp_path / "job", [57], POISON)
    _, killed = survive(scenario)
    deadly = [batch for batch in poisonous if 57 in batch]
    assert len(deadly) == killed
    assert deadly[-SOLITARY_TRIES:] == [[57]] * SOLITARY_TRIES
    assert all(len(batch) > 1 for batch in deadly[:-SOLITARY_TRIES])


@pytest.mark.usefixtures("poisonous")
def test_the_dead_letter_tells_what_happened_and_holds_the_record_unread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenario = filled(tmp_path / "job", [57], POISON)
    run, _ = survive(scenario)
    (letter,) = letters(scenario)
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("in", 0, 57)
    assert letter["timestamp"] == START_MS + 57_000
    assert f"lost {SOLITARY_TRIES} times" in letter["detail"] and "Produce it again" in letter["detail"]
    assert letter["value_encoding"] == letter["key_encoding"] == "base64"
    assert base64.b64decode(letter["value"]) == POISON
    assert run.value("streamrnn_dead_letters_total", reason="quarantined") == 1
    assert run.value("streamrnn_records_consumed_total") == 120 - 57
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and "quarantined" in r.getMessage()]
    assert "in/0: the record at offset 57" in line


# -- whatever it is that ends the worker ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KilledError, MemoryError, RecursionError])
@pytest.mark.parametrize("where", ["decode", "process", "encode_block"])
def test_it_does_not_matter_which_step_a_record_kills_nor_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: type[BaseException]
) -> None:
    owner: Any = {"decode": RecordCodec, "process": Learner, "encode_block": PredictionEncoder}[where]
    step = getattr(owner, where)

    def deadly(self: Any, first: Any, *rest: Any) -> Any:
        keys = [r.key for r in first] if where == "decode" else (first if where == "process" else first.block).keys
        if b"deadly" in keys:
            raise error
        return step(self, first, *rest)

    monkeypatch.setattr(owner, where, deadly)
    scenario = Scenario(tmp_path / "job")
    scenario.fill(30)
    scenario.append(b"deadly", POISON, START_MS + 40_000)
    scenario.fill(30, seed=1)
    survive(scenario, by=error)
    assert [(letter["offset"], letter["reason"]) for letter in letters(scenario)] == [(30, "quarantined")]
    assert sorted(scenario.predictions()) == [*range(30), *range(31, 61)]


def test_a_batch_that_is_too_much_as_a_whole_passes_record_by_record_and_none_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = RecordCodec.decode

    def deadly(codec: RecordCodec, records: Sequence[Record]) -> Decoded:
        if len(records) > 20:
            raise MemoryError
        return decode(codec, records)

    scenario = filled(tmp_path / "job", [], POISON)
    state, predictions = undisturbed(scenario, [])
    monkeypatch.setattr(RecordCodec, "decode", deadly)
    run, killed = survive(scenario, by=MemoryError)
    assert killed > 1
    assert letters(scenario) == []
    assert differing(run.learners[TP], state) == []
    assert scenario.predictions() == predictions


def test_a_record_that_costs_a_worker_its_place_is_sent_nowhere_but_to_the_dead_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = RecordCodec.decode

    def slow(codec: RecordCodec, records: Sequence[Record]) -> Decoded:
        if any(record.value == POISON for record in records):
            thrown_out.append(len(records))
            inner[0].lose([TP])
            inner[0].reassign([TP])
        return decode(codec, records)

    monkeypatch.setattr(RecordCodec, "decode", slow)
    monkeypatch.setattr(streamrnn.daemon.quarantine.Caution, "_asks_after_s", property(lambda _: 0.0))
    inner: list[RebalancingBroker] = []
    thrown_out: list[int] = []
    scenario = filled(tmp_path / "job", [57], POISON)
    run = scenario.run(turn=lambda _, broker: inner.append(broker))
    assert thrown_out[-SOLITARY_TRIES:] == [1] * SOLITARY_TRIES
    assert thrown_out[0] > 1
    assert [letter["offset"] for letter in letters(scenario)] == [57]
    state, predictions = undisturbed(scenario, [57])
    assert differing(run.learners[TP], state) == []
    assert scenario.predictions() == predictions
    sent = Counter(json.loads(record.value or b"")["offset"] for record in scenario.records("out"))
    assert max(sent.values()) <= 2


@pytest.mark.usefixtures("poisonous")
def test_a_partition_beside_it_loses_no_record_and_each_has_its_own_tries(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "job", partitions=3)
    scenario.fill(120)
    for partition in (0, 1):
        scenario.append(b"s%d" % partition, POISON, START_MS + 130_000, partition)
    scenario.fill(60, seed=1)
    survive(scenario)
    found = {p: [json.loads(r.value or b"")["reason"] for r in scenario.records("dead", p)] for p in range(3)}
    assert found == {0: ["quarantined"], 1: ["quarantined"], 2: []}
    for p in range(3):
        poison = [r.offset for r in scenario.records("in", p) if r.value == POISON]
        assert sorted(scenario.predictions(p)) == [
            r.offset for r in scenario.records("in", p) if r.offset not in poison
        ]


@pytest.mark.usefixtures("poisonous")
def test_it_is_found_behind_records_that_compaction_took_since(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [80], POISON, checkpoint=SELDOM)
    lost_in_the_first_batch(scenario)
    mark = scenario.mark()
    assert mark["handed"]["until"] <= 80
    path = scenario.directory / "log" / "topics" / "in" / "0.jsonl"
    kept = [
        line if not mark["offset"] <= json.loads(line)["offset"] < 80 else b'{"offset":%d,"gap":true}\n' % offset
        for offset, line in enumerate(path.read_bytes().splitlines(keepends=True))
    ]
    path.write_bytes(b"".join(kept))
    survive(scenario)
    assert [letter["offset"] for letter in letters(scenario)] == [80]


def test_while_the_group_rebalances_no_record_is_tried_alone(tmp_path: Path) -> None:
    def turn(_: Loop, broker: RebalancingBroker) -> None:
        polls.append(scenario.mark()["offset"])
        if len(polls) == 2:
            broker.begin_rebalance()
        if len(polls) == 9:
            broker.reassign([TP])

    polls: list[int] = []
    scenario = filled(tmp_path / "job", [], POISON, checkpoint=SELDOM)
    lost_in_the_first_batch(scenario)
    run = scenario.run(turn=turn)
    assert len(set(polls[2:9])) == 1
    assert differing(run.learners[TP], undisturbed(scenario, [])[0]) == []
    offsets = [json.loads(record.value or b"")["offset"] for record in scenario.records("out")]
    assert max(Counter(offsets).values()) <= 2


# -- what is no reason to give a record up ----------------------------------------------------------------------------


def lost_in_the_first_batch(scenario: Scenario) -> None:
    """A worker is lost after some records were handed over, and before anything is committed behind them."""
    scenario.run(stop_after=3)
    calls: list[int] = []

    def kill(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KilledError

    with pytest.raises(KilledError):
        scenario.run(before={"commit": kill})
    assert scenario.mark()["handed"]["until"] > scenario.mark()["offset"]


@pytest.mark.parametrize("fails", ["flush", "commit"])
def test_a_broker_that_does_not_take_outputs_or_offsets_condemns_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(streamrnn.daemon.delivery, "ATTEMPTS", 1)
    scenario = filled(tmp_path / "job", [], POISON)
    lost_in_the_first_batch(scenario)

    def away(n: int) -> None:
        if fails == "flush":
            raise UndeliveredError("no leader for the output topic")
        if n == 2:  # the first is the mark before the record, the third takes it back
            raise BrokerError("no answer")

    for _ in range(3 * SOLITARY_TRIES):
        with pytest.raises(BrokerError):
            scenario.run(before={fails: away})
    run = scenario.run()
    assert letters(scenario) == []
    assert differing(run.learners[TP], undisturbed(scenario, [])[0]) == []


def test_while_the_commit_that_marks_a_record_fails_nothing_is_tried(
    tmp_path: Path, poisonous: list[list[int]]
) -> None:
    scenario = filled(tmp_path / "job", [], POISON)
    lost_in_the_first_batch(scenario)
    poisonous.clear()

    def away(_: int) -> None:
        raise BrokerError("no coordinator")

    for _ in range(3 * SOLITARY_TRIES):
        with pytest.raises(BrokerError):
            scenario.run(before={"commit": away}, checkpoint="interval_s: 3600, max_replay_records: 1")
    assert poisonous == []
    scenario.run()
    assert letters(scenario) == []


@pytest.mark.parametrize("seed", range(4))
def test_kills_that_have_nothing_to_do_with_records_condemn_none(tmp_path: Path, seed: int) -> None:
    scenario = filled(tmp_path / "job", [], POISON)
    rng = random.Random(seed)
    for _ in range(25):
        n, calls = rng.randint(1, 12), []

        def kill(_: int, n: int = n, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) == n:
                raise KilledError

        with contextlib.suppress(KilledError):
            scenario.run(**{rng.choice(("before", "after")): dict.fromkeys(("poll", "commit", "flush"), kill)}, seed=n)
    run = scenario.run()
    assert letters(scenario) == []
    state, predictions = undisturbed(scenario, [])
    assert differing(run.learners[TP], state) == []
    assert scenario.predictions() == predictions


def test_a_partition_without_records_collects_no_marks(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [], POISON)
    scenario.run()
    before = scenario.mark()
    for _ in range(5):
        with pytest.raises(KilledError):
            scenario.run(after={"poll": nth(1, KilledError())})
        assert scenario.mark() == before
    assert before["handed"] is None


def test_in_ordinary_running_a_restore_costs_one_commit_and_a_batch_none(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [], POISON)
    run = scenario.run(checkpoint="interval_s: 3600")
    batches = run.broker.calls["flush"]
    assert run.broker.calls["commit"] == batches + 2  # one begins the lineage, one marks the first batch


# -- recovery ---------------------------------------------------------------------------------------------------------


def quarantined_at(tmp_path: Path, *poison: int, **settings: Any) -> Scenario:
    scenario = filled(tmp_path / "job", poison, POISON, checkpoint=SELDOM, **settings)
    survive(scenario)
    assert [letter["offset"] for letter in letters(scenario)] == list(poison)
    return scenario


def damage_beyond(scenario: Scenario, position: int) -> int:
    newer = [path for path in scenario.manifests() if int(path.stem.split("-")[1]) > position]
    for path in newer:
        path.write_bytes(path.read_bytes()[:-9])
    assert len(newer) < len(scenario.manifests())
    return len(newer)


@pytest.mark.usefixtures("poisonous")
def test_a_replay_from_before_it_passes_over_it_with_the_same_ordinal_and_digest(tmp_path: Path) -> None:
    scenario = quarantined_at(tmp_path, 57)
    assert damage_beyond(scenario, 57) >= 2
    run = scenario.run()
    assert run.value("streamrnn_replayed_records_total") == 120
    assert run.value("streamrnn_inexact_replays_total") == 0
    assert differing(run.learners[TP], undisturbed(scenario, [57])[0]) == []
    assert len(letters(scenario)) == 1
    assert scenario.mark()["quarantined"] == [57]


@pytest.mark.usefixtures("poisonous")
def test_a_checkpoint_follows_it_so_that_no_restart_replays_over_it(tmp_path: Path) -> None:
    scenario = quarantined_at(tmp_path, 57)
    assert any(path.name == f"manifest-{58:020d}.json" for path in scenario.manifests())


@pytest.mark.usefixtures("poisonous")
def test_checkpoints_tell_of_it_where_the_offsets_were_lost(tmp_path: Path) -> None:
    scenario = quarantined_at(tmp_path, 57)
    (scenario.directory / "log" / "groups" / "j.json").unlink()
    scenario.run()
    assert scenario.mark()["quarantined"] == [57]
    damage_beyond(scenario, 57)
    run = scenario.run()
    assert run.value("streamrnn_replayed_records_total") == 120
    assert differing(run.learners[TP], undisturbed(scenario, [57])[0]) == []


@pytest.mark.usefixtures("poisonous")
def test_another_worker_that_gets_the_partition_passes_over_it(tmp_path: Path) -> None:
    def turn(_: Loop, broker: RebalancingBroker) -> None:
        polls.append(1)
        if len(polls) == 8:
            broker.lose([TP])
        if len(polls) == 10:
            broker.reassign([TP])

    polls: list[int] = []
    scenario = quarantined_at(tmp_path, 57)
    damage_beyond(scenario, 57)
    run = scenario.run(turn=turn)
    assert run.value("streamrnn_inexact_replays_total") == 0
    assert differing(run.learners[TP], undisturbed(scenario, [57])[0]) == []


@pytest.mark.usefixtures("poisonous")
def test_it_is_given_up_behind_a_gap_too(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [57], POISON, checkpoint=f"{SELDOM}, on_gap: continue")
    scenario.run(stop_after=2)
    committed = scenario.mark()["offset"]
    assert 0 < committed < 50
    delete_before(scenario.log, TP, committed + 3)
    survive(scenario)
    assert [letter["offset"] for letter in letters(scenario)] == [57]
    assert sorted(scenario.predictions()) == [*range(committed), *range(committed + 3, 57), *range(58, 120)]


@pytest.mark.usefixtures("poisonous")
def test_tries_are_counted_across_a_change_of_settings(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [57], POISON)
    killed = 0
    while not letters(scenario) and killed < STARTS:
        killed += 1
        with contextlib.suppress(KilledError):
            scenario.run(seed=killed, streams=f"{{max_streams: {6 + killed % 2}}}")
    assert [letter["offset"] for letter in letters(scenario)] == [57]


# -- replays ----------------------------------------------------------------------------------------------------------


def committed_and_never_checkpointed(directory: Path, poison: int) -> Scenario:
    """A job that has learned a record, which a replay has to learn again."""
    scenario = filled(directory, [poison], POISON, checkpoint=SELDOM)
    with pytest.raises(KilledError):
        scenario.run(before={"poll": nth(5, KilledError())})
    assert poison < scenario.mark()["offset"]
    return scenario


@pytest.mark.parametrize("together", [7, 500])
@pytest.mark.parametrize("poison", [0, 33])
def test_a_record_that_kills_only_in_a_replay_is_quarantined_and_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, poison: int, together: int
) -> None:
    monkeypatch.setattr(streamrnn.daemon.quarantine, "REPLAYED_TOGETHER", together)
    scenario = committed_and_never_checkpointed(tmp_path / "job", poison)
    committed, lineage = scenario.mark()["offset"], scenario.mark()["lineage"]
    request.getfixturevalue("poisonous")  # from now on
    killed = 0
    with pytest.raises(RecoveryError, match=rf"not replayed: offsets {poison}\. Set checkpoint.on_inexact: continue"):
        while killed < STARTS:
            killed += 1
            with contextlib.suppress(KilledError):
                scenario.run(seed=killed)
    assert killed <= SOLITARY_TRIES + 4
    assert [(letter["offset"], letter["reason"]) for letter in letters(scenario)] == [(poison, "quarantined")]
    assert (scenario.mark()["offset"], scenario.mark()["quarantined"]) == (committed, [poison])
    run = scenario.run(checkpoint=f"{SELDOM}, on_inexact: continue")
    assert run.value("streamrnn_inexact_replays_total") == 1
    assert scenario.mark()["lineage"] != lineage
    assert sorted(scenario.predictions()) == list(range(120))
    assert len(letters(scenario)) == 1


def test_a_replay_that_is_killed_for_other_reasons_stays_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streamrnn.daemon.quarantine, "REPLAYED_TOGETHER", 3)
    for seed in range(3):
        scenario = committed_and_never_checkpointed(tmp_path / str(seed) / "job", 33)
        committed, rng = scenario.mark()["offset"], random.Random(seed)
        for n in range(12):
            with contextlib.suppress(KilledError):
                scenario.run(after={"commit": nth(rng.randint(1, 12) if n else 1, KilledError())}, seed=n)
        run = scenario.run()
        assert "repeated in parts" in caplog.text
        caplog.clear()
        assert letters(scenario) == []
        assert run.value("streamrnn_inexact_replays_total") == 0
        assert committed <= scenario.mark()["offset"] == 120
        whole = filled(tmp_path / str(seed) / "whole", [33], POISON)
        assert differing(run.learners[TP], whole.run().learners[TP]) == []


@pytest.mark.usefixtures("poisonous")
def test_a_record_that_kills_behind_a_replay_is_found_however_long_that_is(tmp_path: Path) -> None:
    scenario = filled(tmp_path / "job", [110], POISON, checkpoint=SELDOM)
    survive(scenario)
    assert [letter["offset"] for letter in letters(scenario)] == [110]
    assert differing(scenario.saved(), undisturbed(scenario, [110], checkpoint=SELDOM)[0]) == []


# -- the rule ---------------------------------------------------------------------------------------------------------


def test_a_mark_fits_into_what_brokers_take_as_metadata() -> None:
    largest = 2**63 - 1
    offsets = tuple(largest - KEPT_QUARANTINED + i for i in range(KEPT_QUARANTINED))
    handed, replayed = Handed(largest, largest, 9), Handed(largest, largest, 9, largest)
    mark = Mark(new_lineage(), largest, DIGEST_END - 1, 100_000, 100_000, handed, offsets, replayed)
    assert len(mark.to_metadata()) <= 4096
    assert Mark.from_metadata(mark.to_metadata()) == mark


def test_a_mark_without_any_of_this_says_that_nothing_was_handed_over() -> None:
    earlier = '{"lineage":"a","ordinal":3,"digest":5,"partitions":1,"began_with":1}'
    assert Mark.from_metadata(earlier) == Mark("a", 3, 5, 1, 1, None, ())


def test_losses_are_those_of_one_offset() -> None:
    handed = Handed(until=40, alone=17, tries=2)
    assert [lost_at(handed, 17), lost_at(handed, 18), lost_at(Handed(40), 17), lost_at(None, 17)] == [2, 0, 0, 0]
