"""What stands beside a committed offset, in its metadata: which learner got there.

It ties the three together that a restart has to bring into agreement: the position in the log, the checkpoints (by
lineage) and the predictions (by ordinal and digest). It also survives a process that a record ends, so it says what was
handed to the learner behind that offset, and which records are never to be handed to it again (see ``quarantine``).
"""

from __future__ import annotations

from typing import Final

import msgspec

AFRESH: Final = (
    "give the job another name, and another kafka.group_id if you set one; or delete the group's offsets and set "
    "checkpoint.on_lost_offsets: restart"
)
"""How to learn from scratch: offsets alone may be deleted by accident, so checkpoints outlive them."""

BEGAN_WITH = "began_with"
"""How many partitions the input topic had when the group began: a checkpoint's counters hold it as well."""

WAITING = "waiting"
"""How many events waited for those behind them, in a checkpoint's counters."""


class Handed(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What was handed to the learner, written before it was.

    Records from ``since`` on and below ``until``; with -1, from the beginning: the committed offset, or that of a
    replay. ``alone`` is the offset of the one among them that was handed over by itself, ``tries`` times so far; -1
    while there is none.
    """

    until: int
    alone: int = -1
    tries: int = 0
    since: int = -1


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a committed offset says of the learner that got there.

    ``partitions`` is how many the input topic had then: with another number, keys live in other partitions.
    ``began_with`` is how many it had when the group began, and every later commit repeats it; 0 where an earlier
    version wrote the mark. ``handed`` is there from a learner's first batch on until something is committed behind it:
    who finds it knows that a worker was lost. ``replayed`` says the same of the replay before that offset, and goes
    once that has succeeded. ``quarantined`` are offsets of delivered records, ascending, that no learner sees; a replay
    has to pass over them.
    """

    lineage: str
    ordinal: int
    digest: int
    partitions: int = 0
    began_with: int = 0
    handed: Handed | None = None
    quarantined: tuple[int, ...] = ()
    replayed: Handed | None = None

    def to_metadata(self) -> str:
        """The text stored beside the offset."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_metadata(cls, text: str) -> Mark | None:
        """The mark, or None when the text was not written by us."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return None
