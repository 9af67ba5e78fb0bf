"""The loop: poll, process, send, commit, checkpoint.

One thread runs it and is the only one that calls the broker. A batch is what was processed since the last commit.
Changes of the assignment are followed between polls: new partitions arrive paused, are restored, sought and resumed;
partitions given up or lost drop their learner, uncommitted work included, since whoever has them now does the same work
again. Records polled for a learner that is gone are not given to its successor, which seeks for itself.

A checkpoint is only made right after its position was committed. On a stop the batch is finished, committed and
checkpointed, within ``shutdown_timeout_s``.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from streamrnn.broker.protocol import (
    Assigned,
    Broker,
    Lost,
    Membership,
    NothingAssigned,
    Record,
    Revoked,
    TopicPartition,
)
from streamrnn.daemon.delivery import DELIVERIES, REQUEST_TIMEOUT_S, Settled
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.recovery import Recovery
from streamrnn.errors import BrokerError, RebalanceError
from streamrnn.job.job import Job

_log = logging.getLogger(__name__)

MAX_POLL_RECORDS = 5_000
IDLE_POLL_S = 0.2
"""How long a poll waits when nothing is due: also how late a stop is noticed."""
SHOW_INTERVAL_S = 1.0
PROBE_INTERVAL_S = 10.0
"""How often the end of each partition's log is asked for, to judge liveness by what can really be read."""

_KINDS = {Assigned: "assigned", NothingAssigned: "assigned", Revoked: "revoked", Lost: "lost"}


class Loop:
    """Runs one job on one broker until ``stop`` is set.

    ``idle`` is called when a poll returned nothing while every partition is restored and everything is committed; an
    offline run uses it to stop. ``clock`` says when a commit, a report or the end of a stop is due, and must be
    monotonic. ``restored`` is called whenever all partitions assigned have their learners.
    """

    def __init__(
        self,
        job: Job,
        broker: Broker,
        metrics: Metrics,
        health: Health,
        stop: threading.Event,
        idle: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        restored: Callable[[], None] | None = None,
    ) -> None:
        self.job, self.broker, self.metrics, self.health, self.stop = job, broker, metrics, health, stop
        self.partitions: dict[TopicPartition, Partition] = {}
        self._to_restore: dict[TopicPartition, None] = {}  # assigned, paused, without a learner yet; in order
        self._membership: Membership | None = None  # of the newest poll
        self._recovery = Recovery(job, broker, metrics, REQUEST_TIMEOUT_S)
        self._idle, self._restored = idle, restored
        self._stopped_at: float | None = None
        self._clock = clock
        self._committed_at = self._shown_at = self._probed_at = clock()

    def run(self) -> None:
        """Consume until told to stop; returns after a clean drain. Raises what cannot be survived."""
        config, broker = self.job.config, self.broker
        topics = (config.output.topic, config.output.dead_letter_topic)
        counts = {topic: len(broker.partitions(topic)) for topic in (config.input.topic, *topics)}
        if missing := [topic for topic, count in counts.items() if count == 0]:
            raise BrokerError(f"topics {', '.join(missing)} do not exist: create them first")
        deliver = DELIVERIES[config.delivery]
        written = {topic: counts[topic] for topic in topics}
        self.delivery = deliver(broker, config.output, written, counts[config.input.topic], self._patience)
        broker.subscribe(config.input.topic)
        try:
            while not self.stop.is_set():
                self._turn()
            self._drain()
        finally:
            for partition in self.partitions.values():
                partition.close(timeout_s=1.0)

    def _turn(self) -> None:
        # Before the poll, so that partitions waiting for a learner get one; after it, so that no record meets a learner
        # whose partition the poll itself took away.
        self._follow_assignment()
        polled_for = dict(self.partitions)
        started = time.perf_counter()
        polled, self._membership = self.broker.poll(self._poll_timeout(), MAX_POLL_RECORDS)
        self.metrics.phase("poll", time.perf_counter() - started)
        self.metrics.polled(sum(map(len, polled.values())))
        self._follow_assignment()
        for tp, records in polled.items():
            partition = self.partitions.get(tp)
            # The same object: one lost and assigned again within the poll has a new learner, which seeks for itself.
            if partition is not None and partition is polled_for.get(tp):
                self._process(partition, records)
        self._finish_replays()
        if 1000 * (self._clock() - self._committed_at) >= self.job.config.commit_interval_ms:
            self._commit()
        self._report()
        # After the commit, since an idle run may stop here.
        if not polled and self._idle is not None and self._settled():
            self._idle()

    def _process(self, partition: Partition, records: Sequence[Record]) -> None:
        live = partition.replay(records)
        # The replay is judged before the first record is predicted: with another digest its outputs would be wrong.
        if live and self._caught_up(partition):
            outputs = partition.process(live)
            started = time.perf_counter()
            self.delivery.collect(partition, outputs)
            self.metrics.phase("send", time.perf_counter() - started)

    # -- assignment ---------------------------------------------------------------------------------------------------

    def _follow_assignment(self) -> None:
        self._note_assignment()
        waiting = bool(self._to_restore)
        for tp in list(self._to_restore):
            self._restore(tp)
        if waiting and not self._to_restore and self._restored is not None:
            self._restored()

    def _note_assignment(self) -> None:
        for event in self.broker.events():
            tps = () if isinstance(event, NothingAssigned) else event.partitions
            for tp in tps:
                self._drop(tp)  # even when assigned: whoever had it in between may have committed more than we know
                if isinstance(event, Assigned):
                    self._expect(tp)
            if isinstance(event, NothingAssigned) and not (self.partitions or self._to_restore):
                self.health.standby()
            self.metrics.rebalanced(_KINDS[type(event)], len(self.partitions) + len(self._to_restore))
            _log.info("%s: %s", _KINDS[type(event)], ", ".join(map(str, tps)) or "no partition")

    def _expect(self, tp: TopicPartition) -> None:
        self._to_restore[tp] = None
        self.health.assigned(tp)

    def _restore(self, tp: TopicPartition) -> None:
        try:
            partition = self._recovery.restore(tp, self._membership)
        except RebalanceError as error:
            _log.warning("%s: the group changed while it was restored, trying again: %s", tp, error)
            return
        del self._to_restore[tp]
        self.partitions[tp] = partition
        self.broker.resume([tp])
        self._caught_up(partition)

    def _restore_again(self, tp: TopicPartition) -> None:
        # Revoked meanwhile: there is nothing to pause, and the event that says so takes it off the list again.
        with contextlib.suppress(RebalanceError):
            self.broker.pause([tp])
        self._drop(tp)
        self._expect(tp)

    def _drop(self, tp: TopicPartition) -> None:
        self._to_restore.pop(tp, None)
        if (partition := self.partitions.pop(tp, None)) is not None:
            partition.close(timeout_s=5.0)
        self.health.removed(tp)

    def _finish_replays(self) -> None:
        for tp, partition in list(self.partitions.items()):
            if partition.replaying:
                # No record may be left before the committed offset, only a gap, which the client passes by itself.
                partition.pass_gap(min(self.broker.position(tp), partition.replay_until))
            self._caught_up(partition)

    def _caught_up(self, partition: Partition) -> bool:
        """Whether the partition may predict: no replay, or one that ended where the committed run had been."""
        if partition.replaying or partition.caught_up:
            return partition.caught_up
        try:
            self._recovery.finish_replay(partition, self._membership)
        except RebalanceError as error:
            _log.warning("%s: the group changed at the end of its replay, restoring again: %s", partition.tp, error)
            self._restore_again(partition.tp)
            return False
        partition.caught_up = True
        self.health.restored(partition.tp)
        _log.info("%s: caught up at offset %d, predicting", partition.tp, partition.position)
        return True

    # -- commit, checkpoint, report -----------------------------------------------------------------------------------

    def _dirty(self) -> list[Partition]:
        return [p for p in self.partitions.values() if p.caught_up and p.position != p.committed]

    def _settled(self) -> bool:
        """Whether all partitions are restored, and all they did is committed."""
        caught_up = bool(self.partitions) and all(p.caught_up for p in self.partitions.values())
        return caught_up and not self._to_restore and not self._dirty()

    def _commit(self) -> None:
        self._committed_at = self._clock()
        batch = self._dirty()
        if batch:
            started = time.perf_counter()
            try:
                to_restore = self.delivery.commit(batch, self._membership, self._settle)
            except BrokerError:
                self.metrics.commit_failed()
                raise
            self.metrics.committed(time.perf_counter() - started)
            self.metrics.phase("commit", time.perf_counter() - started)
            for partition in to_restore:
                if self.partitions.get(partition.tp) is partition:
                    _log.warning("%s: another position is committed; restoring", partition.tp)
                    self._restore_again(partition.tp)
        # Only where the commit went through: a checkpoint ahead of the committed offset could not be recovered from.
        for partition in self.partitions.values():
            if partition.caught_up and partition.position == partition.committed and partition.checkpoint_due():
                partition.checkpoint()

    def _settle(self) -> Settled:
        """Let the group come to rest after a failed commit."""
        before = dict(self.partitions)
        self._note_assignment()
        # A client rejoins its group while it polls. Paused, so that this poll brings no records, which would be lost.
        self.broker.pause(self.partitions)
        self._membership = self.broker.poll(0.5, 1).membership
        self._note_assignment()
        self.broker.resume(self.partitions)
        owned = {tp for tp, partition in self.partitions.items() if before.get(tp) is partition}
        return Settled(owned, self._membership)

    def _patience(self) -> float:
        """Give a sign of life; returns the seconds a request may take, fewer and fewer once a stop was asked for."""
        self.health.beat()
        if not self.stop.is_set():
            return REQUEST_TIMEOUT_S
        if self._stopped_at is None:
            self._stopped_at = self._clock()
        left = self._stopped_at + self.job.config.shutdown_timeout_s - self._clock()
        return min(REQUEST_TIMEOUT_S, max(0.0, left))

    def _report(self) -> None:
        now = self._clock()
        self.health.beat()
        if now - self._shown_at < SHOW_INTERVAL_S:
            return
        self._shown_at = now
        probe = now - self._probed_at >= PROBE_INTERVAL_S
        for tp, partition in self.partitions.items():
            partition.show(self.broker.lag(tp))
            if probe:
                self.health.progress(tp, partition.position, self._readable(tp, partition))
        if probe:
            self._probed_at = now
        self.metrics.ready(self.health.ready()[0])

    def _readable(self, tp: TopicPartition, partition: Partition) -> int | None:
        """Records that could be read now; None when the broker does not say, which is no evidence of a stall."""
        try:
            # The client's position, which has passed markers and compacted records behind the last one.
            return max(0, self.broker.log_end(tp) - max(partition.position, self.broker.position(tp)))
        except BrokerError:
            return None

    def _poll_timeout(self) -> float:
        if not self._dirty():
            return IDLE_POLL_S
        due = self._committed_at + self.job.config.commit_interval_ms / 1000
        return min(IDLE_POLL_S, max(0.0, due - self._clock()))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._patience()  # the budget begins
        _log.info("stopping: committing and checkpointing; partitions: %d", len(self.partitions))
        self._commit()
        for partition in self.partitions.values():
            if partition.caught_up and partition.position == partition.committed and partition.changed:
                partition.checkpoint()
        for tp, partition in self.partitions.items():
            partition.show(self.broker.lag(tp))
            if not partition.close(max(0.1, self._patience())):
                _log.error("%s: the last checkpoint was not written; the next start replays more", tp)
        self.partitions.clear()
