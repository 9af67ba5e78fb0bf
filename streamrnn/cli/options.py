"""Options and arguments that several commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="JOB.YAML", help="The job file.", show_default=False)
]
DataOption = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="The records, in the order in which they are learned: .csv, .jsonl or .ndjson.",
        exists=True,
        dir_okay=False,
    ),
]
SampleOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also decode records of a file: .csv, .jsonl or .ndjson.",
        show_default=False,
        exists=True,
        dir_okay=False,
    ),
]
KeyOption = Annotated[
    str | None, typer.Option(metavar="FIELD", help="Field to use as the record key, which names the stream.")
]
TimestampOption = Annotated[
    str | None,
    typer.Option(metavar="FIELD", help="Field to use as the record's timestamp: milliseconds or ISO 8601 text."),
]
CheckpointArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A checkpoint's manifest, or a directory with checkpoints anywhere below it.",
        show_default=False,
    ),
]
