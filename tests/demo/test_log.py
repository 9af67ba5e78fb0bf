"""Claims about the demo's log: its job file, and reading a topic back."""

from __future__ import annotations

import pytest

from streamrnn.broker.embedded import EmbeddedBroker, EmbeddedLog
from streamrnn.demo.log import job_text, read_all
from streamrnn.errors import BrokerError
from streamrnn.job.config import parse


@pytest.mark.parametrize("directory", ["plain", "with space: and #", "${HOME}", 'a"b'])
def test_the_job_file_names_its_directory(tmp_path, directory):
    config = parse(job_text(tmp_path / directory, None), env={})
    assert config.embedded.directory == str(tmp_path / directory / "log")
    assert config.checkpoint.directory == str(tmp_path / directory / "checkpoints")
    kafka = parse(job_text(tmp_path / directory, "a:1,b:2"), env={})
    assert kafka.kafka.servers == ("a:1", "b:2")
    assert len({kafka.input.topic, kafka.output.topic, kafka.output.dead_letter_topic}) == 3
    again = parse(job_text(tmp_path / directory, "a:1"), env={})
    assert again.input.topic != kafka.input.topic


def test_reading_back_gives_up_when_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("streamrnn.demo.log.READ_TIMEOUT_S", 0.3)
    log = EmbeddedLog(tmp_path)
    log.create_topic("out")
    log.append("out", b"k", b"v")
    log.flush()
    broker = EmbeddedBroker(log, "reader")
    monkeypatch.setattr(broker, "poll", lambda *_: {})
    monkeypatch.setattr(broker, "events", list)
    with pytest.raises(BrokerError, match="came to a halt"):
        list(read_all(broker, "out"))
