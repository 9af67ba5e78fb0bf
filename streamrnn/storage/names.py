"""What the blobs of a job's checkpoints are called.

    <job>/<topic>-<partition>/<lineage>/manifest-<position, 20 digits>.json
                                        segments/<sha256>.safetensors

Job and topic are percent-encoded, so that no two of them share a folder and none leads out of it. Manifests sort by
their position. Nothing that a blob holds ever becomes part of a name unless it is a digest or a checked lineage.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from streamrnn.errors import CheckpointError, ConfigError

_LINEAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MANIFEST = re.compile(r"manifest-([0-9]{20})\.json")


class PartitionNames:
    """The names that belong to one partition of one job; all begin with ``folder`` and a slash."""

    def __init__(self, job: str, topic: str, partition: int) -> None:
        if partition < 0:
            raise ConfigError(f"partition: must be at least 0, got {partition}")
        self.folder = f"{folder_of(job)}/{_component(topic)}-{partition}"

    def lineage(self, lineage: str) -> str:
        """What the names of a lineage begin with, up to the slash. Raises CheckpointError for an unfit lineage."""
        if not _LINEAGE.fullmatch(lineage):
            raise CheckpointError(f"lineage: letters, digits, '-' and '_', at most 64, got {lineage!r}")
        return f"{self.folder}/{lineage}"

    def manifest(self, lineage: str, position: int) -> str:
        """The name of the manifest at ``position``."""
        return f"{self.lineage(lineage)}/manifest-{position:020d}.json"

    def segment(self, lineage: str, sha256: str) -> str:
        """The name of the segment whose bytes have this digest."""
        return f"{self.lineage(lineage)}/segments/{sha256}.safetensors"

    def lineage_in(self, name: str) -> str | None:
        """The lineage to which a blob of this partition belongs; None when it belongs to none."""
        lineage, slash, _ = name.removeprefix(f"{self.folder}/").partition("/")
        return lineage if slash and _LINEAGE.fullmatch(lineage) else None


def folder_of(job: str) -> str:
    """What the names of all blobs of a job begin with, up to the slash.

    >>> folder_of("orders.v1-eu"), folder_of("a/b"), folder_of("..")
    ('orders.v1-eu', 'a%2Fb', '%2E.')
    """
    return _component(job)


def position_in(name: str) -> int | None:
    """The position in a manifest's name; None when the name is not that of a manifest."""
    match = _MANIFEST.fullmatch(last(name))
    return None if match is None else int(match[1])


def last(name: str) -> str:
    """The last component of a name."""
    return name.rpartition("/")[2]


def _component(text: str) -> str:
    """``text`` as one component of a name, reversible: anything but letters, digits, "_.-~" percent-encoded."""
    if not text:
        raise ConfigError("job, topic: must not be empty")
    quoted = quote(text, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted
