"""What a checkpoint says about itself: everything but its arrays, which it names by their digests.

The manifest is JSON, written for people to read, and carries the SHA-256 of its own content in canonical form (sorted
keys, no white space). Segments are named by digest only, so no name read from disk ever becomes part of a path.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from streamrnn.errors import BlobError, CorruptCheckpoint, FingerprintMismatch
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.blobs import Blobs
from streamrnn.storage.fingerprints import canonical_sha256, changes, refuse_earlier
from streamrnn.system.documents import parsed_json
from streamrnn.version import __version__

FORMAT = 11

DIGEST_END = 1 << 32
"""A digest of predictions is a CRC-32: enough to tell a replay that went another way, no proof against an attacker."""

MOST_BYTES = 1 << 22
"""Of a manifest, which has some 170 for each 4,096 streams: enough for a hundred million of them."""

KEPT_QUARANTINED = 100
"""How many quarantined offsets are named, the newest: brokers take 4,096 bytes beside a committed offset."""

MOST_CHANGES = 20
"""How many settings that differ are listed one by one."""

_MOST_NAMES = 1000  # of counters, of sections of a configuration, of versions in a build: there are a few dozen

_INT64 = (1 << 63) - 1
_Natural = Annotated[int, Meta(ge=0, le=_INT64)]
_Whole = Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)]
# \Z, since $ would also allow a line feed behind the digest.
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where in the log a state belongs.

    ``position`` is the next offset to read, ``ordinal`` the number of records delivered to the learner, ``digest`` the
    running CRC-32 of its predictions, ``stream_time_ms`` the stream time (None before the first record),
    ``updates`` and ``parameters`` summarise the model, ``counters`` are whatever else goes with the state.
    ``topic_id`` tells the topic from one that is made anew under its name, where that is known. ``quarantined`` are
    offsets below ``position`` whose records the learner never saw, for a replay from an earlier checkpoint.
    """

    lineage: str
    position: _Natural
    ordinal: _Natural
    digest: Annotated[int, Meta(ge=0, lt=DIGEST_END)]
    stream_time_ms: _Whole | None = None
    updates: _Natural = 0
    parameters: _Natural = 0
    counters: Annotated[dict[str, _Whole | float], Meta(max_length=_MOST_NAMES)] = {}
    topic_id: str = ""
    quarantined: Annotated[tuple[_Natural, ...], Meta(max_length=KEPT_QUARANTINED)] = ()


class SegmentEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment as a manifest names it: digest and number of its bytes."""

    sha256: _Sha256
    bytes: _Natural


class StreamsEntry(SegmentEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment of streams: its rows are slots ``index * slots_per_segment`` and following."""

    index: _Natural
    rows: Annotated[int, Meta(ge=1)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a checkpoint but its arrays.

    ``spec`` is that of the learner, so that the arrays can be read without knowing how a job's configuration leads to
    it. ``sha256`` covers all other fields.
    """

    format: int
    job: str
    topic: str
    partition: _Natural
    created: str
    progress: Progress
    configuration: Annotated[dict[str, Any], Meta(max_length=_MOST_NAMES)]
    configuration_sha256: _Sha256
    spec: LearnerSpec
    build: Annotated[dict[str, str], Meta(max_length=_MOST_NAMES)]
    slots_per_segment: Annotated[int, Meta(ge=1, le=SEGMENT_SLOTS)]
    n_slots: _Natural
    model: SegmentEntry
    segments: tuple[StreamsEntry, ...]
    sha256: _Sha256

    @property
    def created_s(self) -> float:
        """When it was made, in seconds since the epoch."""
        return datetime.fromisoformat(self.created).timestamp()

    @property
    def bytes(self) -> int:
        """Size of all segments this checkpoint names, whether it wrote them or an earlier one did."""
        return self.model.bytes + sum(entry.bytes for entry in self.segments)


# Now, since what msgspec finds out about a type when it is used first is not safe from two threads doing so at once.
msgspec.json.Decoder(Manifest)


class _Feature(msgspec.Struct, frozen=True):
    field: str
    encoder: str


class _Source(msgspec.Struct, frozen=True):
    stream_key: str | None = None


class _Configuration(msgspec.Struct, frozen=True):
    """What a configuration is made of, as far as it tells of it: everybody who reads one relies on it.

    Another version may tell more, or less. What the values inside mean is the job's to say.
    """

    job: str = ""
    input: _Source = _Source()
    features: tuple[_Feature, ...] = ()
    inputs: dict[str, Any] = {}
    target: dict[str, Any] | None = None  # of texts there is none
    model: dict[str, Any] = {}
    learning: dict[str, Any] = {}
    streams: dict[str, Any] = {}
    hashing: dict[str, str | None] = {}
    begun_with: dict[str, str] = msgspec.field(default_factory=dict, name="model.warm_start")


class _Parts(msgspec.Struct, frozen=True):
    """So that what is wrong is told with its place."""

    configuration: _Configuration


msgspec.json.Decoder(_Parts)  # as above


def new_lineage(now: datetime | None = None) -> str:
    """A fresh lineage id: the UTC date and eight random hex digits.

    >>> new_lineage(datetime(2025, 3, 9, tzinfo=UTC))[:9]
    '20250309-'
    """
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%d}-{secrets.token_hex(4)}"


def check_configuration(manifest: Manifest, configuration: Mapping[str, Any]) -> None:
    """Raise FingerprintMismatch, naming each differing field, unless the checkpoint is of this ``configuration``."""
    differing = changes(manifest.configuration, configuration)
    if differing:
        listed = "".join(f"\n  {line}" for line in differing[:MOST_CHANGES])
        if len(differing) > MOST_CHANGES:
            listed += f"\n  and {len(differing) - MOST_CHANGES} more"
        raise FingerprintMismatch(
            f"the checkpoint at position {manifest.progress.position} of {manifest.topic}/{manifest.partition} was "
            f"written under another configuration (old -> new):{listed}\nEither put the old values back, or learn "
            "from scratch under the new ones: give the job another name, and another kafka.group_id if you set one "
            "(consumer group and checkpoints start afresh; the old ones stay)"
        )


def sign(manifest: Manifest) -> Manifest:
    """``manifest`` with its self-check filled in."""
    return msgspec.structs.replace(manifest, sha256=_self_check(msgspec.to_builtins(manifest)))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest's file, indented for people."""
    text = json.dumps(msgspec.to_builtins(manifest), sort_keys=True, indent=1, allow_nan=False)
    return text.encode() + b"\n"


def read_manifest(blobs: Blobs, name: str) -> Manifest:
    """Read one manifest, verifying its self-check and that its parts fit together; raises CorruptCheckpoint."""
    try:
        raw = parsed_json(blobs.get(name, MOST_BYTES))
    except BlobError as error:
        raise CorruptCheckpoint(f"the manifest cannot be read: {error}") from error
    except ValueError as error:
        raise CorruptCheckpoint(f"the manifest is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CorruptCheckpoint(f"the manifest is not a JSON object but a {type(raw).__name__}")
    # The version first: another format may sign itself differently.
    refuse_earlier("the manifest", raw, FORMAT)
    if raw.get("format") != FORMAT:
        raise CorruptCheckpoint(
            f"the manifest has format {raw.get('format')!r}, this version of streamrnn ({__version__}) reads {FORMAT}; "
            f"it was written by {raw.get('build')}"
        )
    # Malformed is reported before altered, since it names the field.
    try:
        manifest = msgspec.convert(raw, Manifest)
        msgspec.convert({"configuration": manifest.configuration}, _Parts)
        intact = manifest.sha256 == _self_check(raw)
    except ValueError as error:  # a field of the wrong type or pattern, or NaN written as a number
        raise CorruptCheckpoint(f"the manifest is malformed: {error}") from error
    if not intact:
        raise CorruptCheckpoint("the manifest's bytes differ from its own digest")
    if canonical_sha256(manifest.configuration) != manifest.configuration_sha256:
        raise CorruptCheckpoint("the manifest's configuration differs from its digest")
    if not _complete(manifest):
        raise CorruptCheckpoint(f"the manifest's segments do not make up its {manifest.n_slots} slots")
    return manifest


def _complete(manifest: Manifest) -> bool:
    """Whether the segments follow each other without a hole, all full but the last."""
    size, left = manifest.slots_per_segment, manifest.n_slots
    for index, entry in enumerate(manifest.segments):
        if (entry.index, entry.rows) != (index, min(size, left)):
            return False
        left -= entry.rows
    return left == 0


def _self_check(raw: Mapping[str, Any]) -> str:
    return canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})
