"""Whether a cluster answers, from what librdkafka tells of its connections: a count of answers each second, and errors.

The same question as in kafka_answers.py, asked of another client: there each request is followed, here the client adds
them up and hands its account out during a poll or a flush. An outage begins once nothing has been answered for
``GRACE_S`` and either there is no connection or something waits for an answer; as long as no account comes, because
nobody polls, nothing new is known. What is said while a connection is made is no answer, so only brokers whose
connections can be used are counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from confluent_kafka import KafkaError

from streamrnn.broker.confluent_errors import cause
from streamrnn.broker.kafka_answers import GRACE_S, HANGS
from streamrnn.broker.protocol import CONNECTION_STATES, REQUESTS, Connectivity
from streamrnn.broker.security import KafkaSecurity

_REFUSES = (KafkaError._AUTHENTICATION, KafkaError._SSL)
"""What a server that is there has against this client."""
_UNCONNECTED = (*_REFUSES, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._ALL_BROKERS_DOWN)
_TOO_LARGE = "receive.message.max.bytes"


class _Server(msgspec.Struct):
    state: str
    rx: int
    waitresp_cnt: int = 0
    connects: int = 0
    req_timeouts: int = 0


class _Account(msgspec.Struct):
    brokers: dict[str, _Server]


class _Client(msgspec.Struct):
    """What one client has told last."""

    at: float = 0.0
    received: int = 0
    timeouts: int = 0
    waiting: bool = False
    states: tuple[str, ...] = ()


class Standing:
    """What the clients of one worker have met. Any thread may call any of it."""

    def __init__(
        self,
        security: KafkaSecurity,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._security, self._clock, self._wall = security, clock, wall
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}
        self._began: float | None = None  # when something was first asked
        self._answered: tuple[float, float] | None = None
        self._looked_at: float | None = None  # when it was last known what waits for an answer
        self._unanswered = False
        self._refused_since: float | None = None
        self._causes: dict[str, str] = {}  # by server, since something was last answered
        self._failures = Counter(dict.fromkeys(REQUESTS, 0))
        self._reader: Callable[[str | bytes], None] | None = None
        self._error: Callable[[KafkaError], None] | None = None
        self.fatal: KafkaError | None = None

    def followed(self, name: str) -> dict[str, Any]:
        """The properties by which a client of that name tells what it meets."""
        with self._lock:
            self._clients[name] = _Client()
            if self._began is None:
                self._began = self._clock()
        return {
            "stats_cb": lambda text: self.account(name, text),
            "error_cb": lambda error: self.error(error, name),
        }

    def also(self, account: Callable[[str | bytes], None], error: Callable[[KafkaError], None]) -> None:
        """Let somebody else read the consumer's accounts and errors as well."""
        self._reader, self._error = account, error

    def dropped(self, name: str) -> None:
        """There is no such client any more."""
        with self._lock:
            self._clients.pop(name, None)

    def account(self, name: str, text: str | bytes) -> None:
        """A client's account of its connections, and of what it has read."""
        if name == "consumer" and self._reader is not None:
            self._reader(text)
        servers = msgspec.json.decode(text, type=_Account).brokers.values()
        usable = [server for server in servers if server.state == "UP"]
        told = _Client(
            at=self._clock(),
            received=sum(server.rx for server in usable),
            timeouts=sum(server.req_timeouts for server in servers),
            waiting=any(server.waitresp_cnt for server in servers) or not usable,
            states=tuple(_state(server) for server in servers if server.state != "INIT"),
        )
        with self._lock:
            if (before := self._clients.get(name)) is None:
                return
            self._clients[name] = told
            self._failures["other"] += max(0, told.timeouts - before.timeouts)
            self._looked_at = self._clock()
        if told.received > before.received:
            self.answered()
        if usable:
            self._refused_since = None

    def error(self, error: KafkaError, name: str = "") -> None:
        """What a client says of a failure that is nobody's request."""
        if name == "consumer" and self._error is not None:
            self._error(error)
        if error.fatal() or _TOO_LARGE in error.str():
            self.fatal = error
        if error.code() in _UNCONNECTED:
            with self._lock:
                self._failures["connect"] += 1
                if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which says no more than the others do
                    server, text = cause(error, self._security)
                    self._causes[server] = text
        if error.code() in _REFUSES and self._refused_since is None:
            self._refused_since = self._clock()

    def answered(self) -> None:
        """Something was answered just now."""
        self._answered, self._unanswered = (self._clock(), self._wall()), False
        with self._lock:
            self._causes = {}

    def unanswered(self) -> None:
        """Something that is no part of the accounts (a commit) was asked, and waits for its answer at this moment."""
        self._unanswered, self._looked_at = True, self._clock()

    def gave_up(self, kind: str) -> None:
        """A client was asked for something, and nothing came of it in time."""
        with self._lock:
            self._failures[kind] += 1

    def told(self) -> str:
        """Why there is no connection, as far as anybody says, since something was last answered."""
        with self._lock:
            texts: dict[str, list[str]] = {}
            for server, text in self._causes.items():
                texts.setdefault(text, []).append(server)
        if len(texts) == 1:
            return next(iter(texts))
        return "; ".join(f"{', '.join(servers)}: {text}" for text, servers in texts.items())

    def locked_out_s(self) -> float:
        """For how many seconds this worker has been refused wherever it connects."""
        return 0.0 if self._refused_since is None else self._clock() - self._refused_since

    @property
    def away(self) -> bool:
        """Whether there is an outage."""
        return self._away_since() is not None

    def connectivity(self) -> Connectivity:
        """How it is at this moment."""
        since, answered = self._away_since(), self._answered
        with self._lock:
            clients, failures = list(self._clients.values()), dict(self._failures)
        connections = dict.fromkeys(CONNECTION_STATES, 0)
        for client in clients:
            silent = self._clock() - client.at > GRACE_S  # whoever waits for a commit polls nothing else
            for state in client.states:
                connections["connecting" if silent and state == "connected" else state] += 1
        at = None if answered is None else answered[1]
        begun = self._wall() - (self._clock() - since) if at is None and since is not None else at
        return Connectivity(
            answered_at=at,
            away_since=None if since is None else begun,
            cause="" if since is None else self.told() or HANGS,
            connections=connections if any(connections.values()) else {},
            failures=failures,
        )

    def _away_since(self) -> float | None:
        with self._lock:
            waiting = self._unanswered or any(client.waiting for client in self._clients.values())
        since = self._began if self._answered is None else self._answered[0]
        if not waiting or since is None or self._looked_at is None:
            return None
        return since if self._looked_at - since > GRACE_S else None


def _state(server: _Server) -> str:
    if server.state == "UP":
        return "connected"
    return "disconnected" if server.state == "DOWN" else "connecting"
