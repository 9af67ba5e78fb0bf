"""``validate --connect``: what would keep a valid job from running well where it is meant to. Changes nothing there."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from streamrnn.daemon.preflight.checks import Preflight
from streamrnn.daemon.preflight.findings import Kind, count
from streamrnn.job.config import Config

_LABELS: Final = {
    Kind.PROBLEM: ("problem: ", "red"),
    Kind.WARNING: ("warning: ", "yellow"),
    Kind.FINE: ("ok: ", "green"),
}


def look(config: Config, out: Console, progress: Console) -> int:
    """Print what was looked at as it is found; returns how many problems there are.

    Raises BrokerError when the cluster does not answer.
    """
    counts = dict.fromkeys(Kind, 0)
    with progress.status("looking") as status:
        for finding in Preflight(config).findings(lambda what: status.update(f"looking at {what}")):
            counts[finding.kind] += 1
            label, colour = _LABELS[finding.kind]
            out.print(Text.assemble((label, f"bold {colour}"), finding.text), soft_wrap=True)
    out.print(summary(counts))
    return counts[Kind.PROBLEM]


def summary(counts: dict[Kind, int]) -> Text:
    """The last line."""
    problems, warnings = counts[Kind.PROBLEM], counts[Kind.WARNING]
    if problems:
        return Text(f"{count(problems, 'problem')} to solve before it can run, {count(warnings, 'warning')}", "red")
    if warnings:
        return Text(f"the job can run; {count(warnings, 'warning')} above", "yellow")
    return Text("the job can run", "green")
