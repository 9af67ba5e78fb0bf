"""What is answered to which request: the metrics, whether the worker is alive and ready, and the daemon's own page.

Answers come from metrics, health and what the loop leaves, so that nobody waits for the loop or the broker, but those
who ask for one stream, and they not for long. With a token, everything is for those who send it, but the page's empty
shell, and the probes say no more than yes or no to others: Kubernetes' cannot send a secret. Keys and values of streams
are told only on a loopback address or to those with a token. A server that only this machine can reach answers only to
its own names, or a web page that has its name resolve to 127.0.0.1 could read it through somebody's browser.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec
from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition
from streamrnn.broker.security import Secret, is_loopback
from streamrnn.daemon.endpoint.exposition import Exposition, content_type, wants_openmetrics
from streamrnn.daemon.endpoint.history import STEP_S, History
from streamrnn.daemon.endpoint.recent import Recent
from streamrnn.daemon.endpoint.request import Refused, Request
from streamrnn.daemon.endpoint.shell import Shell
from streamrnn.daemon.endpoint.status import Status
from streamrnn.daemon.health import Health
from streamrnn.daemon.questions import BusyError, Questions
from streamrnn.daemon.traces import named_key
from streamrnn.escaping import names

PATHS = ("/", "/metrics", "/healthz", "/readyz", "/status.json", "/streams/KEY")

HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
"""With every answer: nothing here is for a browser to take for something else, to show inside another page, or to
keep."""
POLICY = "default-src 'none'; frame-ancestors 'none'"
"""With every answer but the page: nothing in it is for a browser to run."""

STATUS_SHARE = 0.01
"""Of a processor, for the document of the page, however many partitions there are and however many look."""

_log = logging.getLogger(__name__)

_STREAMS = "/streams/"
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class Answer(NamedTuple):
    """Status, body and what kind of text it is."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    policy: str = POLICY

    def head(self) -> bytes:
        """All that goes before the body."""
        headers = (
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "close"),
            ("Content-Security-Policy", self.policy),
            *HEADERS,
            *self.headers,
        )
        lines = (f"{name}: {value}\r\n" for name, value in headers)
        return "".join((f"HTTP/1.0 {self.status.value} {self.status.phrase}\r\n", *lines, "\r\n")).encode()


class Pages:
    """Answers requests to a server that listens on ``address``, which may have been given by the name ``host``."""

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        questions: Questions,
        token: Secret | None,
        host: str,
        address: str,
        max_age_s: float,
    ) -> None:
        self._exposition, self._health, self._questions = Exposition(registry, max_age_s), health, questions
        self._history = History(registry)
        status = Status(registry, health, self._history)
        self._status = Recent("/status.json", status.document, max_age_s, share=STATUS_SHARE)
        self._shell = Shell()
        self._token = None if token is None else token.reveal().encode()
        self._names = {host.lower(), "localhost"} if is_loopback(address) else None
        self._tells_values = token is not None or self._names is not None

    async def keep_history(self) -> None:
        """Note every few seconds how far the counters have come, until cancelled."""
        while True:
            try:
                self._history.step()  # takes too little to be worth a thread
            except Exception:
                _log.exception("the page's history has a gap")
            await asyncio.sleep(STEP_S)

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
        if request.path == "/":
            return await self._page(request)
        if request.path == "/status.json":
            return await self._document(request)
        if request.path.startswith(_STREAMS):
            return await self._stream(request)
        raise Refused(HTTPStatus.NOT_FOUND, "\n".join(("not found; there are:", *PATHS)))

    async def _metrics(self, request: Request) -> Answer:
        self._require_token(request)
        openmetrics = wants_openmetrics(request.accept)
        page = await self._exposition.page()
        if page is None:
            raise _unbuilt()
        return Answer(HTTPStatus.OK, page.text(openmetrics, request.names), content_type(openmetrics))

    async def _page(self, request: Request) -> Answer:
        sentence = (await self._status_document())["state"]["sentence"] if self._is_trusted(request) else None
        return Answer(HTTPStatus.OK, self._shell.body(sentence), "text/html; charset=utf-8", policy=self._shell.policy)

    async def _document(self, request: Request) -> Answer:
        self._require_token(request)
        document = await self._status_document()
        streams = self._questions.look() if self._tells_values else None
        return _json(document | {"streams": streams, "tells_values": self._tells_values})

    async def _status_document(self) -> dict[str, Any]:
        document = await self._status.get()
        if document is None:
            raise _unbuilt()
        return document

    async def _stream(self, request: Request) -> Answer:
        self._require_token(request)
        if not self._tells_values:
            raise Refused(
                HTTPStatus.FORBIDDEN,
                "keys and values of streams are told to this machine alone or to those with a token: set http.token, "
                "or leave http.host at 127.0.0.1",
            )
        encoded = request.path.removeprefix(_STREAMS)
        if _NO_ESCAPE.search(encoded):
            raise Refused(
                HTTPStatus.BAD_REQUEST, "the key is not percent-encoded: expected two hex digits after each %"
            )
        key = unquote_to_bytes(encoded)
        try:
            found = await self._questions.stream(key)
        except BusyError:
            raise _later("the worker is busy or has not begun; ask again") from None
        if found.streams:
            return _json({**named_key(key), "partitions": found.streams})
        if found.restoring:
            raise _later(
                f"no partition that predicts knows this stream; still being restored: {_listed(found.restoring)}"
            )
        raise Refused(HTTPStatus.NOT_FOUND, _unknown(found.predicting))

    def _require_token(self, request: Request) -> None:
        if not self._is_trusted(request):
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                "this takes the token of http.token: Authorization: Bearer ...",
                ("WWW-Authenticate", 'Bearer realm="streamrnn"'),
            )

    def _probe(self, name: str, ask: Callable[[], tuple[bool, dict[str, Any]]], request: Request) -> Answer:
        good, detail = ask()
        shown = detail if self._is_trusted(request) else {name: good}
        return _json(shown, HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE, indent=1)

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


def _json(shown: Any, status: HTTPStatus = HTTPStatus.OK, indent: int = 0) -> Answer:
    return Answer(status, msgspec.json.format(msgspec.json.encode(shown), indent=indent) + b"\n", "application/json")


def _later(text: str) -> Refused:
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, text, ("Retry-After", "1"))


def _unbuilt() -> Refused:
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "the answer could not be built; see the log")


def _unknown(partitions: list[TopicPartition]) -> str:
    if not partitions:
        return "this worker has no partition; ask another one of the group"
    return (
        f"no stream of this key in the partitions of this worker, {_listed(partitions)}: it has not been "
        "seen, was forgotten (streams.ttl_s, streams.max_streams), or is in a partition of another worker"
    )


def _listed(partitions: list[TopicPartition]) -> str:
    return names(list(map(str, partitions)))
