"""What would become of what a job has learned if it ran with its settings of today? Told before it runs.

The newest checkpoint of each partition is compared with the job, as recovery will do with the one that the committed
offset names.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamrnn.errors import CheckpointError
from streamrnn.job.changes import changes
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.opening import of_config
from streamrnn.learner.changes import Change
from streamrnn.learner.verdicts import Way
from streamrnn.storage.listing import Listed, at, newest
from streamrnn.storage.names import PartitionNames


@dataclass
class Outlook:
    """Partitions of which the same is to be said: what changes for them; nothing does where there is no change."""

    partitions: list[int]
    changes: list[Change]

    @property
    def possible(self) -> bool:
        """Whether they can go on from what they have learned."""
        return all(change.way is not Way.IMPOSSIBLE for change in self.changes)


def outlook(config: Config) -> list[Outlook]:
    """Of all partitions of the job's topic that have a checkpoint.

    Raises CheckpointError when one was written under settings that this version does not know, ConfigError when the
    model that the job begins with cannot be told.
    """
    found: list[Outlook] = []
    manifests = [one.manifest for one in newest(at(of_config(config))) if one.manifest]
    here = fingerprint(config) if manifests else {}
    for manifest in manifests:
        if manifest.topic != config.input.topic:
            continue
        try:
            said = changes(manifest.configuration, config, here)
        except CheckpointError as error:
            raise CheckpointError(f"the checkpoint of {manifest.topic}/{manifest.partition}: {error}") from error
        same = next((one for one in found if one.changes == said), None)
        if same is None:
            found.append(same := Outlook([], said))
        same.partitions.append(manifest.partition)
    return found


def unreadable(config: Config) -> list[Listed]:
    """Of each partition of the topic that has checkpoints, none of which can be read, the newest."""
    by_folder: dict[str, list[Listed]] = {}
    for one in at(of_config(config)):
        by_folder.setdefault(one.name.rpartition("/")[0].rpartition("/")[0], []).append(one)
    return [
        max(there, key=lambda one: one.name)
        for folder, there in sorted(by_folder.items())
        if folder.removeprefix(PartitionNames(config.job, config.input.topic, 0).folder[:-1]).isdigit()
        and all(one.manifest is None for one in there)
    ]


def topics(config: Config) -> list[str]:
    """The topics that checkpoints of the job are of."""
    listed = at(of_config(config))
    return sorted({one.manifest.topic for one in listed if one.manifest is not None})
