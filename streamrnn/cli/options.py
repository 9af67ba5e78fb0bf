"""Options and arguments that several commands share, each said once, and those that take many lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="JOB.YAML", help="The job file.", show_default=False)
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The records, in the order in which they are learned: .csv, .jsonl or .ndjson.",
        show_default=False,
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
DraftedFileOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="In place of a topic, a file of its records: .csv, .jsonl or .ndjson.",
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
HistoryOption = Annotated[
    bool,
    typer.Option(
        "--topic",
        help="In place of a file, the job's own input topic: no group is joined, nothing is committed or written.",
    ),
]
BootstrapOption = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="The cluster; several servers separated by commas.")
]
TopicOption = Annotated[str | None, typer.Option(metavar="NAME", help="The topic to learn from.")]
KafkaConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML with the kafka section of a job file: how to authenticate, and servers unless --bootstrap has them.",
        exists=True,
        dir_okay=False,
    ),
]
TargetOption = Annotated[
    str | None, typer.Option(metavar="FIELD", help="What to predict; by default the most plausible field.")
]
OutputOption = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - prints it.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
DemoLimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Departures to replay; default: all 336,776 of the year.")
]
DemoBootstrapOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Use this Kafka, with new topics, instead of the embedded log."),
]
DemoDirectoryOption = Annotated[
    Path, typer.Option(help="Job file, log, checkpoints and plot go here; an earlier demo in it is replaced.")
]
TextArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        help="What is learned: any file. Default: the sources of Python's standard library.",
        show_default=False,
    ),
]
TextBytesOption = Annotated[int, typer.Option("--bytes", min=1, metavar="N", help="Bytes to read, from the beginning.")]
TextSecondsOption = Annotated[float, typer.Option(min=0.1, metavar="S", help="Seconds after which reading ends.")]
TextDirectoryOption = Annotated[
    Path,
    typer.Option(help="Job file, log, checkpoints, plot, samples, model go here; an earlier demo in it is replaced."),
]
TextPlotOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="File for the plot of bits per byte; default: in the directory."),
]
MemoryDirectoryOption = Annotated[
    Path, typer.Option(help="The picture goes here; that of an earlier demo in it is replaced.")
]
PronounceWordsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Words to read, each once; default: all there are.")
]
PronounceQuickOption = Annotated[bool, typer.Option("--quick", help="Read 3,000 words, which takes a few seconds.")]
PronounceDirectoryOption = Annotated[
    Path, typer.Option(help="The plot goes here; that of an earlier demo in it is replaced.")
]
PronouncePlotOption = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="File for the plot; default: in the directory.")
]
SpeechDirectoryOption = Annotated[
    Path, typer.Option(help="The sound that is made, which another run uses again, and the plot go here.")
]
SpeechStringsOption = Annotated[
    int | None, typer.Option(min=20, metavar="N", help="Strings to learn from, the newcomer's among them; 3,000.")
]
SpeechQuickOption = Annotated[bool, typer.Option("--quick", help="800 strings instead.")]
SpeechWavOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.wav", help="A recording of yours, transcribed at the end: English digits."),
]
SpeechPlotOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="File for the plot of digit errors; default: in the directory."),
]
DemoPortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port for /metrics; a free one is chosen if it is in use.")
]
BaselinesOption = Annotated[
    bool,
    typer.Option("--baselines/--no-baselines", help="Also compute the baselines that the network is measured against."),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="File for the plot of the error over time; default: in the directory."),
]
EvaluatedOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Of a file the first N records; of a topic the newest N, default: 300,000."),
]
PredictionsOption = Annotated[
    Path | None, typer.Option(metavar="OUT.jsonl", help="Write the predictions here, as the daemon would.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RateOption = Annotated[float, typer.Option(min=0.01, max=100_000, metavar="N", help="Departures a second.")]
FeedLimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after so many; default: never.", show_default=False)
]
StreamOption = Annotated[
    str | None, typer.Option(metavar="KEY", help="Show this stream only: what is kept of it.", show_default=False)
]
ExportArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="[CHECKPOINT] OUT.safetensors",
        help="A checkpoint's manifest or a directory with checkpoints, unless a job file is given; and the file.",
        show_default=False,
    ),
]
CheckpointsOfOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="JOB.YAML", help="Take the checkpoints of this job instead.", show_default=False
    ),
]
