"""How whole sequences look in the commands' results: what is read of them, what is said, and what they take."""

from __future__ import annotations

from streamrnn.job.config import Config
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
            f"{target.horizon:,} numbers"
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


def work_space(spec: LearnerSpec) -> int:
    """Bytes that a partition needs for the longest sequence, however many streams there are."""
    return work_bytes(spec)
