"""What is answered to which request: the metrics, and whether the worker is alive and ready.

Answers come from ``Exposition`` and ``Health`` alone, so that nobody waits for the loop or the broker. With a token,
``/metrics`` is for those who send it, and the probes say no more than yes or no to others: Kubernetes' cannot send a
secret. A server that only this machine can reach answers only to its own names, or a web page that has its name resolve
to 127.0.0.1 could read it through somebody's browser.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from streamrnn.broker.security import Secret, is_loopback
from streamrnn.daemon.exposition import Exposition, content_type, wants_openmetrics
from streamrnn.daemon.health import Health
from streamrnn.daemon.request import Refused, Request

PATHS = ("/metrics", "/healthz", "/readyz")

HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""With every answer: nothing here is for a browser to run, to show inside another page, or to keep."""


class Answer(NamedTuple):
    """Status, body and what kind of text it is."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self) -> bytes:
        """All that goes before the body."""
        headers = (
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            *HEADERS,
            *self.headers,
        )
        lines = (f"{name}: {value}\r\n" for name, value in headers)
        return "".join((f"HTTP/1.0 {self.status.value} {self.status.phrase}\r\n", *lines, "\r\n")).encode()


class Pages:
    """Answers requests to a server that listens on ``address``, which may have been given by the name ``host``."""

    def __init__(self, exposition: Exposition, health: Health, token: Secret | None, host: str, address: str) -> None:
        self._exposition, self._health = exposition, health
        self._token = None if token is None else token.reveal().encode()
        self._names = {host.lower(), "localhost"} if is_loopback(address) else None

    async def answer(self, request: Request) -> Answer:
        """The answer, whatever was asked."""
        try:
            return await self._route(request)
        except Refused as refusal:
            return refused(refusal)

    async def _route(self, request: Request) -> Answer:
        if self._names is not None and not all(self._is_own(host) for host in request.hosts):
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "only this machine is answered: ask for localhost or 127.0.0.1, or have a proxy on this machine send "
                "Host: localhost, or have http.host name an address that others reach",
            )
        if request.method not in ("GET", "HEAD"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are served", ("Allow", "GET, HEAD"))
        if request.path == "/metrics":
            return await self._metrics(request)
        if request.path == "/healthz":
            return self._probe("healthy", self._health.healthy, request)
        if request.path == "/readyz":
            return self._probe("ready", self._health.ready, request)
        raise Refused(HTTPStatus.NOT_FOUND, "\n".join(("not found; there are:", *PATHS)))

    async def _metrics(self, request: Request) -> Answer:
        if not self._is_trusted(request):
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "this takes the token of http.token: Authorization: Bearer ...",
                ("WWW-Authenticate", 'Bearer realm="streamrnn"'),
            )
        openmetrics = wants_openmetrics(request.accept)
        page = await self._exposition.page()
        if page is None:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "the answer could not be built; see the log")
        return Answer(HTTPStatus.OK, page.text(openmetrics, request.names), content_type(openmetrics))

    def _probe(self, name: str, ask: Callable[[], tuple[bool, dict[str, Any]]], request: Request) -> Answer:
        good, detail = ask()
        shown = detail if self._is_trusted(request) else {name: good}
        body = msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"
        return Answer(HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, body, "application/json")

    def _is_trusted(self, request: Request) -> bool:
        if self._token is None:
            return True
        return request.token is not None and hmac.compare_digest(request.token.encode(), self._token)

    def _is_own(self, host: str) -> bool:
        assert self._names is not None
        return host in self._names or is_loopback(host)


def refused(refusal: Refused) -> Answer:
    """What a client is told whose request is not answered."""
    return Answer(refusal.status, f"{refusal.text}\n".encode(), headers=refusal.headers)
