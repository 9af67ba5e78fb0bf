"""What a client sent, as far as it matters here: method, path and a few headers. Anything doubtful is refused.

Only the head of a request is ever read, in lines and with a bound on their number and size; a body is never looked at,
and there is one request to a connection. What is not plainly a request is refused as soon as that can be seen, with 400
or what else HTTP has for it, in words that repeat nothing of what was sent. Headers are taken apart by the standard
library.
"""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from urllib.parse import parse_qs, urlsplit

MAX_HEAD_BYTES = 16 * 1024
"""A request with its headers; Prometheus sends some 500 bytes, a browser with cookies a few thousand."""
MAX_HEADERS = 64

_REQUEST_LINE = re.compile(rb"([A-Za-z]{1,32}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r?\n")
_NOT_IN_A_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]@/?#]+)(?::[0-9]{0,5})?")


class Refused(Exception):  # noqa: N818 - an answer like any other, not an error of ours
    """No request that can be answered; ``text`` is for people and says what was expected."""

    def __init__(self, status: HTTPStatus, text: str, *headers: tuple[str, str], unread: bool = False) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers
        self.unread = unread
        """Whether more is to come than was read."""


@dataclass(frozen=True)
class Request:
    """``hosts`` are the names by which the client addressed the server, without ports: none, one, or seldom two."""

    method: str
    path: str
    query: str = ""
    hosts: tuple[str, ...] = ()
    accept: str = ""
    token: str | None = None
    has_body: bool = False

    @property
    def names(self) -> list[str]:
        """Names of samples that were asked for, none for all."""
        return parse_qs(self.query, max_num_fields=MAX_HEAD_BYTES).get("name[]", [])


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None when the client leaves without a word. Raises Refused, or OSError.

    ``reader`` has ``MAX_HEAD_BYTES`` as its limit.
    """
    first = await reader.read(1)
    if not first:
        return None
    if not first.isalpha():  # TLS on a plain port, for one, which may never send a line's end
        raise _bad("expected a request such as GET /healthz HTTP/1.1", unread=True)
    try:
        line = first + await reader.readuntil(b"\n")
        method, target, version = _request_line(line)
        return _request(method, target, version, await _header_lines(reader, MAX_HEAD_BYTES - len(line)))
    except asyncio.IncompleteReadError:
        raise _bad("the request ended before its headers did") from None
    except asyncio.LimitOverrunError:
        raise _too_large() from None


def _request_line(line: bytes) -> tuple[str, str, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _bad("expected a request line such as GET /healthz HTTP/1.1", unread=True)
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 are served", unread=True)
    return method.decode(), target.decode(), minor


async def _header_lines(reader: asyncio.StreamReader, n_bytes: int) -> bytes:
    lines: list[bytes] = []
    while not lines or lines[-1] not in (b"\r\n", b"\n"):
        lines.append(await reader.readuntil(b"\n"))
        n_bytes -= len(lines[-1])
        if n_bytes < 0 or len(lines) > MAX_HEADERS + 1:
            raise _too_large()
    return b"".join(lines)


def _request(method: str, target: str, version: bytes, lines: bytes) -> Request:
    if _NOT_IN_A_HEAD.search(lines):
        raise _bad("a header has control characters")
    try:
        headers = parse_headers(io.BytesIO(lines))
    except HTTPException:
        raise _too_large() from None
    if headers.defects:
        raise _bad("expected headers such as Accept: text/plain")
    given = headers.get_all("Host", [])
    if len(given) > 1 or (not given and version != b"0"):
        raise _bad("expected one Host header")
    authority, path, query = _target(target)
    hosts = tuple(_host(name) for name in (*given, *([authority] if authority is not None else [])))
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return Request(
        method=method,
        path=path,
        query=query,
        hosts=hosts,
        accept=headers.get("Accept", ""),
        token=token.strip() if scheme.lower() == "bearer" else None,
        has_body="Transfer-Encoding" in headers or headers.get("Content-Length", "0").strip() != "0",
    )


def _target(target: str) -> tuple[str | None, str, str]:
    """Authority, if one is given, path and query."""
    if target.startswith("/"):
        path, _, query = target.partition("#")[0].partition("?")
        return None, path, query
    try:
        url = urlsplit(target)
    except ValueError:
        raise _bad("the URL cannot be read") from None
    if url.scheme not in ("http", "https") or not url.netloc:
        raise _bad("expected a path that begins with /")
    return url.netloc, url.path, url.query


def _host(text: str) -> str:
    match = _HOST.fullmatch(text.strip())
    if match is None:
        raise _bad("expected a Host such as localhost:9308")
    return match[1].strip("[]").rstrip(".").lower()


def _bad(text: str, *, unread: bool = False) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, text, unread=unread)


def _too_large() -> Refused:
    text = f"a request may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes with them"
    return Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text, unread=True)
