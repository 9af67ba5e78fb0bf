"""Before the run: kernels, departures, log and baselines, at the same time where they do not need each other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from streamrnn.core.compiled import Precision, is_compiled, warm_up
from streamrnn.demo.directory import RIVALS_FILE
from streamrnn.demo.flights import N_FLIGHTS, Flights, load_flights
from streamrnn.demo.log import fill
from streamrnn.demo.rivals import Errors, RivalsProcess
from streamrnn.job.config import Config


def prepare(
    config: Config, job_file: Path, console: Console, *, limit: int | None, baselines: bool
) -> tuple[Flights, Errors]:
    """Compile, read the departures and fill the input topic; the baselines' errors, if asked for, come back too."""
    columns = (
        SpinnerColumn(finished_text=Text("✓", "green")),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    n = min(limit or N_FLIGHTS, N_FLIGHTS)
    with Progress(*columns, console=console) as progress, contextlib.ExitStack() as stack:
        tasks = _Tasks(progress)
        kernels = _prepare_kernels(config.model.dtype, tasks)
        rivals = None
        if baselines:
            tasks.start("baselines", n, "reading the departures")
            rivals = stack.enter_context(RivalsProcess(job_file, limit, job_file.with_name(RIVALS_FILE)))
            threading.Thread(target=_follow, args=(rivals, tasks, n), daemon=True).start()
        tasks.start("departures", None, "reading, in order of departure")
        flights = load_flights(limit)
        tasks.finish("departures", f"{len(flights):,}")
        tasks.start("log", len(flights), "")
        fill(config, flights, lambda done: tasks.at("log", done))
        tasks.finish("log", "written")
        kernels.wait()
        return flights, {} if rivals is None else rivals.errors()


class _Tasks:
    """Progress bars by name."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._ids: dict[str, TaskID] = {}

    def start(self, name: str, total: int | None, state: str) -> None:
        self._ids[name] = self._progress.add_task(name, total=total, state=state)

    def at(self, name: str, done: int) -> None:
        self._progress.update(self._ids[name], completed=done, state=f"{done:,}")

    def finish(self, name: str, state: str) -> None:
        self._progress.update(self._ids[name], total=1, completed=1, state=state)


def _follow(rivals: RivalsProcess, tasks: _Tasks, records: int) -> None:
    """Show how far the baselines are."""
    with contextlib.suppress(ValueError):  # closed under our hands: the demo is ending
        for done in rivals.reports():
            tasks.at("baselines", done)
        tasks.finish("baselines", f"over {records:,} departures")


def _prepare_kernels(dtype: Precision, tasks: _Tasks) -> _Background:
    compiled = is_compiled(dtype)
    tasks.start("kernels", None, "loading" if compiled else "compiling: about half a minute, more on a busy machine")
    return _Background(
        lambda: warm_up(dtype),
        lambda seconds: tasks.finish("kernels", "loaded" if compiled else f"compiled in {seconds:.0f} s"),
    )


class _Background:
    """One call on a thread of its own, whose error is asked for later; its result goes to ``done``."""

    def __init__(self, call: Callable[[], float], done: Callable[[float], None]) -> None:
        self._call, self._done = call, done
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done(self._call())
        except Exception as error:
            self._error = error

    def wait(self) -> None:
        """Return once the call has, or raise its error."""
        while self._thread.is_alive():  # in slices, so that Ctrl-C is not kept waiting
            self._thread.join(0.1)
        if self._error is not None:
            raise self._error
