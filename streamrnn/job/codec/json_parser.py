"""JSON: only the fields the job names are built, the rest is skipped over.

What is skipped must be JSON all the same: NaN or a trailing comma anywhere makes a value malformed. A float64 cannot
hold every JSON number: one out of its range is refused in a field of the job, not rounded to infinity. Nesting is
limited long before the depth at which the parser, or Python, would depend on the stack.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import RecordError
from streamrnn.learner.features import describe

# Far above any real record, far below the depth at which the parser would depend on the stack.
MAX_DEPTH = 64

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class JsonParser:
    """Parses JSON objects into documents of a given class (see ``DocumentLayout``)."""

    expected = "a JSON object"

    def __init__(self, document: type[msgspec.Struct]) -> None:
        self._decode = msgspec.json.Decoder(document).decode

    def parse(self, value: bytes) -> Any:
        """The document; raises RecordError (see ``Parser.parse``)."""
        # Cheap to count, and too few brackets cannot nest too deep.
        if value.count(b"{") + value.count(b"[") > MAX_DEPTH:
            _check_depth(value)
        try:
            return self._decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _refusal(value, error) from None


def _check_depth(value: bytes) -> None:
    """Raise when brackets nest deeper than ``MAX_DEPTH``; exact for valid JSON, which is all that matters."""
    # Brackets inside strings do not nest.
    codes = np.frombuffer(_STRINGS.sub(b"", value), dtype=np.uint8)
    step = np.zeros(len(codes), dtype=np.int32)
    step[(codes == ord("{")) | (codes == ord("["))] = 1
    step[(codes == ord("}")) | (codes == ord("]"))] = -1
    if len(step) and int(np.cumsum(step).max()) > MAX_DEPTH:
        raise RecordError("malformed", f"found JSON nested more than {MAX_DEPTH} deep, expected at most {MAX_DEPTH}")


def _refusal(value: bytes, error: Exception) -> RecordError:
    if isinstance(error, UnicodeDecodeError):
        return RecordError("malformed", "found bytes that are not UTF-8, expected JSON")
    # msgspec has no class of error for this, only these words; a test per kind of number holds that they stay.
    if "out of range" in str(error):
        return RecordError("out_of_range", "found a number in a field of the job that is beyond float64")
    if isinstance(error, msgspec.ValidationError):
        # Of the wrong shape at its first character; whether the rest is JSON at all has not been looked at yet.
        try:
            found = msgspec.json.decode(value)
        except (msgspec.DecodeError, ValueError, RecursionError) as other:
            return RecordError("malformed", f"found {str(other)[:200]}, expected a JSON object")
        return RecordError("not_an_object", f"found {describe(found)}, expected a JSON object")
    return RecordError("malformed", f"found {str(error)[:200]}, expected a JSON object")
