"""The alerts of deploy/prometheus as they stand there, and their part of the handbook (MONITORING.md).

``python -m tests.deploy.alerts`` prints the section of each alert as Markdown; the handbook holds it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
RULE_FILES = (PROMETHEUS / "recording.yml", PROMETHEUS / "alerts.yml")
_UNITS = {"s": "second", "m": "minute", "h": "hour"}


def rules() -> list[dict[str, Any]]:
    """Every rule of both files, in order."""
    documents = [yaml.safe_load(path.read_text()) for path in RULE_FILES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The rules that are alerts."""
    return [rule for rule in rules() if "alert" in rule]


def markdown() -> str:
    """A section for each alert: how bad, after how long, what it means and what to do."""
    return "\n".join(
        f"### {alert['alert']}\n\n*{alert['labels']['severity'].capitalize()}, {_after(alert)}.* "
        f"{alert['annotations']['runbook']}"
        for alert in alerts()
    )


def _after(alert: dict[str, Any]) -> str:
    """How long it has to be so: ``for``, and what the expression looks back at; minutes, as hours are compared with."""
    number, unit = int(alert["for"][:-1]), _UNITS[alert["for"][-1]]
    if looks_back := re.search(r"offset (\d+)m\) ", alert["expr"]):
        number, unit = number * (unit == "minute") + int(looks_back[1]), "minute"
    return "at once" if number == 0 else f"after {number} {unit}{'s' if number > 1 else ''}"


if __name__ == "__main__":
    print(markdown(), end="")
