"""Going on under other settings than those a checkpoint was written under.

The checkpoint is usually older than the committed offset. What lies between was predicted under the old settings, so
it is replayed under them, which leads to the committed ordinal and digest; only there the state goes over to a learner
of today's settings, in a new lineage whose genesis checkpoint it is. Nothing is lost, nothing is predicted twice, and
what was learned is the old run's, carried over.

Each worker takes up a partition under its own settings. While a deployment is rolled out, a partition may therefore go
over to the new settings and, should an old worker get it, back: each time logged, in a lineage of its own. Where
there is no way back, the old worker stops with an error instead, and the partition waits for a new one.
"""

from __future__ import annotations

import logging

from streamrnn.daemon.partition import Partition
from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint, FingerprintMismatch
from streamrnn.job.changes import changes, described, former, places, ways_out
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.changes import Change
from streamrnn.learner.growth import carry_over
from streamrnn.learner.state import spec_differences
from streamrnn.learner.verdicts import Way
from streamrnn.storage.manifest import Manifest

_log = logging.getLogger(__name__)


class UnknownSettingsError(FingerprintMismatch):
    """What a checkpoint was written under is nothing that this version can make a job of."""


def job_of(job: Job, manifest: Manifest) -> Job:
    """The job as it was when the checkpoint was written: ``job`` itself where no setting changed since.

    Raises FingerprintMismatch, with all reasons, where ``job`` cannot go on from what was learned; CorruptCheckpoint
    where the manifest contradicts itself.
    """
    where = f"the checkpoint at position {manifest.progress.position} of {manifest.topic}/{manifest.partition}"
    try:
        was = former(job.config, manifest.configuration)
        _check_of_one_piece(manifest, was)
        found = changes(manifest.configuration, job.config, job.configuration)
        if not found:
            return job
        if any(change.way is Way.IMPOSSIBLE for change in found):
            raise FingerprintMismatch(f"{where} {refusal(found)}")
        return Job(was, manifest.configuration)
    except (FingerprintMismatch, CorruptCheckpoint):
        raise
    except (CheckpointError, ConfigError) as error:
        raise UnknownSettingsError(f"{where} cannot be gone on from: {error}") from error


def _check_of_one_piece(manifest: Manifest, was: Config) -> None:
    """What a manifest says of its job and its learner is what its configuration means."""
    if (manifest.job, manifest.topic) != (was.job, was.input.topic):
        raise CorruptCheckpoint(
            f"it says it is of job and topic {manifest.job}, {manifest.topic}, its configuration {was.job}, "
            f"{was.input.topic}"
        )
    spec, room = was.learner_spec(), was.streams.max_streams
    if lines := spec_differences(manifest.spec, spec):
        raise CorruptCheckpoint(f"its specification is not what its configuration means: {'; '.join(lines)[:1000]}")
    if manifest.spec.streams.max_streams != room:
        raise CorruptCheckpoint(
            f"its specification has room for {manifest.spec.streams.max_streams} streams, its configuration for {room}"
        )


def refusal(found: list[Change]) -> str:
    """Why a job cannot go on from a checkpoint, and the ways out."""
    refused = [change for change in found if change.way is Way.IMPOSSIBLE]
    possible = [change for change in found if change.way is not Way.IMPOSSIBLE]
    text = "".join(f"\n  {described(change)}" for change in refused)
    others = "".join(f"\n  {described(change)}" for change in possible)
    return (
        f"was written under another configuration, which cannot be changed to this one (old -> new):{text}"
        + (f"\nThese changes would be taken up:{others}" if possible else "")
        + f"\n{ways_out(found)}"
    )


def take_up(partition: Partition, job: Job) -> None:
    """Carry what the partition's learner has learned over to one of ``job``'s settings, and say what changes."""
    old, learner = partition.job, job.learner(partition.tp)
    carry_over(partition.learner.state(), learner, places(old.config, job.config))
    for change in changes(old.configuration, job.config, job.configuration):
        _log.info("%s: setting changed at offset %d: %s", partition.tp, partition.position, described(change))
    partition.go_on(job, learner)
