"""How a bank of fixed filters begins, which is how it stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.core.arrays import Array
from streamrnn.core.exact.cells import LRU
from streamrnn.core.exact.layout import ExactLayout, directions


def begun(units: int, n_inputs: int = 3, hidden: int = 40, seed: int = 5) -> dict[str, Array]:
    layout = ExactLayout(LRU, n_inputs, units, 0, hidden, fixed=True)
    return layout.get_weights(layout.initialise(seed, np.float64))


@pytest.mark.parametrize("units", [1, 2, 7, 16])
def test_radii_and_phases_are_evenly_spread_between_their_bounds(units: int) -> None:
    weights, even = begun(units), (np.arange(units) + 0.5) / units
    squares, phases = np.exp(-2.0 * np.exp(weights["rnn.nu_log"])), np.exp(weights["rnn.theta_log"])
    np.testing.assert_allclose(np.sort(squares), 0.3**2 + even * (0.95**2 - 0.3**2), rtol=1e-12)
    np.testing.assert_allclose(np.sort(phases), math.pi / 4 * even**2, rtol=1e-12)


def test_how_radii_and_phases_are_paired_is_the_seed_s_choice() -> None:
    one, other = (begun(16, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one["rnn.theta_log"], other["rnn.theta_log"])
    np.testing.assert_array_equal(one["rnn.nu_log"], other["rnn.nu_log"])


@pytest.mark.parametrize("n_inputs", [1, 4, 50])
def test_each_filter_takes_in_as_much_however_many_inputs_there_are(n_inputs: int) -> None:
    weights = begun(16, n_inputs)
    taken = (weights["rnn.B_re"] ** 2 + weights["rnn.B_im"] ** 2).sum(axis=1)
    np.testing.assert_allclose(taken, 2.0, rtol=1e-12)


@pytest.mark.parametrize("hidden", [1, 12, 13, 14, 40])
def test_tanh_units_look_in_directions_of_their_own(hidden: int) -> None:
    weights = begun(4, 4, hidden)  # 4 filters are 8 numbers; with 4 inputs and the bias 13
    rows = np.column_stack([weights["hidden.weight"], weights["hidden.bias"]])
    np.testing.assert_allclose((rows**2).sum(axis=1), 1.2**2, rtol=1e-12)
    for first in range(0, hidden, 13):
        block = rows[first : first + 13]
        np.testing.assert_allclose(block @ block.T, 1.44 * np.eye(len(block)), atol=1e-9)


def test_without_the_layer_there_is_none() -> None:
    assert not [name for name in begun(16, hidden=0) if name.startswith("hidden.")]


def test_the_first_direction_is_the_first_that_was_drawn() -> None:
    drawn = np.array([2.04092, -2.55567, 0.41810, -0.56777])  # of NumPy's default generator with seed 3
    assert directions(np.random.default_rng(3), 5, 4)[0] == pytest.approx(drawn / np.linalg.norm(drawn), abs=1e-5)
