"""Which partition of an output topic a prediction or a dead letter goes to.

Where an output topic has as many partitions as the input, the number of the input's: a stream's predictions then keep
the number of its records, and their order. Otherwise the key's, as for any producer.

Topics change while a worker runs: partitions are added, to input and outputs in any order, or a topic is made anew with
fewer. So the counts are asked for again when a partition is assigned that they do not cover, and when outputs could not
be sent.
"""

from __future__ import annotations

import contextlib
import logging

from streamrnn.broker.protocol import Sender
from streamrnn.broker.rights import command
from streamrnn.errors import BrokerError

_log = logging.getLogger(__name__)

KEYS_MOVED = "topic %s had %d partitions and now has %d: keys moved, and streams go on elsewhere in a new state"


class Placement:
    """The counts of partitions as they were last asked for, and what follows from them.

    Raises BrokerError when one of the topics does not exist or the broker does not answer.
    """

    def __init__(self, sender: Sender, source: str, outputs: tuple[str, ...]) -> None:
        self._sender, self._source, self._outputs = sender, source, outputs
        self.input_partitions = 0
        self._same: frozenset[str] = frozenset()
        self.refresh()

    def refresh(self) -> None:
        """Ask for the counts; nothing changes where that fails."""
        counts = {topic: len(self._sender.partitions(topic)) for topic in (self._source, *self._outputs)}
        if missing := [topic for topic, count in counts.items() if count == 0]:
            grants = [command("READ" if topic == self._source else "WRITE", "topic", topic) for topic in missing]
            raise BrokerError(
                f"topics {', '.join(missing)} do not exist, or this user may not see them: create them first with "
                f"`streamrnn topics`, or grant the right: {'; '.join(grants)}"
            )
        before, self.input_partitions = self.input_partitions, counts[self._source]
        if before not in (0, self.input_partitions):
            _log.warning(KEYS_MOVED, self._source, before, self.input_partitions)
        same = frozenset(topic for topic in self._outputs if counts[topic] == self.input_partitions)
        for topic in sorted(self._same ^ same) if before else ():
            _log.warning(
                "topic %s has %d partitions, input topic %s has %d: from now on %s",
                topic, counts[topic], self._source, self.input_partitions,
                "outputs go to the partition that their record came from" if topic in same
                else "the key decides where outputs go",
            )  # fmt: skip
        self._same = same

    def look_again(self) -> None:
        """After outputs could not be sent. Without an answer the next attempt to send fails as well, and says so."""
        with contextlib.suppress(BrokerError):
            self.refresh()

    def cover(self, partition: int) -> None:
        """Make sure that an input partition is one of those that were counted."""
        if partition >= self.input_partitions:
            self.refresh()

    def of(self, topic: str, partition: int) -> int | None:
        """Which partition of an output topic takes what came of an input partition; None: the key decides."""
        return partition if topic in self._same else None
