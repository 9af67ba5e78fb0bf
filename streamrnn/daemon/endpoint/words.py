"""How a worker is, in a sentence, and what an operator should know of. No numbers are made here, only words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from streamrnn import escaping

RIVALS = {
    "last": "the last value of the stream",
    "mean": "the running mean",
    "most_frequent": "the most frequent class",
}
"""What the naive rivals say, by the names that metrics have for them."""


WORSE = -0.01
"""Skill below which there is something to say; within one per cent of a rival predictions are as good as it."""


class Word(NamedTuple):
    """``word`` is one of few, ``sentence`` all of it for people; ``good``: nothing needs to be done."""

    word: str
    sentence: str
    good: bool


class Situation(NamedTuple):
    """What the sentence is made of. ``states`` holds the state of every partition, by its name; ``away_since_s`` when
    the broker last answered, None while it does."""

    states: Mapping[str, str]
    behind: float | None = None
    standby: bool = False
    silent_s: float = 0.0
    hung: bool = False
    away_since_s: float | None = None


def state(now: Situation) -> Word:
    """The worst of what is the case, then how far the partitions are."""
    counts, n = Counter(now.states.values()), len(now.states)
    predicting = f"{counts['live']} of {_count(n, 'partition')} predicting"
    if now.hung:
        return Word("hung", f"Hung: the loop has not turned for {duration(now.silent_s)}; restart the worker.", False)
    if now.away_since_s is not None:
        since = clock_time(now.away_since_s)
        return Word("away", f"Broker away since {since}: nothing comes and nothing is sent until it answers.", False)
    if counts["stalled"]:
        names = escaping.names([name for name, state in now.states.items() if state == "stalled"], most=3)
        return Word("stalled", f"Stalled: {names} {_has(counts['stalled'])} records to read, and none is read.", False)
    if n == 0:
        if now.standby:
            return Word("standby", "Standing by: other workers of the group have all partitions.", True)
        return Word("starting", "Starting: no partition is assigned yet.", False)
    behind = "" if now.behind is None else f", {_count(round(now.behind), 'record')} behind"
    if waiting := n - counts["live"]:
        doing = "replaying" if counts["replaying"] == waiting else "restoring"
        return Word(doing, f"{doing.capitalize()}: {predicting}, {waiting} {doing}{behind}.", False)
    return Word("live", f"Live: {predicting}{behind}.", True)


def duration(seconds: float) -> str:
    """As people say it.

    >>> duration(0.3), duration(75), duration(4000), duration(200_000)
    ('0 s', '75 s', '67 min', '2.3 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def clock_time(at_s: float) -> str:
    """A time of day, and the day.

    >>> clock_time(1_700_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(counts: Mapping[str, float], one: str, after: str) -> list[str]:
    """A line on things that were counted, by their reason; none where there are none.

    >>> counted({"not_json": 2.0, "no_key": 1.0}, "record", "went to the dead-letter topic")
    ['3 records went to the dead-letter topic (2 not_json, 1 no_key).']
    """
    total = round(sum(counts.values()))
    if not total:
        return []
    each = [f"{value:,.0f} {escaping.name(of)}" for of, value in counts.items() if value and of]
    return [f"{_count(total, one)} {after}{' (' + ', '.join(each) + ')' if each else ''}."]


def missing_fields(present: Mapping[str, float], missing: Mapping[str, float], share: float = 0.5) -> list[str]:
    """A line on the fields that most records lack."""
    lacking = [name for name, count in missing.items() if count and count > share * (count + present.get(name, 0.0))]
    return [f"Most records have no value in {escaping.names(lacking, most=5)}."] if lacking else []


def worse_than(skills: Sequence[tuple[str, float]]) -> list[str]:
    """A line for each rival that is not beaten."""
    return [
        f"Predictions are worse than saying {RIVALS.get(rival, rival)}: skill {100 * skill:.1f} %."
        for rival, skill in skills
        if skill < WORSE
    ]


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _has(n: int) -> str:
    return "has" if n == 1 else "have"
