r"""What may be seen of text from elsewhere: from a record, a file, a topic, an environment, another's error.

It may hold anything: sequences that clear a terminal's screen or set its title, a line break with a forged line of a
log behind it, marks that turn the direction of text or have no width, half a surrogate pair that no stream can encode,
a megabyte, a password that was written into an address. So what is no plain character is shown by its escape, as
Python's ``repr`` would, what is too long is cut, and the user's part of an address is left out.

Whoever writes text for people or logs asks here; the terminal (``cli.terminal``) and the log (``daemon.logs``) do so of
all they are given. JSON has escapes of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import islice

MAX_NAME = 100
"""Characters of a name that are worth showing."""
MAX_LINE = 4_000
"""Characters of a line."""
MAX_LINES = 200
"""Lines of one text."""

_WORD = re.compile(r"\S+")


def one_line(text: str, limit: int = MAX_LINE) -> str:
    r"""Text as part of one line: no control characters and no line breaks, and no more than ``limit`` characters.

    >>> print(one_line("a\x1b[2J\nb\u202ec"), one_line("x" * 50, limit=10))
    a\x1b[2J\nb\u202ec xxxxxxxxxx... (40 more characters)
    """
    kept = text[:limit]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else escaped(c) for c in kept)
    if len(text) > limit:
        kept += f"... ({len(text) - limit} more characters)"
    return without_credentials(kept)


def name(text: str) -> str:
    """The name of a field, a column, a topic, as it stands in a message."""
    return one_line(text, MAX_NAME)


def names(texts: Collection[str], most: int = 20) -> str:
    """The first names of a list.

    >>> names(["a", "b\\n", "c"], most=2)
    'a, b\\\\n, ...'
    """
    return ", ".join(map(name, islice(texts, most))) + (", ..." if len(texts) > most else "")


def lines(text: str) -> str:
    r"""Text of several lines, each as ``one_line``; all but the first are indented, so that none passes for another's.

    >>> print(lines("Traceback:\n  in f\nValueError: \x07"))
    Traceback:
        in f
      ValueError: \x07
    """
    first, *others = text.split("\n")
    shown = [one_line(first), *("  " + one_line(line) for line in others[:MAX_LINES])]
    if len(others) > MAX_LINES:
        shown.append(f"  ... ({len(others) - MAX_LINES} more lines)")
    return "\n".join(shown)


def escaped(character: str) -> str:
    """A character by its escape."""
    return character.encode("unicode_escape").decode("ascii")


def without_credentials(text: str) -> str:
    """Text in which addresses are without the user and password that somebody wrote into them.

    >>> without_credentials("no answer from SASL_SSL://alice:pa@ss@host:9092, a:b@c:1")
    'no answer from SASL_SSL://***@host:9092, ***@c:1'
    >>> without_credentials("me@home")
    'me@home'
    """
    # Word by word: a search for both ends at once could begin anew behind each character.
    return _WORD.sub(_address, text) if "@" in text else text


def _address(match: re.Match[str]) -> str:
    word = match[0]
    before, at, host = word.rpartition("@")  # the last one: a password may hold others
    scheme, slashes, _ = before.partition("://")
    if not at or not (slashes or ":" in before):
        return word
    return f"{scheme}{slashes}***@{host}" if slashes else f"***@{host}"
