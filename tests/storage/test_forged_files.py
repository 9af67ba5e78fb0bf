"""Whatever somebody wrote into a model file or a checkpoint and signed: it is refused, or a learner that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import CheckpointError, RNNRegressor
from streamrnn.job import trained
from streamrnn.storage import manifest, model_file
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.model_file import ModelFile, load_model, pack, unpack
from streamrnn.storage.segments import Segment, pack_segment
from streamrnn.storage.snapshot import take_snapshot
from streamrnn.storage.tensors import decode
from tests.support.blobs import MemoryBlobs
from tests.support.checkpoints import LINEAGE, progress
from tests.support.forgeries import SPECS, healthy, signed, try_checkpoint, try_model_file

KINDS = sorted(SPECS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_model_file_is_refused_or_is_a_learner_that_runs(kind: str, tmp_path: Path) -> None:
    outcomes = Counter(try_model_file(kind, seed, tmp_path) for seed in range(60))
    assert min(outcomes["refused"], outcomes["ran"]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_checkpoint_is_passed_over_or_is_a_learner_that_runs(kind: str) -> None:
    outcomes = Counter(try_checkpoint(kind, seed) for seed in range(60))
    assert min(outcomes["refused"], outcomes["ran"]) > 5


def test_interpreted_kernels_stay_inside_their_arrays_whatever_a_file_holds() -> None:
    # Compiled, an index out of range reads what stands there; interpreted, it is an IndexError.
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.forgeries", "0", "30"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:-1]] == [
        "checkpoint ran", "checkpoint refused", "model file ran", "model file refused"
    ], run.stdout  # fmt: skip


# ---- one by one


def forged(**changed: np.ndarray) -> bytes:
    """A signed model file in which these arrays are others."""
    data = pack(ModelFile(healthy("regression"), ("a", "b", "c"), {}))
    return signed(decode(data) | changed, text_of(data))


def text_of(data: bytes) -> dict[str, Any]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return dict(json.loads(header["__metadata__"]["streamrnn"]))


def array_of(name: str) -> np.ndarray:
    return decode(forged())[name]


def test_a_stream_key_that_stands_in_two_slots_is_refused() -> None:
    packed = pack_segment(Segment({}, (b"k",) * 6), 0)
    with pytest.raises(ValueError, match="gives one stream two slots"):
        unpack(forged(**{f"streams.{name}": array for name, array in packed.items()}))


def test_more_keys_than_slots_are_refused() -> None:
    of = SPECS["regression"]
    smaller = with_fields(of, streams=with_fields(of.streams, max_streams=5))
    text = text_of(forged()) | {"spec": msgspec.to_builtins(smaller)}
    with pytest.raises(ValueError, match="has 6 slots, the learner has 5"):
        unpack(signed(decode(forged()), text))


def test_a_tensor_that_is_relabelled_is_refused_whether_it_is_signed_or_not() -> None:
    weights = array_of("rnn.weight_ih_l0")
    assert weights.dtype == np.float32
    with pytest.raises(ValueError, match=r"of another type are rnn.weight_ih_l0 \(int32\)"):
        unpack(forged(**{"rnn.weight_ih_l0": weights.view(np.int32)}))
    data = forged()
    name, kind = data.index(b'"rnn.weight_ih_l0"'), b'"dtype":"F32"'
    at = data.index(kind, name)
    with pytest.raises(ValueError, match="differ from their digest"):
        unpack(data[:at] + kind.replace(b"F32", b"I32") + data[at + len(kind) :])


def test_the_digest_covers_names_types_and_shapes() -> None:
    array = np.arange(6.0)
    digests = {
        model_file._sha256(arrays)
        for arrays in (
            {"a": array},
            {"b": array},
            {"a": array.view(np.int64)},
            {"a": array.reshape(2, 3)},
            {"a": array.reshape(3, 2)},
            {"a": array[:3], "b": array[3:]},
            {"a": array[:2], "b": array[2:]},
        )
    }
    assert len(digests) == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [("theta", np.nan), ("theta", np.inf), ("moment1", np.inf), ("moment2", -1.0), ("x_m2", -1.0), ("x_count", -1.0),
     ("y_mean", 1e308), ("x_mean", np.nan), ("counters", -1)],
)  # fmt: skip
def test_a_checkpoint_whose_numbers_no_learner_reaches_is_passed_over(name: str, value: float) -> None:
    store = CheckpointStore(MemoryBlobs(), "job", "topic", 0, configuration={}, build={})
    store.write(take_snapshot(healthy("regression")), progress(10))
    bad = healthy("regression").copy()
    bad.model[name][...] = value
    store.write(take_snapshot(bad), progress(20))
    found = store.newest(LINEAGE)
    assert found.checkpoint is not None
    assert found.checkpoint.manifest.progress.position == 10
    assert name in found.rejected[0].reason


def test_hidden_states_that_no_cell_hands_on_are_passed_over() -> None:
    for value in (np.nan, np.inf, 1.5):
        with pytest.raises(ValueError, match=r"'state' \(h\)"):
            unpack(forged(**{"streams.state": np.full_like(array_of("streams.state"), value)}))


# ---- sizes that are asked for


LARGE = {"hidden_size": 4096, "num_layers": 16}


@contextmanager
def little_is_allocated() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_model_file_that_asks_for_gigabytes_is_refused_before_they_are_taken(tmp_path: Path) -> None:
    arrays, text = decode(forged()), text_of(forged())
    text["spec"]["model"] |= LARGE
    (path := tmp_path / "m.safetensors").write_bytes(signed(arrays, text))
    with (
        little_is_allocated(),
        pytest.raises(CheckpointError, match=r"hold \d+ numbers, its specification means 2\d{9}"),
    ):
        load_model(path)
    with little_is_allocated(), pytest.raises(ValueError, match="its specification means"):
        trained.read(path, "job")


def test_an_estimator_whose_parameters_ask_for_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    model = RNNRegressor(hidden_size=2, readout="linear")
    for t in range(5):
        model.learn_one({"a": float(t)}, 1.0)
    model.save(path := tmp_path / "m.safetensors")
    data = path.read_bytes()
    for more in (LARGE, {"k2": 10**6}, {"k2": 10**7}, {"lags": 1024, "readout": "rls"}):
        text = text_of(data)
        text["owner"]["parameters"] |= more
        path.write_bytes(signed(decode(data), text))
        with little_is_allocated(), pytest.raises(CheckpointError, match=r"a larger learner|expected a number|readout"):
            RNNRegressor.load(path)


def test_a_checkpoint_that_asks_for_gigabytes_is_passed_over_before_they_are_taken() -> None:
    store = CheckpointStore(MemoryBlobs(), "job", "topic", 0, configuration={}, build={})
    store.write(take_snapshot(healthy("regression")), progress(10))
    written = store.write(take_snapshot(healthy("regression")), progress(20))
    segment = msgspec.to_builtins(written)["segments"][0]
    many = [segment | {"index": index, "rows": 4096} for index in range(1_000)]
    asked: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("its 6 rows need", {}, {"model": LARGE}),
        ("its 6 rows need", {}, {"learning": {"k2": 10**6}}),
        ("'theta' is float32", {"n_slots": 0, "segments": []}, {"model": LARGE}),
        ("its specification allows 6", {"n_slots": 4_096_000, "segments": many}, {}),
        ("twice", {"n_slots": 4_096_000, "segments": many}, {"streams": {"max_streams": 10**8}}),
    )
    for reason, changed, sections in asked:
        raw = msgspec.to_builtins(written) | changed
        for section, fields in sections.items():
            raw["spec"][section] |= fields
        raw["sha256"] = manifest._self_check(raw)
        store._blobs.put([(store._names.manifest(LINEAGE, 20), json.dumps(raw).encode())])
        with little_is_allocated():
            found = store.newest(LINEAGE)
        assert found.checkpoint is not None
        assert found.checkpoint.manifest.progress.position == 10
        assert re.search(reason, found.rejected[0].reason)
