"""Records to rows of the learner's arrays: the rules around what a document holds.

A record decodes alone: the outcome is a function of its bytes and the configuration, never of its neighbours, of the
poll it came in or of how deep the caller's stack is. One that cannot be used touches no row; it comes back with a
``RecordError`` and becomes a dead letter. Of a sequence in chunks it may be the end: then it ends, and no more.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import Records, Strings
from streamrnn.broker.protocol import Record
from streamrnn.errors import RecordError
from streamrnn.job.codec.fields import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    end_reader,
    event_reader,
    key_reader,
    number_or_text,
    numbers_in,
    target_reader,
    time_reader,
    too_large_key,
)
from streamrnn.job.codec.json_parser import JsonParser
from streamrnn.job.codec.parser import DocumentLayout, Parser
from streamrnn.job.codec.presence import Presence, Seen
from streamrnn.job.codec.sequences import SequenceReader, Whole
from streamrnn.job.codec.symbols import label_reader, text_reader
from streamrnn.job.codec.told import id_at
from streamrnn.job.codec.typed import Rows, merged, typed_reader
from streamrnn.job.codec.where import question
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, FORGET, LABEL, Block, Units
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import number

PARSERS: Mapping[str, Callable[[DocumentLayout], Parser]] = {"json": JsonParser}
FORMAT = "json"
"""What a record's value is parsed by. There is one format; the configuration will choose once there are two."""


FEW = 16
"""Records below which it takes longer to prepare for many than to look at each."""

_NO_RECORDS = Records("", 0, np.zeros(0, np.int64), np.zeros(0, np.int64), Strings.of([]), Strings.of([]))

Head = tuple[bytes, int, bool | None, int, int]
"""Key, time, end mark, kind and event of one row of a block."""

Named = tuple[Sequence[str | None], str | None, Units, Whole | None]
"""What one row says in symbols: the features that are looked up, the class of an open set, the text; and the sequence
that it is."""

Row = tuple[Head, Sequence[float], Named]
"""One row of a block but for its features."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A batch of records, decoded: the block, the record behind each of its rows, and the records that have none.

    Those are rejected, or passed over: by ``input.where``, and tombstones where they are ignored. ``seen`` says in how
    many records each field of the job had a value. A rejected record that was to end a sequence in chunks has a row as
    well, a ``silent`` one without frames or answer: it ends the sequence, and no output tells of it.
    """

    block: Block
    sources: Records
    rejected: list[tuple[Record, RecordError]]
    filtered: int
    tombstones: int
    seen: Seen
    silent: npt.NDArray[np.bool_]


class RecordCodec:
    """Decodes the records of a job.

    ``decode`` never raises for what a record holds; ``dead_letters.REASONS`` lists why one may be rejected. ``fields``
    are the fields that the job names, in the order of ``Decoded.seen``.
    """

    def __init__(self, config: Config) -> None:
        source, target = config.input, config.target
        self._encoder = config.feature_encoder()
        self._encode = self._encoder.encode
        self._n_targets = len(target.fields)
        self._left_out = target.left_out
        self._max_bytes, self._max_key_bytes = source.max_record_bytes, source.max_record_key_bytes
        self._tombstones = source.tombstones
        self._lenient, self._looks_ahead = source.numbers == "lenient", config.looks_ahead
        self._presence = Presence(config, self._encoder)
        self._notes, self.fields = not self._presence.told_by_arrays, self._presence.fields
        layout = DocumentLayout([*self._presence.paths, *(c.field for c in source.where)])
        parser = PARSERS[FORMAT](layout)
        self._expected, self._parse = parser.expected, parser.parse
        self._counts = question(source.where, layout)
        self._sequences = (
            None if source.sequence is None else SequenceReader(config, self._encoder, layout, lenient=self._lenient)
        )
        self._width = self._encoder.n_features if self._sequences is None else 0
        self._features = layout.readers([] if self._sequences else self._encoder.fields)
        self._unknown = (math.nan,) * self._n_targets
        self._text = None if source.text is None else text_reader(source.text, layout)
        several = self._sequences is not None and self._sequences.has_answers
        of_record = target.is_open and self._text is None and not several
        self._open = label_reader(target.fields[0], layout) if of_record else None
        by_name = self._text is not None or self._open is not None or several
        numbers = number_or_text if self._lenient else number
        self._targets = self._no_targets if by_name else target_reader(target, layout, numbers)
        self._n_symbols = len(self._encoder.symbols)
        no_text = "" if source.text is None else units_of("", source.text.unit)
        nothing = None if self._sequences is None else self._sequences.nothing
        self._nothing_named: Named = ((None,) * self._n_symbols, None, no_text, nothing)
        self._names = by_name or self._n_symbols > 0
        self._key = None if source.stream_key is None else key_reader(source.stream_key, layout, source.max_key_bytes)
        self._time = None if source.timestamp.field is None else time_reader(source, layout)
        self._end = None if source.end_field is None else end_reader(source.end_field, layout, self._lenient)
        self._event = None if target.event_field is None else event_reader(target.event_field, layout)
        self._label = None if target.label_field is None else event_reader(target.label_field, layout)
        self._no_features = [math.nan] * self._width
        self._typed = typed_reader(config, self._encoder)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Decode ``records``; rows of the block and rejected records keep their order."""
        records = Records.of(records) if len(records) else _NO_RECORDS
        rows, rejected = self._rows(records)
        block, told, ends = rows.block, rows.block.kind, rows.ends
        if rows.silent.any():
            told, ends = told[~rows.silent], tuple(compress(ends, (~rows.silent).tolist()))
        seen = self._presence.count(block, told.tobytes(), ends, rows.noted, rejected, rows.absent)
        if not math.isnan(self._left_out):
            block.y[np.isinf(block.y)] = self._left_out
        passed_over = len(records) - len(told) - len(rejected)
        ignored = _tombstones(records) if passed_over and self._tombstones == "ignore" else 0
        tombstones = ignored + int(np.count_nonzero(told == FORGET))
        sources = records if len(block) == len(records) else records.at(rows.places)
        return Decoded(block, sources, rejected, passed_over - ignored, tombstones, seen, rows.silent)

    def _rows(self, records: Records) -> tuple[Rows, list[tuple[Record, RecordError]]]:
        """The rows of a batch, and the records that are rejected."""
        n = len(records)
        if self._typed is None or n < FEW:
            return self._one_by_one(records, range(n))
        usual = self._typed.read(records)
        if len(usual.places) == n:
            return usual, []
        left = np.ones(n, np.bool_)
        left[usual.places] = False
        others, rejected = self._one_by_one(records, np.flatnonzero(left).tolist())
        return merged(usual, others), rejected

    def _one_by_one(self, records: Records, places: Sequence[int]) -> tuple[Rows, list[tuple[Record, RecordError]]]:
        """The same of some records, each of which is looked at alone."""
        # For speed one row is overwritten again and again, and numbers become arrays once, at the end.
        decode_one = self._decode_one
        row = [0.0] * self._width
        rows: list[Head] = []
        named: list[Named] = []
        x: list[float] = []
        y: list[float] = []
        sources: list[int] = []
        rejected: list[tuple[Record, RecordError]] = []
        silent: list[int] = []
        noted = bytearray()
        asked = records if len(places) == len(records) else records.at(np.array(places, np.int64))
        for place, record in zip(places, asked, strict=True):
            try:
                decoded = decode_one(record, row, noted)
            except RecordError as error:
                rejected.append((record, _bare(error)))
                continue
            except _RefusedEndError as refused:
                rejected.append((record, _bare(refused.error)))
                silent.append(len(rows))
                decoded = refused.row
            if decoded is not None:
                head, targets, names = decoded
                rows.append(head)
                named.append(names)
                x += row
                y += targets
                sources.append(place)
        block, ends = self._block(rows, x, y, named)
        is_silent = np.zeros(len(rows), np.bool_)
        is_silent[silent] = True
        absent = np.zeros(self._presence.n_features, np.int64)
        return Rows(block, np.array(sources, np.int64), ends, is_silent, noted, absent), rejected

    def _block(
        self, rows: list[Head], x: list[float], y: list[float], named: list[Named]
    ) -> tuple[Block, tuple[bool | None, ...]]:
        """The block, and end marks, of which None is missing."""
        keys, times, ends, kinds, events = zip(*rows, strict=True) if rows else ((),) * 5
        block = Block(
            keys=list(keys),
            time_ms=np.array(times, dtype=np.int64),
            x=_matrix(x, len(rows), self._width),
            y=_matrix(y, len(rows), self._n_targets),
            end=np.array(ends, dtype=np.bool_),
            kind=np.array(kinds, dtype=np.uint8),
            event=np.array(events, dtype=np.uint64),
            **self._by_name(named),
        )
        return block, ends

    def _by_name(self, named: list[Named]) -> dict[str, Any]:
        """What a block holds of symbols."""
        if self._sequences is not None:
            labels = None if self._open is None else [label for _, label, _, _ in named]
            return {"labels": labels, **self._sequences.arrays([whole for *_, whole in named if whole is not None])}
        if not self._names:
            return {}
        return {
            "symbols": tuple([looked_up[i] for looked_up, _, _, _ in named] for i in range(self._n_symbols)),
            "labels": None if self._open is None else [label for _, label, _, _ in named],
            "texts": None if self._text is None else [text for _, _, text, _ in named],
        }

    def _decode_one(self, record: Record, row: list[float], noted: bytearray) -> Row | None:
        """Fill ``row`` with the features; return the rest of it, None for a record that is passed over."""
        _, _, _, time_ms, key, value, _, _ = record
        if value is None:
            return self._without_value(record, row)
        key_bytes = 0 if key is None else len(key)
        if key_bytes > self._max_key_bytes or key_bytes + len(value) > self._max_bytes:
            raise self._too_large(record)
        document = self._parse(value)
        if self._counts is not None and not self._counts(document):
            return None  # before anything else is asked: a foreign record has no key, time or fields as expected
        if self._key is not None:
            key = self._key(document)
        elif key is None:
            raise RecordError("null_key", "found no stream key; expected every record to name its stream")
        if self._time is not None:
            time_ms = self._time(document)
        elif time_ms == -1 or not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
            raise _bad_timestamp(time_ms)

        if self._sequences is not None:
            return self._decode_sequence(document, key, time_ms, noted)
        # A record that names an earlier event is a label: of the rest only its targets count.
        if self._label is not None and (event := self._label(document)):
            row[:] = self._no_features
            return (key, time_ms, False, LABEL, event), self._targets(document), self._named(document, None)
        values = self._features(document)
        try:
            self._encode(values, row)
        except RecordError as error:
            self._encode(self._with_numbers(values, error), row)
        end = False if self._end is None else self._end(document)
        if self._event is None:
            event, targets = id_at(record.offset) if self._looks_ahead else 0, self._targets(document)
        else:  # what the record itself says of the target is not looked at: the label will tell
            event, targets = self._event(document), self._unknown
        names = self._named(document, values) if self._names else self._nothing_named
        if self._notes and None in values:
            noted.extend(map(is_, values, repeat(None)))  # a byte for each feature, 1 where it is missing
        return (key, time_ms, end, EVENT, event), targets, names

    def _with_numbers(self, values: Sequence[Any], error: RecordError) -> list[Any]:
        """Values of features in which text that stands for a number has become one; ``error`` where it may not."""
        if not self._lenient:
            raise error
        return numbers_in(values, self._encoder.specs)

    def _decode_sequence(self, document: Any, key: bytes, time_ms: int, noted: bytearray) -> Row:
        """As ``_decode_one``, of a record that is a whole sequence, or a chunk of one."""
        end = True if self._end is None else self._end(document)
        try:
            return self._sequence_row(document, (key, time_ms, end, EVENT, 0), noted)
        except RecordError as error:
            if self._end is None or not end:
                raise
            # Without a row for it, the stream's next sequence would go on from this one.
            row: Row = (key, time_ms, True, EVENT, 0), self._unknown, self._nothing_named
            raise _RefusedEndError(error, row) from None

    def _sequence_row(self, document: Any, head: Head, noted: bytearray) -> Row:
        sequences, end = self._sequences, head[2]
        assert sequences is not None
        whole = sequences.read(document, end)
        targets: Sequence[float] = self._unknown
        label: str | None = None
        if sequences.tells(end):
            targets = self._targets(document)
            label = None if self._open is None else self._open(document)
        if whole.frames.n:  # of none nothing can be told
            noted.extend(whole.frames.absent)
        return head, targets, ((), label, "", whole)

    def _named(self, document: Any, values: Sequence[Any] | None) -> Named:
        """What an event of these values of features, or a label (None), says in symbols."""
        is_label = values is None
        looked_up = (None,) * self._n_symbols if values is None else self._encoder.symbols_of(values)
        # What an event itself says of a target that a label will bring is not looked at.
        label = self._open(document) if self._open is not None and is_label is (self._label is not None) else None
        return looked_up, label, "" if self._text is None else self._text(document), None

    def _no_targets(self, document: Any) -> Sequence[float]:  # noqa: ARG002
        """Of classes that get their numbers from the learner."""
        return self._unknown

    def _without_value(self, record: Record, row: list[float]) -> Row | None:
        """As ``_decode_one``, of a record without a value: a tombstone, unless it was not read at all."""
        key = record.key
        if record.refused is not None:
            raise RecordError(record.refused.reason, record.refused.detail)
        if self._tombstones == "ignore":
            return None
        if self._tombstones == "dead_letter":
            raise RecordError("null_value", f"found a null value (a tombstone), expected {self._expected}")
        if self._key is not None or key is None:
            why = "no key" if key is None else "streams are named by a field, which it does not have"
            raise RecordError(
                "null_value",
                f"found a tombstone (a null value) that names no stream: {why}; input.tombstones: ignore drops it",
            )
        if len(key) > self._max_key_bytes:
            raise self._too_large(record)
        row[:] = self._no_features
        return (key, record.timestamp_ms, False, FORGET, 0), self._unknown, self._nothing_named

    def _too_large(self, record: Record) -> RecordError:
        key, value = record.key or b"", record.value or b""
        if (size := len(key) + len(value)) > self._max_bytes and record.value is not None:
            limit = f"{self._max_bytes} (input.max_record_bytes)"
            return RecordError("too_large", f"found {size} bytes of key and value, expected at most {limit}")
        return too_large_key("found a key", key, self._max_key_bytes)


class _RefusedEndError(Exception):
    """A record that ends a sequence in chunks cannot be used: why, and the silent row that ends it."""

    def __init__(self, error: RecordError, row: Row) -> None:
        super().__init__(str(error))
        self.error, self.row = error, row


def _bare(error: RecordError) -> RecordError:
    """Without the frames it came through, which held it, and the batch, in a circle."""
    error.__traceback__ = error.__context__ = None
    return error


def _matrix(values: list[float], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """``values`` as a writable float64 [rows, columns]."""
    if not values:
        return np.empty((rows, columns), dtype=np.float64)
    # Three times as fast as np.array; a bytearray, as arrays over bytes are read-only.
    packed = bytearray(struct.pack(f"{len(values)}d", *values))
    return np.frombuffer(packed, dtype=np.float64).reshape(rows, columns)


def _tombstones(records: Records) -> int:
    """How many there are; what has no value because it was not read is none."""
    missing = records.values.missing
    return int(np.count_nonzero(missing)) - sum(bool(missing[place]) for place in records.refused)


def _bad_timestamp(time_ms: int) -> RecordError:
    return RecordError("bad_timestamp", f"found the record timestamp {time_ms}, expected one in the years 1 to 9999")
