"""Names and shapes are PyTorch's, the views cover theta exactly, and initial weights are what they are said to be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from streamrnn.core.cells import CELLS, GATES
from streamrnn.core.layout import APART, Layout
from streamrnn.core.sequences.kinds import LABEL, LABELS, SEQUENCE, TRANSCRIPT
from streamrnn.core.sequences.layout import SequenceLayout
from tests.support.whole_networks import layout_of

TRANSLATOR: dict[str, Any] = {
    "directions": 2, "layers": 2, "kind": SEQUENCE, "n_rows": 4, "n_decoder_rows": 6, "attention": True
}  # fmt: skip
FORECASTER: dict[str, Any] = {"kind": SEQUENCE, "n_decoder_inputs": 1}
EXAMPLES = [{}, {"directions": 2, "kind": LABEL}, {"kind": TRANSCRIPT, "layers": 3}, TRANSLATOR, FORECASTER]
CASES = pytest.mark.parametrize(("cell", "example"), list(itertools.product(CELLS, EXAMPLES)))


def rnn_shapes(cell: str, name: str, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Of one layer, as PyTorch has them; ``name`` has a place for what the tensor is."""
    G = GATES[CELLS[cell]] * hidden
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (G, inputs), "weight_hh": (G, hidden)}
    return {name.format(what): shape for what, shape in {**shapes, "bias_ih": (G,), "bias_hh": (G,)}.items()}


@pytest.mark.parametrize("cell", list(CELLS))
def test_names_and_shapes_of_both_directions_are_pytorch_s(cell: str) -> None:
    layout = layout_of(cell, inputs=3, hidden=5, layers=2, outputs=2, directions=2)
    expected: dict[str, tuple[int, ...]] = {}
    for layer, side in itertools.product((0, 1), ("", "_reverse")):
        expected |= rnn_shapes(cell, f"rnn.{{}}_l{layer}{side}", 10 if layer else 3, 5)
    expected |= {"head.weight": (2, 10), "head.bias": (2,)}
    assert {name: w.shape for name, w in layout.get_weights(np.zeros(layout.size)).items()} == expected


@pytest.mark.parametrize("cell", list(CELLS))
def test_a_decoder_has_the_units_of_both_directions_and_attention_reads_twice_as_many(cell: str) -> None:
    layout = layout_of(cell, **TRANSLATOR)
    expected: dict[str, tuple[int, ...]] = {"attention.weight": (10, 20), "head.weight": (2, 10)}
    expected |= rnn_shapes(cell, "decoder.{}_l0", 6, 10) | rnn_shapes(cell, "decoder.{}_l1", 10, 10)
    expected |= rnn_shapes(cell, "rnn.{}_l0_reverse", 3 + 4, 5)
    found = {name: w.shape for name, w in layout.get_weights(np.zeros(layout.size)).items()}
    assert {name: found.get(name) for name in expected} == expected
    assert not any("attention" in name for name in layout_of(cell, **FORECASTER).named(np.zeros(10_000)))


def test_the_head_of_a_label_reads_the_mean_and_the_last_states() -> None:
    for directions in (1, 2):
        layout = layout_of("gru", hidden=5, directions=directions, kind=LABEL)
        assert layout.get_weights(np.zeros(layout.size))["head.weight"].shape == (2, 10 * directions)


@CASES
def test_weights_round_trip_and_fill_theta(cell: str, example: dict[str, Any]) -> None:
    layout = layout_of(cell, **example)
    theta = np.random.default_rng(1).standard_normal(layout.size)
    other = np.full(layout.size, np.nan)
    weights = layout.get_weights(theta)
    layout.set_weights(other, weights)
    assert other.tobytes() == theta.tobytes()
    assert sum(w.size for w in weights.values()) == layout.size
    assert not any(np.shares_memory(w, theta) for w in weights.values())


@CASES
def test_tensors_follow_one_another_and_rows_that_are_looked_up_are_last(cell: str, example: dict[str, Any]) -> None:
    layout = layout_of(cell, **example)
    theta = np.arange(layout.size, dtype=np.float64)
    v = layout.views(theta)
    pieces = [*itertools.chain(*v.encoder, *v.decoder), v.attention, v.head_w, v.head_b, *v.rows, v.decoder_rows]
    np.testing.assert_array_equal(np.concatenate([piece.ravel() for piece in pieces]), theta)
    assert all(piece.flags.c_contiguous for piece in pieces)
    assert layout.head == (v.head_w.flat[0] if v.head_w.size else layout.dense)
    rows = np.concatenate([piece.ravel() for piece in (*v.rows, v.decoder_rows)])
    np.testing.assert_array_equal(rows, theta[layout.dense :])


def test_the_columns_of_each_direction_that_are_looked_up_stand_behind_the_others() -> None:
    layout = layout_of("lstm", **TRANSLATOR)
    theta = np.random.default_rng(1).standard_normal(layout.size)
    weights, v = layout.get_weights(theta), layout.views(theta)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0"][:, 3:], v.rows[0].T)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0_reverse"][:, 3:], v.rows[1].T)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0_reverse"][:, :3], v.encoder[1].w_ih.T)
    np.testing.assert_array_equal(weights["decoder.weight_ih_l0"], v.decoder_rows.T)


@pytest.mark.parametrize("cell", list(CELLS))
def test_labels_read_forwards_have_the_layout_of_single_steps(cell: str) -> None:
    sizes = (CELLS[cell], 3, 5, 2, 2, 4)
    whole, single = SequenceLayout(*sizes, kind=LABELS), Layout(*sizes)
    theta = np.random.default_rng(1).standard_normal(single.size)
    assert (whole.size, whole.dense, whole.head) == (single.size, single.dense, single.head)
    for name, w in single.get_weights(theta).items():
        np.testing.assert_array_equal(whole.get_weights(theta)[name], w, err_msg=name)


@CASES
def test_the_axes_of_each_tensor_are_as_long_as_what_they_stand_for(cell: str, example: dict[str, Any]) -> None:
    layout = layout_of(cell, **example)
    theta, E = np.zeros(layout.size), layout.encoded_size
    lengths = {
        "gates": layout.gate_width, "decoder gates": layout.decoder_gate_width, "units": 5, "encoded": E,
        "pooled": 2 * E, "decoder units": E, "context": 2 * E, "inputs": 3, "rows": layout.n_rows,
        "decoder inputs": layout.n_decoder_inputs, "decoder rows": layout.n_decoder_rows, "outputs": 2, None: 0,
    }  # fmt: skip
    axes = layout.axes(theta)
    for name, view in layout.named(theta).items():
        assert tuple(lengths[axis] for axis in axes[name])[: view.ndim] == view.shape, name
        assert (axes[name].columns is None) == (view.ndim == 1)


@pytest.mark.parametrize("cell", list(CELLS))
def test_initial_weights_are_orthogonal_with_an_open_forget_gate(cell: str) -> None:
    layout = layout_of(cell, **TRANSLATOR)
    weights = layout.get_weights(layout.initialise(5, np.float64))
    for name, w in weights.items():
        units = 10 if "decoder" in name else 5
        if "weight_hh" in name:
            for block in np.split(w, GATES[CELLS[cell]]):
                np.testing.assert_allclose(block @ block.T, np.eye(units), atol=1e-12)
        elif "bias_ih" in name:
            gates = [0.0, 1.0, 0.0, 0.0] if cell == "lstm" else [0.0] * GATES[CELLS[cell]]
            np.testing.assert_array_equal(w, np.repeat(gates, units))
        elif "bias" in name:
            assert not w.any(), name
        else:
            assert w.any(), name


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_memory_is_spread_over_both_directions_of_the_encoder_alone(cell: str) -> None:
    layout = layout_of(cell, **TRANSLATOR)
    plain = layout.get_weights(layout.initialise(5, np.float64))
    spread = layout.get_weights(layout.initialise(5, np.float64, 50))
    changed = {name for name, w in plain.items() if not np.array_equal(spread[name], w)}
    assert changed == {f"rnn.bias_ih_l{layer}{side}" for layer in (0, 1) for side in ("", "_reverse")}
    np.testing.assert_array_equal(spread["rnn.bias_ih_l0"], spread["rnn.bias_ih_l0_reverse"])


@pytest.mark.parametrize(("cell", "deviation"), [("rnn", 1.0), ("lstm", 1.0), ("gru", 0.35)])
def test_initial_weights_are_as_wide_as_their_inputs_ask_for(cell: str, deviation: float) -> None:
    sizes: dict[str, Any] = {"inputs": 2, "hidden": 32, "outputs": 40, "n_rows": 200, "n_decoder_rows": 40}
    layout = layout_of(cell, **sizes, directions=2, kind=SEQUENCE, attention=True)
    plain, wide = (layout.named(layout.initialise(3, np.float64, symbols=of)) for of in (False, True))
    for tensors in (plain, wide):
        for name in ("rnn.weight_ih_l0", "rnn.weight_ih_l0_reverse", "decoder.weight_ih_l0"):
            assert tensors[name + APART].std() == pytest.approx(deviation, rel=0.02)
        assert np.abs(tensors["rnn.weight_ih_l0"]).max() <= np.sqrt(6.0 / (2 + 200 + 32))
        assert tensors["attention.weight"].std() == pytest.approx(np.sqrt(2.0 / (64 + 128)), rel=0.02)
    assert np.abs(plain["head.weight"]).max() <= 0.1 * np.sqrt(6.0 / (40 + 64))
    assert wide["head.weight"].std() == pytest.approx(0.5 / np.sqrt(3.0), rel=0.03)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    layout = layout_of("lstm", **TRANSLATOR)
    first = layout.initialise(5, np.float64)
    assert first.tobytes() == layout.initialise(5, np.float64).tobytes()
    assert first.tobytes() != layout.initialise(6, np.float64).tobytes()
    np.testing.assert_array_equal(layout.initialise(5, np.float32), first.astype(np.float32))


def test_set_weights_names_what_is_wrong_and_changes_nothing() -> None:
    layout = layout_of("gru", **TRANSLATOR)
    good, theta = layout.get_weights(layout.initialise(1, np.float64)), np.zeros(layout.size)
    rows = good["rnn.weight_ih_l0_reverse"]
    bad = [
        ({name: w for name, w in good.items() if name != "attention.weight"}, "missing.*attention.weight"),
        (good | {"rnn.weight_hh_l2": rows}, "unknown.*rnn.weight_hh_l2"),
        (good | {"rnn.weight_ih_l0_reverse": rows[:, :3]}, r"_l0_reverse has shape \(15, 3\), expected \(15, 7\)"),
        (good | {"decoder.bias_hh_l1": np.full(30, np.inf)}, "decoder.bias_hh_l1 holds values that are not finite"),
    ]
    for weights, message in bad:
        with pytest.raises(ValueError, match=message):
            layout.set_weights(theta, weights)
    assert not theta.any()
