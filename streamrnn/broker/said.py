"""What somebody else says (a broker, an endpoint, a library), made fit for a message of ours."""

from __future__ import annotations

_LONGEST = 300


def shown(text: object) -> str:
    """One line that is not too long and holds no control characters.

    >>> shown("no\\x1b[31m such\\nuser")
    'no [31m such user'
    """
    plain = "".join(char if char.isprintable() else " " for char in str(text)[: 4 * _LONGEST])
    return " ".join(plain.split())[:_LONGEST] or type(text).__name__
