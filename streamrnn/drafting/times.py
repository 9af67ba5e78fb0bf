"""How times are written: as text that ISO 8601 reads, or as a number of seconds, milliseconds or microseconds.

A number is taken for a time only where its name says so and all its values lie within the years 2000 to 2100: a number
of a thousand million may be anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

_FIRST_S, _LAST_S = 946_684_800, 4_102_444_800  # 2000 to 2100
_NAMED = re.compile(
    r"(?:^|[._\W])(?:ts|time|timestamp|date|datetime|epoch|when|at)(?:$|[._\W])"
    r"|(?:time|date|stamp|_at|_ts|At|Ts)(?:_?(?:ms|us|ns|s|utc|Ms|Us|Ns))?$",
    re.IGNORECASE,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(
    r"(?:[0-9]{1,4}[-/. ](?:[0-9]{1,2}|[A-Za-z]{3,9})[-/. ][0-9]{2,4}|[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4})"
    r"(?:[ T,]+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?[AaPp][Mm])?)?"
    r"(?: ?(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
)


class TimeFormat(Enum):
    """How a field's times are written; the first four are units of the job's ``input.timestamp.unit``."""

    ISO8601 = "iso8601"
    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    OTHER = "other"

    @property
    def readable(self) -> bool:
        """Whether a job can read it."""
        return self not in (TimeFormat.NS, TimeFormat.OTHER)


_PER_SECOND: Final = {TimeFormat.S: 1, TimeFormat.MS: 1_000, TimeFormat.US: 1_000_000, TimeFormat.NS: 1_000_000_000}


def time_format(path: str, known: Sequence[Any]) -> TimeFormat | None:
    """How these values of a field are times, None where they are not."""
    if all(isinstance(value, str) for value in known):
        if all(_iso8601_ms(value) is not None and not value.strip().isdigit() for value in known):
            return TimeFormat.ISO8601
        if all(_DATE.fullmatch(value) for value in known):
            return TimeFormat.OTHER
    if not _NAMED.search(path):
        return None
    try:
        numbers = [float(value) for value in known if not isinstance(value, bool)]
    except ValueError:
        return None
    if len(numbers) == len(known):
        for unit, per_second in _PER_SECOND.items():
            if all(_FIRST_S * per_second <= number <= _LAST_S * per_second for number in numbers):
                return unit
    return None


def milliseconds(value: Any, written: TimeFormat) -> float:
    """A time in milliseconds since the epoch; NaN where it cannot be read."""
    if written is TimeFormat.ISO8601:
        found = _iso8601_ms(value)
        return math.nan if found is None else found
    if written is TimeFormat.OTHER:
        return math.nan
    return float(value) * 1_000.0 / _PER_SECOND[written]


def _iso8601_ms(text: str) -> float | None:
    """As the job's codec reads it: without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) / timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
