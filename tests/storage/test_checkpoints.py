"""Checkpoints restore what was written, appear whole, are found again, and go when nobody needs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint, FingerprintMismatch
from streamrnn.learner.state import empty_streams
from streamrnn.learner.streams import SEGMENT_SLOTS
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.fingerprints import changes
from streamrnn.storage.manifest import FORMAT, new_lineage
from streamrnn.storage.retention import GARBAGE_GRACE_S
from streamrnn.storage.segments import Segment, pack_segment, unpack_segment
from streamrnn.storage.snapshot import Snapshot
from streamrnn.storage.tensors import decode, encode
from streamrnn.system.writing import Data
from tests.support.blobs import MemoryBlobs
from tests.support.checkpoints import (
    CONFIGURATION,
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


@pytest.fixture(params=["directory", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """Where checkpoints are; what the store promises of them does not depend on it."""
    return DirectoryBlobs(tmp_path) if request.param == "directory" else MemoryBlobs()


# ---- round trips


@pytest.mark.parametrize("n_slots", [0, 1, SEGMENT_SLOTS, SEGMENT_SLOTS + 1])
def test_a_checkpoint_restores_every_array_and_key(blobs: Blobs, n_slots: int) -> None:
    store, learner = open_store(blobs), Learner(n_slots)
    manifest = store.write(learner.snapshot(), progress(42))
    assert_restores(store, manifest, learner)
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest == manifest
    assert found.rejected == []
    assert manifest.progress == progress(42)
    assert found.checkpoint.manifest.spec == SPEC
    assert [type(label) for label in found.checkpoint.manifest.spec.target.classes or ()] == [str, int, bool]


def test_streams_are_read_straight_into_arrays_that_are_given(blobs: Blobs) -> None:
    n = 2 * SEGMENT_SLOTS + 5
    store, learner = open_store(blobs), Learner(n)
    manifest = store.write(learner.snapshot(), progress(42), at_once=3)
    given = empty_streams(SPEC, n)
    checkpoint = store.load(manifest, into=given)
    assert checkpoint.keys == learner.keys
    for name, array in learner.state().streams.items():
        assert checkpoint.streams[name] is given[name]
        np.testing.assert_array_equal(given[name], array)


def test_several_threads_write_the_bytes_that_one_does() -> None:
    learner, found = Learner(3 * SEGMENT_SLOTS + 5), []
    for at_once in (1, 3):
        manifest = open_store(MemoryBlobs()).write(learner.snapshot(), progress(1), at_once=at_once)
        found.append((manifest.model, manifest.segments))
    assert found[0] == found[1]


def test_a_second_checkpoint_writes_only_the_touched_segment(blobs: Blobs) -> None:
    store, learner = open_store(blobs), Learner(2 * SEGMENT_SLOTS + 5)
    first = store.write(learner.snapshot(), progress(10))
    before = {blob.name for blob in blobs.list() if "/segments/" in blob.name}
    learner.streams["x"][SEGMENT_SLOTS] += 1
    learner.model["theta"] += 1
    second = store.write(learner.snapshot([1]), progress(20), first)
    after = {blob.name for blob in blobs.list() if "/segments/" in blob.name}
    assert len(before) == 4
    assert len(after - before) == 2, "one stream segment and the model"
    assert [a == b for a, b in zip(first.segments, second.segments, strict=True)] == [True, False, True]
    assert_restores(store, second, learner)


def test_a_snapshot_is_not_changed_by_what_the_learner_does_next(tmp_path: Path) -> None:
    store, learner, untouched = open_store(tmp_path), Learner(10), Learner(10)
    snapshot = learner.snapshot()
    learner.model["theta"][:] = 0
    learner.streams["state"][:] = 0
    learner.keys[0] = b"other"
    manifest = store.write(snapshot, progress(1))
    assert_restores(store, manifest, untouched)


def test_a_partial_snapshot_without_base_is_refused(blobs: Blobs) -> None:
    store, learner = open_store(blobs), Learner(SEGMENT_SLOTS + 1)
    with pytest.raises(CheckpointError, match=r"segment 0 .* neither in the snapshot nor"):
        store.write(learner.snapshot([1]), progress(1))
    base = store.write(learner.snapshot(), progress(1))
    with pytest.raises(CheckpointError, match="of lineage"):
        store.write(learner.snapshot([1]), progress(2, "other"), base)
    learner.n_slots -= 1
    with pytest.raises(CheckpointError, match=r"touched: segment 1 does not exist"):
        learner.snapshot([1])


def test_a_segment_that_grew_without_being_touched_is_refused(blobs: Blobs) -> None:
    store = open_store(blobs)
    base = store.write(Learner(5).snapshot(), progress(1))
    with pytest.raises(CheckpointError, match="neither in the snapshot nor"):
        store.write(Learner(6).snapshot([]), progress(2), base)


arrays = st.sampled_from(["float32", "float64", "int64", "uint64", "bool", "uint8", "int16"])


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(st.none() | st.binary(max_size=20), max_size=30),
    layout=st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(arrays, st.integers(0, 3)), max_size=4),
    data=st.data(),
)
def test_any_keys_and_arrays_survive_the_round_trip(
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
    segment = unpack_segment(decode(encode(pack_segment(Segment(streams, tuple(keys)), 0))), n, "segment 0")
    assert list(segment.keys) == keys
    for name, array in streams.items():
        assert segment.arrays[name].tobytes() == array.tobytes()


def test_strided_arrays_are_stored_as_what_they_show(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(0)
    weights = np.arange(18.0).reshape(2, 9)
    learner.model["x_mean"], learner.model["x_m2"] = weights[0, ::3], weights.T[:3, 1]
    manifest = store.write(Snapshot(SPEC, learner.model, {}, 0), progress(0))
    model = store.load(manifest).model
    np.testing.assert_array_equal(model["x_mean"], [0, 3, 6])
    np.testing.assert_array_equal(model["x_m2"], [9, 10, 11])


# ---- selection


def test_newest_respects_the_committed_position(blobs: Blobs) -> None:
    store = open_store(blobs)
    for position in (0, 100, 99, 20_000):
        store.write(Learner(3, seed=position).snapshot(), progress(position))
    chosen = [store.newest(LINEAGE, limit).checkpoint for limit in (None, 20_000, 19_999, 99, 98, 0)]
    assert [c and c.manifest.progress.position for c in chosen] == [20_000, 20_000, 100, 99, 0, 0]
    assert store.newest("20990101-00000000").checkpoint is None
    assert store.lineages() == [LINEAGE]


def test_partitions_and_jobs_do_not_see_each_other(tmp_path: Path) -> None:
    names = [("j", "a-1", 1), ("j", "a", 11), ("j", "a-1-1", 0), ("j", "a/1", 1), ("j-a", "1", 1), ("..", "..", 0)]
    stores = [
        CheckpointStore(DirectoryBlobs(tmp_path), job, topic, n, configuration={}, build={}) for job, topic, n in names
    ]
    assert len({store.place for store in stores}) == len(stores)
    for store in stores:
        assert tmp_path in folder(store).parents
        assert ".." not in folder(store).parts
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
    other = CheckpointStore(DirectoryBlobs(tmp_path), "job", "in.put-1_x", 4, configuration=CONFIGURATION, build={})
    other.write(Learner(1).snapshot(), progress(1))
    folder(other).rename(folder(store))
    found = store.newest(LINEAGE)
    assert found.checkpoint is None
    assert "copied here by hand" in found.rejected[0].reason


# ---- writing


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
    flip(folder(store) / LINEAGE / "segments" / f"{manifest.segments[0].sha256}.safetensors", 0.7)
    again = store.write(learner.snapshot(), progress(2))
    assert again.segments == manifest.segments
    assert_restores(store, again, learner)


def test_building_on_a_checkpoint_whose_segment_is_gone_is_refused(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    base = store.write(learner.snapshot(), progress(1))
    (folder(store) / LINEAGE / "segments" / f"{base.segments[0].sha256}.safetensors").unlink()
    with pytest.raises(CorruptCheckpoint, match=r"segment 0 .* is gone"):
        store.write(learner.snapshot([1]), progress(2), base)
    assert_restores(store, store.write(learner.snapshot(), progress(2), base), learner)


class WatchedBlobs(MemoryBlobs):
    """Calls ``manifest_put`` at the moment a manifest appears."""

    manifest_put: Callable[[str], None] = staticmethod(lambda name: None)

    def put(self, blobs: Iterable[tuple[str, Data]]) -> None:
        put = list(blobs)
        super().put(put)
        for name, _ in put:
            if "/manifest-" in name:
                self.manifest_put(name)


def test_a_manifest_appears_alone_and_only_after_all_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, learner = WatchedBlobs(), Learner(2 * SEGMENT_SLOTS + 1)
    store, seen = open_store(blobs), []
    puts: list[list[str]] = []
    put = MemoryBlobs.put

    def noting(self: MemoryBlobs, pairs: Iterable[tuple[str, Data]]) -> None:
        pairs = list(pairs)
        put(self, pairs)
        puts.append([name for name, _ in pairs])

    monkeypatch.setattr(MemoryBlobs, "put", noting)
    blobs.manifest_put = lambda name: seen.append(store.load(store.read(LINEAGE, store.positions(LINEAGE)[-1])))
    base = store.write(learner.snapshot(), progress(1))
    learner.streams["x"][SEGMENT_SLOTS] += 1
    store.write(learner.snapshot([1]), progress(2), base)
    assert [checkpoint.manifest.progress.position for checkpoint in seen] == [1, 2], "each could be loaded at once"
    assert [len(names) for names in puts] == [4, 1, 2, 1]


def test_a_segment_collected_while_the_manifest_was_written_takes_the_manifest_back() -> None:
    blobs, learner = WatchedBlobs(), Learner(SEGMENT_SLOTS + 1)
    store = open_store(blobs)
    base = store.write(learner.snapshot(), progress(1))
    (stolen,) = [blob.name for blob in blobs.list() if base.segments[0].sha256 in blob.name]
    blobs.manifest_put = lambda _: blobs.delete([stolen])
    with pytest.raises(CorruptCheckpoint, match="vanished"):
        store.write(learner.snapshot([1]), progress(2), base)
    assert store.positions(LINEAGE) == [1]


# ---- fingerprints


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
    lines = changes(found.checkpoint.manifest.build, {"numpy": "3.0", "cpu": "zen"})
    assert lines == ['cpu: (absent) -> "zen"', 'numpy: "2.4" -> "3.0"']


# ---- retention


def age(store: CheckpointStore) -> None:
    old = time.time() - GARBAGE_GRACE_S - 10
    for path in folder(store).rglob("*"):
        os.utime(path, (old, old))


def written(store: CheckpointStore, *positions: int) -> None:
    for position in positions:
        store.write(Learner(3, seed=position).snapshot(), progress(position))


@pytest.mark.parametrize(
    ("committed", "expected"),
    [(50, [40, 50]), (40, [40, 50]), (39, [30, 40, 50]), (10, [10, 40, 50]), (9, [10, 20, 30, 40, 50])],
)
def test_retention_keeps_the_newest_and_the_one_recovery_needs(
    blobs: Blobs, committed: int, expected: list[int]
) -> None:
    store = open_store(blobs)
    written(store, 10, 20, 30, 40, 50)
    store.retire(LINEAGE, retain=2, committed=committed)
    assert store.positions(LINEAGE) == expected
    assert all(store.newest(LINEAGE, p).rejected == [] for p in expected)


def test_without_a_commit_nothing_is_retired(blobs: Blobs) -> None:
    store = open_store(blobs)
    written(store, 10, 20, 30)
    store.retire(LINEAGE, retain=1, committed=None)
    assert store.positions(LINEAGE) == [10, 20, 30]
    assert len(blobs.list(f"job/in.put-1_x-3/{LINEAGE}/segments/")) == 6
    with pytest.raises(ConfigError, match="retain"):
        store.retire(LINEAGE, retain=0, committed=None)


def test_damaged_checkpoints_do_not_count_as_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30, 40)
    paths(store, "manifest-*40.json")[0].write_bytes(b"junk")
    third = store.read(LINEAGE, 30)
    (folder(store) / LINEAGE / "segments" / f"{third.model.sha256}.safetensors").unlink()
    store.retire(LINEAGE, retain=1, committed=100)
    found = store.newest(LINEAGE, 100)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 20


def test_unreferenced_segments_go_once_they_are_old(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30)
    store.retire(LINEAGE, retain=1, committed=30)
    assert len(paths(store, "segments/*")) == 6, "young files may belong to a checkpoint being written"
    (folder(store) / LINEAGE / "segments" / ".abc.safetensors.1-0123abcd.tmp").write_bytes(b"")
    (folder(store) / LINEAGE / ".manifest-1.json.1-0123abcd.tmp").write_bytes(b"")
    age(store)
    store.retire(LINEAGE, retain=1, committed=30)
    assert len(paths(store, "segments/*")) == 2
    assert not list(folder(store).rglob("*.tmp"))
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
    assert store.positions(LINEAGE) == [20]
    assert len(paths(store, "segments/*")) == 4, "those of 10, used again for 30, are spared"


def test_manifests_go_before_segments_and_one_put_again_in_the_meantime_is_spared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blobs = MemoryBlobs()
    store = open_store(blobs)
    written(store, 10, 20)
    blobs.age(GARBAGE_GRACE_S + 10)
    delete, seen = blobs.delete, []

    def with_a_rival(names: Iterable[str], *, put_before: float | None = None) -> None:
        names = list(names)
        seen.append(["segments" if "/segments/" in name else "manifest" for name in names])
        if "segments" in seen[-1]:  # another process writes a checkpoint that holds the first of them
            blobs.put([(names[0], blobs.get(names[0]))])
        delete(names, put_before=put_before)

    monkeypatch.setattr(blobs, "delete", with_a_rival)
    store.retire(LINEAGE, retain=1, committed=20)
    assert seen == [["manifest"], ["segments", "segments"]]
    assert store.positions(LINEAGE) == [20]
    assert len([blob for blob in blobs.list() if "/segments/" in blob.name]) == 3, "two of 20, and the one put again"


def test_segments_shared_with_an_older_checkpoint_survive_its_removal(tmp_path: Path) -> None:
    store, learner = open_store(tmp_path), Learner(SEGMENT_SLOTS + 1)
    base = store.write(learner.snapshot(), progress(10))
    learner.streams["x"][SEGMENT_SLOTS] += 1
    newest = store.write(learner.snapshot([1]), progress(20), base)
    age(store)
    store.retire(LINEAGE, retain=1, committed=20)
    assert store.positions(LINEAGE) == [20]
    assert len(paths(store, "segments/*")) == 3
    assert_restores(store, newest, learner)


def test_nothing_is_collected_while_a_manifest_of_a_newer_version_is_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    written(store, 10, 20, 30)
    resign(paths(store, "manifest-*30.json")[0], {"format": FORMAT + 1})
    age(store)
    store.retire(LINEAGE, retain=1, committed=20)
    assert store.positions(LINEAGE) == [20, 30]
    assert len(paths(store, "segments/*")) == 6
