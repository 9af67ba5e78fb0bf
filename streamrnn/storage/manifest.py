"""What is inside a checkpoint: the manifest, the packing of a segment, and the fingerprints that must agree.

The manifest is JSON, written for people to read, and carries the SHA-256 of its own content in canonical form (sorted
keys, no white space). Files are named by digest only, so no name read from disk ever becomes part of a path. Stream
keys are arbitrary bytes: a segment keeps them as one blob, int64 offsets, and a flag that tells a free slot from an
empty key.

Two fingerprints travel along. ``configuration`` is all that changes what is learned: a difference is an error that
names the fields. ``build`` is versions and CPU target: a difference may change last bits and is allowed, so rolling
deploys work; the caller counts it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from streamrnn.errors import CheckpointError, CorruptCheckpoint, FingerprintMismatch
from streamrnn.storage.tensors import Arrays
from streamrnn.version import __version__

FORMAT = 1

_KEYS = "keys."  # prefix of the arrays that hold a segment's stream keys; reserved
_KEY_BLOB, _KEY_OFFSETS, _KEY_PRESENT = "keys.blob", "keys.offsets", "keys.present"

_Natural = Annotated[int, Meta(ge=0)]
# \Z, since $ would also allow a line feed behind the digest.
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Progress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where in the log a state belongs.

    ``position`` is the next offset to read, ``ordinal`` the number of records delivered to the learner, ``digest`` the
    running 64-bit digest of its predictions, ``stream_time_ms`` the stream time (None before the first record),
    ``updates`` and ``parameters`` summarise the model, ``counters`` are whatever else goes with the state.
    """

    lineage: str
    position: _Natural
    ordinal: _Natural
    digest: _Natural
    stream_time_ms: int | None = None
    updates: _Natural = 0
    parameters: _Natural = 0
    counters: dict[str, int | float] = {}


class SegmentEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stream segment as a manifest names it: its rows are slots ``index * slots_per_segment`` and following."""

    index: _Natural
    sha256: _Sha256
    rows: Annotated[int, Meta(ge=1)]
    bytes: _Natural


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model segment as a manifest names it."""

    sha256: _Sha256
    bytes: _Natural


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a checkpoint but its arrays. ``sha256`` covers all other fields."""

    format: int
    job: str
    topic: str
    partition: _Natural
    created: str
    progress: Progress
    configuration: dict[str, Any]
    configuration_sha256: _Sha256
    build: dict[str, str]
    slots_per_segment: Annotated[int, Meta(ge=1)]
    n_slots: _Natural
    model: ModelEntry
    segments: tuple[SegmentEntry, ...]
    sha256: _Sha256

    @property
    def bytes(self) -> int:
        """Size of all segments this checkpoint names, whether it wrote them or an earlier one did."""
        return self.model.bytes + sum(entry.bytes for entry in self.segments)


@dataclass(frozen=True)
class Segment:
    """Rows of every stream array, ``rows`` long each, and the key of each row (None for a free slot)."""

    arrays: Arrays
    keys: tuple[bytes | None, ...]

    @property
    def rows(self) -> int:
        """Slots in this segment."""
        return len(self.keys)


def new_lineage(now: datetime | None = None) -> str:
    """A fresh lineage id: the UTC date and eight random hex digits.

    >>> new_lineage(datetime(2025, 3, 9, tzinfo=UTC))[:9]
    '20250309-'
    """
    return f"{(now or datetime.now(UTC)).astimezone(UTC):%Y%m%d}-{secrets.token_hex(4)}"


def build_info(**extra: str) -> dict[str, str]:
    """What decides the bits besides the configuration; ``extra`` adds what the caller knows, such as the CPU target."""
    return {
        "streamrnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": metadata.version("numba"),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        **extra,
    }


def build_differences(manifest: Manifest, build: Mapping[str, str]) -> list[str]:
    """What differs between the build that wrote the checkpoint and ``build``, as "name: old -> new" lines."""
    return _differences(manifest.build, dict(build))


def check_configuration(manifest: Manifest, configuration: Mapping[str, Any]) -> None:
    """Raise FingerprintMismatch, naming each differing field, unless the checkpoint is of this ``configuration``."""
    differing = _differences(manifest.configuration, as_json(configuration))
    if differing:
        listed = "".join(f"\n  {line}" for line in differing)
        raise FingerprintMismatch(
            f"the checkpoint at position {manifest.progress.position} of {manifest.topic}/{manifest.partition} was "
            f"written under another configuration (old -> new):{listed}\nEither put the old values back, or learn "
            "from scratch under the new ones by giving the job another name (its consumer group and checkpoints start "
            "afresh; the old ones stay)"
        )


def as_json(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """``configuration`` as it will look when read back: tuples as lists, structs as dicts, keys as text."""
    try:
        value = json.loads(json.dumps(msgspec.to_builtins(dict(configuration), str_keys=True), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the configuration cannot be stored as JSON: {error}") from error
    return dict(value)


def canonical_sha256(value: object) -> str:
    """SHA-256 over ``value`` as JSON with sorted keys and no white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sign(manifest: Manifest) -> Manifest:
    """``manifest`` with its self-check filled in."""
    return msgspec.structs.replace(manifest, sha256=_self_check(msgspec.to_builtins(manifest)))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest's file, indented for people."""
    text = json.dumps(msgspec.to_builtins(manifest), sort_keys=True, indent=1, allow_nan=False)
    return text.encode() + b"\n"


def read_manifest(path: Path) -> Manifest:
    """Read one manifest, verifying its self-check and that its parts fit together; raises CorruptCheckpoint."""
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise CorruptCheckpoint(f"the manifest cannot be read: {error}") from error
    except ValueError as error:
        raise CorruptCheckpoint(f"the manifest is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CorruptCheckpoint(f"the manifest is not a JSON object but a {type(raw).__name__}")
    # The version first: another format may sign itself differently.
    if raw.get("format") != FORMAT:
        raise CorruptCheckpoint(
            f"the manifest has format {raw.get('format')!r}, this version of streamrnn ({__version__}) reads {FORMAT}; "
            f"it was written by {raw.get('build')}"
        )
    try:
        intact = raw.get("sha256") == _self_check(raw)
        manifest = msgspec.convert(raw, Manifest)
    except ValueError as error:  # a field of the wrong type or pattern, or NaN written as a number
        raise CorruptCheckpoint(f"the manifest is malformed: {error}") from error
    if not intact:
        raise CorruptCheckpoint("the manifest's bytes differ from its own digest")
    size = manifest.slots_per_segment
    rows = [min(size, manifest.n_slots - start) for start in range(0, manifest.n_slots, size)]
    if [(entry.index, entry.rows) for entry in manifest.segments] != list(enumerate(rows)):
        raise CorruptCheckpoint(f"the manifest's segments do not make up its {manifest.n_slots} slots")
    return manifest


def pack_segment(segment: Segment, index: int) -> Arrays:
    """The arrays stored for ``segment``: its own and its keys. Raises CheckpointError when they do not fit."""
    for name, array in segment.arrays.items():
        if name.startswith(_KEYS):
            raise CheckpointError(f"stream array {name!r}: names beginning with {_KEYS!r} are reserved")
        if array.ndim == 0 or len(array) != segment.rows:
            raise CheckpointError(
                f"stream array {name!r} of segment {index} has shape {array.shape}, expected {segment.rows} rows"
            )
    offsets = np.zeros(segment.rows + 1, np.int64)
    np.cumsum([0 if key is None else len(key) for key in segment.keys], out=offsets[1:])
    return {
        **segment.arrays,
        _KEY_BLOB: np.frombuffer(b"".join(key for key in segment.keys if key is not None), np.uint8),
        _KEY_OFFSETS: offsets,
        _KEY_PRESENT: np.array([key is not None for key in segment.keys], np.uint8),
    }


def unpack_segment(arrays: Arrays, rows: int, what: str) -> Segment:
    """The inverse of ``pack_segment``. Raises CorruptCheckpoint for missing arrays, wrong types or shapes."""
    for name, dtype in ((_KEY_BLOB, np.uint8), (_KEY_OFFSETS, np.int64), (_KEY_PRESENT, np.uint8)):
        if name not in arrays or arrays[name].dtype != dtype or arrays[name].ndim != 1:
            found = f"{arrays[name].dtype}{list(arrays[name].shape)}" if name in arrays else "nothing"
            raise CorruptCheckpoint(f"{what}: {name} must be a vector of {np.dtype(dtype)}, found {found}")
    offsets, present = arrays[_KEY_OFFSETS], arrays[_KEY_PRESENT]
    blob = arrays[_KEY_BLOB].tobytes()
    own = {name: array for name, array in arrays.items() if not name.startswith(_KEYS)}
    for name, array in [*own.items(), (_KEY_PRESENT, present), (_KEY_OFFSETS, offsets[1:])]:
        if array.ndim == 0 or len(array) != rows:
            raise CorruptCheckpoint(f"{what}: array {name!r} has shape {array.shape}, expected {rows} rows")
    if offsets[0] != 0 or offsets[-1] != len(blob) or (np.diff(offsets) < 0).any():
        raise CorruptCheckpoint(f"{what}: the offsets of the stream keys do not match their {len(blob)} bytes")
    at = offsets.tolist()
    keys = tuple(blob[at[i] : at[i + 1]] if flag else None for i, flag in enumerate(present.tolist()))
    return Segment(own, keys)


def _self_check(raw: Mapping[str, Any]) -> str:
    return canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf of nested dicts and lists with its path, e.g. ("features[2].encoder", "onehot")."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def _differences(old: object, new: object) -> list[str]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    lines = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path, _ABSENT), after.get(path, _ABSENT)
        # True == 1 in Python, not in a configuration; 1 == 1.0 in both.
        if was != now or isinstance(was, bool) != isinstance(now, bool):
            lines.append(f"{path or '(everything)'}: {_shown(was)} -> {_shown(now)}")
    return lines


_ABSENT = object()


def _shown(value: object) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value)
