"""Messages as confluent-kafka hands them out, made into columns with no more of Python for each than a call needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

import numpy as np
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from streamrnn.broker.columns import Integers, Records, Strings
from streamrnn.broker.confluent_positions import Positions
from streamrnn.broker.protocol import Headers, Refused, TopicPartition

KEY_BYTES = 64 << 10
"""So much of a key is kept with a record that is refused for its length."""


def by_partition(messages: Sequence[Message]) -> dict[TopicPartition, list[Message]]:
    """Messages of one topic, which come in the order of their offsets within a partition."""
    partitions = list(map(Message.partition, messages))
    topic = messages[0].topic()
    if partitions.count(partitions[0]) == len(partitions):
        return {TopicPartition(topic, partitions[0]): list(messages)}
    found: dict[TopicPartition, list[Message]] = {
        TopicPartition(topic, partition): [] for partition in dict.fromkeys(partitions)
    }
    lists = {tp.partition: of_tp for tp, of_tp in found.items()}
    for partition, message in zip(partitions, messages, strict=True):
        lists[partition].append(message)
    return found


def columns(tp: TopicPartition, messages: Sequence[Message], max_record_bytes: int) -> Records:
    """Messages of one partition as columns. Those with more bytes of key and value than that are refused."""
    stamps = list(map(Message.timestamp, messages))  # what kind of time, and the time
    timestamp_ms = _integers(map(itemgetter(1), stamps), len(stamps))
    if TIMESTAMP_NOT_AVAILABLE in set(map(itemgetter(0), stamps)):
        timestamp_ms[np.array([kind for kind, _ in stamps]) == TIMESTAMP_NOT_AVAILABLE] = -1
    keys, values = Strings.of(map(Message.key, messages)), Strings.of(map(Message.value, messages))
    headers = list(map(Message.headers, messages))
    records = Records(
        tp.topic,
        tp.partition,
        _integers(map(Message.offset, messages), len(messages)),
        timestamp_ms,
        keys,
        values,
        [_headers(each) for each in headers] if any(headers) else (),
    )
    sizes = keys.sizes + values.sizes
    too_long = np.flatnonzero(sizes > max_record_bytes)
    return _without(records, too_long.tolist(), max_record_bytes) if len(too_long) else records


def _integers(numbers: Iterable[int], count: int) -> Integers:
    return np.fromiter(numbers, np.int64, count)


def _headers(found: Sequence[tuple[str, bytes | None]] | None) -> Headers:
    return tuple((name, value or b"") for name, value in found or ())


def _without(records: Records, places: list[int], limit: int) -> Records:
    """The records without the values of those at these places, which are refused."""
    refused: dict[int, Refused] = {}
    key_end, value_end = records.keys.end.copy(), records.values.end.copy()
    for place in places:
        key_bytes, value_bytes = (_size(strings, place) for strings in (records.keys, records.values))
        size = (key_bytes or 0) + (value_bytes or 0)
        detail = f"found {size} bytes of key and value, expected at most {limit} (max_record_bytes)"
        refused[place] = Refused("too_large", detail, key_bytes, value_bytes)
        value_end[place] = records.values.start[place] - 1
        if key_bytes is not None:
            key_end[place] = records.keys.start[place] + min(key_bytes, KEY_BYTES)
    return Records(
        records.topic,
        records.partition,
        records.offset,
        records.timestamp_ms,
        Strings(records.keys.buffer, records.keys.start, key_end),
        Strings(records.values.buffer, records.values.start, value_end),
        records.headers,
        refused,
    )


def _size(strings: Strings, place: int) -> int | None:
    return None if strings.missing[place] else int(strings.sizes[place])


def handed_out(messages: list[Message], positions: Positions, most_bytes: int) -> dict[TopicPartition, Records]:
    """The records of partitions that have a position, which is moved behind them."""
    found: dict[TopicPartition, Records] = {}
    for tp, its in by_partition(messages).items() if messages else ():
        if tp in positions:
            records = found[tp] = columns(tp, its, most_bytes)
            positions[tp] = int(records.offset[-1]) + 1
    return found
