"""The background writer loses no touched segment, whatever is skipped or fails."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamrnn.errors import CheckpointError
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import MODEL, STREAMS, LearnerState
from streamrnn.learner.streams import RECORD, SEGMENT_SLOTS, TIMES
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.blobs import DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import Snapshot, take_snapshot
from streamrnn.storage.writer import BackgroundWriter, Outcome
from tests.support.checkpoints import blank_arrays

SPEC = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
LINEAGE = "20250309-0123abcd"
N_SLOTS = 2 * SEGMENT_SLOTS + 1


class GatedStore(CheckpointStore):
    """Writes only when let through, and fails on request."""

    def __init__(self, directory: Path) -> None:
        super().__init__(DirectoryBlobs(directory), "job", "topic", 0, configuration={}, build={})
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.fail: Exception | None = None

    def write(
        self,
        snapshot: Snapshot,
        progress: Progress,
        base: Manifest | None = None,
        *,
        only_sound: bool = False,
        at_once: int = 1,
    ) -> Manifest:
        self.begun.release()
        assert self.gate.acquire(timeout=10)
        if self.fail is not None:
            raise self.fail
        return super().write(snapshot, progress, base, only_sound=only_sound, at_once=at_once)

    def value_at(self, position: int) -> list[float]:
        """The value of the first row of each segment in the checkpoint at ``position``."""
        checkpoint = self.newest(LINEAGE, position).checkpoint
        assert checkpoint is not None
        assert checkpoint.manifest.progress.position == position
        return [float(value) for value in checkpoint.streams["y_mean"][::SEGMENT_SLOTS, 0]]


class Learner:
    def __init__(self) -> None:
        self.model = blank_arrays(SPEC, MODEL)
        self.model["arrivals"][0] = N_SLOTS
        self.streams = blank_arrays(SPEC, STREAMS, N_SLOTS)
        self.streams["seen"][:, RECORD] = 1 + np.arange(N_SLOTS)
        self.streams["seen"][:, TIMES] = 1
        self.keys: list[bytes | None] = [b"%d" % slot for slot in range(N_SLOTS)]

    def touch(self, segment: int, value: float, writer: BackgroundWriter) -> Snapshot:
        self.streams["y_mean"][segment * SEGMENT_SLOTS] = value
        return self.snapshot(writer.needed([segment]))

    def snapshot(self, touched: Collection[int] | None = None) -> Snapshot:
        return take_snapshot(LearnerState(SPEC, self.model, self.streams, self.keys).copy(), touched)


def progress(position: int) -> Progress:
    return Progress(lineage=LINEAGE, position=position, ordinal=position, digest=0)


def finished(writer: BackgroundWriter, count: int) -> list[Outcome]:
    """The next ``count`` outcomes."""
    outcomes: list[Outcome] = []
    give_up = time.monotonic() + 30.0
    while len(outcomes) < count:
        assert time.monotonic() < give_up, f"{len(outcomes)} of {count} attempts finished"
        outcomes += writer.outcomes()
        time.sleep(0.001)
    assert len(outcomes) == count
    return outcomes


def wait_until_gone(snapshot: weakref.ref[Snapshot]) -> None:
    """Wait for the writer's thread to let go; the garbage collector is not to do it."""
    give_up = time.monotonic() + 10.0
    while snapshot() is not None:
        assert time.monotonic() < give_up, "something still holds the snapshot"
        time.sleep(0.001)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def store(tmp_path: Path) -> GatedStore:
    return GatedStore(tmp_path)


@pytest.fixture
def writer(store: GatedStore) -> Iterator[BackgroundWriter]:
    writer = BackgroundWriter(store)
    yield writer
    store.gate.release(100)
    writer.close(10)


def test_the_first_snapshot_must_be_complete_and_later_ones_need_not(
    store: GatedStore, writer: BackgroundWriter
) -> None:
    learner = Learner()
    assert writer.needed([1]) is None
    writer.submit(learner.snapshot(), progress(1), 1)
    assert writer.needed([1]) is None, "nothing is on the disk yet"
    store.gate.release(2)
    outcomes = finished(writer, 1)
    assert writer.needed([1]) == {1}
    writer.submit(learner.touch(1, 5.0, writer), progress(2), 2)
    outcomes += finished(writer, 1)
    assert store.value_at(2) == [0.0, 5.0, 0.0]
    assert [outcome.manifest and outcome.manifest.progress.position for outcome in outcomes] == [1, 2]
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert writer.outcomes() == []


def test_a_restored_base_is_built_upon(store: GatedStore) -> None:
    learner = Learner()
    store.gate.release(2)
    writer = BackgroundWriter(store, base=store.write(learner.snapshot(), progress(1)))
    assert writer.needed([]) == set()
    writer.submit(learner.touch(2, 1.0, writer), progress(2), 2)
    assert writer.close(10)
    assert store.value_at(2) == [0.0, 0.0, 1.0]


def test_a_base_cut_into_segments_of_another_size_is_not_built_upon(store: GatedStore) -> None:
    store.gate.release(1)
    base = store.write(Learner().snapshot(), progress(1))
    writer = BackgroundWriter(store, base=msgspec.structs.replace(base, slots_per_segment=8192))
    assert writer.needed([]) is None
    writer.close(10)


def test_a_skipped_checkpoint_leaves_its_segments_to_the_next(store: GatedStore, writer: BackgroundWriter) -> None:
    learner = Learner()
    writer.submit(learner.snapshot(), progress(1), 1)
    assert store.begun.acquire(timeout=10)  # being written: from here on snapshots wait
    writer.submit(learner.touch(0, 1.0, writer), progress(2), 2)
    writer.submit(learner.touch(1, 2.0, writer), progress(3), 3)
    writer.submit(learner.touch(0, 3.0, writer), progress(4), 4)
    store.gate.release(2)
    finished(writer, 2)
    assert store.positions(LINEAGE) == [1, 4]
    assert store.value_at(4) == [3.0, 2.0, 0.0]


@pytest.mark.parametrize("error", [CheckpointError("disk full"), RuntimeError("a bug"), MemoryError()])
def test_a_failure_is_reported_and_its_segments_go_into_the_next_checkpoint(
    store: GatedStore, writer: BackgroundWriter, error: Exception
) -> None:
    learner = Learner()
    store.gate.release(10)
    writer.submit(learner.snapshot(), progress(1), 1)
    assert finished(writer, 1)[0].error is None
    store.fail = error
    writer.submit(learner.touch(0, 1.0, writer), progress(2), 2)
    (outcome,) = finished(writer, 1)
    assert outcome.manifest is None
    assert isinstance(outcome.error, CheckpointError)
    assert error in (outcome.error, outcome.error.__cause__)
    assert writer.needed([1]) == {0, 1}
    store.fail = None
    writer.submit(learner.touch(1, 2.0, writer), progress(3), 3)
    assert finished(writer, 1)[0].error is None
    assert store.value_at(3) == [1.0, 2.0, 0.0]
    assert writer.close(10), "the last attempt succeeded"


def test_the_very_first_write_may_fail(store: GatedStore, writer: BackgroundWriter) -> None:
    learner = Learner()
    store.gate.release(10)
    store.fail = CheckpointError("disk full")
    writer.submit(learner.snapshot(), progress(1), 1)
    finished(writer, 1)
    assert writer.needed([]) is None
    store.fail = None
    writer.submit(learner.touch(2, 2.0, writer), progress(2), 2)
    finished(writer, 1)
    assert store.value_at(2) == [0.0, 0.0, 2.0]


def test_a_damaged_base_is_overcome_by_a_complete_snapshot(store: GatedStore, writer: BackgroundWriter) -> None:
    learner = Learner()
    store.gate.release(10)
    learner.streams["y_mean"][SEGMENT_SLOTS] = 1.0
    writer.submit(learner.snapshot(), progress(1), 1)
    base = finished(writer, 1)[0].manifest
    assert base is not None
    (Path(store.place) / LINEAGE / "segments" / f"{base.segments[1].sha256}.safetensors").unlink()
    writer.submit(learner.touch(0, 1.5, writer), progress(2), 2)
    assert "gone" in str(finished(writer, 1)[0].error)
    assert writer.needed([]) is None
    writer.submit(learner.snapshot(), progress(3), 3)
    assert finished(writer, 1)[0].error is None
    assert store.value_at(3) == [1.5, 1.0, 0.0]


def test_close_gives_up_in_time_and_drops_what_waits(store: GatedStore) -> None:
    writer = BackgroundWriter(store)
    learner = Learner()
    writer.submit(learner.snapshot(), progress(1), 1)
    assert store.begun.acquire(timeout=10)
    writer.submit(learner.snapshot(), progress(2), 2)
    assert not writer.close(0.01)
    with pytest.raises(CheckpointError, match="closed"):
        writer.submit(learner.snapshot(), progress(3), 3)
    store.gate.release(1)
    assert writer.close(10), "the one being written is finished, the one that waited is dropped"
    assert store.positions(LINEAGE) == [1]


def test_close_writes_what_was_handed_in_and_ends_the_thread(store: GatedStore) -> None:
    before = threading.active_count()
    writer = BackgroundWriter(store)
    store.gate.release(1)
    writer.submit(Learner().snapshot(), progress(1), 1)
    assert writer.close(10)
    assert writer.close(10)
    assert threading.active_count() == before
    assert store.value_at(1) == [0.0, 0.0, 0.0]


def test_close_after_a_failure_says_so(store: GatedStore) -> None:
    writer = BackgroundWriter(store)
    store.gate.release(1)
    store.fail = CheckpointError("disk full")
    writer.submit(Learner().snapshot(), progress(1), 1)
    assert not writer.close(10)


def test_old_checkpoints_are_retired_and_a_failing_retirement_is_no_failure(
    store: GatedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = BackgroundWriter(store, retain=2)
    store.gate.release(10)
    for position in (1, 2, 3, 4):
        writer.submit(Learner().snapshot(), progress(position), position)
        finished(writer, 1)
    assert store.positions(LINEAGE) == [3, 4]

    def refuse(*_: object, **__: object) -> list[Path]:
        raise PermissionError("read-only")

    monkeypatch.setattr(store, "retire", refuse)
    writer.submit(Learner().snapshot(), progress(5), 5)
    assert writer.close(10)


@pytest.mark.usefixtures("no_collection")
def test_nothing_holds_a_snapshot_that_was_written(store: GatedStore, writer: BackgroundWriter) -> None:
    snapshot = Learner().snapshot()
    held = weakref.ref(snapshot)
    store.gate.release(10)
    writer.submit(snapshot, progress(1), 1)
    del snapshot
    finished(writer, 1)
    wait_until_gone(held)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("kind", [CheckpointError, RuntimeError])
def test_nothing_holds_a_snapshot_that_failed_once_its_segments_are_written(
    store: GatedStore, writer: BackgroundWriter, kind: type[Exception]
) -> None:
    learner = Learner()
    snapshot = learner.snapshot()
    held = weakref.ref(snapshot)
    store.gate.release(10)
    store.fail = kind("disk full")
    writer.submit(snapshot, progress(1), 1)
    del snapshot
    outcomes = finished(writer, 1)
    store.fail = None
    writer.submit(learner.touch(1, 2.0, writer), progress(2), 2)
    outcomes += finished(writer, 1)
    wait_until_gone(held)
    assert [outcome.manifest is None for outcome in outcomes] == [True, False]


def test_what_could_not_be_read_again_is_not_written_and_drives_nothing_out(
    store: GatedStore, writer: BackgroundWriter
) -> None:
    learner = Learner()
    store.gate.release(10)
    writer.submit(learner.snapshot(), progress(1), 1)
    finished(writer, 1)
    healthy = learner.model["counters"].copy()
    for position in range(2, 7):  # more than are retained
        learner.model["counters"][0] = 2**53 + 1
        writer.submit(learner.touch(1, 5.0, writer), progress(position), position)
        (outcome,) = finished(writer, 1)
        assert outcome.manifest is None
        assert "could not be read again" in str(outcome.error)
    assert store.positions(LINEAGE) == [1]
    learner.model["counters"][...] = healthy
    writer.submit(learner.touch(2, 6.0, writer), progress(7), 7)
    finished(writer, 1)
    assert store.value_at(7) == [0.0, 5.0, 6.0]


def test_a_touched_segment_is_looked_at_and_so_is_the_model_without_any() -> None:
    learner = Learner()
    learner.streams["y_m2"][SEGMENT_SLOTS] = -1.0
    snapshot = learner.snapshot([0, 1])
    snapshot.require_sound(snapshot.segments[0])
    with pytest.raises(CheckpointError, match="y_m2"):
        snapshot.require_sound(snapshot.segments[1])
    learner.model["theta"][0] = np.nan
    with pytest.raises(CheckpointError, match="theta"):
        learner.snapshot([]).require_sound()
