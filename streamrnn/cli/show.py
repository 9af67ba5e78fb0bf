"""How the commands' results look: tables for 80 columns, numbers with their units, nothing that needs a legend."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from streamrnn.broker.kafka_settings import reading_bytes
from streamrnn.cli.show_lookahead import bytes_for_waiting, waits
from streamrnn.cli.show_sequences import direction, frames_read, remarks_on_chunks, remarks_on_work, said, work_space
from streamrnn.cli.show_symbols import of_set, of_text, remarks_on_memory, remarks_on_room
from streamrnn.core.kinds import Family
from streamrnn.job.config import Config
from streamrnn.job.job_file import warnings
from streamrnn.job.sample import Sample
from streamrnn.learner.features import Symbol
from streamrnn.learner.lessons import lessons, network
from streamrnn.learner.lowering import bytes_per_slot, copying_bytes, layout_of, most_bytes, trace_bytes
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.offline.evaluation import Report
from streamrnn.offline.scoring import HIGHER_IS_BETTER, MODEL
from streamrnn.offline.verdict import verdicts


def pairs() -> Table:
    """A table of names and what they mean."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def size(n_bytes: float) -> str:
    """Bytes for people.

    >>> size(1430), size(11_500_000)
    ('1.4 kB', '11.5 MB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            return f"{n_bytes:.0f} bytes" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    raise AssertionError


def when(time_ms: int | None) -> str:
    """A time in milliseconds since the epoch as UTC text."""
    if time_ms is None:
        return "-"
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"


# -- validate ---------------------------------------------------------------------------------------------------------


def job(config: Config) -> RenderableType:
    """A valid job as it was understood."""
    spec = config.learner_spec()
    table = pairs()
    table.add_row("job", Text(config.job, "bold"))
    if config.kafka is not None:
        table.add_row("broker", f"Kafka {', '.join(config.kafka.servers)} ({config.kafka.security.protocol})")
        name = config.kafka.group_instance_id
        table.add_row("group", f"{config.group_id}, this worker {f'as {name}' if name else 'named after its host'}")
    elif config.embedded is not None:
        table.add_row("broker", f"embedded log in {config.embedded.directory}")
    table.add_row("input", _input(config))
    if spec.sequence is not None:
        table.add_row("sequences", frames_read(config))
    if spec.looks_ahead:
        table.add_row("look-ahead", f"{waits(spec)}; {size(bytes_for_waiting(spec))} of each stream are for that")
    table.add_row("features", _features(config))
    table.add_row("inputs", _inputs(config))
    table.add_row("target", _target(config))
    table.add_row("model", _model(config))
    if config.model.warm_start is not None:
        gone = "" if Path(config.model.warm_start).exists() else " (gone; only partitions with checkpoints can go on)"
        table.add_row("warm start", Text(f"{config.model.warm_start}{gone}"))
    table.add_row("learning", lessons(spec))
    for name, text in _memory(config):
        table.add_row(name, text)
    table.add_row("output", f"{config.output.topic}; dead letters to {config.output.dead_letter_topic}")
    table.add_row("checkpoints", f"{config.checkpoint.directory}, every {config.checkpoint.interval_s:g} s")
    http = config.http
    table.add_row("metrics", "none" if http is None else f"{http.address}/metrics, {http.audience}")
    found = [*warnings(config), *remarks_on_room(config), *remarks_on_memory(config)]
    found += [*remarks_on_chunks(config), *remarks_on_work(config)]
    remarks = [Text.assemble(("warning: ", "bold yellow"), (text, "yellow")) for text in found]
    return Group(table, *remarks)


def _memory(config: Config) -> Iterator[tuple[str, str]]:
    """What takes memory, and how much."""
    spec = config.learner_spec()
    each, key = size(bytes_per_slot(spec)), size(config.input.max_key_bytes)
    if spec.rule == "rtrl":
        each = f"{each} (gradients that are carried along {size(trace_bytes(spec))})"
    most = size(most_bytes(spec, config.input.max_key_bytes))
    streams = f"at most {config.streams.max_streams:,}, {each} each and up to {key} for its key"
    yield "streams", f"{streams}: at most {most} per partition"
    copying = size(copying_bytes(spec))
    yield "copying", f"at most {copying} while a checkpoint is made, of one partition at a time"
    if spec.sequence is not None:
        work = work_space(spec)
        needed = "more than there is" if work is None else size(work)
        yield "work space", f"{needed} per partition, touched as far as sequences are long"
    if config.kafka is not None:
        reading = size(reading_bytes(config.input.max_record_bytes))
        yield "reading", f"at most {reading} of memory for fetched and unpacked records, with one broker"


def _input(config: Config) -> str:
    source = config.input
    key = "the record key" if source.stream_key is None else f"field {source.stream_key}"
    time = "the record's timestamp"
    if source.timestamp.field is not None:
        time = f"field {source.timestamp.field} ({source.timestamp.unit})"
    return f"{source.topic}; stream: {key}; time: {time}; first start: {source.start}"


def _features(config: Config) -> str:
    if not config.features:
        return "none"
    parts = []
    for feature in config.features:
        encoder = type(feature).__struct_config__.tag
        width = len(feature.columns)
        more = of_set(feature.symbols) if isinstance(feature, Symbol) else width if width > 1 else ""
        parts.append(f"{feature.field} ({encoder}{more and f', {more}'})")
    return ", ".join(parts)


def _inputs(config: Config) -> str:
    spec = config.learner_spec()
    stack = 1 if spec.sequence is None else spec.sequence.stack
    parts = [f"{spec.n_features}{'' if stack == 1 else f' x {stack}'} of features"]
    if spec.symbols:
        parts.append(f"{sum(symbols.size for symbols in spec.symbols):,} of symbols (looked up)")
    if config.inputs.dt:
        parts.append("1 dt")
    if config.inputs.previous_target:
        how = "class, known or not; looked up" if spec.shows_class else "value, known or not"
        parts.append(f"{spec.n_previous + spec.n_targets:,} previous_target ({how})")
    if len(parts) == 1 and spec.sequence is None:
        parts.append("none derived")
    return f"{spec.n_inputs:,} columns: {', '.join(parts)}"


def _model(config: Config) -> str:
    model, spec = config.model, config.learner_spec()
    reads = "" if spec.sequence is None and not spec.looks_ahead else f", reading {direction(spec)}"
    readout = f"; readout by least squares on {spec.n_regressors} regressors" if spec.n_regressors else ""
    return (
        f"{network(model.spec)}{reads}, {model.dtype}, {model.effective_loss} loss: "
        f"{layout_of(spec).size:,} parameters{readout}"
    )


def _target(config: Config) -> str:
    target = config.target
    if config.input.text is not None:
        return of_text(config)
    names = ", ".join(target.fields)
    if target.symbols is not None:
        names += f", one of {of_set(target.symbols)}"
    if config.input.sequence is not None:
        return f"{names}: {said(config.learner_spec())}"
    if target.known == "forecast":
        ahead = _ahead(target)
        if target.period:
            ahead += (
                f", as differences to the {'last one' if target.period == 1 else f'one {target.period} steps before'}"
            )
        return f"{names}: {ahead}"
    return f"{names}: in {'the record itself' if target.known == 'record' else 'a later label record'}"


def _ahead(target: TargetSpec) -> str:
    """Which of a stream's next values are forecast."""
    if isinstance(target.horizon, tuple):
        return f"the stream's value {', '.join(map(str, target.horizon))} steps ahead"
    return f"the stream's next {target.horizon} values" if target.horizon > 1 else "the next value"


# -- evaluate ---------------------------------------------------------------------------------------------------------


class EvaluationProgress:
    """A bar over a file's bytes, a topic's offsets, or the records where only so many are wanted."""

    def __init__(self, total: int | None, console: Console) -> None:
        self._passed: int | None = None
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("preparing", total=total, state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def prepare(self, dtype: str, family: Family) -> None:
        """Have the kernels ready, and say so if that takes long."""
        from streamrnn.core.compiled import HOW_LONG, ensure_compiled, is_compiled

        if not is_compiled(dtype, family):
            self._progress.update(self._task, state=f"compiling: about {HOW_LONG[family]}, more on a busy machine")
        ensure_compiled(dtype, family)
        self._progress.update(self._task, description="evaluating", state="")

    def passed(self, so_far: int) -> None:
        """Told how many bytes or offsets have been read; shown with the next block."""
        self._passed = so_far

    def update(self, report: Report) -> None:
        """Show what has been scored so far."""
        done = report.records if self._passed is None else self._passed
        state = f"{report.records:,} records"
        if report.scores and report.scores[0].scored:
            metric = report.metrics[0]
            state += f", {metric} {_number(report.scores[0].values[metric])}"
        self._progress.update(self._task, completed=done, state=state)


def versus(skill: Mapping[str, float]) -> str:
    """How much better than each rival.

    >>> versus({"last": 0.25, "most_frequent": -0.5})
    '0.25 against last, -0.5 against most frequent'
    """
    return ", ".join(f"{value:.3g} against {rival.replace('_', ' ')}" for rival, value in skill.items())


def evaluation(console: Console, report: Report) -> None:
    """Result table, then what else there is to know."""
    first, *_ = report.metrics
    console.print(_ranking(report, first))
    for verdict in verdicts(first, report.scores):
        console.print(Text(verdict.sentence, "bold green" if verdict.good else "bold yellow"), soft_wrap=True)
    facts = pairs()
    if report.partitions > 1:
        facts.add_row("partitions", f"{report.partitions:,}, a learner each")
    facts.add_row("streams", f"{report.streams:,} at the end")
    if report.waiting:
        facts.add_row("waiting", f"{report.waiting:,} events, not scored: those behind them have not come")
    facts.add_row("updates", f"{report.updates:,}")
    if report.skill:
        facts.add_row("skill", f"{versus(report.skill)}, of late; 1 is perfect, 0 no better")
    of_classes = {"accuracy": "nats a class", "error rate": "nats a class", "symbol error rate": "nats a symbol"}
    unit = next((of_classes[metric] for metric in report.metrics if metric in of_classes), "scaled units")
    facts.add_row("loss", f"{_number(report.loss)} in {unit}, as in the daemon's metrics")
    console.print(facts)
    show_sample(console, report.sample)
    if report.backwards:
        remark = (
            f"{report.backwards:,} records are older than one before them; they were learned in the order in which "
            "they lie: sort a file by time for an honest result"
        )
        console.print(Text(remark, "yellow"))


def _ranking(report: Report, first: str) -> Table:
    """Every predictor's scores by target, best first by the metric ``first``."""
    best_is_high = first in HIGHER_IS_BETTER
    targets = list(dict.fromkeys(score.target for score in report.scores))
    table = Table(title="Progressive validation, best first", title_justify="left", title_style="bold")
    if len(targets) > 1:
        table.add_column("target")
    table.add_column("predictor", min_width=24)
    for metric in report.metrics:
        table.add_column(metric, justify="right")
    table.add_column("scored", justify="right")
    for target in targets:
        ranked = sorted(
            (s for s in report.scores if s.target == target),
            key=lambda s: -s.values[first] if best_is_high else s.values[first],
        )
        for score in ranked:
            name = [score.target] if len(targets) > 1 else []
            values = [_number(score.values[m]) if m in score.values else "-" for m in report.metrics]
            style = "bold red" if score.predictor == MODEL else ""
            table.add_row(*name, score.predictor, *values, f"{score.scored:,}", style=style)
        table.add_section()
    return table


def show_sample(console: Console, sample: Sample) -> None:
    """What records are to the job, what is missing in them, and what is probably not meant."""
    facts = pairs()
    kinds = {"labels": sample.labels, "tombstones": sample.tombstones, "passed over by input.where": sample.filtered}
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    facts.add_row("records", f"{sample.records:,}" + (f", of them {told}" if told else ""))
    absent = [f"{s.field.path} in {_percent(s.missing_share)}" for s in sample.absent()]
    facts.add_row("missing", Text(", ".join(absent) or "nothing"))
    if not sample.rejected:
        facts.add_row("rejected", "none")
    console.print(facts)
    for reason, count in sample.rejected.most_common():
        of = f"{count:,} ({_percent(count / sample.records)})"
        console.print(
            Text(f"rejected, {reason}: {of}; the first: {sample.first_rejected[reason]}", "yellow"), soft_wrap=True
        )
    for remark in sample.remarks():
        console.print(Text(remark, "yellow"), soft_wrap=True)


def _percent(share: float) -> str:
    """A share for people: nothing that is there is shown as 0 %, nor all but everything as 100 %.

    >>> _percent(0.75), _percent(0.0001), _percent(0.9999), _percent(1.0)
    ('75 %', 'under 1 %', 'over 99 %', '100 %')
    """
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:#.4g}" if abs(value) < 1000 else f"{value:,.0f}"
