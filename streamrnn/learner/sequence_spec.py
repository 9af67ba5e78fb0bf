"""What a record is where it is a whole sequence, as validated values."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MOST_STEPS = 100_000


class SequenceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is chosen of sequences by whoever describes them, a job or an estimator."""

    max_steps: Annotated[
        int,
        Meta(ge=1, le=MOST_STEPS, description="Longest sequence, in steps; memory for it is taken once."),
    ] = 1_000
    stack: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Neighbouring frames that are joined to one step: of speech at 10 ms a frame, 3 or 4.",
        ),
    ] = 1
    carry: Annotated[
        bool,
        Meta(
            description="true: a stream's sequence goes on from the state its last one ended with; direction forward."
        ),
    ] = False
    normalise: Annotated[
        Literal["running", "sequence"],
        Meta(
            description="running: inputs are standardised by all that was seen before; sequence: by the sequence's own "
            "mean and deviation, too, which takes out what a speaker, room or device adds to all its frames."
        ),
    ] = "running"


class SequenceSpec(SequenceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record is a whole sequence of frames, learned by back-propagation through all of it.

    Every ``stack`` neighbouring frames are one step. ``chunks``: a sequence comes in several records of its stream, up
    to the one with an end mark. ``carry`` takes the final state on to the stream's next sequence. ``normalise`` says
    what columns are standardised by: what was seen so far, or the sequence's own mean and deviation on top of that.

    >>> SequenceSpec(stack=4).steps(10)
    3
    """

    chunks: bool = False

    def steps(self, frames: int) -> int:
        """How many steps so many frames are."""
        return -(-frames // self.stack)

    @property
    def max_frames(self) -> int:
        """How many frames the longest sequence has."""
        return self.max_steps * self.stack
