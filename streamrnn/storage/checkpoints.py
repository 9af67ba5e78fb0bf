"""Local checkpoints: a JSON manifest naming immutable, content-addressed safetensors segments.

A checkpoint is (position, state). The state is cut into segments of 4,096 stream slots plus one for the model; a file
is named by the SHA-256 of its bytes and never changes, so a checkpoint that touched one segment writes one and names
the others. Invariant: a manifest appears, by rename, only after every byte it names is on the disk; therefore a crash
at any moment leaves the previous checkpoint usable. Nothing read from disk is trusted: manifest and segments are
checked against their digests, and a checkpoint that fails is reported with its reason while the one before is used.

    <directory>/<job>/<topic>-<partition>/<lineage>/manifest-<position, 20 digits>.json
                                                    segments/<sha256>.safetensors

Segments belong to one lineage, so lineages can be copied or deleted as directories. Left out: removing whole lineages,
object stores, and deciding what to do when no checkpoint is usable; the recovery decides that.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.manifest import (
    FORMAT,
    Manifest,
    ModelEntry,
    Progress,
    Segment,
    SegmentEntry,
    as_json,
    build_info,
    canonical_sha256,
    check_configuration,
    manifest_bytes,
    pack_segment,
    read_manifest,
    sign,
    unpack_segment,
)
from streamrnn.storage.snapshot import Checkpoint, Snapshot, join_segments, n_segments
from streamrnn.storage.tensors import Arrays, decode, encode, sync_directory, write_atomically

# An unreferenced segment younger than this may belong to a checkpoint that another process is writing right now.
GARBAGE_GRACE_S = 900.0

_LINEAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_MANIFEST_NAME = re.compile(r"manifest-([0-9]{20})\.json")

_log = logging.getLogger(__name__)


class Rejected(NamedTuple):
    """A checkpoint that exists and cannot be used."""

    path: Path
    reason: str


class Found(NamedTuple):
    """What ``CheckpointStore.newest`` found; ``rejected`` are the newer ones that had to be passed over."""

    checkpoint: Checkpoint | None
    rejected: list[Rejected]


class CheckpointStore:
    """The checkpoints of one partition of one job below ``directory``.

    ``configuration`` is the fingerprint of everything that changes what is learned, as JSON values. It is written into
    each manifest and every checkpoint read must agree with it. None reads any checkpoint and refuses to write.
    ``build`` (see ``build_info``) is written along; a difference is allowed and listed by ``build_differences``.

    The store keeps no state: several may look at one directory, and two workers that both believe they own the
    partition write the same bytes.
    """

    def __init__(
        self,
        directory: str | Path,
        job: str,
        topic: str,
        partition: int,
        *,
        configuration: Mapping[str, Any] | None = None,
        build: Mapping[str, str] | None = None,
    ) -> None:
        if partition < 0:
            raise ConfigError(f"partition: must be at least 0, got {partition}")
        self.job, self.topic, self.partition = job, topic, partition
        self.configuration = None if configuration is None else as_json(configuration)
        self.build = dict(build_info() if build is None else build)
        self.directory = Path(directory) / _safe(job) / f"{_safe(topic)}-{partition}"

    def lineages(self) -> list[str]:
        """The lineages that have a directory, sorted (new_lineage's ids sort by day)."""
        if not self.directory.is_dir():
            return []
        return sorted(p.name for p in self.directory.iterdir() if p.is_dir() and _LINEAGE.fullmatch(p.name))

    def manifests(self, lineage: str) -> tuple[list[Manifest], list[Rejected]]:
        """The readable manifests of a lineage by ascending position, and the unreadable ones; segments are not read."""
        manifests: list[Manifest] = []
        rejected: list[Rejected] = []
        for path in self._manifest_paths(lineage):
            try:
                manifests.append(self.read(path))
            except CorruptCheckpoint as error:
                rejected.append(Rejected(path, str(error)))
        return manifests, rejected

    def newest(self, lineage: str, at_or_below: int | None = None) -> Found:
        """Load the newest usable checkpoint of ``lineage`` whose position is at most ``at_or_below`` (None: any).

        A corrupt one is logged, listed in ``rejected``, and the one before is tried. Raises FingerprintMismatch when
        the newest readable one was written under another configuration.
        """
        rejected: list[Rejected] = []
        for path in reversed(self._manifest_paths(lineage)):
            if at_or_below is not None and _position(path) > at_or_below:
                continue
            try:
                return Found(self.load(self.read(path)), rejected)
            except CorruptCheckpoint as error:
                _log.error("checkpoint %s cannot be used: %s", path, error)
                rejected.append(Rejected(path, str(error)))
        return Found(None, rejected)

    def read(self, path: Path) -> Manifest:
        """Read and verify one manifest of this partition. Raises CorruptCheckpoint with the reason."""
        manifest = read_manifest(path)
        progress = manifest.progress
        owner = (manifest.job, manifest.topic, manifest.partition, progress.lineage, progress.position)
        expected = (self.job, self.topic, self.partition, path.parent.name, _position(path))
        if owner != expected:
            raise CorruptCheckpoint(
                f"it says it is of job, topic, partition, lineage, position {owner}, its place says {expected}; was it "
                "copied here by hand?"
            )
        return manifest

    def load(self, manifest: Manifest) -> Checkpoint:
        """Read and verify every array ``manifest`` names.

        Raises CorruptCheckpoint when bytes are missing or wrong, FingerprintMismatch for another configuration.
        """
        if self.configuration is not None:
            check_configuration(manifest, self.configuration)
        folder = self._segments_directory(manifest.progress.lineage)
        model = _read_arrays(folder, manifest.model.sha256, manifest.model.bytes, "model segment")
        streams, keys = join_segments(self._segments(manifest), manifest.n_slots)
        return Checkpoint(manifest, model, streams, keys)

    def _segments(self, manifest: Manifest) -> Iterator[Segment]:
        folder = self._segments_directory(manifest.progress.lineage)
        for entry in manifest.segments:
            what = f"segment {entry.index}"
            yield unpack_segment(_read_arrays(folder, entry.sha256, entry.bytes, what), entry.rows, what)

    def write(self, snapshot: Snapshot, progress: Progress, base: Manifest | None = None) -> Manifest:
        """Make ``snapshot`` durable and return its manifest.

        Segments the snapshot lacks are taken from ``base``: the checkpoint of the same lineage that was current when
        the snapshot's touched segments were last cleared. Without a base the snapshot must be complete. Raises
        CorruptCheckpoint when a segment of ``base`` is gone (then write a complete snapshot), CheckpointError when the
        disk refuses or the arguments do not fit together.
        """
        if self.configuration is None:
            raise CheckpointError("this store was opened without a configuration; it can only read")
        if not 0 <= progress.digest < 1 << 64:
            raise CheckpointError(f"digest: an unsigned 64-bit number, got {progress.digest}")
        if base is not None and (base.progress.lineage, base.slots_per_segment) != (progress.lineage, SEGMENT_SLOTS):
            raise CheckpointError(
                f"base is of lineage {base.progress.lineage} with {base.slots_per_segment} slots per segment, the "
                f"snapshot of {progress.lineage} with {SEGMENT_SLOTS}; write a complete snapshot without a base"
            )
        folder = self._segments_directory(progress.lineage)
        try:
            _make_directories(folder)
            model = _put(folder, encode(snapshot.model))
            entries = self._put_segments(folder, snapshot, base)
            sync_directory(folder)
            manifest = self._manifest(snapshot, progress, ModelEntry(sha256=model[0], bytes=model[1]), entries)
            path = self._manifest_path(progress.lineage, progress.position)
            write_atomically(path, manifest_bytes(manifest))
            # Another process's retention may have removed a segment of base since it was seen above.
            if _missing(folder, manifest):
                path.unlink(missing_ok=True)
                raise CorruptCheckpoint(f"a segment of {path.name} vanished while it was written; write a complete one")
        except OSError as error:
            raise CheckpointError(
                f"a checkpoint at {progress.position} cannot be written below {folder.parent}: {error}; the previous "
                "one stays valid. Check space and permissions"
            ) from error
        except ValueError as error:  # a dtype, a name, or a number that is not finite
            raise CheckpointError(f"a checkpoint at {progress.position} cannot be encoded: {error}") from error
        return manifest

    def retire(self, lineage: str, *, retain: int, committed: int | None) -> list[Path]:
        """Remove checkpoints nobody needs and segments nothing names; return the paths removed.

        Kept are the ``retain`` newest usable ones and the newest usable one at or below ``committed`` (without one, or
        with None for "nothing committed yet", all stay). Unusable ones stay until they are older than all of these.
        """
        if retain < 1:
            raise ConfigError(f"retain: must be at least 1, got {retain}")
        folder = self._segments_directory(lineage)
        manifests, unreadable = self.manifests(lineage)
        usable = [m.progress.position for m in manifests if not _missing(folder, m)]
        keep = set(usable[-retain:])
        reachable = [p for p in usable if committed is not None and p <= committed]
        if committed is None or not reachable:
            keep.update(usable)
        else:
            keep.add(reachable[-1])
        removed = []
        for path in self._manifest_paths(lineage):
            # An unusable one is removed only once usable ones are older: until then it is evidence.
            position = _position(path)
            if position not in keep and (position in usable or (keep and position < min(keep))):
                path.unlink(missing_ok=True)
                removed.append(path)
        if removed:
            sync_directory(folder.parent)
        gone = set(removed)
        if any(bad.path not in gone for bad in unreadable):
            return removed  # perhaps written by a newer version: what it names is unknown, so nothing is garbage
        kept = [m for m in manifests if self._manifest_path(lineage, m.progress.position) not in gone]
        named = {_file(m.model.sha256) for m in kept} | {_file(e.sha256) for m in kept for e in m.segments}
        return removed + _collect(folder, named) + _collect(folder.parent, ())

    def _put_segments(self, folder: Path, snapshot: Snapshot, base: Manifest | None) -> tuple[SegmentEntry, ...]:
        earlier = {} if base is None else {entry.index: entry for entry in base.segments}
        entries = []
        last = n_segments(snapshot.n_slots)
        if snapshot.segments and not 0 <= min(snapshot.segments) <= max(snapshot.segments) < last:
            raise CheckpointError(f"segments {sorted(snapshot.segments)} go beyond {snapshot.n_slots} slots")
        for index in range(last):
            rows = min(SEGMENT_SLOTS, snapshot.n_slots - index * SEGMENT_SLOTS)
            segment, old = snapshot.segments.get(index), earlier.get(index)
            if segment is not None:
                if segment.rows != rows:
                    raise CheckpointError(
                        f"segment {index} has {segment.rows} rows, {snapshot.n_slots} slots need {rows}"
                    )
                sha256, size = _put(folder, encode(pack_segment(segment, index)))
                entries.append(SegmentEntry(index=index, sha256=sha256, rows=rows, bytes=size))
            elif old is None or old.rows != rows:
                raise CheckpointError(
                    f"segment {index} ({rows} rows) is neither in the snapshot nor in the checkpoint it builds on; "
                    "take a complete snapshot (touched=None)"
                )
            elif _size(folder / _file(old.sha256)) != old.bytes:
                raise CorruptCheckpoint(f"segment {index} of the checkpoint to build on is gone or cut short")
            else:
                entries.append(old)
        return tuple(entries)

    def _manifest(
        self, snapshot: Snapshot, progress: Progress, model: ModelEntry, segments: tuple[SegmentEntry, ...]
    ) -> Manifest:
        assert self.configuration is not None
        unsigned = Manifest(
            format=FORMAT,
            job=self.job,
            topic=self.topic,
            partition=self.partition,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            progress=progress,
            configuration=self.configuration,
            configuration_sha256=canonical_sha256(self.configuration),
            build=self.build,
            slots_per_segment=SEGMENT_SLOTS,
            n_slots=snapshot.n_slots,
            model=model,
            segments=segments,
            sha256="",
        )
        return sign(unsigned)

    def _lineage_directory(self, lineage: str) -> Path:
        if not _LINEAGE.fullmatch(lineage):
            raise CheckpointError(f"lineage: letters, digits, '-' and '_', at most 64, got {lineage!r}")
        return self.directory / lineage

    def _segments_directory(self, lineage: str) -> Path:
        return self._lineage_directory(lineage) / "segments"

    def _manifest_path(self, lineage: str, position: int) -> Path:
        return self._lineage_directory(lineage) / f"manifest-{position:020d}.json"

    def _manifest_paths(self, lineage: str) -> list[Path]:
        folder = self._lineage_directory(lineage)
        if not folder.is_dir():
            return []
        return sorted(p for p in folder.iterdir() if _MANIFEST_NAME.fullmatch(p.name))


def _safe(name: str) -> str:
    """``name`` as one path component, reversible: anything but letters, digits and "_.-~" percent-encoded.

    >>> _safe("orders.v1-eu"), _safe("a/b"), _safe("..")
    ('orders.v1-eu', 'a%2Fb', '%2E.')
    """
    if not name:
        raise ConfigError("job, topic: must not be empty")
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _file(sha256: str) -> str:
    return f"{sha256}.safetensors"


def _position(path: Path) -> int:
    match = _MANIFEST_NAME.fullmatch(path.name)
    if match is None:
        raise CorruptCheckpoint(f"{path.name} is not the name of a manifest")
    return int(match[1])


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _make_directories(folder: Path) -> None:
    """Create ``folder`` and its parents, each entry durable."""
    missing = []
    at = folder
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def _put(folder: Path, data: bytes) -> tuple[str, int]:
    """Store ``data`` under its digest; one that is there already is compared, since bits can rot."""
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / _file(sha256)
    if _size(path) == len(data) and path.read_bytes() == data:
        os.utime(path)  # young again, so that a concurrent collection spares it until a manifest names it
    else:
        write_atomically(path, data, durable_name=False)
    return sha256, len(data)


def _read_arrays(folder: Path, sha256: str, size: int, what: str) -> Arrays:
    path = folder / _file(sha256)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorruptCheckpoint(f"{what}: {path.name} cannot be read: {error}") from error
    if len(data) != size:
        raise CorruptCheckpoint(f"{what}: {path.name} has {len(data)} bytes, expected {size}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptCheckpoint(f"{what}: the bytes of {path.name} differ from their digest")
    try:
        return decode(data)
    except ValueError as error:
        raise CorruptCheckpoint(f"{what}: {error}") from error


def _missing(folder: Path, manifest: Manifest) -> bool:
    """Whether a segment of ``manifest`` is gone or has another size (the cheap check; contents are not read)."""
    entries = [(manifest.model.sha256, manifest.model.bytes), *((e.sha256, e.bytes) for e in manifest.segments)]
    return any(_size(folder / _file(sha256)) != size for sha256, size in entries)


def _collect(folder: Path, named: Collection[str]) -> list[Path]:
    """Remove old segments that are not ``named``, and what interrupted writes left behind."""
    removed: list[Path] = []
    if not folder.is_dir():
        return removed
    for path in sorted(folder.iterdir()):
        stale = path.suffix == ".tmp" or (path.suffix == ".safetensors" and path.name not in named)
        try:
            if stale and time.time() - path.stat().st_mtime > GARBAGE_GRACE_S:
                path.unlink()
                removed.append(path)
        except FileNotFoundError:
            continue  # another worker collects here too
    return removed
