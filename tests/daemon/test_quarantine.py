"""A record at which workers are lost is tried alone, then quarantined; all else is as if it had not been readable."""

from __future__ import annotations

import base64
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.daemon.quarantine import SOLITARY_TRIES
from streamrnn.job.codec.records import Decoded, RecordCodec
from tests.support.learners import Bits, differing
from tests.support.scenario import START_MS, TP, KilledError, Run, Scenario

POISON = b'{"a": 0.5, "b": {"c": "x"}, "y": 1.0, "poison": true}'
"""A record like any other, which the tests have end whoever reads it. See :func:`poisonous`."""
UNREADABLE = b"{poison"
"""What stands in its place in the log of the undisturbed run: it touches the learner no more than a quarantined one."""
SECOND = TopicPartition("in", 1)
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


def survive(scenario: Scenario, **options: Any) -> tuple[Run, int]:
    """Start it again and again until it reads to the end; returns that run, and how often it was killed before."""
    for killed in range(STARTS):
        try:
            return scenario.run(seed=killed, **options), killed
        except KilledError:
            pass
    raise AssertionError(f"still being killed after {STARTS} starts, committed: {scenario.mark()}")


def letters(scenario: Scenario) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in scenario.records("dead")]


def undisturbed(scenario: Scenario, poison: Sequence[int], **settings: Any) -> tuple[Bits, dict[int, bytes]]:
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
