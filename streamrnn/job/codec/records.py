"""Records to rows of the learner's arrays: the rules around what a document holds.

A record decodes alone: the outcome is a function of its bytes and the configuration, never of its neighbours, of the
poll it came in or of how deep the caller's stack is. One that cannot be used touches no row; it comes back with a
``RecordError`` and becomes a dead letter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record
from streamrnn.errors import RecordError
from streamrnn.job.codec.fields import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    end_reader,
    event_reader,
    key_reader,
    target_reader,
    time_reader,
)
from streamrnn.job.codec.json_parser import JsonParser
from streamrnn.job.codec.parser import DocumentLayout, Parser
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, LABEL, Block

# Longer keys are refused: the output record of a longer one could exceed what a broker accepts.
MAX_KEY_BYTES = 64 * 1024

PARSERS: Mapping[str, Callable[[type[msgspec.Struct]], Parser]] = {"json": JsonParser}
FORMAT = "json"
"""What a record's value is parsed by. There is one format; the configuration will choose once there are two."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch of records, decoded: the block, the record behind each of its rows, and the records that have none."""

    block: Block
    sources: list[Record]
    rejected: list[tuple[Record, RecordError]]


class RecordCodec:
    """Decodes the records of a job.

    ``decode`` never raises for what a record holds; ``dead_letters.REASONS`` lists why one may be rejected.
    """

    def __init__(self, config: Config) -> None:
        source, target = config.input, config.target
        self._encoder = config.feature_encoder()
        self._n_targets = len(target.fields)
        self._max_bytes = source.max_record_bytes
        fields = [*self._encoder.fields, *target.fields, source.stream_key, source.timestamp.field, source.end_field]
        fields += [target.event_field, target.label_field]
        layout = DocumentLayout(field for field in fields if field is not None)
        parser = PARSERS[FORMAT](layout.document)
        self._expected, self._parse = parser.expected, parser.parse
        self._features = layout.readers(self._encoder.fields)
        self._targets = target_reader(target, layout)
        self._key = None if source.stream_key is None else key_reader(source.stream_key, layout)
        self._time = None if source.timestamp.field is None else time_reader(source, layout)
        self._end = None if source.end_field is None else end_reader(source.end_field, layout)
        self._event = None if target.event_field is None else event_reader(target.event_field, layout)
        self._label = None if target.label_field is None else event_reader(target.label_field, layout)
        self._unknown = (math.nan,) * self._n_targets
        self._no_features = [math.nan] * self._encoder.n_features

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decode ``records``; rows of the block and rejected records keep their order."""
        # For speed one row is overwritten again and again, and numbers become arrays once, at the end.
        decode_one = self._decode_one
        row = [0.0] * self._encoder.n_features
        rows: list[tuple[bytes, int, bool, int, int]] = []
        x: list[float] = []
        y: list[float] = []
        sources: list[Record] = []
        rejected: list[tuple[Record, RecordError]] = []
        for record in records:
            try:
                head, targets = decode_one(record, row)
            except RecordError as error:
                rejected.append((record, error))
                continue
            rows.append(head)
            x += row
            y += targets
            sources.append(record)
        n = len(rows)
        keys, times, ends, kinds, events = zip(*rows, strict=True) if rows else ((),) * 5
        block = Block(
            keys=list(keys),
            time_ms=np.array(times, dtype=np.int64),
            x=_matrix(x, n, self._encoder.n_features),
            y=_matrix(y, n, self._n_targets),
            end=np.array(ends, dtype=np.bool_),
            kind=np.array(kinds, dtype=np.uint8),
            event=np.array(events, dtype=np.uint64),
        )
        return Decoded(block, sources, rejected)

    def _decode_one(
        self, record: Record, row: list[float]
    ) -> tuple[tuple[bytes, int, bool, int, int], Sequence[float]]:
        """Fill ``row`` with the features; return (key, time, end, kind, event) and the targets."""
        key, value, time_ms = record.key, record.value, record.timestamp_ms
        if value is None:
            raise RecordError("null_value", f"found a null value (a tombstone), expected {self._expected}")
        if len(value) + (0 if key is None else len(key)) > self._max_bytes:
            raise _too_large_record(record, self._max_bytes)
        if key is not None and len(key) > MAX_KEY_BYTES:
            raise _too_large_key("a key", key)
        document = self._parse(value)

        if self._key is not None:
            key = self._key(document)
        if key is None:
            raise RecordError("null_key", "found no stream key; expected every record to name its stream")
        if len(key) > MAX_KEY_BYTES:
            raise _too_large_key("a stream key", key)
        if self._time is not None:
            time_ms = self._time(document)
        elif time_ms == -1 or not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
            raise RecordError(
                "bad_timestamp", f"found the record timestamp {time_ms}, expected one in the years 1 to 9999"
            )

        # A record that names an earlier event is a label: of the rest only its targets count.
        if self._label is not None:
            event = self._label(document)
            if event:
                row[:] = self._no_features
                return (key, time_ms, False, LABEL, event), self._targets(document)
        self._encoder.encode(self._features(document), row)
        end = False if self._end is None else self._end(document)
        if self._event is not None:
            # What the record itself says of the target is not looked at: the label will tell.
            return (key, time_ms, end, EVENT, self._event(document)), self._unknown
        return (key, time_ms, end, EVENT, 0), self._targets(document)


def _matrix(values: list[float], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """``values`` as a writable float64 [rows, columns]."""
    if not values:
        return np.empty((rows, columns), dtype=np.float64)
    # Three times as fast as np.array; a bytearray, as arrays over bytes are read-only.
    packed = bytearray(struct.pack(f"{len(values)}d", *values))
    return np.frombuffer(packed, dtype=np.float64).reshape(rows, columns)


def _too_large_record(record: Record, limit: int) -> RecordError:
    size = len(record.value or b"") + len(record.key or b"")
    return RecordError("too_large", f"found {size} bytes of key and value, expected at most {limit} (max_record_bytes)")


def _too_large_key(what: str, key: bytes) -> RecordError:
    return RecordError("too_large", f"found {what} of {len(key)} bytes, expected at most {MAX_KEY_BYTES}")
