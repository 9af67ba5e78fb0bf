"""Single records as they cross the broker's seam: what was delivered, and what is to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes]]


class TopicPartition(NamedTuple):
    """One partition of a topic.

    >>> str(TopicPartition("departures", 3))
    'departures/3'
    """

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Refused(NamedTuple):
    """Why a record was not read: a reason of ``RecordError``, what was found, and its sizes as far as they are known.

    A size is None where there is no key or value, too.
    """

    reason: str
    detail: str
    key_bytes: int | None = None
    value_bytes: int | None = None


class Record(NamedTuple):
    """One record as delivered. ``timestamp_ms`` counts milliseconds since the epoch, -1 when the record has none.

    One that is ``refused`` has no value, whatever was sent; key and timestamp where they are known.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    refused: Refused | None = None


class Output(NamedTuple):
    """One record to send. Without ``timestamp_ms``, now; without ``partition``, the same for the same key.

    ``offset`` is that of the input record it was made from; brokers do not look at it.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int | None = None
    partition: int | None = None
    offset: int = -1
