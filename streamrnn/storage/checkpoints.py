"""Checkpoints: a JSON manifest naming immutable, content-addressed safetensors segments.

A checkpoint is (position, state). The state is cut into segments of 4,096 stream slots plus one for the model; a blob
is named by the SHA-256 of its bytes and never changes, so a checkpoint that touched one segment writes one and names
the others. Invariant: a manifest is put only after every byte it names is durable; therefore a crash at any moment
leaves the previous checkpoint usable. Nothing that was read is trusted: manifest and segments are checked against
their digests, and a checkpoint that fails is reported with its reason while the one before is used.

Segments belong to one lineage, so lineages can be copied or deleted as a whole. Left out: what blobs are called, see
``names``; where they are and how they survive a crash, see ``blobs``; which may go, see ``retention``; removing whole
lineages; and what to do when no checkpoint is usable, which the recovery decides.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from streamrnn.errors import BlobError, CheckpointError, ConfigError, CorruptCheckpoint, EarlierFormat
from streamrnn.learner.lowering import bytes_per_stream
from streamrnn.learner.state import MODEL, STREAMS, empty_streams, require_shapes
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.learner.validity import require_sound_rows
from streamrnn.storage.blobs import Blob, Blobs, told_together
from streamrnn.storage.fingerprints import as_json, build_info, canonical_sha256
from streamrnn.storage.manifest import (
    DIGEST_END,
    FORMAT,
    Manifest,
    Progress,
    SegmentEntry,
    StreamsEntry,
    check_configuration,
    manifest_bytes,
    read_manifest,
    sign,
)
from streamrnn.storage.names import PartitionNames, folder_of, last, position_in
from streamrnn.storage.putting import Putting
from streamrnn.storage.retention import GARBAGE_GRACE_S, Candidate, superfluous
from streamrnn.storage.segments import most_bytes, unpack_segment
from streamrnn.storage.snapshot import Checkpoint, Snapshot, n_segments
from streamrnn.storage.tensors import Arrays, decode
from streamrnn.system.side_by_side import side_by_side, threads

_Entry = TypeVar("_Entry", bound=SegmentEntry)
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class Rejected(NamedTuple):
    """A checkpoint that exists and cannot be used."""

    place: str
    reason: str
    earlier: bool = False
    """Whether nothing is known to be wrong but that an earlier version wrote it."""


class Found(NamedTuple):
    """What ``CheckpointStore.newest`` found; ``rejected`` are the newer ones that had to be passed over."""

    checkpoint: Checkpoint | None
    rejected: list[Rejected]


class Used(NamedTuple, Generic[_T]):
    """What was made of a checkpoint by ``CheckpointStore.use_newest``; ``rejected`` as above."""

    made: _T | None
    rejected: list[Rejected]


class CheckpointStore:
    """The checkpoints of one partition of one job among ``blobs``.

    ``configuration`` is the fingerprint of everything that changes what is learned, as JSON values. It is written into
    each manifest and every checkpoint read must agree with it. None reads any checkpoint and refuses to write.
    ``build`` (see ``build_info``) is written along; a difference is allowed, and ``fingerprints.changes`` lists it.

    The store keeps no state: several may look at one place, and two workers that both believe they own the partition
    write the same bytes.
    """

    def __init__(
        self,
        blobs: Blobs,
        job: str,
        topic: str,
        partition: int,
        *,
        configuration: Mapping[str, Any] | None = None,
        build: Mapping[str, str] | None = None,
    ) -> None:
        self.job, self.topic, self.partition = job, topic, partition
        self.configuration = None if configuration is None else as_json(configuration)
        self.build = dict(build_info() if build is None else build)
        self._blobs = blobs
        self._names = PartitionNames(job, topic, partition)

    @property
    def place(self) -> str:
        """Where the partition's checkpoints are, for people."""
        return f"{self._blobs}/{self._names.folder}"

    # -- reading ------------------------------------------------------------------------------------------------------

    def lineages(self) -> list[str]:
        """The lineages that have anything stored, sorted (new_lineage's ids sort by day)."""
        listed = self._blobs.list(f"{self._names.folder}/")
        return sorted({lineage for blob in listed if (lineage := self._names.lineage_in(blob.name)) is not None})

    def positions(self, lineage: str) -> list[int]:
        """The positions of a lineage's checkpoints, ascending; none of them is read."""
        listed = self._blobs.list(f"{self._names.lineage(lineage)}/manifest-")
        return sorted(position for blob in listed if (position := position_in(blob.name)) is not None)

    def newest(self, lineage: str, at_or_below: int | None = None, *, of_any_configuration: bool = False) -> Found:
        """Load the newest usable checkpoint of ``lineage`` whose position is at most ``at_or_below`` (None: any).

        A corrupt one is logged, listed in ``rejected``, and the one before is tried. Raises FingerprintMismatch when
        the newest readable one was written under another configuration, unless it may be ``of_any_configuration``.
        """

        def load(manifest: Manifest) -> Checkpoint:
            return self.load(manifest, of_any_configuration=of_any_configuration)

        return Found(*self.use_newest(lineage, load, at_or_below))

    def use_newest(self, lineage: str, make: Callable[[Manifest], _T], at_or_below: int | None = None) -> Used[_T]:
        """What ``make`` gives for the newest checkpoint of ``lineage`` of which it, too, finds that it can be used.

        Of another one it raises CorruptCheckpoint, and the one before is tried, as in ``newest``.
        """
        rejected: list[Rejected] = []
        for position in reversed(self.positions(lineage)):
            if at_or_below is not None and position > at_or_below:
                continue
            try:
                return Used(make(self.read(lineage, position)), rejected)
            # Another configuration is no damage: the checkpoints before were written under it as well.
            except CorruptCheckpoint as error:
                place = f"{self._blobs}/{self._names.manifest(lineage, position)}"
                _log.error("checkpoint %s cannot be used: %s", place, error)
                rejected.append(Rejected(place, str(error), isinstance(error, EarlierFormat)))
        return Used(None, rejected)

    def read(self, lineage: str, position: int) -> Manifest:
        """Read and verify one manifest of this partition. Raises CorruptCheckpoint with the reason."""
        manifest = read_manifest(self._blobs, self._names.manifest(lineage, position))
        progress = manifest.progress
        owner = (manifest.job, manifest.topic, manifest.partition, progress.lineage, progress.position)
        expected = (self.job, self.topic, self.partition, lineage, position)
        if owner != expected:
            raise CorruptCheckpoint(
                f"it says it is of job, topic, partition, lineage, position {owner}, its place says {expected}; was it "
                "copied here by hand?"
            )
        return manifest

    def flaw(self, lineage: str, position: int) -> str:
        """Why a checkpoint cannot be used, as far as its manifest and the sizes of its segments tell; else "".

        No array is read, so that this is quick for checkpoints of any size.
        """
        try:
            manifest = self.read(lineage, position)
        except CorruptCheckpoint as error:
            return str(error)
        sizes = {blob.name: blob.size for blob in self._listed_segments(lineage)}
        for entry in (manifest.model, *manifest.segments):
            name = self._names.segment(lineage, entry.sha256)
            if (size := sizes.get(name)) is None:
                return f"segment {name} cannot be read: it is gone"
            if size != entry.bytes:
                return f"segment {name} has {size} bytes, expected {entry.bytes} bytes"
        return _unlikely(manifest)

    def load(self, manifest: Manifest, *, of_any_configuration: bool = False, into: Arrays | None = None) -> Checkpoint:
        """Read and verify every array ``manifest`` names.

        ``into`` are the arrays that those of the streams are read into, with a row for each slot (``learner.rows``);
        without, there are new ones. Several segments are read at a time, and each is let go of once it is in place.

        Raises CorruptCheckpoint when bytes are missing or wrong, FingerprintMismatch for another configuration, unless
        it may be ``of_any_configuration``.
        """
        if self.configuration is not None and not of_any_configuration:
            check_configuration(manifest, self.configuration)
        # What there is room made for below is what the files hold, not what a manifest says they do.
        if unlikely := _unlikely(manifest):
            raise CorruptCheckpoint(unlikely)
        lineage = manifest.progress.lineage
        for entry in self._missing(lineage, (manifest.model, *manifest.segments)):
            self._read_arrays(lineage, entry, _called(entry))  # which says why it cannot be read
        model = self.load_model(manifest)
        if into is None:
            into = empty_streams(manifest.spec, manifest.n_slots)
        read = functools.partial(self._read_segment, manifest, model, into)
        keys = list(chain.from_iterable(side_by_side(read, manifest.segments, threads())))
        checkpoint = Checkpoint(manifest, model, into, keys)
        with _corrupt("its arrays"):
            checkpoint.state().require_fit(manifest.spec, rows_are_sound=True)
        return checkpoint

    def load_model(self, manifest: Manifest) -> Arrays:
        """Read what is not kept per stream, and verify bytes, names and shapes. Raises CorruptCheckpoint."""
        if unlikely := _unlikely(manifest):
            raise CorruptCheckpoint(unlikely)
        arrays = self._read_arrays(manifest.progress.lineage, manifest.model, _called(manifest.model))
        with _corrupt(_called(manifest.model)):
            require_shapes(arrays, MODEL, manifest.spec)
        return arrays

    def _read_segment(
        self, manifest: Manifest, model: Arrays, into: Arrays, entry: StreamsEntry
    ) -> tuple[bytes | None, ...]:
        """Read a segment, verify it, and put its rows where they belong; returns its keys."""
        what = _called(entry)
        segment = unpack_segment(self._read_arrays(manifest.progress.lineage, entry, what), entry.rows, what)
        with _corrupt(what):
            require_shapes(segment.arrays, STREAMS, manifest.spec, entry.rows)
            require_sound_rows(manifest.spec, model, segment.arrays)
        first = entry.index * manifest.slots_per_segment
        for name, array in segment.arrays.items():
            into[name][first : first + entry.rows] = array
        return segment.keys

    def _read_arrays(self, lineage: str, entry: SegmentEntry, what: str) -> Arrays:
        name = self._names.segment(lineage, entry.sha256)
        try:
            data = self._blobs.get(name, entry.bytes)
        except BlobError as error:
            raise CorruptCheckpoint(f"{what}: {last(name)} cannot be read: {error}") from error
        if len(data) != entry.bytes:
            raise CorruptCheckpoint(f"{what}: {last(name)} has {len(data)} bytes, expected {entry.bytes}")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise CorruptCheckpoint(f"{what}: the bytes of {last(name)} differ from their digest")
        try:
            return decode(data)
        except ValueError as error:
            raise CorruptCheckpoint(f"{what}: {error}") from error

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(
        self, snapshot: Snapshot, progress: Progress, base: Manifest | None = None, *,
        only_sound: bool = False, at_once: int = 1,
    ) -> Manifest:  # fmt: skip
        """Make ``snapshot`` durable, by so many threads ``at_once``, and return its manifest.

        Segments the snapshot lacks are those of ``base``: the checkpoint of the same lineage that was current when
        the snapshot's touched segments were last cleared. Without a base the snapshot must be complete. Raises
        CorruptCheckpoint when a segment of ``base`` is gone (then write a complete snapshot), CheckpointError when the
        disk refuses or the arguments do not fit together; where it must be ``only_sound``, for one that would be
        refused when it is read, too.
        """
        self._check_writable(progress, base)
        # Cheap checks before any byte is written, so that a refused snapshot leaves nothing behind.
        reused = _reused(snapshot, base)
        name = self._names.manifest(progress.lineage, progress.position)
        try:
            if missing := self._missing(progress.lineage, reused.values()):
                which = missing[0].index
                raise CorruptCheckpoint(f"segment {which} of the checkpoint to build on is gone or cut short")
            putting = Putting(self._blobs, functools.partial(self._names.segment, progress.lineage), snapshot)
            model, written = putting(only_sound=only_sound, at_once=at_once)
            manifest = self._manifest(snapshot, progress, model, {**reused, **written})
            self._blobs.put([(name, manifest_bytes(manifest))])  # by itself, after all that it names is durable
            # Another process's retention may have removed a segment of base since it was seen above.
            if self._missing(progress.lineage, (manifest.model, *manifest.segments)):
                self._blobs.delete([name])
                raise CorruptCheckpoint(f"a segment of {name} vanished while it was written; write a complete one")
        except BlobError as error:
            stays = "" if base is None else "; the previous one stays valid"
            raise CheckpointError(
                f"a checkpoint at {progress.position} cannot be written below {self.place}: {error}{stays}. Check "
                "space and permissions"
            ) from error
        except ValueError as error:  # a dtype, a name, or a number that is not finite
            raise CheckpointError(f"a checkpoint at {progress.position} cannot be encoded: {error}") from error
        return manifest

    def _check_writable(self, progress: Progress, base: Manifest | None) -> None:
        if self.configuration is None:
            raise CheckpointError("this store was opened without a configuration; it can only read")
        if not 0 <= progress.digest < DIGEST_END:
            raise CheckpointError(f"digest: a CRC-32, so an unsigned number of 32 bits, got {progress.digest}")
        if base is not None and (base.progress.lineage, base.slots_per_segment) != (progress.lineage, SEGMENT_SLOTS):
            raise CheckpointError(
                f"base is of lineage {base.progress.lineage} with {base.slots_per_segment} slots per segment, the "
                f"snapshot of {progress.lineage} with {SEGMENT_SLOTS}; write a complete snapshot without a base"
            )

    def _missing(self, lineage: str, entries: Iterable[_Entry]) -> list[_Entry]:
        """Those of which the bytes are gone or have another length (the cheap check: contents are not read)."""
        sizes = {blob.name: blob.size for blob in self._listed_segments(lineage)}
        return [entry for entry in entries if sizes.get(self._names.segment(lineage, entry.sha256)) != entry.bytes]

    def _manifest(
        self, snapshot: Snapshot, progress: Progress, model: SegmentEntry, segments: Mapping[int, StreamsEntry]
    ) -> Manifest:
        assert self.configuration is not None  # held by _check_writable
        unsigned = Manifest(
            format=FORMAT,
            job=self.job,
            topic=self.topic,
            partition=self.partition,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            progress=progress,
            configuration=self.configuration,
            configuration_sha256=canonical_sha256(self.configuration),
            spec=snapshot.spec,
            build=self.build,
            slots_per_segment=SEGMENT_SLOTS,
            n_slots=snapshot.n_slots,
            model=model,
            segments=tuple(segments[index] for index in sorted(segments)),
            sha256="",
        )
        return sign(unsigned)

    # -- retention ----------------------------------------------------------------------------------------------------

    def retire(self, lineage: str, *, retain: int, committed: int | None) -> None:
        """Remove the checkpoints that nobody needs and the segments that nothing names, as ``retention`` decides."""
        if retain < 1:
            raise ConfigError(f"retain: must be at least 1, got {retain}")
        put_before = time.time() - GARBAGE_GRACE_S
        # Manifests before segments: what a manifest names was there before it, so none looks damaged for being new.
        manifests = [self._candidate(lineage, position) for position in self.positions(lineage)]
        segments = self._listed_segments(lineage)
        gone = superfluous(manifests, segments, retain=retain, committed=committed, put_before=put_before)
        # What cannot be removed must not keep the rest, or the directory would grow for ever.
        with told_together() as attempt:
            attempt(self._blobs.delete, gone.manifests)
            attempt(self._blobs.delete, gone.segments, put_before=put_before)
            attempt(self._blobs.sweep, f"{self._names.lineage(lineage)}/", put_before=put_before)

    def _candidate(self, lineage: str, position: int) -> Candidate:
        name = self._names.manifest(lineage, position)
        try:
            manifest = self.read(lineage, position)
        except CorruptCheckpoint:
            return Candidate(name, position, None)
        entries = (manifest.model, *manifest.segments)
        return Candidate(name, position, {self._names.segment(lineage, e.sha256): e.bytes for e in entries})

    def _listed_segments(self, lineage: str) -> list[Blob]:
        listed = self._blobs.list(f"{self._names.lineage(lineage)}/segments/")
        return [blob for blob in listed if blob.name.endswith(".safetensors")]


def manifests_of(blobs: Blobs, job: str) -> Iterator[Manifest]:
    """Every manifest of a job that can be read, of whatever topic, partition and lineage."""
    for blob in blobs.list(f"{folder_of(job)}/"):
        if position_in(blob.name) is not None:
            with suppress(CorruptCheckpoint):
                yield read_manifest(blobs, blob.name)


def _called(entry: SegmentEntry) -> str:
    """What a segment is called where something is wrong with it."""
    return f"segment {entry.index}" if isinstance(entry, StreamsEntry) else "model segment"


def _unlikely(manifest: Manifest) -> str:
    """What a manifest says of its streams that no learner wrote, or that its segments have no room for; else ""."""
    most, row = manifest.spec.streams.max_streams, bytes_per_stream(manifest.spec)
    if manifest.n_slots > most:
        return f"it has {manifest.n_slots} slots, its specification allows {most}"
    # Of two segments the rows differ, since each stream stands in one of them.
    if len({entry.sha256 for entry in manifest.segments}) != len(manifest.segments):
        return "it names a segment of streams twice"
    for entry in (manifest.model, *manifest.segments):
        largest = most_bytes(manifest.spec, entry.rows if isinstance(entry, StreamsEntry) else None)
        if entry.bytes > largest:
            return f"{_called(entry)} has {entry.bytes} bytes, its specification makes at most {largest}"
    for entry in manifest.segments:
        if entry.bytes < entry.rows * row:
            return f"segment {entry.index} has {entry.bytes} bytes, its {entry.rows} rows need {entry.rows * row}"
    return ""


@contextmanager
def _corrupt(what: str) -> Iterator[None]:
    """What does not fit in a file that was read is damage."""
    try:
        yield
    except ValueError as error:
        raise CorruptCheckpoint(f"{what}: {error}") from error


def _reused(snapshot: Snapshot, base: Manifest | None) -> dict[int, StreamsEntry]:
    """The segments ``snapshot`` lacks, as ``base`` names them. Raises CheckpointError when the two leave a hole."""
    count = n_segments(snapshot.n_slots)
    held = set(snapshot.segments)
    if held and not 0 <= min(held) <= max(held) < count:
        raise CheckpointError(f"segments {sorted(held)} go beyond {snapshot.n_slots} slots")
    earlier = {} if base is None else {entry.index: entry for entry in base.segments}
    reused = {}
    for index in range(count):
        rows = min(SEGMENT_SLOTS, snapshot.n_slots - index * SEGMENT_SLOTS)
        old = earlier.get(index)
        if index in held:
            continue
        if old is None or old.rows != rows:
            raise CheckpointError(
                f"segment {index} ({rows} rows) is neither in the snapshot nor in the checkpoint it builds on; "
                "take a complete snapshot (touched=None)"
            )
        reused[index] = old
    return reused
