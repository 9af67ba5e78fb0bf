"""The client's connections to the brokers, with an eye on how they end.

kafka-python connects again for ever, whatever the reason, and tells the reason in its log alone. Here the newest cause
is kept for each server; what waiting does not mend ends the client's first connecting at once; and while a client runs
the cause is one line of our log. Connections also keep what the client lets go: the broker's last words, which come
together with the connection's end, and the mechanisms that it offers. A handshake that is not answered has an end, and
so has a connection on which comes what cannot be read: the client's own would wait for the answer that was there.
Whatever a connection ends with reaches those who wait for an answer as an error of the client's. No socket stays open
behind a try that failed or a client that is closed.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import kafka.errors as client_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.sasl import SaslHandshakeRequest

from streamrnn.broker.kafka_answers import GRACE_S, Answers
from streamrnn.broker.kafka_failures import CLOSED, OFFERS, Cause, cause_of, shown
from streamrnn.broker.security import KafkaSecurity

_log = logging.getLogger(__name__)

_TOLD_ANYWAY = (
    "Bootstrap ",
    "Connection failed",
    "DNS lookup failed",
    "Exchanging credentials in the clear",
    "Metadata refresh: failed",
    "No node available",
    "Response %d [ResponseType",
    "Sending username and password in the clear",
    "%s: Abort",
    "%s: Connection lost",
    "%s: Error receiving",
    "%s: Error sending",
    "%s: socket disconnected",
    "Error sending %s to node %s",
    "Fetch to node %s failed",
    "Marking the coordinator dead",
)
"""How the client's lines begin that say less about a connection than we do."""


class _WithoutRepetition(logging.Filter):
    """Keeps the client's own account of failed connections, some with tracebacks, out of all but a debugging log."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.levelno >= logging.WARNING and str(record.msg).startswith(_TOLD_ANYWAY)
        return not told or logging.getLogger().level <= logging.DEBUG


_WITHOUT_REPETITION = _WithoutRepetition()


def keep_repetition_out_of_logs() -> None:
    """Filter the client's loggers that tell of connections. Idempotent."""
    in_net = ("connection", "inet", "manager", "sasl.plain", "sasl.scram", "transport")
    for name in ("cluster", "protocol.parser", *(f"net.{name}" for name in in_net)):
        logging.getLogger(f"kafka.{name}").addFilter(_WITHOUT_REPETITION)


class _Plain(KafkaTCPTransport):  # type: ignore[misc]
    def _sock_recv(self) -> tuple[bytes, Any]:
        data, end = super()._sock_recv()
        return data, None if data else end  # the next call meets the end again


class _Encrypted(KafkaSSLTransport):  # type: ignore[misc]
    def _sock_recv(self) -> tuple[bytes, Any]:
        data, end = super()._sock_recv()
        return data, None if data else end

    async def shake_hands(self, timeout_at: float | None) -> None:
        while True:
            try:
                self._sock.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._net.wait_read(self._sock, timeout_at=timeout_at)
            except ssl.SSLWantWriteError:
                await self._net.wait_write(self._sock, timeout_at=timeout_at)


def _readable(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """What reads answers, which ends a connection for an error of Kafka's protocol alone."""

    def reading(data: bytes) -> Any:
        try:
            return read(data)
        except client_errors.KafkaProtocolError:
            raise
        except Exception as error:
            raise client_errors.KafkaProtocolError("an answer cannot be decoded") from error

    return reading


class _EndedError(client_errors.KafkaConnectionError):  # type: ignore[misc]
    """A connection's end for a reason that is not the client's, as of a token or a ticket."""

    def __init__(self, cause: Cause, error: BaseException) -> None:
        super().__init__(cause.text)
        self.cause, self.__cause__ = cause, error


async def _connected(net: Any, node: Any, options: Any, proxy_url: str | None, timeout_at: float | None) -> Any:
    """A socket to a server's first address that takes one. As the client's, which leaves open those that failed."""
    factory, made = KafkaNetSocket(proxy_url), []
    make = factory.socket

    def noting(*kind: Any) -> Any:
        made.append(make(*kind))
        return made[-1]

    factory.socket = noting
    newest = client_errors.KafkaConnectionError("DNS Resolution failure")
    for address in factory.dns_lookup(node.host, node.port):
        try:
            return await factory.connect(net, address, options, timeout_at=timeout_at)
        except BaseException as error:
            for sock in made:
                sock.close()
            if isinstance(error, client_errors.KafkaTimeoutError):
                raise client_errors.KafkaConnectionError("Connection timed out") from None
            if isinstance(error, OSError):
                newest = client_errors.KafkaConnectionError(f"unable to connect: {error}")
            elif isinstance(error, client_errors.KafkaConnectionError):
                newest = error
            else:
                raise
    raise newest


class ClosingClient(KafkaNetClient):  # type: ignore[misc]
    """The client's, which when closed leaves a connection open that still had something to send."""

    def close(self, node_id: Any = None) -> None:
        """See the client's."""
        super().close(node_id)
        if node_id is None:
            self._manager.let_go()


class HopelessError(client_errors.KafkaConnectionError):  # type: ignore[misc]
    """No server can be reached, for causes that waiting does not mend."""


class NamingManager(KafkaConnectionManager):  # type: ignore[misc]
    """The client's connections to the brokers, and why those that failed did.

    The client's own thread puts causes in; what asks for them may be another, and sees each as it is at that moment.
    """

    def __init__(
        self,
        net: Any,
        security: KafkaSecurity,
        clock: Callable[[], float] = time.monotonic,
        answers: Answers | None = None,
        **config: Any,
    ):
        super().__init__(net, **config)
        self._security, self._clock, self._answers = security, clock, answers
        if answers is not None:
            answers.follow(self)
        self._failing: dict[Any, float] = {}  # by node, since when without a connection in between
        self._offered: tuple[str, ...] = ()
        self._causes: dict[Any, tuple[Cause, int]] = {}  # by node, the newest last; how often in a row
        self._transports: WeakSet[Any] = WeakSet()
        self._began: float | None = None  # when the first of the present failures was, none having gone well since

    def get_connection(self, node_id: Any, *args: Any, **kwargs: Any) -> Any:
        """See the client's. Each new connection is watched until it ends."""
        before = self._conns.get(node_id)
        connection = super().get_connection(node_id, *args, **kwargs)
        if connection is not before:
            self._watch(node_id, connection)
        return connection

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        """As the client's, which waits for ever for a handshake, and leaves the socket open when it fails."""
        options, proxy = self.config["socket_options"], self.config["proxy_url"]
        sock = await _connected(self._net, node, options, proxy, timeout_at)
        try:
            if not self.ssl_enabled:
                transport = _Plain(self._net, sock, host=node.host)
                self._transports.add(transport)
                return transport
            settings = {name: value for name, value in self.config.items() if name.startswith("ssl_")}
            transport = _Encrypted(self._net, sock, host=node.host, **settings)
            sock = transport._sock  # the one before has been taken over
            self._transports.add(transport)
            await transport.shake_hands(timeout_at)
        except BaseException:
            sock.close()
            raise
        return transport

    def let_go(self) -> None:
        """Close what is still open once nothing runs any more that would."""
        for transport in list(self._transports):
            sock, transport._sock = transport._sock, None
            if sock is not None:
                sock.close()

    def maybe_raise_auth_failure(self, node_id: Any) -> None:  # noqa: ARG002 - the client's signature
        """What the client asks before each try. The first connecting is given up where no server can be hoped for."""
        if self._hopeless():
            raise HopelessError(self.told())

    def told(self) -> str:
        """The newest cause of each server that failed, or nothing."""
        newest = {self._server(node_id): cause.text for node_id, (cause, _) in list(self._causes.items())}
        texts: dict[str, list[str]] = {}
        for server, text in newest.items():
            texts.setdefault(text, []).append(server)
        if len(texts) == 1 and self._configured().issuperset(newest):
            return next(iter(texts))
        return "; ".join(f"{', '.join(servers)}: {text}{self._advertised(*servers)}" for text, servers in texts.items())

    def _configured(self) -> set[str]:
        return {shown(f"{broker.host}:{broker.port}") for broker in self.cluster.bootstrap_brokers()}

    def _advertised(self, *servers: str) -> str:
        """What to look at where a server stands in no job file: whoever was reached has named it."""
        if self._configured().issuperset(servers):
            return ""
        return " (an address that the cluster gives, not bootstrap_servers: see the brokers' advertised.listeners)"

    def _hopeless(self) -> bool:
        """Whether no server could be reached yet, and of none it can be hoped for."""
        servers = [broker.node_id for broker in self.cluster.bootstrap_brokers()]
        return not self.bootstrapped and all(
            node in self._causes and 0 < self._causes[node][0].tries <= self._causes[node][1] for node in servers
        )

    def locked_out_s(self) -> float:
        """For how many seconds a client that runs has had no connection, for causes alone that are beyond doubt."""
        if self._began is None or any(connection.connected for connection in list(self._conns.values())):
            return 0.0
        return self._clock() - self._began if all(cause.tries == 1 for cause, _ in list(self._causes.values())) else 0.0

    def away(self) -> bool:
        """Whether the brokers have gone away, as far as is known: one of them has, or none was tried since an end."""
        causes = [cause for cause, _ in list(self._causes.values())]
        return not causes or any(cause.away for cause in causes)

    def states(self) -> list[str]:
        """Of each connection there is, or should be, which of ``CONNECTION_STATES`` it is in."""
        connections = dict(self._conns)
        ended = sum(node_id not in connections for node_id in list(self._causes))
        known = ["connected" if c.connected else "connecting" for c in connections.values() if not c.closed]
        return [] if self.closed else [*known, *["disconnected"] * ended]

    def _server(self, node_id: Any) -> str:
        broker = self.cluster.broker_metadata(node_id)
        return f"node {node_id}" if broker is None else shown(f"{broker.host}:{broker.port}")

    def _watch(self, node_id: Any, connection: Any) -> None:
        if self._answers is not None:
            self._answers.connecting(connection.init_future)
        connection.init_future.add_callback(lambda _: self._went_well(node_id))
        connection.init_future.add_errback(lambda error: self._failed(node_id, self._cause(error)))
        connection.close_future.add_errback(lambda error: self._ended(node_id, connection, error))
        send = connection._send_request

        def noting(request: Any, **kwargs: Any) -> Any:
            established = connection.connected
            future = send(request, **kwargs)
            if self._answers is not None and established:
                self._answers.asked(request, future)
            # The client forgets what the broker offers when it does not offer what was asked for.
            if isinstance(request, SaslHandshakeRequest):
                future.add_callback(lambda answer: setattr(self, "_offered", tuple(answer.mechanisms)))
            return future

        connection._send_request = noting
        self._keep_to_the_client_s_errors(connection)

    def _keep_to_the_client_s_errors(self, connection: Any) -> None:
        made, lost = connection.connection_made, connection.connection_lost

        def connection_made(transport: Any) -> None:
            made(transport)
            connection.parser.receive_bytes = _readable(connection.parser.receive_bytes)

        def connection_lost(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, client_errors.KafkaError | OSError):
                error = _EndedError(self._cause(error), error)
            lost(error)

        connection.connection_made, connection.connection_lost = connection_made, connection_lost

    def _cause(self, error: BaseException) -> Cause:
        if isinstance(error, _EndedError):
            return error.cause
        if isinstance(error, client_errors.UnsupportedSaslMechanismError) and not error.args and self._offered:
            error = client_errors.UnsupportedSaslMechanismError(f"{OFFERS}{', '.join(self._offered)}")
        return cause_of(error, self._security)

    def _went_well(self, node_id: Any) -> None:
        self._failing.pop(node_id, None)
        if self.bootstrapped:
            self._causes.clear()
            self._began = None

    def _ended(self, node_id: Any, connection: Any, error: BaseException) -> None:
        """A connection that stood is gone. While none has brought an answer yet, that says something."""
        unreadable = isinstance(error, client_errors.KafkaProtocolError)
        if connection.init_future.succeeded() and (unreadable or not self.bootstrapped):
            closed = isinstance(error, client_errors.KafkaConnectionError) and not isinstance(error, _EndedError)
            self._failed(node_id, CLOSED if closed else self._cause(error))

    def _failed(self, node_id: Any, cause: Cause) -> None:
        newest, times = self._causes.pop(node_id, (cause, 0))
        self._causes[node_id] = cause, times + 1 if newest == cause else 1  # now behind all others
        self._began = self._clock() if self._began is None else self._began
        since = self._failing.setdefault(node_id, self._clock())
        # Where nobody answers, there is an outage, of which more is told (daemon/outage.py).
        if self._answers is None or self._answers.answered_after(since + GRACE_S):
            self._tell(node_id, cause)

    def _tell(self, node_id: Any, cause: Cause) -> None:
        if self.bootstrapped and not self.closed:
            server = self._server(node_id)
            _log.warning(
                "no connection to Kafka at %s: %s%s",
                server, cause.text, self._advertised(server), extra={"fields": {"server": server}},
            )  # fmt: skip
