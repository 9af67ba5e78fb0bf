"""Names and shapes are PyTorch's, the views cover theta exactly, and initial weights are what they are said to be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from streamrnn.core.cells import CELLS, GATES
from streamrnn.core.layout import LOOKED_UP, Layout
from tests.oracle.network import random_weights, shapes

SIZES = [(3, 5, 1, 2), (1, 1, 3, 1), (4, 6, 2, 3)]  # inputs, hidden units, layers, outputs
CASES = pytest.mark.parametrize(("cell", "size"), list(itertools.product(CELLS, SIZES)))


@CASES
def test_names_and_shapes_are_pytorch_s(cell: str, size: tuple[int, int, int, int]) -> None:
    layout = Layout(CELLS[cell], *size)
    weights = layout.get_weights(np.zeros(layout.size))
    assert {name: w.shape for name, w in weights.items()} == shapes(cell, *size)
    assert layout.size == sum(w.size for w in weights.values())


@CASES
def test_weights_round_trip_and_fill_theta(cell: str, size: tuple[int, int, int, int]) -> None:
    layout = Layout(CELLS[cell], *size)
    theta = np.full(layout.size, np.nan)
    weights = random_weights(np.random.default_rng(1), cell, *size)
    layout.set_weights(theta, weights)
    assert np.isfinite(theta).all()
    for name, w in layout.get_weights(theta).items():
        np.testing.assert_array_equal(w, weights[name])
    tensors = layout.views(theta)
    for view in (*itertools.chain(*tensors.layers), tensors.head_w, tensors.head_b):
        assert view.flags.c_contiguous
        assert np.shares_memory(view, theta) or view.size == 0


@CASES
def test_get_weights_gives_copies(cell: str, size: tuple[int, int, int, int]) -> None:
    layout = Layout(CELLS[cell], *size)
    theta = np.ones(layout.size)
    for name, w in layout.get_weights(theta).items():
        assert not np.shares_memory(w, theta), name
        assert w.flags.c_contiguous


def test_set_weights_names_what_is_wrong_and_changes_nothing() -> None:
    layout = Layout(CELLS["gru"], 2, 3, 1, 1)
    theta = np.zeros(layout.size)
    good = random_weights(np.random.default_rng(1), "gru", 2, 3, 1, 1)
    without = {name: w for name, w in good.items() if name != "head.bias"}
    bad = [
        (without, "missing.*head.bias"),
        (good | {"head.extra": good["head.bias"]}, "unknown.*head.extra"),
        (good | {"head.bias": np.zeros(2)}, r"head.bias has shape \(2,\), expected \(1,\)"),
        (good | {"head.bias": np.array([np.inf])}, "head.bias holds values that are not finite"),
    ]
    for weights, message in bad:
        with pytest.raises(ValueError, match=message):
            layout.set_weights(theta, weights)
    assert not theta.any()


@pytest.mark.parametrize("cell", list(CELLS))
def test_initial_weights_are_orthogonal_with_an_open_forget_gate(cell: str) -> None:
    layout = Layout(CELLS[cell], 3, 7, 2, 2)
    weights = layout.get_weights(layout.initialise(5, np.float64))
    for k in range(2):
        for block in np.split(weights[f"rnn.weight_hh_l{k}"], GATES[CELLS[cell]]):
            np.testing.assert_allclose(block @ block.T, np.eye(7), atol=1e-12)
        bias = weights[f"rnn.bias_ih_l{k}"] + weights[f"rnn.bias_hh_l{k}"]
        expected = np.repeat([0.0, 1.0, 0.0, 0.0], 7) if cell == "lstm" else np.zeros(len(bias))
        np.testing.assert_array_equal(bias, expected)


@pytest.mark.parametrize("memory", [2, 16, 1000])
@pytest.mark.parametrize("hidden_size", [1, 7, 8])
@pytest.mark.parametrize("cell", list(CELLS))
def test_a_memory_spreads_the_biases_of_half_the_units_and_changes_nothing_else(
    cell: str, hidden_size: int, memory: int
) -> None:
    layout = Layout(CELLS[cell], 3, hidden_size, 2, 2)
    plain = layout.get_weights(layout.initialise(5, np.float64))
    spread = layout.get_weights(layout.initialise(5, np.float64, memory))
    half = -(-hidden_size // 2)
    for k in range(2):
        before, bias = plain.pop(f"rnn.bias_ih_l{k}"), spread.pop(f"rnn.bias_ih_l{k}")
        if cell == "rnn":
            np.testing.assert_array_equal(bias, before)
            continue
        gates = dict(zip("ifgo" if cell == "lstm" else "rzn", np.split(bias, GATES[CELLS[cell]]), strict=True))
        kept = gates["f" if cell == "lstm" else "z"][:half]
        # Tallec & Ollivier 2018: exp(b) is uniform on [1, T - 1]; here in the middle of each of as many equal parts.
        width = (memory - 2) / half
        np.testing.assert_allclose(np.exp(kept), 1 + width * (np.arange(half) + 0.5), rtol=1e-12)
        # With no input a unit keeps sigmoid(b) of its state, so its time constant is at most T.
        assert 2 <= 1 / (1 - 1 / (1 + np.exp(-kept[0]))) <= 1 / (1 - 1 / (1 + np.exp(-kept[-1]))) <= memory + 1e-9
        expected = np.split(before, GATES[CELLS[cell]])
        expected[1][:half] = kept
        if cell == "lstm":
            expected[0][:half] = -kept
        np.testing.assert_array_equal(bias, np.concatenate(expected))
    for name, w in plain.items():
        np.testing.assert_array_equal(spread[name], w, err_msg=name)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    layout = Layout(CELLS["lstm"], 3, 4, 1, 1)
    first = layout.initialise(5, np.float64)
    assert first.tobytes() == layout.initialise(5, np.float64).tobytes()
    assert first.tobytes() != layout.initialise(6, np.float64).tobytes()
    np.testing.assert_array_equal(layout.initialise(5, np.float32), first.astype(np.float32))


def test_rows_that_are_looked_up_begin_with_variance_1_and_the_next_symbol_with_a_wide_head() -> None:
    layout = Layout(cell=1, n_inputs=2, hidden_size=32, num_layers=1, n_outputs=256, n_rows=257)
    plain, symbols = (layout.views(layout.initialise(3, np.float64, symbols=of)) for of in (False, True))
    for tensors in (plain, symbols):
        assert tensors.rows.std() == pytest.approx(1.0, rel=0.01)
        assert np.abs(tensors.layers[0].w_ih).max() <= np.sqrt(6.0 / (2 + 257 + 32))
    assert np.abs(plain.head_w).max() <= 0.1 * np.sqrt(6.0 / (256 + 32))
    assert symbols.head_w.std() == pytest.approx(0.5 / np.sqrt(3.0), rel=0.02)


def test_columns_that_are_looked_up_stand_behind_the_others_in_pytorch_s_shape() -> None:
    layout = Layout(cell=2, n_inputs=2, hidden_size=3, num_layers=2, n_outputs=4, n_rows=5)
    theta = layout.initialise(1, np.float64)
    weights = layout.get_weights(theta)
    assert weights["rnn.weight_ih_l0"].shape == (9, 7)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0"][:, 2:], layout.views(theta).rows.T)
    np.testing.assert_array_equal(theta[layout.dense :], layout.views(theta).rows.ravel())
    assert sorted(weights) == sorted(name for name in layout.named(theta) if name != LOOKED_UP)
    other = np.zeros_like(theta)
    layout.set_weights(other, weights)
    np.testing.assert_array_equal(other, theta)
    with pytest.raises(ValueError, match=r"rnn.weight_ih_l0 has shape \(9, 2\), expected \(9, 7\)"):
        layout.set_weights(other, {**weights, "rnn.weight_ih_l0": weights["rnn.weight_ih_l0"][:, :2]})
