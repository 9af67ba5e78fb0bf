"""Records out of a CSV or JSON-lines file, as a topic would hold them.

A CSV value is parsed to what it plainly is: nothing, a truth value, a number, else text; a column ``a.b`` is field b of
object a, unless the job names a field ``["a.b"]``. JSON lines stay the bytes they are, broken ones included: the codec
judges them as it does in the daemon. Offsets count the records; key and timestamp come from fields, since a file has
neither.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, AnyStr

import msgspec

from streamrnn.broker.protocol import Record
from streamrnn.errors import ConfigError, RecordError
from streamrnn.escaping import names as listed
from streamrnn.job.codec.json_parser import parse_all
from streamrnn.job.config import Config
from streamrnn.learner.paths import Step, parse_path
from streamrnn.learner.values import descend, describe
from streamrnn.system.reading import open_stream

Row = Mapping[str, Any]

LONGEST_LINE = 1 << 24

_NUMBER = re.compile(r"[+-]?(?=\.?[0-9])(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_MISSING = frozenset({"", "nan", "NaN"})
_LONGEST_INTEGER, _LONGEST_TIME = 300, 64
_NO_TIME = -1
"""Kafka's own word for it, which the codec refuses."""
_END_OF_TIME = 2**63


def read_rows(path: Path, progress: Callable[[int], None] | None = None) -> Generator[bytes | Row]:
    """The rows of a CSV file as mappings, of a JSON-lines file as bytes; empty lines are left out.

    The file stays open until the last row or ``close``. ``progress`` is told the bytes read so far. Raises ConfigError
    for a file that cannot be read or has another ending than .csv, .jsonl or .ndjson.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        raise ConfigError(f"--data: {path} ends in {suffix or 'nothing'!r}; expected .csv, .jsonl or .ndjson")
    try:
        with open_stream(path, links=True) as stream:
            yield from _csv_rows(stream, path, progress) if suffix == ".csv" else _json_lines(stream, path, progress)
    except OSError as error:
        raise ConfigError(f"--data: {path} cannot be read: {error.strerror}") from error


def _lines(stream: IO[AnyStr], path: Path) -> Iterator[AnyStr]:
    """The lines of a file, which may have any size; none of them may."""
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise ConfigError(
                f"--data: {path}, line {number}: found more than {LONGEST_LINE:,} bytes, expected one record a line"
            )
        yield line


def _json_lines(stream: IO[bytes], path: Path, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    read = 0
    for line in _lines(stream, path):
        read += len(line)
        if progress is not None:
            progress(read)
        if line := line.strip():
            yield line


def _csv_rows(stream: IO[bytes], path: Path, progress: Callable[[int], None] | None) -> Iterator[Row]:
    with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(_lines(text, path))
        try:
            names = next(reader, None)
            if not names:
                raise ConfigError(f"--data: {path} is empty; the first line of a CSV file names its columns")
            if len(set(names)) != len(names):
                raise ConfigError(f"--data: {path}: two columns have the same name; found {listed(names)}")
            for values in reader:
                if progress is not None:
                    progress(stream.tell())
                if len(values) == len(names):
                    yield dict(zip(names, values, strict=True))
                elif values:
                    raise ConfigError(
                        f"--data: {path}, line {reader.line_num}: found {len(values)} values, expected {len(names)}"
                    )
        except csv.Error as error:
            raise ConfigError(f"--data: {path}, line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"--data: {path} is not UTF-8 text") from error


def parsed(text: str) -> Any:
    """What a CSV value means: nothing, a truth value, a number, or the text itself.

    A number with leading zeros is an identifier and stays text, and so does one with more digits than float64 has room
    for.

    >>> [parsed(t) for t in ("", "true", "12", "-1.5e3", "007", "N14228", "inf")]
    [None, True, 12, -1500.0, '007', 'N14228', 'inf']
    """
    if text in _MISSING:
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match[2] or match[3]:
        return float(text)
    return int(text) if len(text) <= _LONGEST_INTEGER else text


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where a record's key and time are in a row; None: nowhere."""

    key: str | None = None
    timestamp: str | None = None


def records(
    config: Config, rows: Iterable[bytes | Row], fields: Fields, remark: Callable[[str], None] | None = None
) -> Iterator[Record]:
    """Rows as the records a topic would hold: offset by number, key and time as ``fields`` says.

    Without a time of any kind, records follow each other by a second. ``remark`` is told of the first record whose
    time cannot be read. Raises ConfigError when the job takes its stream
    from the record key and ``fields`` names none, or a field that the first row lacks.
    """
    if config.input.stream_key is None and fields.key is None:
        raise ConfigError(
            "--key: the job takes its streams from the record key, and a file has none; name the field that holds it"
        )
    if config.input.stream_key is not None and fields.key is not None:
        raise ConfigError(f"--key: the job takes its streams from the field {config.input.stream_key!r}; leave it out")
    encode = msgspec.json.Encoder().encode
    named = _named_flat(config)
    texts = frozenset() if config.input.text is None else frozenset([config.input.text.field])
    for i, row in enumerate(rows):
        if isinstance(row, bytes):
            value = row
            document = _document(row) if fields.key or fields.timestamp else {}
        else:
            document = nested(row, named, texts)
            value = encode(document)
        if i == 0 and not config.input.where:  # a foreign record may come first, and need not have them
            _check_fields(document, fields)
        key = None if fields.key is None else _key(row, document, fields.key)
        time_ms = 1_000 * i if fields.timestamp is None else _time(_at(document, fields.timestamp))
        if time_ms == _NO_TIME and remark is not None and isinstance(document, dict) and document:
            found = _at(document, fields.timestamp or "")
            remark(
                f"--timestamp: record {i} (the first is 0), field {fields.timestamp!r}: found "
                f"{'nothing' if found is None else describe(found)}, expected milliseconds or ISO 8601 text"
            )
            remark = None
        yield Record(config.input.topic, 0, i, time_ms, key, value)


def fields_of(record: Record) -> str:
    """The names of a record's fields, for a message; "none" where it is no object."""
    document = _document(record.value or b"")
    return (listed(document) if isinstance(document, dict) else "") or "none"


def _document(line: bytes) -> Any:
    document = parse_all(line)
    return {} if document is None else document  # the codec says what is wrong with it


def _named_flat(config: Config) -> frozenset[str]:
    """Names with a dot that the job gives to fields of the record itself."""
    target, source = config.target, config.input
    paths = [*(feature.field for feature in config.features), *target.fields, *(c.field for c in source.where)]
    paths += filter(None, (source.stream_key, source.timestamp.field, source.end_field))
    paths += filter(None, (target.event_field, target.label_field))
    return frozenset(str(steps[0]) for path in paths if len(steps := parse_path(path)) == 1)


def nested(row: Row, flat: frozenset[str] = frozenset(), texts: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A row's values parsed, but for ``texts``; a column ``a.b`` becomes field b of object a, unless it is one of
    ``flat``."""
    document: dict[str, Any] = {}
    for name, text in row.items():
        at, path = document, [name] if name in flat else name.split(".")
        for part in path[:-1]:
            inner = at.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--data: columns {part!r} and {name!r} exclude each other; rename one")
            at = inner
        at[path[-1]] = text if name in texts else parsed(text)
    return document


def _at(document: Any, path: str) -> Any:
    """The value of a field, as the codec finds it; None where there is none."""
    if not isinstance(document, dict):
        return None
    try:
        return document[path] if path in document else descend(document, _steps(path), path)
    except RecordError:
        return None


def _steps(path: str) -> tuple[Step, ...]:
    try:
        return parse_path(path)
    except ValueError as error:
        raise ConfigError(f"--key, --timestamp: found {path!r}: {error}") from None


def _check_fields(document: Any, fields: Fields) -> None:
    for option, name in (("--key", fields.key), ("--timestamp", fields.timestamp)):
        if name is None or not isinstance(document, dict) or not document or name in document:
            continue
        if _steps(name)[0] not in document:
            raise ConfigError(f"{option}: the first record has no field {name!r}; it has {listed(document)}")


def _key(row: bytes | Row, document: Any, name: str) -> bytes | None:
    """The value of a field as a record key; None when it has none."""
    value = _at(document, name)
    if value is None:
        return None
    if not isinstance(row, bytes) and name in row:
        return str(row[name]).encode()  # the text as it stands in the CSV file: 1.10 and 1.1 are two names
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def _time(value: Any) -> int:
    """Milliseconds since the epoch from such a number or ISO 8601 text."""
    if isinstance(value, bool) or value is None:
        return _NO_TIME
    if isinstance(value, int | float):
        return math.floor(value) if abs(value) < _END_OF_TIME else _NO_TIME
    try:
        time = datetime.fromisoformat(value if len(value) <= _LONGEST_TIME else "")
    except (ValueError, TypeError):
        return _NO_TIME
    return math.floor((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)
