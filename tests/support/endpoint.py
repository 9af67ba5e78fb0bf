"""The daemon's endpoint on a free port, and clients that say to it exactly what they are told to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Metric

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.endpoint.http import HttpServer
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics

PATIENCE_S = 30.0
"""How long a test waits for what must come; where it must come soon, the server's own deadline is short."""


class Endpoint:
    """A server with everything that it shows."""

    def __init__(self, host: str = "127.0.0.1", **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.health = Health()
        tp = TopicPartition("departures", 0)
        self.health.assigned(tp)
        self.health.restored(tp)
        self.server = HttpServer(host, 0, self.registry, self.health, **options)
        self.port = self.server.port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def say(self, request: bytes, *, then_close: bool = False) -> bytes:
        """Send this, and return all that is answered until the server closes the connection."""
        with self.connect() as client:
            client.sendall(request)
            if then_close:
                client.shutdown(socket.SHUT_WR)
            return everything(client)

    def get(self, path: str, *headers: str) -> bytes:
        lines = (f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", "")
        return self.say("\r\n".join(lines).encode("latin-1"))


@contextlib.contextmanager
def endpoint(host: str = "127.0.0.1", **options: Any) -> Iterator[Endpoint]:
    serving = Endpoint(host, **options)
    with serving.server:
        yield serving


def everything(client: socket.socket) -> bytes:
    """What comes until the other side closes; a connection that is reset has nothing more to say."""
    received = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while part := client.recv(1 << 20):
            received += part
    return received


def status(answer: bytes) -> int:
    """The status of an answer, 0 where there is none."""
    return int(answer.split(b" ", 2)[1]) if answer else 0


def body(answer: bytes) -> str:
    return answer.partition(b"\r\n\r\n")[2].decode()


def headers(answer: bytes) -> dict[str, str]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Counted:
    """A collector that counts how often it is collected, and waits until it may be."""

    def __init__(self) -> None:
        self.collections = 0
        self.may = threading.Event()
        self.may.set()
        self.begun = threading.Event()

    def collect(self) -> list[Metric]:
        self.collections += 1
        self.begun.set()
        assert self.may.wait(PATIENCE_S)
        return []
