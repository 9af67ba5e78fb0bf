"""The endpoint among clients that mean it no good: none of them gets more than a place for a moment."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Gauge

from streamrnn.daemon.endpoint import http
from streamrnn.daemon.endpoint.http import MAX_ANSWERED, MAX_SILENT
from streamrnn.daemon.endpoint.request import MAX_HEAD_BYTES, MAX_HEADERS
from tests.support.endpoint import (
    PATIENCE_S,
    Counted,
    Endpoint,
    body,
    descriptors,
    endpoint,
    everything,
    headers,
    status,
)

LIVE = b"GET /healthz HTTP/1.0\r\n\r\n"
DEADLINE_S = 0.3


@pytest.fixture
def served() -> Iterator[Endpoint]:
    with endpoint() as serving:
        yield serving


@pytest.fixture
def patient() -> Iterator[Endpoint]:
    """A server that does not cut off anybody for being slow while a test lasts."""
    with endpoint(deadline_s=2 * PATIENCE_S) as serving:
        yield serving


@pytest.fixture
def hasty() -> Iterator[Endpoint]:
    """A server with little time for anybody."""
    with endpoint(deadline_s=DEADLINE_S) as serving:
        yield serving


# -- what is no request -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # the beginning of TLS, with no end of a line
        b"\x00",
        b"\r\n",
        b"nonsense\r\n",
        b"GET\r\n",
        b"GET /metrics\r\n",  # HTTP/0.9
        b"GET  /metrics HTTP/1.1\r\n",
        b"GET /metrics HTTP/1.1 \r\n",
        b"GET /met rics HTTP/1.1\r\n",
        b"GET /metrics HTTP/one\r\n",
        b"GET /metrics HTTP/1.1.1\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\n",
        b"GET /\x00 HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"GET /a\rX: y HTTP/1.1\r\n",
        b"G\x1bT / HTTP/1.1\r\n",
        b"A" * 33 + b" / HTTP/1.1\r\n",
    ],
)
def test_a_malformed_request_line_is_400_at_once_and_nothing_of_it_is_repeated(
    served: Endpoint, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = served.say(sent)
    assert status(answer) == 400
    assert headers(answer)["Content-Type"] == "text/plain; charset=utf-8"
    assert body(answer).startswith("expected a request")
    assert {record.levelno for record in caplog.records} <= {logging.DEBUG}
    assert not [r for r in caplog.records if r.exc_info], "no traceback"
    assert caplog.text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", "expected one Host header"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n", "expected one Host header"),
        (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", "expected a Host such as"),
        (b"GET /healthz HTTP/1.1\r\nHost: user@localhost\r\n\r\n", "expected a Host such as"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost:x\r\n\r\n", "expected a Host such as"),
        (b"GET /healthz HTTP/1.1\r\nno colon\r\nHost: localhost\r\n\r\n", "expected headers such as"),
        (b"GET /healthz HTTP/1.1\r\n continued\r\nHost: localhost\r\n\r\n", "expected headers such as"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: \x1b[31m\r\n\r\n", "control characters"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\n\r\n", "control characters"),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\n\r\n", "control characters"),
        (b"GET healthz HTTP/1.0\r\n\r\n", "a path that begins with /"),
        (b"GET * HTTP/1.0\r\n\r\n", "a path that begins with /"),
        (b"GET file:///etc/passwd HTTP/1.0\r\n\r\n", "a path that begins with /"),
        (b"GET http://[/healthz HTTP/1.0\r\n\r\n", "the URL cannot be read"),
        (b"CONNECT localhost:22 HTTP/1.0\r\n\r\n", "a path that begins with /"),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_400(served: Endpoint, request_: bytes, expected: str) -> None:
    answer = served.say(request_)
    assert status(answer) == 400
    assert expected in body(answer)


def test_a_request_that_ends_early_is_400_where_the_client_still_listens(served: Endpoint) -> None:
    answer = served.say(b"GET /healthz HTTP/1.1\r\nHost: lo", then_close=True)
    assert (status(answer), body(answer)) == (400, "the request ended before its headers did\n")
    assert status(served.say(LIVE, then_close=True)) == 200, "a client may close its side once it has asked"
    assert served.say(b"", then_close=True) == b""


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.0"])
def test_other_versions_are_505(served: Endpoint, version: bytes) -> None:
    assert status(served.say(b"GET /healthz " + version + b"\r\n\r\n")) == 505
    assert status(served.say(b"PRI * " + version + b"\r\n\r\nSM\r\n\r\n")) == 505


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * MAX_HEAD_BYTES,
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_HEADERS + 2),
        b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 17,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
    ],
)
def test_a_head_that_is_too_large_is_431_and_the_answer_arrives(served: Endpoint, sent: bytes) -> None:
    answer = served.say(sent)
    assert status(answer) == 431
    assert f"{MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes" in body(answer)


@pytest.mark.parametrize("header", [b"Content-Length: 200000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize(("method", "expected"), [(b"POST", 405), (b"GET", 200)])
def test_a_body_goes_nowhere_and_its_sender_can_send_it_and_read_the_answer(
    served: Endpoint, header: bytes, method: bytes, expected: int
) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that it is still sending when it is answered
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", served.port))
        client.sendall(method + b" /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + header)
        client.sendall(b"\r\n\r\n" + b"x" * 200_000)
        assert status(everything(client)) == expected


def test_a_second_request_on_a_connection_is_not_answered(served: Endpoint) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    with served.connect() as client:
        client.sendall(request * 3)
        answer = client.recv(1 << 20)
    assert answer.count(b"HTTP/1.0") == 1
    assert headers(answer)["Connection"] == "close"


@pytest.mark.parametrize("path", ["/%6detrics", "/metrics%00", "/..%2fmetrics", "/.//metrics", "/metrics;a"])
def test_paths_mean_what_they_are(served: Endpoint, path: str) -> None:
    assert status(served.get(path)) == 404


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "DELETE", "BREW", "get"])
def test_every_other_method_is_405_and_nothing_is_sent_back_of_it(served: Endpoint, method: str) -> None:
    answer = served.say(f"{method} /metrics HTTP/1.1\r\nHost: localhost\r\nX-Secret: 123\r\n\r\n".encode())
    assert status(answer) == 405
    assert headers(answer)["Allow"] == "GET, HEAD"
    assert b"Secret" not in answer
    assert method not in body(answer).replace("GET", "")


def test_every_answer_tells_browsers_to_keep_off_and_nothing_of_the_server(served: Endpoint) -> None:
    for sent in (b"GET /healthz", b"nonsense", b"GET /none", b"GET /metrics", b"PUT /"):
        found = headers(served.say(sent + b" HTTP/1.0\r\n\r\n"))
        assert found["X-Content-Type-Options"] == "nosniff"
        assert found["Cache-Control"] == "no-store"
        assert found["Content-Security-Policy"].startswith("default-src 'none'")
        assert found["Cross-Origin-Resource-Policy"] == "same-origin"
        assert found["Date"].endswith("GMT")
        assert "Server" not in found


# -- time and places --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beginning", [b"", b"GET /heal", b"GET /healthz HTTP/1.0\r\nX: "])
def test_a_client_that_trickles_has_no_more_time_than_one_that_is_silent(hasty: Endpoint, beginning: bytes) -> None:
    with hasty.connect() as client:
        client.sendall(beginning)
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - begun < PATIENCE_S:
                client.sendall(b"a")
                time.sleep(DEADLINE_S / 20)
        assert time.monotonic() - begun < PATIENCE_S, "it was cut off while it was sending"


def test_a_client_that_trickles_a_body_is_cut_off(hasty: Endpoint) -> None:
    with hasty.connect() as client:
        client.sendall(b"POST /metrics HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n")
        assert status(client.recv(1 << 16)) == 405
        with pytest.raises(OSError):
            while True:
                client.sendall(b"a")
                time.sleep(DEADLINE_S / 20)


def test_a_client_that_does_not_take_its_answer_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    n_bytes = 10_000_000  # more than systems buffer
    with endpoint(deadline_s=2.0) as serving, socket.socket() as client:
        Gauge("large", "x" * n_bytes, registry=serving.registry)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", serving.port))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200")
        begun = time.monotonic()
        while "is cut off after 2 s" not in caplog.text and time.monotonic() - begun < PATIENCE_S:
            time.sleep(0.01)
        assert len(everything(client)) < n_bytes
        assert status(serving.say(LIVE)) == 200


def test_silent_clients_hold_a_bounded_number_of_descriptors_and_threads_and_the_newest_is_answered(
    patient: Endpoint,
) -> None:
    before, threads = descriptors(), threading.active_count()
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(patient.connect()) for _ in range(400)]
        assert status(patient.say(LIVE)) == 200
        assert descriptors() - before - len(clients) <= MAX_SILENT + MAX_ANSWERED
        assert threading.active_count() == threads
        assert everything(clients[0]) == b"", "the oldest is cut off"
        clients[-1].sendall(LIVE)
        assert status(clients[-1].recv(100)) == 200


def test_clients_that_ask_and_do_not_listen_hold_a_bounded_number_of_places_too() -> None:
    counted = Counted()
    with endpoint(deadline_s=2 * PATIENCE_S) as serving:
        serving.registry.register(counted)  # type: ignore[arg-type]
        counted.may.clear()
        with contextlib.ExitStack() as opened:
            before = descriptors()
            clients = [opened.enter_context(serving.connect()) for _ in range(MAX_ANSWERED + 40)]
            for client in clients:
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert everything(clients[0]) == b"", "the oldest is cut off"
            assert status(serving.say(LIVE)) == 200, "and a probe has its place"
            assert descriptors() - before - len(clients) <= MAX_SILENT + MAX_ANSWERED
            counted.may.set()
            assert status(everything(clients[-1])) == 200


def test_with_no_descriptors_left_a_place_is_made_by_cutting_off_a_silent_client(patient: Endpoint) -> None:
    """As where the process may have few files open, or Kafka's client has taken them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # or what others left would be closed in the middle of this, and leave places
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(patient.connect()) for _ in range(10)]
        assert status(patient.say(LIVE)) == 200  # the ten are accepted
        client = opened.enter_context(socket.socket())
        client.settimeout(PATIENCE_S)
        # All numbers up to those of the ten are taken then, so that one of these is a place where it is cut off.
        highest = max(int(file.name) for file in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                opened.callback(os.close, os.dup(client.fileno()))
        try:
            client.connect(("127.0.0.1", patient.port))
            client.sendall(LIVE)
            assert status(client.recv(1 << 16)) == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert everything(silent[0]) == b""


def test_a_flood_of_connections_keeps_no_probe_from_its_answer() -> None:
    """It may even be slow: it has its place until as many others have come as there are places."""
    with endpoint(deadline_s=2 * PATIENCE_S) as serving, contextlib.ExitStack() as opened:
        for _ in range(5):
            for _ in range(MAX_SILENT):
                opened.enter_context(serving.connect())
            probe = opened.enter_context(serving.connect())
            for _ in range(MAX_SILENT - 1):
                opened.enter_context(serving.connect())
            probe.sendall(LIVE)
            assert status(everything(probe)) == 200


def test_closing_cuts_off_the_silent_and_lets_an_answer_be_finished() -> None:
    counted = Counted()
    with endpoint() as serving, serving.connect() as silent, serving.connect() as asking:
        serving.registry.register(counted)  # type: ignore[arg-type]
        counted.may.clear()
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert counted.begun.wait(PATIENCE_S)
        closing = threading.Thread(target=serving.server.close)
        closing.start()
        counted.may.set()
        assert status(everything(asking)) == 200
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        assert everything(silent) == b""


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9308", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.0.0.2", "[::1]", "[::1]:9308"],
)
def test_on_loopback_its_own_names_are_answered(served: Endpoint, host: str) -> None:
    assert status(served.say(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == 200
    assert status(served.say(f"GET http://{host}/readyz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9308",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/none"])
def test_on_loopback_other_names_are_421(served: Endpoint, host: str, path: str) -> None:
    for request in (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        f"GET http://{host}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET http://{host}{path} HTTP/1.0\r\n\r\n",
    ):
        answer = served.say(request.encode())
        assert status(answer) == 421
        assert "ask for localhost or 127.0.0.1" in body(answer)
        assert host not in body(answer).replace("127.0.0.1", "") or host == "10.0.0.1"


def test_the_name_it_was_told_to_listen_on_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: resolve("127.0.0.1", *a, **k))
    with endpoint("worker-0.internal") as serving:
        assert status(serving.say(b"GET /readyz HTTP/1.1\r\nHost: Worker-0.internal:1\r\n\r\n")) == 200
        assert status(serving.say(b"GET /readyz HTTP/1.1\r\nHost: worker-1.internal:1\r\n\r\n")) == 421


def test_on_other_addresses_any_name_is_answered() -> None:
    """A pod does not know the names by which it is found."""
    with endpoint("0.0.0.0") as serving:
        assert status(serving.say(b"GET /metrics HTTP/1.1\r\nHost: metrics.cluster.local\r\n\r\n")) == 200


def test_an_unexpected_error_is_logged_and_ends_that_connection_only(
    served: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:

        async def fail(_: object) -> None:
            raise RuntimeError("a mistake of ours")

        broken.setattr(http, "read_request", fail)
        assert served.say(LIVE) == b""
    assert status(served.say(LIVE)) == 200
    assert "serving a client failed" in caplog.text
