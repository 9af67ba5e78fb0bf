"""How to reach a Kafka cluster, as values, and the client arguments that follow from them.

Pure functions from settings to keyword arguments, so that every rule the service relies on can be read, and tested, in
one place without a broker. Nothing here imports a client. Rules kept: read-committed consumption, no automatic commits,
no automatic offset resets, static membership, idempotent production acknowledged by all replicas, no topic created by
accident, and no secret in a repr or a log line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from streamrnn.broker.protocol import CONNECT_TIMEOUT_S
from streamrnn.broker.security import KafkaSecurity, Kerberos, Secret

FETCH_PARTITION_BYTES = 4 << 20
"""Bytes fetched from a partition at once. The client fetches nothing while it hands records of a fetch out, so each
fetch should be worth its round trip; Kafka's own 1 MiB is used up in 50 ms."""

FETCH_TOTAL_BYTES = 32 << 20
"""Bytes a broker may put into one answer over all partitions: bounds the memory that fetched records take."""

FETCH_WAIT_MS = 100
"""How long a broker waits for the first new record. Only as long as a stop or a resumed partition may be delayed."""

BATCH_BYTES = 256 << 10
"""Bytes of one produced batch: a commit interval's predictions of a partition in one or a few requests."""

HEARTBEAT_MS = 500
"""Between two heartbeats. Kafka's own 3 s would keep a partition that moves waiting for as long: its old owner has
given it up, and the others have not heard yet that they should join again. A heartbeat costs next to nothing."""

LINGER_MS = 5
"""How long the producer waits for a batch to fill: small against a commit interval, large against a send."""

TEXT_END = "\0"
"""What confluent-kafka sends along behind the text of a commit."""


@dataclass(frozen=True)
class Limits:
    """How much is read: of a record (key and value), and of what a batch of records unpacks to."""

    max_record_bytes: int = 1 << 20
    max_unpacked_bytes: int = 1 << 30


def reading_bytes(max_record_bytes: int) -> int:
    """The memory that a worker needs for its records, with one broker: fetched, being unpacked, and in two polls.

    A poll takes one record more than it has room for, and one that is read is held twice while it comes together.

    >>> reading_bytes(1 << 20) >> 20, reading_bytes(64 << 20) >> 20
    (100, 352)
    """
    return (100 << 20) + 4 * max(0, max_record_bytes - (1 << 20))


READER_LIMITS = Limits(max_record_bytes=64 << 20)
"""Of whoever looks at records from outside: as much as a job may ask for."""


@dataclass(frozen=True, kw_only=True)
class KafkaConnection:
    """The cluster, and how long to wait for it: ``connect_timeout_s`` for the first answer, then per request."""

    bootstrap_servers: str | Sequence[str]
    security: KafkaSecurity = field(default_factory=KafkaSecurity, repr=False)
    client_id: str = "streamrnn"
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    request_timeout_s: float = 10.0

    @property
    def servers(self) -> tuple[str, ...]:
        """The bootstrap servers, each as ``host:port``."""
        return server_list(self.bootstrap_servers)


@dataclass(frozen=True, kw_only=True)
class KafkaGroup:
    """This worker's place in its consumer group.

    ``instance_id`` makes the membership static: a restart within ``session_timeout_s`` takes its partitions back, and
    a second process with the same id fences the first; None: a name that no other process has.
    ``max_poll_interval_s`` is generous because a restore replays records between two polls; a dead process is noticed
    by its session all the same. ``limits`` are those of what it reads.
    """

    group_id: str
    instance_id: str | None = None
    session_timeout_s: float = 10.0
    max_poll_interval_s: float = 1800.0
    limits: Limits = field(default_factory=Limits)


def server_list(given: str | Sequence[str]) -> tuple[str, ...]:
    """Bootstrap servers one by one, given as a list or as text separated by commas.

    >>> server_list("a:9092, b:9092")
    ('a:9092', 'b:9092')
    """
    if isinstance(given, str):
        return tuple(server.strip() for server in given.split(",") if server.strip())
    return tuple(server.strip() for server in given)


_HOST = r"[\w.-]+"
_SERVER = re.compile(rf"(?:{_HOST}|\[[0-9A-Za-z.:%]+\]):([0-9]{{1,5}})")
_EXPECTED = "expected host:port with a port of 1 to 65535"
_REMEDY = (
    "user and password go into security.sasl_username and security.sasl_password, the protocol into security.protocol"
)


def server_trouble(server: str) -> str | None:
    """What is wrong with one server, None where nothing is. Shown only where it can be nothing but a misspelt address.

    >>> server_trouble("[::1]:9092"), server_trouble("localhost")
    (None, "found 'localhost', expected host:port with a port of 1 to 65535")
    >>> server_trouble("alice:secret:broker").partition(", expected")[0]
    'found a server with more than one colon, which is not shown'
    """
    match = _SERVER.fullmatch(server)
    if match is not None and 0 < int(match[1]) < 65536:
        return None
    if match is not None or re.fullmatch(_HOST, server):
        return f"found {server!r}, {_EXPECTED}"
    if "@" in server or "/" in server:
        found = "a server with credentials or a protocol"
    elif server.count(":") > 1:
        found = "a server with more than one colon"
    else:
        found = "a server without a host, or with a port that is no number"
    brackets = "" if "@" in server else " (an IPv6 address in brackets)"
    return f"found {found}, which is not shown, {_EXPECTED}{brackets}; {_REMEDY}"


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def client_kwargs(connection: KafkaConnection) -> dict[str, Any]:
    """Return the arguments every kind of client takes: where, how long, and as whom."""
    security = connection.security
    kwargs: dict[str, Any] = {
        "bootstrap_servers": list(connection.servers),
        "client_id": connection.client_id,
        "security_protocol": security.protocol,
        "bootstrap_timeout_ms": round(connection.connect_timeout_s * 1000),
        "request_timeout_ms": round(connection.request_timeout_s * 1000),
        "reconnect_backoff_max_ms": 2000,  # a broker that comes back is found again within seconds
    }
    if security.protocol.endswith("SSL"):
        kwargs |= {
            "ssl_cafile": security.ssl_cafile,
            "ssl_certfile": security.ssl_certfile,
            "ssl_keyfile": security.ssl_keyfile,
            "ssl_password": _revealed(security.ssl_key_password),
            "ssl_check_hostname": security.ssl_check_hostname,
        }
    if security.protocol.startswith("SASL"):
        kwargs |= {
            "sasl_mechanism": security.sasl_mechanism,
            "sasl_plain_username": security.sasl_username,
            "sasl_plain_password": _revealed(security.sasl_password),
        }
    if security.sasl_mechanism == "GSSAPI":
        kerberos = security.kerberos or Kerberos()
        kwargs |= {
            "sasl_kerberos_service_name": kerberos.service_name,
            "sasl_kerberos_domain_name": kerberos.domain,
        }
    return kwargs


def consumer_kwargs(connection: KafkaConnection, group: KafkaGroup) -> dict[str, Any]:
    """Return the consumer's arguments, its assignor excepted. The group's ``instance_id`` must be known by now."""
    return client_kwargs(connection) | {
        "group_id": group.group_id,
        "group_instance_id": group.instance_id,
        "session_timeout_ms": round(group.session_timeout_s * 1000),
        # By its heartbeat a member learns that the group rebalances, twice when partitions move.
        "heartbeat_interval_ms": round(min(HEARTBEAT_MS, group.session_timeout_s * 1000 / 4)),
        "max_poll_interval_ms": round(group.max_poll_interval_s * 1000),
        "isolation_level": "read_committed",  # also what makes pending offset commits be waited for
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "metadata_max_age_ms": 30_000,  # a topic created or widened later is noticed within half a minute
        "max_partition_fetch_bytes": FETCH_PARTITION_BYTES,
        "fetch_max_bytes": FETCH_TOTAL_BYTES,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "metrics_enabled": False,  # the service keeps its own
    }


def reader_kwargs(connection: KafkaConnection) -> dict[str, Any]:
    """Return the arguments of a consumer that belongs to no group: it looks at records and leaves no trace."""
    return client_kwargs(connection) | {
        "group_id": None,
        "isolation_level": "read_committed",
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "fetch_max_wait_ms": FETCH_WAIT_MS,
        "max_poll_records": 100,  # how closely the reader looks at how much it has read
        "metrics_enabled": False,
    }


def producer_kwargs(connection: KafkaConnection) -> dict[str, Any]:
    """Return the producer's arguments."""
    request_ms = round(connection.request_timeout_s * 1000)
    return client_kwargs(connection) | {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": LINGER_MS,
        "batch_size": BATCH_BYTES,
        "max_block_ms": request_ms,
        "delivery_timeout_ms": 6 * request_ms,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


class _WithoutCredentials(logging.Filter):
    """Drops the debug lines in which a client prints what it sends while it authenticates."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "kafka.protocol.parser":  # raw bytes of the wire: nothing tells a password from a record
            return record.levelno > logging.DEBUG
        arguments = record.args if isinstance(record.args, tuple) else (record.args,)
        return not any("Sasl" in type(argument).__name__ for argument in arguments)


_WITHOUT_CREDENTIALS = _WithoutCredentials()


def keep_credentials_out_of_logs() -> None:
    """Filter the client's loggers that print requests and wire bytes at debug level. Idempotent."""
    for name in ("kafka.protocol.parser", "kafka.net.connection"):
        logging.getLogger(name).addFilter(_WITHOUT_CREDENTIALS)
