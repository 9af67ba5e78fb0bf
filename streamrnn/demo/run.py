"""``streamrnn demo``: a year of departures through the daemon's own worker, and an honest account of how it did.

Prepare: kernels, departures, the log and the baselines, side by side. Run: ``run_worker`` over that log on a thread,
with nothing else going on but the display, so that its rate is the daemon's. Account: the predictions are read back
from the output topic and matched with their records by offset; errors, rate and time by phase are shown for what was
done, also after Ctrl-C.

The baselines run in a child process beforehand: they take longer than the daemon and must not share its processor.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from streamrnn.core.compiled import is_compiled, warm_up
from streamrnn.daemon.http import HttpServer
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.run import open_broker, run_worker
from streamrnn.demo import screen
from streamrnn.demo.directory import LOG_FILE, PLOT_FILE, RIVALS_FILE, claimed, write_job
from streamrnn.demo.flights import N_FLIGHTS, Flights, load_flights
from streamrnn.demo.log import check_cluster, create_topics, fill, job_text, read_predictions
from streamrnn.demo.plot import plot_errors
from streamrnn.errors import ConfigError, StreamrnnError
from streamrnn.job.config import Config, HttpConfig, parse

MODEL: Final = "LSTM"
REFRESH_S: Final = 0.25
INTERRUPTED: Final = 130

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``limit`` is a number of departures, ``plot`` where the PNG goes."""

    directory: Path
    limit: int | None = None
    bootstrap: str | None = None
    port: int = 9308
    baselines: bool = True
    plot: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a run: the first column of ``errors`` is the model, NaN where a record has no target."""

    status: int
    records: int
    timestamps_ms: npt.NDArray[np.int64]
    errors: dict[str, Floats]
    unmatched: int
    repeated: int
    seconds: float
    phases: dict[str, float]


def run_demo(options: Options, console: Console) -> Result | None:
    """Run the demo; None when it was interrupted before the first prediction. Raises StreamrnnError."""
    directory = options.directory.resolve()
    if options.limit is not None and options.limit < 1:
        raise ConfigError(f"--limit: expected at least 1, got {options.limit}")
    if options.bootstrap is not None:  # before anything is removed
        check_cluster(parse(job_text(directory, options.bootstrap), env={}))
    with claimed(directory) as remarks, _sigterm_as_interrupt():
        for remark in remarks:
            console.print(f"[dim]{remark}[/dim]", soft_wrap=True)
        job_file = write_job(directory, job_text(directory, options.bootstrap))
        config = parse(job_file.read_text(), env={})
        screen.introduce(console, config, job_file)
        create_topics(config)
        flights, rivals = _prepare(config, options, directory, job_file, console)
        with _logged_to(directory / LOG_FILE):
            port = _free_port(options.port, console)
            worker = _Worker(msgspec.structs.replace(config, http=HttpConfig(port=port)), len(flights))
            interrupted = _watch(worker, rivals, console)
        if worker.error is not None:
            raise worker.error
        with console.status("reading the predictions back from the output topic"):
            result = _account(config, flights, rivals, worker, INTERRUPTED if interrupted else 0)
        if result.records == 0:
            return None
        plot = options.plot or directory / PLOT_FILE
        plotted = len(result.errors[MODEL]) > 1 and bool(np.isfinite(result.errors[MODEL]).any())
        if plotted:
            plot_errors(plot, result.timestamps_ms, result.errors, title="Departure delays, New York 2013")
        screen.conclude(console, config, result, job_file, plot if plotted else None)
        return result


# -- preparing --------------------------------------------------------------------------------------------------------


def _prepare(
    config: Config, options: Options, directory: Path, job_file: Path, console: Console
) -> tuple[Flights, dict[str, Floats]]:
    """Kernels, departures, log and baselines, at the same time where they do not need each other."""
    columns = (
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    n = min(options.limit or N_FLIGHTS, N_FLIGHTS)
    with Progress(*columns, console=console) as progress, contextlib.ExitStack() as stack:
        tasks = _Tasks(progress)
        compiled = is_compiled(config.model.dtype)
        tasks.start("kernels", None, "loading" if compiled else "compiling; once, one to two minutes")
        compiling = _Background(
            lambda: warm_up(config.model.dtype),
            lambda s: tasks.finish("kernels", "loaded" if compiled else f"compiled in {s:.0f} s"),
        )
        rivals_file = directory / RIVALS_FILE
        child = None
        if options.baselines:
            tasks.start("baselines", n, "reading the departures")
            child = stack.enter_context(_rivals_process(job_file, options.limit, rivals_file))
            follow = threading.Thread(target=_follow, args=(child, tasks, n), daemon=True)
            follow.start()
        tasks.start("departures", None, "reading, in order of departure")
        flights = load_flights(options.limit)
        tasks.finish("departures", f"{len(flights):,}")
        tasks.start("log", len(flights), "")
        fill(config, flights, lambda done: tasks.at("log", done))
        tasks.finish("log", "written")
        compiling.wait()
        rivals = {} if child is None else _collect(child, rivals_file)
    return flights, rivals


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
        while self._thread.is_alive():  # in slices, so that Ctrl-C is not kept waiting
            self._thread.join(0.1)
        if self._error is not None:
            raise self._error


@contextlib.contextmanager
def _rivals_process(job_file: Path, limit: int | None, output: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "streamrnn.demo.rivals", "--job", str(job_file), "--output", str(output)]
    command += [] if limit is None else ["--limit", str(limit)]
    # In a session of its own: Ctrl-C is for the demo, which then ends this process.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.terminate()
        child.wait()
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _follow(child: subprocess.Popen[str], tasks: _Tasks, records: int) -> None:
    lines: IO[str] | None = child.stdout
    with contextlib.suppress(ValueError):  # closed under our hands: the demo is ending
        for line in lines or ():
            tasks.at("baselines", int(line))
        tasks.finish("baselines", f"over {records:,} departures")


def _collect(child: subprocess.Popen[str], output: Path) -> dict[str, Floats]:
    while child.poll() is None:
        time.sleep(0.05)
    if child.returncode != 0:
        message = (child.stderr.read() if child.stderr else "").strip().splitlines()
        raise StreamrnnError(
            f"the baselines' process ended with status {child.returncode}: {message[-1] if message else 'no message'}. "
            "Without them the demo runs with --no-baselines"
        )
    with np.load(output, allow_pickle=False) as stored:
        return {name: np.asarray(stored[name]) for name in stored.files}


def _free_port(port: int, console: Console) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            console.print(f"[yellow]port {port} is taken; serving metrics on a free one[/yellow]")
            return 0
    return port


# -- running ----------------------------------------------------------------------------------------------------------


class _Worker:
    """``run_worker`` on a thread, and what can be seen of it from outside."""

    def __init__(self, config: Config, records: int) -> None:
        self.records = records
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.loop: Loop | None = None
        self.port: int | None = None
        self.done = 0
        self.streams = 0
        self.error_sum = 0.0
        self.scored = 0
        self.began = self.ended = 0.0
        self.phases: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._config = config
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def _run(self) -> None:
        try:
            run_worker(self._config, open_broker(self._config), self.stop, idle=self._idle, started=self._started)
        except BaseException as error:
            self.error = error

    def _started(self, loop: Loop, server: HttpServer | None) -> None:
        self.port = None if server is None else server.port
        self.loop = loop

    def _idle(self) -> None:
        if self.loop is not None and sum(p.position for p in self.loop.partitions.values()) >= self.records:
            self._finish()
            self.stop.set()

    def _finish(self) -> None:
        self.ended = time.perf_counter()
        self.look()

    def look(self) -> None:
        """Bring what is shown up to date; what the loop has dropped at its end stays as it was last seen."""
        if self.loop is None:
            return
        partitions = list(self.loop.partitions.values())
        if not self.began:
            # A partition is listed once it is restored: joining a group, which takes a cluster seconds, is over.
            self._before = self._phase_seconds()
            if not partitions:
                return
            self.began = time.perf_counter()
        if partitions:
            gauges = [p.learner.gauges() for p in partitions]
            self.done = sum(p.position for p in partitions)
            self.streams = sum(len(p.learner.store) for p in partitions)
            self.error_sum = sum(g["error_sum"] for g in gauges)
            self.scored = int(sum(g["scored"] for g in gauges))
        self.phases = {name: total - self._before.get(name, 0.0) for name, total in self._phase_seconds().items()}

    def _phase_seconds(self) -> dict[str, float]:
        assert self.loop is not None
        return {
            sample.labels["phase"]: sample.value
            for family in self.loop.metrics.registry.collect()
            if family.name == "streamrnn_phase_seconds"
            for sample in family.samples
            if sample.name.endswith("_total")
        }


def _watch(worker: _Worker, rivals: dict[str, Floats], console: Console) -> bool:
    """Show the worker until it ends; True when the user ended it."""
    running = {name: (np.nancumsum(column), np.cumsum(np.isfinite(column))) for name, column in rivals.items()}

    def mean_errors() -> dict[str, float]:
        shown = {MODEL: worker.error_sum / worker.scored if worker.scored else float("nan")}
        for name, (total, count) in running.items():
            at = min(worker.done, len(total)) - 1
            shown[name] = total[at] / count[at] if at >= 0 and count[at] else float("nan")
        return shown

    interrupted = False
    console.print()
    worker.thread.start()
    live = Live(console=console, auto_refresh=False, transient=False)
    with live:
        while worker.thread.is_alive():
            try:
                # Closely until the first partition is there, so that the rate leaves out what came before it.
                worker.thread.join(REFRESH_S if worker.began else 0.01)
                if not worker.ended:
                    worker.look()
                live.update(screen.progress(worker, mean_errors()), refresh=True)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                worker.look()
                worker.stop.set()
        worker.ended = worker.ended or time.perf_counter()
        live.update(screen.progress(worker, {}), refresh=True)  # the errors are about to be told in full
    return interrupted


def _account(config: Config, flights: Flights, rivals: dict[str, Floats], worker: _Worker, status: int) -> Result:
    back = read_predictions(config, len(flights))
    delays = np.array([np.nan if d is None else d for d in flights.columns["delay"]])
    predicted = np.isfinite(back.prediction)
    done = int(np.flatnonzero(predicted)[-1]) + 1 if predicted.any() else 0
    errors = {MODEL: np.abs(back.prediction - delays)} | rivals
    return Result(
        status=status,
        records=done,
        timestamps_ms=np.array(flights.columns["timestamp"][:done], dtype=np.int64),
        errors={name: column[:done] for name, column in errors.items()},
        unmatched=done - int(predicted[:done].sum()),
        repeated=back.repeated,
        seconds=worker.ended - worker.began,
        phases=worker.phases,
    )


# -- the process ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """The daemon's log goes to a file while the screen is the display's."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    kafka, level = logging.getLogger("kafka"), root.level
    quiet = kafka.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    kafka.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        kafka.setLevel(quiet)
        handler.close()
