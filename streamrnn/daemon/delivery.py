"""How a batch is committed: the one thing deliveries differ in.

At least once, in this order:
  1. every output of the batch is acknowledged by the broker;
  2. the offsets behind the batch are committed, with ordinal, lineage and digest in their metadata.
A crash between the two sends the batch again after the restart: duplicates with the same bytes, nothing lost. The
learner is never rolled back; it is deterministic, and what it said stays true.

When 1 fails the same bytes are sent again. When the outcome of 2 is in doubt, the committed offset of each partition
still owned is read: at the batch's end, go on; at its start, commit again; anything else, the partition is dropped
and restored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from streamrnn.broker.protocol import Broker, Commit, TopicPartition
from streamrnn.daemon.partition import Mark, Output, Partition
from streamrnn.errors import BrokerError, FencedError, RebalanceError

_log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Tries to get a batch through a broker that is away, with pauses of 1, 2, 4, 8, 16 seconds between; then the process
stops with an error and whoever supervises it starts it again. Nothing is lost by that."""

FIRST_PAUSE_S = 1.0

REQUEST_TIMEOUT_S = 20.0


Patience = Callable[[], float]
"""Shows a sign of life and says how many seconds a request may take; less and less once a stop was asked for."""


class AtLeastOnce:
    """Sends outputs as they come and commits offsets behind them."""

    def __init__(
        self, broker: Broker, output_partitions: Mapping[str, int], input_partitions: int, patience: Patience
    ) -> None:
        self._broker = broker
        # Same number of partitions: a stream's predictions keep the number of its records, and their order.
        self._same = {topic for topic, count in output_partitions.items() if count == input_partitions}
        self._input_partitions = input_partitions
        self._patience = patience
        self._incomplete = False  # some output of the batch could not be handed over, or was not acknowledged

    def send(self, tp: TopicPartition, outputs: list[Output]) -> None:
        """Hand outputs over; ``commit`` makes sure of them."""
        if self._incomplete:
            return  # the whole batch goes again at its commit
        try:
            self._send(tp, outputs)
        except FencedError:
            raise
        except BrokerError as error:
            _log.warning("%s: sending failed, the commit will send the batch again: %s", tp, error)
            self._incomplete = True

    def commit(self, partitions: list[Partition], settle: Callable[[], set[TopicPartition]]) -> list[Partition]:
        """Deliver and commit everything these partitions did; returns those that must be dropped and restored.

        ``settle`` lets the group come to rest and says which partitions are still owned. Raises FencedError when
        another worker has taken over, BrokerError when the broker stays away.
        """
        self._flush(partitions)
        return self._commit_offsets(partitions, settle)

    def _send(self, tp: TopicPartition, outputs: list[Output]) -> None:
        send = self._broker.send
        for topic, key, value, timestamp_ms in outputs:
            partition = tp.partition if topic in self._same else None
            send(topic, key, value, timestamp_ms=timestamp_ms, partition=partition)

    def _flush(self, partitions: list[Partition]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                if self._incomplete:
                    for partition in partitions:
                        self._send(partition.tp, partition.outputs)
                self._broker.flush(self._patience())
                self._incomplete = False
                return
            except FencedError:
                raise
            except BrokerError as error:
                self._incomplete = True
                if not self._wait(attempt):
                    raise
                _log.warning("outputs were not acknowledged, sending the batch again: %s", error)

    def _commit_offsets(
        self, partitions: list[Partition], settle: Callable[[], set[TopicPartition]]
    ) -> list[Partition]:
        waiting, to_restore = list(partitions), list[Partition]()
        for attempt in range(ATTEMPTS):
            offsets = {p.tp: Commit(p.position, p.mark(self._input_partitions).to_metadata()) for p in waiting}
            try:
                self._broker.commit(offsets, self._patience())
                for partition in waiting:
                    partition.confirmed()
                return to_restore
            except FencedError:
                raise
            except RebalanceError as error:
                _log.warning("the group changed during a commit, reading back what is committed: %s", error)
            except BrokerError as error:
                if not self._wait(attempt):
                    raise
                _log.warning("commit in doubt, reading back what is committed: %s", error)
            owned = settle()
            waiting, dropped = self._judge([p for p in waiting if p.tp in owned])
            to_restore += dropped
            if not waiting:
                return to_restore
        return to_restore + waiting

    def _wait(self, attempt: int) -> bool:
        """Pause before the next attempt; False when there is none."""
        pause = FIRST_PAUSE_S * 2**attempt
        if attempt == ATTEMPTS - 1 or self._patience() <= pause:
            return False
        time.sleep(pause)
        return True

    def _judge(self, partitions: list[Partition]) -> tuple[list[Partition], list[Partition]]:
        """Partitions to commit again, and partitions to restore; those found committed are confirmed."""
        again, restore = [], []
        for partition in partitions:
            try:
                stored = self._broker.committed(partition.tp)
            except BrokerError:
                again.append(partition)
                continue
            mark = None if stored is None else Mark.from_metadata(stored.metadata)
            if stored is None or mark is None or mark.lineage != partition.lineage:
                restore.append(partition)
            elif stored.offset == partition.position:
                partition.confirmed()
            elif stored.offset == partition.committed:
                again.append(partition)
            else:
                restore.append(partition)
        return again, restore
