"""Making clients of a Kafka cluster, and turning their errors into ours, each with what to do about it.

A client that cannot be made leaves nothing open behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import kafka.errors as client_errors
from kafka.net.selector import NetworkSelector

from streamrnn.broker.kafka_answers import Answers, keep_noise_out_of_logs
from streamrnn.broker.kafka_compression import remedy
from streamrnn.broker.kafka_connections import (
    ClosingClient,
    HopelessError,
    NamingManager,
    keep_repetition_out_of_logs,
)
from streamrnn.broker.kafka_files import check_files
from streamrnn.broker.kafka_gone import GoneError
from streamrnn.broker.kafka_rights import missing_right
from streamrnn.broker.kafka_settings import KafkaConnection, keep_credentials_out_of_logs
from streamrnn.broker.kafka_tokens import provider
from streamrnn.errors import BrokerError, FencedError, RebalanceError

FENCED = (client_errors.FencedInstanceIdError, client_errors.ProducerFencedError)
_GROUP_CHANGED = (
    client_errors.CommitFailedError,
    client_errors.RebalanceInProgressError,
    client_errors.IllegalGenerationError,
    client_errors.UnknownMemberIdError,
    GoneError,
)
_UNCONNECTED = (client_errors.KafkaConnectionError, client_errors.NodeNotReadyError)
"""What a client raises where it has no connection to whom it wants to ask."""


_MANAGERS: WeakKeyDictionary[Any, NamingManager] = WeakKeyDictionary()
"""Of each client that lives, its connections."""


def connect(
    kind: Callable[..., Any], connection: KafkaConnection, kwargs: dict[str, Any], answers: Answers | None = None
) -> Any:
    """Make a client, or release what it had opened and raise a BrokerError that names the servers.

    ``answers`` is told what the client is answered.
    """
    keep_credentials_out_of_logs()
    keep_repetition_out_of_logs()
    keep_noise_out_of_logs()
    security = connection.security
    check_files(security)
    if security.oauth is not None:
        kwargs = kwargs | {"sasl_oauth_token_provider": provider(security.oauth)}
    opened: list[Any] = []

    def remember(**config: Any) -> Any:
        net = NetworkSelector(**config)
        try:
            opened.append(ClosingClient(net=net, manager=NamingManager(net, security, answers=answers, **config)))
        except BaseException:
            net.close()
            raise
        return opened[-1]

    try:
        client = kind(**kwargs, kafka_client=remember)
        _MANAGERS[client] = opened[-1]._manager
        return client
    except (client_errors.KafkaError, OSError, ValueError) as error:
        told = "; ".join(filter(None, (net._manager.told() for net in opened)))
        for net in opened:
            net.close()
        raise BrokerError(_why_not_made(error, connection, told)) from error


def _why_not_made(error: Exception, connection: KafkaConnection, told: str) -> str:
    servers = ", ".join(connection.servers)
    if isinstance(error, client_errors.KafkaConfigurationError):
        return f"Kafka client configuration refused: {error}"
    if isinstance(error, HopelessError):
        return f"no connection to Kafka at {servers}: {told}"
    return (
        f"no answer from Kafka at {servers} within {connection.connect_timeout_s:g} s: {told or error}; check "
        "bootstrap_servers, that the brokers run and advertise reachable addresses, and the security settings "
        f"(protocol {connection.security.protocol})"
    )


def told_by(client: Any) -> str:
    """Why a client that was made has no connection, or nothing where it has one, or there is no client."""
    manager = None if client is None else _MANAGERS.get(client)
    return "" if manager is None else manager.told()


def locked_out_s(client: Any) -> float:
    """For how many seconds a client has been refused wherever it connects; 0 where it has a connection, or may."""
    manager = _MANAGERS.get(client)
    return 0.0 if manager is None else manager.locked_out_s()


@contextlib.contextmanager
def outage(client: Any) -> Iterator[None]:
    """Take it for an outage that a client has no connection, unless a server that is there refuses it."""
    try:
        yield
    except _UNCONNECTED:
        manager = _MANAGERS.get(client)
        if manager is None or not manager.away():
            raise


@contextlib.contextmanager
def translated(what: str, connection: KafkaConnection, instance: str, client: Any = None) -> Iterator[None]:
    """Raise errors of a client as ours; ``what`` failed, and ``instance`` is who may be told to stop."""
    try:
        yield
    except (client_errors.KafkaError, OSError) as error:
        fail(what, error, connection, instance, told=told_by(client))


def fail(
    what: str,
    error: Exception,
    connection: KafkaConnection,
    instance: str,
    *,
    operation: str = "READ",
    told: str = "",
) -> NoReturn:
    """Raise an error of a client as one of ours.

    ``operation`` is what was tried, in Kafka's terms, ``told`` why the client has no connection, if so.
    """
    if isinstance(error, FENCED):
        raise FencedError(
            f"{what}: another process runs as {instance}; this one must stop. Give each worker its own "
            "kafka.group_instance_id"
        ) from error
    if isinstance(error, _GROUP_CHANGED):
        raise RebalanceError(f"{what}: the group changed meanwhile ({error})") from error
    if isinstance(error, client_errors.UnsupportedCodecError):
        raise BrokerError(f"{what}: {remedy(str(error))}") from error
    if isinstance(error, client_errors.CorruptRecordError):
        raise BrokerError(
            f"{what}: {error}. It was damaged on the way, which another start mends, or on the broker's disk: then let "
            "another replica lead the partition, or move the group's committed offset behind the batch"
        ) from error
    if isinstance(error, client_errors.OffsetOutOfRangeError):
        raise BrokerError(
            f"{what}: an offset is no longer, or not yet, in the log ({error}); restore a checkpoint the log still "
            "reaches, or start afresh"
        ) from error
    if right := missing_right(error, operation):
        raise BrokerError(f"{what}: {right}") from error
    raise BrokerError(f"{what}: {told or error} (Kafka at {', '.join(connection.servers)})") from error
