"""The metrics as text for Prometheus: collected at most once a second, however many ask.

Collecting is all Python, on the interpreter that the loop needs as well: with 200 partitions it is a twentieth of a
second. So one collection serves all who ask within a second (see ``recent``), and it gives way to other threads between
any two metrics.

Lines are those of the client library's own two encoders, to the byte, for what ``Metrics`` registers: no exemplars, no
timestamps, no native histograms. They are made here because its encoders take twice and three times as long, and so
that both formats and any choice of names (``name[]``) are cut from one collection. The format is one of two whatever is
asked for: the library repeats parts of the question in its answer, and fails on others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from streamrnn.daemon.endpoint.recent import Recent

MAX_AGE_S = 1.0

_YIELD_S = 50e-6
_EOF = "# EOF\n"
_SUFFIXES = {"counter": "_total", "info": "_info"}
_TYPES = {"info": "gauge", "unknown": "untyped"}
"""What plain text calls a family otherwise than OpenMetrics does."""


class _Family(NamedTuple):
    plain: str
    openmetrics: str
    lines: list[str]


class Page:
    """What one collection found, in every form in which it may be asked for."""

    def __init__(self, families: list[_Family]) -> None:
        self._families = families

    def text(self, openmetrics: bool, names: Iterable[str] = ()) -> bytes:
        """All of it, or the samples of these names."""
        if not names:
            return self._openmetrics if openmetrics else self._plain
        chosen = [part for name in dict.fromkeys(names) if (part := self._by_name.get(name))]
        # A family whose samples are asked for by several names still has one heading.
        chosen.sort(key=lambda part: part[0])
        text, heading = [], -1
        for family, lines in chosen:
            if family != heading:
                text.append(self._families[family].openmetrics if openmetrics else self._families[family].plain)
                heading = family
            text.append(lines)
        return "".join([*text, _EOF if openmetrics else ""]).encode()

    @cached_property
    def _plain(self) -> bytes:
        return "".join(part for family in self._families for part in (family.plain, *family.lines)).encode()

    @cached_property
    def _openmetrics(self) -> bytes:
        parts = [part for family in self._families for part in (family.openmetrics, *family.lines)]
        return "".join([*parts, _EOF]).encode()

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, str]]:
        found: dict[str, tuple[int, list[str]]] = {}
        for number, family in enumerate(self._families):
            for line in family.lines:
                name = line[: min(at for at in (line.find("{"), line.find(" ")) if at >= 0)]
                found.setdefault(name, (number, []))[1].append(line)
        return {name: (number, "".join(lines)) for name, (number, lines) in found.items()}


class Exposition:
    """Pages of ``registry``, none older than ``max_age_s`` when the collection of another could begin.

    To be asked from one event loop; the collecting is done on a thread of its own.
    """

    def __init__(
        self, registry: CollectorRegistry, max_age_s: float = MAX_AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._series: dict[tuple[str, ...], str] = {}
        self._recent = Recent("/metrics", self._collect, max_age_s, clock)

    async def page(self) -> Page | None:
        """What the newest collection found; None where it failed, which is logged."""
        return await self._recent.get()

    def _collect(self) -> Page:
        return Page(list(self._families()))

    def _families(self) -> Iterator[_Family]:
        samples = 0
        for metric in self._registry.collect():
            samples += len(metric.samples)
            created = f"{metric.name}_created"  # the daemon has them switched off; plain text would need a family each
            yield _Family(*_headings(metric), [self._line(s) for s in metric.samples if s.name != created])
            time.sleep(_YIELD_S)  # without a pause hardly any other thread would get the interpreter
        if len(self._series) > 2 * samples:  # partitions have left
            self._series.clear()

    def _line(self, sample: Sample) -> str:
        key = (sample.name, *sample.labels.values())
        series = self._series.get(key)
        if series is None:
            labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(sample.labels.items()))
            series = self._series[key] = f"{sample.name}{{{labels}}} " if labels else f"{sample.name} "
        return f"{series}{floatToGoString(sample.value)}\n"


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header names OpenMetrics; all others get plain text.

    >>> wants_openmetrics("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;q=0.3"), wants_openmetrics("*/*")
    (True, False)
    """
    return any(choice.partition(";")[0].strip() == "application/openmetrics-text" for choice in accept.split(","))


def content_type(openmetrics: bool) -> str:
    """What either format is called."""
    return CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4


def _headings(metric: Metric) -> tuple[str, str]:
    """A family's heading in plain text and in OpenMetrics."""
    plain, text = f"{metric.name}{_SUFFIXES.get(metric.type, '')}", metric.documentation
    unit = f"# UNIT {metric.name} {metric.unit}\n" if metric.unit else ""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return (
        f"# HELP {plain} {escaped}\n# TYPE {plain} {_TYPES.get(metric.type, metric.type)}\n",
        f"# HELP {metric.name} {_escape(text)}\n# TYPE {metric.name} {metric.type}\n{unit}",
    )


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
