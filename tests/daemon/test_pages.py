"""Who is told what."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from streamrnn.broker.security import Secret
from tests.support.endpoint import Endpoint, body, endpoint, headers, status

TOKEN = "0123456789abcdef~+/=="


@pytest.fixture
def guarded() -> Iterator[Endpoint]:
    with endpoint(token=Secret(TOKEN)) as serving:
        yield serving


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_metrics_are_given_to_those_with_the_token(guarded: Endpoint, scheme: str) -> None:
    answer = guarded.get("/metrics", f"Authorization: {scheme} {TOKEN}")
    assert status(answer) == 200
    assert "streamrnn_ready 0.0" in body(answer)


@pytest.mark.parametrize(
    "sent",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: {TOKEN}",),
        (f"Authorization: Bearer \xe9{TOKEN}",),
        (f"X-Authorization: Bearer {TOKEN}",),
        ("Authorization: Bearer wrong", f"Authorization: Bearer {TOKEN}"),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=streamrnn_ready", f"/metrics?token={TOKEN}"])
def test_metrics_without_the_token_are_401(guarded: Endpoint, path: str, sent: tuple[str, ...]) -> None:
    answer = guarded.get(path, *sent)
    assert status(answer) == 401
    assert headers(answer)["WWW-Authenticate"] == 'Bearer realm="streamrnn"'
    assert "streamrnn_ready" not in body(answer)
    assert TOKEN not in answer.decode()


@pytest.mark.parametrize(("path", "said"), [("/healthz", {"healthy": True}), ("/readyz", {"ready": True})])
def test_with_a_token_probes_without_it_are_told_only_yes_or_no(guarded: Endpoint, path: str, said: object) -> None:
    answer = guarded.get(path)
    assert (status(answer), json.loads(body(answer))) == (200, said)
    known = json.loads(body(guarded.get(path, f"Authorization: Bearer {TOKEN}")))
    assert known["partitions"][0]["topic"] == "departures"


def test_a_token_is_never_logged_and_its_absence_once_in_a_while(
    guarded: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(3):
        guarded.get("/metrics", "Authorization: Bearer wrong-one")
        guarded.get("/metrics", f"Authorization: Bearer {TOKEN}")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    asked = "/metrics is asked for without the token of http.token, as by 127.0.0.1; 1 times since the last such line"
    assert warnings == [asked]
    assert TOKEN not in caplog.text
    assert "wrong-one" not in caplog.text


def test_without_a_token_everything_is_told_to_everybody() -> None:
    with endpoint() as serving:
        assert status(serving.get("/metrics")) == 200
        assert "partitions" in json.loads(body(serving.get("/healthz")))
