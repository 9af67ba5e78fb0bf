"""From a newly assigned partition to a learner at the committed offset.

The first assignment ever resolves the start offset, writes the genesis checkpoint of a new lineage, commits, and
begins; ``model.warm_start`` is what that checkpoint holds, or a blank learner. A partition that was added after the
group began is read from its beginning; of one that has checkpoints and no committed offset the offset was lost, and
``checkpoint.on_lost_offsets`` decides, unless a first start was interrupted before its commit (see ``uncommitted``).

Later: the newest valid checkpoint of the committed lineage at or below the committed offset is loaded and the log is
replayed from there. If the log no longer reaches back, ``checkpoint.on_gap`` decides; if the replay arrives with
another ordinal or digest, ``checkpoint.on_inexact`` does; if the topic is another one, ``checkpoint.on_new_topic``.
Going on in any case is an intervention: it starts a new lineage with its own genesis checkpoint, so that recovery never
mixes the two. So is going on under other settings, see ``changeover``.

The only thing written to the broker is the commit that begins a lineage, or that replaces a lost one. Nothing is ever
rolled back.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future

from streamrnn.broker.protocol import Broker, Commit, Membership, TopicPartition
from streamrnn.daemon import changeover
from streamrnn.daemon.background import Background
from streamrnn.daemon.mark import AFRESH, WAITING, Mark
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.opening import open_administration
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.placement import KEYS_MOVED
from streamrnn.daemon.restored import Restored, Restoring
from streamrnn.daemon.restored import began_with as began_with_of
from streamrnn.daemon.uncommitted import began_with, lineages_of, newest_of_all, newest_readable, not_begun, way_back
from streamrnn.errors import BrokerError, CheckpointError, RebalanceError, RecoveryError
from streamrnn.job.job import Job
from streamrnn.storage.checkpoints import Rejected, Used
from streamrnn.storage.fingerprints import changes
from streamrnn.storage.manifest import Manifest, new_lineage
from streamrnn.storage.snapshot import take_snapshot
from streamrnn.system.side_by_side import threads

_log = logging.getLogger(__name__)

_FRESH_S = 1.0
_WAITED_ANEW = "%s: %d events waited in what was learned for those behind them; nothing will be predicted of them"
_WAITED_AT_A_GAP = (
    "%s: %d events wait in the checkpoint for those behind them: they are predicted from what comes behind the gap, "
    "some of them again; of others that waited since nothing will be predicted"
)


class Recovery:
    """Restores the partitions of one job from one broker's log and the job's checkpoints."""

    def __init__(
        self, job: Job, broker: Broker, metrics: Metrics, timeout_s: float, background: Background | None = None
    ) -> None:
        self._job, self._broker, self._metrics, self._timeout_s = job, broker, metrics, timeout_s
        self._background = background
        self._reading: dict[TopicPartition, tuple[Commit, Future[Used[Restored]]]] = {}
        self._id, self._id_fresh_until = "", 0.0  # of the topic; "" is asked for again
        self._began_with = 0  # partitions that the group began with, once known; to find out takes many requests

    def ready(self, tp: TopicPartition) -> bool:
        """Whether :meth:`restore` would not take long by now; begins to read the checkpoint in the background if not.

        Without a background, and where there is nothing to read, it is as ready as it will be.
        """
        if self._background is None:
            return True
        if tp not in self._reading:
            commit = self._broker.committed(tp)
            mark = None if commit is None else Mark.from_metadata(commit.metadata)
            if commit is None or mark is None:
                return True
            self._reading[tp] = commit, self._background.submit(functools.partial(self._read, tp, commit, mark))
        return self._reading[tp][1].done()

    def forget(self, tp: TopicPartition) -> None:
        """It is somebody else's now, or begins anew: whatever was read for it is of no use."""
        self._id = ""
        if (reading := self._reading.pop(tp, None)) is not None:
            reading[1].cancel()

    def restore(self, tp: TopicPartition, membership: Membership | None) -> Partition:
        """The partition, positioned at its checkpoint and sought there; it replays until the committed offset.

        Raises RecoveryError when checkpoints and log do not lead back, FingerprintMismatch when the checkpoint is of
        another configuration, BrokerError when the broker does not answer.
        """
        commit = self._broker.committed(tp)
        if commit is None:
            return self._begin_without_offset(tp, membership)
        mark = Mark.from_metadata(commit.metadata)
        if mark is None:
            raise RecoveryError(
                f"{tp}: the committed offset {commit.offset} of group {self._job.config.group_id} was not written by "
                f"streamrnn (its metadata is {commit.metadata[:80]!r}), so no checkpoint belongs to it. "
                f"To start afresh, {AFRESH}"
            )
        return self._resume(tp, commit, mark, membership)

    def will_commit(self, partition: Partition) -> bool:
        """Whether a new lineage begins where this replay ends, as far as that is known before."""
        return partition.gap_skipped or partition.job is not self._job

    def finish_replay(self, partition: Partition, membership: Membership | None) -> None:
        """Called once the partition has caught up with the committed offset: was it the run that had been committed?

        What comes next is predicted under the settings of today.
        """
        before, intervened = partition.lineage, self._judge_replay(partition)
        if partition.job is not self._job:
            changeover.take_up(partition, self._job)
        elif not intervened:
            return
        self._begin_lineage(partition, membership)
        _log.info("%s: lineage %s goes on as %s", partition.tp, before, partition.lineage)

    def _judge_replay(self, partition: Partition) -> bool:
        """Whether the replay led to another state than the committed one, and going on from it was chosen."""
        expected, partition.expected = partition.expected, None  # asked once, whatever comes of it
        # Behind a gap the replay cannot arrive where the commit says, so there is nothing to compare.
        if partition.gap_skipped:
            partition.gap_skipped = False
            return True
        if expected is None:
            return False
        arrived = (partition.ordinal, partition.learner.digest)
        if arrived == (expected.ordinal, expected.digest):
            return False
        partition.metrics.replay_inexact()
        text = (
            f"{partition.tp}: the replay reached offset {partition.position} with ordinal {arrived[0]} and digest "
            f"{arrived[1]:08x}, committed were {expected.ordinal} and {expected.digest:08x}: the log or the build "
            f"changed{self._compaction(partition.tp.topic)}{_without(partition)}"
        )
        if self._job.config.checkpoint.on_inexact == "fail":
            raise RecoveryError(f"{text}. Set checkpoint.on_inexact: continue to go on from the state reached")
        _log.warning("%s; going on in a new lineage", text)
        return True

    def _compaction(self, topic: str) -> str:
        """Why records may be missing from a replay, where the topic's settings say so."""
        try:
            settings = open_administration(self._job.config).topic_configs([topic])[topic]
        except BrokerError:
            return ""  # what cannot be asked now must not hide what is wrong
        if "compact" not in settings.get("cleanup.policy", ""):
            return ""
        return (
            f". Topic {topic} is compacted: records between the checkpoint and the committed offset may be gone; use "
            "one that is not compacted, or a min.compaction.lag.ms longer than the time between checkpoints and any "
            "stop of the job"
        )

    # -- the first start ----------------------------------------------------------------------------------------------

    def _begin(
        self, tp: TopicPartition, membership: Membership | None, *, anew: bool = False, at: int | None = None
    ) -> Partition:
        """A first start, ``at`` an offset where one was interrupted.

        ``anew``: the topic is not the one that checkpoints are of, so all in it came later.
        """
        job, broker = self._job, self._broker
        count = self._count(tp)
        added = tp.partition >= count
        at_end = job.config.input.start == "latest" and not (added or anew)
        first = broker.log_end(tp) if at_end and at is None else broker.log_start(tp)
        first = first if at is None else max(first, at)
        start = Start(
            lineage="", position=first, ordinal=0, replay_until=first, began_with=count, topic_id=self._id_of(tp.topic)
        )
        partition = Partition(job, tp, self._metrics, job.first_learner(tp), start)
        with _closed_on_error(partition):
            self._begin_lineage(partition, membership)
            broker.seek(tp, first)
        why = f"; it was added after the group began with {count}, so it is read from its beginning" if added else ""
        _log.info("%s: first start at offset %d, lineage %s%s", tp, first, partition.lineage, why)
        return partition

    def _begin_anew(self, tp: TopicPartition, membership: Membership | None, why: str) -> Partition:
        """A first start on a topic that is another one than what was learned is of, unless that is to stop the job."""
        if self._job.config.checkpoint.on_new_topic == "fail":
            raise RecoveryError(
                f"{tp}: {why}. Set checkpoint.on_new_topic: restart to learn anew from the beginning of its log; to "
                "go on with what was learned, begin a job under another name with the old checkpoints' model"
            )
        _log.warning("%s: %s; learning starts anew from the beginning of its log", tp, why)
        return self._begin(tp, membership, anew=True)

    def _begin_without_offset(self, tp: TopicPartition, membership: Membership | None) -> Partition:
        """A first start, unless checkpoints say that there was a committed offset, which was lost."""
        job, policy = self._job, self._job.config.checkpoint.on_lost_offsets
        store = job.checkpoints(tp)
        if not (lineages := lineages_of(store)):
            return self._begin(tp, membership)
        if (genesis := not_begun(store, lineages, anew=policy == "restart")) is not None:
            return self._begin_again(tp, membership, genesis)
        self._look(tp)
        newest = newest_readable(store, lineages)
        if newest is not None and (other := self._other_topic(tp, newest)):  # its offsets went with the former one
            return self._begin_anew(tp, membership, other)
        lost = (
            f"{tp}: group {job.config.group_id} has no committed offset although checkpoints exist in {store.place} "
            "(offsets expire when a group is away for long; was it deleted?)"
        )
        if policy == "fail":
            raise RecoveryError(
                f"{lost}. Set checkpoint.on_lost_offsets: resume to go on from the newest checkpoint, or restart to "
                "learn anew"
            )
        if policy == "restart":
            _log.warning("%s: learning starts anew (checkpoint.on_lost_offsets: restart)", lost)
            if newest is not None and (waited := int(newest.progress.counters.get(WAITING, 0))):
                _log.warning(_WAITED_ANEW, tp, waited)
            return self._begin(tp, membership)
        restoring = Restoring(job, tp)
        made, rejected = newest_of_all(store, restoring)
        if made is None:
            restoring.raise_unknown()
            bad = "".join(f"\n  {r.place}: {r.reason}" for r in rejected)
            raise RecoveryError(
                f"{lost}, and of lineages {', '.join(lineages)} none can be used{bad}. "
                f"{way_back(rejected, 'Bring the directory back')}, or set checkpoint.on_lost_offsets: restart to "
                "learn anew"
            )
        _log.warning("%s", lost)
        return self._resume_without_offset(tp, membership, made, rejected)

    def _count(self, tp: TopicPartition) -> int:
        """How many partitions the group began with."""
        self._began_with = self._began_with or began_with(self._job, self._broker, tp)
        return self._began_with

    def _begin_again(self, tp: TopicPartition, membership: Membership | None, genesis: Manifest) -> Partition:
        """The first start once more, with what the interrupted one had begun with, unless the job is another by now."""
        if self._other_topic(tp, genesis):
            return self._begin(tp, membership, anew=True)
        at = genesis.progress.position
        try:
            made = Restoring(self._job, tp)(genesis)
            if made.job is not self._job:
                raise CheckpointError("its settings are others")
        except CheckpointError as error:  # damaged, or of other settings: there is nothing in it that has to be kept
            _log.info("%s: the interrupted first start's checkpoint is of no use: %s", tp, error)
            return self._begin(tp, membership, at=at)
        if self._broker.log_start(tp) > at:
            return self._begin(tp, membership, at=at)
        progress = genesis.progress
        anew = self._job.config.checkpoint.on_lost_offsets == "restart"  # from the partitions that there are now
        count = 0 if anew else began_with_of(genesis)
        mark = Mark(progress.lineage, 0, progress.digest, 0, count or self._count(tp))
        partition = self._restored(tp, made, [], Commit(at), mark)
        with _closed_on_error(partition):
            self._commit_position(partition, membership)
        _log.info("%s: first start at offset %d, lineage %s", tp, at, partition.lineage)
        return partition

    def _resume_without_offset(
        self, tp: TopicPartition, membership: Membership | None, made: Restored, rejected: list[Rejected]
    ) -> Partition:
        """Go on from a checkpoint. Nothing is replayed, since nobody knows how far it would have to be."""
        progress = made.manifest.progress
        count = began_with_of(made.manifest)
        quarantined = progress.quarantined
        mark = Mark(progress.lineage, progress.ordinal, progress.digest, 0, count, quarantined=quarantined)
        partition = self._restored(tp, made, rejected, Commit(progress.position), mark)
        if not partition.gap_skipped:  # behind a gap a new lineage begins, which commits
            with _closed_on_error(partition):
                self._commit_position(partition, membership)
        _log.warning(
            "%s: going on from the newest checkpoint, at offset %d of lineage %s (checkpoint.on_lost_offsets: resume). "
            "Predictions written behind it before the offset was lost are written again%s",
            tp, progress.position, progress.lineage,
            ", with the same bytes" if partition.job is self._job else " under the settings of today",
        )  # fmt: skip
        return partition

    def _other_topic(self, tp: TopicPartition, manifest: Manifest) -> str:
        """Why a checkpoint is not of the topic as it is now, which brokers delete a group's offsets with; or ""."""
        if other := self._id_is_another(tp, manifest):
            return other
        end = self._broker.log_end(tp)
        if manifest.progress.position > end:
            return (
                f"the newest checkpoint is at {manifest.progress.position} and the log ends at {end}, so the topic was "
                "made anew or lost its end"
            )
        return ""

    def _id_is_another(self, tp: TopicPartition, manifest: Manifest) -> str:
        was, now = manifest.progress.topic_id, self._id_of(tp.topic) if manifest.progress.topic_id else ""
        if was and now and was != now:
            return f"the topic was made anew since the checkpoint at {manifest.progress.position} was written"
        return ""

    def _look(self, tp: TopicPartition) -> None:
        """Raises what keeps a partition that is gone from being restored, before a checkpoint is read for it."""
        self._broker.log_end(tp)
        self._id_of(tp.topic)

    def _id_of(self, topic: str) -> str:
        """It is asked for once for partitions that are restored one after the other: each time takes a connection.

        Raises RebalanceError where the brokers do not agree yet on which topic it is: one hears of it after the other.
        """
        if not self._id or time.monotonic() >= self._id_fresh_until:
            self._id = ""
            described = open_administration(self._job.config).describe_topics([topic])[topic]
            if described is None:
                raise RebalanceError(f"topic {topic} is not there at the moment, as the broker says that was asked")
            if (known := self._broker.topic_id(topic)) and described.id not in ("", known):
                raise RebalanceError(f"topic {topic} is {known} to one broker and {described.id} to another")
            self._id, self._id_fresh_until = described.id, time.monotonic() + _FRESH_S
        return self._id

    def _begin_lineage(self, partition: Partition, membership: Membership | None) -> None:
        """Start a new lineage at the partition's present state: genesis checkpoint first, then the commit naming it."""
        partition.lineage, partition.quarantined = new_lineage(), ()  # nothing before is ever replayed in it
        # The other way round, a crash between the two would leave a commit that no checkpoint leads to.
        snapshot = take_snapshot(partition.learner.state())  # nothing else goes on meanwhile
        partition.learner.pop_touched_segments()  # all of them are in the snapshot
        store = partition.job.checkpoints(partition.tp)
        manifest = store.write(snapshot, partition.progress(), only_sound=True, at_once=threads())
        partition.saving.close(self._timeout_s)
        partition.start_writer(manifest)
        self._commit_position(partition, membership)

    def _commit_position(self, partition: Partition, membership: Membership | None) -> None:
        """Commit where the partition is, though no output belongs to it."""
        commit = partition.commit(len(self._broker.partitions(partition.tp.topic)))
        with self._metrics.committing():
            self._broker.commit({partition.tp: commit}, membership, self._timeout_s)
        partition.confirmed(commit)

    # -- later starts -------------------------------------------------------------------------------------------------

    def _resume(self, tp: TopicPartition, commit: Commit, mark: Mark, membership: Membership | None) -> Partition:
        self._look(tp)
        reading = self._reading.pop(tp, None)
        read = reading[1].result() if reading and reading[0] == commit else self._read(tp, commit, mark)
        assert read.made is not None  # held by _read
        if other := self._id_is_another(tp, read.made.manifest):  # committed by who had not noticed yet
            return self._begin_anew(tp, membership, f"{other}; offset {commit.offset} is committed of the former one")
        return self._restored(tp, read.made, read.rejected, commit, mark)

    def _restored(
        self, tp: TopicPartition, made: Restored, rejected: list[Rejected], commit: Commit, mark: Mark
    ) -> Partition:
        """The partition at a checkpoint, sought there, with the replay up to ``commit`` before it."""
        manifest, job, learner = made
        self._warn_if_keys_moved(tp, mark)
        start = self._start_behind(tp, manifest, commit, mark)
        partition = Partition(job, tp, self._metrics, learner, start)
        changed = changes(manifest.build, self._job.build)
        corrupt = sum(not each.earlier for each in rejected)
        partition.metrics.restored(corrupt_checkpoints=corrupt, build_changed=bool(changed))
        for line in changed:
            _log.info("%s: the checkpoint was written by another build: %s", tp, line)
        with _closed_on_error(partition):
            self._broker.seek(tp, start.position)
        _log.info(
            "%s: restored the checkpoint at %d, replaying to %d", tp, manifest.progress.position, start.replay_until
        )
        return partition

    def _read(self, tp: TopicPartition, commit: Commit, mark: Mark) -> Used[Restored]:
        """The newest checkpoint that leads to the commit; raises RecoveryError where there is none."""
        store, restoring = self._job.checkpoints(tp), Restoring(self._job, tp, (commit, mark))
        read = store.use_newest(mark.lineage, restoring, at_or_below=commit.offset)
        if read.made is None:
            restoring.raise_unknown()
            bad = "".join(f"\n  {r.place}: {r.reason}" for r in read.rejected)
            raise RecoveryError(
                f"{tp}: no usable checkpoint of lineage {mark.lineage} at or below the committed offset "
                f"{commit.offset} in {store.place}{bad or ' (none there)'}. "
                f"{way_back(read.rejected, 'Bring the directory back (every worker must reach it)')}, or start afresh: "
                f"{AFRESH}"
            )
        return read

    def _warn_if_keys_moved(self, tp: TopicPartition, mark: Mark) -> None:
        if not mark.partitions:
            return
        now = len(self._broker.partitions(tp.topic))
        if mark.partitions != now:
            _log.warning(KEYS_MOVED, tp.topic, mark.partitions, now)

    def _start_behind(self, tp: TopicPartition, manifest: Manifest, commit: Commit, mark: Mark) -> Start:
        """Where the log lets the checkpoint go on, and how far the replay has to get."""
        position = manifest.progress.position
        first, end = self._broker.log_start(tp), self._broker.log_end(tp)
        if commit.offset > end:
            raise RecoveryError(
                f"{tp}: offset {commit.offset} is committed, the log ends at {end}: the topic was made anew or lost "
                f"its end. To start afresh, {AFRESH}"
            )
        gap = first > position
        if gap:
            self._refuse_gap(tp, manifest, first)
            position = first
        return Start(
            lineage=mark.lineage,
            position=position,
            ordinal=manifest.progress.ordinal,
            replay_until=max(commit.offset, position),  # the log may begin behind the committed offset
            base=manifest,
            expected=None if gap else mark,  # without the missing records, nobody arrives at the same ordinal
            gap_skipped=gap,
            began_with=mark.began_with or mark.partitions,
            topic_id=manifest.progress.topic_id or self._id_of(tp.topic),
            standing=commit,
            handed=mark.handed,
            replayed=mark.replayed,
            quarantined=mark.quarantined,
        )

    def _refuse_gap(self, tp: TopicPartition, manifest: Manifest, first: int) -> None:
        position = manifest.progress.position
        text = f"{tp}: the log begins at {first}, the checkpoint is at {position}: {first - position} offsets are gone"
        if self._job.config.checkpoint.on_gap == "fail":
            raise RecoveryError(
                f"{text}. Set checkpoint.on_gap: continue to go on without them, or use a longer retention"
            )
        _log.warning("%s; going on without them in a new lineage", text)
        if waited := int(manifest.progress.counters.get(WAITING, 0)):
            _log.warning(_WAITED_AT_A_GAP, tp, waited)


def _without(partition: Partition) -> str:
    """What a replay passed over, which may be why it arrived elsewhere."""
    if not partition.quarantined:
        return ""
    return f". Quarantined, so not replayed: offsets {', '.join(map(str, partition.quarantined))}"


@contextlib.contextmanager
def _closed_on_error(partition: Partition) -> Iterator[None]:
    """Nobody will own a partition that could not be brought to its start."""
    try:
        yield
    except BaseException:
        partition.close(timeout_s=0.0)
        raise
