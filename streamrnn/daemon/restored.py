"""A learner from a checkpoint, of which nothing is believed that something else contradicts.

Whoever can write a manifest can sign it. What it says of its learner is therefore held against the configuration beside
it, against the learner that its arrays make, and against the committed offset that led to it. One that does not agree
is as corrupt as one with a flipped bit, and the checkpoint before it is tried: a lie costs a longer replay, not the
start. Other settings than the job's are no lie as long as all of a checkpoint is of them, see ``changeover``.
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.broker.protocol import Commit, TopicPartition
from streamrnn.daemon import changeover
from streamrnn.daemon.mark import BEGAN_WITH, Mark
from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.job.job import Job
from streamrnn.learner.foundation import Foundation
from streamrnn.storage.manifest import Manifest, Progress

_MOST_PARTITIONS = 1 << 31


class Restored(NamedTuple):
    """What a checkpoint says, the job it belongs to, and the learner it holds."""

    manifest: Manifest
    job: Job
    learner: Foundation


class Restoring:
    """Makes the learners of checkpoints of one partition: for ``CheckpointStore.use_newest``.

    ``led_by`` is the commit that names the lineage, and its mark, where there is one.
    """

    def __init__(self, job: Job, tp: TopicPartition, led_by: tuple[Commit, Mark] | None = None) -> None:
        self._job, self._tp, self._led_by = job, tp, led_by
        self._unknown: changeover.UnknownSettingsError | None = None

    def __call__(self, manifest: Manifest) -> Restored:
        """Raises CorruptCheckpoint for one that cannot be used, FingerprintMismatch for one of other settings."""
        self._check_ordinal(manifest.progress)
        began_with(manifest)
        try:
            job = changeover.job_of(self._job, manifest)
        except changeover.UnknownSettingsError as error:
            # Either of a later version, as then those before it are, or made up.
            self._unknown = self._unknown or error
            raise CorruptCheckpoint(str(error)) from error
        return Restored(manifest, job, self._learner(job, manifest))

    def raise_unknown(self) -> None:
        """To be called where no checkpoint could be used: the newest one's settings may be why."""
        if self._unknown is not None:
            raise self._unknown

    def _check_ordinal(self, progress: Progress) -> None:
        """Against what the commit says, and the checkpoint before: nothing in the arrays tells of it."""
        if self._led_by is not None:
            commit, mark = self._led_by
            _check_between(progress, commit.offset, mark.ordinal)
        store = self._job.checkpoints(self._tp)
        before = [at for at in store.positions(progress.lineage) if at < progress.position]
        if before:
            try:
                earlier = store.read(progress.lineage, before[-1]).progress
            except CorruptCheckpoint:
                return
            _check_between(earlier, progress.position, progress.ordinal)

    def _learner(self, job: Job, manifest: Manifest) -> Foundation:
        """The learner as it was at the checkpoint."""
        learner = job.learner(self._tp)
        store, rows = self._job.checkpoints(self._tp), learner.rows(manifest.n_slots)
        checkpoint = store.load(manifest, of_any_configuration=True, into=rows)
        try:
            learner.resume(checkpoint.state(), fits=True)
        except ValueError as error:
            raise CheckpointError(
                f"{self._tp}: checkpoint at {manifest.progress.position}: {error}. Go back to the version of streamrnn "
                "that wrote it, or learn from scratch: give the job another name, and another kafka.group_id if "
                "you set one"
            ) from error
        _check_told(manifest.progress, learner)
        return learner


def began_with(manifest: Manifest) -> int:
    """How many partitions the group began with, going by a checkpoint; 0 where it does not tell."""
    count = manifest.progress.counters.get(BEGAN_WITH, 0)
    if not 0 <= count < _MOST_PARTITIONS or count != int(count):
        raise CorruptCheckpoint(f"its group began with {count} partitions")
    return int(count)


def _check_between(earlier: Progress, offset: int, ordinal: int) -> None:
    """Between two places in a log there are no more records than offsets."""
    if not 0 <= ordinal - earlier.ordinal <= offset - earlier.position:
        raise CorruptCheckpoint(
            f"{earlier.ordinal} records before offset {earlier.position} do not go with {ordinal} before {offset}"
        )


def _check_told(progress: Progress, learner: Foundation) -> None:
    """Files that each are intact may still not belong together."""
    reached = learner.progress()
    counters = {name: progress.counters.get(name, value) for name, value in reached.counters.items()}
    told = (progress.digest, progress.updates, progress.parameters, progress.stream_time_ms, counters)
    held = (reached.digest, reached.updates, reached.parameters, reached.stream_time_ms, reached.counters)
    names = ("digest", "updates", "parameters", "stream time", "counters")
    for name, one, other in zip(names, told, held, strict=True):
        if one != other:
            raise CorruptCheckpoint(f"its manifest tells of {name} {one}, its arrays of {other}")
