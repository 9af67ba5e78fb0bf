"""Servers on loopback that are no Kafka brokers, or do not get as far as showing it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Manner = Callable[[socket.socket, threading.Event], object]
"""What is done with a connection; the event is set when the server is to end."""


def silent(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - a Manner
    """Says nothing."""
    ended.wait()


def closing(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - a Manner
    """Closes the connection once something came."""
    connection.recv(1 << 16)


def saying(text: bytes) -> Manner:
    """Answers whatever comes."""

    def say(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(1 << 16)
        connection.sendall(text)
        ended.wait(0.5)

    return say


def speaking(api_versions: bytes | None = None, metadata: bytes | None = None) -> Manner:
    """Speaks Kafka as old brokers do, as far as the metadata of a cluster; both answers may be others instead."""

    def speak(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - a Manner
        requests = connection.makefile("rb")
        while header := requests.read(4):
            request = requests.read(struct.unpack(">i", header)[0])
            key, version, correlation_id = struct.unpack(">hhi", request[:8])
            if key == API_VERSIONS:
                body = versions_answer(35 if version else 0) if api_versions is None else api_versions
            else:
                body = metadata or b""
            connection.sendall(struct.pack(">ii", 4 + len(body), correlation_id) + body)

    return speak


API_VERSIONS = 18


def versions_answer(error: int) -> bytes:
    """Of version 0: versions 0 of itself, 1 of Metadata, and what clients authenticate and administrate with."""
    apis = ((API_VERSIONS, 0, 0), (3, 1, 1), (17, 0, 1), (19, 0, 0), (32, 0, 0), (36, 0, 1))
    return struct.pack(">hi", error, len(apis)) + b"".join(struct.pack(">hhh", *api) for api in apis)


def metadata_answer(host: bytes, port: int) -> bytes:
    """Of version 1: one broker, which advertises this address, and no topics."""
    broker = struct.pack(">iih", 1, 5, len(host)) + host + struct.pack(">ih", port, -1)
    return broker + struct.pack(">ii", 5, 0)


@contextlib.contextmanager
def serving(manner: Manner, certificate: Path | None = None) -> Iterator[str]:
    """``host:port`` of a server, which speaks TLS where it has a certificate."""
    ended, threads = threading.Event(), []
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def meet(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if context is None:
                manner(connection, ended)
                return
            with context.wrap_socket(connection, server_side=True) as encrypted:
                manner(encrypted, ended)

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=meet, args=(connection,), daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            for thread in (accepting, *threads):
                thread.join(5.0)
