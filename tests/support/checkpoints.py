"""A store of checkpoints and a stand-in for the learner whose state it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from streamrnn.core.declarations import Stored
from streamrnn.learner.lowering import dtype_of, sizes_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, StreamSpec
from streamrnn.learner.state import MODEL, STREAMS, LearnerState
from streamrnn.learner.streams import RECORD, TIMES
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import Snapshot, take_snapshot
from streamrnn.storage.tensors import Arrays

LINEAGE = "20250309-0123abcd"
SPEC = LearnerSpec(
    n_features=2,
    indicator=(True, False),
    target=TargetSpec(fields=("delay",), classes=("late", 3, True)),
    model=ModelSpec(readout="softmax", hidden_size=4),
    streams=StreamSpec(ttl_s=0.1),
)
CONFIGURATION = {"model": {"cell": "lstm", "hidden_size": 4}, "features": [{"field": "x", "encoder": "numeric"}]}


def open_store(place: Path | Blobs, **changes: object) -> CheckpointStore:
    settings = {"configuration": CONFIGURATION, "build": {"numpy": "2.4"}} | changes
    blobs = DirectoryBlobs(place) if isinstance(place, Path) else place
    return CheckpointStore(blobs, "job", "in.put-1_x", 3, **settings)  # type: ignore[arg-type]


def folder(store: CheckpointStore) -> Path:
    """Where the checkpoints of a store in a directory are."""
    return Path(store.place)


def progress(position: int, lineage: str = LINEAGE) -> Progress:
    return Progress(
        lineage=lineage,
        position=position,
        ordinal=position,
        digest=2**32 - 1,
        stream_time_ms=1_360_000_000_123,
        updates=7,
        parameters=16,
        counters={"gradient_clips": 3, "loss": 0.1},
    )


def blank_arrays(of: LearnerSpec, table: Mapping[str, Stored], *rows: int) -> Arrays:
    """The arrays of ``table`` with nothing in them; outputs that are no classes of an open set are all in use."""
    sizes, kind = sizes_of(of), dtype_of(of)
    blank = {"outputs_in_use": of.n_outputs}
    return {
        name: np.full((*rows, *array.shape(sizes)), blank.get(name, array.blank), array.dtype(kind))
        for name, array in table.items()
    }


class Learner:
    """Stands for the real one: arrays that change, and a record of the segments touched."""

    def __init__(self, n_slots: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows = n_slots + 1
        self.n_slots = n_slots
        self.model = blank_arrays(SPEC, MODEL)
        self.model["theta"][:] = rng.normal(size=self.model["theta"].shape)
        self.model["arrivals"][0] = rows
        self.streams = blank_arrays(SPEC, STREAMS, rows)
        self.streams["state"][...] = rng.uniform(-1.0, 1.0, self.streams["state"].shape)
        self.streams["last_ms"][:] = rng.integers(0, 2**60, rows)
        self.streams["seen"][:, RECORD] = 1 + rng.permutation(rows)
        self.streams["seen"][:, TIMES] = 1
        self.keys: list[bytes | None] = [None if i % 7 == 3 else b"\xff%d" % i for i in range(n_slots)]

    def snapshot(self, touched: list[int] | None = None) -> Snapshot:
        return take_snapshot(self.state().copy(), touched)

    def state(self) -> LearnerState:
        rows = {name: array[: self.n_slots] for name, array in self.streams.items()}
        return LearnerState(SPEC, self.model, rows, self.keys[: self.n_slots])


def assert_restores(store: CheckpointStore, manifest: Manifest, learner: Learner) -> None:
    checkpoint = store.load(manifest)
    state, expected = checkpoint.state(), learner.state()
    assert (state.spec, state.keys) == (SPEC, expected.keys)
    assert not state.keys or state.streams.keys() == expected.streams.keys()
    for name, array in checkpoint.streams.items():
        np.testing.assert_array_equal(array, expected.streams[name])
        assert array.dtype == expected.streams[name].dtype
    assert checkpoint.model.keys() == learner.model.keys()
    for name, array in checkpoint.model.items():
        np.testing.assert_array_equal(array, learner.model[name])
        assert array.dtype == learner.model[name].dtype
        assert array.flags.writeable
        assert array.flags.c_contiguous


def paths(store: CheckpointStore, pattern: str) -> list[Path]:
    return sorted(folder(store).glob(f"{LINEAGE}/{pattern}"))


def resign(path: Path, change: dict[str, object]) -> None:
    """Alter a manifest and give it a valid self-check: what only this code's bug or an attacker would produce."""
    raw = json.loads(path.read_bytes()) | change
    raw["sha256"] = canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})
    path.write_text(json.dumps(raw))


def flip(path: Path, at: float) -> None:
    """Flip a bit of the byte ``at`` that part of the file."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)
