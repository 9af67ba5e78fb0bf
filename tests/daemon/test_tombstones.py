"""A tombstone ends its stream at its place in the log, for every run, and leads to no output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from tests.support.learners import differing
from tests.support.scenario import START_MS, TP, KilledError, Scenario

pytestmark = pytest.mark.usefixtures("no_pauses")


def record(i: int) -> bytes:
    return json.dumps({"a": i % 7, "b": {"c": "x"}, "y": i % 5}).encode()


def fill(scenario: Scenario, n: int = 120) -> list[int]:
    """Records of four streams with tombstones among them; returns the offsets of the tombstones."""
    tombstones = []
    for i in range(n):
        if i % 11 == 10:
            tombstones.append(i)
            scenario.append(b"s%d" % (i % 5), None, START_MS - 1)  # also of a stream that is not there
        else:
            scenario.append(b"s%d" % (i % 4), record(i), START_MS + 1000 * i)
    return tombstones


def test_every_record_but_tombstones_is_predicted_and_none_is_a_dead_letter(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    tombstones = fill(scenario)
    run = scenario.run()
    assert sorted(scenario.predictions()) == [i for i in range(120) if i not in tombstones]
    assert scenario.records("dead") == []
    assert scenario.mark()["ordinal"] == 120
    assert run.value("streamrnn_tombstones_total") == len(tombstones)
    assert 0 < run.value("streamrnn_evictions_total", cause="tombstone") < len(tombstones)


@pytest.mark.parametrize("mode", ["ignore", "dead_letter"])
def test_tombstones_that_are_ignored_or_dead_letters_leave_no_trace_in_what_is_learned(
    tmp_path: Path, mode: str
) -> None:
    with_them, without = Scenario(tmp_path / "a", input=f"tombstones: {mode}"), Scenario(tmp_path / "b")
    for i in range(60):
        for scenario in (with_them, without):
            scenario.append(b"s%d" % (i % 3), record(i), START_MS + 1000 * i)
        if i % 10 == 5:
            with_them.append(b"s1", None, START_MS)
    run = with_them.run()
    assert differing(run.learners[TP], without.run().learners[TP]) == []
    letters = [json.loads(letter.value or b"")["reason"] for letter in with_them.records("dead")]
    assert letters == (["null_value"] * 6 if mode == "dead_letter" else [])
    assert run.value("streamrnn_tombstones_total") == (6 if mode == "ignore" else 0)


@pytest.mark.parametrize("stop_after", [1, 2, 4, 6])
@pytest.mark.parametrize("kill", [False, True])
def test_stops_and_kills_between_tombstones_give_the_same_bits(tmp_path: Path, stop_after: int, kill: bool) -> None:
    whole = Scenario(tmp_path / "whole")
    fill(whole)
    expected = whole.run().learners[TP]
    scenario = Scenario(tmp_path / "cut")
    fill(scenario)

    def die(n: int) -> None:
        if n == stop_after:
            raise KilledError

    if kill:
        with pytest.raises(KilledError):
            scenario.run(after={"poll": die})
        scenario.log = EmbeddedLog(scenario.directory / "log")
    else:
        scenario.run(stop_after=stop_after, seed=3)
    assert differing(scenario.run(seed=5).learners[TP], expected) == []
    assert scenario.predictions() == whole.predictions()


def test_records_that_are_passed_over_change_nothing_and_are_counted(tmp_path: Path) -> None:
    filtered = Scenario(tmp_path / "a", input="where: [{field: op, equals: d, not: true}]")
    without = Scenario(tmp_path / "b")
    for i in range(60):
        for scenario in (filtered, without):
            scenario.append(b"s%d" % (i % 3), record(i), START_MS + 1000 * i)
        filtered.append(b"s%d" % (i % 9), b'{"op": "d", "a": "what", "y": NaN}', START_MS + 10**9 * i)
    run = filtered.run()
    assert differing(run.learners[TP], without.run().learners[TP]) == []
    assert (len(filtered.predictions()), filtered.records("dead")) == (60, [])
    assert run.value("streamrnn_records_filtered_total") == 60
    assert filtered.mark()["ordinal"] == 120
