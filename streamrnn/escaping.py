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
_SPACED = re.compile(r"(://)(?=[^\s:/@]+:(?![0-9]{1,5}(?:\W|$)))[^@\n]*@(?:\S*@)?")
"""From the protocol of an address to its host, where user and password stand between, with any spaces."""
_SERVER = re.compile(r"(?:[\w.-]+|\[[0-9A-Za-z.:%]+\]):[0-9]{1,5}(?![0-9])")


def one_line(text: str, limit: int = MAX_LINE) -> str:
    r"""Text as part of one line: no control characters and no line breaks, and no more than ``limit`` characters.

    What may be an address has lost its user and password, also where it is no more than ``user:password@host``.

    >>> print(one_line("a\x1b[2J\nb\u202ec"), one_line("x" * 50, limit=10))
    a\x1b[2J\nb\u202ec xxxxxxxxxx... (40 more characters)
    """
    return _shown(text, limit, strict=True)


def name(text: str) -> str:
    """The name of a field, a column, a topic, as it stands in a message; ``urn:order@eu`` may be one."""
    return _shown(text, MAX_NAME, strict=False)


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


def without_credentials(text: str, *, strict: bool = False) -> str:
    """Text in which addresses are without the user and password that somebody wrote into them.

    An address has a protocol, or a host and a port. ``strict`` is for text of which nobody knows whether it shows keys
    of streams: there anything with a colon before the ``@`` counts.

    >>> without_credentials("no answer from SASL_SSL://alice:pa s@s@host:9092, a:b@c:1")
    'no answer from SASL_SSL://***@host:9092, ***@c:1'
    >>> without_credentials("me@home or urn:order@eu"), without_credentials("urn:order@eu", strict=True)
    ('me@home or urn:order@eu', '***@eu')
    """
    if "@" not in text:
        return text
    # Word by word: a search for both ends at once could begin anew behind each character.
    address = _strict_address if strict else _address
    return _WORD.sub(address, "\n".join(map(_without_spaced, text.split("\n"))) if "://" in text else text)


def _shown(text: str, limit: int, *, strict: bool) -> str:
    """Left out is first: what is cut could be the very end by which a password is known as one."""
    safe = without_credentials(text, strict=strict)
    kept = safe[:limit]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else escaped(c) for c in kept)
    if len(safe) > limit:
        kept += f"... ({len(safe) - limit} more characters)"
    return without_credentials(kept, strict=strict)  # which knows an address across what was a line's end


def _without_spaced(line: str) -> str:
    before, at, host = line.rpartition("@")  # so that each search for an end finds one
    return _SPACED.sub(r"\1***@", before + at) + host


def _address(match: re.Match[str], strict: bool = False) -> str:
    word = match[0]
    before, at, host = word.rpartition("@")  # the last one: a password may hold others
    if not at:
        return word
    scheme, slashes, _ = before.partition("://")
    if slashes and "@" not in scheme:
        return f"{scheme}://***@{host}"
    return f"***@{host}" if ":" in before and (slashes or strict or _SERVER.match(host)) else word


def _strict_address(match: re.Match[str]) -> str:
    return _address(match, strict=True)
