"""Named arrays in safetensors files, encoded, and decoded with clear errors.

``pieces`` gives the bytes of a file as its head and the arrays' own memory, to be hashed and written from where they
are: the safetensors library would make one more copy of all of them. The bytes are the library's (a test holds them
against it). What is not C-contiguous is copied. ``decode`` returns arrays that are writable and C-contiguous.
``save_weights`` and ``load_weights`` move a model's weights by their PyTorch names, readable by
``safetensors.torch.load_file``; nothing else of the learner's state is in such a file, see ``model_file`` for that.

The format holds no code: reading a file from a stranger cannot run anything. Half-precision brain floats (BF16) have no
NumPy type and are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from streamrnn.errors import CheckpointError
from streamrnn.system.documents import parsed_json
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read
from streamrnn.system.writing import AS_USUAL, write_atomically

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

Pieces: TypeAlias = Sequence[bytes | memoryview]
"""Bytes that follow each other, each where it is in memory."""

_TYPES = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32",
    "float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""What the format calls NumPy's types, in the order in which the library lays out the arrays in a file."""
DTYPES = frozenset(_TYPES)
_PLACES = {name: place for place, name in enumerate(_TYPES)}
# The key under which the format keeps its own text; a tensor of that name would make the file unreadable.
_METADATA_KEY = "__metadata__"
_MOST_TENSORS = 10_000
_MOST_BYTES_OF_HEADER = 1 << 21


def pieces(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> list[bytes | memoryview]:
    """The safetensors bytes of ``arrays``, of which nothing is copied: as long as they are used no array may change.

    Raises ValueError for a name or dtype the format cannot hold.
    """
    ready = {name: _storable(name, array) for name, array in arrays.items()}
    header: dict[str, Any] = {_METADATA_KEY: dict(metadata)} if metadata else {}
    following, end = [], 0
    for name in sorted(ready, key=lambda name: (_PLACES[ready[name].dtype.name], name)):
        array, begin = ready[name], end
        end += array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": (begin, end)
        }  # fmt: skip
        if array.nbytes:
            following.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little") + text, *following]


def encode(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """``pieces`` in one."""
    return b"".join(pieces(arrays, metadata))


def _storable(name: str, array: Array) -> Array:
    """The array as it stands in a file."""
    if not isinstance(name, str) or not name or name == _METADATA_KEY:
        raise ValueError(f"tensor names are non-empty strings other than {_METADATA_KEY!r}, got {name!r}")
    array = np.asarray(array)
    if array.dtype.name not in DTYPES:
        raise ValueError(f"tensor {name!r} has dtype {array.dtype}; allowed: {', '.join(sorted(DTYPES))}")
    # Not ascontiguousarray, which turns a scalar array into one of shape (1,).
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def header_of(data: bytes) -> dict[str, Any]:
    """What safetensors ``data`` say of their arrays, and any text beside them. Raises ValueError.

    The library would take the last of two tensors of one name, and seconds over a million of them.
    """
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, _MOST_BYTES_OF_HEADER):
        raise ValueError(f"not a complete safetensors file: its header would have {length} bytes of {len(data)}")
    try:
        header = parsed_json(data[8 : 8 + length])
    except ValueError as error:
        raise ValueError(f"not a complete safetensors file: its header cannot be read: {error}") from None
    told = header.get(_METADATA_KEY, {}) if isinstance(header, dict) else {}
    if not isinstance(told, dict) or not all(isinstance(text, str) for text in told.values()):
        raise ValueError(f"not a complete safetensors file: expected texts by name under {_METADATA_KEY}")
    if not isinstance(header, dict) or len(header) > _MOST_TENSORS:
        found = f"{len(header)} tensors" if isinstance(header, dict) else f"a {type(header).__name__}"
        raise ValueError(f"not a safetensors file of a model: found {found}, expected at most {_MOST_TENSORS} tensors")
    if header.get(_METADATA_KEY, {}) is None:  # which the library passes
        raise ValueError(f"not a safetensors file of a model: {_METADATA_KEY} is null")
    return header


def decode(data: bytes) -> Arrays:
    """The arrays in safetensors ``data``, writable and C-contiguous. Raises ValueError when it is not such a file."""
    header_of(data)
    try:
        arrays = safetensors.numpy.load(data)
    except SafetensorError as error:
        raise ValueError(f"not a complete safetensors file: {error}") from None
    except KeyError as error:
        raise ValueError(f"holds a tensor of type {error.args[0]}, which NumPy lacks; convert it to F32") from None
    return {name: array if array.flags.writeable else array.copy() for name, array in sorted(arrays.items())}


def save_weights(path: str | Path, weights: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write ``weights`` (PyTorch name -> array) to a safetensors file, replacing one that is there.

    ``metadata`` is free text by name. Raises CheckpointError when an array cannot be stored or the file not written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "weights.safetensors")
    ...     save_weights(path, {"head.bias": np.array([0.5, -1.0])}, {"job": "flights"})
    ...     load_weights(path)
    {'head.bias': array([ 0.5, -1. ])}
    """
    path = Path(path)
    try:
        write_atomically(path, encode(weights, metadata), mode=AS_USUAL)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"weights cannot be written to {path}: {error}") from error


def load_weights(path: str | Path) -> Arrays:
    """Read every array of a safetensors file by name. Raises CheckpointError when it is missing or not such a file."""
    path = Path(path)
    try:
        return decode(read(path, AS_MUCH_AS_FITS, links=True))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"weights cannot be read from {path}: {error}; expected a safetensors file as written by save_weights or "
            "safetensors.torch.save_file"
        ) from error
