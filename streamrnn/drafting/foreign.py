"""What a record's value looks like that is no JSON object, and what to do about it: a guess, for a message.

Going by the first bytes alone, as nothing here reads these formats: Confluent's framing (a zero byte and the schema's
number, before Avro, Protobuf or JSON), single-object Avro (C3 01), containers and compression by their magic numbers,
text by its shape, and for the rest whether it reads like fields of Protobuf.
"""

from __future__ import annotations

import json
from typing import Final

from streamrnn.broker.protocol import Record
from streamrnn.errors import RecordError
from streamrnn.escaping import one_line
from streamrnn.job.codec.json_parser import parse_all

_FRAME: Final = 5  # a zero byte and four of the schema's number
_SHOWN: Final = 60
_CONVERT: Final = (
    "streamrnn reads JSON: have the producer or connector write it (Kafka Connect: value.converter="
    "org.apache.kafka.connect.json.JsonConverter, schemas.enable=false), or convert the topic with a stream processor"
)
_WHOLE: Final = "see that the producer writes one whole object a record"
_MAGIC: Final = (
    (b"\xc3\x01", "single-object Avro (it begins with C3 01)"),
    (b"Obj\x01", "a whole Avro file"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "gzip, compressed by the producer itself; Kafka's own compression.type is read"),
    (b"\x28\xb5\x2f\xfd", "zstd, compressed by the producer itself; Kafka's own compression.type is read"),
    (b"\xac\xed\x00\x05", "a serialised Java object"),
    (b"\x80\x04", "a Python pickle"),
)


def what_it_looks_like(record: Record) -> str:
    """What the value of a record seems to be, and the remedy."""
    if record.refused is not None:
        return f"it was not read ({record.refused.detail})"
    value = record.value or b""
    if not value:
        return f"it is empty. {_CONVERT}"
    if value[:1] == b"\0" and len(value) > _FRAME:
        return f"{_framed(value)}. {_CONVERT}"
    for magic, what in _MAGIC:
        if value.startswith(magic):
            return f"it looks like {what}. {_CONVERT}"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if text and sum(c.isprintable() or c in "\t\r\n" for c in text) > 0.95 * len(text):
        return _text(text, value)
    kind = "Protobuf without a schema registry" if _reads_like_protobuf(value) else "a binary format"
    return f"it looks like {kind}: {len(value)} bytes that begin with {value[:8].hex(' ')}. {_CONVERT}"


def _framed(value: bytes) -> str:
    schema = int.from_bytes(value[1:_FRAME], "big")
    body = value[_FRAME:]
    if isinstance(_parsed(body), dict):
        return (
            f"it is JSON behind five bytes of Confluent's schema registry (schema {schema}): have the producer use a "
            "plain JSON serializer"
        )
    # Protobuf's framing goes on with the place of the message in its file, mostly a single zero.
    kind = "Protobuf" if body[:1] == b"\0" and _reads_like_protobuf(body[1:]) else "Avro"
    return f"it looks like {kind} framed for Confluent's schema registry (a zero byte, then schema {schema})"


def _text(text: str, value: bytes) -> str:
    found = _parsed(value)
    shown = one_line(text.strip(), _SHOWN)
    if found is not None and not isinstance(found, dict):
        kind = "an array" if isinstance(found, list) else "a single value"
        return f"it is JSON, but {kind}, expected an object with named fields: {shown}"
    if found == {}:
        return "it is an empty JSON object, in which there is nothing to learn from"
    line = text.strip().splitlines()[0] if text.strip() else ""
    if line.startswith("<"):
        return f"it looks like XML: {shown}. {_CONVERT}"
    if text.lstrip().startswith(("{", "[")):
        return f"it begins like JSON and is none: {shown}. {_why(value)}"
    for mark, what in (
        (",", "CSV"),
        (";", "CSV with semicolons"),
        ("\t", "values between tabs"),
        ("|", "values between bars"),
    ):
        if line.count(mark) >= 2:
            return f"it looks like {what}: {shown}. {_CONVERT}"
    if line.count("=") >= 2:
        return f"it looks like key=value text: {shown}. {_CONVERT}"
    return f"it is plain text: {shown}. {_CONVERT}"


def _why(value: bytes) -> str:
    try:
        json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"Python's parser says: {one_line(str(error), _SHOWN)}; {_WHOLE}"
    return _WHOLE


def _parsed(value: bytes) -> object:
    try:
        return parse_all(value)
    except RecordError:  # nested too deeply
        return None


def _reads_like_protobuf(value: bytes) -> bool:
    """Whether the bytes are a row of fields from first to last: tag, wire type, and a length that fits."""
    at, fields = 0, 0
    while at < len(value):
        tag, at = _varint(value, at)
        wire, number = tag & 7, tag >> 3
        if at < 0 or not 0 < number < 1 << 16:
            return False
        if wire == 0:
            _, at = _varint(value, at)
            if at < 0:
                return False
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            length, at = _varint(value, at)
            if at < 0:
                return False
            at += length
        else:
            return False
        fields += 1
    return at == len(value) and fields > 0


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it; -1 where it does not end."""
    number = 0
    for i in range(10):
        if at + i >= len(value):
            break
        number |= (value[at + i] & 127) << (7 * i)
        if value[at + i] < 128:
            return number, at + i + 1
    return 0, -1
