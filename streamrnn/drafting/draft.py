"""From a sample to all that a draft decides, each with its reason. ``text`` writes it down.

The decisions depend on the sample and, in the room for streams, on the memory of the machine; on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamrnn.drafting import copies
from streamrnn.drafting.encoders import Feature, Habits, LeftOut, encoded, habits_of, is_heavy, skewness
from streamrnn.drafting.event_time import EventTime, betraying, time_of
from streamrnn.drafting.fields import Field, Kind, fields_of
from streamrnn.drafting.neighbours import holds_next, holds_previous
from streamrnn.drafting.sample import Sample
from streamrnn.drafting.sizes import Sizes, sizes_of
from streamrnn.drafting.streams import Streams, streams_of
from streamrnn.drafting.target import Target, target_of
from streamrnn.escaping import name, names

_WANDERS = 0.2
"""Variance of the differences to a stream's last value, in that of the values, below which a series wanders."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Draft:
    """A job as it was drafted. ``warnings`` are what somebody should look at first."""

    sample: Sample
    streams: Streams
    time: EventTime
    target: Target
    features: Sequence[Feature]
    left_out: Sequence[LeftOut]
    sizes: Sizes
    heavy: bool
    wanders: bool
    zeros_left_out: bool
    warnings: Sequence[str]


def draft(sample: Sample, wanted: str | None = None) -> Draft:
    """The job that fits this sample, with ``wanted`` as its target. Raises ConfigError where there is none."""
    fields = fields_of(sample)
    streams = streams_of(sample, fields)
    target = target_of(sample, fields, streams, wanted)
    time = time_of(sample, fields)
    if target.known == "record" and target.classes is None:
        time = betraying(time, fields, target.field)
    habits = habits_of(list(fields.values()), streams.keys)
    features, left_out = _sorted_out(fields, streams, time, target, habits)
    if target.known == "record" and target.classes is None and not features:
        why = f"{target.why}; no other field says anything, so it is the stream's next value that is predicted"
        target = replace(target, known="forecast", why=why)
    return Draft(
        sample=sample,
        streams=streams,
        time=time,
        target=target,
        features=features,
        left_out=left_out,
        sizes=sizes_of(sample, streams),
        heavy=target.classes is None and _is_heavy(target.field),
        wanders=target.known == "forecast" and _wanders(target.field, streams),
        zeros_left_out=habits.zeros_left_out,
        warnings=[*_warnings(sample, streams, time, target), *_sum_of(features, fields, streams, target)],
    )


def _sorted_out(
    fields: Mapping[str, Field], streams: Streams, time: EventTime, target: Target, habits: Habits
) -> tuple[list[Feature], list[LeftOut]]:
    """The fields that enter the network, and those that do not, each in the order of the records."""
    first: dict[str, Feature | LeftOut] = {}
    for path, field in fields.items():
        why = _role(field, streams, time, target)
        first[path] = LeftOut(path, why) if why else encoded(field, habits)
    candidates = {path: fields[path] for path, found in first.items() if isinstance(found, Feature)}
    for path, why in copies.repeated(candidates).items():
        first[path] = LeftOut(path, why)
    features = [found for found in first.values() if isinstance(found, Feature)]
    return features, [found for found in first.values() if isinstance(found, LeftOut)]


def _role(field: Field, streams: Streams, time: EventTime, target: Target) -> str | None:
    """What a field is to the job that keeps it from being a feature."""
    if field is target.field:
        return "the target" if target.known == "record" else "the target; inputs.previous_target shows its newest value"
    if field.path == streams.field:
        return "names the stream"
    if field.path in streams.alike:
        return "names the stream, as the record key does"
    if field.path == time.field or field.path in time.same:
        return "the record's time" if field.path == time.field else "the record's time, as its timestamp is"
    return _leak(field, streams, target)


def _leak(field: Field, streams: Streams, target: Target) -> str | None:
    """Why a field is the target in other words, or that of another record."""
    classes = target.classes is not None
    why = copies.gives_away(field, target.field, classes=classes)
    why = why or copies.writes(field, target.field, streams.keys, classes=classes)
    if why and target.known == "forecast":
        return f"{why}, which inputs.previous_target shows"
    if why is None and target.known == "record" and not classes:
        why = copies.follows(field, target.field, streams.keys)
    if why is None and (ahead := holds_next(field, target.field, streams.keys)):
        why = "it says the target of the stream's next record"
        if ahead > 1:
            why = f"it says the target of the stream {ahead} records later"
    if why:
        return f"GIVES THE TARGET AWAY: {why}; put it in only if it is known before"
    if holds_previous(field, target.field, streams.keys):
        return "the target of the stream's previous record, which the network is shown without it"
    return None


def _is_heavy(field: Field) -> bool:
    """Whether a number's errors will be ruled by a few large values."""
    known = field.numbers[~np.isnan(field.numbers)]
    if len(known) < 20 or known.std() == 0:
        return False
    kurtosis = float((((known - known.mean()) / known.std()) ** 4).mean())
    return is_heavy(known) or abs(skewness(known)) > 2.0 or kurtosis > 10.0


def _wanders(field: Field, streams: Streams) -> bool:
    """Whether the next value of a series lies near its last one rather than near their mean."""
    last: dict[str | None, float] = {}
    differences = []
    for key, value in zip(streams.keys, field.numbers.tolist(), strict=True):
        if value == value:
            if key in last:
                differences.append(value - last[key])
            last[key] = value
    spread = float(np.nanvar(field.numbers))
    return len(differences) >= 20 and spread > 0 and float(np.mean(np.square(differences))) < _WANDERS * spread


def _warnings(sample: Sample, streams: Streams, time: EventTime, target: Target) -> list[str]:
    found = []
    if sample.small:
        found.append(f"only {len(sample):,} records were found: types, ranges and categories rest on very little")
    if sample.foreign:
        found.append(
            f"{sample.foreign:,} of {sample.looked_at:,} records are no JSON objects and would be dead letters"
        )
    found += filter(None, (streams.warning, time.warning))
    if time.tells is not None:
        found.append(
            f"the record's time is {name(time.tells)} plus {name(target.path)}: records are stamped when the target is "
            "known already. So inputs.dt is off; predictions asked for earlier may be worse than an evaluation says"
        )
    if target.field.kind is Kind.NUMBER and target.field.distinct < 2:
        found.append(f"{name(target.path)} has one value in all records: there is nothing to predict yet")
    return found


def _sum_of(features: Sequence[Feature], fields: Mapping[str, Field], streams: Streams, target: Target) -> list[str]:
    if target.known != "record" or target.classes is not None:
        return []
    parts, previous = copies.together([fields[feature.path] for feature in features], target.field, streams.keys)
    if not parts:
        return []
    and_previous = " and of the stream's previous target, which inputs.previous_target shows" if previous else ""
    return [
        f"{name(target.path)} is a sum of multiples of {names(parts)}{and_previous}: if these are known no sooner than "
        "it is, leave them out, or the model learns to add"
    ]
