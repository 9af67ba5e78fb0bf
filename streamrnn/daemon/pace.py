"""How many records a poll may bring, so that a turn of the loop stays short whatever a record costs.

Between two turns the loop commits, answers, notices a stop and gives a sign of life. Five thousand records of a few
numbers take a fifth of a second; as many texts of a kilobyte, or records of a large network, take minutes. So a poll
brings about what the last one's records say can be done in ``TURN_S``, and begins with few. How the log is cut into
polls has no meaning to what is learned.
"""

from __future__ import annotations

from typing import Final

TURN_S: Final = 0.5
FIRST: Final = 16
"""Records of the first poll, of whose cost nothing is known."""
FASTER: Final = 4
"""Most by which one poll's limit may exceed the last one's: a few cheap records say little about those to come."""


class Pace:
    """``records`` is the limit of the next poll."""

    def __init__(self) -> None:
        self.records = FIRST

    def took(self, records: int, seconds: float) -> None:
        """So many records of a poll took so long.

        >>> pace = Pace()
        >>> pace.took(16, 1.6)
        >>> pace.records
        5
        """
        if records:
            affordable = int(records * TURN_S / seconds) if seconds > 0 else FASTER * self.records
            self.records = max(1, min(FASTER * self.records, affordable))
