"""Kafka records to the learner's arrays, JSON in and JSON out.

A record decodes alone: the outcome is a function of its bytes and the configuration, never of its neighbours, of the
poll it came in or of how deep the caller's stack is (nesting is limited long before Python's own limit). One that
cannot be used touches no row; it comes back with a ``RecordError`` and becomes a dead letter.

Only the fields the job names are built from the JSON; the rest is skipped over by the parser, which still refuses text
that is not JSON (NaN, a trailing comma). A float64 cannot hold every JSON number: one out of its range is refused in
a field of the job, not rounded to infinity. Missing and null are the same everywhere.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record
from streamrnn.errors import RecordError
from streamrnn.job.config import Config, InputConfig
from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.features import canonical_text, descend, describe, number
from streamrnn.learner.spec import LearnerSpec, TargetSpec

# Deeper JSON is refused. Far above any real record, far below the depth at which the parser would depend on the stack.
MAX_DEPTH = 64
# Why a record may be rejected: every reason of a RecordError, as used in dead letters and metric labels.
REASONS = (
    "null_key",
    "null_value",
    "too_large",
    "invalid_json",
    "not_an_object",
    "wrong_type",
    "out_of_range",
    "bad_timestamp",
    "unknown_class",
)
# Longer keys are refused: the output record of a longer one could exceed what a broker takes.
MAX_KEY_BYTES = 64 * 1024
# The years 1 to 9999, in milliseconds since the epoch.
MIN_TIME_MS = -62_135_596_800_000
MAX_TIME_MS = 253_402_300_799_999
# A dead letter keeps at most so much of a key and of the detail, so that it stays below 1 MB whatever came in.
_KEPT_KEY_BYTES = 8 * 1024
_KEPT_DETAIL = 2_000

_NAN = math.nan
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)

Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch of records, decoded: the block, the record behind each of its rows, and the records that have none."""

    block: Block
    sources: list[Record]
    rejected: list[tuple[Record, RecordError]]


class RecordCodec:
    """Decodes the records of a job.

    ``decode`` never raises for what a record holds; ``REASONS`` lists the reasons why one may be rejected.
    """

    def __init__(self, config: Config) -> None:
        source, target = config.input, config.target
        self._encoder = config.feature_encoder()
        self._n_targets = len(target.fields)
        self._max_bytes = source.max_record_bytes
        fields = [*self._encoder.fields, *target.fields, source.stream_key, source.timestamp.field, source.end_field]
        fields += [target.event_field, target.label_field]
        names = list(dict.fromkeys(field.split(".")[0] for field in fields if field is not None))
        # One slot per top-level field: the parser builds these and skips the rest.
        attributes = {name: f"f{i}" for i, name in enumerate(names)}
        document = msgspec.defstruct(
            "Fields",
            [(a, Any, None) for a in attributes.values()],
            rename={a: n for n, a in attributes.items()},
            gc=False,
        )
        self._parse = msgspec.json.Decoder(document).decode
        self._features = _read_all(self._encoder.fields, attributes)
        self._key = None if source.stream_key is None else _key_reader(source.stream_key, attributes)
        self._time = None if source.timestamp.field is None else _time_reader(source, attributes)
        self._end = None if source.end_field is None else _end_reader(source.end_field, attributes)
        self._targets = _target_reader(target, attributes)
        self._event = None if target.event_field is None else _id_reader(target.event_field, attributes)
        self._label = None if target.label_field is None else _id_reader(target.label_field, attributes)
        self._unknown = (_NAN,) * self._n_targets
        self._no_features = [_NAN] * self._encoder.n_features

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decode ``records``; rows of the block and rejected records keep their order."""
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
        _, _, _, time_ms, key, value, _ = record
        if value is None:
            raise RecordError("null_value", "found a null value (a tombstone), expected a JSON object")
        size = len(value) if key is None else len(value) + len(key)
        if size > self._max_bytes:
            raise RecordError(
                "too_large",
                f"found {size} bytes of key and value, expected at most {self._max_bytes} (max_record_bytes)",
            )
        if key is not None and len(key) > MAX_KEY_BYTES:
            raise RecordError("too_large", f"found a key of {len(key)} bytes, expected at most {MAX_KEY_BYTES}")
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH:
            _check_depth(value)
        try:
            document = self._parse(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _parse_error(value, error) from None

        if self._key is not None:
            key = self._key(document)
        if key is None:
            raise RecordError("null_key", "found no stream key; expected every record to name its stream")
        if len(key) > MAX_KEY_BYTES:
            raise RecordError("too_large", f"found a stream key of {len(key)} bytes, expected at most {MAX_KEY_BYTES}")
        if self._time is not None:
            time_ms = self._time(document)
        elif time_ms == -1 or not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
            raise RecordError(
                "bad_timestamp", f"found the record timestamp {time_ms}, expected one in the years 1 to 9999"
            )

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


# --- reading fields -------------------------------------------------------------------------------------------------


def _read_one(field: str, attributes: dict[str, str]) -> Read:
    top, *rest = field.split(".")
    get = attrgetter(attributes[top])
    if not rest:
        return get
    return lambda document: descend(get(document), rest, field)


def _read_all(fields: Sequence[str], attributes: dict[str, str]) -> Callable[[Any], Sequence[Any]]:
    if len(fields) > 1 and not any("." in field for field in fields):
        return attrgetter(*(attributes[field] for field in fields))
    reads = [_read_one(field, attributes) for field in fields]
    return lambda document: [read(document) for read in reads]


def _id_text(value: Any, field: str) -> str:
    if type(value) is str:
        return value
    if type(value) is int or type(value) is bool:
        return canonical_text(value, field)
    raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected a string, integer or boolean")


def _key_reader(field: str, attributes: dict[str, str]) -> Callable[[Any], bytes]:
    read = _read_one(field, attributes)

    def key(document: Any) -> bytes:
        value = read(document)
        if value is None:
            raise RecordError("null_key", f"field {field!r}: missing or null, expected the name of the stream")
        return _id_text(value, field).encode()

    return key


def event_id(text: str) -> int:
    """The 64-bit id of an event's canonical text; never 0, which means none."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def _id_reader(field: str, attributes: dict[str, str]) -> Callable[[Any], int]:
    read = _read_one(field, attributes)

    def identify(document: Any) -> int:
        value = read(document)
        return 0 if value is None else event_id(_id_text(value, field))

    return identify


def _end_reader(field: str, attributes: dict[str, str]) -> Callable[[Any], bool]:
    read = _read_one(field, attributes)

    def end(document: Any) -> bool:
        value = read(document)
        if value is None or value is False:
            return False
        if value is True:
            return True
        raise RecordError("wrong_type", f"field {field!r}: found {describe(value)}, expected true or false")

    return end


def _target_reader(target: TargetSpec, attributes: dict[str, str]) -> Callable[[Any], Sequence[float]]:
    if target.classes is not None:
        return _class_reader(target.fields[0], target.classes, attributes)
    fields = target.fields
    read_all = _read_all(fields, attributes)
    if len(fields) == 1:
        field, read = fields[0], _read_one(fields[0], attributes)
        return lambda document: (number(read(document), field),)
    return lambda document: [number(v, field) for v, field in zip(read_all(document), fields, strict=True)]


def _class_reader(
    field: str, classes: Sequence[str | int | bool], attributes: dict[str, str]
) -> Callable[[Any], Sequence[float]]:
    read = _read_one(field, attributes)
    index_of = {canonical_text(label, field): float(i) for i, label in enumerate(classes)}
    listed = ", ".join(list(index_of)[:10]) + (", ..." if len(index_of) > 10 else "")

    def target(document: Any) -> Sequence[float]:
        value = read(document)
        if value is None:
            return (_NAN,)
        index = index_of.get(canonical_text(value, field))
        if index is None:
            raise RecordError("unknown_class", f"field {field!r}: found {describe(value)}, expected one of {listed}")
        return (index,)

    return target


def _time_reader(source: InputConfig, attributes: dict[str, str]) -> Callable[[Any], int]:
    field, unit = source.timestamp.field, source.timestamp.unit
    assert field is not None
    read = _read_one(field, attributes)
    expected = "ISO 8601 text" if unit == "iso8601" else f"a number ({unit} since the epoch)"

    def bad(value: Any) -> RecordError:
        found = "nothing" if value is None else describe(value)
        return RecordError(
            "bad_timestamp", f"field {field!r}: found {found}, expected {expected} in the years 1 to 9999"
        )

    def from_text(document: Any) -> int:
        value = read(document)
        if type(value) is not str:
            raise bad(value)
        try:
            time = datetime.fromisoformat(value)
            ms = ((time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH) // _MS
        except (ValueError, OverflowError):
            raise bad(value) from None
        if not MIN_TIME_MS <= ms <= MAX_TIME_MS:
            raise bad(value)
        return ms

    def from_number(document: Any) -> int:
        value = read(document)
        if type(value) is int:
            ms = value if unit == "ms" else value * 1000 if unit == "s" else value // 1000
        elif type(value) is float and abs(value) < 1e18:
            # Rounded down, as every other unit is: a record belongs to the millisecond it falls in.
            ms = math.floor(value if unit == "ms" else value * 1000.0 if unit == "s" else value / 1000.0)
        else:
            raise bad(value)
        if not MIN_TIME_MS <= ms <= MAX_TIME_MS:
            raise bad(value)
        return ms

    return from_text if unit == "iso8601" else from_number


# --- broken records -------------------------------------------------------------------------------------------------


def _check_depth(value: bytes) -> None:
    """Raise when brackets nest deeper than ``MAX_DEPTH``; exact for valid JSON, which is all that matters."""
    codes = np.frombuffer(_STRINGS.sub(b"", value), dtype=np.uint8)
    step = np.zeros(len(codes), dtype=np.int32)
    step[(codes == ord("{")) | (codes == ord("["))] = 1
    step[(codes == ord("}")) | (codes == ord("]"))] = -1
    if len(step) and int(np.cumsum(step).max()) > MAX_DEPTH:
        raise RecordError("invalid_json", f"found JSON nested more than {MAX_DEPTH} deep, expected at most {MAX_DEPTH}")


def _parse_error(value: bytes, error: Exception) -> RecordError:
    if isinstance(error, UnicodeDecodeError):
        return RecordError("invalid_json", "found bytes that are not UTF-8, expected JSON")
    if "out of range" in str(error):
        return RecordError("out_of_range", "found a number in a field of the job that is beyond float64")
    if isinstance(error, msgspec.ValidationError):
        # Of the wrong shape at its first character; whether the rest is JSON at all has not been looked at yet.
        try:
            found = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as other:
            return RecordError("invalid_json", f"found {str(other)[:200]}, expected a JSON object")
        return RecordError("not_an_object", f"found {describe(found)}, expected a JSON object")
    return RecordError("invalid_json", f"found {str(error)[:200]}, expected a JSON object")


class _DeadLetter(msgspec.Struct, gc=False):
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: str | None
    key_encoding: str | None
    key_bytes: int | None
    value: str | None
    value_encoding: str | None
    value_bytes: int | None


def encode_dead_letter(record: Record, error: RecordError, max_value_bytes: int = 64 * 1024) -> bytes:
    """The dead letter of ``record`` as JSON: why, where it lies, and what it held.

    ``key`` and ``value`` are text (``*_encoding: "utf-8"``) or base64 (``"base64"``), null when the record's are.
    ``*_bytes`` is the original size; where more than ``max_value_bytes`` (keys: 8 KiB), the beginning is kept. For a
    ``max_value_bytes`` of at most 256 KiB the result stays below 1 MB.
    """
    key, key_encoding = _shown(record.key, _KEPT_KEY_BYTES)
    value, value_encoding = _shown(record.value, max_value_bytes)
    return msgspec.json.encode(
        _DeadLetter(
            reason=error.reason,
            detail=error.detail[:_KEPT_DETAIL].encode("utf-8", "replace").decode(),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp_ms,
            key=key,
            key_encoding=key_encoding,
            key_bytes=None if record.key is None else len(record.key),
            value=value,
            value_encoding=value_encoding,
            value_bytes=None if record.value is None else len(record.value),
        )
    )


# Characters that JSON writes as six bytes; text with any of them goes as base64.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _shown(data: bytes | None, limit: int) -> tuple[str | None, str | None]:
    if data is None:
        return None, None
    kept = data[:limit]
    if not _CONTROL.search(kept):
        try:
            # A cut may fall inside a character, whose beginning is then left out; whole data must be whole text.
            return codecs.getincrementaldecoder("utf-8")().decode(kept, final=len(kept) == len(data)), "utf-8"
        except UnicodeDecodeError:
            pass
    return base64.b64encode(kept).decode("ascii"), "base64"


# --- predictions ----------------------------------------------------------------------------------------------------


class _Prediction(msgspec.Struct, gc=False):
    stream: str | None
    topic: str
    partition: int
    offset: int
    timestamp: int
    prediction: Any
    target: Any
    updates: int
    stream_base64: str | msgspec.UnsetType = msgspec.UNSET


class PredictionEncoder:
    """Writes the output record of a prediction as JSON.

    ``stream`` is the key as text (null beside ``stream_base64`` when it is not UTF-8); ``topic``, ``partition`` and
    ``offset`` are the input record's, ``timestamp`` its time in milliseconds, ``updates`` the model's update count.
    ``prediction`` is a number when there is one output; otherwise named: target, then step ahead (forecasts of
    several), then quantile level, as in ``{"delay": {"0.05": -3.0, "0.5": 1.0}}``; for classes ``{"class": label,
    "probabilities": {label: p}}``, where the one output of a logistic readout is the probability of the second class.
    ``target`` is a number, named numbers or a label, null where unknown now (forecasts: always, as they are about
    records to come). A number that is not finite is null.
    """

    def __init__(self, spec: LearnerSpec) -> None:
        self._encode = msgspec.json.Encoder().encode
        self._classes = spec.target.classes
        self._logistic = spec.model.readout == "logistic"
        self._fields = spec.target.fields
        self._forecast = spec.target.known == "forecast"
        self._single = spec.n_outputs == 1
        self._plan = {} if self._classes is not None else _output_plan(spec)
        self._labels = [canonical_text(label, "target.classes") for label in self._classes or ()]

    def encode(
        self, record: Record, key: bytes, time_ms: int, value: Sequence[float], target: Sequence[float], updates: int
    ) -> bytes:
        """One output record: ``value`` holds the ``n_outputs`` of a prediction, ``target`` the targets, NaN unknown."""
        if self._classes is not None:
            prediction: Any = self._class(value)
            label = target[0]
            known: Any = None if label != label else self._classes[int(label)]
        else:
            prediction = value[0] if self._single else _fill(self._plan, value)
            if self._forecast:
                known = None
            elif len(target) == 1:
                known = target[0]
            else:
                known = dict(zip(self._fields, target, strict=True))
        # Positional, and non-finite numbers left to the encoder, which writes them as null.
        try:
            stream = key.decode()
        except UnicodeDecodeError:
            encoded = base64.b64encode(key).decode("ascii")
            return self._encode(
                _Prediction(None, record[0], record[1], record[2], time_ms, prediction, known, updates, encoded)
            )
        return self._encode(_Prediction(stream, record[0], record[1], record[2], time_ms, prediction, known, updates))

    def encode_block(
        self, decoded: Decoded, value: npt.NDArray[np.float64], updates: npt.NDArray[np.int64]
    ) -> list[bytes | None]:
        """The output record of every row of a block, None for label records. ``value`` is [n, n_outputs]."""
        block, encode = decoded.block, self.encode
        rows = zip(
            decoded.sources,
            block.keys,
            block.time_ms.tolist(),
            value.tolist(),
            block.y.tolist(),
            updates.tolist(),
            block.kind.tolist(),
            strict=True,
        )
        return [
            encode(record, key, time_ms, outputs, targets, count) if kind == EVENT else None
            for record, key, time_ms, outputs, targets, count, kind in rows
        ]

    def _class(self, value: Sequence[float]) -> dict[str, Any]:
        assert self._classes is not None
        if self._logistic:
            value = (1.0 - value[0], value[0])
        best = self._classes[value.index(max(value))] if math.isfinite(sum(value)) else None
        return {"class": best, "probabilities": dict(zip(self._labels, value, strict=True))}


def _output_plan(spec: LearnerSpec) -> dict[str, Any]:
    """Nested names whose leaves are columns; levels run fastest, then targets, then steps ahead."""
    levels = spec.model.quantiles if spec.model.effective_loss == "quantile" else ()
    n_levels, n_targets = max(1, len(levels)), len(spec.target.fields)

    def by_level(first: int) -> Any:
        return {repr(level): first + q for q, level in enumerate(levels)} if levels else first

    def by_step(t: int) -> Any:
        steps = [by_level((h * n_targets + t) * n_levels) for h in range(spec.target.horizon)]
        return {str(h + 1): step for h, step in enumerate(steps)} if len(steps) > 1 else steps[0]

    return {field: by_step(t) for t, field in enumerate(spec.target.fields)}


def _fill(plan: dict[str, Any], value: Sequence[float]) -> dict[str, Any]:
    return {name: value[at] if type(at) is int else _fill(at, value) for name, at in plan.items()}
