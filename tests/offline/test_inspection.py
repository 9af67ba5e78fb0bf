"""A checkpoint explains itself, to whoever has its directory and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from streamrnn.errors import CheckpointError, ConfigError, CorruptCheckpoint
from streamrnn.learner.lowering import layout_of
from streamrnn.offline.inspection import Place, find, inspect, newest
from streamrnn.storage.snapshot import Snapshot
from tests.support.blobs import MemoryBlobs
from tests.support.checkpoints import LINEAGE, SPEC, Learner, open_store, paths, progress


def with_weights() -> Snapshot:
    learner = Learner(0)
    learner.model["theta"] = np.arange(layout_of(SPEC).size, dtype=np.float32)
    return learner.snapshot()


def written(directory: Path, *positions: int) -> list[Path]:
    """The manifests of checkpoints at these positions."""
    store = open_store(directory)
    for position in positions:
        store.write(with_weights(), progress(position))
    return paths(store, "manifest-*")


def test_tensors_are_named_and_shaped_by_the_specification_in_the_manifest(tmp_path: Path) -> None:
    inspection = inspect(*find(written(tmp_path, 10)[0]))
    assert inspection.spec == SPEC
    assert inspection.layout == layout_of(SPEC)
    shapes = {tensor["name"]: tensor["shape"] for tensor in inspection.tensors()}
    assert shapes["rnn.weight_hh_l0"] == [16, 4]
    assert shapes["head.weight"] == [3, 4]
    assert inspection.as_data()["position"] == 10


def test_arrays_of_another_size_than_the_specification_means_are_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    learner, size = Learner(3), layout_of(SPEC).size
    learner.model["theta"] = np.zeros(16, np.float32)
    store.write(learner.snapshot(), progress(10))
    with pytest.raises(CorruptCheckpoint, match=rf"'theta' is float32\[16\], expected float32\[{size}\]"):
        inspect(*find(paths(store, "manifest-*")[0]))


def test_checkpoints_are_found_below_any_directory_oldest_first_and_unreadable_ones_say_why(tmp_path: Path) -> None:
    first, second, third = written(tmp_path, 10, 20, 30)
    second.write_text("{}")
    for place in (tmp_path, first.parent, first.parents[2]):
        listed = find(place)
        assert [one.place for one in listed] == [str(second), str(first), str(third)]
        assert [bool(one.reason) for one in listed] == [True, False, False]
        assert [one.place for one in newest(listed)] == [str(third)]
    assert [one.place for one in find(first)] == [str(first)]


def test_checkpoints_are_found_and_read_wherever_blobs_are() -> None:
    store = open_store(blobs := MemoryBlobs())
    for position in (10, 20):
        store.write(with_weights(), progress(position))
    listed = find(Place(blobs, "job/"))
    assert [one.manifest and one.manifest.progress.position for one in listed] == [10, 20]
    assert inspect(listed[0]).as_data()["path"] == f"memory:/{listed[0].name}"
    with pytest.raises(CheckpointError, match="memory:/another/: holds no checkpoint"):
        find(Place(blobs, "another/"))


def test_any_file_can_be_asked_about(tmp_path: Path) -> None:
    for name in (".hidden", "notes.txt"):
        (tmp_path / name).write_text("nothing of ours")
        (one,) = find(tmp_path / name)
        assert one.manifest is None
        assert one.reason


def test_a_place_without_checkpoints_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        find(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        find(tmp_path / "none")


def test_a_manifest_that_was_copied_elsewhere_is_refused_with_its_own_place(tmp_path: Path) -> None:
    (manifest,) = written(tmp_path / "checkpoints", 10)
    place = rf"job/in\.put-1_x-3/{LINEAGE}/manifest-0*10\.json.*copied here by hand"
    shallow = tmp_path / manifest.name
    other_lineage = manifest.parents[1] / "20990101-00000000" / manifest.name
    other_position = manifest.with_name("manifest-00000000000000000011.json")
    for copy in (shallow, other_lineage, other_position):
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(manifest, copy)
        with pytest.raises(CorruptCheckpoint, match=place):
            inspect(*find(copy))
    assert inspect(*find(manifest)).manifest.progress.position == 10


def test_a_manifest_at_the_root_of_the_file_system_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (manifest,) = written(tmp_path, 10)
    monkeypatch.setattr(Path, "resolve", lambda self: Path("/", self.name))
    with pytest.raises(CorruptCheckpoint, match="copied here by hand"):
        inspect(*find(manifest))


def test_damaged_segments_are_refused(tmp_path: Path) -> None:
    (manifest,) = written(tmp_path, 10)
    for segment in manifest.parent.glob("segments/*"):
        segment.write_bytes(b"rot")
    with pytest.raises(CorruptCheckpoint, match="has 3 bytes"):
        inspect(*find(manifest))
