"""JSON that somebody may have made up, as plain data that the rest of the package can go through without a thought.

What is refused is what a document of ours never has and what a reader stumbles over: more levels than anything here
has (whoever goes through them calls itself), numbers that no 64 bits hold, text that is none, a name given twice (of
which each reader may believe another one). Its size is bounded by whoever read the bytes.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

MOST_LEVELS: Final = 64


def parsed_json(data: bytes | str) -> Any:
    """The document. Raises ValueError, whatever is wrong with it.

    >>> parsed_json(b'{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    >>> parsed_json(b"[" * 100_000)
    Traceback (most recent call last):
    ...
    ValueError: it is nested more than 64 levels deep
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        document = json.loads(text, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except MemoryError:
        raise ValueError(f"its {len(data)} bytes make more than fits into memory") from None
    check(document)
    return document


def check(document: Any) -> None:
    """Raise ValueError for data that ``parsed_json`` would refuse, of whatever format they are."""
    level = [document]
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                below += value
                below += value.values()
            elif kind is list:
                below += value
            elif kind is int:
                if not -(1 << 63) <= value < 1 << 64:
                    raise ValueError(f"it holds a whole number of {value.bit_length()} bits, expected at most 64")
            elif kind is str and not value.isascii():
                value.encode()  # refuses half of a surrogate pair
            elif kind is float and not math.isfinite(value):
                raise ValueError("it holds a number that is not finite")
        if not below:
            return
        level = below
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = f"it is nested more than {MOST_LEVELS} levels deep"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it gives one name twice in an object")
    return found
