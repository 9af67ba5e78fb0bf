"""JSON, and what producers write instead of it: only the fields the job names are built, the rest is skipped over.

Most records are JSON, which is taken as it is. For one that is not, three habits are known: a byte order mark before
it; NaN, Infinity and the like where a number stands, as Python's ``json`` and others write them, which all become NaN;
half a surrogate pair in text that was cut, in a field that the job does not use. Nothing else is guessed at: what is
skipped must be JSON all the same, and a trailing comma anywhere makes a value malformed.

A float64 cannot hold every JSON number: one out of its range is refused in a field of the job, not rounded to infinity.
Nesting is limited long before the depth at which the parser, or Python, would depend on the stack. Everything takes
time in proportion to the bytes, whatever they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import RecordError
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.learner.values import describe

# Far above any real record, far below the depth at which the parser would depend on the stack.
MAX_DEPTH = 64
SHORT = 2 * MAX_DEPTH
"""Bytes of which no more than so many brackets are opened and closed again."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# A string that is never closed reaches to the end: otherwise the search would begin again behind each of its quotes,
# and take quadratic time. Possessive, so that nothing is gone through twice.
_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_STRINGS = re.compile(_STRING, re.DOTALL)
_NO_NUMBERS = re.compile(_STRING + rb"|(?<![\w.+-])[+-]?(?:NaN|Inf(?:inity)?)(?![\w.+-])", re.DOTALL | re.IGNORECASE)

_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPES = re.compile(rb"\\(?:" + _HIGH + rb"\\" + _LOW + rb"|(" + _HIGH + rb"|" + _LOW + rb")|.)", re.DOTALL)

# Of brackets, one deeper, or one less deep (-1 as a byte).
_STEPS = bytes(1 if byte in b"{[" else 255 for byte in range(256))
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")

# How half a surrogate pair is written on its way through the parser: code points that are no characters.
_HALF = "\ufdd0\ufdef\ufdd0"

# Where a message says what is wrong.
_PLACE = re.compile(r" \(byte [0-9]+\)")

# How NaN is written on its way through the parser, which knows no such number: a zero that nobody writes like this.
_NAN_LITERAL = "0e-077007"


class JsonParser:
    """Parses JSON objects into documents of a layout."""

    expected = "a JSON object"

    def __init__(self, layout: DocumentLayout) -> None:
        self._decode = _decoder(layout, None)
        self._decode_with_nan = _decoder(layout, _float)

    def parse(self, value: bytes) -> Any:
        """The document; raises RecordError (see ``Parser.parse``)."""
        # Cheap to count, and too few brackets cannot nest too deep; what is short cannot even close as many.
        if len(value) > SHORT and brackets(value) > MAX_DEPTH:
            _check_depth(value)
        try:
            return self._decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if (mended := _mended(value)) == value:
                raise _refusal(value, error) from None
        try:
            document = self._decode_with_nan(mended)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _refusal(mended, error, is_mended=True) from None
        if _HALF.encode() in mended and _holds_half(msgspec.structs.astuple(document)):
            raise RecordError("malformed", "found half a surrogate pair in a field of the job, expected text")
        return document


def brackets(buffer: bytes, start: int = 0, end: int | None = None) -> int:
    """How many are opened between two places: as deep as it nests, or more."""
    return buffer.count(b"{", start, end) + buffer.count(b"[", start, end)


def parse_all(value: bytes) -> Any:
    """Everything that ``value`` holds, None where it cannot be told: to look at, not to learn from.

    A number beyond float64 is infinite here, so that one field does not hide all others.
    """
    try:
        if brackets(value) > MAX_DEPTH:
            _check_depth(value)
        mended = _mended(value)
        try:
            return msgspec.json.decode(value) if mended == value else _decode_anything(mended)
        except (msgspec.DecodeError, ValueError) as error:
            if "out of range" not in str(error):
                raise
            return _decode_beyond(mended)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _decoder(layout: DocumentLayout, float_hook: Callable[[str], Any] | None) -> Callable[[bytes], Any]:
    attributes = layout.attributes
    try:
        named = layout.document(rename={attribute: name for name, attribute in attributes.items()})
    except ValueError:
        # msgspec knows no struct with a quote, backslash or control character in the name of a field.
        document = layout.document()
        whole = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        one = msgspec.json.Decoder(Any, float_hook=float_hook).decode

        def decode(value: bytes) -> Any:
            raw = whole(value)
            return document(*[one(raw[name]) if name in raw else None for name in attributes])

        return decode
    return msgspec.json.Decoder(named, float_hook=float_hook).decode


def _float(text: str) -> float:
    if text == _NAN_LITERAL:
        return math.nan
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


_decode_beyond = msgspec.json.Decoder(
    Any, float_hook=lambda text: math.nan if text == _NAN_LITERAL else float(text)
).decode
_decode_anything = msgspec.json.Decoder(Any, float_hook=_float).decode


def _mended(value: bytes) -> bytes:
    """JSON, where ``value`` is JSON but for habits of producers; itself otherwise."""

    return _NO_NUMBERS.sub(_mended_token, value.removeprefix(_BYTE_ORDER_MARK))


def _mended_token(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token[:1] != b'"':
        return _NAN_LITERAL.encode()
    if b"\\u" not in token:
        return token
    return _ESCAPES.sub(lambda escape: _HALF.encode() if escape[1] else escape[0], token)


def _holds_half(value: Any) -> bool:
    if isinstance(value, dict):
        return _holds_half([*value, *value.values()])
    return (
        any(map(_holds_half, value)) if isinstance(value, list | tuple) else isinstance(value, str) and _HALF in value
    )


def _check_depth(value: bytes) -> None:
    """Raise when brackets nest deeper than ``MAX_DEPTH``; exact for valid JSON, which is all that matters."""
    # Brackets inside strings do not nest.
    steps = np.frombuffer(_STRINGS.sub(b"", value).translate(_STEPS, _NO_BRACKETS), dtype=np.int8)
    if len(steps) and int(np.cumsum(steps, dtype=np.int64).max()) > MAX_DEPTH:
        raise RecordError("malformed", f"found JSON nested more than {MAX_DEPTH} deep, expected at most {MAX_DEPTH}")


def _refusal(value: bytes, error: Exception, *, is_mended: bool = False) -> RecordError:
    """Why the value was refused; of a mended one, without the places, which are not those of the record."""
    shown = _PLACE.sub("", str(error)) if is_mended else str(error)
    if isinstance(error, UnicodeDecodeError):
        return RecordError("malformed", "found bytes that are not UTF-8, expected JSON")
    # msgspec has no class of error for this, only these words; a test per kind of number holds that they stay.
    if "out of range" in str(error):
        return RecordError("out_of_range", "found a number in a field of the job that is beyond float64")
    if isinstance(error, msgspec.ValidationError):
        # Of the wrong shape at its first character; whether the rest is JSON at all has not been looked at yet.
        try:
            found = _decode_anything(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as other:
            shown = _PLACE.sub("", str(other)) if is_mended else str(other)
            return RecordError("malformed", f"found {shown[:200]}, expected a JSON object")
        return RecordError("not_an_object", f"found {describe(found)}, expected a JSON object")
    return RecordError("malformed", f"found {shown[:200]}, expected a JSON object")
