"""How a worker is put together, as far as it is not tested through the loop."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.security import Secret
from streamrnn.daemon.health import Health
from streamrnn.daemon.questions import Questions
from streamrnn.daemon.run import _endpoint
from streamrnn.errors import ConfigError
from streamrnn.job.http_config import HttpConfig
from tests.support import certificates


def test_the_start_says_where_it_serves_and_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pair = certificates.make(tmp_path)
    secure = HttpConfig(port=0, token=Secret("f" * 32), certfile=str(pair.certfile), keyfile=str(pair.keyfile))
    for http, expected in (
        (HttpConfig(port=0), "on http://127.0.0.1:{port}, open to anybody on this machine"),
        (secure, "on https://127.0.0.1:{port}, metrics and page open to those with the token"),
    ):
        with _endpoint(http, CollectorRegistry(), Health(), Questions()) as server:
            assert expected.format(port=server.port) in caplog.text
    assert "ffff" not in caplog.text


def test_a_certificate_that_cannot_be_used_ends_the_start() -> None:
    with pytest.raises(ConfigError, match=r"http\.certfile: none\.crt cannot be read"):
        _endpoint(HttpConfig(port=0, certfile="none.crt"), CollectorRegistry(), Health(), Questions())
