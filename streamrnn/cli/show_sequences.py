"""How whole sequences look in the commands' results: what is read of them, what is said, and what they take."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from streamrnn.cli.show_symbols import MUCH
from streamrnn.job.config import Config
from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.sequences.lowering import work_bytes
from streamrnn.learner.spec import LearnerSpec


def frames_read(config: Config) -> str:
    """What a record holds of a sequence, beside the topic and its streams."""
    source, spec = config.input.sequence, config.learner_spec()
    assert source is not None
    assert spec.sequence is not None
    end = config.input.end_field
    what = "a whole sequence" if end is None else f"a chunk of a sequence, up to the one where {end} is true"
    stack = "" if source.stack == 1 else f", {source.stack} frames a step"
    return f"each record {what}: frames in {source.field}, at most {source.max_steps:,} steps{stack}"


def said(spec: LearnerSpec) -> str:
    """What is predicted of a sequence."""
    target = spec.target
    what = "number" if target.classes is None else "class"
    return {
        "label": f"one {what} for the whole sequence",
        "labels": f"one {what} for each step",
        "transcript": f"a transcript of at most {target.max_symbols:,} symbols",
        "sequence": (
            f"{target.furthest:,} numbers"
            if target.says_numbers
            else f"another sequence, of at most {target.max_symbols:,} symbols"
        ),
    }[target.kind or "label"]


def direction(spec: LearnerSpec) -> str:
    """How the network reads a sequence."""
    if spec.model.direction == "forward":
        return "forwards"
    ahead = spec.model.lookahead
    return "both ways" if ahead is None else f"forwards, and backwards from {ahead} steps ahead"


def remarks_on_chunks(config: Config) -> Iterator[str]:
    """What sequences that have not ended take of each stream, where that is much, and what to do about it."""
    spec = config.learner_spec()
    if spec.sequence is None or not spec.sequence.chunks:
        return
    shorter = replace(spec, sequence=replace(spec.sequence, max_steps=1))
    each = bytes_per_slot(spec) - bytes_per_slot(shorter)
    if (total := each * config.streams.max_streams) > MUCH:
        yield (
            f"input.sequence.max_steps: each stream has room for the {spec.sequence.max_steps:,} steps of a sequence "
            f"that has not ended, {each / 1000:,.1f} kB, and {config.streams.max_streams:,} streams "
            f"{total / 1e9:,.1f} GB, taken as streams come; lower streams.max_streams to what is under way at once, or "
            "max_steps, or set streams.max_bytes"
        )


def work_space(spec: LearnerSpec) -> int | None:
    """Bytes that a partition needs for the longest sequence, however many streams there are; None: no machine like this
    has as many."""
    try:
        return work_bytes(spec)
    except MemoryError:
        return None


def remarks_on_work(config: Config) -> Iterator[str]:
    """That the longest sequence does not fit into memory."""
    spec = config.learner_spec()
    if spec.sequence is not None and work_space(spec) is None:
        yield (
            f"input.sequence.max_steps: {spec.sequence.max_steps:,} steps take more memory than there is (hidden_size "
            f"{spec.model.units:,}, num_layers {spec.model.num_layers}), so no partition could start; lower one "
            "of them, or target.max_symbols where there are many"
        )
