"""What stands beside a committed offset, in its metadata: which learner got there.

It ties the three together that a restart has to bring into agreement: the position in the log, the checkpoints (by
lineage) and the predictions (by ordinal and digest).
"""

from __future__ import annotations

import msgspec

BEGAN_WITH = "began_with"
"""How many partitions the input topic had when the group began: a checkpoint's counters hold it as well."""


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What a committed offset says of the learner that got there.

    ``partitions`` is how many the input topic had then: with another number, keys live in other partitions.
    ``began_with`` is how many it had when the group began, and every later commit repeats it; 0 where an earlier
    version wrote the mark.
    """

    lineage: str
    ordinal: int
    digest: int
    partitions: int = 0
    began_with: int = 0

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
