"""What else can happen to events that wait: refused outputs, quarantine, lost offsets, a gap, changed settings."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import streamrnn.daemon.delivery
from streamrnn.broker.protocol import Record
from streamrnn.errors import FingerprintMismatch
from streamrnn.job.codec.records import Decoded, RecordCodec
from tests.support.learners import differing
from tests.support.lookahead_jobs import LookaheadScenario, Message, events, lookahead_job
from tests.support.rebalancing import delete_before
from tests.support.refusing import RefusingBroker, at_most
from tests.support.scenario import TP, KilledError, nth

MESSAGES = events(160)
JOB = lookahead_job()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamrnn.daemon.delivery, "FIRST_PAUSE_S", 0.001)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LookaheadScenario:
    made = LookaheadScenario(tmp_path_factory.mktemp("whole"), JOB, MESSAGES)
    made.run()
    return made


def letters(made: LookaheadScenario) -> dict[int, dict[str, object]]:
    found = [json.loads(record.value or b"") for record in made.records("dead")]
    assert len({letter["offset"] for letter in found}) == len(found)
    return {letter["offset"]: letter for letter in found}


def test_a_refused_prediction_becomes_a_dead_letter_with_its_event_s_own_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: LookaheadScenario
) -> None:
    sizes = {offset: len(value) for offset, value in whole.predictions().items()}
    limit = sorted(sizes.values())[-4]
    monkeypatch.setattr(RefusingBroker, "rules", {"out": at_most(limit + 2)})
    made = LookaheadScenario(tmp_path, JOB, MESSAGES)
    made.run(broker=RefusingBroker)
    refused = {offset for offset, size in sizes.items() if size + 2 > limit + 2}
    assert refused
    found = letters(made)
    assert {offset for offset, letter in found.items() if letter["reason"] == "undeliverable"} == refused
    for offset in refused:
        assert (found[offset]["key"], found[offset]["timestamp"]) == (
            MESSAGES[offset].key.decode(),
            MESSAGES[offset].time_ms,
        )
        assert json.loads(str(found[offset]["value"])) == json.loads(whole.predictions()[offset])
    assert made.predictions() == {o: v for o, v in whole.predictions().items() if o not in refused}
    assert differing(made.saved(), whole.saved()) == []


def test_a_record_at_which_workers_are_lost_is_quarantined_while_events_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = b'{"a": 1, "y": 1, "end": true, "poison": 1}'
    messages = [*MESSAGES[:50], Message(b"s0", poison, MESSAGES[49].time_ms), *MESSAGES[50:]]
    unreadable = [m._replace(value=b"{") if m.value == poison else m for m in messages]
    reference = LookaheadScenario(tmp_path / "reference", JOB, unreadable)
    reference.run()
    decode = RecordCodec.decode

    def deadly(codec: RecordCodec, records: list[Record]) -> Decoded:
        if any(record.value == poison for record in records):
            raise KilledError
        return decode(codec, records)

    monkeypatch.setattr(RecordCodec, "decode", deadly)
    made = LookaheadScenario(tmp_path / "made", JOB, messages)
    for seed in range(25):
        try:
            made.run(seed=seed)
            break
        except KilledError:
            continue
    assert letters(made)[50]["reason"] == "quarantined"
    assert made.predictions() == reference.predictions()
    assert made.mark()["digest"] == reference.mark()["digest"]


def test_when_learning_starts_anew_it_is_said_how_many_events_waited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = LookaheadScenario(tmp_path, JOB, MESSAGES[:60])
    run = made.run()
    waited = int(run.value("streamrnn_waiting_events"))
    assert waited > 0
    (made.directory / "log" / "groups" / "j.json").unlink()  # as a broker does to a group that was away for a week
    made.policy = {"on_lost_offsets": "restart"}
    with caplog.at_level(logging.WARNING):
        made.run()
    assert f"{waited} events waited in what was learned for those behind them; nothing will be predicted" in caplog.text


def test_after_a_gap_it_is_said_how_many_events_waited_in_the_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = LookaheadScenario(tmp_path, JOB, MESSAGES, checkpoint_each=40)
    with pytest.raises(KilledError):
        made.run(before={"poll": nth(9, KilledError())})
    manifest = json.loads(made.manifests()[-1].read_text())
    position, waited = manifest["progress"]["position"], manifest["progress"]["counters"]["waiting"]
    assert waited > 0
    delete_before(made.log, TP, position + 5)
    made.policy = {"on_gap": "continue"}
    with caplog.at_level(logging.WARNING):
        made.run()
    assert f"{waited} events wait in the checkpoint for those behind them" in caplog.text
    found = [json.loads(record.value or b"")["offset"] for record in made.records("out")]
    assert max(found) > position + 5


def test_settings_that_may_change_are_taken_up_while_events_wait(tmp_path: Path, whole: LookaheadScenario) -> None:
    found = []
    for seed in (1, 2):
        made = LookaheadScenario(tmp_path / str(seed), JOB, MESSAGES)
        with pytest.raises(KilledError):
            made.run(before={"poll": nth(5, KilledError())})
        until = made.mark()["offset"]
        made.of = lookahead_job(learning="{k1: 3, k2: 9}", model="huber_delta: 2.0")
        run = made.run(seed=seed)
        assert run.value("streamrnn_inexact_replays_total") == 0
        came = [json.loads(record.value or b"")["offset"] for record in made.records("out")]
        assert sorted(set(came)) == sorted(whole.predictions())
        assert 0 < until < len(MESSAGES)
        found.append(made.predictions())
    assert found[0] == found[1]
    assert found[0] != whole.predictions()


def test_how_far_it_looks_ahead_cannot_be_changed_once_it_has_learned(tmp_path: Path) -> None:
    made = LookaheadScenario(tmp_path, JOB, MESSAGES[:40])
    made.run()
    made.of = lookahead_job(lookahead=5)
    with pytest.raises(FingerprintMismatch, match=r"model.lookahead: 3 -> 5.*events that wait"):
        made.run()


def test_fewer_streams_are_refused_and_lose_no_event_that_waits(tmp_path: Path) -> None:
    """They can be had by a shorter ``ttl_s``, or by ``max_bytes``: then what waits is told of."""
    made = LookaheadScenario(tmp_path, JOB, MESSAGES)
    made.run(stop_after=5)
    made.of = lookahead_job(streams="{max_streams: 2, protected_share: 0}")
    with pytest.raises(FingerprintMismatch, match=r"max_streams: 5 -> 2.*never be predicted"):
        made.run()
    made.of = lookahead_job(streams="{max_streams: 5, protected_share: 0, max_bytes: 2000, ttl_s: 1}")
    run = made.run()
    came = {json.loads(record.value or b"")["offset"] for topic in ("out", "dead") for record in made.records(topic)}
    gone = {offset for offset, message in enumerate(MESSAGES) if message.value is None}
    assert len(set(range(len(MESSAGES))) - came - gone) == int(run.value("streamrnn_waiting_events"))
