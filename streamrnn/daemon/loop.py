"""The loop: poll, process, send, commit, checkpoint.

One thread runs it and is the only one that calls the broker. A batch is what was processed since the last commit.
Changes of the assignment are followed between polls: new partitions arrive paused and are restored, sought and resumed,
one a turn; partitions given up are committed and checkpointed on the way out; those lost drop their learner,
uncommitted work included, since whoever has them now does the same work again. Records polled for a learner that is
gone are not given to its successor, which seeks for itself.

A rebalance stops nothing that it does not move: records of the other partitions go on being predicted, and what they
did is committed once the group is stable. It is their own then as it was before, see ``Polled``.

A checkpoint is only made right after its position was committed. On a stop the batch is finished, committed and
checkpointed, and the worker leaves its group, within ``shutdown_timeout_s``.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

from streamrnn.broker.columns import Records
from streamrnn.broker.protocol import Assigned, Broker, Lost, Membership, NothingAssigned, Revoked, TopicPartition
from streamrnn.daemon.background import Background
from streamrnn.daemon.behind import lags, readable
from streamrnn.daemon.delivery import DELIVERIES, REQUEST_TIMEOUT_S, Settled
from streamrnn.daemon.durations import Durations
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.pace import MOST, Pace
from streamrnn.daemon.partition import Partition
from streamrnn.daemon.placement import Placement
from streamrnn.daemon.quarantine import Caution
from streamrnn.daemon.questions import Questions
from streamrnn.daemon.recovery import Recovery
from streamrnn.daemon.saving import Copier
from streamrnn.daemon.stopping import TAKE_BACK_SHARE, WORK_SHARE
from streamrnn.errors import (
    BrokerError,
    CheckpointError,
    DivergedError,
    FencedError,
    RebalanceError,
    RecoveryError,
    UnsavedError,
)
from streamrnn.job.job import Job

_log = logging.getLogger(__name__)

IDLE_POLL_S = 0.2
"""How long a poll waits when nothing is due: also how late a stop is noticed."""
REBALANCE_POLL_S, REBALANCE_RECORDS = 0.05, 500
"""While the group rebalances: every member waits for the others, so nobody is away for long."""
RESTORE_POLL_S = 0.01
"""While partitions wait for their learners, or a checkpoint is copied."""
MAX_UNCOMMITTED = 200_000
"""Outputs kept for a commit that was refused or waits for the group. Beyond that, records wait: memory has an end."""
HAND_OVER_S = 0.5
"""How long the checkpoint of a partition that is given up may keep the others waiting. It saves a replay."""
REST_S, LEAVE_S = 5.0, 4.0
"""How long a stop waits for a rebalance to end, before it leaves without a commit; and how long leaving may take."""
SHOW_INTERVAL_S = 1.0
PROBE_INTERVAL_S = 10.0
"""How often the end of each partition's log is asked for, to judge liveness by what can really be read."""

_KINDS = {Assigned: "assigned", NothingAssigned: "assigned", Revoked: "revoked", Lost: "lost"}


class Loop:
    """Runs one job on one broker until ``stop`` is set.

    ``idle`` is called when a poll returned nothing while every partition is restored and everything is committed; an
    offline run uses it to stop. ``clock`` says when a commit, a report or the end of a stop is due, and must be
    monotonic. ``restored`` is called whenever all partitions assigned have their learners. Checkpoints are read in the
    ``background`` where there is one, so that polls and other partitions go on. ``questions`` are answered every turn.
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
        background: Background | None = None,
        questions: Questions | None = None,
    ) -> None:
        self.job, self.broker, self.metrics, self.health, self.stop = job, broker, metrics, health, stop
        self.partitions: dict[TopicPartition, Partition] = {}
        self._to_restore: dict[TopicPartition, None] = {}  # assigned, paused, without a learner yet; in order
        self._held: set[TopicPartition] = set()  # paused until the group is stable: a commit has to be made first
        self.membership: Membership | None = None  # of the newest poll
        self.stable = True  # as the newest poll found the group
        self._recovery = Recovery(job, broker, metrics, REQUEST_TIMEOUT_S, background)
        self._idle, self._restored = idle, restored
        self._questions = questions or Questions()
        self._stopped_at: float | None = None
        self.subscribed = False  # before that, there is nothing to drain
        self.polled_at = -math.inf
        self.clock = clock
        self._durations, self._pace, self._copier = Durations(metrics, clock), Pace(), Copier(metrics)
        broker.hurry(self._time_left)
        self._committed_at = self._shown_at = self._probed_at = clock()

    def run(self) -> None:
        """Consume until told to stop; returns after a clean drain. Raises what cannot be survived."""
        config, broker = self.job.config, self.broker
        self.placement = Placement(broker, config.input.topic, (config.output.topic, config.output.dead_letter_topic))
        deliver, failed = DELIVERIES[config.delivery], self.metrics.commit_failed
        self.delivery = deliver(broker, config.output, self.placement, self.patience, failed)
        self._caution = Caution(self)
        broker.subscribe(config.input.topic)
        self.subscribed = True
        try:
            while not self.stop.is_set():
                self._turn()
            self._drain()
        except (BrokerError, CheckpointError, DivergedError, RecoveryError) as error:  # not what a record does
            if not isinstance(error, FencedError):
                self._caution.let_go(self.partitions.values())
            raise
        finally:
            until = self.clock() + 1.0  # for all of them, however many hang in the same disk
            for partition in self.partitions.values():
                partition.close(max(0.0, min(until - self.clock(), self._time_left())))

    def _turn(self) -> None:
        # Before the poll, so that partitions waiting for a learner get one; after it, so that no record meets a learner
        # whose partition the poll itself took away.
        self._follow_assignment()
        refused = not self.stable or any(p.offered for p in self.partitions.values())
        if refused and sum(p.waiting for p in self.partitions.values()) >= MAX_UNCOMMITTED:
            self._poll_without_records()
            if self.stable and self._due():
                self.commit()
            self._report()
            return
        polled_for, of_all, committed_at = dict(self.partitions), not self._held, self._committed_at
        started, self.polled_at = time.perf_counter(), time.monotonic()
        limit = min(self._pace.records, MOST if self.stable else REBALANCE_RECORDS)
        polled, self.membership, self.stable = self.broker.poll(self._poll_timeout(), limit)
        self.metrics.phase("poll", time.perf_counter() - started)
        self.metrics.polled(sum(map(len, polled.values())))
        self._durations.polled(stable=self.stable)
        self._note_assignment()
        with self._pace.turn():
            for tp, records in polled.items():
                partition = self.partitions.get(tp)
                # The same object: one lost and assigned again within the poll has a new learner, which seeks itself.
                if partition is not None and partition is polled_for.get(tp):
                    self._process_in_pieces(partition, records)
        self._finish_replays()
        if (
            self._due() and self.stable and self._committed_at == committed_at
        ):  # one that was refused is not repeated at once
            self.commit()
        self._copier.go_on(self.partitions.values())
        self._report()
        # After the commit, since an idle run may stop here.
        if not polled and of_all and self._idle is not None and self._settled():
            self._idle()

    def _process_in_pieces(self, partition: Partition, records: Records) -> None:
        """Hand on what the turn has time for, at least a piece; the rest is polled again."""
        for piece in self._pace.pieces(records, self.stop.is_set):
            self._process(partition, piece)
            self.health.beat()
            self._copier.go_on(self.partitions.values())
            if self.partitions.get(partition.tp) is not partition or partition.tp in self._held:
                return
        if partition.position <= records.offset[-1]:
            self._caution.hold(partition)

    def _process(self, partition: Partition, records: Records) -> None:
        live = self._caution.replay(partition, records)
        # The replay is judged before the first record is predicted: with another digest its outputs would be wrong.
        if live and self._caught_up(partition):
            self._durations.handed_over()
            self._caution.hand_over(partition, live)

    # -- assignment ---------------------------------------------------------------------------------------------------

    def _follow_assignment(self) -> None:
        self._note_assignment()
        if not self._to_restore or self.stop.is_set():  # on a stop, a learner that nobody will use
            return
        # One a turn: restoring takes a moment, in which the other partitions are silent and the group may be waiting.
        if (tp := next(filter(self._recovery.ready, self._to_restore), None)) is not None:
            self._restore(tp)
        if not self._to_restore and self._restored is not None:
            self._restored()

    def _note_assignment(self) -> None:
        for event in self.broker.events():
            tps = () if isinstance(event, NothingAssigned) else event.partitions
            if isinstance(event, Revoked):
                self._hand_over([self.partitions[tp] for tp in tps if tp in self.partitions])
            for tp in tps:
                self._drop(tp)  # even when assigned: whoever had it in between may have committed more than we know
                if isinstance(event, Assigned):
                    self._expect(tp)
            if isinstance(event, NothingAssigned) and not (self.partitions or self._to_restore):
                self.health.standby()
            kind, numbers = _KINDS[type(event)], [tp.partition for tp in tps]
            self.metrics.rebalanced(kind, len(self.partitions) + len(self._to_restore))
            fields = {"event": kind, "topic": self.job.config.input.topic, "partitions": numbers}
            _log.info("%s: %s", kind, ", ".join(map(str, tps)) or "no partition", extra={"fields": fields})

    def _hand_over(self, partitions: Sequence[Partition]) -> None:
        """Commit and checkpoint what is being given up, so that its next owner goes on where this one was."""
        if (dirty := [p for p in partitions if p.dirty]) and self.stable:
            try:
                self.delivery.hand_over(dirty, self.membership)
                self._durations.committed(waiting=len(self._dirty()))
            except FencedError:
                raise
            except BrokerError as error:
                _log.info("given up without a commit, the next owner does some records again: %s", error)
        self._caution.let_go(partitions)
        for partition in partitions:
            if partition.saving.possible and partition.saving.changed:
                partition.saving.last()

    def _expect(self, tp: TopicPartition) -> None:
        self._to_restore[tp] = None
        self.health.assigned(tp)
        self._durations.assigned(tp)

    def _restore(self, tp: TopicPartition) -> None:
        if not self.stable and self.broker.committed(tp) is None:
            return  # a first start commits, which would be refused now
        started = time.perf_counter()
        try:
            self.placement.cover(tp.partition)
            partition = self._recovery.restore(tp, self.membership)
        except RebalanceError as error:
            _log.warning("%s: the group changed while it was restored, trying again: %s", tp, error)
            return
        finally:
            self.metrics.phase("restore", time.perf_counter() - started)
        del self._to_restore[tp]
        self.partitions[tp] = partition
        self._durations.restored(tp)
        self.broker.resume([tp])
        self.health.replaying(tp)
        self._caught_up(partition)

    def restore_again(self, tp: TopicPartition) -> None:
        # Revoked meanwhile: there is nothing to pause, and the event that says so takes it off the list again.
        with contextlib.suppress(RebalanceError):
            self.broker.pause([tp])
        self._drop(tp)
        self._expect(tp)

    def _drop(self, tp: TopicPartition) -> None:
        self._to_restore.pop(tp, None)
        self._held.discard(tp)
        self._recovery.forget(tp)
        self._durations.dropped(tp)
        self._durations.given_up(waiting=len(self._dirty()))
        if (partition := self.partitions.pop(tp, None)) is not None:
            partition.close(min(HAND_OVER_S, self._time_left()))
        self.health.removed(tp)

    def _finish_replays(self) -> None:
        for tp, partition in list(self.partitions.items()):
            if partition.replaying:
                # No record may be left before the committed offset, only a gap, which the client passes by itself.
                partition.pass_gap(min(self.broker.position(tp), partition.replay_until))
            self._caution.settle(partition)
            self._caught_up(partition)

    def _caught_up(self, partition: Partition) -> bool:
        """Whether the partition may predict: no replay, or one that ended where the committed run had been."""
        if partition.replaying or partition.caught_up:
            if self.stable:
                self._release(partition)
            return partition.caught_up
        if not self.stable and self._recovery.will_commit(partition):
            self.hold(partition)
            return False
        try:
            self._recovery.finish_replay(partition, self.membership)
        except RebalanceError as error:
            _log.warning("%s: the group changed at the end of its replay, restoring again: %s", partition.tp, error)
            self.restore_again(partition.tp)
            return False
        partition.caught_up = True
        self._release(partition)
        self.health.restored(partition.tp)
        self._durations.caught_up(partition.tp)
        _log.info("%s: caught up at offset %d, predicting", partition.tp, partition.position)
        return True

    def hold(self, partition: Partition) -> None:
        """Let records from here on come once the group is stable: a commit has to be made before them."""
        if partition.tp not in self._held and self.partitions.get(partition.tp) is partition:
            self._held.add(partition.tp)
            self.broker.pause([partition.tp])
            self.broker.seek(partition.tp, partition.position)

    def _release(self, partition: Partition) -> None:
        if partition.tp in self._held:
            self._held.discard(partition.tp)
            self.broker.resume([partition.tp])

    # -- commit, checkpoint, report -----------------------------------------------------------------------------------

    def _dirty(self) -> list[Partition]:
        return [p for p in self.partitions.values() if p.dirty]

    def _settled(self) -> bool:
        """Whether all partitions are restored, and all they did is committed."""
        caught_up = bool(self.partitions) and all(p.caught_up for p in self.partitions.values())
        return caught_up and not self._to_restore and not self._dirty()

    def _due(self) -> bool:
        return 1000 * (self.clock() - self._committed_at) >= self.job.config.commit_interval_ms

    def commit(self) -> None:
        self._committed_at = self.clock()
        batch = self._dirty()
        if batch:
            started = time.perf_counter()
            to_restore = self.delivery.commit(batch, self.membership, self._settle)
            self.metrics.committed(time.perf_counter() - started)
            self._durations.committed(waiting=len(self._dirty()))
            self.metrics.phase("commit", time.perf_counter() - started)
            for partition in to_restore:
                if self.partitions.get(partition.tp) is partition:
                    _log.warning("%s: another position is committed; restoring", partition.tp)
                    self.restore_again(partition.tp)
        self._copier.begin_due(self.partitions.values())

    def _settle(self) -> Settled:
        """See what the group says after a failed commit."""
        before = dict(self.partitions)
        self._poll_without_records()
        owned = {tp for tp, partition in self.partitions.items() if before.get(tp) is partition}
        return Settled(owned, self.membership, self.stable)

    def _poll_without_records(self) -> None:
        self._note_assignment()
        # A client moves a rebalance on while it polls. Paused, since records that this poll brought would be lost.
        self.broker.pause(self.partitions)
        _, self.membership, self.stable = self.broker.poll(REBALANCE_POLL_S, 1)
        self._durations.polled(stable=self.stable)
        self._note_assignment()
        self.broker.resume(tp for tp in self.partitions if tp not in self._held)

    def patience(self) -> float:
        """Give a sign of life; returns the seconds a request may take, fewer and fewer once a stop was asked for."""
        self.health.beat()
        return min(REQUEST_TIMEOUT_S, self._time_left())

    def _time_left(self) -> float:
        """Seconds until the work has to be done; infinite while no stop was asked for."""
        if not self.stop.is_set():
            return math.inf
        if self._stopped_at is None:
            self._stopped_at = self.clock()
        share = WORK_SHARE
        if any(partition.in_hand for partition in self.partitions.values()):
            share -= TAKE_BACK_SHARE  # or a stop during an outage would look like the loss of a worker
        return max(0.0, self._stopped_at + share * self.job.config.shutdown_timeout_s - self.clock())

    def _report(self) -> None:
        now = self.clock()
        self.health.beat()
        self._questions.answer(self.partitions, self._to_restore)
        if now - self._shown_at < SHOW_INTERVAL_S:
            return
        self._shown_at = now
        probe = now - self._probed_at >= PROBE_INTERVAL_S
        for tp, lag in lags(self.broker, self.partitions).items():
            partition = self.partitions[tp]
            partition.show(lag)
            self.health.seen(tp, partition.position, lag)
            if probe:
                self.health.progress(tp, partition.position, readable(self.broker, partition))
        if probe and self.broker.connectivity().away_since is None:
            self._probed_at = now
        self.metrics.ready(self.health.ready()[0])
        self._questions.show(self.partitions.values())

    def _poll_timeout(self) -> float:
        if not self.stable:
            return REBALANCE_POLL_S
        if self._to_restore or self._copier.hurries(self.partitions.values()):
            return RESTORE_POLL_S
        if not self._dirty():
            return IDLE_POLL_S
        due = self._committed_at + self.job.config.commit_interval_ms / 1000
        return min(IDLE_POLL_S, max(0.0, due - self.clock()))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self.patience()  # the budget begins
        _log.info("stopping: committing and checkpointing; partitions: %d", len(self.partitions))
        self._commit_for_good()
        self._caution.let_go(self.partitions.values())
        for partition in self.partitions.values():
            if partition.saving.possible and partition.saving.changed:
                partition.saving.last()
        unsaved: list[TopicPartition] = []
        for tp, partition in self.partitions.items():
            partition.show(self.broker.lag(tp))
            if not partition.close(max(0.1, self.patience())):
                _log.error("%s: the last checkpoint was not written; the next start replays more", tp)
                unsaved.append(tp)
        self.partitions.clear()
        self._leave()
        if unsaved:
            raise UnsavedError(
                f"the last checkpoint of {', '.join(map(str, unsaved))} was not written to "
                f"{self.job.config.checkpoint.directory}: the next start replays the log since the one before, which "
                "must still be there then"
            )

    def _commit_for_good(self) -> None:
        """Commit what is left, after a rebalance that may be under way."""
        deadline = self.clock() + min(REST_S, self.job.config.shutdown_timeout_s / 2)
        while True:
            if self.stable:
                self.commit()
            if not self._dirty():
                return
            if self.clock() >= deadline:
                _log.warning("stopping in the middle of a rebalance, without a commit: records since are done again")
                return
            self._poll_without_records()

    def _leave(self) -> None:
        if self.job.config.kafka is None or not self.job.config.kafka.leave_on_stop:
            return
        try:
            if self.broker.leave(min(LEAVE_S, self.patience())):
                _log.info("left the group; others have the partitions")
        except BrokerError as error:
            _log.warning("the group was not told of the stop, its partitions wait until the session ends: %s", error)
