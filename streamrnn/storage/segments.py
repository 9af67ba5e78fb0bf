"""A segment: the rows of some slots in every stream array, with their keys, as named arrays and back.

Stream keys are arbitrary bytes, so a packed segment holds them as one blob, int64 offsets into it, and a flag that
tells a free slot from an empty key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.learner.lowering import dtype_of, sizes_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import MODEL, STREAMS
from streamrnn.learner.vocabulary import most_kept
from streamrnn.storage.tensors import Arrays

_INDEX_BYTES = 9  # of each key: where it ends, and whether there is one
_KEYS = "keys."  # prefix of the arrays that hold a segment's stream keys; reserved
_KEY_BLOB, _KEY_OFFSETS, _KEY_PRESENT = "keys.blob", "keys.offsets", "keys.present"


LONGEST_KEY = 1 << 16
"""What a job may allow its streams' names at most."""

_MOST_BYTES_BESIDE = 1 << 16
"""Of what stands before the arrays in a file: some hundred bytes for each of a few dozens."""


@dataclass(frozen=True)
class Segment:
    """Rows of every stream array, ``rows`` long each, and the key of each row (None for a free slot)."""

    arrays: Arrays
    keys: tuple[bytes | None, ...]

    @property
    def rows(self) -> int:
        """Slots in this segment."""
        return len(self.keys)


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


def most_bytes(spec: LearnerSpec, rows: int | None) -> int:
    """How large the file of a segment with this many rows can be, that of the model where there are none."""
    table, count = (MODEL, 1) if rows is None else (STREAMS, rows)
    sizes, precision = sizes_of(spec), dtype_of(spec)
    own = sum(math.prod(of.shape(sizes)) * np.dtype(of.dtype(precision)).itemsize for of in table.values())
    beside = most_kept(spec) if rows is None else LONGEST_KEY + _INDEX_BYTES
    return count * (own + beside) + _MOST_BYTES_BESIDE


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
    # Compared, not subtracted: differences of the largest numbers would wrap around.
    if offsets[0] != 0 or offsets[-1] != len(blob) or (offsets[1:] < offsets[:-1]).any():
        raise CorruptCheckpoint(f"{what}: the offsets of the stream keys do not match their {len(blob)} bytes")
    if (present > 1).any() or ((present == 0) & (offsets[1:] > offsets[:-1])).any():
        raise CorruptCheckpoint(f"{what}: {_KEY_PRESENT} must be 0, for a slot that is free and has no key, or 1")
    at = offsets.tolist()
    keys: list[bytes | None] = [*map(blob.__getitem__, map(slice, at, at[1:]))]
    for slot in np.flatnonzero(present == 0).tolist():
        keys[slot] = None
    return Segment(own, tuple(keys))
