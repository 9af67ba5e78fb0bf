"""One bad record costs that record only: through the whole loop, on a broker that refuses as Kafka does."""

from __future__ import annotations

import contextlib
import json
import logging
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import streamrnn.daemon.delivery
import streamrnn.daemon.refused
from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Output, Record
from streamrnn.daemon.refused import Refused, Sent
from streamrnn.errors import BrokerError, RecordError, RefusedError, UndeliveredError
from streamrnn.job.codec.dead_letters import encode_dead_letter, shorten_dead_letter
from streamrnn.job.config import OutputConfig
from tests.support.refusing import RefusingBroker, at_most, compacted, of_late, refusing
from tests.support.scenario import START_MS, Run, Scenario

N = 60
LONG = b"{" + b"z" * 3000


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamrnn.daemon.delivery, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path)


def mixed(scenario: Scenario, bad: Callable[[int], tuple[bytes | None, bytes] | None]) -> None:
    """Good records of three streams; ``bad`` gives key and value of those that are not."""
    for i in range(N):
        good = (b"s%d" % (i % 3), json.dumps({"a": float(i % 5), "b": {"c": "x"}, "y": float(i % 7)}).encode())
        key, value = bad(i) or good
        scenario.append(key, value, START_MS + 1000 * i)


def offsets(scenario: Scenario) -> list[int]:
    """Of the predictions, in the order in which they stand in the topic; those of a stream must ascend."""
    return [json.loads(record.value or b"")["offset"] for record in scenario.records("out")]


def letters(scenario: Scenario) -> dict[int, dict[str, Any]]:
    found = [json.loads(record.value or b"") for record in scenario.records("dead")]
    assert len({letter["offset"] for letter in found}) == len(found), "a dead letter came twice"
    return {letter["offset"]: letter for letter in found}


def ends_in_order(scenario: Scenario) -> bool:
    """Whether the newest copies of a stream's predictions stand in order."""
    places: dict[bytes | None, dict[int, int]] = {}
    for place, record in enumerate(scenario.records("out")):
        places.setdefault(record.key, {})[json.loads(record.value or b"")["offset"]] = place
    return all([place for _, place in sorted(of.items())] == sorted(of.values()) for of in places.values())


def value(run: Run, name: str, reason: str) -> float:
    return run.value(f"streamrnn_{name}_total", reason=reason)


def reference(tmp_path: Path, bad: Callable[[int], tuple[bytes | None, bytes] | None]) -> dict[int, bytes]:
    whole = Scenario(tmp_path / "whole")
    mixed(whole, bad)
    whole.run()
    return whole.predictions()


def test_a_dead_letter_too_large_for_its_topic_is_shortened_until_it_fits(scenario: Scenario, tmp_path: Path) -> None:
    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return (b"s1", LONG) if i % 10 == 4 else None

    mixed(scenario, bad)
    run = scenario.run(broker=refusing(dead=at_most(1000)))
    assert scenario.predictions() == reference(tmp_path, bad)
    assert offsets(scenario) == sorted(offsets(scenario)), "each once, in order"
    found = letters(scenario)
    assert sorted(found) == [4, 14, 24, 34, 44, 54]
    for offset, letter in found.items():
        assert (letter["reason"], letter["offset"], letter["value_bytes"]) == ("malformed", offset, len(LONG))
        assert LONG.decode().startswith(letter["value"]) and len(letter["value"]) > 100
    assert all(len(r.value or b"") <= 1000 for r in scenario.records("dead"))
    assert value(run, "amended_outputs", "too_large") == 6
    assert scenario.mark()["offset"] == N


def test_a_keyless_dead_letter_on_a_compacted_topic_is_given_the_place_of_its_record(
    scenario: Scenario, tmp_path: Path
) -> None:
    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return (None, b"{}") if i in (0, 7, 8, N - 1) else None

    mixed(scenario, bad)
    run = scenario.run(broker=refusing(dead=compacted))
    assert scenario.predictions() == reference(tmp_path, bad)
    assert [r.key for r in scenario.records("dead")] == [b"in/0/0", b"in/0/7", b"in/0/8", b"in/0/%d" % (N - 1)]
    assert value(run, "amended_outputs", "invalid") == 4


def test_a_prediction_older_than_its_topic_allows_is_stamped_with_the_present(scenario: Scenario) -> None:
    mixed(scenario, lambda i: None)
    run = scenario.run(broker=refusing(out=of_late(3600.0)))
    assert sorted(scenario.predictions()) == list(range(N))
    assert ends_in_order(scenario)
    assert all(record.timestamp_ms > START_MS + 10**9 for record in scenario.records("out"))
    assert value(run, "amended_outputs", "bad_timestamp") == N
    assert not scenario.records("dead")


def test_a_prediction_too_large_for_its_topic_is_a_dead_letter_that_says_so(scenario: Scenario, tmp_path: Path) -> None:
    long_key = b"k" * 400

    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return (long_key, b'{"a": 1.0, "y": 2.0}') if i % 20 == 5 else None

    mixed(scenario, bad)
    run = scenario.run(broker=refusing(out=at_most(500)))
    good = {o: v for o, v in reference(tmp_path, bad).items() if o % 20 != 5}
    assert scenario.predictions() == good
    found = letters(scenario)
    assert sorted(found) == [5, 25, 45]
    assert all(letter["reason"] == "undeliverable" and "topic out" in letter["detail"] for letter in found.values())
    assert json.loads(found[25]["value"])["offset"] == 25, "the prediction itself"
    assert value(run, "undeliverable_predictions", "too_large") == 3
    assert value(run, "undeliverable_dead_letters", "too_large") == 0


def test_what_no_topic_takes_is_counted_logged_once_and_given_up(
    scenario: Scenario, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return (b"s1", LONG) if i % 10 == 4 else None

    mixed(scenario, bad)
    with caplog.at_level(logging.WARNING):
        run = scenario.run(broker=refusing(dead=at_most(50)))
    assert scenario.predictions() == reference(tmp_path, bad)
    assert not scenario.records("dead")
    assert value(run, "undeliverable_dead_letters", "too_large") == 6
    said = [r.getMessage() for r in caplog.records if r.name == "streamrnn.daemon.refused"]
    assert len(said) == 1
    assert "offset 4" in said[0] and "topic dead" in said[0] and "given up" in said[0]
    assert scenario.mark()["offset"] == N


def test_with_every_topic_strict_the_good_ones_of_a_batch_arrive_once(scenario: Scenario, tmp_path: Path) -> None:
    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return {3: (None, b"{}"), 9: (b"s1", LONG), 10: (b"k" * 400, b'{"a": 1.0}'), 11: (None, LONG)}.get(i % 12)

    def dead(output: Output) -> str | None:
        return compacted(output) or at_most(700)(output)

    mixed(scenario, bad)
    scenario.run(broker=refusing(out=at_most(450), dead=dead))
    good = {o: v for o, v in reference(tmp_path, bad).items() if o % 12 != 10}
    assert scenario.predictions() == good
    assert sorted(letters(scenario)) == [i for i in range(N) if i % 12 in (3, 9, 10, 11)]
    assert ends_in_order(scenario)


def test_once_a_topic_has_refused_the_next_are_changed_before_they_are_sent(scenario: Scenario, tmp_path: Path) -> None:
    mixed(scenario, lambda i: None)
    broker = refusing(out=of_late(3600.0))
    flushes: list[int] = []
    run = scenario.run(broker=broker, before={"flush": flushes.append})
    plain: list[int] = []
    whole = Scenario(tmp_path / "whole")
    mixed(whole, lambda i: None)
    whole.run(before={"flush": plain.append})
    assert 0 < len(flushes) - len(plain) < 20, "a few until it is known, not some for each"
    assert value(run, "amended_outputs", "bad_timestamp") == N


def test_keyless_dead_letters_are_given_keys_before_they_are_sent_once_the_topic_has_refused_one(
    scenario: Scenario, tmp_path: Path
) -> None:
    def keyless(i: int) -> tuple[bytes | None, bytes] | None:
        return (None, b"{}") if i % 2 else None

    flushes: list[int] = []
    mixed(scenario, keyless)
    scenario.run(broker=refusing(dead=compacted), before={"flush": flushes.append})
    plain: list[int] = []
    whole = Scenario(tmp_path / "whole")
    mixed(whole, keyless)
    whole.run(before={"flush": plain.append})
    assert 0 < len(flushes) - len(plain) < 20


def test_of_an_output_that_was_sent_twice_only_what_became_of_the_second_counts() -> None:
    sent: list[Output] = []
    partition: Any = SimpleNamespace(outputs=[Outputs.of([Output("out", b"k", b"v")])])
    refused = Refused(
        OutputConfig(topic="out", dead_letter_topic="dead"), lambda _, output: sent.append(output), lambda: None
    )
    (output,) = partition.outputs[0]
    copies = [Sent(partition, output, output) for _ in range(2)]
    refused.sort_out(copies, {0: RefusedError("too_large", "fell with another")})
    assert sent == []
    refused.sort_out(copies, {0: None, 1: RefusedError("too_large", "fell with another")})
    assert sent == [output]


@pytest.mark.parametrize(("remembered_s", "taken"), [(0.0, True), (3600.0, False)])
def test_a_topic_that_was_widened_is_tried_again_once_its_refusal_is_forgotten(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, remembered_s: float, taken: bool
) -> None:
    monkeypatch.setattr(streamrnn.daemon.refused, "REMEMBERED_S", remembered_s)
    polls: list[int] = []
    mixed(scenario, lambda i: None)
    scenario.run(
        broker=refusing(out=lambda output: at_most(100)(output) if len(polls) < 4 else None),
        turn=lambda loop, broker: polls.append(1),
    )
    assert bool(scenario.predictions()) is taken
    assert len(scenario.predictions()) + len(letters(scenario)) == N


def test_a_broker_away_in_the_middle_is_an_outage_and_nothing_is_lost(scenario: Scenario, tmp_path: Path) -> None:
    def bad(i: int) -> tuple[bytes | None, bytes] | None:
        return (b"s1", LONG) if i % 10 == 4 else None

    class Away(refusing(dead=at_most(1000))):  # type: ignore[misc]
        def flush(self, timeout_s: float) -> None:
            flushes.append(1)
            if len(flushes) in (3, 4, 15):
                self._kept().clear()
                raise UndeliveredError("no answer")
            super().flush(timeout_s)

        def send(self, *args: Any, **more: Any) -> None:
            sends.append(1)
            if len(sends) in (5, 90):
                raise BrokerError("no answer")
            super().send(*args, **more)

    flushes: list[int] = []
    sends: list[int] = []
    mixed(scenario, bad)
    scenario.run(broker=Away)
    assert scenario.predictions() == reference(tmp_path, bad)
    assert {json.loads(r.value or b"")["offset"] for r in scenario.records("dead")} == {4, 14, 24, 34, 44, 54}


def test_a_topic_that_may_not_be_written_stays_an_error(scenario: Scenario) -> None:
    class Forbidden(RefusingBroker):
        def flush(self, timeout_s: float) -> None:  # noqa: ARG002
            raise UndeliveredError("2 of 2: topic authorization failed")

    mixed(scenario, lambda i: None)
    with pytest.raises(BrokerError, match="authorization"):
        scenario.run(broker=Forbidden)


def test_what_the_client_itself_does_not_send_goes_on_in_another_form(scenario: Scenario) -> None:
    class Client(RefusingBroker):
        def send(self, topic: str, key: bytes | None, value: bytes | None, **more: Any) -> None:
            if len(value or b"") > 1000:
                raise RefusedError("too_large", "larger than this client sends")
            super().send(topic, key, value, **more)

    mixed(scenario, lambda i: (b"s1", LONG) if i % 10 == 4 else None)
    run = scenario.run(broker=Client)
    assert offsets(scenario) == [i for i in range(N) if i % 10 != 4]
    assert sorted(letters(scenario)) == [4, 14, 24, 34, 44, 54]
    assert value(run, "amended_outputs", "too_large") == 6


@pytest.mark.parametrize("kept", [b"plain text " * 100, b"\x00\x01\xff" * 400, 'ä€\U0001f600"\\'.encode() * 100])
@pytest.mark.parametrize("limit", [2000, 700, 420])
def test_a_shortened_dead_letter_is_within_its_limit_and_keeps_where_and_why(kept: bytes, limit: int) -> None:
    record = Record("t", 2, 17, 5, b"\xfe" * 300, kept)
    short = shorten_dead_letter(encode_dead_letter(record, RecordError("malformed", "d" * 500)), limit)
    assert len(short) <= limit
    letter = json.loads(short)
    assert [letter[name] for name in ("reason", "topic", "partition", "offset")] == ["malformed", "t", 2, 17]
    assert (letter["key_bytes"], letter["value_bytes"]) == (300, len(kept))


@pytest.mark.parametrize("seed", range(6))
def test_no_good_prediction_is_lost_or_given_up_whatever_fails_when(
    scenario: Scenario, tmp_path: Path, seed: int
) -> None:
    chance, what = random.Random(seed), random.Random(seed + 100)
    kinds: dict[int, tuple[bytes | None, bytes]] = {}
    for i in range(N):
        kind = what.choice(["good"] * 7 + ["long", "keyless", "key"])
        if kind != "good":
            kinds[i] = {"long": (b"s1", LONG), "keyless": (None, b"{}"), "key": (b"k" * 400, b'{"a": 1.0}')}[kind]
    large = {i for i, (key, _) in kinds.items() if key is not None and len(key) == 400}

    class Unreliable(refusing(out=at_most(450), dead=lambda output: compacted(output) or at_most(900)(output))):  # type: ignore[misc]
        def flush(self, timeout_s: float) -> None:
            if chance.random() < 0.05:
                self._kept().clear()
                raise UndeliveredError("no answer")
            super().flush(timeout_s)

        def send(self, *args: Any, **more: Any) -> None:
            if chance.random() < 0.005:
                raise BrokerError("no answer")
            super().send(*args, **more)

    mixed(scenario, kinds.get)
    for attempt in range(10):  # whoever supervises it starts it again
        with contextlib.suppress(BrokerError):
            scenario.run(broker=Unreliable, seed=seed + attempt)
            break
    assert scenario.mark()["offset"] == N
    assert scenario.predictions() == {o: v for o, v in reference(tmp_path, kinds.get).items() if o not in large}
    assert ends_in_order(scenario)
    found = [json.loads(record.value or b"") for record in scenario.records("dead")]
    assert {letter["offset"] for letter in found} == set(kinds)
    assert {letter["offset"] for letter in found if letter["reason"] == "undeliverable"} == large
