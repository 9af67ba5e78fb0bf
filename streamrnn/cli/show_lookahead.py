"""What ``validate`` says of jobs that look ahead: how late predictions come, and what that takes of each stream."""

from __future__ import annotations

from msgspec.structs import replace

from streamrnn.learner.lowering import bytes_per_slot
from streamrnn.learner.spec import LearnerSpec


def waits(spec: LearnerSpec) -> str:
    """How long an event waits for its prediction."""
    return f"each event is predicted once {behind(spec)} have come, or its sequence has ended"


def behind(spec: LearnerSpec) -> str:
    """The events that one waits for, in words.

    >>> from streamrnn.learner.model_spec import ModelSpec
    >>> from streamrnn.learner.spec import InputSpec
    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> model = ModelSpec(direction="both", lookahead=1)
    >>> behind(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), model=model, inputs=InputSpec(dt=False,
    ... previous_target=False)))
    '1 more of its stream'
    """
    return f"{spec.model.lookahead or 0:,} more of its stream"


def bytes_for_waiting(spec: LearnerSpec) -> int:
    """Of the bytes of a stream, those that it takes because events wait."""
    at_once = replace(spec, model=replace(spec.model, direction="forward", lookahead=None))
    return bytes_per_slot(spec) - bytes_per_slot(at_once)
