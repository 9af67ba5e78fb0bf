"""From polled records to a partition's learner, with care where workers were lost: no record ends them for ever.

A record may end the process (a bug, a lack of memory) or hold it for longer than the group waits. Nothing is committed
then, so the next worker is given it again. Therefore the commit that stands is made again before records are handed to
the learner, with what they are in its mark (``mark.Handed``):

1. A partition's first batch behind a restore. Once something is committed behind it, the mark is gone, so in ordinary
   running this is one commit for each restore, and none for a partition that has no records.
2. Who restores a partition and finds such a mark knows that a worker was lost in that batch. Up to its end every record
   is handed over, sent and committed alone, with a mark of its own before.
3. A record at which workers were lost alone ``SOLITARY_TRIES`` times is quarantined: nothing reads it any more, a dead
   letter tells of it, and the offset moves on. Its ordinal counts as that of any record that cannot be used, so
   learner and digest are those of a log in which it could not be decoded. A replay passes over it.

A try counts only where the record may be to blame. One whose outputs or offset the broker did not take is taken back.
What took longer than the group may have waited is sent only once the standing commit was made again: a worker that was
thrown out learns it there, and has sent nothing.

Left out: a record that ends the process before the client has handed it out, as a batch that cannot be unpacked may.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Sequence
from typing import Protocol

from streamrnn.broker.protocol import Broker, Commit, Membership, Record, TopicPartition
from streamrnn.daemon.delivery import Delivery
from streamrnn.daemon.mark import Handed
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.placement import Placement
from streamrnn.errors import BrokerError, FencedError, RebalanceError, RecordError
from streamrnn.job.job import Job

_log = logging.getLogger(__name__)

SOLITARY_TRIES = 3
"""Losses at a record alone before it is given up, after one in the batch around it. One may be anybody's: a node that
goes, a kill for memory that others used, a deployment; a second one its echo, where a supervisor kills what starts too
slowly. A third in the milliseconds that one record takes is the record's. More would only take longer: supervisors wait
longer and longer between two starts."""

CAREFUL_S = 0.2
"""How long a turn may go on record by record; then the other partitions have theirs."""

PATIENT_SHARE = 0.5
"""Of the session's timeout: what took longer may have cost the worker its place. Heartbeats are far more frequent."""


class Worker(Protocol):
    """The loop, as far as it is needed here. ``membership`` and ``stable`` are as the newest poll found them."""

    job: Job
    broker: Broker
    metrics: Metrics
    delivery: Delivery
    placement: Placement
    membership: Membership | None
    stable: bool
    polled_at: float  # monotonic

    def commit(self) -> None:
        """Send and commit all that was done, of every partition."""

    def hold(self, partition: Partition) -> None:
        """Have what was polled behind the partition's position come again, once the group is stable."""

    def restore_again(self, tp: TopicPartition) -> None:
        """Drop the learner, and restore the partition if it is still this worker's."""

    def patience(self) -> float:
        """Seconds that a request may take."""


class Caution:
    """Hands live records to the partitions of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def hand_over(self, partition: Partition, records: Sequence[Record]) -> None:
        """Predict and learn from ``records``, as cautiously as the mark behind which they lie demands."""
        if partition.careful:
            self._one_by_one(partition, records)
        elif partition.proven or partition.dirty or not self._worker.stable:
            self._predict(partition, records)
        else:
            # By itself, so that the mark names all that may be at fault if the worker is lost.
            self._mark_first_batch(partition, records[-1].offset + 1)
            self._predict(partition, records)
            self._worker.commit()

    def _mark_first_batch(self, partition: Partition, until: int) -> None:
        try:
            self._write(partition, Handed(until))
        except FencedError:
            raise
        except BrokerError as error:  # its own commit will find out; a loss without a mark is one more loss
            _log.info("%s: the first batch goes without a mark: %s", partition.tp, error)

    def _one_by_one(self, partition: Partition, records: Sequence[Record]) -> None:
        until = time.monotonic() + CAREFUL_S
        for place, record in enumerate(records):
            if record.offset >= partition.careful_until:
                partition.careful_until = 0
                _log.info("%s: past the batch at which a worker was lost, at offset %d", partition.tp, record.offset)
                self.hand_over(partition, records[place:])  # as a first batch, if nothing is left of that one
                return
            if partition.dirty or not self._worker.stable or time.monotonic() >= until:
                break
            if not self._hand_over_alone(partition, record):
                break
        else:
            return
        with contextlib.suppress(RebalanceError):  # somebody else's by now, as the next poll will tell
            self._worker.hold(partition)

    def _hand_over_alone(self, partition: Partition, record: Record) -> bool:
        """Try a record, or give it up; False where the next one has to wait."""
        before, tries = partition.standing, lost_at(partition.handed, record.offset)
        if tries >= SOLITARY_TRIES:
            self._quarantine(partition, record, tries)
        else:
            try:
                self._write(partition, Handed(partition.careful_until, record.offset, tries + 1))
            except RebalanceError as error:
                _log.info("%s: offset %d waits for the group to be stable: %s", partition.tp, record.offset, error)
                return False
            if not self._predict(partition, [record]):
                return False
        try:
            self._worker.commit()
        except BrokerError:
            self._take_back(partition, before)
            raise
        return not partition.dirty

    def _quarantine(self, partition: Partition, record: Record, tries: int) -> None:
        detail = (
            f"a worker was lost {tries} times while it had this record alone: it was given up unread, and the learner "
            "has not seen it. Produce it again to have it tried again"
        )
        _log.error(
            "%s: the record at offset %d (key and value: %d bytes) is quarantined: %s",
            partition.tp, record.offset, len(record.key or b"") + len(record.value or b""), detail,
        )  # fmt: skip
        outputs = partition.quarantine(record, RecordError("quarantined", detail))
        self._worker.delivery.collect(partition, outputs)

    def _predict(self, partition: Partition, records: Sequence[Record]) -> bool:
        """Process and send; False where the partition turned out to be somebody else's, and nothing was sent."""
        outputs = partition.process(records)
        if not self._still_ours(partition):
            return False
        started = time.perf_counter()
        self._worker.delivery.collect(partition, outputs)
        self._worker.metrics.phase("send", time.perf_counter() - started)
        return True

    @property
    def _asks_after_s(self) -> float:
        kafka = self._worker.job.config.kafka
        return math.inf if kafka is None else PATIENT_SHARE * kafka.session_timeout_s

    def _still_ours(self, partition: Partition) -> bool:
        """Whether nobody else can have the partition by now: asked only where much time has passed since the poll."""
        took_s = time.monotonic() - self._worker.polled_at
        if took_s < self._asks_after_s or partition.standing is None:
            return True
        try:
            self._commit(partition, partition.standing)
        except RebalanceError as error:
            _log.warning(
                "%s: %.1f s passed over records up to offset %d, longer than the group waits; nothing of them is sent, "
                "restoring: %s",
                partition.tp, took_s, partition.position - 1, error,
            )  # fmt: skip
            self._worker.restore_again(partition.tp)
            return False
        except FencedError:
            raise
        except BrokerError as error:
            _log.info("%s: whether it is still this worker's is not known: %s", partition.tp, error)
        return True

    def _write(self, partition: Partition, handed: Handed) -> None:
        """Commit the present position, which is the committed one, with what is about to be handed over."""
        commit = partition.commit(self._worker.placement.input_partitions, handed)
        self._commit(partition, commit)
        partition.standing, partition.handed = commit, handed

    def _take_back(self, partition: Partition, before: Commit | None) -> None:
        """It is the broker that failed, not the record: put the commit back that stood before the try."""
        if before is not None:
            with contextlib.suppress(BrokerError):
                self._commit(partition, before)

    def _commit(self, partition: Partition, commit: Commit) -> None:
        worker = self._worker
        worker.broker.commit({partition.tp: commit}, worker.membership, worker.patience())


def lost_at(handed: Handed | None, offset: int) -> int:
    """How often a worker was lost while it had the record at ``offset`` alone, as the mark before it says.

    >>> lost_at(Handed(until=40, alone=17, tries=2), 17)
    2
    >>> lost_at(Handed(until=40, alone=17, tries=2), 18), lost_at(Handed(until=40), 17), lost_at(None, 17)
    (0, 0, 0)
    """
    return handed.tries if handed is not None and handed.alone == offset else 0
