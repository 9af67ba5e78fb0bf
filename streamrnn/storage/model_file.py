"""A trained model as one safetensors file: written by an estimator, read by an estimator or a daemon.

The weights stand under PyTorch's names, so ``safetensors.torch.load_file`` reads them too; everything else a learner
knows stands under ``state.`` (optimiser moments, statistics, readout) and ``streams.`` (per stream). The file's
metadata hold the specification, the names of the feature columns and, in ``owner``, whatever the writer needs to go
on. Nothing in such a file is code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import CheckpointError, EarlierFormat
from streamrnn.learner.foundation import RLS_WEIGHT
from streamrnn.learner.lowering import dtype_of, layout_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState
from streamrnn.storage.fingerprints import canonical_sha256, refuse_earlier
from streamrnn.storage.segments import Segment, pack_segment, unpack_segment
from streamrnn.storage.tensors import Array, decode, encode, header_of
from streamrnn.system.documents import parsed_json
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read
from streamrnn.system.writing import AS_USUAL, write_atomically

FORMAT = 11
_STATE, _STREAMS = "state.", "streams."
_DESCRIPTION = "streamrnn"


@dataclass(frozen=True)
class ModelFile:
    """What is in a model file: the learner's state, the names of its feature columns, the writer's own data."""

    saved: LearnerState | None  # None: nothing was learned yet
    columns: tuple[str, ...]
    owner: dict[str, Any]

    def require_readable(self) -> None:
        """Raise ValueError where a file of it would be refused when it is read."""
        if self.saved is not None:
            self.saved.require_fit(self.saved.spec, beginning=True)


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    """The text in the file."""

    format: int
    columns: tuple[str, ...]
    owner: dict[str, Any]
    spec: LearnerSpec | None
    sha256: str  # of all arrays in the order of their names, each with its type and shape
    text_sha256: str  # of everything else in this text


def pack(model: ModelFile) -> bytes:
    """The file's bytes."""
    saved = model.saved
    arrays = {} if saved is None else _flat(saved)
    description = _Description(
        format=FORMAT,
        columns=model.columns,
        owner=model.owner,
        spec=None if saved is None else saved.spec,
        sha256=_sha256(arrays),
        text_sha256="",
    )
    text_sha256 = _text_sha256(parsed_json(_text(description)))
    # One entry, since the library writes several in an order of its own, and equal models should be equal bytes.
    return encode(arrays, {_DESCRIPTION: _text(msgspec.structs.replace(description, text_sha256=text_sha256))})


def _text(description: _Description) -> str:
    return msgspec.json.encode(description, order="deterministic").decode()


def unpack(data: bytes) -> ModelFile:
    """The inverse of ``pack``.

    Raises ValueError when the bytes are not such a file, or hold what no learner can, and EarlierFormat.
    """
    arrays = decode(data)
    try:
        told = parsed_json(header_of(data)["__metadata__"][_DESCRIPTION])
        refuse_earlier("it", told, FORMAT)
        description = msgspec.convert(told, _Description)
    except (KeyError, ValueError) as error:
        raise ValueError(f"it does not describe a model of streamrnn ({error})") from error
    if description.format != FORMAT:
        raise ValueError(f"its format is {description.format}, this version of streamrnn reads {FORMAT}")
    if description.sha256 != _sha256(arrays):
        raise ValueError("its arrays differ from their digest")
    saved = None if description.spec is None else _unflat(arrays, description.spec)
    # What does not fit together is told before what was altered, since that names it.
    if description.text_sha256 != _text_sha256(told):
        raise ValueError("its specification, columns or settings differ from their digest")
    return ModelFile(saved, description.columns, description.owner)


def save_model(path: str | Path, model: ModelFile) -> None:
    """Write a model file; a crash leaves the old one or the new one. Raises CheckpointError."""
    try:
        write_atomically(Path(path), pack(model), mode=AS_USUAL)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"the model cannot be written to {path}: {error}") from error


def load_model(path: str | Path) -> ModelFile:
    """Read a model file. Raises CheckpointError when it is missing, damaged or of another kind."""
    try:
        return unpack(read(path, AS_MUCH_AS_FITS, links=True))
    except EarlierFormat as error:
        raise EarlierFormat(f"no model can be read from {path}: {error}") from error
    except (OSError, ValueError, CheckpointError) as error:
        raise CheckpointError(
            f"no model can be read from {path}: {error}; expected a file written by an estimator's save()"
        ) from error


def _flat(saved: LearnerState) -> dict[str, Array]:
    """All arrays of a learner under the names they have in the file."""
    state = dict(saved.model)
    arrays = layout_of(saved.spec).get_weights(state.pop("theta"))
    if saved.spec.n_regressors:
        arrays[RLS_WEIGHT] = state.pop("readout_full_weight")
    segment = pack_segment(Segment(dict(saved.streams), tuple(saved.keys)), 0)
    arrays.update({_STATE + name: array for name, array in state.items()})
    arrays.update({_STREAMS + name: array for name, array in segment.items()})
    return arrays


def _unflat(arrays: dict[str, Array], spec: LearnerSpec) -> LearnerState:
    """The inverse of ``_flat``. Raises ValueError where the arrays are not those of a learner of ``spec``."""
    state, packed = _named(arrays, _STATE), _named(arrays, _STREAMS)
    weights = {name: array for name, array in arrays.items() if not name.startswith((_STATE, _STREAMS))}
    if spec.n_regressors:
        state["readout_full_weight"] = weights.pop(RLS_WEIGHT, np.zeros(0))
    state["theta"] = _theta(weights, spec)
    steps = packed.get("steps", np.zeros(0))
    segment = unpack_segment(packed, len(steps) if steps.ndim else 0, "streams")
    saved = LearnerState(spec, state, segment.arrays, list(segment.keys))
    saved.require_fit(spec, beginning=True)
    return saved


def _theta(weights: dict[str, Array], spec: LearnerSpec) -> Array:
    """All tensors of the network as one vector, which is not made before the file is known to hold as much."""
    layout, precision = layout_of(spec), np.dtype(dtype_of(spec))
    held = sum(array.size for array in weights.values())
    if held != (meant := layout.size - layout.padding):
        raise ValueError(
            f"its tensors ({', '.join(weights) or 'none'}) hold {held} numbers, its specification means {meant}"
        )
    if other := [f"{name} ({array.dtype})" for name, array in weights.items() if array.dtype != precision]:
        raise ValueError(f"its specification means {precision}, and of another type are {', '.join(other)}")
    theta: Array = np.zeros(layout.size, precision)
    layout.set_weights(theta, weights)
    return theta


def _text_sha256(told: Mapping[str, Any]) -> str:
    return canonical_sha256({name: value for name, value in told.items() if name != "text_sha256"})


def _sha256(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        # With lengths and types, or the same bytes could stand for other numbers.
        digest.update(json.dumps([name, arrays[name].dtype.name, arrays[name].shape, array.nbytes]).encode())
        digest.update(array.data)
    return digest.hexdigest()


def _named(arrays: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
