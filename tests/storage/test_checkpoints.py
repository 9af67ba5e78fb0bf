"""Checkpoints survive everything a disk can do to them, or say so and give way to the one before."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint, FingerprintMismatch
from streamrnn.learner.learner import Learner as RealLearner
from streamrnn.learner.spec import LearnerSpec, ModelSpec, TargetSpec
from streamrnn.learner.state import LearnerState
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.checkpoints import GARBAGE_GRACE_S, CheckpointStore
from streamrnn.storage.manifest import Manifest, Progress, Segment, build_differences, canonical_sha256, new_lineage
from streamrnn.storage.snapshot import Snapshot, take_snapshot
from streamrnn.storage.tensors import decode, encode, write_atomically

SPEC = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
LINEAGE = "20250309-0123abcd"
CONFIGURATION = {"model": {"cell": "lstm", "hidden_size": 4}, "features": [{"field": "x", "encoder": "numeric"}]}


def open_store(directory: Path, **changes: object) -> CheckpointStore:
    settings = {"configuration": CONFIGURATION, "build": {"numpy": "2.4"}} | changes
    return CheckpointStore(directory, "job", "in.put-1_x", 3, **settings)  # type: ignore[arg-type]


def progress(position: int, lineage: str = LINEAGE) -> Progress:
    return Progress(
        lineage=lineage,
        position=position,
        ordinal=position,
        digest=2**64 - 1,
        stream_time_ms=1_360_000_000_123,
        updates=7,
        parameters=16,
        counters={"gradient_clips": 3, "loss": 0.1},
    )


class Learner:
    """Stands for the real one: arrays that change, and a record of the segments touched."""

    def __init__(self, n_slots: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows = n_slots + 1
        self.n_slots = n_slots
        self.model = {"theta": rng.normal(size=16).astype(np.float32), "updates": np.array(7, np.int64)}
        self.streams = {
            "h": rng.normal(size=(rows, 2, 4)).astype(np.float32),
            "seen_ms": rng.integers(0, 2**60, rows),
            "used": rng.integers(0, 2, rows).astype(bool),
        }
        self.keys: list[bytes | None] = [None if i % 7 == 3 else b"\xff%d" % i for i in range(n_slots)]

    def snapshot(self, touched: list[int] | None = None) -> Snapshot:
        return take_snapshot(self.state(), touched)

    def state(self) -> LearnerState:
        rows = {name: array[: self.n_slots] for name, array in self.streams.items()}
        return LearnerState(SPEC, self.model, rows, self.keys[: self.n_slots])


def assert_restores(store: CheckpointStore, manifest: Manifest, learner: Learner) -> None:
    checkpoint = store.load(manifest)
    state, expected = checkpoint.state(SPEC), learner.state()
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
    return sorted(store.directory.glob(f"{LINEAGE}/{pattern}"))


def resign(path: Path, change: dict[str, object]) -> None:
    """Alter a manifest and give it a valid self-check: what only this code's bug or an attacker would produce."""
    raw = json.loads(path.read_bytes()) | change
    raw["sha256"] = canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})
    path.write_text(json.dumps(raw))


# ---------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("n_slots", [0, 1, SEGMENT_SLOTS, SEGMENT_SLOTS + 1])
def test_a_checkpoint_restores_every_array_and_key(tmp_path: Path, n_slots: int) -> None:
    store, learner = open_store(tmp_path), Learner(n_slots)
    manifest = store.write(learner.snapshot(), progress(42))
    assert_restores(store, manifest, learner)
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest == manifest
    assert found.rejected == []
    assert manifest.progress == progress(42)


def test_a_second_checkpoint_writes_only_the_touched_segment(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(2 * SEGMENT_SLOTS + 5)
    first = store.write(learner.snapshot(), progress(10))
    before = {path.name for path in paths(store, "segments/*")}
    learner.streams["h"][SEGMENT_SLOTS] += 1
    learner.model["theta"] += 1
    second = store.write(learner.snapshot([1]), progress(20), first)
    after = {path.name for path in paths(store, "segments/*")}
    assert len(before) == 4
    assert len(after - before) == 2, "one stream segment and the model"
    assert [a == b for a, b in zip(first.segments, second.segments, strict=True)] == [True, False, True]
    assert_restores(store, second, learner)


def test_a_snapshot_is_not_changed_by_what_the_learner_does_next(tmp_path: Path) -> None:
    store, learner, untouched = open_store(tmp_path), Learner(10), Learner(10)
    snapshot = learner.snapshot()
    learner.model["theta"][:] = 0
    learner.streams["h"][:] = 0
    learner.keys[0] = b"other"
    manifest = store.write(snapshot, progress(1))
    assert_restores(store, manifest, untouched)


def test_a_partial_snapshot_without_base_is_refused(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    with pytest.raises(CheckpointError, match=r"segment 0 .* neither in the snapshot nor"):
        store.write(learner.snapshot([1]), progress(1))
    base = store.write(learner.snapshot(), progress(1))
    with pytest.raises(CheckpointError, match="of lineage"):
        store.write(learner.snapshot([1]), progress(2, "other"), base)
    learner.n_slots -= 1
    with pytest.raises(CheckpointError, match=r"touched: segment 1 does not exist"):
        learner.snapshot([1])


def test_a_segment_that_grew_without_being_touched_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    base = store.write(Learner(5).snapshot(), progress(1))
    with pytest.raises(CheckpointError, match="neither in the snapshot nor"):
        store.write(Learner(6).snapshot([]), progress(2), base)


arrays = st.sampled_from(["float32", "float64", "int64", "uint64", "bool", "uint8", "int16"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.none() | st.binary(max_size=20), max_size=30),
    layout=st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(arrays, st.integers(0, 3)), max_size=4),
    data=st.data(),
)
def test_any_keys_and_arrays_survive_the_round_trip(
    tmp_path: Path,
    keys: list[bytes | None],
    layout: dict[str, tuple[str, int]],
    data: st.DataObject,
) -> None:
    n = len(keys)
    streams = {}
    for name, (dtype, width) in layout.items():
        size = np.dtype(dtype).itemsize * n * width
        raw = data.draw(st.binary(min_size=size, max_size=size))
        if dtype == "bool":
            raw = bytes(byte & 1 for byte in raw)
        streams[name] = np.frombuffer(raw, dtype).reshape(n, width)
    store = open_store(tmp_path)
    manifest = store.write(take_snapshot(LearnerState(SPEC, {}, streams, keys)), progress(0))
    checkpoint = store.load(store.read(paths(store, "manifest-*")[0]))
    assert checkpoint.manifest == manifest
    assert checkpoint.keys == keys
    for name, array in streams.items() if keys else ():
        assert checkpoint.streams[name].tobytes() == array.tobytes()


def test_strided_arrays_are_stored_as_what_they_show(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    weights = np.arange(12.0).reshape(3, 4)
    manifest = store.write(Snapshot({"w": weights.T, "c": weights[:, 1]}, {}, 0), progress(0))
    model = store.load(manifest).model
    np.testing.assert_array_equal(model["w"], weights.T)
    np.testing.assert_array_equal(model["c"], [1, 5, 9])


# ------------------------------------------------------------------------------------------------------ selection


def test_newest_respects_the_committed_position(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for position in (0, 100, 99, 20_000):
        store.write(Learner(3, seed=position).snapshot(), progress(position))
    chosen = [store.newest(LINEAGE, limit).checkpoint for limit in (None, 20_000, 19_999, 99, 98, 0)]
    assert [c and c.manifest.progress.position for c in chosen] == [20_000, 20_000, 100, 99, 0, 0]
    assert store.newest("20990101-00000000").checkpoint is None
    assert store.lineages() == [LINEAGE]


def test_partitions_and_jobs_do_not_see_each_other(tmp_path: Path) -> None:
    names = [("j", "a-1", 1), ("j", "a", 11), ("j", "a-1-1", 0), ("j", "a/1", 1), ("j-a", "1", 1), ("..", "..", 0)]
    stores = [CheckpointStore(tmp_path, job, topic, n, configuration={}, build={}) for job, topic, n in names]
    assert len({store.directory for store in stores}) == len(stores)
    for store in stores:
        assert tmp_path in store.directory.parents
        assert ".." not in store.directory.parts
        assert store.newest(LINEAGE).checkpoint is None
        store.write(Learner(1).snapshot(), progress(1))


@pytest.mark.parametrize("lineage", ["../x", "", ".", "a/b", "a\n", "x" * 65])
def test_a_lineage_that_is_no_plain_name_is_refused(tmp_path: Path, lineage: str) -> None:
    store = open_store(tmp_path)
    with pytest.raises(CheckpointError, match="lineage"):
        store.newest(lineage)
    with pytest.raises(CheckpointError, match="lineage"):
        store.write(Learner(1).snapshot(), progress(1, lineage))


def test_new_lineages_differ_and_are_usable(tmp_path: Path) -> None:
    lineages = {new_lineage() for _ in range(100)}
    assert len(lineages) == 100
    open_store(tmp_path).write(Learner(1).snapshot(), progress(1, lineages.pop()))


def test_a_checkpoint_copied_from_another_partition_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    other = CheckpointStore(tmp_path, "job", "in.put-1_x", 4, configuration=CONFIGURATION, build={})
    other.write(Learner(1).snapshot(), progress(1))
    other.directory.rename(store.directory)
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert "copied here by hand" in found.rejected[0].reason


# ----------------------------------------------------------------------------------------------------- corruption


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x10
    path.write_bytes(data)


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
    DAMAGES[damage](store.directory / LINEAGE / name)
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 10
    assert_restores(store, found.checkpoint.manifest, old)
    assert [(bad.path.name, bool(bad.reason)) for bad in found.rejected] == [
        ("manifest-00000000000000000020.json", True)
    ]


@pytest.mark.parametrize("victim", ["model", "segment"])
def test_a_deleted_file_is_reported_and_the_one_before_used(tmp_path: Path, victim: str) -> None:
    store = open_store(tmp_path)
    store.write(Learner(20, seed=1).snapshot(), progress(10))
    manifest = store.write(Learner(20, seed=2).snapshot(), progress(20))
    entry = manifest.model if victim == "model" else manifest.segments[0]
    (store.directory / LINEAGE / "segments" / f"{entry.sha256}.safetensors").unlink()
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
            read = store.read(path)
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2, this version"),
        ({"format": None}, "format None"),
        ({"model": {"sha256": "../x", "bytes": 3}}, "malformed"),
        ({"model": {"sha256": "0" * 64 + "\n", "bytes": 3}}, "malformed"),
        ({"segments": [{"index": 0, "sha256": "../../" + "0" * 58, "rows": 20, "bytes": 1}]}, "malformed"),
        ({"segments": [{"index": 1, "sha256": "0" * 64, "rows": 20, "bytes": 1}]}, "do not make up"),
        ({"segments": []}, "do not make up"),
        ({"n_slots": 10**9}, "do not make up"),
        ({"unknown": 1}, "malformed"),
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
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"h": np.zeros((19, 2))}, "expected 20 rows"),
        ({"h": np.zeros(())}, "expected 20 rows"),
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
    folder = store.directory / LINEAGE / "segments"
    arrays = decode((folder / f"{manifest.segments[0].sha256}.safetensors").read_bytes())
    changed = {name: array for name, array in (arrays | change).items() if array is not None}
    data = encode(changed)
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / f"{sha256}.safetensors").write_bytes(data)
    entry = {"index": 0, "sha256": sha256, "rows": 20, "bytes": len(data)}
    resign(paths(store, "manifest-*")[0], {"segments": [entry]})
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert reason in found.rejected[0].reason


def test_a_checkpoint_of_no_slots_has_the_arrays_of_a_learner_that_saw_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), model=ModelSpec(hidden_size=3))
    fresh = RealLearner(spec, 1)
    state = store.load(store.write(take_snapshot(fresh.state()), progress(0))).state(spec)
    assert {name: (a.shape, a.dtype) for name, a in state.streams.items()} == {
        name: (a.shape, a.dtype) for name, a in fresh.state().streams.items()
    }
    RealLearner(spec, 2).resume(state)


@pytest.mark.parametrize(
    ("snapshot", "reason"),
    [
        (Snapshot({"w": np.array(["text"])}, {}, 0), "dtype"),
        (Snapshot({"w": np.array([None])}, {}, 0), "dtype object"),
        (Snapshot({}, {0: Segment({"h": np.zeros(2)}, (b"a",))}, 1), "expected 1 rows"),
        (Snapshot({}, {0: Segment({"keys.x": np.zeros(1)}, (b"a",))}, 1), "reserved"),
        (Snapshot({}, {0: Segment({"h": np.zeros(1)}, (b"a",))}, 2), "has 1 rows, 2 slots need 2"),
        (Snapshot({}, {1: Segment({"h": np.zeros(1)}, (b"a",))}, 0), "go beyond"),
    ],
)
def test_a_snapshot_that_does_not_fit_together_is_refused(tmp_path: Path, snapshot: Snapshot, reason: str) -> None:
    store = open_store(tmp_path)
    with pytest.raises(CheckpointError, match=reason):
        store.write(snapshot, progress(1))
    assert store.newest(LINEAGE).checkpoint is None


@pytest.mark.parametrize("changes", [{"digest": 2**64}, {"counters": {"loss": float("nan")}}])
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


def test_a_crash_before_the_manifest_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.write(Learner(5, seed=1).snapshot(), progress(1))
    replace = Path.replace
    for crash_at in range(3):
        renames = 0

        def crash(self: Path, target: Path, stop: int = crash_at) -> Path:
            nonlocal renames
            if renames == stop:
                raise KeyboardInterrupt
            renames += 1
            return replace(self, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", crash)
            store.write(Learner(5, seed=10 + crash_at).snapshot(), progress(2))
        found = store.newest(LINEAGE)
        assert found.checkpoint is not None
        assert found.checkpoint.manifest.progress.position == 1
        assert found.rejected == []


def test_a_rotten_segment_file_is_repaired_when_the_same_content_is_written_again(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(5)
    manifest = store.write(learner.snapshot(), progress(1))
    flip(store.directory / LINEAGE / "segments" / f"{manifest.segments[0].sha256}.safetensors", 0.7)
    again = store.write(learner.snapshot(), progress(2))
    assert again.segments == manifest.segments
    assert_restores(store, again, learner)


def test_building_on_a_checkpoint_whose_segment_is_gone_is_refused(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    base = store.write(learner.snapshot(), progress(1))
    (store.directory / LINEAGE / "segments" / f"{base.segments[0].sha256}.safetensors").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"segment 0 .* is gone"):
        store.write(learner.snapshot([1]), progress(2), base)
    assert_restores(store, store.write(learner.snapshot(), progress(2), base), learner)


def test_a_segment_collected_while_the_manifest_was_written_takes_the_manifest_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    base = store.write(learner.snapshot(), progress(1))

    def rival(path: Path, data: bytes, **options: bool) -> None:
        write_atomically(path, data, **options)
        if path.name.startswith("manifest"):
            (path.parent / "segments" / f"{base.segments[0].sha256}.safetensors").unlink()

    monkeypatch.setattr("streamrnn.storage.checkpoints.write_atomically", rival)
    with pytest.raises(CorruptCheckpoint, match="vanished"):
        store.write(learner.snapshot([1]), progress(2), base)
    assert kept(store) == [1]


# --------------------------------------------------------------------------------------------------- fingerprints


def test_another_configuration_is_refused_with_the_fields_that_differ(tmp_path: Path) -> None:
    open_store(tmp_path).write(Learner(1).snapshot(), progress(1))
    changed = {
        "model": {"cell": "gru", "hidden_size": 4.0, "num_layers": 2},
        "features": [{"field": "x", "encoder": "numeric"}, {"field": "y", "encoder": "log1p"}],
    }
    with pytest.raises(FingerprintMismatch) as caught:
        open_store(tmp_path, configuration=changed).newest(LINEAGE)
    message = str(caught.value)
    assert 'model.cell: "lstm" -> "gru"' in message
    assert "model.num_layers: (absent) -> 2" in message
    assert 'features[1].encoder: (absent) -> "log1p"' in message
    assert "hidden_size" not in message, "4 and 4.0 are the same number"
    assert "another name" in message


def test_the_same_configuration_written_as_tuples_agrees(tmp_path: Path) -> None:
    open_store(tmp_path, configuration={"q": (0.1, 0.9), "on": True}).write(Learner(1).snapshot(), progress(1))
    assert open_store(tmp_path, configuration={"on": True, "q": [0.1, 0.9]}).newest(LINEAGE).checkpoint
    with pytest.raises(FingerprintMismatch, match="on: true -> 1"):
        open_store(tmp_path, configuration={"on": 1, "q": [0.1, 0.9]}).newest(LINEAGE)


def test_a_store_without_configuration_reads_and_does_not_write(tmp_path: Path) -> None:
    open_store(tmp_path).write(Learner(1).snapshot(), progress(1))
    reader = open_store(tmp_path, configuration=None)
    found = reader.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.configuration == CONFIGURATION
    with pytest.raises(CheckpointError, match="only read"):
        reader.write(Learner(1).snapshot(), progress(2))


def test_another_build_is_allowed_and_listed(tmp_path: Path) -> None:
    open_store(tmp_path).write(Learner(1).snapshot(), progress(1))
    found = open_store(tmp_path, build={"numpy": "3.0", "cpu": "zen"}).newest(LINEAGE)
    assert found.checkpoint is not None
    differences = build_differences(found.checkpoint.manifest, {"numpy": "3.0", "cpu": "zen"})
    assert differences == ['cpu: (absent) -> "zen"', 'numpy: "2.4" -> "3.0"']


# ------------------------------------------------------------------------------------------------------ retention


def age(store: CheckpointStore) -> None:
    old = time.time() - GARBAGE_GRACE_S - 10
    for path in store.directory.rglob("*"):
        os.utime(path, (old, old))


def written(store: CheckpointStore, *positions: int) -> None:
    for position in positions:
        store.write(Learner(3, seed=position).snapshot(), progress(position))


def kept(store: CheckpointStore) -> list[int]:
    return [int(path.stem.split("-")[1]) for path in paths(store, "manifest-*")]


@pytest.mark.parametrize(
    ("committed", "expected"),
    [(50, [40, 50]), (40, [40, 50]), (39, [30, 40, 50]), (10, [10, 40, 50]), (9, [10, 20, 30, 40, 50])],
)
def test_retention_keeps_the_newest_and_the_one_recovery_needs(
    tmp_path: Path, committed: int, expected: list[int]
) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30, 40, 50)
    store.retire(LINEAGE, retain=2, committed=committed)
    assert kept(store) == expected
    assert all(store.newest(LINEAGE, p).rejected == [] for p in expected)


def test_without_a_commit_nothing_is_retired(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30)
    assert store.retire(LINEAGE, retain=1, committed=None) == []
    with pytest.raises(ConfigError, match="retain"):
        store.retire(LINEAGE, retain=0, committed=None)


def test_damaged_checkpoints_do_not_count_as_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30, 40)
    paths(store, "manifest-*40.json")[0].write_bytes(b"junk")
    third = store.manifests(LINEAGE)[0][-1]
    (store.directory / LINEAGE / "segments" / f"{third.model.sha256}.safetensors").unlink()
    store.retire(LINEAGE, retain=1, committed=100)
    found = store.newest(LINEAGE, 100)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 20


def test_unreferenced_segments_go_once_they_are_old(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30)
    store.retire(LINEAGE, retain=1, committed=30)
    assert len(paths(store, "segments/*")) == 6, "young files may belong to a checkpoint being written"
    (store.directory / LINEAGE / "segments" / ".abc.safetensors.1-ff.tmp").write_bytes(b"")
    (store.directory / LINEAGE / ".manifest-1.json.1-ff.tmp").write_bytes(b"")
    age(store)
    removed = store.retire(LINEAGE, retain=1, committed=30)
    assert len(removed) == 6
    assert len(paths(store, "segments/*")) == 2
    assert not list(store.directory.rglob("*.tmp"))
    assert store.newest(LINEAGE).rejected == []


def test_a_segment_found_on_disk_and_used_again_is_young_again(tmp_path: Path) -> None:
    store, rival = open_store(tmp_path), open_store(tmp_path)
    learner = Learner(3, seed=10)
    store.write(learner.snapshot(), progress(10))
    written(store, 20)
    age(store)
    store.write(learner.snapshot(), progress(30))
    paths(store, "manifest-*30.json")[0].unlink()  # as it is just before the manifest appears
    rival.retire(LINEAGE, retain=1, committed=20)
    assert kept(store) == [20]
    assert len(paths(store, "segments/*")) == 4, "those of 10, used again for 30, are spared"


def test_segments_shared_with_an_older_checkpoint_survive_its_removal(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    base = store.write(learner.snapshot(), progress(10))
    learner.streams["h"][SEGMENT_SLOTS] += 1
    newest = store.write(learner.snapshot([1]), progress(20), base)
    age(store)
    store.retire(LINEAGE, retain=1, committed=20)
    assert kept(store) == [20]
    assert len(paths(store, "segments/*")) == 3
    assert_restores(store, newest, learner)


def test_nothing_is_collected_while_a_manifest_of_a_newer_version_is_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30)
    resign(paths(store, "manifest-*30.json")[0], {"format": 2})
    age(store)
    store.retire(LINEAGE, retain=1, committed=20)
    assert kept(store) == [20, 30]
    assert len(paths(store, "segments/*")) == 6
