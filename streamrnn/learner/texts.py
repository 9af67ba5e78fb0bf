r"""Text as symbols: what a text is made of, and by which text a symbol is known.

Whoever gives a learner texts or symbols asks here, so that the same text is the same symbols wherever it comes from.
Nothing is normalised: letters keep their case, and a composed character is another one than its parts.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from streamrnn.learner.block import Units

LONGEST_SYMBOL = 256
"""Characters of a symbol that is known by all of its text."""
_KEPT = 200

_WORD = re.compile(r"\w+|[^\w\s]")


def units_of(text: str, unit: Literal["byte", "character", "word"]) -> Units:
    """The units of a text, in order. What cannot be UTF-8 (half a surrogate pair) is a question mark as bytes.

    >>> units_of("on", "byte"), units_of("on", "character"), units_of("GET /a_1?x=2", "word")
    (b'on', 'on', ['GET', '/', 'a_1', '?', 'x', '=', '2'])
    """
    if unit == "byte":
        return text.encode("utf-8", "replace")
    if unit == "character":
        return text
    return [word if len(word) <= LONGEST_SYMBOL else symbol_text(word) for word in _WORD.findall(text)]


def symbol_text(text: str) -> str:
    """The text by which a symbol is known: its own, or, of a long one, the beginning and a digest of all of it.

    A set of symbols keeps their texts, which somebody else writes: so many of the longest records would fill memory.

    >>> symbol_text("/cart"), len(symbol_text("x" * 1_000_000))
    ('/cart', 235)
    """
    if len(text) <= LONGEST_SYMBOL:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{text[:_KEPT]}...{digest}"
