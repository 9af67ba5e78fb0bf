"""Metrics, probes and the daemon's page over HTTP or HTTPS, for a network on which not everybody means well.

One background thread serves all, by asyncio, so that however many ask at once the loop shares the interpreter with one
thread and never with dozens. A connection is for one request and has ``deadline_s`` for everything: TLS handshake,
request, answer to its last byte. Bytes that trickle win nothing. At most ``MAX_SILENT`` connections may be open that
have not asked yet, and ``MAX_ANSWERED`` that have: one more, and the oldest of its kind is cut off. So the newest is
always let in, and a probe, which asks at once and whose answer needs no patience, gets through a flood of others.

``request`` says what is a request, ``pages`` what is answered. What clients did is logged at debug level, with nothing
that they sent and is not printable.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import socket
import threading
from typing import Any

from prometheus_client import CollectorRegistry

from streamrnn.broker.security import Secret
from streamrnn.daemon.endpoint.certificate import Certificate
from streamrnn.daemon.endpoint.exposition import MAX_AGE_S
from streamrnn.daemon.endpoint.pages import Answer, Pages, refused
from streamrnn.daemon.endpoint.request import MAX_HEAD_BYTES, Refused, Request, read_request
from streamrnn.daemon.health import Health
from streamrnn.daemon.logs import Seldom
from streamrnn.daemon.questions import Questions
from streamrnn.errors import ConfigError

MAX_SILENT = 64
"""Clients that may be connected without having asked for anything."""
MAX_ANSWERED = 64
"""Clients that may be connected for an answer."""
DEADLINE_S = 10.0
"""Prometheus waits as long for a scrape."""

_LINGER_S, _LINGER_BYTES = 1.0, 256 * 1024
_CHUNK = 64 * 1024
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class HttpServer:
    """Serves from construction until ``close``; a context manager.

    ``port=0`` takes a free one; the one in use is ``port``. With ``certificate`` it serves HTTPS and nothing else; with
    ``token``, see ``pages``. ``questions`` are those that the loop answers. Raises ConfigError when the address
    cannot be bound.

    >>> with HttpServer("127.0.0.1", 0, CollectorRegistry(), Health()) as server:
    ...     server.port > 0
    True
    """

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        health: Health,
        *,
        token: Secret | None = None,
        certificate: Certificate | None = None,
        questions: Questions | None = None,
        deadline_s: float = DEADLINE_S,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        listener = _listen(host, port)
        address, self.port = listener.getsockname()[:2]
        self.host = host
        pages = Pages(registry, health, questions or Questions(), token, host, address, max_age_s)
        self._server = _Server(listener, pages, certificate, deadline_s)
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)
        self._thread.start()
        self._closed = False

    def close(self) -> None:
        """Stop listening; those whose requests are being answered have a second more. A second call does nothing."""
        if not self._closed:
            self._closed = True
            if self._thread.is_alive():
                self._server.stop()
            self._thread.join()

    def __enter__(self) -> HttpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Client:
    """A connection, and the task that serves it."""

    task: asyncio.Task[None]

    def __init__(self, connection: socket.socket, address: str) -> None:
        self.connection, self.address = connection, address
        self.is_begun = False  # from then on the socket is the event loop's to close


class _Server:
    # Connections that are made but not accepted yet. Of more than these, a client's system tries again in seconds only.
    request_queue_size = 1024

    def __init__(
        self, listener: socket.socket, pages: Pages, certificate: Certificate | None, deadline_s: float
    ) -> None:
        self._listener, self._pages, self._certificate = listener, pages, certificate
        self._deadline_s = deadline_s
        self._silent: dict[_Client, None] = {}  # oldest first, as the other one
        self._answered: dict[_Client, None] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_tell)
        self._stopping = asyncio.Event()
        self._untrusted = Seldom()

    def run(self) -> None:
        """Serve until ``stop``."""
        with self._listener, asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """From any thread: serve nobody else."""
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self) -> None:
        keeping = asyncio.create_task(self._pages.keep_history())
        accepting = asyncio.create_task(self._accept())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((accepting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if accepting.done():
            accepting.result()  # it ends by an error only
        accepting.cancel()
        keeping.cancel()
        self._listener.close()
        if self._answered:
            await asyncio.wait([client.task for client in self._answered], timeout=min(_LINGER_S, self._deadline_s))

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._listener)
            except OSError as error:  # the client has left already, or this process has too many files open
                if error.errno in _NO_DESCRIPTORS:
                    _cut_off_oldest(self._silent)
                    await asyncio.sleep(0.1)
            else:
                self._admit(_Client(connection, str(address[0])))
            await asyncio.sleep(0)  # accepting takes no pause by itself while there is somebody to accept

    def _admit(self, client: _Client) -> None:
        client.task = self._loop.create_task(self._handle(client))
        client.task.add_done_callback(functools.partial(self._forget, client))
        self._silent[client] = None
        if len(self._silent) > MAX_SILENT:
            _cut_off_oldest(self._silent)

    def _forget(self, client: _Client, task: asyncio.Task[None]) -> None:
        self._silent.pop(client, None)
        self._answered.pop(client, None)
        if not client.is_begun:
            client.connection.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("serving a client failed", exc_info=error)

    async def _handle(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._converse(client)
        except TimeoutError:
            _log.debug("%s is cut off after %g s", client.address, self._deadline_s)
        except OSError as error:  # it hung up, or what it sent is no TLS; nobody's problem but its own
            _log.debug("%s is gone: %a", client.address, str(error))

    async def _converse(self, client: _Client) -> None:
        reader = asyncio.StreamReader(MAX_HEAD_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        secure: dict[str, Any] = {}
        if self._certificate is not None:  # the handshake is part of this task, so that it keeps nobody else waiting
            secure = {
                "ssl": self._certificate.context(),
                "ssl_handshake_timeout": self._deadline_s,
                "ssl_shutdown_timeout": self._deadline_s,
            }
        client.is_begun = True
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, client.connection, **secure)
        writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        try:
            transport.set_write_buffer_limits(high=1, low=0)  # so that drain waits until the system has taken all
            await self._answer(client, reader, writer)
        finally:
            transport.abort()

    async def _answer(self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request: Request | None = None
        try:
            request = await read_request(reader)
            if request is None:
                return
            self._has_asked(client)
            answer, unread = await self._pages.answer(request), request.has_body
        except Refused as refusal:
            answer, unread = refused(refusal), refusal.unread
        self._log(client, request, answer)
        await _send(writer, answer, with_body=request is None or request.method != "HEAD")
        await _hang_up(writer, reader, unread)

    def _has_asked(self, client: _Client) -> None:
        del self._silent[client]
        self._answered[client] = None
        if len(self._answered) > MAX_ANSWERED:
            _cut_off_oldest(self._answered)

    def _log(self, client: _Client, request: Request | None, answer: Answer) -> None:
        what = "no request" if request is None else f"{request.method} {request.path[:200]}"
        _log.debug("%s: %s: %d", client.address, what, answer.status)
        if request is not None and answer.status == 401 and (count := self._untrusted.due()):
            _log.warning(
                "/%s is asked for without the token of http.token, as by %s; %d times since the last such line",
                request.path.split("/")[1],  # not the key of a stream
                client.address,
                count,
            )


async def _send(writer: asyncio.StreamWriter, answer: Answer, with_body: bool) -> None:
    # In pieces, as the event loop copies what the system does not take at once; a short answer is one.
    body = memoryview(answer.body if with_body else b"")
    writer.write(answer.head() + body[:_CHUNK])
    await writer.drain()
    for start in range(_CHUNK, len(body), _CHUNK):
        writer.write(body[start : start + _CHUNK])
        await writer.drain()


async def _hang_up(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, unread: bool) -> None:
    """Close the connection so that the client can read its answer.

    Its system throws the answer away when ours closes while something it sent is unread; so that is read first.
    """
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                if writer.can_write_eof():
                    writer.write_eof()
                left = _LINGER_BYTES
                while left > 0 and (read := await reader.read(_CHUNK)):
                    left -= len(read)
    writer.close()
    await writer.wait_closed()


def _cut_off_oldest(clients: dict[_Client, None]) -> None:
    for client in clients:
        if not client.task.cancelling():
            _log.debug("too many clients are connected: %s is cut off", client.address)
            client.task.cancel()
            return


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What asyncio has to say of clients that left in the middle of something.
    _log.debug("%s", context.get("message"), exc_info=context.get("exception"))


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:  # the system's resolver would wrap it around
        raise ConfigError(f"http.port: must be 0 to 65535, got {port}")
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"http.host: {host!r} is not an address or a resolvable name: {error}") from error
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_Server.request_queue_size)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            remedy = "is in use by another process; stop it, choose another port, or set http: null to serve nothing"
        elif error.errno in (errno.EACCES, errno.EPERM):
            remedy = "may not be bound by this user; choose one above 1023"
        else:
            raise ConfigError(
                f"http.host: {host!r} cannot be bound ({error}); use an address of this machine"
            ) from error
        raise ConfigError(f"http.port: {port} on {host} {remedy}") from error
    return listener
