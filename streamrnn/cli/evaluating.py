"""What an evaluation reads and writes, what it refuses in them, and what their records are to a job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from rich.text import Text

from streamrnn.broker import history
from streamrnn.broker.protocol import Record
from streamrnn.cli.show import EvaluationProgress, show_sample
from streamrnn.daemon import collector
from streamrnn.daemon.opening import open_administration
from streamrnn.errors import ConfigError, StreamrnnError
from streamrnn.job.config import Config
from streamrnn.job.sample import examine
from streamrnn.offline import data_file
from streamrnn.offline.evaluation import Report, evaluate
from streamrnn.system.writing import open_for_writing

NEWEST: Final = 300_000
"""Records of a topic that are replayed unless somebody says how many."""


def fits(job: Config, data: Path, key: str | None, timestamp: str | None, limit: int, console: Console) -> bool:
    """Show what the file's first records are to the job; whether they are what it needs."""
    fields = data_file.Fields(key=key, timestamp=timestamp)
    with contextlib.closing(data_file.read_rows(data)) as rows:
        _, source = begun(data_file.records(job, rows, fields), data)
        sample = examine(job, islice(source, limit))
    show_sample(console, sample)
    return sample.used > 0 and not sample.never()


def over_file(
    job: Config,
    data: Path,
    key: str | None,
    timestamp: str | None,
    limit: int | None,
    predictions: Path | None,
    console: Console,
) -> Report:
    """Run the job over a file."""
    fields = data_file.Fields(key=key, timestamp=timestamp)
    total = limit if limit is not None else (data.stat().st_size if data.is_file() else None)
    bar = EvaluationProgress(total, console)
    rows = data_file.read_rows(data, bar.passed if limit is None else None)
    records = data_file.records(job, rows, fields, lambda text: console.print(Text(text, "yellow"), soft_wrap=True))
    first, source = begun(records, data)
    if timestamp is None and job.input.timestamp.field is None:
        console.print(Text("no --timestamp given: the records are assumed to be one second apart", "yellow"))
    with contextlib.closing(rows), opened(predictions, data) as out, bar, collector.seldom():
        bar.prepare(job.model.dtype, job.learner_spec().kernels)
        report = evaluate(job, source, limit=limit, progress=bar.update, predictions=out)
    require_targets(job, str(data), report, data_file.fields_of(first))
    return report


def over_topic(job: Config, limit: int | None, predictions: Path | None, console: Console) -> Report:
    """Run the job over the newest records that its topic holds now, a learner for each partition."""
    topic = job.input.topic
    administration = open_administration(job)
    bounds = administration.bounds(topic)
    if not bounds:
        raise ConfigError(f"input.topic: {topic} does not exist, or this user may not see it")
    within = history.newest(bounds, NEWEST if limit is None else limit)
    wanted = sum(end - start for start, end in within.values())
    there = sum(end - start for start, end in bounds.values())
    if wanted < there:
        console.print(f"the newest {wanted:,} of {there:,} records are replayed; --limit N takes more or fewer")
    bar = EvaluationProgress(wanted, console)
    records = history.records(administration, within, bar.passed)
    first = next(records, None)
    if first is None:
        raise ConfigError(f"input.topic: {topic} holds no record")
    with contextlib.closing(records), opened(predictions) as out, bar, collector.seldom():
        bar.prepare(job.model.dtype, job.learner_spec().kernels)
        report = evaluate(job, chain([first], records), progress=bar.update, predictions=out)
    require_targets(job, f"topic {topic}", report, data_file.fields_of(first))
    return report


def require_targets(job: Config, data: str, report: Report, fields: str) -> None:
    """Refuse records that taught nothing: a misspelt target would otherwise pass for a job that cannot be measured."""
    if not report.sample.used:
        reasons = "".join(
            f"\n  {reason}: {count:,}; the first: {report.first_rejected[reason]}"
            for reason, count in report.rejected.most_common()
        )
        if report.sample.filtered:
            reasons += f"\n  passed over by input.where: {report.sample.filtered:,}"
        raise ConfigError(f"{data}: none of its {report.records} records could be used{reasons}")
    for name, known in zip(job.target.fields, report.known.tolist(), strict=True):
        if not known:
            raise ConfigError(
                f"{data}: none of its {report.records} records has a value in the target field {name!r}; the fields of "
                f"the first one: {fields}"
            )


def begun(records: Iterator[Record], data: Path) -> tuple[Record, Iterator[Record]]:
    """The first record, and all of them: what is wrong with file or options shows before anything starts."""
    if (first := next(records, None)) is None:
        raise ConfigError(f"--data: {data} holds no record")
    return first, chain([first], records)


@contextlib.contextmanager
def opened(path: Path | None, data: Path | None = None) -> Iterator[IO[bytes] | None]:
    """A file to write, or none where none is wanted."""
    if path is None:
        yield None
        return
    try:
        if data is not None and path.exists() and path.samefile(data):
            raise ConfigError(f"--predictions: {path} is the file of --data and would be overwritten; name another")
        with open_for_writing(path) as out:
            yield out
    except OSError as error:
        raise StreamrnnError(f"{path}: cannot be written: {error.strerror}") from error
