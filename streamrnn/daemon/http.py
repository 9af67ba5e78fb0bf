"""/metrics, /healthz and /readyz over HTTP, on background threads of the standard library's server.

Answers come from the metrics registry and from ``Health`` alone, so a probe never waits for the loop or the broker.
Clients that connect and say nothing keep nobody from an answer, however many they are.
Probes answer 200 or 503 with the reasons as JSON. Only GET and HEAD are served. There is neither authentication nor
TLS: bind to an address only the cluster reaches. Requests are logged at debug level and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamrnn.daemon.health import Health
from streamrnn.errors import ConfigError

MAX_SILENT = 64
"""Clients that may be connected without having asked for anything: each takes a thread."""

PATHS = ("/metrics", "/healthz", "/readyz")

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves from construction until ``close``; a context manager.

    ``port=0`` takes a free one; the one in use is ``port``. Raises ConfigError when the address cannot be bound.

    >>> with HttpServer("127.0.0.1", 0, CollectorRegistry(), Health()) as server:
    ...     server.port > 0
    True
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health) -> None:
        self._server = _bind(host, port, registry, health)
        self.host = host
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
        )
        self._thread.start()
        self._closed = False

    def close(self) -> None:
        """Stop listening; requests being answered are finished on their own threads. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Connections that are made but not accepted yet. Of more than these, a client's system tries again in seconds only.
    request_queue_size = 128
    registry: CollectorRegistry
    health: Health

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for the host's full name, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def __init__(self, *args: Any) -> None:
        self._silent: dict[socket.socket, None] = {}  # connections without a request so far, oldest first
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread; among too many clients that say nothing, the oldest loses its own."""
        with self._lock:
            self._silent[request] = None
            surplus = next(iter(self._silent)) if len(self._silent) > MAX_SILENT else None
            if surplus is not None:
                del self._silent[surplus]
        if surplus is not None:
            _log.debug("more than %d clients are connected and ask nothing; the oldest is cut off", MAX_SILENT)
            with contextlib.suppress(OSError):  # it may just have left by itself
                surplus.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def has_asked(self, request: Any) -> None:
        """This client is not kept waiting for the others' sake."""
        with self._lock:
            self._silent.pop(request, None)

    def shutdown_request(self, request: Any) -> None:
        """The connection is done with."""
        self.has_asked(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it so
        # A prober that hangs up is nobody's problem; the standard server prints a traceback.
        _log.debug("request from %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "streamrnn"
    sys_version = ""
    timeout = 10.0  # seconds until a client that sends nothing loses its thread

    def do_GET(self) -> None:
        self.server.has_asked(self.connection)
        try:
            self._route()
        except OSError:
            raise
        except Exception:
            _log.exception("cannot answer %s", self.path)
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, "the answer could not be built; see the log\n")

    do_HEAD = do_GET  # noqa: N815 - the names the standard server looks for

    def do_POST(self) -> None:
        self._text(
            HTTPStatus.METHOD_NOT_ALLOWED, f"{self.command} is not served, only GET and HEAD\n", ("Allow", "GET, HEAD")
        )

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = do_POST  # noqa: N815

    def _route(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            names = parse_qs(url.query).get("name[]")
            registry: Any = self.server.registry
            self._answer(
                HTTPStatus.OK, encode(registry.restricted_registry(names) if names else registry), content_type
            )
        elif url.path == "/healthz":
            self._probe(*self.server.health.healthy())
        elif url.path == "/readyz":
            self._probe(*self.server.health.ready())
        else:
            self._text(HTTPStatus.NOT_FOUND, "not found; there are:\n" + "".join(f"{path}\n" for path in PATHS))

    def _probe(self, good: bool, detail: dict[str, Any]) -> None:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, json.dumps(detail, indent=1).encode() + b"\n", "application/json")

    def _text(self, status: HTTPStatus, text: str, *headers: tuple[str, str]) -> None:
        self._answer(status, text.encode(), "text/plain; charset=utf-8", *headers)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", content_type), ("Cache-Control", "no-store"), *headers):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("%s " + format, self.address_string(), *args)


def _bind(host: str, port: int, registry: CollectorRegistry, health: Health) -> _Server:
    if not 0 <= port <= 65_535:  # the system's resolver would wrap it around
        raise ConfigError(f"http.port: must be 0 to 65535, got {port}")
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"http.host: {host!r} is not an address or a resolvable name: {error}") from error
    family, _, _, _, address = infos[0]

    class Server(_Server):
        address_family = family

    try:
        server = Server(address[:2], _Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "is in use by another process; stop it, choose another port, or set http: null to serve nothing"
        elif error.errno in (errno.EACCES, errno.EPERM):
            remedy = "may not be bound by this user; choose one above 1023"
        else:
            raise ConfigError(
                f"http.host: {host!r} cannot be bound ({error}); use an address of this machine"
            ) from error
        raise ConfigError(f"http.port: {port} on {host} {remedy}") from error
    server.registry, server.health = registry, health
    return server
