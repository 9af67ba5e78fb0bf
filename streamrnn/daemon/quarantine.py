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

A replay is marked in the same way, beside the commit it leads to. One in which a worker was lost is repeated in parts
of ``REPLAYED_TOGETHER`` records, and the part in which that happens again one by one. Passing over a record that was
learned leads to another digest, and ``checkpoint.on_inexact`` says whether to go on from there.

What is in hand stands in the mark only while it is: behind each part of a careful replay, and behind every replay, the
mark is written once more without it. A worker that ends in good order, be it for a stop or because the broker failed,
takes it back, as does one that gives the partition up; a stop keeps time for that. So a worker that dies while it
waits, or of a neighbour, costs no record a try. While the group is unstable nothing can be marked, so a first batch
waits.

A record that is given up is counted and logged once the commit that says so is confirmed.
What took longer than the group may have waited is sent only once the standing commit was made again: a worker that was
thrown out learns it there, and has sent nothing.

Left out: a record that ends the process before the client has handed it out, as one may that is in a batch whose
unpacking takes more memory than there is. No mark could help, since what is polled is not known before; the handbook
says how to get past one.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable
from typing import Protocol

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Broker, Commit, Membership, Output, Record, TopicPartition
from streamrnn.daemon.delivery import Delivery
from streamrnn.daemon.mark import Handed
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.placement import Placement
from streamrnn.errors import BrokerError, FencedError, RebalanceError, RecordError, RefusedError, UndeliveredError
from streamrnn.job.job import Job

_log = logging.getLogger(__name__)

SOLITARY_TRIES = 3
"""Losses at a record alone before it is given up, after one in the batch around it. One may be anybody's: a node that
goes, a kill for memory that others used, a deployment; a second one its echo, where a supervisor kills what starts too
slowly. A third in the milliseconds from a record's mark to its commit is taken for the record's. What dies in
those of itself cannot be told from it: where 25 deaths in a row were aimed at the first dozen requests of a start, good
records were given up in an eighth of such series, and with two tries in a quarter. More would only take longer:
supervisors wait longer and longer between two starts."""

REPLAYED_TOGETHER = 500
"""Records of a careful replay between two marks: it takes one loss to find the part, and one to begin with it."""

TAKE_BACK_S = 2.0
"""How long taking back may take: a stop leaves the time for it, see ``stopping``."""

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

    partitions: dict[TopicPartition, Partition]

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

    def hand_over(self, partition: Partition, records: Records) -> None:
        """Predict and learn from ``records``, as cautiously as the mark behind which they lie demands."""
        if partition.careful:
            self._one_by_one(partition, records)
        elif partition.proven or partition.dirty:
            self._predict(partition, records)
        elif not self._worker.stable or not self._mark_first_batch(partition, int(records.offset[-1]) + 1):
            self.hold(partition)
        else:
            # By itself, so that the mark names all that may be at fault if the worker is lost.
            self._predict(partition, records)
            self._worker.commit()

    def _mark_first_batch(self, partition: Partition, until: int) -> bool:
        """False where the batch has to wait for the group."""
        try:
            self._write(partition, Handed(until))
        except RebalanceError as error:
            _log.info("%s: the first batch waits for the group to be stable: %s", partition.tp, error)
            return False
        except FencedError:
            raise
        except BrokerError as error:  # its own commit will find out; a loss without a mark is one more loss
            _log.info("%s: the first batch goes without a mark: %s", partition.tp, error)
        return True

    def hold(self, partition: Partition) -> None:
        """Have what is left of a poll come again."""
        with contextlib.suppress(RebalanceError):  # somebody else's by now, as the next poll will tell
            self._worker.hold(partition)

    def _one_by_one(self, partition: Partition, records: Records) -> None:
        until = time.monotonic() + CAREFUL_S
        for place, offset in enumerate(records.offset.tolist()):
            if offset >= partition.careful_until:
                partition.careful_until = 0
                _log.info("%s: past the batch at which a worker was lost, at offset %d", partition.tp, offset)
                self.hand_over(partition, records[place:])  # as a first batch, if nothing is left of that one
                return
            if partition.dirty or not self._worker.stable or time.monotonic() >= until:
                break
            if not self._hand_over_alone(partition, records[place : place + 1]):
                break
        else:
            return
        self.hold(partition)

    def _hand_over_alone(self, partition: Partition, alone: Records) -> bool:
        """Try a record, or give it up; False where the next one has to wait."""
        record = alone[0]
        tries = lost_at(partition.handed, record.offset)
        if tries >= SOLITARY_TRIES:
            letter = _quarantine(partition, record, tries)
            self._worker.delivery.collect(partition, partition.pass_over(record, letter))
        else:
            try:
                self._write(partition, Handed(partition.careful_until, record.offset, tries + 1))
            except RebalanceError as error:
                _log.info("%s: offset %d waits for the group to be stable: %s", partition.tp, record.offset, error)
                return False
            if not self._predict(partition, alone):
                return False
        self._worker.commit()
        return not partition.dirty

    def _predict(self, partition: Partition, records: Records) -> bool:
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
        partition.before_try = partition.standing  # at first: what got no answer may be stored all the same
        try:
            self._commit(partition, commit)
        except RebalanceError:
            partition.before_try = None
            raise
        partition.standing, partition.handed = commit, handed

    def let_go(self, partitions: Iterable[Partition]) -> None:
        """The worker ends in good order, or gives these up: no record is to blame for what is in hand."""
        offsets = {}
        for partition in partitions:
            before, partition.before_try = partition.before_try, None
            if before is None and partition.replay_marked and partition.replayed is not None:
                before = partition.commit_of_replay(_left(partition, goes_on=False))
            if before is not None:
                offsets[partition.tp] = partition.standing = before
        if not offsets:
            return
        try:
            with self._worker.metrics.committing():
                self._worker.broker.commit(offsets, self._worker.membership, TAKE_BACK_S)
        except BrokerError as error:
            _log.info("what was in hand stands beside the committed offsets, as if a worker had been lost: %s", error)

    def _commit(self, partition: Partition, commit: Commit) -> None:
        worker = self._worker
        with worker.metrics.committing():
            worker.broker.commit({partition.tp: commit}, worker.membership, worker.patience())

    # -- replays ------------------------------------------------------------------------------------------------------

    def replay(self, partition: Partition, records: Records) -> Records:
        """Have the records before the committed offset learned silently; returns those from there on."""
        if not partition.replaying:
            return records
        if partition.lost_replay is not None:
            return self._replay_carefully(partition, records, partition.lost_replay)
        if not partition.replay_marked and self._worker.stable:
            partition.replay_marked = True
            try:
                self._write_replayed(partition, Handed(partition.replay_until))
            except FencedError:
                raise
            except BrokerError as error:
                _log.info("%s: the replay goes without a mark: %s", partition.tp, error)
        return partition.replay(records)  # what follows writes the mark anew, or the loop does at the end of its turn

    def _replay_carefully(self, partition: Partition, records: Records, lost: Handed) -> Records:
        if not partition.replay_marked:
            partition.replay_marked = True
            _log.warning("%s: a worker was lost in this replay; it is repeated in parts", partition.tp)
        self._replay_parts(partition, records, lost)
        self.settle(partition)
        silent = records.before(partition.replay_until)
        return records[len(records) if partition.replaying else silent :]

    def _replay_parts(self, partition: Partition, records: Records, lost: Handed) -> None:
        until = time.monotonic() + CAREFUL_S
        silent = records.before(partition.replay_until)
        place = 0
        while place < silent:
            part = records[place : min(silent, place + _together(lost, records[place:silent]))]
            if not self._worker.stable or time.monotonic() >= until or not self._replay_part(partition, part, lost):
                self.hold(partition)
                return
            place += len(part)
        if silent < len(records):
            partition.replay(records[silent:])  # none of them is: this says that there are no more before

    def _replay_part(self, partition: Partition, part: Records, lost: Handed) -> bool:
        """Replay some records, marked if a worker may be lost at them; False where they have to wait."""
        first, until = int(part.offset[0]), int(part.offset[-1]) + 1
        alone = lost.since <= first < lost.until and lost.since >= 0
        tries = lost_at(lost, first)
        try:
            if alone and first in partition.quarantined:
                pass  # nothing reads it
            elif alone and tries >= SOLITARY_TRIES:
                if not self._quarantine_replayed(partition, part[0], tries, lost):
                    return False
            elif alone:
                self._write_replayed(partition, Handed(lost.until, first, tries + 1, lost.since))
            elif first >= lost.since:
                self._write_replayed(partition, Handed(until, since=first))
            elif partition.replayed == lost:  # up to where a worker was lost: should this one be lost before, it is not
                self._write_replayed(partition, Handed(lost.since))  # the record's fault
        except RebalanceError as error:
            _log.info("%s: the replay waits for the group to be stable: %s", partition.tp, error)
            return False
        partition.replay(part)
        return True

    def _quarantine_replayed(self, partition: Partition, record: Record, tries: int, lost: Handed) -> bool:
        """Have the dead letter written, and then the mark; False where that has to wait."""
        worker = self._worker
        worker.commit()  # so that nothing else is on its way
        if any(each.dirty for each in worker.partitions.values()):
            return False
        topic, key, value, timestamp_ms, _, _ = _quarantine(partition, record, tries)
        number = worker.placement.of(topic, partition.tp.partition)
        try:
            worker.broker.send(topic, key, value, timestamp_ms=timestamp_ms, partition=number)
            worker.broker.flush(worker.patience())
        except RefusedError as error:
            _log.warning("%s: its dead letter is given up: %s", partition.tp, error)
        except UndeliveredError as error:
            if not error.refused:
                raise
            _log.warning("%s: its dead letter is given up: %s", partition.tp, error)
        # From then on nothing reads it, whether or not this commit is made: a later one says it as well.
        self._write_replayed(partition, Handed(lost.until, since=record.offset + 1))
        return True

    def settle(self, partition: Partition) -> None:
        """Between two parts, and behind the last: have the standing commit say that none is in hand."""
        if not partition.replay_marked or partition.replayed is None or not self._worker.stable:
            return
        left = _left(partition, goes_on=True)
        if left == partition.replayed:
            return
        try:
            self._write_replayed(partition, left)
        except FencedError:
            raise
        except BrokerError as error:  # the next turn does it
            _log.info("%s: that records are replayed stands beside the committed offset: %s", partition.tp, error)

    def _write_replayed(self, partition: Partition, replayed: Handed | None) -> None:
        commit = partition.commit_of_replay(replayed)
        if commit is not None:
            self._commit(partition, commit)
            partition.standing, partition.replayed = commit, replayed
            partition.tell_of_quarantined()


def _left(partition: Partition, *, goes_on: bool) -> Handed | None:
    """What a mark has to say of a replay of which nothing is in hand: where workers were lost, and not yet passed."""
    lost, position = partition.lost_replay, partition.position
    if not partition.replaying:
        return None
    if lost is None:  # parts are only known of once a worker was lost
        return partition.replayed if goes_on else None
    if position < lost.since:
        return partition.replayed if goes_on else lost
    until = max(lost.until, position) if lost.since >= 0 else position
    return Handed(until, since=position) if lost.alone < position else Handed(until, lost.alone, lost.tries, position)


def _quarantine(partition: Partition, record: Record, tries: int) -> Output:
    doing = ", in a replay" if partition.replaying else ""
    detail = (
        f"a worker was lost {tries} times while it had this record alone{doing}: it was given up unread. Produce it "
        "again to have it tried again"
    )
    return partition.quarantine(record, RecordError("quarantined", detail))


def _together(lost: Handed, records: Records) -> int:
    """How many of the next ``records`` are replayed at once, where a worker was lost in the replay of ``lost``."""
    first = int(records.offset[0])
    if first < lost.since:  # where none was
        return records.before(lost.since)
    return 1 if first < lost.until and lost.since >= 0 else REPLAYED_TOGETHER


def lost_at(handed: Handed | None, offset: int) -> int:
    """How often a worker was lost while it had the record at ``offset`` alone, as the mark before it says.

    >>> lost_at(Handed(until=40, alone=17, tries=2), 17)
    2
    >>> lost_at(Handed(until=40, alone=17, tries=2), 18), lost_at(Handed(until=40), 17), lost_at(None, 17)
    (0, 0, 0)
    """
    return handed.tries if handed is not None and handed.alone == offset else 0
