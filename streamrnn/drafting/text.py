"""A draft as the text of a job file, each decision with its reason beside it.

The text is read back before it is given out: what ``streamrnn init`` writes loads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from streamrnn.drafting.draft import Draft
from streamrnn.drafting.encoders import Feature, number, percent
from streamrnn.drafting.fields import Field, Kind
from streamrnn.drafting.sample import count
from streamrnn.drafting.sizes import room_for
from streamrnn.drafting.yaml_writing import category, comment, commented, text, value
from streamrnn.escaping import name, names, one_line
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse

_MOST_LISTED = 8
_COLUMN = 70
"""Where the comments of features stand at most, one below the other."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the job is going to run: its ``kafka`` or ``embedded`` section as lines, the name of its file, memory.

    ``environment`` is what references in these lines are resolved with, to see that the file loads.
    """

    log: Sequence[str]
    file: str
    bootstrap: str
    memory_bytes: int | None
    environment: dict[str, str]


def job_name(draft: Draft) -> str:
    """What the job is called: by its topic and target, in the characters that a name may have."""
    words = f"{draft.sample.source.topic}-{draft.target.path}"
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", words).strip("-.")[:120] or "job"


def job_file(draft: Draft, place: Place) -> tuple[str, Config]:
    """The text of the job file, and what it means."""
    # Imported where needed: it brings the kernels' modules along.
    from streamrnn.learner.lowering import bytes_per_slot

    source = draft.sample.source
    rough = parse(_text(draft, place, 1, ""), place.environment)
    slot = bytes_per_slot(rough.learner_spec())
    room, why = room_for(draft.sizes.streams, slot, source.partitions, place.memory_bytes)
    written = _text(draft, place, room, why)
    return written, parse(written, place.environment)


def _text(draft: Draft, place: Place, room: int, why: str) -> str:
    sections = (
        _head(draft, place),
        [f"job: {text(job_name(draft))}", *place.log],
        _input(draft),
        _target(draft),
        _features(draft),
        _model(draft),
        [*commented(f"streams: {{max_streams: {room}}}", f"per partition: {why}")],
        _output(draft, place),
    )
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(draft: Draft, place: Place) -> list[str]:
    sample, source = draft.sample, draft.sample.source
    more = source.records > sample.looked_at
    seen = count(sample.looked_at, "record")
    if source.file:
        where = f"{'the first ' if more else ''}{seen} of {source.text}"
    else:
        newest = f"the newest {sample.looked_at:,} of {count(source.records, 'record')}" if more else seen
        where = f"{newest} of {source.text} in {count(source.partitions, 'partition')}"
    lines = comment(
        f"A draft by streamrnn init, from {where}"
        f"{_period(draft)}. It runs as it is, and is meant to be read and changed: "
        "comments say what was seen, and why it was decided so."
    )
    for warning in draft.warnings:
        lines += ["#", *comment(f"WARNING: {warning}")]
    lines += ["#", *(f"#   {line}" for line in next_steps(draft, place))]
    return lines


def _period(draft: Draft) -> str:
    known = draft.time.ms[~np.isnan(draft.time.ms)]
    if not len(known):
        return ""
    first, last = (_when(float(ms)) for ms in (known.min(), known.max()))
    return f", from {first} to {last}"


def _when(ms: float) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1_000.0, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{ms:.0f} ms"


def next_steps(draft: Draft, place: Place) -> list[str]:
    """The commands that come next, each with what it is for."""
    file, source = place.file, draft.sample.source
    data = f"--data {source.file}" if source.file else "--topic"
    steps = [
        (f"streamrnn validate -c {file}{' --connect' if place.bootstrap else ''}", "will it run, and run well?"),
        (f"streamrnn evaluate -c {file} {data}", "does it predict better than naive rivals?"),
        (f"streamrnn topics -c {file}", "create the topics it writes"),
        (f"streamrnn run -c {file}", "run it; then look at http://localhost:9308"),
    ]
    if not place.bootstrap:
        steps.pop(2)
    width = max(len(command) for command, _ in steps)
    return [f"{command:<{width}}  # {purpose}" for command, purpose in steps]


def _input(draft: Draft) -> list[str]:
    streams, time = draft.streams, draft.time
    lines = ["input:", f"  topic: {text(draft.sample.source.topic)}"]
    key = "null" if streams.field is None else text(streams.field)
    lines += commented(f"  stream_key: {key}", streams.why)
    if streams.field is not None:
        lines += comment(
            "Best is a topic keyed by it, so that a stream stays in one partition; then leave this out.", "  "
        )
    if streams.others:
        lines += comment(f"Could name streams as well: {names(list(streams.others), _MOST_LISTED)}.", "  ")
    if time.field is None:
        return [*lines, *comment(f"Time: {time.why}.", "  ")]
    return [*lines, *commented(f"  timestamp: {value({'field': time.field, 'unit': time.unit})}", time.why)]


def _target(draft: Draft) -> list[str]:
    target = draft.target
    lines = ["target:", *commented(f"  fields: [{text(target.path)}]", f"{_seen(target.field)}{target.why}")]
    if target.known == "forecast":
        lines += commented("  known: forecast", "the stream's next value; record: from the rest of its record")
        lines += commented("  horizon: 1", "of the next values; at most learning.k2 - learning.k1")
        if draft.wanders:
            lines += commented("  baseline: last", "it wanders: learned is the difference to the last value")
    elif target.classes is not None:
        classes = ", ".join(map(category, target.classes))
        lines += commented(f"  classes: [{classes}]", "all that came; a record with another is a dead letter")
        lines += commented("  known: record", "predicted from the rest of its record")
    else:
        lines += commented(
            "  known: record", "predicted from the rest of its record; forecast: the stream's next value"
        )
    if draft.zeros_left_out and target.field.absent:
        lines += commented("  missing: zero", "its producer seems to leave zeros out")
    if target.others:
        lines += comment(f"Others that could be predicted: {'; '.join(target.others[:_MOST_LISTED])}.", "  ")
    return lines


def _seen(field: Field) -> str:
    """What came of the target."""
    seen = ""
    if field.kind is Kind.NUMBER:
        known = field.numbers[~np.isnan(field.numbers)]
        low, middle, high = (number(float(at)) for at in (known.min(), np.median(known), known.max()))
        seen = f"{low} to {high}, median {middle}; "
    if field.missing_share:
        seen += f"missing in {percent(field.missing_share)}, which is predicted and not learned from; "
    return seen


def _features(draft: Draft) -> list[str]:
    written = {f"  - {_feature(feature)}": feature.why for feature in draft.features}
    column = max((len(line) for line in written if len(line) <= _COLUMN), default=0)
    lines = ["features:"] if written else ["features: []"]
    for line, why in written.items():
        lines += commented(line, why, column)
    if draft.zeros_left_out:
        lines += comment(
            "missing: zero, as numbers are often absent, never null, and never 0 where they are there.", "  "
        )
    if draft.left_out:
        lines += ["  # Left out:"]
        for left in draft.left_out:
            first, *rest = comment(f"{name(left.path)}: {left.why}", "    ")
            lines += _hanging(first, rest)
    return [*lines, *_inputs(draft)]


def _hanging(first: str, rest: Sequence[str]) -> list[str]:
    """Lines of a comment about one field, those behind the first further in."""
    return [first.replace("    # ", "  #   ", 1), *(line.replace("    # ", "  #     ", 1) for line in rest)]


def _inputs(draft: Draft) -> list[str]:
    dt, why = "true", "time since the stream's previous record"
    if draft.time.tells is not None:
        dt, why = "false", f"with {name(draft.time.tells)} it would tell the target"
    elif bool(np.isnan(draft.time.ms).all()):
        dt, why = "false", "no time is known"
    lines = ["inputs:", *commented(f"  dt: {dt}", why)]
    return [*lines, *commented("  previous_target: true", "the stream's newest known target")]


def _feature(feature: Feature) -> str:
    parts = [value({"field": feature.path, "encoder": feature.encoder})[1:-1]]
    for key, setting in feature.settings.items():
        shown = f"[{', '.join(map(category, setting))}]" if key == "categories" else value(setting)
        parts.append(f"{key}: {shown}")
    return "{" + ", ".join(parts) + "}"


def _model(draft: Draft) -> list[str]:
    sizes, target = draft.sizes, draft.target
    by_tail = draft.heavy and target.known == "record"
    farther = f"elstm, without k1 and k2, where it matters what came more than {sizes.k2} records before"
    lines = ["model:", *commented("  cell: lstm", farther)]
    lines += commented(f"  hidden_size: {sizes.hidden_size}", sizes.hidden_why)
    if target.classes is not None:
        lines += commented(
            f"  readout: {'logistic' if len(target.classes) == 2 else 'softmax'}", "probabilities of the classes"
        )
    elif by_tail:
        lines += commented("  loss: absolute", "the median: the target has a heavy tail; squared: the mean")
    else:
        lines += commented("  readout: rls", "least squares on the state: quick to learn; linear: any loss")
    lines += ["learning:", *commented(f"  k1: {sizes.k1}", "learn at every so many records of a stream ...")]
    lines += commented(f"  k2: {sizes.k2}", f"... through its newest so many; {sizes.window_why}")
    if by_tail:
        lines += commented("  target_shrinkage: 100", "for heavy tails: trust the scale of all streams for long")
    return lines


def _output(draft: Draft, place: Place) -> list[str]:
    source = draft.sample.source
    topics = [f"{source.topic[:200]}-{kind}" for kind in ("predictions", "dead-letters")]
    lines = ["output:", f"  topic: {text(topics[0])}", f"  dead_letter_topic: {text(topics[1])}"]
    if place.bootstrap:
        made = f"kafka-topics.sh --bootstrap-server {place.bootstrap} --create --partitions {source.partitions} --topic"
        lines += comment("streamrnn topics creates both, or whoever may:", "  ")
        lines += [f"  #   {one_line(f'{made} {topic}')}" for topic in topics]
    directory = value({"directory": f"./{job_name(draft)}-checkpoints"})
    return [*lines, *commented(f"checkpoint: {directory}", "every worker of the job must reach it")]
