"""A job's cluster: ``validate --connect`` looks at it and changes nothing, ``topics`` creates what is not there."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text

from streamrnn.daemon.opening import open_administration, topics_of
from streamrnn.daemon.preflight.checks import Preflight
from streamrnn.daemon.preflight.findings import Kind, count
from streamrnn.errors import ConfigError
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
    with progress.status(Text("looking")) as status:
        for finding in Preflight(config).findings(lambda what: status.update(Text(f"looking at {what}"))):
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


def create_topics(config: Config, partitions: int | None, out: Console) -> None:
    """Create the job's topics that do not exist; those that are written get as many partitions as the input topic."""
    administration = open_administration(config)
    source, *written = topics_of(config)
    described = administration.describe_topics([source, *written])
    found = described[source]
    if found is None and partitions is None:
        raise ConfigError(
            f"input.topic: {source} does not exist, or this user may not see it; with --partitions N it is created, "
            "with as many partitions as workers will ever share"
        )
    if found is not None and partitions not in (None, found.partitions):
        raise ConfigError(
            f"--partitions: {source} exists and has {count(found.partitions, 'partition')}, found {partitions}; leave "
            "the option out"
        )
    wanted = partitions if found is None else found.partitions
    assert wanted is not None
    missing = [name for name, there in described.items() if there is None]
    administration.create_topics(dict.fromkeys(missing, wanted))
    for name, there in described.items():
        state = "created" if there is None else "there already"
        number = count(wanted if there is None else there.partitions, "partition")
        out.print(Text(f"{name}: {state}, {number}", "green" if there is None else ""), soft_wrap=True)
