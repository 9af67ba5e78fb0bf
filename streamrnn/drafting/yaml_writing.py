"""Values and comments as lines of YAML that the job file's reader reads back as the same, whatever a record named.

What stands in a comment is one line of plain characters; text in a value keeps every character, by its escape where it
is none that can be seen. A reference to the environment in text from a record is no reference.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any, Final

from streamrnn.escaping import one_line

WIDTH: Final = 120
_PLAIN = re.compile(r"[A-Za-z_](?:[\w-]|\.(?=\w))*", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_NOT_PLAIN = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))


def value(data: Any) -> str:
    """Data in one line.

    >>> value({"field": "a.b", "categories": ["AA", "no", "7"], "missing": None})
    '{field: a.b, categories: [AA, "no", "7"], missing: null}'
    """
    if isinstance(data, Mapping):
        return "{" + ", ".join(f"{value(key)}: {value(inner)}" for key, inner in data.items()) + "}"
    if isinstance(data, list | tuple):
        return "[" + ", ".join(map(value, data)) + "]"
    if data is None or isinstance(data, bool):
        return {None: "null", True: "true", False: "false"}[data]
    if isinstance(data, int):
        return str(data)
    if isinstance(data, float):
        return f"{data:.10g}"
    return text(str(data))


def text(word: str, *, references: bool = False) -> str:
    """Text, in quotes unless it is a plain word. ``references`` leaves ``${NAME}`` what it means.

    >>> print(text("departures"), text("12"), text("a ${b}"), text("caf\\u00e9\\u200b"))
    departures "12" "a $${b}" "café\\u200b"
    """
    if _PLAIN.fullmatch(word) and word.lower() not in _NOT_PLAIN:
        return word
    kept = word if references else word.replace("${", "$${")
    return '"' + "".join(map(_character, kept)) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def category(word: str | bool) -> str:
    """A category or class: whole numbers and truth values as such, all else as text."""
    if isinstance(word, bool):
        return value(word)
    return word if _INTEGER.fullmatch(word) else text(word)


def comment(sentence: str, indent: str = "") -> list[str]:
    """A sentence as lines of a comment."""
    lines = textwrap.wrap(
        one_line(sentence), WIDTH - len(indent) - 2, break_long_words=True, break_on_hyphens=False
    )  # fmt: skip
    return [f"{indent}# {line}" for line in lines]


def commented(line: str, sentence: str, column: int = 40) -> list[str]:
    """A line with its comment behind it, at this column if it is no longer, or above it where there is no room."""
    if not sentence:
        return [line]
    beside = f"{line:<{column}}  # {one_line(sentence)}"
    if len(beside) <= WIDTH:
        return [beside]
    return [*comment(sentence, line[: len(line) - len(line.lstrip())]), line]


def block(name: str, data: Mapping[str, Any]) -> list[str]:
    """A section over several lines, references to the environment in it kept."""
    lines = [f"{name}:"]
    for key, inner in data.items():
        if isinstance(inner, Mapping) and inner:
            lines += [f"  {line}" for line in block(str(key), inner)]
        else:
            lines.append(f"  {key}: {_kept(inner)}")
    return lines


def _kept(data: Any) -> str:
    if isinstance(data, list | tuple):
        return "[" + ", ".join(map(_kept, data)) + "]"
    return text(data, references=True) if isinstance(data, str) else value(data)
