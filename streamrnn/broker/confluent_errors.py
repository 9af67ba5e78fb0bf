"""What confluent-kafka's errors mean, in the terms that both clients share.

librdkafka passes a broker's errors on under Kafka's own numbers, so they become the same sentences as kafka-python's;
its own errors have numbers below zero, and those that have a counterpart are taken for it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import ssl
from collections.abc import Iterator
from typing import Any, NoReturn

import kafka.errors as client_errors
from confluent_kafka import KafkaError, KafkaException

from streamrnn.broker.kafka_connect import fail as fail_as_kafka
from streamrnn.broker.kafka_failures import cause_of
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.security import KafkaSecurity

_LOCAL = {
    KafkaError._FENCED: client_errors.FencedInstanceIdError,
    KafkaError._ASSIGNMENT_LOST: client_errors.RebalanceInProgressError,
    KafkaError._AUTO_OFFSET_RESET: client_errors.OffsetOutOfRangeError,
    KafkaError._BAD_MSG: client_errors.CorruptRecordError,
    KafkaError._BAD_COMPRESSION: client_errors.CorruptRecordError,
    KafkaError._UNKNOWN_TOPIC: client_errors.UnknownTopicOrPartitionError,
    KafkaError._UNKNOWN_PARTITION: client_errors.UnknownTopicOrPartitionError,
}
"""Errors of the client's own that are others' by another number."""

PASSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,  # deleted: the group has nothing to share out until it is made anew
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._MAX_POLL_EXCEEDED,  # partitions that were lost by it are told as lost
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
"""What a consumer goes on after: the connection is tried again, and :class:`Standing` tells of it."""


def as_kafka(error: KafkaError, name: str = "") -> client_errors.KafkaError:
    """The same error of kafka-python's; ``name`` is the topic or group it is about, where the client tells."""
    code = error.code()
    kind = _LOCAL.get(code) or (client_errors.for_code(code) if code > 0 else client_errors.KafkaError)
    if issubclass(kind, client_errors.AuthorizationError) and name:
        return kind(name)
    return kind(error.str())


_OF_NETWORK = (
    errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
)  # fmt: skip
_SERVER = re.compile(r"(?:\w+://)?([^\s/]+)/\w+: ")
_STATE = re.compile(r" \(after \d+ms in state .*\)$", re.DOTALL)


def cause(error: KafkaError, security: KafkaSecurity) -> tuple[str, str]:
    """Which server an error without a request is about, "" where it does not say, and what is wrong with it."""
    said = error.str()
    found = _SERVER.match(said)
    text = _STATE.sub("", said[found.end() :] if found else said)
    return found[1] if found else "", cause_of(_counterpart(error, text), security).text


def _counterpart(error: KafkaError, said: str) -> BaseException:
    """What kafka-python would have raised for it, as far as librdkafka's words tell."""
    if error.code() == KafkaError._RESOLVE:
        return OSError("DNS lookup failed")
    if error.code() == KafkaError._AUTHENTICATION:
        refusal: BaseException = client_errors.SaslAuthenticationFailedError(_reason(said))
        return refusal
    if error.code() == KafkaError._SSL and "certificate verify failed" in said:
        refused = ssl.SSLCertVerificationError(said)
        refused.verify_code, refused.verify_message = 0, said
        return refused
    number = next((number for number in _OF_NETWORK if os.strerror(number) in said), None)
    return RuntimeError(said) if number is None else OSError(number, said)


def _reason(said: str) -> str:
    return said.removeprefix("SASL authentication error: ").removeprefix("Authentication failed: ")


def error_of(raised: KafkaException) -> KafkaError:
    """The error that an exception of the client's carries."""
    error: KafkaError = raised.args[0]
    return error


def fail(
    what: str,
    error: KafkaError,
    connection: KafkaConnection,
    instance: str,
    *,
    topic: str = "",
    group: str = "",
    operation: str = "READ",
    told: str = "",
) -> NoReturn:
    """Raise an error of the client's as one of ours: ``what`` failed, and ``instance`` is who may be told to stop.

    ``topic`` and ``group`` are those that it may be about.
    """
    name = group if "group" in error.name().lower() else topic
    fail_as_kafka(what, as_kafka(error, name), connection, instance, operation=operation, told=told)


@contextlib.contextmanager
def translated(what: str, connection: KafkaConnection, instance: str, **more: Any) -> Iterator[None]:
    """Raise errors of the client as ours, as :func:`fail` does."""
    try:
        yield
    except KafkaException as raised:
        fail(what, error_of(raised), connection, instance, **more)
