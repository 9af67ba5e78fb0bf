"""Paths: how a job names a field of a record, or a field inside a field.

``a.b`` is field b of object a, ``a[0]`` the first element of array a and ``a[-1]`` its last. A name that holds a dot or
a bracket, or nothing at all, stands in brackets and quotes, where a backslash makes the quote or backslash behind it
literal: ``["cpu.load"].avg``. It is the notation of JSONPath (RFC 9535), for one value and without its ``$``. A path is
read once, when the job is loaded.

Many producers flatten their records, so a path of several steps also names the field whose whole name is the path's
text, and that one first: ``cpu.load`` finds the 3 in ``{"cpu.load": 3}`` as well as in ``{"cpu": {"load": 3}}``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

Step = str | int
"""The name of a field, or the place of an element in an array."""

_PLAIN = r"[^.\[]+"
_QUOTED = r"""\[(?:"(?:[^"\\]|\\["'\\])*"|'(?:[^'\\]|\\["'\\])*')\]"""
_INDEX = r"\[-?[0-9]{1,9}\]"

FIELD_PATH = rf"^(?!\$(?:[.\[]|$))(?:{_PLAIN}|{_QUOTED})(?:\.{_PLAIN}|{_QUOTED}|{_INDEX})*$"
"""What ``parse_path`` accepts, for the schema of the job file."""

FieldPath = Annotated[
    str,
    Meta(
        pattern=FIELD_PATH,
        description='Field of the record; `a.b` is field b of object a, `a[0]` the first element of array a, `["a.b"]` '
        "the field named a.b.",
    ),
]

_STEP = re.compile(rf"\.(?P<plain>{_PLAIN})|(?P<quoted>{_QUOTED})|(?P<index>{_INDEX})")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path; ValueError says at which character it is none.

    >>> parse_path('["cpu.load"].avg'), parse_path("readings[0].value"), parse_path("room 1")
    (('cpu.load', 'avg'), ('readings', 0, 'value'), ('room 1',))
    """
    if text == "$" or text[:2] in ("$.", "$["):
        rest = text[1:].removeprefix(".")
        remedy = f"leave it out: {rest}" if rest else 'a field of that name is ["$"]'
        raise ValueError(f"$ at character 1 is not part of a path here; {remedy}")
    steps: list[Step] = []
    at, dotted = 0, text if text[:1] == "[" else f".{text}"  # as if every name had its dot, the first one too
    while match := _STEP.match(dotted, at):
        steps.append(_meaning(match))
        at = match.end()
    if at == len(dotted) and isinstance(steps[0], str):
        return tuple(steps)
    place, expected = _trouble(dotted[at:], steps, at + 1 - len(dotted) + len(text))
    raise ValueError(f"at character {max(1, place)} expected {expected}")


def _meaning(match: re.Match[str]) -> Step:
    if (name := match["plain"]) is not None:
        return name
    if (quoted := match["quoted"]) is not None:
        return _ESCAPED.sub(r"\1", quoted[2:-2])
    return int(match["index"][1:-1])


def _trouble(rest: str, steps: Sequence[Step], place: int) -> tuple[int, str]:
    """Where no path goes on, and what should stand there instead of ``rest``."""
    if steps and isinstance(steps[0], int):
        return 1, "a name: a record has fields, not places"
    if rest.startswith("["):
        return place, 'a place as in [0], or a name in quotes as in ["a.b"], and the bracket closed'
    if rest.startswith("."):
        return place + 1, 'a name; one that is empty or holds a dot or bracket stands in quotes, as in ["a.b"]'
    return place, "a dot or a bracket"


def path_text(steps: Sequence[Step]) -> str:
    r"""The path of these steps, as it would stand in a job file.

    >>> path_text(["cpu.load", "avg", 0]), path_text(["a", 'b"c']), path_text(["$"])
    ('["cpu.load"].avg[0]', 'a.b"c', '["$"]')
    """
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(_PLAIN, step) and (text or step != "$"):
            text += f".{step}" if text else step
        else:
            escaped = step.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text
