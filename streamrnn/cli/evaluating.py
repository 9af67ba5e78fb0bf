"""The files that an evaluation reads and writes, and what it refuses: a file that says nothing about the job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from streamrnn.broker.protocol import Record
from streamrnn.errors import ConfigError, StreamrnnError
from streamrnn.job.config import Config
from streamrnn.offline.evaluation import Report


def require_targets(job: Config, data: Path, report: Report, fields: str) -> None:
    """Refuse a file that taught nothing: a misspelt target would otherwise pass for a job that cannot be measured."""
    if report.records == report.rejected.total():
        reasons = "".join(
            f"\n  {reason}: {count:,}; the first: {report.first_rejected[reason]}"
            for reason, count in report.rejected.most_common()
        )
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
        with path.open("wb") as out:
            yield out
    except OSError as error:
        raise StreamrnnError(f"{path}: cannot be written: {error.strerror}") from error
