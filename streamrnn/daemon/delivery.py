"""How a batch is committed: the one thing deliveries differ in.

At least once, in this order:
  1. every output of the batch is acknowledged by the broker;
  2. the offsets behind the batch are committed, with ordinal, lineage and digest in their metadata.
A crash between the two sends the batch again after the restart: duplicates with the same bytes, nothing lost. The
learner is never rolled back; it is deterministic, and what it predicted stays true.

What a topic refuses for the sake of single records is sorted out (:mod:`streamrnn.daemon.refused`). When 1 fails
otherwise, the same bytes are sent again. When the outcome of 2 is in doubt, the committed offset of each partition
still owned is read: at the batch's end, go on; at its start, commit again; anything else, the partition is dropped
and restored. A delivery by transactions differs in that 1 and 2 fail together, so that it hands over outputs whenever
it commits again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamrnn.broker.protocol import Broker, Commit, Membership, Output, TopicPartition
from streamrnn.daemon.mark import Mark
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.refused import Refused, Sent
from streamrnn.errors import BrokerError, FencedError, RebalanceError, RefusedError, UndeliveredError
from streamrnn.job.config import OutputConfig

_log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Tries to get a batch through a broker that is away, with pauses of 1, 2, 4, 8 and 16 seconds between them; then the
process stops with an error and whoever supervises it starts it again. Nothing is lost by that."""

FIRST_PAUSE_S = 1.0

REQUEST_TIMEOUT_S = 20.0


Patience = Callable[[], float]
"""Gives a sign of life; returns the seconds a request may take, fewer and fewer once a stop was asked for."""


class Settled(NamedTuple):
    """The group come to rest: partitions that are still owned with their learners, and under which membership."""

    owned: set[TopicPartition]
    membership: Membership | None


class Delivery(Protocol):
    """What becomes of a batch: its outputs as they arise, and its end."""

    def collect(self, partition: Partition, outputs: list[Output]) -> None:
        """Outputs of the present batch, in order. ``partition.outputs`` holds them as well until they are committed."""

    def commit(
        self, partitions: list[Partition], membership: Membership | None, settle: Callable[[], Settled]
    ) -> list[Partition]:
        """Deliver and commit everything these partitions did; returns those that must be dropped and restored.

        ``membership`` is that of the newest poll. ``settle`` lets the group come to rest after a failure. Raises
        FencedError when another worker holds this one's place, BrokerError when the broker stays away.
        """


class AtLeastOnce:
    """Sends outputs as they come and commits offsets behind them."""

    def __init__(
        self,
        broker: Broker,
        to: OutputConfig,
        output_partitions: Mapping[str, int],
        input_partitions: int,
        patience: Patience,
    ) -> None:
        self._broker = broker
        self._refused = Refused(to, self._send, self._flush)
        self._sent: list[tuple[Partition, Sequence[Output]]] = []  # since the last flush, in order
        # Same number of partitions: a stream's predictions keep the number of its records, and their order.
        self._same = {topic for topic, count in output_partitions.items() if count == input_partitions}
        self._input_partitions = input_partitions
        self._patience = patience
        self._incomplete = False  # some output of the batch could not be handed over, or was not acknowledged

    def collect(self, partition: Partition, outputs: list[Output]) -> None:
        """Send the outputs right away; ``commit`` makes sure of them."""
        if self._incomplete:
            return  # the whole batch goes again at its commit, in order: nothing may overtake what failed
        try:
            self._send_all(partition, outputs)
        except FencedError:
            raise
        except BrokerError as error:
            _log.warning("%s: sending failed, the commit will send the batch again: %s", partition.tp, error)
            self._incomplete = True

    def commit(
        self, partitions: list[Partition], membership: Membership | None, settle: Callable[[], Settled]
    ) -> list[Partition]:
        """See :class:`Delivery`."""
        waiting, to_restore = list(partitions), list[Partition]()
        for attempt in range(ATTEMPTS):
            try:
                self._deliver(waiting, membership)
            except FencedError:
                raise
            except UndeliveredError as error:
                self._incomplete = True
                if not self._wait(attempt):
                    raise
                _log.warning("outputs were not acknowledged, sending the batch again: %s", error)
                continue
            except RebalanceError as error:
                _log.warning("the group changed during a commit, reading back what is committed: %s", error)
            except BrokerError as error:
                if not self._wait(attempt):
                    raise
                _log.warning("commit in doubt, reading back what is committed: %s", error)
            else:
                self._incomplete = False
                for partition in waiting:
                    partition.confirmed()
                return to_restore
            self._incomplete = False  # the offsets are in doubt, the outputs are not
            owned, membership = settle()
            waiting, dropped = judge(self._broker, [p for p in waiting if p.tp in owned])
            to_restore += dropped
            if not waiting:
                return to_restore
        # Out of attempts with the offsets in doubt each time: the restored partition reads what is committed.
        return to_restore + waiting

    def _deliver(self, partitions: list[Partition], membership: Membership | None) -> None:
        """Have every output acknowledged, or given up where its topic refuses it, and commit the offsets behind them.

        Raises what :meth:`Broker.deliver` raises.
        """
        offsets = {p.tp: Commit(p.position, p.mark(self._input_partitions).to_metadata()) for p in partitions}
        with _undelivered():
            self._send_again(partitions)
        try:
            self._broker.deliver((), offsets, membership, self._patience())
        except UndeliveredError as error:
            if not error.refused:
                raise
            sent = [Sent(partition, output, output) for partition, outputs in self._sent for output in outputs]
            with _undelivered():
                self._refused.sort_out(sent, error.refused)
            self._broker.deliver((), offsets, membership, self._patience())
        finally:
            self._sent = []

    def _send_again(self, partitions: list[Partition]) -> None:
        if self._incomplete:
            self._sent = []
            for partition in partitions:
                self._send_all(partition, list(partition.outputs))

    def _send_all(self, partition: Partition, outputs: Sequence[Output]) -> None:
        if self._refused.warned:
            self._sent.append((partition, self._refused.send(partition, outputs)))
            return
        for place, output in enumerate(outputs):
            try:
                self._send(partition, output)
            except RefusedError:  # the client knows without asking the broker; from here on we are warned
                self._sent.append((partition, outputs[:place]))
                self._sent.append((partition, self._refused.send(partition, outputs[place:])))
                return
        self._sent.append((partition, outputs))

    def _send(self, partition: Partition, output: Output) -> None:
        topic, key, value, timestamp_ms, _, _ = output
        number = partition.tp.partition if topic in self._same else None
        self._broker.send(topic, key, value, timestamp_ms=timestamp_ms, partition=number)

    def _flush(self) -> None:
        self._broker.flush(self._patience())

    def _wait(self, attempt: int) -> bool:
        """Pause before the next attempt; False when there is none."""
        pause = FIRST_PAUSE_S * 2**attempt
        # No pause that would use up the patience: once a stop was asked for, the checkpoints need what is left of it.
        if attempt == ATTEMPTS - 1 or self._patience() <= pause:
            return False
        time.sleep(pause)
        return True


@contextlib.contextmanager
def _undelivered() -> Iterator[None]:
    """Whatever keeps outputs from being sent leaves the batch undelivered."""
    try:
        yield
    except (FencedError, UndeliveredError):
        raise
    except BrokerError as error:
        raise UndeliveredError(str(error)) from error


DELIVERIES: Mapping[str, Callable[[Broker, OutputConfig, Mapping[str, int], int, Patience], Delivery]] = {
    "at_least_once": AtLeastOnce,
}
"""By the configuration's ``delivery``."""


def judge(broker: Broker, partitions: list[Partition]) -> tuple[list[Partition], list[Partition]]:
    """After a commit in doubt: partitions to commit again, and partitions to restore.

    Those found committed are confirmed and in neither.
    """
    again, restore = [], []
    for partition in partitions:
        try:
            stored = broker.committed(partition.tp)
        except BrokerError:
            again.append(partition)  # without an answer: to commit the same offset twice does no harm
            continue
        mark = None if stored is None else Mark.from_metadata(stored.metadata)
        if stored is None or mark is None or mark.lineage != partition.lineage:
            restore.append(partition)
        elif stored.offset == partition.position:
            partition.confirmed()
        elif stored.offset == partition.committed:
            again.append(partition)
        else:  # somebody else has worked on this partition
            restore.append(partition)
    return again, restore
