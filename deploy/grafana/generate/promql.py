"""The selectors and the few forms of expression that panels are made of.

Every selector follows the dashboard's variables. Rates are taken over Grafana's ``$__rate_interval``, which is never
shorter than four scrapes; what is to hold for the time that is looked at, over ``$__range``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

WORKER = 'job="$job", instance=~"$instance"'
TP = "topic, partition"
EACH = "{{topic}}/{{partition}}"
"""Legend of a series for each partition."""


class Query(NamedTuple):
    """One expression of a panel. ``instant`` asks for its value now alone, ``table`` as a row for each series."""

    expr: str
    legend: str = ""
    instant: bool = False
    table: bool = False
    heatmap: bool = False


def of_worker(metric: str, *more: str) -> str:
    """Selects a metric of the workers chosen."""
    return f"{metric}{{{', '.join((WORKER, *more))}}}"


def of(metric: str, *more: str) -> str:
    """Selects a metric of the partitions chosen."""
    return of_worker(metric, 'partition=~"$partition"', *more)


def rate(selector: str) -> str:
    """Increase per second."""
    return f"rate({selector}[$__rate_interval])"


def increase(selector: str) -> str:
    """How much a counter grew over the time that is looked at."""
    return f"increase({selector}[$__range])"


def lately(selector: str) -> str:
    """How much a counter grew since about one step of the query ago."""
    return f"increase({selector}[$__rate_interval])"


def events(selector: str) -> str:
    """How much a counter grew since the point before: each event at one point, and not extrapolated.

    The last value within the hour before stands for scrapes that failed; a counter that fell has begun anew.
    """
    before = f"last_over_time({selector}[1h] offset $__interval)"
    return f"({selector} - {before} >= 0 or {selector})"


def since_recovery(metric: str) -> str:
    """How much counters of partitions grew over the time that is looked at, if they grow in recovery.

    It is before their first scrape, so they are born at 1, which is no increase. What a process has counted is all new
    if it began in this time; of an older one, what it has counted more than before, or all where there was nothing.
    """
    selected, started = f"last_over_time({of(metric)}[$__range])", f"process_start_time_seconds{{{WORKER}}}"
    began = f"({started} unless {started} == {started} offset $__range)"
    return (
        f"({selected} and ignoring (topic, partition) {began}) or "
        f"clamp_min({selected} - {of(metric)} offset $__range, 0) or {selected}"
    )


def total(expr: str, by: str = "") -> str:
    """Sum, over everything or by labels."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def worst(expr: str, by: str = TP) -> str:
    """The largest one by labels; two workers may show the same partition for a moment while it changes hands."""
    return f"max by ({by}) ({expr})" if by else f"max({expr})"


def ratio(upper: str, lower: str, by: str = TP) -> str:
    """Increase of one counter for each increase of the other."""
    return f"{total(rate(upper), by)} / {total(rate(lower), by)}"


def mean(metric: str, by: str = TP, *more: str) -> str:
    """Mean of what a summary or histogram of partitions observed."""
    return ratio(of(f"{metric}_sum", *more), of(f"{metric}_count", *more), by)


def signed_mean(metric: str, by: str = TP) -> str:
    """Mean of what may be below 0: the sum of such a summary falls, as if a process began anew."""
    observed = of(f"{metric}_count")
    grown = [
        total(f"delta({selector}[$__rate_interval]) unless resets({observed}[$__rate_interval]) > 0", by)
        for selector in (of(f"{metric}_sum"), observed)
    ]
    return " / ".join(grown)


def quantile(share: float, buckets: str, by: str = "") -> str:
    """Quantile of what histograms observed, all of them taken together, or by labels."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {total(rate(buckets), labels)})"


def quantiles(buckets: str) -> tuple[Query, ...]:
    """Median, 95 % and 99 %."""
    return tuple(Query(quantile(share, buckets), f"{share:.0%}") for share in (0.5, 0.95, 0.99))


def age(timestamps: str, by: str = TP) -> str:
    """Seconds since a point in time; what has not happened yet has no age."""
    return f"time() - {worst(f'{timestamps} > 0', by)}"


def skill() -> str:
    """1 - error / error of the best rival, for each partition, on the newest predictions."""
    return f"min by ({TP}) ({of('streamrnn_skill')})"


def skill_between(grown: Callable[[str], str], by: str = "") -> str:
    """The same from the errors of a span of time; ``grown`` makes it of a counter."""
    error = total(grown(of("streamrnn_absolute_error_sum")), by)
    rivals = total(grown(of("streamrnn_rival_error_sum")), f"{by}, rival" if by else "rival")
    best = f"min by ({by}) ({rivals})" if by else f"min({rivals})"
    return f"1 - {error} / {best}"


SEVERAL = (
    "Of several targets it compares sums of errors, so that the one with the largest unit decides; the skill on the "
    "newest predictions weighs them alike."
)
"""What to know of ``skill_between``."""


STATES = {"live": 1, "replaying": 2, "restoring": 3, "stalled": 4}
"""A partition's states, the better one first: while it changes hands, the worse of two workers' counts."""


def state(by: str = TP) -> str:
    """The number of the state that a partition is in."""
    named = {number: of("streamrnn_partition_state", f'state="{name}"') for name, number in STATES.items()}
    return worst(" or ".join(f"{number} * {selector}" for number, selector in named.items()), by)
