"""How a batch is committed: the one thing deliveries differ in.

At least once, in this order:
  1. every output of the batch is acknowledged by the broker;
  2. the offsets behind the batch are committed, with ordinal, lineage and digest in their metadata.
A crash between the two sends the batch again after the restart: duplicates with the same bytes, nothing lost. The
learner is never rolled back; it is deterministic, and what it predicted stays true.

What a topic refuses for the sake of single records is sorted out (:mod:`streamrnn.daemon.refused`). When 1 fails
otherwise, the same bytes are sent again. A commit that a rebalance refuses is not repeated on the spot, which would
keep the group from coming to rest: the batch grows until the group is stable and is committed then. Before, the
committed offset of each partition that was refused is read: one that this learner has offered itself is no surprise;
anything else, somebody else has worked on the partition, and it is dropped and restored. When a commit gets no answer,
it is read at once. A partition that is given up is committed on the way out, in one attempt: whoever has it next does
again what this one could not commit. A delivery by transactions differs in that 1 and 2 fail together, so that it hands
over outputs whenever it commits again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Broker, Commit, Membership, Output, TopicPartition
from streamrnn.daemon.mark import Mark
from streamrnn.daemon.outgoing import batches
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.placement import Placement
from streamrnn.daemon.refused import Refused, Sent
from streamrnn.errors import BrokerError, FencedError, RebalanceError, RefusedError, UndeliveredError
from streamrnn.job.config import OutputConfig

_log = logging.getLogger(__name__)

ATTEMPTS = 6
"""Tries to get a batch through a broker that is away, with pauses of 1, 2, 4, 8 and 16 seconds between them; then the
process stops with an error and whoever supervises it starts it again. Nothing is lost by that."""

FIRST_PAUSE_S = 1.0

REQUEST_TIMEOUT_S = 20.0

HAND_OVER_S = 0.5
"""How long what is given up may keep the partitions that stay waiting."""

Patience = Callable[[], float]
"""Gives a sign of life; returns the seconds a request may take, fewer and fewer once a stop was asked for."""


class Settled(NamedTuple):
    """After a failure: partitions still owned with their learners, under which membership, and if commits may pass."""

    owned: set[TopicPartition]
    membership: Membership | None
    stable: bool = True


class Delivery(Protocol):
    """What becomes of a batch: its outputs as they arise, and its end."""

    def collect(self, partition: Partition, outputs: list[Outputs]) -> None:
        """Outputs of the present batch, in order. ``partition.outputs`` holds them as well until they are committed."""

    def commit(
        self, partitions: list[Partition], membership: Membership | None, settle: Callable[[], Settled]
    ) -> list[Partition]:
        """Deliver and commit everything these partitions did; returns those that must be dropped and restored.

        ``membership`` is that of the newest poll, which found the group stable. What a rebalance refuses stays
        uncommitted: call again once it is over. ``settle`` polls, after a failure, to see what is still owned. Raises
        FencedError when another worker holds this one's place, BrokerError when the broker stays away.
        """

    def hand_over(self, partitions: list[Partition], membership: Membership | None) -> None:
        """Deliver and commit, in one attempt, what these partitions did, because they are being given up.

        Raises BrokerError when that failed: their next owner does it again.
        """


class AtLeastOnce:
    """Sends outputs as they come and commits offsets behind them."""

    def __init__(
        self,
        broker: Broker,
        to: OutputConfig,
        placement: Placement,
        patience: Patience,
        failed: Callable[[], None],
    ) -> None:
        self._broker, self._placement, self._patience, self._failed = broker, placement, patience, failed
        self._refused = Refused(to, self._send, self._flush)
        self._sent: list[tuple[Partition, Outputs]] = []  # since the last flush, in order
        self._incomplete = False  # some output of the batch could not be handed over, or was not acknowledged

    def collect(self, partition: Partition, outputs: list[Outputs]) -> None:
        """Send the outputs right away; ``commit`` makes sure of them."""
        if self._incomplete:
            return  # the whole batch goes again at its commit, in order: nothing may overtake what failed
        try:
            for batch in outputs:
                self._send_all(partition, batch)
        except FencedError:
            raise
        except BrokerError as error:
            self._tell("%s: sending failed, the commit will send the batch again: %s", partition.tp, error)
            self._incomplete = True

    def commit(
        self, partitions: list[Partition], membership: Membership | None, settle: Callable[[], Settled]
    ) -> list[Partition]:
        """See :class:`Delivery`."""
        doubtful = [p for p in partitions if p.offered]
        again, to_restore = judge(self._broker, doubtful)
        waiting = [p for p in partitions if p not in doubtful or p in again]
        for attempt in range(ATTEMPTS):
            if not waiting:
                break
            try:
                self._deliver(waiting, membership)
                self._incomplete = False
                break
            except FencedError:
                raise
            except UndeliveredError as error:
                if not self._wait(attempt):
                    raise
                self._tell("outputs were not acknowledged, sending the batch again: %s", error)
                self._placement.look_again()
                continue
            except RebalanceError as error:
                self._incomplete = False  # the offsets were refused, the outputs are there
                _log.warning("the group changed during a commit, committing once it is stable: %s", error)
                break
            except BrokerError as error:
                self._incomplete = False  # the offsets are in doubt, the outputs are not
                if not self._wait(attempt):
                    raise
                self._tell("commit in doubt, reading back what is committed: %s", error)
            owned, membership, stable = settle()
            waiting, dropped = judge(self._broker, [p for p in waiting if p.tp in owned])
            to_restore += dropped
            if not stable:
                break
        return to_restore

    def hand_over(self, partitions: list[Partition], membership: Membership | None) -> None:
        """See :class:`Delivery`."""
        self._deliver(partitions, membership, HAND_OVER_S)

    def _deliver(
        self, partitions: list[Partition], membership: Membership | None, most_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        """Have every output acknowledged, or given up where its topic refuses it, and commit the offsets behind them.

        Raises what :meth:`Broker.deliver` raises, and keeps in mind what is in doubt by that.
        """
        offsets = {p.tp: p.commit(self._placement.input_partitions) for p in partitions}
        try:
            self._deliver_offsets(partitions, offsets, membership, most_s)
        except UndeliveredError:
            self._incomplete = True
            self._failed()
            raise
        except BrokerError:
            for partition in partitions:
                partition.offered.add(partition.position)
            self._failed()
            raise
        for partition in partitions:
            partition.confirmed(offsets[partition.tp])

    def _deliver_offsets(
        self,
        partitions: list[Partition],
        offsets: Mapping[TopicPartition, Commit],
        membership: Membership | None,
        most_s: float,
    ) -> None:
        with _undelivered():
            self._send_again(partitions)
        try:
            self._broker.deliver((), offsets, membership, min(most_s, self._patience()))
        except UndeliveredError as error:
            if not error.refused:
                raise
            sent = [Sent(partition, output, output) for partition, batch in self._sent for output in batch]
            with _undelivered():
                self._refused.sort_out(sent, error.refused)
            self._broker.deliver((), offsets, membership, min(most_s, self._patience()))
        finally:  # a flush forgets what was sent before it, whatever came of it
            self._sent = self._refused.outstanding()

    def _send_again(self, partitions: list[Partition]) -> None:
        if self._incomplete:
            for partition in partitions:
                for batch in list(partition.outputs):  # which change where some are refused
                    self._send_all(partition, batch)

    def _send_all(self, partition: Partition, outputs: Outputs) -> None:
        place = 0
        if not self._refused.warned:
            number = self._placement.of(outputs.topic, partition.tp.partition)
            try:
                self._broker.send_all(outputs, number)
            except BrokerError as error:
                place = error.place
                self._sent.append((partition, outputs[:place]))
                if not isinstance(error, RefusedError):
                    raise
                # The client knows without asking the broker; the rest is looked at before.
            else:
                self._sent.append((partition, outputs))
                return
        handed_over: list[Output] = []
        try:
            self._refused.send(partition, outputs[place:], handed_over)
        finally:  # what was sent before an error counts all the same
            self._sent += [(partition, batch) for batch in batches(handed_over)]

    def _send(self, partition: Partition, output: Output) -> None:
        topic, key, value, timestamp_ms, _, _ = output
        number = self._placement.of(topic, partition.tp.partition)
        self._broker.send(topic, key, value, timestamp_ms=timestamp_ms, partition=number)

    def _flush(self) -> None:
        self._broker.flush(self._patience())

    def _tell(self, text: str, *arguments: object) -> None:
        """A warning, unless the broker is away: that is told as a whole, see ``outage``."""
        away = self._broker.connectivity().away_since is not None
        _log.log(logging.DEBUG if away else logging.WARNING, text, *arguments)

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


DELIVERIES: Mapping[str, Callable[[Broker, OutputConfig, Placement, Patience, Callable[[], None]], Delivery]] = {
    "at_least_once": AtLeastOnce,
}
"""By the configuration's ``delivery``. The last argument is called whenever a commit failed or stayed in doubt."""


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
            partition.confirmed(stored)
        elif stored.offset == partition.committed or stored.offset in partition.offered:
            again.append(partition)
        else:  # somebody else has worked on this partition
            restore.append(partition)
    return again, restore
