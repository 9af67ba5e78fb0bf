"""How is it called? ``main`` is what the installed command ``streamrnn`` calls.

The commands and their options are in this very file, those of the demos in another, and leave the work to the package;
``show`` lays out what they print. Everything heavy is imported inside a command, so that ``--help`` answers at once.
Results go to stdout, the rest to stderr.

Exit status: 0 done, 1 an error, 2 a wrong option or configuration, 3 (``run``) another worker took over, 4 (``run``)
stopped without its last checkpoint, 130 Ctrl-C. An error a user can meet ends in one message, never in a traceback.

    application       the application that commands belong to, and what becomes of their errors
    demos             ``streamrnn demo`` and the demos in it
    start             takes the directory where the command was started off the path of imports, first of all
    terminal          text from anywhere, as a terminal may be given it
    show              how jobs, evaluations and samples of records are laid out
    show_symbols      what is said of sets of symbols, and of their memory
    show_sequences    what is said of whole sequences
    show_lookahead    what is said of jobs that look ahead
    show_checkpoints  how checkpoints are
    changes           which settings changed since the job's checkpoints were written
    options           options that several commands share, or that take many lines
    connect           a job's cluster: what keeps the job from running there, and the topics it lacks
    evaluating        what an evaluation reads and writes, a file or a topic, and what it refuses
    drafting          what a job is drafted from, and the file that comes of it
"""

from __future__ import annotations

import streamrnn.cli.start  # noqa: F401 - before anything else is looked for on the path

# isort: split
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from streamrnn.cli.application import DEPLOY, ERROR, FIRST, HELP, JOB, app, command
from streamrnn.cli.demos import demos
from streamrnn.cli.options import (
    BootstrapOption,
    CheckpointArgument,
    CheckpointsOfOption,
    ConfigOption,
    DataOption,
    DraftedFileOption,
    EvaluatedOption,
    ExportArgument,
    FeedLimitOption,
    ForceOption,
    HistoryOption,
    JsonOption,
    KafkaConfigOption,
    KeyOption,
    OutputOption,
    PredictionsOption,
    RateOption,
    SampleOption,
    StreamOption,
    TargetOption,
    TimestampOption,
    TopicOption,
)
from streamrnn.cli.terminal import show_traceback, stderr, stdout
from streamrnn.daemon.logs import to_stderr
from streamrnn.errors import ConfigError, StreamrnnError

if TYPE_CHECKING:
    from streamrnn.offline.inspection import Place


class Precision(StrEnum):
    """What ``warmup`` compiles for."""

    float32 = "float32"
    float64 = "float64"
    both = "both"


def main() -> None:
    """Run the command line and exit."""
    to_stderr("WARNING")
    try:
        app(prog_name="streamrnn")
    except Exception as error:
        show_traceback(error)
        raise SystemExit(ERROR) from None


def _version(asked: bool) -> None:
    if asked:
        from streamrnn.version import __version__

        typer.echo(f"streamrnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


_root.__doc__ = HELP

app.add_typer(demos, name="demo", rich_help_panel=FIRST)


@command(FIRST)
def feed(
    config: ConfigOption,
    rate: RateOption = 200.0,
    limit: FeedLimitOption = None,
) -> None:
    r"""Send the demo's departures to a job's input topic, over and over, until SIGTERM or Ctrl-C.

    Each of them happens when it is sent. Needs the extra streamrnn\[demo].
    """
    from streamrnn.demo.feed import run_feed
    from streamrnn.job.job_file import load

    run_feed(load(config), rate, limit, stdout())


@command(JOB)
def init(
    bootstrap: BootstrapOption = None,
    topic: TopicOption = None,
    data: DraftedFileOption = None,
    target: TargetOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = "job.yaml",
    force: ForceOption = False,
) -> None:
    """Draft a job file from records: the newest of a topic's partitions, or the first of a file.

    Fields, their types, ranges and numbers of values decide what enters the network and how; each line says why, and
    so does each field that is left out. No group is joined and nothing is committed.
    """
    from streamrnn.cli import drafting

    drafting.check_output(output, force)
    cluster = drafting.cluster_of(bootstrap, kafka_config)
    if data is None and (cluster is None or topic is None):
        raise ConfigError("init: expected --bootstrap HOST:PORT and --topic NAME, or --data FILE")
    if data is not None:
        sample = drafting.sample_file(data, topic)
    else:
        assert cluster is not None
        assert topic is not None
        sample = drafting.sample_topic(cluster, topic, stderr())
    drafting.write(sample, target, cluster, output, stderr())


@command(JOB)
def validate(
    config: ConfigOption,
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="Also look at the cluster and this machine: topics, rights, limits, group, checkpoints, records.",
        ),
    ] = False,
    data: SampleOption = None,
    key: KeyOption = None,
    timestamp: TimestampOption = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="With --data: records that are looked at.")] = 10_000,
) -> None:
    """Check a job file and show the job it describes: columns, model, memory, warnings.

    With --data, also how many records of a file can be used, and how often each field is missing in them. The exit
    status is not 0 where none can be used or a field never comes.

    Where the job has checkpoints, each setting that changed since is told with what becomes of what was learned: taken
    up at once, taken up by growth, or not possible, and then the exit status is not 0.
    """
    from streamrnn.cli import changes, show
    from streamrnn.job.job_file import load

    job = load(config)
    console = stdout()
    console.print(show.job(job))
    console.print(Text("the job file is valid", "green"))
    sound = changes.tell(job, console)
    if data is not None:
        from streamrnn.cli.evaluating import fits

        sound = fits(job, data, key, timestamp, limit, console) and sound
    if connect:
        from streamrnn.cli.connect import look

        sound = not look(job, console, stderr()) and sound
    if not sound:
        raise typer.Exit(ERROR)


@command(JOB)
def topics(
    config: ConfigOption,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Partitions of the input topic, where it does not exist yet."),
    ] = None,
) -> None:
    """Create the topics of a job that do not exist yet; the others stay as they are.

    Those it writes get as many partitions as the input topic, so that a prediction has its record's partition number.
    """
    from streamrnn.cli.connect import create_topics
    from streamrnn.job.job_file import load

    create_topics(load(config), partitions, stdout())


@command(JOB)
def evaluate(
    config: ConfigOption,
    data: DataOption = None,
    topic: HistoryOption = False,
    key: KeyOption = None,
    timestamp: TimestampOption = None,
    limit: EvaluatedOption = None,
    predictions: PredictionsOption = None,
) -> None:
    """Run a job over past records, of a file or of its topic, and measure it against naive baselines.

    Every record is predicted before it is learned from; the result is what the daemon would have achieved, with a
    learner for each partition of the topic, or on a topic of one partition.
    """
    from streamrnn.cli import evaluating, show
    from streamrnn.job.job_file import load

    job = load(config)
    if (data is None) == (not topic):
        raise ConfigError("evaluate: expected either --data FILE or --topic")
    if data is not None:
        report = evaluating.over_file(job, data, key, timestamp, limit, predictions, stderr())
    else:
        if key or timestamp:
            raise ConfigError("--key, --timestamp: go with --data; records of a topic have both")
        report = evaluating.over_topic(job, limit, predictions, stderr())
    show.evaluation(stdout(), report)


@command(JOB)
def run(config: ConfigOption) -> None:
    """Run the daemon: consume, predict, learn, checkpoint, until SIGTERM or Ctrl-C."""
    from streamrnn.job.job_file import load

    job = load(config)
    to_stderr(job.log_level, job.log.format)
    from streamrnn.daemon.run import serve

    if status := serve(job):
        raise typer.Exit(status)


@command(JOB)
def inspect(
    checkpoint: CheckpointArgument = None,
    config: CheckpointsOfOption = None,
    stream: StreamOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what checkpoints hold: position, streams, norms of the weights, configuration.

    Where there are several partitions, the newest checkpoint of each is shown.
    """
    from streamrnn.cli import show_checkpoints
    from streamrnn.offline import inspection

    place = _place(checkpoint, config)
    listed = inspection.find(place)
    chosen = [inspection.inspect(one) for one in inspection.newest(listed)]
    if not chosen:
        raise StreamrnnError(inspection.no_use(place, listed))
    key = None if stream is None else os.fsencode(stream)  # the very bytes that were typed
    kept = [] if key is None else [(one, state) for one in chosen if (state := one.stream(key))]
    if key is not None and not kept:
        name = key.decode(errors="replace")
        why = "it was not seen, was evicted, or was forgotten by a tombstone"
        raise StreamrnnError(f"--stream: {name!r} is in none of these checkpoints; {why}")
    if as_json:
        typer.echo(json.dumps([one.as_data() for one in chosen] if stream is None else [s for _, s in kept], indent=2))
    elif stream is None:
        show_checkpoints.checkpoints(stdout(), listed, chosen)
    else:
        show_checkpoints.unreadable(stderr(), listed)
        for one, state in kept:
            show_checkpoints.stream(stdout(), state, one)


def _place(checkpoint: Path | None, config: Path | None) -> Place | Path:
    """Where to look for checkpoints: what was named, or where the job keeps them."""
    if (checkpoint is None) == (config is None):
        raise ConfigError("give either a checkpoint (a manifest or a directory) or a job file with -c")
    if checkpoint is not None:
        return checkpoint
    assert config is not None
    from streamrnn.job.job_file import load
    from streamrnn.offline.inspection import of_config

    return of_config(load(config))


@command(JOB)
def export(
    paths: ExportArgument,
    config: CheckpointsOfOption = None,
    partition: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The partition whose learner is wanted; default: the newest.")
    ] = None,
) -> None:
    """Write a model file from the newest checkpoint, for an estimator, for PyTorch, or to begin another job with.

    The estimator's load() reads it and goes on where the daemon was. Weights stand under PyTorch's names.
    """
    from streamrnn.cli import show_checkpoints
    from streamrnn.offline import export as exporting
    from streamrnn.offline.inspection import find

    *checkpoint, out = paths
    if len(checkpoint) > 1:
        raise ConfigError(f"export: expected at most a checkpoint and a file, got {' '.join(map(str, paths))}")
    listed = find(_place(checkpoint[0] if checkpoint else None, config))
    show_checkpoints.exported(stdout(), exporting.export(exporting.choose(listed, partition), out), out, listed)


@command(DEPLOY)
def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from streamrnn.job.job_file import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@command(DEPLOY)
def warmup(
    dtype: Annotated[
        Precision, typer.Option(help="Precision to compile for: the one that jobs name in model.dtype.")
    ] = (Precision.float32),
) -> None:
    """Compile the kernels ahead of time. An installed wheel brings them along.

    Takes about half a minute for each precision, a minute or two for its kernels of whole
    sequences, and seconds for those of records' bytes, more on a busy machine.
    """
    from streamrnn.core.compiled import is_compiled, kernels, shown, warm_up
    from streamrnn.core.kinds import BYTES, COMPILED

    console = stdout()
    for precision, family in COMPILED:
        if precision not in (dtype, BYTES) and dtype != Precision.both:
            continue
        before, called = is_compiled(precision, family), shown(precision, family)
        with stderr().status(Text(f"{called}: {'loading' if before else 'compiling'}")):
            seconds = warm_up(precision, family=family)
        console.print(f"{called} {'was compiled; loaded' if before else 'compiled'} in {seconds:.1f} s")
        console.print(Text.assemble("        ", (str(kernels(precision, family=family).path), "cyan")), soft_wrap=True)
