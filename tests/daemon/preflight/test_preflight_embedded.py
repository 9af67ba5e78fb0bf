"""The preflight of a job on a log of files: nothing there yet, some of it, or another worker at work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.daemon.preflight.checks import Preflight
from streamrnn.daemon.preflight.facts import gather
from streamrnn.daemon.preflight.findings import Kind
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.support import jobs
from tests.support.scenario import TP, KilledError, Scenario

IN, OUT, DEAD = "departures", "predictions", "dead-letters"


def job(directory: Path) -> Config:
    return parse(
        jobs.yaml(
            kafka=None,
            embedded=f"{{directory: {directory}/log}}",
            checkpoint=f"{{directory: {directory}/checkpoints}}",
            http="null",
        ),
        {},
    )


def said(directory: Path) -> dict[Kind, list[str]]:
    found: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for finding in Preflight(job(directory)).findings(lambda _: None):
        found[finding.kind].append(finding.text)
    return found


def log_with(directory: Path, *topics: str) -> EmbeddedLog:
    log = EmbeddedLog(directory / "log")
    for topic in topics:
        log.create_topic(topic)
    return log


def test_where_nothing_is_yet_nothing_is_made_and_nothing_is_missing(tmp_path: Path) -> None:
    found = said(tmp_path)
    assert (found[Kind.PROBLEM], found[Kind.WARNING]) == ([], [])
    assert "the embedded log's topics are made as needed" in found[Kind.FINE]
    assert list(tmp_path.iterdir()) == []


def test_topics_that_are_missing_are_made_as_needed(tmp_path: Path) -> None:
    log_with(tmp_path, IN).close()
    found = said(tmp_path)
    assert (found[Kind.PROBLEM], found[Kind.WARNING]) == ([], [])
    assert "the embedded log's topics are made as needed" in found[Kind.FINE]
    assert f"topic {IN}: no records yet, so none could be tried" in found[Kind.FINE]


def test_records_are_tried(tmp_path: Path) -> None:
    log = log_with(tmp_path, IN, OUT, DEAD)
    for i in range(100):
        log.append(IN, b"s", json.dumps({"distance": i % 7, "delay": i} if i % 4 else []).encode())
    log.flush()
    (warning,) = said(tmp_path)[Kind.WARNING]
    assert "25 of 100 (25 %) records would become dead letters as not_an_object" in warning
    log.close()


def test_the_one_member_of_its_group_is_told(tmp_path: Path) -> None:
    log = log_with(tmp_path, IN, OUT, DEAD)
    member = EmbeddedBroker(log, "delays")
    member.subscribe(IN)
    (warning,) = said(tmp_path)[Kind.WARNING]
    assert warning.endswith("consumes it, and an embedded group has one member")
    member.close(1.0)
    assert said(tmp_path)[Kind.WARNING] == []
    log.close()


def test_a_first_start_that_was_interrupted_is_told_from_lost_offsets(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "job")
    scenario.fill(60)

    def die(_: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        scenario.run(before={"commit": die}, input="start: latest")
    found = gather(scenario.config(), lambda _: None)
    assert found is not None and found.interrupted == {TP: 60}
    scenario.fill(5)
    scenario.run()
    (scenario.directory / "log" / "groups" / "j.json").unlink()
    found = gather(scenario.config(), lambda _: None)
    assert found is not None and found.interrupted == {} and list(found.checkpoints) == [TP]
