"""How checkpoints look: what is on disk, each of them in full, one stream, and what an export made of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamrnn.cli.show import pairs, size, versus, when
from streamrnn.cli.show_lookahead import waits
from streamrnn.cli.show_sequences import direction, said
from streamrnn.learner.lessons import lessons
from streamrnn.learner.spec import LearnerSpec
from streamrnn.offline.export import Exported
from streamrnn.offline.inspection import Inspection, Listed

_LISTED: Final = 10
"""So many events that wait are named."""
_ONLY_WITH: Final = {
    "learning.betas": ("optimizer", ("adam", "adamw")),
    "learning.eps": ("optimizer", ("rmsprop", "adam", "adamw")),
    "learning.momentum": ("optimizer", ("momentum",)),
    "learning.rmsprop_alpha": ("optimizer", ("rmsprop",)),
    "learning.weight_decay": ("optimizer", ("adamw",)),
    "model.gates": ("cell", ("glru",)),
    "model.huber_delta": ("loss", ("huber",)),
    "model.quantiles": ("loss", ("quantile",)),
    "model.lags": ("readout", ("rls",)),
    "model.rls_forgetting": ("readout", ("rls",)),
    "model.rls_prior": ("readout", ("rls",)),
    "target.horizon": ("known", ("forecast",)),
    "target.label_memory": ("known", ("label",)),
}
"""Settings that count only where another setting of their section has one of these values."""


def checkpoints(console: Console, listed: list[Listed], chosen: list[Inspection]) -> None:
    """The list of what is on disk, then each chosen checkpoint in full. Paths are not folded, so they can be copied."""
    if len(listed) > 1:
        console.print(_listing(listed))
    unreadable(console, listed)
    for inspection in chosen:
        console.print()
        console.print(Text.assemble(("checkpoint   ", "dim"), (inspection.place, "cyan")), soft_wrap=True)
        console.print(_overview(inspection))
        console.print()
        console.print(_tensors(inspection))
        console.print()
        console.print(_configuration(inspection.manifest.configuration))


def unreadable(console: Console, listed: list[Listed]) -> None:
    """A line for each checkpoint that cannot be read."""
    for one in listed:
        if one.manifest is None:
            console.print(Text(f"unreadable: {one.place}: {one.reason}", "red"), soft_wrap=True)


def exported(console: Console, done: Exported, out: Path, listed: list[Listed]) -> None:
    """What was written, how it is loaded, and what did not come along."""
    at = done.manifest
    partition = f"{at.topic}/{at.partition}"
    console.print(Text.assemble(("checkpoint   ", "dim"), (done.place, "cyan")), soft_wrap=True)
    console.print(f"written to {out}: the learner of {partition} at offset {at.progress.position:,}", soft_wrap=True)
    others = {one.manifest.partition for one in listed if one.manifest is not None} - {at.partition}
    if others:
        numbers = ", ".join(map(str, sorted(others)))
        console.print(f"partitions with learners of their own: {numbers} (--partition)", soft_wrap=True)
    if done.estimator is None:
        console.print(Text("no estimator can go on from it; PyTorch and model.warm_start can read it:", "yellow"))
    else:
        console.print(f'{done.estimator}.load("{out}") goes on from it', soft_wrap=True, style="green")
        console.print(f"streams are told apart by the feature {done.stream_key!r}", soft_wrap=True)
    for note in done.notes:
        console.print(Text(f"  {note}", "yellow"), soft_wrap=True)


def _listing(listed: list[Listed]) -> Table:
    manifests = [one.manifest for one in listed if one.manifest is not None]
    partitions = list(dict.fromkeys(f"{m.topic}/{m.partition}" for m in manifests))
    table = Table(title=f"Checkpoints of {', '.join(partitions)}", title_justify="left", title_style="bold", box=None)
    if len(partitions) > 1:
        table.add_column("partition", overflow="fold")
    table.add_column("lineage", no_wrap=True)
    for name in ("position", "records", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("written", no_wrap=True)
    for manifest in manifests:
        partition = f"{manifest.topic}/{manifest.partition}"
        table.add_row(
            *([partition] if len(partitions) > 1 else []),
            manifest.progress.lineage,
            f"{manifest.progress.position:,}",
            f"{manifest.progress.ordinal:,}",
            size(manifest.bytes),
            _written(manifest.created),
        )
    return table


def _overview(inspection: Inspection) -> Table:
    manifest, spec, progress = inspection.manifest, inspection.spec, inspection.manifest.progress
    table = pairs()
    table.add_row("job", Text(f"{manifest.job}, partition {manifest.topic}/{manifest.partition}", "bold"))
    table.add_row("position", f"offset {progress.position:,}, after {progress.ordinal:,} records")
    table.add_row("lineage", f"{progress.lineage}, digest {progress.digest:08x}")
    table.add_row("stream time", when(progress.stream_time_ms))
    table.add_row("written", _written(manifest.created))
    table.add_row(
        "streams",
        f"{inspection.streams():,} of {spec.streams.max_streams:,}, in "
        f"{_counted(len(manifest.segments), 'segment')}; {size(manifest.bytes)} in all",
    )
    for name, text in _reading(inspection):
        table.add_row(name, text)
    table.add_row("parameters", f"{progress.parameters:,}")
    table.add_row("updates", f"{progress.updates:,}")
    counters = progress.counters
    rare = (
        "gradient_clips",
        "steps_shortened",
        "windows_dropped_loss",
        "windows_dropped_gradient",
        "evictions_ttl",
        "evictions_capacity",
    )
    for name in rare:
        if counters.get(name):
            table.add_row(name.replace("_", " "), f"{counters[name]:,}")
    if skill := inspection.skill():
        table.add_row("skill", versus(skill))
    for name, text in _learning(inspection.learning()):
        table.add_row(name, text)
    for target in inspection.statistics():
        table.add_row(f"target {target['name']}", _spread(target))
    for of in inspection.open_sets():
        told = f"{of['symbols']:,} of {of['most']:,}, {of['beyond']:,} times one that got no number"
        table.add_row(f"symbols of {of['field']}", told)
    table.add_row("build", ", ".join(f"{name} {value}" for name, value in manifest.build.items()))
    return table


def _reading(inspection: Inspection) -> Iterator[tuple[str, str]]:
    """How whole sequences are read, that events wait, and what is learned from."""
    if inspection.spec.sequence is not None:
        yield "sequences", _sequences(inspection.spec)
    if (waiting := inspection.waiting()) is not None:
        yield "look-ahead", f"{waits(inspection.spec)}; {_counted(waiting, 'event')} waiting"
    yield "learning", lessons(inspection.spec)


def _sequences(spec: LearnerSpec) -> str:
    """What is said of whole sequences, and how they are read."""
    assert spec.sequence is not None
    steps, stack = spec.sequence.max_steps, _counted(spec.sequence.stack, "frame")
    return f"{said(spec)}; read {direction(spec)}, at most {steps:,} steps of {stack}"


def _learning(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How it learns, as far as it is known."""
    if found["gradient_reach_steps"] is not None:
        followed = list(found["state_gradient_norms"])[-1]
        yield "gradients", f"reach {found['gradient_reach_steps']} steps back, of {followed} that were looked at"
    if (ratio := found["update_to_weight_ratio"]) is not None:
        yield "weights", f"norm {found['weight_norm']:.4g}, the newest step {ratio:.2g} of that"
    if shares := found["mixture_shares"]:
        yield "mixture", ", ".join(f"{expert} {share:.0%}" for expert, share in shares.items())


def _written(created: str) -> str:
    return created[:19].replace("T", " ") + " UTC"


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _spread(of: Mapping[str, Any]) -> str:
    return f"mean {of['mean']:.4g}, standard deviation {of['deviation']:.4g} over {of['count']:,}"


def _tensors(inspection: Inspection) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None)
    table.add_column("tensor", min_width=18)
    table.add_column("shape", justify="right", min_width=10)
    table.add_column("norm", justify="right", min_width=10)
    table.add_column("largest", justify="right", min_width=10)
    for tensor in inspection.tensors():
        shape = " x ".join(map(str, tensor["shape"]))
        table.add_row(tensor["name"], shape, f"{tensor['norm']:.4g}", f"{tensor['largest']:.4g}")
    return table


def _configuration(configuration: Mapping[str, Any]) -> Table:
    """One setting a line, without those that another setting switches off."""
    table = pairs()
    for name, value in configuration.items():
        if isinstance(value, dict):
            for setting, inner in value.items():
                switch, choices = _ONLY_WITH.get(f"{name}.{setting}", ("", ()))
                if inner is not None and (not switch or value.get(switch) in choices):
                    table.add_row(f"{name}.{setting}", Text(_plain(inner)))
        elif name == "features":
            table.add_row(name, Text(", ".join(f"{f['field']} ({f['encoder']})" for f in value) or "none"))
        else:
            table.add_row(name, Text(_plain(value)))
    return table


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def stream(console: Console, state: Mapping[str, Any], of: Inspection) -> None:
    """What a checkpoint keeps of one stream."""
    table = pairs()
    table.add_row("stream", Text(state["key"], "bold"))
    manifest = of.manifest
    table.add_row(
        "checkpoint", f"partition {manifest.topic}/{manifest.partition}, offset {manifest.progress.position:,}"
    )
    table.add_row("steps", f"{state['steps']:,} in its sequence; slot {state['slot']}")
    table.add_row("last record", when(state["last_record_ms"]))
    if (waiting := state.get("waiting")) is not None:
        offsets = ", ".join(f"{event['offset']:,}" for event in waiting[:_LISTED])
        more = ", ..." if len(waiting) > _LISTED else ""
        table.add_row(
            "waiting", f"{_counted(len(waiting), 'event')}" + (f": offset {offsets}{more}" if waiting else "")
        )
    for layer, norms in enumerate(state["state_norms"]):
        table.add_row(f"state, layer {layer}", ", ".join(f"|{name}| = {norm:.4g}" for name, norm in norms.items()))
    known = ", ".join("unknown" if value is None else f"{value:.6g}" for value in state["previous_target"])
    table.add_row("previous target", known)
    for target in state["targets"]:
        if target["count"]:
            table.add_row("its targets", _spread(target))
    console.print(table)
