"""The committed dashboards and every query in them, for the tests here and for those that ask a real Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}


class DashboardQuery(NamedTuple):
    """One expression with its variables filled in."""

    dashboard: str
    kind: str
    """``panel``, ``annotation`` or ``variable``; the last one's expression is the selector that values come from."""
    name: str
    expr: str
    instant: bool


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels but headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def raw(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """Kind, name, expression with its variables, and whether its value now alone is asked for."""
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            yield "panel", f"{panel['title']} {target['refId']}", target["expr"], target["instant"]
    for annotation in dashboard["annotations"]["list"]:
        yield "annotation", annotation["name"], annotation["expr"], False
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            (selector,) = re.findall(r"^label_values\((.*), \w+\)$", variable["query"]["query"])
            yield "variable", variable["name"], selector, True


def filled(
    expr: str,
    job: str,
    *,
    instance: str = ".*",
    partition: str = ".*",
    range_s: int = 3_600,
    rate_interval: str = "1m",
    interval: str = "15s",
) -> str:
    """An expression as Grafana sends it to Prometheus with these choices; ``$1`` is a matter of Prometheus."""
    values = {"job": job, "instance": instance, "partition": partition, "__range": f"{range_s}s"}
    values |= {"__rate_interval": rate_interval, "__interval": interval}
    return re.sub(r"\$([A-Za-z_]\w*)", lambda variable: values[variable[1]], expr)


def queries(job: str, **choices: Any) -> list[DashboardQuery]:
    """Every expression of every dashboard, filled in; for the choices see ``filled``."""
    return [
        DashboardQuery(title, kind, name, filled(expr, job, **choices), instant)
        for title, dashboard in DASHBOARDS.items()
        for kind, name, expr, instant in raw(dashboard)
    ]
