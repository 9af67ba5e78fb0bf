"""Weights leave and enter by name; files are whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.errors import CheckpointError
from streamrnn.storage.tensors import DTYPES, decode, encode, load_weights, pieces, save_weights

WEIGHTS = {"rnn.weight_ih_l0": np.arange(6, dtype=np.float32).reshape(2, 3), "head.bias": np.array(0.5)}


def test_weights_and_metadata_survive(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, WEIGHTS, {"job": "flights", "updates": "12"})
    loaded = load_weights(path)
    assert loaded.keys() == WEIGHTS.keys()
    for name, array in loaded.items():
        np.testing.assert_array_equal(array, WEIGHTS[name], strict=True)
        assert array.flags.writeable
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == {"job": "flights", "updates": "12"}


def test_other_readers_of_the_format_agree(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": WEIGHTS["rnn.weight_ih_l0"].T})
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["a"], WEIGHTS["rnn.weight_ih_l0"].T)
    with safetensors.safe_open(path, framework="np") as file:
        assert not file.metadata()


def test_big_endian_arrays_keep_their_values() -> None:
    np.testing.assert_array_equal(decode(encode({"a": np.array([1, 2, 3], ">i4")}))["a"], np.array([1, 2, 3], "<i4"))


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 64, encode(WEIGHTS)[:-1], encode(WEIGHTS) + b"x", b"{}" * 9])
def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"w\.safetensors: not a complete safetensors file"):
        load_weights(path)


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        load_weights(tmp_path / "none.safetensors")


def test_a_type_numpy_lacks_is_named_with_the_way_out() -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    header += b" " * (-len(header) % 8)
    with pytest.raises(ValueError, match=r"BF16.*convert it to F32"):
        decode(len(header).to_bytes(8, "little") + header + bytes(4))


@pytest.mark.parametrize(
    "weights", [{"w": np.array(["a"])}, {"w": np.array([1 + 2j])}, {"": np.zeros(1)}, {"__metadata__": np.zeros(1)}]
)
def test_what_the_format_cannot_hold_is_refused_and_writes_nothing(
    tmp_path: Path, weights: dict[str, np.ndarray]
) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_weights(tmp_path / "w.safetensors", weights)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_a_checkpoint_error_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, WEIGHTS)
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointError, match="No space"):
        save_weights(path, {"other": np.zeros(3)})
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3), st.booleans()),
        max_size=8,
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=1),
)
def test_the_bytes_are_those_of_the_safetensors_library(
    layout: dict[str, tuple[str, list[int], bool]], metadata: dict[str, str]
) -> None:
    arrays = {}
    for name, (dtype, shape, turned) in layout.items():
        array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
        arrays[name] = array.T if turned else array
    contiguous = {name: np.array(array, order="C") for name, array in arrays.items()}
    assert encode(arrays, metadata) == safetensors.numpy.save(contiguous, metadata or None)


def test_pieces_are_the_arrays_themselves() -> None:
    array = np.zeros(8)
    _, piece = pieces({"a": array})
    array[:] = 7.0
    assert bytes(piece) == array.tobytes()
