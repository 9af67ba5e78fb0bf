"""``streamrnn demo``: a year of departures through the daemon's own worker, and an honest account of how it did.

Prepare: kernels, departures, the log and the baselines, side by side. Run: ``run_worker`` over that log on a thread,
with nothing else going on but the display, so that its rate is the daemon's. Account: the predictions are read back
from the output topic and matched with their records by offset; errors, rate and time by phase are shown for what was
done, also after Ctrl-C.

The baselines run in a child process beforehand: they take longer than the daemon and must not share its processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from streamrnn.daemon.logs import to_file
from streamrnn.demo import screen
from streamrnn.demo.account import MODEL, Result, account
from streamrnn.demo.directory import LOG_FILE, PLOT_FILE, claimed, write_job
from streamrnn.demo.log import check_cluster, create_topics, job_text
from streamrnn.demo.plot import plot_errors
from streamrnn.demo.prepare import prepare
from streamrnn.demo.rivals import Errors
from streamrnn.demo.watching import INTERRUPTED, free_port, sigterm_as_interrupt, watch
from streamrnn.demo.worker import Worker
from streamrnn.errors import ConfigError
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.job_file import parse
from streamrnn.job.yaml_text import MOST_BYTES
from streamrnn.system.reading import read


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``limit`` is a number of departures, ``plot`` where the PNG goes."""

    directory: Path
    limit: int | None = None
    bootstrap: str | None = None
    port: int = 9308
    baselines: bool = True
    plot: Path | None = None


def run_demo(options: Options, console: Console) -> Result | None:
    """Run the demo; None when it was interrupted before the first prediction. Raises StreamrnnError."""
    directory = options.directory.resolve()
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit: expected at least 1, got {options.limit}")
    if options.plot is not None and not options.plot.resolve().parent.is_dir():
        raise ConfigError(f"--plot: the directory of {options.plot} does not exist")
    if options.bootstrap is not None:  # before anything is removed
        check_cluster(parse(job_text(directory, options.bootstrap), env={}))
    with claimed(directory) as remarks, sigterm_as_interrupt():
        for remark in remarks:
            console.print(Text(remark, "dim"), soft_wrap=True)
        job_file = write_job(directory, job_text(directory, options.bootstrap))
        config = parse(read(job_file, MOST_BYTES).decode(), env={})
        screen.introduce(console, config, job_file)
        create_topics(config)
        flights, rivals = prepare(config, job_file, console, limit=options.limit, baselines=options.baselines)
        with to_file(directory / LOG_FILE):
            port = free_port(options.port, console)
            worker = Worker(replace(config, http=HttpConfig(port=port)), len(flights))
            interrupted = _watch(worker, rivals, console)
        if worker.error is not None:
            raise worker.error
        with console.status(Text("reading the predictions back from the output topic")):
            result = account(config, flights, rivals, worker, INTERRUPTED if interrupted else 0)
        if result.records == 0:
            return None
        plot = _draw(result, options.plot or directory / PLOT_FILE)
        screen.conclude(console, config, result, job_file, plot)
        return result


def _watch(worker: Worker, rivals: Errors, console: Console) -> bool:
    """Show the worker until it ends; True when the user ended it."""
    running = {name: (np.nancumsum(column), np.cumsum(np.isfinite(column))) for name, column in rivals.items()}

    def mean_errors() -> dict[str, float]:
        shown = {MODEL: worker.mean_error}
        for name, (total, count) in running.items():
            at = min(worker.done, len(total)) - 1
            shown[name] = total[at] / count[at] if at >= 0 and count[at] else float("nan")
        return shown

    return watch(worker, console, lambda last: screen.progress(worker, {} if last else mean_errors()))


def _draw(result: Result, path: Path) -> Path | None:
    """Draw the errors to ``path``, where there is something to draw; None where there is not."""
    if len(result.errors[MODEL]) < 2 or not np.isfinite(result.errors[MODEL]).any():
        return None
    plot_errors(path, result.timestamps_ms, result.errors, title="Departure delays, New York 2013")
    return path
