"""What a check says: a problem (the job would not run, or lose something), a warning, or that all is fine there.

Checks are functions from facts to findings, each one sentence with what was found and what to do about it. They report
what is fine as well, so that an operator sees what was looked at.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    WARNING = "warning"
    FINE = "fine"


class Finding(NamedTuple):
    """One sentence about one thing."""

    kind: Kind
    text: str


def problem(text: str) -> Finding:
    """The job would stop, or something would be lost."""
    return Finding(Kind.PROBLEM, text)


def warning(text: str) -> Finding:
    """It runs, and probably not as it is meant to."""
    return Finding(Kind.WARNING, text)


def fine(text: str) -> Finding:
    """It was looked at and is as it should be."""
    return Finding(Kind.FINE, text)


def share(part: int, whole: int) -> str:
    """A part of something as people say it.

    >>> share(6, 400), share(400, 400)
    ('6 of 400 (1.5 %)', 'all 400')
    """
    return f"all {whole:,}" if part == whole else f"{part:,} of {whole:,} ({100 * part / whole:.2g} %)"


def count(number: int, what: str) -> str:
    """A number of things.

    >>> count(1, "partition"), count(2_000, "record")
    ('1 partition', '2,000 records')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(milliseconds: float) -> str:
    """A span of time as people say it.

    >>> duration(1500), duration(60_000), duration(7 * 86_400_000), duration(1.7e12)
    ('1.5 seconds', '1 minute', '7 days', '53.9 years')
    """
    span = timedelta(milliseconds=milliseconds)
    for unit, each in _UNITS:
        if span >= 1.0 * each or unit == "seconds":
            number = round(span / each, 1)
            return f"{number:g} {unit.removesuffix('s') if number == 1 else unit}"
    raise AssertionError


_UNITS = (
    ("years", timedelta(days=365.25)),
    ("days", timedelta(days=1)),
    ("hours", timedelta(hours=1)),
    ("minutes", timedelta(minutes=1)),
    ("seconds", timedelta(seconds=1)),
)
