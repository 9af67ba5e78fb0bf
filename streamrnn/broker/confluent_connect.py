"""Making clients of confluent-kafka, and letting go of them within a time.

librdkafka connects in the background and says nothing of a cluster that is not there. So the first question a worker
asks, which topics there are, goes through kafka-python's administration (kafka_admin.py), which says what is wrong;
here the files that are named are looked at, and the client is made.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException

from streamrnn.broker.confluent_answers import Standing
from streamrnn.broker.confluent_tokens import token_callback
from streamrnn.broker.kafka_files import check_files
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.errors import BrokerError

_log = logging.getLogger("streamrnn.broker.librdkafka")


class _ForDebugging(logging.Filter):
    """librdkafka repeats in its log, several times a second, what we tell of an outage once."""

    def filter(self, _: logging.LogRecord) -> bool:
        return logging.getLogger().level <= logging.DEBUG


_FOR_DEBUGGING = _ForDebugging()


def made(
    kind: Callable[..., Any], name: str, properties: dict[str, Any], connection: KafkaConnection, standing: Standing
) -> Any:
    """Make a client, which tells ``standing`` what it meets under ``name``, or raise a BrokerError."""
    _log.addFilter(_FOR_DEBUGGING)
    check_files(connection.security)
    more = standing.followed(name) | token_callback(connection.security)
    try:
        return kind({**properties, **more, "logger": _log})
    except (KafkaException, ValueError, TypeError) as error:
        standing.dropped(name)
        raise BrokerError(f"Kafka client configuration refused: {error}") from error


def let_go(release: Callable[[], Any], timeout_s: float) -> None:
    """Release a client on a thread of its own, waiting no longer for it than that; it ends by itself later."""
    releasing = threading.Thread(target=release, name="kafka-release", daemon=True)
    releasing.start()
    releasing.join(max(0.0, timeout_s))
