"""A model file holds every bit of a model, is the same bytes for the same model, and never runs or half loads.

Its weights are ordinary safetensors under PyTorch's names.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import (
    CheckpointError,
    Learner,
    RNNForecaster,
    RNNRegressor,
    load_weights,
    save_weights,
)
from streamrnn.errors import EarlierFormat
from streamrnn.learner.foundation import RLS_WEIGHT
from streamrnn.learner.state import LearnerState
from streamrnn.storage.model_file import FORMAT, ModelFile, load_model, pack, save_model, unpack
from streamrnn.storage.tensors import decode, encode
from tests.support.learners import bits_of, differing
from tests.support.small_learners import CELLS, EXACT, block, spec

OWNER = {"anything": ["a", 1, None, {"ä": 0.1}], "b": True}


def model_file(cell: str = "lstm", readout: str = "linear", dtype: str = "float32") -> ModelFile:
    """A learner of three streams in the middle of their windows."""
    of = spec(model={"cell": cell, "readout": readout, "dtype": dtype, "num_layers": 2})
    learner = Learner(of, 1)
    learner.process(block(of, 101))
    return ModelFile(learner.state(), ("a", "b", "c"), OWNER)


def saved_of(model: ModelFile) -> LearnerState:
    assert model.saved is not None
    return model.saved


def assert_same_bits(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert a[name].tobytes() == b[name].tobytes(), name


def header(data: bytes) -> bytes:
    """The text in front of the tensors."""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def with_header(data: bytes, old: bytes, new: bytes) -> bytes:
    text = header(data)
    assert old in text
    changed = text.replace(old, new, 1)
    return len(changed).to_bytes(8, "little") + changed + data[8 + len(text) :]


# ---- round trips


OF_EXACT = {
    "glru": {"nu_log": (4,), "theta_log": (4,), "B_re": (4, 5), "B_im": (4, 5), "weight_f": (4, 5), "bias_f": (4,),
             "weight_i": (4, 5), "bias_i": (4,)},
    "lru": {"nu_log": (4,), "theta_log": (4,), "B_re": (4, 5), "B_im": (4, 5)},
    "elstm": {"weight_f": (4, 5), "bias_f": (4,), "weight_cf": (4,), "weight_z": (4, 5), "bias_z": (4,),
              "weight_cz": (4,), "weight_o": (4, 5), "bias_o": (4,)},
}  # fmt: skip


@pytest.mark.parametrize("known", ["record", "forecast"])
@pytest.mark.parametrize("model", EXACT)
def test_exact_cells_are_read_by_name_and_go_on_with_their_traces(model: dict[str, Any], known: str) -> None:
    of = spec(model=model | {"hidden_layer": 3}, learning={"k1": 4}, known=known)
    learner, again = Learner(of, 1), Learner(of, 2)
    learner.process(block(of, 101))
    data = pack(ModelFile(learner.state(), ("a", "b", "c"), OWNER))
    tensors = {name: array.shape for name, array in decode(data).items() if "." in name and name[:2] != "st"}
    cell = model["cell"] if model.get("gates", True) else "lru"
    said = 4 if cell == "elstm" else 8
    expected = {f"rnn.{name}": shape for name, shape in OF_EXACT[cell].items()}
    expected |= {"hidden.weight": (3, said + 5), "hidden.bias": (3,), "head.weight": (1, 3 + 5), "head.bias": (1,)}
    assert tensors == expected
    again.resume(saved_of(unpack(data)))
    rest = block(of, 50, 101)
    np.testing.assert_array_equal(again.process(rest).value, learner.process(rest).value)
    assert differing(bits_of(again), bits_of(learner)) == []


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_comes_back_to_the_bit(cell: str, readout: str, dtype: str) -> None:
    model = model_file(cell, readout, dtype)
    again = unpack(pack(model))
    before, after = saved_of(model), saved_of(again)
    assert (again.columns, again.owner, after.spec, after.keys) == (model.columns, OWNER, before.spec, before.keys)
    assert_same_bits(dict(after.model), dict(before.model))
    assert_same_bits(dict(after.streams), dict(before.streams))


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_equal_models_are_equal_bytes(readout: str) -> None:
    data = pack(model_file(readout=readout))
    assert pack(model_file(readout=readout)) == data
    assert pack(unpack(data)) == data
    turned = replace(model_file(readout=readout), owner=dict(reversed(OWNER.items())))
    assert pack(turned) == data


def test_a_model_that_learned_nothing_is_a_file_too() -> None:
    model = ModelFile(None, (), OWNER)
    assert unpack(pack(model)) == model


def test_a_slot_that_is_free_stays_free() -> None:
    model = model_file()
    keys: list[bytes | None] = [b"", None, b"\xff\x00"]
    again = unpack(pack(replace(model, saved=replace(saved_of(model), keys=keys))))
    assert saved_of(again).keys == keys


def test_a_learner_goes_on_from_the_file_as_from_the_original() -> None:
    of = spec(model={"readout": "rls"})
    original, other = Learner(of, 1), Learner(of, 2)
    original.process(block(of, 101))
    saved = saved_of(unpack(pack(ModelFile(original.state(), (), {}))))
    other.resume(saved)
    rest = block(of, 50, start=101)
    np.testing.assert_array_equal(original.process(rest).value, other.process(rest).value)
    assert original.digest == other.digest


# ---- weights for others


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_are_read_under_the_names_of_pytorch(cell: str, readout: str, tmp_path: Path) -> None:
    estimator = RNNRegressor(cell=cell, readout=readout, hidden_size=4, num_layers=2)
    for t in range(30):
        estimator.learn_one({"a": float(t % 3)}, float(t % 4))
    estimator.save(tmp_path / "model.safetensors")
    weights = load_weights(tmp_path / "model.safetensors")
    kinds, layers = ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (0, 1)
    names = {f"rnn.{kind}_l{layer}" for kind, layer in itertools.product(kinds, layers)}
    names |= {"head.weight", "head.bias"} if readout == "linear" else {RLS_WEIGHT}
    assert {name for name in weights if not name.startswith(("state.", "streams."))} == names
    assert_same_bits({name: weights[name] for name in names}, estimator.get_weights())


# ---- what is no such file


@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.9999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    data = pack(model_file())
    cut = data[: int(share * len(data))]
    with pytest.raises(ValueError, match="safetensors"):
        unpack(cut)
    path = tmp_path / "cut.safetensors"
    path.write_bytes(cut)
    with pytest.raises(CheckpointError, match=r"cut\.safetensors.*save\(\)"):
        load_model(path)


@pytest.mark.parametrize("metadata", [None, {"streamrnn": "{}"}, {"streamrnn": "no json"}, {"other": "text"}])
def test_the_file_of_somebody_else_is_refused(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, {"rnn.weight_ih_l0": np.zeros((4, 3), np.float32)}, metadata)
    with pytest.raises(CheckpointError, match="does not describe a model"):
        load_model(path)


def test_another_format_is_refused_with_both_numbers() -> None:
    text = b'\\"format\\":%d'
    data = with_header(pack(model_file()), text % FORMAT, text % 99)
    with pytest.raises(ValueError, match=f"99.*{FORMAT}"):
        unpack(data)


def test_a_specification_out_of_range_is_refused_by_name() -> None:
    data = with_header(pack(model_file()), b'\\"hidden_size\\":4', b'\\"hidden_size\\":0')
    with pytest.raises(ValueError, match="hidden_size"):
        unpack(data)


def test_a_specification_that_is_not_the_tensors_is_refused() -> None:
    data = with_header(pack(model_file()), b'\\"hidden_size\\":4', b'\\"hidden_size\\":5')
    with pytest.raises(ValueError, match=r"rnn\.weight_ih_l0"):
        unpack(data)


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_a_file_that_lacks_any_tensor_is_refused(readout: str, tmp_path: Path) -> None:
    estimator = RNNRegressor(readout=readout, hidden_size=2, lags=2)
    for t in range(10):
        estimator.learn_one({"a": float(t)}, float(t % 4))
    path = tmp_path / "model.safetensors"
    estimator.save(path)
    data = path.read_bytes()
    arrays = decode(data)
    metadata = {"streamrnn": _description(data)}
    path.write_bytes(encode(arrays, metadata))
    RNNRegressor.load(path)
    for name in arrays:
        path.write_bytes(encode({other: array for other, array in arrays.items() if other != name}, metadata))
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            RNNRegressor.load(path)


def _description(data: bytes) -> str:
    import json

    return str(json.loads(header(data))["__metadata__"]["streamrnn"])


def test_damage_anywhere_in_the_text_is_refused_or_harmless(tmp_path: Path) -> None:
    # Where a byte of the text is another one the file is refused as what it is, or loaded; nothing else comes out.
    estimator = RNNForecaster(hidden_size=2, lags=2, k2=4)
    for t in range(20):
        estimator.learn_one(float(t % 5), {"a": t % 3})
    path = tmp_path / "model.safetensors"
    estimator.save(path)
    data = path.read_bytes()
    rng, refused = random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(8 + len(header(data)))] = rng.choice(b'019ax"[]{},:\x00\xff')
        path.write_bytes(damaged)
        try:
            RNNForecaster.load(path)
        except CheckpointError as error:
            assert "model.safetensors" in str(error)
            refused += 1
    assert refused > 200


def test_a_model_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, model_file())
    before = path.read_bytes()
    bad = replace(model_file(), owner={"no json": {1, 2}, "nor": object()})
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        save_model(path, bad)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_specification_is_part_of_the_bytes() -> None:
    model = model_file()
    saved = saved_of(model)
    other = with_fields(saved.spec, learning=with_fields(saved.spec.learning, lr=0.5))
    again = unpack(pack(replace(model, saved=replace(saved, spec=other))))
    assert saved_of(again).spec.learning.lr == 0.5


def test_a_digest_covers_what_is_said_of_the_arrays_and_their_writer() -> None:
    data = pack(ModelFile(model_file().saved, model_file().columns, {"who": "ada", "why": 3}))
    for old, new in ((rb"\"who\":\"ada\"", rb"\"who\":\"eve\""), (rb"\"why\":3", rb"\"why\":4")):
        with pytest.raises(ValueError, match="columns or settings differ from their digest"):
            unpack(with_header(data, old, new))


@pytest.mark.parametrize("told", ["null", "[]", '"x"', '{"streamrnn":5}', '{"streamrnn":null}', '{"a":[]}'])
def test_text_beside_tensors_that_is_no_text_by_name_is_refused(told: str) -> None:
    header = b'{"__metadata__":' + told.encode() + b"}"
    with pytest.raises(ValueError, match="expected texts by name under __metadata__"):
        unpack(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("number", [4, 8])
def test_a_file_of_an_earlier_format_is_whole_and_says_what_to_do(tmp_path: Path, number: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_header(pack(model_file()), b'format\\":%d' % FORMAT, b'format\\":%d' % number))
    reason = f"has format {number}.* reads {FORMAT}.*go back to that one, or learn"
    with pytest.raises(EarlierFormat, match=reason) as told:
        load_model(path)
    assert "expected a file written by" not in str(told.value)
