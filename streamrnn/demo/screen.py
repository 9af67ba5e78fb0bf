"""What the demo prints: the introduction, the display while the worker runs, and the account at the end.

Everything is laid out for 80 columns. Numbers are given in the order in which they rank, whoever wins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from streamrnn.demo.account import Result
from streamrnn.demo.plot import error_table
from streamrnn.demo.rivals import AIRPORT, LAST_VALUE, LINEAR, MEAN, MEDIAN
from streamrnn.demo.watching import headway
from streamrnn.demo.worker import Worker
from streamrnn.job.config import Config

FIRST: Final = 100_000
_PHASES: Final = {
    "poll": "reading and waiting for records",
    "decode": "decoding JSON",
    "process": "predicting and learning",
    "encode": "encoding predictions",
    "send": "handing predictions over",
    "commit": "flushing and committing",
    "checkpoint": "copying state for checkpoints",
    "restore": "restoring",
}
_SHORT: Final = {LAST_VALUE: "last", MEAN: "mean", MEDIAN: "median", AIRPORT: "airport", LINEAR: "linear"}
"""Names of columns where there is a row for each month."""


def introduce(console: Console, config: Config, job_file: Path) -> None:
    """Say what is about to happen."""
    where = "the embedded log" if config.kafka is None else f"Kafka at {', '.join(config.kafka.servers)}"
    console.print(
        Text.assemble(
            ("How late will each departure from New York leave?", "bold"),
            " The departures of 2013, in the order in which they happened, go through ",
            where,
            " to the daemon's own worker. An eLSTM predicts each one before it learns from it, with one hidden state "
            "per aircraft.",
        )
    )
    why = (
        "Why one state per aircraft, when one per airport gives smaller errors? Because an airport's previous "
        "departure is only minutes old: its time gives the present minute away, and with it how late a flight is that "
        "should have left already. Such a model errs little at departure, but much when it is asked just before "
        "the scheduled time, when the answer would be of use. With aircraft the two lie close together."
    )
    console.print(Text(why, "dim"))
    console.print(Text.assemble("job file  ", (short(job_file), "cyan")), soft_wrap=True)


def progress(worker: Worker, errors: dict[str, float]) -> RenderableType:
    """One frame of the display while the worker runs; without errors, the last one."""
    if worker.loop is None:
        return Text("starting the worker")
    aside = f"{worker.streams:,}", "aircraft"
    rows = headway(worker, worker.done, worker.records, "records", width=72, aside=aside)
    if not errors:
        return rows
    table = Table(show_header=True, show_edge=False, pad_edge=False, box=None, title_justify="left")
    table.add_column("mean absolute error so far", min_width=32)
    table.add_column("minutes", justify="right")
    table.add_column("")
    worst = max((e for e in errors.values() if np.isfinite(e)), default=1.0) or 1.0
    for i, (name, error) in enumerate(errors.items()):
        bar = "" if not np.isfinite(error) else "█" * max(1, round(30 * error / worst))
        style = "bold red" if i == 0 else ""
        table.add_row(name, "-" if not np.isfinite(error) else f"{error:.2f}", Text(bar, style or "dim"), style=style)
    rows.add_row(Text())
    rows.add_row(table)
    return rows


def conclude(console: Console, config: Config, result: Result, job_file: Path, plot: Path | None) -> None:
    """The account: errors, months, rate, where the time went, where things are."""
    console.print()
    console.print(_errors(result))
    if len(result.errors) > 1:
        console.print(_verdict(result))
    scored = np.isfinite(result.errors[next(iter(result.errors))])
    if scored.sum() > 1_000:
        short = {_SHORT.get(name, name): column for name, column in result.errors.items()}
        table = error_table(result.timestamps_ms, short)
        table.box, table.padding = SIMPLE_HEAD, (0, 1, 0, 0)
        console.print()
        console.print(table)
    console.print()
    rate = result.records / result.seconds
    console.print(
        Text.assemble(
            (f"{result.records:,} records in {result.seconds:.1f} s: {rate:,.0f} records/s", "bold"),
            " through the daemon, from the input topic to the output topic",
        )
    )
    if result.seconds >= 1.0:  # tenths of a second say nothing about shares
        console.print(_phases(result))
    matched = Text(f"every one of {result.records:,} records has its prediction in the output topic")
    if result.unmatched:
        matched = Text.assemble(
            (f"{result.unmatched:,} of {result.records:,} records have no prediction in the output topic", "red")
        )
    if result.repeated:
        matched.append(f"; {result.repeated:,} were written more than once")
    console.print(matched)
    console.print()
    _places(console, config, job_file, plot)


def _errors(result: Result) -> Table:
    spans = [(f"first {FIRST:,}", FIRST)] if result.records > FIRST else []
    whole = "whole year" if result.records > 336_000 else f"all {result.records:,}"
    spans.append((whole, result.records))
    means = {
        name: [float(np.nanmean(column[:end])) if np.isfinite(column[:end]).any() else np.nan for _, end in spans]
        for name, column in result.errors.items()
    }
    model, *others = means
    order = ", best first" if others else ""
    table = Table(title=f"Mean absolute error in minutes{order}", title_justify="left", title_style="bold")
    table.add_column("", min_width=30)
    for name, _ in spans:
        table.add_column(name, justify="right")
    if others:
        table.add_column(f"vs {model}", justify="right")
    for name in sorted(means, key=lambda n: means[n][-1]):
        gap = means[name][-1] / means[model][-1] - 1
        against = [] if not others else [""] if name == model else [f"{gap:+.1%}"]
        table.add_row(name, *(f"{v:.2f}" for v in means[name]), *against, style="bold red" if name == model else "")
    return table


def _verdict(result: Result) -> Text:
    means = {name: float(np.nanmean(column)) for name, column in result.errors.items() if np.isfinite(column).any()}
    model, *others = means
    # Compared as they are shown: who differs in no digit of the table is neither better nor worse.
    shown = {name: round(mean, 2) for name, mean in means.items()}
    ranked = sorted(others, key=lambda n: means[n])
    better = [name for name in ranked if shown[name] < shown[model]]
    equal = [name for name in ranked if shown[name] == shown[model]]
    if better:
        return Text(f"The {model} did not win here: {', '.join(better)} erred less.", "yellow")
    if equal:
        return Text(f"The {model} did not win here: {', '.join(equal)} erred as much.", "yellow")
    nearest = min(others, key=lambda n: means[n])
    gap = means[nearest] - means[model]
    return Text(f"The {model} erred least, by {gap:.2f} minutes before {nearest}.", "green")


def _phases(result: Result) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    table.add_column("us per record", justify="right")
    known = {_PHASES[name]: seconds for name, seconds in result.phases.items() if seconds >= 0.05}
    known["the rest"] = max(0.0, result.seconds - sum(known.values()))
    for name, seconds in sorted(known.items(), key=lambda item: -item[1]):
        table.add_row(
            f"  {name}",
            f"{seconds:.1f} s",
            f"{seconds / result.seconds:.0%}",
            f"{1e6 * seconds / max(1, result.records):.1f} us a record",
        )
    return table


def _places(console: Console, config: Config, job_file: Path, plot: Path | None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(style="cyan", overflow="fold")
    if config.embedded is not None:
        topic = Path(config.embedded.directory) / "topics" / config.output.topic / "0.jsonl"
        table.add_row("predictions", Text(short(topic)))
    else:
        table.add_row("predictions", f"topic {config.output.topic}")
        table.add_row("departures", f"topic {config.input.topic}")
        table.add_row("", "these topics stay until you delete them")
    if plot is not None:
        table.add_row("plot", Text(short(plot)))
    table.add_row("checkpoints", Text(short(Path(config.checkpoint.directory))))
    table.add_row("look inside", Text(f"streamrnn inspect -c {short(job_file)}"))
    table.add_row("continue", Text(f"streamrnn run -c {short(job_file)}"))
    console.print(table)


def short(path: Path) -> str:
    """The path as the user would type it from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
