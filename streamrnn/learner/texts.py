"""What a text is made of.

Whoever gives a learner texts asks here, so that the same text is the same symbols wherever it comes from. Nothing is
normalised: letters keep their case, and a composed character is another one than its parts.
"""

from __future__ import annotations

import re
from typing import Literal

from streamrnn.learner.block import Units

_WORD = re.compile(r"\w+|[^\w\s]")


def units_of(text: str, unit: Literal["byte", "character", "word"]) -> Units:
    """The units of a text, in order. What cannot be UTF-8 (half a surrogate pair) is a question mark as bytes.

    >>> units_of("on", "byte"), units_of("on", "character"), units_of("GET /a_1?x=2", "word")
    (b'on', 'on', ['GET', '/', 'a_1', '?', 'x', '=', '2'])
    """
    if unit == "byte":
        return text.encode("utf-8", "replace")
    words: list[str] = _WORD.findall(text)
    return text if unit == "character" else words
