"""Whatever a disk, a stranger or a bug did to a checkpoint is noticed, reported with its reason, and passed over."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from streamrnn.errors import CheckpointError, CorruptCheckpoint
from streamrnn.learner.learner import Learner as RealLearner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.manifest import Progress
from streamrnn.storage.segments import Segment
from streamrnn.storage.snapshot import Snapshot, take_snapshot
from streamrnn.storage.tensors import decode, encode
from tests.support.checkpoints import (
    LINEAGE,
    SPEC,
    Learner,
    assert_restores,
    flip,
    folder,
    open_store,
    paths,
    progress,
    resign,
)

DAMAGES = {
    "first byte flipped": lambda path: flip(path, 0.0),
    "middle byte flipped": lambda path: flip(path, 0.5),
    "last byte flipped": lambda path: flip(path, 1.0),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte more": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("victim", ["manifest", "model", "segment"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_used(tmp_path: Path, damage: str, victim: str) -> None:
    store, old, new = open_store(tmp_path), Learner(20, seed=1), Learner(20, seed=2)
    store.write(old.snapshot(), progress(10))
    manifest = store.write(new.snapshot(), progress(20))
    name = {
        "manifest": "manifest-00000000000000000020.json",
        "model": f"segments/{manifest.model.sha256}.safetensors",
        "segment": f"segments/{manifest.segments[0].sha256}.safetensors",
    }[victim]
    DAMAGES[damage](folder(store) / LINEAGE / name)
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 10
    assert_restores(store, found.checkpoint.manifest, old)
    assert [(Path(bad.place).name, bool(bad.reason)) for bad in found.rejected] == [
        ("manifest-00000000000000000020.json", True)
    ]


@pytest.mark.parametrize("damage", ["half", "one byte more", "empty", "a directory"])
@pytest.mark.parametrize("victim", ["manifest", "model", "segment"])
def test_a_file_of_another_length_is_told_without_reading_arrays(tmp_path: Path, damage: str, victim: str) -> None:
    store = open_store(tmp_path)
    manifest = store.write(Learner(20, seed=1).snapshot(), progress(10))
    assert store.flaw(LINEAGE, 10) == ""
    name = {
        "manifest": "manifest-00000000000000000010.json",
        "model": f"segments/{manifest.model.sha256}.safetensors",
        "segment": f"segments/{manifest.segments[0].sha256}.safetensors",
    }[victim]
    DAMAGES[damage](folder(store) / LINEAGE / name)
    assert store.flaw(LINEAGE, 10) != ""
    assert store.flaw(LINEAGE, 11) != ""


@pytest.mark.parametrize("victim", ["model", "segment"])
def test_a_deleted_file_is_reported_and_the_one_before_used(tmp_path: Path, victim: str) -> None:
    store = open_store(tmp_path)
    store.write(Learner(20, seed=1).snapshot(), progress(10))
    manifest = store.write(Learner(20, seed=2).snapshot(), progress(20))
    entry = manifest.model if victim == "model" else manifest.segments[0]
    (folder(store) / LINEAGE / "segments" / f"{entry.sha256}.safetensors").unlink()
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 10
    assert "cannot be read" in found.rejected[0].reason


def test_no_flipped_byte_of_a_manifest_passes_unnoticed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    manifest = store.write(Learner(2).snapshot(), progress(20))
    (path,) = paths(store, "manifest-*")
    good = path.read_bytes()
    for at in range(len(good)):
        bit = (0x01, 0x20, 0x80)[at % 3]
        path.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
        try:
            read = store.read(LINEAGE, 20)
        except CorruptCheckpoint:
            continue
        assert read == manifest, f"byte {at}"  # white space


def test_when_every_checkpoint_is_corrupt_all_reasons_are_given(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for position in (1, 2, 3):
        store.write(Learner(2, seed=position).snapshot(), progress(position))
    for path in paths(store, "manifest-*"):
        path.write_bytes(b"{}")
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert len(found.rejected) == 3


@pytest.mark.parametrize("data", [b"\xff", b"[]", b"null", b"[" * 100_000, b'{"format":' + b"9" * 5000 + b"}"])
def test_any_bytes_in_place_of_a_manifest_are_reported(tmp_path: Path, data: bytes) -> None:
    store = open_store(tmp_path)
    store.write(Learner(2).snapshot(), progress(20))
    paths(store, "manifest-*")[0].write_bytes(data)
    (rejected,) = store.newest(LINEAGE).rejected
    assert rejected.reason.startswith("the manifest is not ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 1}, "format 1, this version .* reads 11"),
        ({"format": 2}, "format 2, this version"),
        ({"format": 3}, "format 3, this version"),
        ({"format": 4}, "format 4, this version"),
        ({"format": 5}, "format 5, this version"),
        ({"format": 7}, "format 7, this version"),
        ({"format": 8}, "format 8, this version"),
        ({"format": 9}, "format 9, this version"),
        ({"format": 10}, "format 10, this version"),
        ({"format": 12}, "format 12, this version"),
        ({"format": None}, "format None"),
        ({"model": {"sha256": "../x", "bytes": 3}}, "malformed"),
        ({"model": {"sha256": "0" * 64 + "\n", "bytes": 3}}, "malformed"),
        ({"segments": [{"index": 0, "sha256": "../../" + "0" * 58, "rows": 20, "bytes": 1}]}, "malformed"),
        ({"segments": [{"index": 1, "sha256": "0" * 64, "rows": 20, "bytes": 1}]}, "do not make up"),
        ({"segments": []}, "do not make up"),
        ({"n_slots": 10**9}, "do not make up"),
        ({"n_slots": 10**18, "slots_per_segment": 1}, "do not make up"),
        ({"unknown": 1}, "malformed"),
        ({"spec": {"n_features": 1}}, r"malformed: .*target"),
        ({"spec": {"n_features": 1, "target": {"fields": ["y"]}, "indicator": [True, True]}}, "malformed: indicator"),
        ({"progress": {"lineage": LINEAGE, "position": 20, "ordinal": 20, "digest": 2**32}}, "malformed: .*digest"),
        ({"partition": "3"}, "malformed"),
        ({"job": "another"}, "copied here by hand"),
    ],
)
def test_a_manifest_that_is_signed_but_wrong_is_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    store = open_store(tmp_path)
    store.write(Learner(20).snapshot(), progress(20))
    resign(paths(store, "manifest-*")[0], change)
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert re.search(reason, found.rejected[0].reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steps": np.zeros(19, np.int64)}, "expected 20 rows"),
        ({"steps": np.zeros(())}, "expected 20 rows"),
        ({"keys.blob": np.zeros(3, np.int8)}, "keys.blob must be a vector of uint8, found int8"),
        ({"keys.offsets": np.zeros((21, 1), np.int64)}, "keys.offsets must be a vector"),
        ({"keys.offsets": np.zeros(20, np.int64)}, "expected 20 rows"),
        ({"keys.offsets": np.zeros(21, np.int64)}, "do not match"),
        ({"keys.present": None}, "keys.present must be a vector of uint8, found nothing"),
    ],
)
def test_a_segment_of_wrong_shapes_or_types_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], reason: str
) -> None:
    store = open_store(tmp_path)
    manifest = store.write(Learner(20).snapshot(), progress(20))
    segments = folder(store) / LINEAGE / "segments"
    arrays = decode((segments / f"{manifest.segments[0].sha256}.safetensors").read_bytes())
    changed = {name: array for name, array in (arrays | change).items() if array is not None}
    data = encode(changed)
    sha256 = hashlib.sha256(data).hexdigest()
    (segments / f"{sha256}.safetensors").write_bytes(data)
    entry = {"index": 0, "sha256": sha256, "rows": 20, "bytes": len(data)}
    resign(paths(store, "manifest-*")[0], {"segments": [entry]})
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert reason in found.rejected[0].reason


def test_a_checkpoint_of_no_slots_has_the_arrays_of_a_learner_that_saw_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), model=ModelSpec(hidden_size=3))
    fresh = RealLearner(spec, 1)
    state = store.load(store.write(take_snapshot(fresh.state()), progress(0))).state()
    assert {name: (a.shape, a.dtype) for name, a in state.streams.items()} == {
        name: (a.shape, a.dtype) for name, a in fresh.state().streams.items()
    }
    RealLearner(spec, 2).resume(state)


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (Snapshot(SPEC, {"w": np.array(["text"])}, {}, 0), "dtype"),
        (Snapshot(SPEC, {"w": np.array([None])}, {}, 0), "dtype object"),
        (Snapshot(SPEC, {}, {0: Segment({"h": np.zeros(2)}, (b"a",))}, 1), "expected 1 rows"),
        (Snapshot(SPEC, {}, {0: Segment({"keys.x": np.zeros(1)}, (b"a",))}, 1), "reserved"),
        (Snapshot(SPEC, {}, {0: Segment({"h": np.zeros(1)}, (b"a",))}, 2), "has 1 rows, 2 slots need 2"),
        (Snapshot(SPEC, {}, {1: Segment({"h": np.zeros(1)}, (b"a",))}, 0), "go beyond"),
    ],
)
def test_a_snapshot_that_does_not_fit_together_is_refused(tmp_path: Path, snapshot: Snapshot, reason: str) -> None:
    store = open_store(tmp_path)
    with pytest.raises(CheckpointError, match=reason):
        store.write(snapshot, progress(1))
    assert store.newest(LINEAGE).checkpoint is None


@pytest.mark.parametrize("changes", [{"digest": 2**32}, {"digest": -1}, {"counters": {"loss": float("nan")}}])
def test_numbers_json_cannot_hold_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    store = open_store(tmp_path)
    with pytest.raises(CheckpointError):
        store.write(
            Learner(1).snapshot(), Progress(**{"lineage": LINEAGE, "position": 1, "ordinal": 1, "digest": 1} | changes)
        )  # type: ignore[arg-type]
    assert paths(store, "manifest-*") == []


def test_an_unwritable_directory_is_a_checkpoint_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where a directory should be")
    with pytest.raises(CheckpointError, match="cannot be written below"):
        open_store(tmp_path).write(Learner(1).snapshot(), progress(1))
