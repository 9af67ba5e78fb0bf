"""Claims about the demo's directory: it removes what it made itself, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamrnn.broker.embedded import EmbeddedBroker, EmbeddedLog
from streamrnn.demo.directory import MARKER, claimed, write_job
from streamrnn.demo.log import job_text
from streamrnn.errors import BrokerError, ConfigError


def names(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_a_directory_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="was not made by the demo"), claimed(tmp_path):
        pass
    assert names(tmp_path) == {"thesis.tex"}


def test_only_what_a_demo_made_is_removed(tmp_path):
    with claimed(tmp_path):
        write_job(tmp_path, job_text(tmp_path, None))
    log = EmbeddedLog(tmp_path / "log")
    for topic in ("departures", "delay-predictions", "dead-letters", "mine"):
        log.create_topic(topic)
    mine = {"notes.txt", "log/notes.txt", "log/groups/mine.json", "checkpoints/mine/notes.txt", "errors-2.png"}
    theirs = {"worker.log", "errors.png", "log/groups/flights.json", "checkpoints/flights/a/b/segments/c.safetensors"}
    for name in mine | theirs:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with claimed(tmp_path) as remarks:
        assert names(tmp_path) == mine | {MARKER, "log/topics/mine/0.jsonl"}
        assert any("held an earlier run" in remark for remark in remarks)


def test_an_edited_job_file_is_kept(tmp_path):
    for n in (1, 2):
        with claimed(tmp_path):
            path = write_job(tmp_path, job_text(tmp_path, None))
        path.write_text(f"# edit {n}\n")
    with claimed(tmp_path) as remarks:
        assert (tmp_path / "job.edited-1.yaml").read_text() == "# edit 1\n"
        assert (tmp_path / "job.edited-2.yaml").read_text() == "# edit 2\n"
        assert not (tmp_path / "job.yaml").exists()
        assert "job.edited-2.yaml" in remarks[0]


def test_a_directory_in_use_is_refused(tmp_path):
    with claimed(tmp_path), pytest.raises(ConfigError, match="another demo is running"), claimed(tmp_path):
        pass
    log = EmbeddedLog(tmp_path / "log")
    log.create_topic("departures")
    worker = EmbeddedBroker(log, "flights")
    worker.subscribe("departures")
    try:
        with pytest.raises(BrokerError, match=f"process {os.getpid()} already"), claimed(tmp_path):
            pass
        assert log.partitions("departures") == [0]
    finally:
        worker.close(1.0)


def test_links_are_not_followed(tmp_path):
    with claimed(tmp_path / "demo"):
        pass
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "topics" / "departures").mkdir(parents=True)
    (tmp_path / "demo" / "log").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is a link"), claimed(tmp_path / "demo"):
        pass
    assert (elsewhere / "topics" / "departures").is_dir()
