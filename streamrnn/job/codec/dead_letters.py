"""Why a record may be rejected, and the record that says so on the dead-letter topic."""

from __future__ import annotations

import base64
import codecs
import re

import msgspec

from streamrnn.broker.protocol import Record, Refused
from streamrnn.errors import RecordError

REASONS = (
    "null_key",
    "null_value",
    "null_text",
    "empty_sequence",
    "too_long",
    "wrong_length",
    "too_large",
    "malformed",
    "not_an_object",
    "wrong_type",
    "out_of_range",
    "bad_timestamp",
    "unknown_class",
    "undeliverable",
    "corrupt",
    "quarantined",
)
"""Every reason of a RecordError, as used in dead letters and metric labels. None of them names a format."""

# A dead letter keeps at most so much of a key and of the detail, so that it stays below 1 MB whatever came in.
_KEPT_KEY_BYTES = 8 * 1024
_KEPT_DETAIL = 2_000

# Characters that JSON writes as six bytes; text with any of them goes as base64.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


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


def encode_dead_letter(
    record: Record, error: RecordError, max_value_bytes: int = 64 * 1024, *, unread: bool = False
) -> bytes:
    """The dead letter of ``record`` as JSON: why, where it lies, and what it held.

    ``key`` and ``value`` are text (``*_encoding: "utf-8"``) or base64 (``"base64"``), null when the record's are.
    ``*_bytes`` is the original size; where more than ``max_value_bytes`` (keys: 8 KiB), the beginning is kept, and
    nothing of a value that was too long to be read. For a ``max_value_bytes`` of at most 256 KiB the result stays below
    1 MB. ``unread``: nothing looks into key or value, which may be what ends a process; they go as base64.
    """
    sizes = record.refused or Refused("", "", _size(record.key), _size(record.value))
    shown = _as_base64 if unread else _shown
    key, key_encoding = shown(record.key, _KEPT_KEY_BYTES)
    value, value_encoding = shown(record.value, max_value_bytes)
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
            key_bytes=sizes.key_bytes,
            value=value,
            value_encoding=value_encoding,
            value_bytes=sizes.value_bytes,
        )
    )


def shorten_dead_letter(encoded: bytes, max_bytes: int) -> bytes:
    """The same dead letter in at most ``max_bytes``, or as short as it gets: less of the value, the detail, the key.

    Where and why always stay, and so do the original sizes.
    """
    letter = msgspec.json.decode(encoded, type=_DeadLetter)
    for name, encoding in (("value", letter.value_encoding), ("detail", None), ("key", letter.key_encoding)):
        if (excess := len(encoded) - max_bytes) <= 0:
            break
        text = getattr(letter, name) or ""
        # A character takes a byte or more in JSON, so taking away so many of them is enough.
        kept = max(0, len(text) - excess)
        if text:
            setattr(letter, name, text[: kept // 4 * 4 if encoding == "base64" else kept])
        encoded = msgspec.json.encode(letter)
    return encoded


def _size(data: bytes | None) -> int | None:
    return None if data is None else len(data)


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
    return _as_base64(kept, limit)


def _as_base64(data: bytes | None, limit: int) -> tuple[str | None, str | None]:
    return (None, None) if data is None else (base64.b64encode(data[:limit]).decode("ascii"), "base64")
