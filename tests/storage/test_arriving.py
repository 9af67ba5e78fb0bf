"""Segments that come one by one are written as they were when the copy began, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamrnn.errors import BlobError
from streamrnn.learner.block import Block
from streamrnn.learner.copying import ROOMS
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.arriving import ArrivingSegments, CopyGivenUpError
from streamrnn.storage.blobs import DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Manifest, Progress
from streamrnn.storage.snapshot import Snapshot, copied_model, take_snapshot
from streamrnn.storage.writer import BackgroundWriter, Outcome
from tests.support.blobs import MemoryBlobs
from tests.support.segments import make_segments_tiny

SPEC = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), streams=StreamSpec(max_streams=40))
LINEAGE = "20250309-0123abcd"
N_SEGMENTS = 10


@pytest.fixture(autouse=True)
def _tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    make_segments_tiny(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(DirectoryBlobs(tmp_path), "job", "topic", 0, configuration={}, build={})


@pytest.fixture
def writer(store: CheckpointStore) -> Iterator[BackgroundWriter]:
    writer = BackgroundWriter(store)
    yield writer
    writer.close(10)


@pytest.fixture
def learner() -> Learner:
    learner = Learner(SPEC, seed=1)
    learn(learner, 0)
    return learner


def learn(learner: Learner, time_ms: int, streams: int = 2 * N_SEGMENTS) -> None:
    rng = np.random.default_rng(time_ms)
    keys, times = [b"s%d" % i for i in range(streams)], np.full(streams, time_ms, np.int64)
    learner.process(Block.events(keys, rng.normal(size=(streams, 1)), rng.normal(size=(streams, 1)), time_ms=times))


def progress(position: int) -> Progress:
    return Progress(lineage=LINEAGE, position=position, ordinal=position, digest=0)


def begin(learner: Learner, writer: BackgroundWriter, position: int) -> ArrivingSegments:
    copy = learner.copy_streams(writer.needed(learner.pop_touched_segments()))
    segments, model = ArrivingSegments(copy), copied_model(learner.model_state())
    writer.submit(Snapshot(SPEC, model, segments, copy.n_slots), progress(position), position)
    return segments


def copy_all(segments: ArrivingSegments) -> None:
    give_up = time.monotonic() + 30.0
    while not segments.copied:
        segments.copy_next()
        assert time.monotonic() < give_up, "nobody writes what was copied"
        time.sleep(0.0001)


def finished(writer: BackgroundWriter) -> Outcome:
    give_up = time.monotonic() + 30.0
    while not (outcomes := writer.outcomes()):
        assert time.monotonic() < give_up, "nothing was written"
        time.sleep(0.001)
    (outcome,) = outcomes
    return outcome


def at_once(learner: Learner) -> Manifest:
    """The manifest that a copy made and written at once would have now."""
    store = CheckpointStore(MemoryBlobs(), "job", "topic", 0, configuration={}, build={})
    return store.write(take_snapshot(learner.state()), progress(0))


def digests(manifest: Manifest | None) -> list[str]:
    assert manifest is not None
    return [entry.sha256 for entry in (manifest.model, *manifest.segments)]


def test_what_is_written_is_what_was_there_when_it_began(learner: Learner, writer: BackgroundWriter) -> None:
    for position in (1, 2, 3):
        expected = digests(at_once(learner))
        segments = begin(learner, writer, position)
        while not segments.copied:
            segments.copy_next()
            learn(learner, learner.streams.records)
        assert digests(finished(writer).manifest) == expected


def test_only_so_many_segments_are_copied_as_there_is_room_for(learner: Learner) -> None:
    segments = ArrivingSegments(learner.copy_streams())
    assert [segments.copy_next() for _ in range(ROOMS + 1)] == [True] * ROOMS + [False]
    first = segments[0]
    assert not segments.copy_next(), "the first is being written"
    assert segments[1] is not first
    assert segments.copy_next(), "the first has been written"


def test_nothing_of_one_that_is_given_up_stays_in_memory_while_who_writes_hangs(learner: Learner) -> None:
    segments = ArrivingSegments(learner.copy_streams())
    segments.copy_next()
    assert segments.copy_next()
    segments.give_up()
    assert (segments._come, segments._rooms) == ({}, [])
    with pytest.raises(CopyGivenUpError):
        segments[1]


def test_one_that_is_given_up_is_no_failure_and_its_segments_are_owing(
    learner: Learner, writer: BackgroundWriter, store: CheckpointStore
) -> None:
    copy_all(begin(learner, writer, 1))
    finished(writer)
    learn(learner, 1, streams=6)
    begin(learner, writer, 2).give_up()
    expected = digests(at_once(learner))
    deadline = time.monotonic() + 30.0
    while not writer.idle:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert (writer.outcomes(), writer.behind) == ([], False)
    assert writer.needed(learner.pop_touched_segments()) == {0, 1, 2}
    copy_all(begin(learner, writer, 3))
    assert digests(finished(writer).manifest) == expected
    assert store.positions(LINEAGE) == [1, 3]


def test_the_last_one_overtakes_one_that_is_not_copied(learner: Learner, writer: BackgroundWriter) -> None:
    segments = begin(learner, writer, 1)
    segments.copy_next()
    learn(learner, 1)
    segments.give_up()
    needed = writer.needed(learner.pop_touched_segments())
    writer.submit(take_snapshot(learner.state(), needed), progress(2), 2, at_once=3)
    expected = digests(at_once(learner))
    assert digests(finished(writer).manifest) == expected
    assert writer.close(10)


class FullDisk(DirectoryBlobs):
    """Takes the model and two segments."""

    left = 3

    def _path(self, name: str) -> Path:
        self.left -= "/segments/" in name
        if self.left < 0:
            raise BlobError("No space left on device")
        return super()._path(name)


def test_a_disk_that_fails_in_between_ends_the_copying_and_nothing_stays_in_memory(
    learner: Learner, tmp_path: Path
) -> None:
    blobs = FullDisk(tmp_path)
    store = CheckpointStore(blobs, "job", "topic", 0, configuration={}, build={})
    writer = BackgroundWriter(store)
    segments = begin(learner, writer, 1)
    copy_all(segments)
    assert "No space" in str(finished(writer).error)
    assert (segments._come, segments._rooms) == ({}, [])
    assert store.positions(LINEAGE) == []
    learn(learner, 1)
    blobs.left = 100
    expected = digests(at_once(learner))
    copy_all(begin(learner, writer, 2))
    assert digests(finished(writer).manifest) == expected
    assert writer.close(10)


def test_who_waits_for_a_segment_is_told_that_it_will_not_come(learner: Learner) -> None:
    segments = ArrivingSegments(learner.copy_streams())
    threading.Timer(0.01, segments.give_up).start()
    with pytest.raises(CopyGivenUpError, match="given up"):
        segments[0]


def test_a_segment_that_nobody_could_read_again_is_not_written(learner: Learner, writer: BackgroundWriter) -> None:
    learner._per_stream.y_m2[13] = -1.0
    copy_all(begin(learner, writer, 1))
    assert "'y_m2'" in str(finished(writer).error)
