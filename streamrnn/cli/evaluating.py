"""The files that an evaluation reads and writes, what it refuses in them, and what their records are to a job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO

from rich.console import Console

from streamrnn.broker.protocol import Record
from streamrnn.cli.show import show_sample
from streamrnn.errors import ConfigError, StreamrnnError
from streamrnn.job.config import Config
from streamrnn.job.sample import examine
from streamrnn.offline import data_file
from streamrnn.offline.evaluation import Report
from streamrnn.system.writing import open_for_writing


def fits(job: Config, data: Path, key: str | None, timestamp: str | None, limit: int, console: Console) -> bool:
    """Show what the file's first records are to the job; whether they are what it needs."""
    fields = data_file.Fields(key=key, timestamp=timestamp)
    with contextlib.closing(data_file.read_rows(data)) as rows:
        _, source = begun(data_file.records(job, rows, fields), data)
        sample = examine(job, islice(source, limit))
    show_sample(console, sample)
    return sample.used > 0 and not sample.never()


def require_targets(job: Config, data: Path, report: Report, fields: str) -> None:
    """Refuse a file that taught nothing: a misspelt target would otherwise pass for a job that cannot be measured."""
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
def opened(path: Path | None, data: Path) -> Iterator[IO[bytes] | None]:
    """A file to write, or none where none is wanted."""
    if path is None:
        yield None
        return
    try:
        if path.exists() and path.samefile(data):
            raise ConfigError(f"--predictions: {path} is the file of --data and would be overwritten; name another")
        with open_for_writing(path) as out:
            yield out
    except OSError as error:
        raise StreamrnnError(f"{path}: cannot be written: {error.strerror}") from error
