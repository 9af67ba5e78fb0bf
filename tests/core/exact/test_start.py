"""How the weights of exact cells begin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.core.arrays import Array
from streamrnn.core.exact.cells import ELSTM, GLRU, LRU
from streamrnn.core.exact.layout import ExactLayout

COMPLEX = pytest.mark.parametrize("cell", [LRU, GLRU])


def begun(cell: int, units: int, memory: int | None = None, hidden: int = 0, seed: int = 5) -> dict[str, Array]:
    layout = ExactLayout(cell, 3, units, 2, hidden)
    return layout.get_weights(layout.initialise(seed, np.float64, memory))


def steps_and_phases(weights: dict[str, Array]) -> tuple[Array, Array]:
    """Time constants 1 / (1 - r), and phases."""
    return -1.0 / np.expm1(-np.exp(weights["rnn.nu_log"])), np.exp(weights["rnn.theta_log"])


@COMPLEX
@pytest.mark.parametrize("units", [1, 2, 7, 32])
def test_units_lie_on_the_ring_and_their_phases_are_evenly_spaced(cell: int, units: int) -> None:
    steps, phases = steps_and_phases(begun(cell, units))
    assert 10.0 <= steps.min() <= steps.max() <= 10_000.0
    np.testing.assert_allclose(np.sort(phases), math.pi * (np.arange(units) + 0.5) / units, rtol=1e-12)


def test_squares_of_radii_are_uniform() -> None:
    steps, _ = steps_and_phases(begun(LRU, 4_000))
    squares = np.sort((1.0 - 1.0 / steps) ** 2)
    expected = np.linspace(0.9**2, 0.9999**2, 4_000)
    np.testing.assert_allclose(squares, expected, atol=0.01)


@COMPLEX
@pytest.mark.parametrize("memory", [2, 16, 1000])
@pytest.mark.parametrize("units", [1, 2, 7, 32])
def test_a_memory_makes_half_of_the_units_slow_up_to_ten_times_as_long(cell: int, units: int, memory: int) -> None:
    steps, phases = steps_and_phases(begun(cell, units, memory))
    slow = -(-units // 2)
    at = (np.arange(slow) + 0.5) / slow
    np.testing.assert_allclose(steps[-slow:], 10.0 * memory**at, rtol=1e-9)
    assert (phases[-slow:] <= 2.0 / steps[-slow:]).all()
    fast = units - slow
    np.testing.assert_allclose(np.sort(phases[:fast]), math.pi * (np.arange(fast) + 0.5) / max(fast, 1), rtol=1e-12)


@pytest.mark.parametrize(("memory", "longest"), [(None, 1_000.0), (2, 1_000.0), (50, 1_000.0), (400, 4_000.0)])
def test_units_of_the_elstm_forget_at_once_to_after_the_longest(memory: int | None, longest: float) -> None:
    weights = begun(ELSTM, 8, memory)
    # The share that a unit keeps, without inputs, is sigmoid(bias): the time constant of a slow one is 1 + exp(bias).
    expected = 0.05 * (longest / 0.05) ** ((np.arange(8) + 0.5) / 8)
    np.testing.assert_allclose(np.exp(weights["rnn.bias_f"]), expected, rtol=1e-12)
    assert not weights["rnn.weight_cf"].any()
    assert not weights["rnn.weight_cz"].any()
    np.testing.assert_array_equal(weights["rnn.bias_o"], np.ones(8))


def test_weights_of_inputs_have_their_variances() -> None:
    gated, elstm = begun(GLRU, 4_000), begun(ELSTM, 4_000)
    for name, variance in (("B_re", 1 / 6), ("B_im", 1 / 6), ("weight_f", 0.0), ("weight_i", 0.0)):
        assert gated[f"rnn.{name}"].var() == pytest.approx(variance, rel=0.05), name
    for name, variance in (("weight_f", 1 / 12), ("weight_z", 1 / 3), ("weight_o", 1 / 12)):
        assert elstm[f"rnn.{name}"].var() == pytest.approx(variance, rel=0.05), name
    assert (gated["rnn.bias_f"] == 5.0).all()
    assert (gated["rnn.bias_i"] == 1.0).all()


@pytest.mark.parametrize("cell", [LRU, GLRU, ELSTM])
def test_a_hidden_layer_begins_wide_and_the_head_sees_no_inputs_yet(cell: int) -> None:
    weights = begun(cell, 32, hidden=256)
    read = weights["hidden.weight"].shape[1]
    assert weights["hidden.weight"].var() == pytest.approx(1 / (read + 1), rel=0.1)
    assert not weights["hidden.bias"].any()
    assert weights["head.weight"][:, :256].std() == pytest.approx(0.1 / 16, rel=0.2)
    assert not weights["head.weight"][:, 256:].any()


@pytest.mark.parametrize("cell", [LRU, GLRU, ELSTM])
def test_the_seed_alone_decides_and_the_padding_stays_empty(cell: int) -> None:
    layout = ExactLayout(cell, 3, 5, 2)
    first = layout.initialise(5, np.float64, 50)
    assert first.tobytes() == layout.initialise(5, np.float64, 50).tobytes()
    assert first.tobytes() != layout.initialise(6, np.float64, 50).tobytes()
    np.testing.assert_array_equal(layout.initialise(5, np.float32, 50), first.astype(np.float32))
    assert not layout.cell_rows(first)[:, 5:].any()
