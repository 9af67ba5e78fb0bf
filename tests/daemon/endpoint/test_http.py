"""Probes and metrics over a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint.http import MAX_SILENT, HttpServer
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics
from streamrnn.errors import ConfigError

TP = TopicPartition("départs", 0)


class Fixture:
    def __init__(self) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.health = Health(60, clock=lambda: self.now)
        self.server = HttpServer("127.0.0.1", 0, self.registry, self.health, max_age_s=0.0)

    def request(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode(), response.headers
        finally:
            connection.close()


@pytest.fixture
def service() -> Iterator[Fixture]:
    fixture = Fixture()
    with fixture.server:
        yield fixture


def test_metrics_are_served_as_they_are_now(service: Fixture) -> None:
    service.metrics.ready(False)
    status, body, headers = service.request("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert "streamrnn_ready 0.0\n" in body
    service.metrics.ready(True)
    assert "streamrnn_ready 1.0\n" in service.request("/metrics?x=1")[1]
    restricted = service.request("/metrics?name[]=streamrnn_ready")[1]
    assert [line for line in restricted.splitlines() if not line.startswith("#")] == ["streamrnn_ready 1.0"]
    openmetrics = service.request("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics[2]["Content-Type"].startswith("application/openmetrics-text")
    assert openmetrics[1].endswith("# EOF\n")


def test_healthz_turns_503_with_the_stalled_partition_named(service: Fixture) -> None:
    service.health.assigned(TP)
    service.health.restored(TP)
    service.health.progress(TP, 5, lag=2)
    assert service.request("/healthz")[0] == 200
    service.now = 61
    status, body, headers = service.request("/healthz")
    assert status == 503
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["partitions"][0]["topic"] == "départs"
    assert json.loads(body)["healthy"] is False


def test_readyz_turns_200_once_restored(service: Fixture) -> None:
    assert service.request("/readyz")[0] == 503
    service.health.assigned(TP)
    assert service.request("/readyz")[0] == 503
    service.health.restored(TP)
    status, body, _ = service.request("/readyz")
    assert status == 200
    assert json.loads(body)["ready"] is True


def test_other_paths_are_404_and_list_what_there_is(service: Fixture) -> None:
    for path in ("/x", "/metrics/", "/healthz/x", "/../metrics"):
        status, body, _ = service.request(path)
        assert status == 404
        assert all(known in body for known in ("/metrics", "/healthz", "/readyz"))


def test_head_answers_as_get_without_a_body(service: Fixture) -> None:
    for path, expected in (("/metrics", 200), ("/readyz", 503), ("/none", 404)):
        status, body, headers = service.request(path, "HEAD")
        assert (status, body) == (expected, "")
        assert int(headers["Content-Length"]) > 0
    with socket.create_connection(("127.0.0.1", service.server.port), timeout=10) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.endswith(b"\r\n\r\n"), "nothing follows the headers"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(service: Fixture, method: str) -> None:
    status, _, headers = service.request("/metrics", method)
    assert status == 405
    assert headers["Allow"] == "GET, HEAD"


def test_a_collector_that_fails_is_500_and_logged(service: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> list[object]:
            if threading.current_thread() is threading.main_thread():
                return []  # registering
            raise RuntimeError("broken")

    service.registry.register(Broken())  # type: ignore[arg-type]
    assert service.request("/metrics")[0] == 500
    assert "cannot answer /metrics" in caplog.text
    assert service.request("/healthz")[0] == 200


def test_a_port_in_use_names_the_field_and_the_remedy(service: Fixture) -> None:
    with pytest.raises(ConfigError, match=r"http\.port: \d+ on 127\.0\.0\.1 is in use .* choose another port"):
        HttpServer("127.0.0.1", service.server.port, service.registry, service.health)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "a" * 70 + "..b"])
def test_a_host_that_is_not_ours_names_the_field(service: Fixture, host: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.host"):
        HttpServer(host, 0, service.registry, service.health)


def test_a_port_out_of_range_names_the_field(service: Fixture) -> None:
    with pytest.raises(ConfigError, match=r"http\.port: must be 0 to 65535, got 65536"):
        HttpServer("127.0.0.1", 65_536, service.registry, service.health)


def test_an_ipv6_host_is_served(service: Fixture) -> None:
    try:
        server = HttpServer("::1", 0, service.registry, service.health)
    except ConfigError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with server, socket.create_connection(("::1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.0 200")


def test_requests_and_hang_ups_are_logged_at_debug_only(
    service: Fixture, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    service.request("/healthz")
    with socket.create_connection(("127.0.0.1", service.server.port)) as connection:
        connection.sendall(b"GET /met")
    with socket.create_connection(("127.0.0.1", service.server.port)) as connection:
        connection.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        connection.recv(1000)
    service.request("/healthz")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert "/healthz" in caplog.text
    assert capfd.readouterr().err == ""


def test_a_client_that_sends_nothing_blocks_nobody(service: Fixture) -> None:
    with socket.create_connection(("127.0.0.1", service.server.port)):
        assert service.request("/healthz")[0] == 200


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT"])
def test_however_many_clients_say_nothing_the_next_one_is_answered_at_once(service: Fixture, said: bytes) -> None:
    with contextlib.ExitStack() as open_clients:
        clients = [
            open_clients.enter_context(socket.create_connection(("127.0.0.1", service.server.port), timeout=10.0))
            for _ in range(300)
        ]
        for client in clients:
            client.sendall(said)
        assert service.request("/metrics")[0] == 200
        deadline = time.monotonic() + 10.0  # threads of those cut off take a moment to end
        while (threads := sum(t.name.startswith("Thread-") for t in threading.enumerate())) > MAX_SILENT + 5:
            assert time.monotonic() < deadline, f"{threads} threads"
            time.sleep(0.01)
        assert service.request("/healthz")[0] == 200
        clients[-1].sendall(b"TP/1.0\r\n\r\n" if said else b"GET /healthz HTTP/1.0\r\n\r\n")
        assert clients[-1].recv(100).startswith(b"HTTP/1.0 200"), "the newest are not cut off"


def test_the_system_keeps_enough_connections_until_they_are_accepted(service: Fixture) -> None:
    assert service.server._server.request_queue_size >= 128


def test_close_frees_the_port_and_ends_the_thread() -> None:
    fixture = Fixture()
    port = fixture.server.port
    fixture.request("/healthz")
    fixture.server.close()
    fixture.server.close()
    assert "http" not in {thread.name for thread in threading.enumerate()}
    with HttpServer("127.0.0.1", port, fixture.registry, fixture.health) as again:
        assert again.port == port
