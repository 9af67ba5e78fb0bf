"""``streamrnn demo text``: a text learned through the daemon's own worker, beside what compressors make of it.

The text is fed to the log in stages that end at milestones, where the worker comes to rest and a sample is taken: so
what it writes after 100,000 bytes is the same in every run. ``run_worker`` learns on a thread; the display reads the
output topic as it grows, and asks the loop between two turns what the model would write now. The account is of what was
done, also after Ctrl-C, and leaves a model file to go on from.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace
from rich.console import Console, RenderableType
from rich.text import Text

from streamrnn.core.compiled import is_compiled, warm_up
from streamrnn.daemon.logs import to_file
from streamrnn.daemon.questions import Partitions
from streamrnn.demo.directory import BITS_FILE, LOG_FILE, MODEL_FILE, SAMPLES_FILE, claimed, write_job
from streamrnn.demo.log import create_topics
from streamrnn.demo.plot import REMEDY, can_draw
from streamrnn.demo.screen import short
from streamrnn.demo.text import screen
from streamrnn.demo.text.account import Curve, Result
from streamrnn.demo.text.compressors import Compressors
from streamrnn.demo.text.log import STREAM, Feed, Surprises, job_text
from streamrnn.demo.text.plot import plot_bits
from streamrnn.demo.text.source import CHUNK, Source, load_source
from streamrnn.demo.text.writing import LENGTH, MILESTONES, Sample, Stages, shown, written_now
from streamrnn.demo.watching import INTERRUPTED, free_port, sigterm_as_interrupt, watch
from streamrnn.demo.worker import Worker
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.job_file import parse
from streamrnn.job.yaml_text import MOST_BYTES
from streamrnn.offline.export import choose, export
from streamrnn.offline.inspection import find
from streamrnn.system.reading import read
from streamrnn.system.writing import open_for_writing

SAMPLE_EVERY_S: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``file`` None: the standard library; ``size`` and ``seconds`` bound the run."""

    directory: Path
    file: Path | None = None
    size: int = 3_000_000
    seconds: float = 120.0
    port: int = 9308
    plot: Path | None = None


def run_text_demo(options: Options, console: Console) -> Result | None:
    """Run the demo; None when it was interrupted before anything was read. Raises StreamrnnError."""
    directory = options.directory.resolve()
    if options.plot is not None and not options.plot.resolve().parent.is_dir():
        raise ConfigError(f"--plot: the directory of {options.plot} does not exist")
    source = load_source(options.file, options.size)  # before anything is removed
    with claimed(directory) as remarks, sigterm_as_interrupt():
        for remark in remarks:
            console.print(Text(remark, "dim"), soft_wrap=True)
        job_file = write_job(directory, job_text(directory, is_utf8=source.is_utf8))
        config = parse(read(job_file, MOST_BYTES).decode(), env={})
        screen.introduce(console, source, job_file)
        create_topics(config)
        if not is_compiled(config.model.dtype):
            with console.status(Text("compiling the kernels: about half a minute, more on a busy machine")):
                warm_up(config.model.dtype)
        result = _learn(options, config, source, console)
        if result is None:
            return None
        screen.conclude(console, result, _left_behind(options, directory, job_file, result))
        return result


def _learn(options: Options, config: Config, source: Source, console: Console) -> Result | None:
    with to_file(options.directory.resolve() / LOG_FILE):
        feed = Feed(config, source)
        stages = Stages(feed, source)
        port = free_port(options.port, console)
        worker = Worker(replace(config, http=HttpConfig(port=port)), len(source.ends), stages)
        view = _View(worker, source, Surprises(config, len(source.ends)), options.seconds, console)
        interrupted = watch(worker, console, view.frame)
        feed.close()
    if worker.error is not None:
        raise worker.error
    curve = view.look()
    if curve.read == 0:
        return None
    with console.status(Text("compressing the same bytes")):
        figures = view.compressors.end(sorted({*(m for m in MILESTONES if m < curve.read), curve.read}))
    samples = stages.samples
    if view.sample is not None and (not samples or samples[-1].at < view.sample.at):
        samples = [*samples, view.sample]
    return Result(
        status=INTERRUPTED if interrupted else 0,
        source=source,
        curve=curve,
        figures=figures,
        samples=samples,
        seconds=worker.ended - worker.began,
        why="interrupted" if interrupted else view.why,
    )


class _View:
    """What is seen of the worker. ``sample`` is the newest one, ``why`` says why the view ended the run."""

    def __init__(self, worker: Worker, source: Source, surprises: Surprises, seconds: float, console: Console) -> None:
        self.sample: Sample | None = None
        self.why: str | None = None
        self.compressors = Compressors(source.data)
        self._worker, self._source, self._surprises = worker, source, surprises
        self._seconds, self._console = seconds, console
        self._asked: Future[Sample | None] | None = None
        self._asked_at = 0.0
        self._told = 0

    def look(self) -> Curve:
        """The bits of all that was read by now."""
        self._surprises.look()
        return Curve.of(self._surprises.bits, self._surprises.symbols, self._source.ends)

    def frame(self, last: bool) -> RenderableType:
        """The display as of now, on the way to which the run is ended when its time is up."""
        worker, curve = self._worker, self.look()
        self.compressors.reach(curve.read)
        figures = self.compressors.newest()
        if not last:
            self._take_sample()
        if worker.began and not worker.ended and time.perf_counter() - worker.began > self._seconds:
            self.why = f"stopped after {self._seconds:g} s"
            worker.stop.set()
        if not self._console.is_terminal and figures[0] > self._told:
            self._told = figures[0]
            self._console.print(screen.plain_line(curve, *figures))
        # The bits and the samples are about to be told in full.
        return Text() if last else screen.progress(worker, self._source, curve, figures, self.sample)

    def _take_sample(self) -> None:
        """Have the loop's thread write one between two turns; it is there a little later."""
        if self._asked is not None:
            if not self._asked.done():
                return
            self.sample, self._asked = self._asked.result() or self.sample, None
        if self._worker.done and time.monotonic() - self._asked_at >= SAMPLE_EVERY_S:
            self._asked_at = time.monotonic()
            self._asked = self._worker.questions.ask(self._write)

    def _write(self, partitions: Partitions) -> Sample | None:
        return written_now(partitions, self._source) if partitions else None


def _left_behind(options: Options, directory: Path, job_file: Path, result: Result) -> dict[str, str]:
    """Write plot, samples and model file; where they are, by what they are."""
    places: dict[str, str] = {}
    if not can_draw():
        places["plot"] = f"none, as matplotlib is not installed: {REMEDY}"
    elif len(result.curve.ends) < 2:
        places["plot"] = f"none: one record of at most {CHUNK:,} bytes was read, and a curve takes two"
    else:
        plot = options.plot or directory / BITS_FILE
        plot_bits(plot, result, title=f"Learning {result.source.name}")
        places["plot"] = short(plot)
    with open_for_writing(directory / SAMPLES_FILE) as file:
        for sample in result.samples:
            text = "\n".join(shown(sample.written))
            file.write(f"==== after {sample.at:,} bytes\n{text}\n".encode())
    model = directory / MODEL_FILE
    exported = export(choose(find(directory / "checkpoints"), None), model)
    places |= {"samples": short(directory / SAMPLES_FILE), "model": short(model)}
    if exported.estimator is not None:
        places["in Python"] = f"{exported.estimator}.load({short(model)!r}).generate({LENGTH}, key={STREAM.decode()!r})"
    places |= {
        "in a job": f"model: {{warm_start: {short(model)}}}",
        "look inside": f"streamrnn inspect -c {short(job_file)}",
        "go on": f"streamrnn run -c {short(job_file)}",
    }
    return places
