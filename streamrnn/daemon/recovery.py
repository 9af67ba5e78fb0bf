"""From a newly assigned partition to a learner at the committed offset.

The first assignment ever resolves the start offset, writes the genesis checkpoint of a new lineage, commits, and
begins; ``model.warm_start`` is what that checkpoint holds, or a blank learner. Later: the newest valid checkpoint of
the committed lineage at or below the committed offset is loaded and the log is replayed from there. If the log no
longer reaches back, ``checkpoint.on_gap`` decides; if the replay arrives with another ordinal or digest,
``checkpoint.on_inexact`` does. Going on in either case is an intervention: it starts a new lineage with its own genesis
checkpoint, so that recovery never mixes the two.

Writes to the broker are confined to ``begin_lineage``. Nothing is ever rolled back.
"""

from __future__ import annotations

import logging

from streamrnn.broker.protocol import Broker, Commit, TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Mark, Partition
from streamrnn.errors import CheckpointError, RecoveryError
from streamrnn.job.job import Job
from streamrnn.storage.manifest import build_differences, new_lineage
from streamrnn.storage.snapshot import take_snapshot

_log = logging.getLogger(__name__)


def restore(job: Job, broker: Broker, metrics: Metrics, tp: TopicPartition, timeout_s: float) -> Partition:
    """The partition, positioned at its checkpoint and sought there; it replays until the committed offset.

    Raises RecoveryError when checkpoints and log do not lead back, FingerprintMismatch when the checkpoint is of
    another configuration, BrokerError when the broker does not answer.
    """
    commit = broker.committed(tp)
    if commit is None:
        return _begin(job, broker, metrics, tp, timeout_s)
    mark = Mark.from_metadata(commit.metadata)
    if mark is None:
        raise RecoveryError(
            f"{tp}: the committed offset {commit.offset} of group {job.config.group_id} was not written by streamrnn "
            f"(its metadata is {commit.metadata[:80]!r}), so no checkpoint belongs to it. To start afresh, delete the "
            "group's offsets or give the job another name"
        )
    return _resume(job, broker, metrics, tp, commit, mark)


def _begin(job: Job, broker: Broker, metrics: Metrics, tp: TopicPartition, timeout_s: float) -> Partition:
    earlier = job.checkpoints(tp).lineages()
    start = broker.log_start(tp) if job.config.input.start == "earliest" else broker.log_end(tp)
    partition = Partition(
        job, tp, metrics, job.first_learner(tp),
        lineage="", position=start, ordinal=0, base=None, replay_until=start, expected=None,
    )  # fmt: skip
    try:
        begin_lineage(partition, broker, timeout_s)
        broker.seek(tp, start)
    except BaseException:
        partition.close(timeout_s=0.0)
        raise
    if earlier:
        _log.warning(
            "%s: group %s has no committed offset although checkpoints of lineages %s exist: learning starts anew from "
            "offset %d. Were the group's offsets deleted, or did they expire?",
            tp, job.config.group_id, ", ".join(earlier), start,
        )  # fmt: skip
    _log.info("%s: first start at offset %d, lineage %s", tp, start, partition.lineage)
    return partition


def _resume(job: Job, broker: Broker, metrics: Metrics, tp: TopicPartition, commit: Commit, mark: Mark) -> Partition:
    found = job.checkpoints(tp).newest(mark.lineage, at_or_below=commit.offset)
    if found.checkpoint is None:
        bad = "".join(f"\n  {r.path}: {r.reason}" for r in found.rejected)
        raise RecoveryError(
            f"{tp}: no usable checkpoint of lineage {mark.lineage} at or below the committed offset {commit.offset} in "
            f"{job.checkpoints(tp).directory}{bad or ' (none there)'}. Bring the directory back (every worker must "
            "reach it), or start afresh: delete the group's offsets or give the job another name"
        )
    manifest = found.checkpoint.manifest
    learner = job.learner(tp)
    try:
        learner.resume(found.checkpoint.state(job.spec))
    except ValueError as error:
        raise CheckpointError(
            f"{tp}: checkpoint at {manifest.progress.position}: {error}. Go back to the version of streamrnn that "
            "wrote it, or learn from scratch by giving the job another name"
        ) from error
    if learner.digest != manifest.progress.digest:
        raise CheckpointError(f"{tp}: checkpoint at {manifest.progress.position} disagrees with its own digest")
    if mark.partitions and mark.partitions != len(broker.partitions(tp.topic)):
        _log.warning(
            "topic %s had %d partitions and now has %d: keys moved, so streams go on in other partitions with a new "
            "hidden state", tp.topic, mark.partitions, len(broker.partitions(tp.topic)),
        )  # fmt: skip
    position, expected = manifest.progress.position, mark
    first, end = broker.log_start(tp), broker.log_end(tp)
    if commit.offset > end:
        raise RecoveryError(
            f"{tp}: offset {commit.offset} is committed, the log ends at {end}: the topic was made anew or lost its "
            "end. To start afresh, delete the group's offsets or give the job another name"
        )
    if gap := first > position:
        _refuse_gap(job, tp, position, first)
        position = first
    partition = Partition(
        job, tp, metrics, learner,
        lineage=mark.lineage, position=position, ordinal=manifest.progress.ordinal, base=manifest,
        replay_until=max(commit.offset, position), expected=None if gap else expected,
    )  # fmt: skip
    partition.gap_skipped = gap
    changed = build_differences(manifest, job.build)
    partition.metrics.restored(corrupt_checkpoints=len(found.rejected), build_changed=bool(changed))
    for line in changed:
        _log.info("%s: the checkpoint was written by another build: %s", tp, line)
    try:
        broker.seek(tp, position)
    except BaseException:
        partition.close(timeout_s=0.0)
        raise
    _log.info(
        "%s: restored the checkpoint at %d, replaying to %d", tp, manifest.progress.position, partition.replay_until
    )
    return partition


def _refuse_gap(job: Job, tp: TopicPartition, position: int, first: int) -> None:
    text = f"{tp}: the log begins at {first}, the checkpoint is at {position}: {first - position} offsets are gone"
    if job.config.checkpoint.on_gap == "fail":
        raise RecoveryError(f"{text}. Set checkpoint.on_gap: continue to go on without them, or use a longer retention")
    _log.warning("%s; going on without them in a new lineage", text)


def finish_replay(partition: Partition, broker: Broker, timeout_s: float) -> None:
    """Called once the partition has caught up with the committed offset: was it the run that had been committed?"""
    expected, partition.expected = partition.expected, None
    if partition.gap_skipped:
        partition.gap_skipped = False
        begin_lineage(partition, broker, timeout_s)
        return
    if expected is None:
        return
    arrived = (partition.ordinal, partition.learner.digest)
    if arrived == (expected.ordinal, expected.digest):
        return
    partition.metrics.replay_inexact()
    text = (
        f"{partition.tp}: the replay reached offset {partition.position} with ordinal {arrived[0]} and digest "
        f"{arrived[1]:08x}, committed were {expected.ordinal} and {expected.digest:08x}: the log or the build changed"
    )
    if partition.job.config.checkpoint.on_inexact == "fail":
        raise RecoveryError(f"{text}. Set checkpoint.on_inexact: continue to go on from the state reached")
    _log.warning("%s; going on in a new lineage", text)
    begin_lineage(partition, broker, timeout_s)


def begin_lineage(partition: Partition, broker: Broker, timeout_s: float) -> None:
    """Start a new lineage at the partition's present state: genesis checkpoint first, then the commit naming it."""
    partition.lineage = new_lineage()
    snapshot = take_snapshot(partition.learner.state())
    partition.learner.pop_touched_segments()
    manifest = partition.job.checkpoints(partition.tp).write(snapshot, partition.progress())
    partition.writer.close(timeout_s)
    partition.start_writer(manifest)
    count = len(broker.partitions(partition.tp.topic))
    commit = Commit(partition.position, partition.mark(count).to_metadata())
    broker.commit({partition.tp: commit}, timeout_s)
    partition.confirmed()
