"""HTTP connections that end by a deadline, whatever the other side does.

A socket's own timeout is for each operation: who sends a byte every few seconds is waited for without end. Here all
that an exchange connects to is shut when its time is over, so that whoever waits for a byte meets the end at once, in
the handshake of TLS, in headers, and in the body of a refusal alike.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from typing import Any


class Deadline:
    """Connections made through its ``handlers`` are shut ``seconds`` after it was entered; ``over`` says so."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._ends_at = seconds, float("inf")
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True
        self.over = False

    def __enter__(self) -> Deadline:
        self._ends_at = time.monotonic() + self._seconds
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def _shut(self) -> None:
        with self._lock:
            self.over = True
            for held in self._sockets:
                with contextlib.suppress(OSError):  # the other side has gone already
                    held.shutdown(socket.SHUT_RDWR)

    def handlers(self, context: ssl.SSLContext | None) -> tuple[urllib.request.BaseHandler, ...]:
        """What urllib connects with; ``context`` is for https."""
        return _Plain(self), _Encrypted(self, context)

    def watched(self, made: http.client.HTTPConnection) -> http.client.HTTPConnection:
        """A connection whose socket, once it has one, is shut with the others."""
        made._create_connection = self._connect  # type: ignore[attr-defined]
        return made

    def _connect(self, address: tuple[str, int], timeout: float | None, *more: Any) -> socket.socket:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        made = socket.create_connection(address, left if timeout is None else min(left, timeout), *more)
        with self._lock:
            if self.over:
                made.close()
                raise TimeoutError("timed out")
            self._sockets.append(made.dup())  # TLS takes the first one over
        return made


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> Any:
        def make(host: str, **more: Any) -> http.client.HTTPConnection:
            return self._deadline.watched(http.client.HTTPConnection(host, **more))

        return self.do_open(make, request)


class _Encrypted(urllib.request.HTTPSHandler):
    def __init__(self, deadline: Deadline, context: ssl.SSLContext | None) -> None:
        super().__init__(context=context)
        self._deadline, self._given = deadline, context

    def https_open(self, request: urllib.request.Request) -> Any:
        def make(host: str, **more: Any) -> http.client.HTTPConnection:
            return self._deadline.watched(http.client.HTTPSConnection(host, context=self._given, **more))

        return self.do_open(make, request)
