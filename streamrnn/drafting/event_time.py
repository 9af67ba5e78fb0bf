"""Where a record's time comes from: its own timestamp, or a field; and what the time would betray.

Kafka's timestamp is taken unless it tells when a record was written rather than when it happened: then the records of
days lie within minutes, and a field that holds times spans more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from streamrnn.drafting.fields import Field, Floats, Kind
from streamrnn.drafting.sample import Sample
from streamrnn.escaping import name

_SAME_MS: Final = 1_000.0
_DAY_S: Final = 86_400.0
_UNITS_S: Final = (1.0, 60.0, 3_600.0, 0.001)
_ENOUGH: Final = 50


@dataclass(frozen=True, eq=False)
class EventTime:
    """A record's time. ``field`` is None where the record's own timestamp is it; ``ms`` are those of the sample.

    ``tells`` names the field whose difference to the time is the target.
    """

    field: str | None
    unit: str
    ms: Floats
    why: str
    same: frozenset[str] = frozenset()
    tells: str | None = None
    warning: str = ""

    @property
    def span_s(self) -> float:
        """Seconds from the oldest to the newest record."""
        known = self.ms[~np.isnan(self.ms)]
        return float(known.max() - known.min()) / 1_000.0 if len(known) else 0.0


def time_of(sample: Sample, fields: Mapping[str, Field]) -> EventTime:
    """Where the time of the sample's records comes from."""
    times = [field for field in fields.values() if field.kind is Kind.TIME and field.format and field.format.readable]
    whole = [field for field in times if field.present == len(sample)]
    partition = np.array([record.partition for record in sample.records])
    whole.sort(key=lambda field: -round(_order(field.numbers, partition), 2))  # stable: the first of the best
    own = np.array([r.timestamp_ms if r.timestamp_ms > 0 else np.nan for r in sample.records], np.float64)
    if not sample.source.keyed:
        if whole:
            return _from_field(whole[0], f"{name(whole[0].path)}: the records of a file have no time of their own")
        why = "no field holds a time in every record"
        return EventTime(None, "ms", np.full(len(sample), np.nan), why, warning=f"{why}: what depends on it is guessed")
    if np.isnan(own).any():
        if whole:
            return _from_field(whole[0], f"{name(whole[0].path)}, as some records have no timestamp of their own")
        missing = int(np.isnan(own).sum())
        return EventTime(
            None,
            "ms",
            own,
            "the record's timestamp",
            warning=f"{missing:,} records have no timestamp and would be dead letters",
        )
    same = frozenset(f.path for f in times if np.nanmedian(np.abs(f.numbers - own)) <= _SAME_MS)
    for field in whole:
        if field.path not in same and _span(field.numbers) > 10 * max(1_000.0, _span(own)):
            return _from_field(
                field, f"{name(field.path)} spans {_duration(_span(field.numbers))}, the records' own timestamps only "
                f"{_duration(_span(own))}: they tell when records were written",
            )  # fmt: skip
    alike = f", which the field {name(min(same))} repeats" if same else ""
    return EventTime(None, "ms", own, f"the record's timestamp{alike}", same)


def _from_field(field: Field, why: str) -> EventTime:
    assert field.format is not None
    return EventTime(field.path, field.format.value, field.numbers, why, frozenset({field.path}))


def betraying(time: EventTime, fields: Mapping[str, Field], target: Field) -> EventTime:
    """The time, with the field by which it tells the target: time - field = target, but for a constant.

    That is so where a record is stamped with the moment in which the target came to be known, and another field holds
    when it was due. It is looked for modulo a day, as a field may be the minute of a day.
    """
    y, t = target.numbers, time.ms / 1_000.0
    for field in fields.values():
        if field.path in time.same or field is target or field.kind not in (Kind.NUMBER, Kind.TIME):
            continue
        f = field.numbers
        known = ~(np.isnan(y) | np.isnan(t) | np.isnan(f))
        if known.sum() < _ENOUGH or min(len(np.unique(y[known])), len(np.unique(f[known]))) < 10:
            continue
        for f_unit in (0.001,) if field.kind is Kind.TIME else _UNITS_S:
            difference = t[known] - f_unit * f[known]
            if _constant_share(difference) < 0.5 and any(
                _constant_share(difference - y_unit * y[known]) > 0.9 for y_unit in _UNITS_S
            ):
                return replace(time, tells=field.path)
    return time


def _constant_share(seconds: Floats) -> float:
    """The share of the most frequent value, in whole seconds of a day."""
    _, counts = np.unique(np.round(seconds % _DAY_S) % _DAY_S, return_counts=True)
    return float(counts.max() / len(seconds))


def _order(ms: Floats, partition: np.ndarray) -> float:
    """The share of records that are not older than the one before them in their partition."""
    within = partition[1:] == partition[:-1]
    return float((np.diff(ms)[within] >= 0).mean()) if within.any() else 1.0


def _span(ms: Floats) -> float:
    return float(np.nanmax(ms) - np.nanmin(ms))


def _duration(ms: float) -> str:
    """A span of time for people."""
    seconds = ms / 1_000.0
    for unit, length in (("days", _DAY_S), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
