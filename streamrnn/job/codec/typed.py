"""Usual records of a batch at once: read by a struct that knows the types of a job's fields, column by column.

How a record is decoded is what ``records`` says of it alone. Here is a shorter way to the same rows, for records at
which nothing is unusual: they have key, time and size as expected, their fields are of the plainest types, and there is
nothing to reject. msgspec checks the types while it parses, and whatever it refuses, or is unusual in any other way, is
left to ``records``: a number as text, NaN, a byte order mark, JSON that is none, nesting that might be too deep, a time
or a class that may not be. So a row is either the same as it would have been, or not here.

An object in which fields of the job are has nothing beside them, or is unusual, since of others nothing would be known.
Some jobs have no such records at all (``typed_reader``): of texts, symbols, whole sequences, labels that come later,
with conditions, or with a field that is inside an array or of two types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import Integers, Records, Strings
from streamrnn.job.codec.fields import LEFT_OUT, MAX_TIME_MS, MIN_TIME_MS, time_converter
from streamrnn.job.codec.json_parser import MAX_DEPTH, SHORT, brackets
from streamrnn.job.codec.told import ids_at
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.feature_columns import Column, ColumnEncoder, numbers
from streamrnn.learner.features import FeatureEncoder, Hash, OneHot, Symbol
from streamrnn.learner.paths import parse_path
from streamrnn.learner.values import canonical_text

_NUMBER, _NAME, _FLAG = float | None, str | int | None, bool | None
_CLASS, _TEXT, _MOMENT = bool | int | str | None, str | None, int | float | None

_BRACE_OF_BRACKET = ord("{") - ord("[")  # the bit in which both differ, and from no other character with it
_NO_TIME = MIN_TIME_MS - 1

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What records of a batch have become rows of a block, and all there is to count of them.

    Attributes
    ----------
    block
        The rows.
    places : int64 [n]
        Of which record of the batch each is.
    ends
        Their end marks, None where the field is missing.
    silent : bool [n]
        See ``Decoded``.
    noted
        A byte for each feature of some records, 1 where it is missing; see ``Presence``.
    absent : int64 [n_features]
        In how many of the others each feature that has to be noted is missing.
    """

    block: Block
    places: Integers
    ends: Sequence[bool | None]
    silent: Flags
    noted: bytearray
    absent: Integers


def merged(some: Rows, others: Rows) -> Rows:
    """Rows of single records, and of no symbols, texts or sequences, in the order of their records."""
    places = np.concatenate([some.places, others.places])
    order = np.argsort(places, kind="stable")
    one, other = some.block, others.block
    keys = [*one.keys, *other.keys]

    def both(name: str) -> npt.NDArray[Any]:
        joined: npt.NDArray[Any] = np.concatenate([getattr(one, name), getattr(other, name)])[order]
        return joined

    return Rows(
        Block(
            keys=[keys[row] for row in order.tolist()],
            time_ms=both("time_ms"),
            x=both("x"),
            y=both("y"),
            end=both("end"),
            kind=both("kind"),
            event=both("event"),
        ),
        places[order],
        [*some.ends, *others.ends],
        np.concatenate([some.silent, others.silent])[order],
        some.noted + others.noted,
        some.absent + others.absent,
    )


class _Field(NamedTuple):
    """Where the struct has a field: under its whole name, and inside others where it is a path of several names."""

    whole: str
    inner: str | None


class _TwoTypesError(Exception):
    """A struct cannot say which type a field has."""


class _Layout:
    """A struct of the fields that are asked for."""

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}
        self._wholes: set[str] = set()

    def add(self, field: str, type_: Any) -> _Field:
        """Ask for a field of this type; raises _TwoTypesError where that cannot be said."""
        steps = parse_path(field)
        if any(isinstance(step, int) for step in steps):
            raise _TwoTypesError
        names = [str(step) for step in steps]
        if len(names) == 1:
            return _Field(_put(self._types, names, type_), None)
        # The whole path may be the name of one field, which goes first.
        self._wholes.add(field)
        return _Field(_put(self._types, [field], type_), _put(self._types, names, type_))

    def decoder(self) -> Callable[[Any], Any]:
        """Decodes a struct; a field that is missing is None, or NaN where that is what it will become."""
        return msgspec.json.Decoder(_struct(self._types, self._wholes)).decode


def _put(types: dict[str, Any], names: Sequence[str], type_: Any) -> str:
    """Note the type of a field inside others; returns the path of its attribute."""
    path, inside = [], types
    for name in names[:-1]:
        inside = inside.setdefault(name, {})
        if not isinstance(inside, dict):
            raise _TwoTypesError
        path.append(name)
    if inside.setdefault(names[-1], type_) != type_:
        raise _TwoTypesError
    attributes, level = [], types
    for name in names:
        attributes.append(f"f{list(level).index(name)}")
        level = level[name]
    return ".".join(attributes)


def _struct(types: dict[str, Any], wholes: Container[str] = (), *, is_within: bool = False) -> type[msgspec.Struct]:
    fields: list[tuple[str, Any, Any]] = []
    for i, (name, type_) in enumerate(types.items()):
        missing: Any = math.nan if type_ == _NUMBER and name not in wholes else None
        if isinstance(type_, dict):
            inner = _struct(type_, is_within=True)
            fields.append((f"f{i}", inner, inner()))
        else:
            fields.append((f"f{i}", type_, missing))
    rename = {f"f{i}": name for i, name in enumerate(types)}
    # Of an object in a field of the job ``records`` reads everything, and what is skipped here might be refused there.
    return msgspec.defstruct("Usual", fields, rename=rename, gc=False, frozen=True, forbid_unknown_fields=is_within)


def typed_reader(config: Config, encoder: FeatureEncoder) -> TypedReader | None:
    """What reads the usual records of a job; None where it has none."""
    source, target = config.input, config.target
    symbols = any(isinstance(spec, Symbol) for spec in encoder.specs)
    if source.text or source.sequence or source.where or target.is_open or target.event_field or symbols:
        return None
    try:
        return TypedReader(config, encoder)
    except (_TwoTypesError, ValueError):  # msgspec knows no struct with a quote or backslash in the name of a field
        return None


class TypedReader:
    """Reads the usual records of one job."""

    def __init__(self, config: Config, encoder: FeatureEncoder) -> None:
        source, target = config.input, config.target
        self._max_bytes, self._max_key_bytes = source.max_record_bytes, source.max_record_key_bytes
        self._longest_key = source.max_key_bytes
        self._left_out = math.nan if math.isnan(target.left_out) else LEFT_OUT
        self._encoder, self._looks_ahead = ColumnEncoder(encoder), config.looks_ahead
        self._n_features, self._n_targets = len(encoder.specs), len(target.fields)
        self._noted = [i for i, spec in enumerate(encoder.specs) if isinstance(spec, OneHot | Hash)]
        self._classes = None
        if target.labels is not None:
            field = target.fields[0]
            self._classes = {canonical_text(label, field): float(i) for i, label in enumerate(target.labels)}
        self._in_ms = None if source.timestamp.field is None else time_converter(source)
        moment = _TEXT if source.timestamp.unit == "iso8601" else _MOMENT
        layout = _Layout()
        fields = [
            *(layout.add(spec.field, _NAME if isinstance(spec, OneHot | Hash) else _NUMBER) for spec in encoder.specs),
            *(layout.add(field, _NUMBER if self._classes is None else _CLASS) for field in target.fields),
        ]
        self._key = self._time = self._end = -1
        if source.stream_key is not None:
            self._key = len(fields)
            fields.append(layout.add(source.stream_key, _NAME))
        if source.timestamp.field is not None:
            self._time = len(fields)
            fields.append(layout.add(source.timestamp.field, moment))
        if source.end_field is not None:
            self._end = len(fields)
            fields.append(layout.add(source.end_field, _FLAG))
        self._fields = fields
        self._decode = layout.decoder()
        self._get = _getter([path for field in fields for path in field if path is not None])

    def read(self, records: Records) -> Rows:
        """The rows of those records that are usual; the others are still to be decoded."""
        places = np.flatnonzero(self._usual(records))
        values = records.values if len(places) == len(records) else records.values.at(places)
        documents, refused = self._documents(values)
        refused += _too_deep(documents, values, refused)
        if refused:
            read = np.ones(len(places), np.bool_)
            read[refused] = False
            places, documents = places[read], list(compress(documents, read.tolist()))
        columns = self._columns(documents)
        keys, times, known = self._named(records, places, columns)
        if not known.all():
            places, times, told = places[known], times[known], known.tolist()
            keys, columns = list(compress(keys, told)), [tuple(compress(column, told)) for column in columns]
        return self._rows(columns, places, keys, times, records.offset[places])

    def _usual(self, records: Records) -> Flags:
        """Which records have the size, key and time of the log that they should have."""
        key_bytes = records.keys.sizes
        usual = ~records.values.missing & (key_bytes <= self._max_key_bytes)
        usual &= key_bytes + records.values.sizes <= self._max_bytes
        if self._key < 0:
            usual &= ~records.keys.missing
        if self._time < 0:
            stamps = records.timestamp_ms
            usual &= (stamps != -1) & (stamps >= MIN_TIME_MS) & (stamps <= MAX_TIME_MS)
        return usual

    def _documents(self, values: Strings) -> tuple[list[Any], list[int]]:
        """Each value as a struct, and the places of those that it refuses."""
        documents: list[Any] = []
        refused: list[int] = []
        left = iter(values.tolist())
        while True:
            try:  # what was decoded before the one that is refused stays in the list
                documents.extend(map(self._decode, left))
                return documents, refused
            except (msgspec.DecodeError, ValueError, RecursionError):
                refused.append(len(documents))
                documents.append(None)

    def _columns(self, documents: Sequence[Any]) -> list[Column]:
        found = iter(self._get(documents))
        columns: list[Column] = []
        for field in self._fields:
            column = next(found)
            if field.inner is not None:
                whole, column = column, next(found)
                if whole.count(None) < len(whole):
                    column = tuple(i if w is None else w for w, i in zip(whole, column, strict=True))
            columns.append(column)
        return columns

    def _named(self, records: Records, places: Integers, columns: list[Column]) -> tuple[list[bytes], Integers, Flags]:
        """Keys and times, and which records have them, and a class, as they should; classes become their numbers."""
        known = np.ones(len(places), np.bool_)
        if self._key < 0:
            keys: list[Any] = records.keys.at(places).tolist()
        else:
            keys = [None if name is None else str(name).encode() for name in columns[self._key]]
            known &= np.array([key is not None and len(key) <= self._longest_key for key in keys], np.bool_)
        if self._in_ms is None:
            times = records.timestamp_ms[places]
        else:
            found = [ms if ms is not None and MIN_TIME_MS <= ms <= MAX_TIME_MS else _NO_TIME
                     for ms in map(self._in_ms, columns[self._time])]  # fmt: skip
            times = np.array(found, np.int64)
            known &= times != _NO_TIME
        if self._classes is not None:
            column = columns[self._n_features]
            numbers_of = [math.nan if value is None else self._class(value) for value in column]
            known &= np.array([number is not None for number in numbers_of], np.bool_)
            columns[self._n_features] = numbers_of
        return keys, times, known

    def _class(self, value: Any) -> float | None:
        assert self._classes is not None
        return self._classes.get(value if type(value) is str else canonical_text(value, ""))

    def _rows(
        self, columns: Sequence[Column], places: Integers, keys: list[bytes], times: Integers, offset: Integers
    ) -> Rows:
        n, features, targets = len(places), columns[: self._n_features], columns[self._n_features :][: self._n_targets]
        ends: Sequence[bool | None] = (False,) * n if self._end < 0 else columns[self._end]
        block = Block(
            keys=keys,
            time_ms=times,
            x=self._encoder.encode(features, n),
            y=self._y(targets, n),
            end=np.zeros(n, np.bool_) if self._end < 0 else np.array(ends, np.bool_),
            kind=np.full(n, EVENT, np.uint8),
            event=ids_at(offset) if self._looks_ahead else np.zeros(n, np.uint64),
        )
        absent = np.zeros(self._n_features, np.int64)
        for i in self._noted:
            absent[i] = features[i].count(None)
        return Rows(block, places, ends, np.zeros(n, np.bool_), bytearray(), absent)

    def _y(self, targets: Sequence[Column], n: int) -> npt.NDArray[np.float64]:
        y = np.empty((n, self._n_targets))
        for i, column in enumerate(targets):
            y[:, i] = numbers(column)
        if self._left_out == LEFT_OUT:
            y[np.isnan(y)] = LEFT_OUT
        return y


def _too_deep(documents: Sequence[Any], values: Strings, refused: Sequence[int]) -> list[int]:
    """Places of values that nest deep enough, or have that many brackets, to be looked at one by one."""
    others = len(documents) - len(refused) - 1
    if others < 0:
        return []
    low, high = int(values.start.min()), int(values.end.max())
    # Each that was decoded has a bracket of its own: where hardly any has more, none has too many.
    characters = np.frombuffer(values.buffer, np.uint8, high - low, low)
    if np.count_nonzero((characters | _BRACE_OF_BRACKET) == ord("{")) - others <= MAX_DEPTH:
        return []
    seen, start, end = set(refused), values.start, values.end
    long = (i for i in np.flatnonzero(values.sizes > SHORT).tolist() if i not in seen)
    return [i for i in long if brackets(values.buffer, int(start[i]), int(end[i])) > MAX_DEPTH]


def _getter(paths: Sequence[str]) -> Callable[[Sequence[Any]], Iterable[Column]]:
    """A function of structs that gives a column for each path."""
    gets = [attrgetter(path) for path in paths]  # one column after the other: rows need not be made only to be turned
    return lambda documents: [list(map(get, documents)) for get in gets]
