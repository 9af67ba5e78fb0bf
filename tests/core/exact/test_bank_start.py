"""How a bank of fixed filters begins, which is how it stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from streamrnn import Learner, LearnerSpec, ModelSpec, TargetSpec
from streamrnn.core.arrays import Array
from streamrnn.core.exact.cells import LRU
from streamrnn.core.exact.layout import ExactLayout, directions


def begun(units: int, n_inputs: int = 3, hidden: int = 40, seed: int = 5, *, alone: bool = False) -> dict[str, Array]:
    layout = ExactLayout(LRU, n_inputs, units, 0, hidden, fixed=True, alone=alone)
    return layout.get_weights(layout.initialise(seed, np.float64))


@pytest.mark.parametrize(("alone", "fastest", "power"), [(True, math.pi / 4, 1.5), (False, math.pi, 3.0)])
@pytest.mark.parametrize("units", [1, 2, 7, 16])
def test_radii_and_phases_are_spread_between_their_bounds(
    units: int, alone: bool, fastest: float, power: float
) -> None:
    weights, even = begun(units, alone=alone), (np.arange(units) + 0.5) / units
    squares, phases = np.exp(-2.0 * np.exp(weights["rnn.nu_log"])), np.exp(weights["rnn.theta_log"])
    np.testing.assert_allclose(np.sort(squares), 0.3**2 + even * (0.92**2 - 0.3**2), rtol=1e-12)
    np.testing.assert_allclose(np.sort(phases), fastest * even**power, rtol=1e-12)


def test_a_bank_hears_a_series_alone_where_nothing_else_comes_in() -> None:
    def phases(n_features: int, **target: Any) -> Array:
        model = ModelSpec(cell="bank", readout="rls")
        spec = LearnerSpec(n_features=n_features, target=TargetSpec(fields=("y",), **target), model=model)
        return np.exp(Learner(spec, 0).get_weights()["rnn.theta_log"])

    assert phases(0, known="forecast").max() < math.pi / 4
    assert phases(1).max() > math.pi / 4


def test_every_seed_pairs_radii_and_phases_alike_and_neighbours_lie_far_apart() -> None:
    one, other = (begun(16, seed=seed) for seed in (1, 2))
    for name in ("rnn.nu_log", "rnn.theta_log"):
        np.testing.assert_array_equal(one[name], other[name])
    places = np.argsort(np.argsort(one["rnn.theta_log"]))  # in the order of their radii
    assert np.abs(np.diff(places)).min() >= 6


@pytest.mark.parametrize("n_inputs", [1, 4, 50])
def test_each_filter_takes_in_as_much_however_many_inputs_there_are(n_inputs: int) -> None:
    weights = begun(16, n_inputs)
    taken = (weights["rnn.B_re"] ** 2 + weights["rnn.B_im"] ** 2).sum(axis=1)
    np.testing.assert_allclose(taken, 2.0, rtol=1e-12)


@pytest.mark.parametrize("hidden", [1, 12, 13, 14, 40])
def test_tanh_units_look_in_directions_of_their_own(hidden: int) -> None:
    weights = begun(4, 4, hidden)  # 4 filters are 8 numbers; with 4 inputs and the bias 13
    rows = np.column_stack([weights["hidden.weight"], weights["hidden.bias"]])
    np.testing.assert_allclose((rows**2).sum(axis=1), 1.0, rtol=1e-12)
    for first in range(0, hidden, 13):
        block = rows[first : first + 13]
        np.testing.assert_allclose(block @ block.T, np.eye(len(block)), atol=1e-9)


def test_without_the_layer_there_is_none() -> None:
    assert not [name for name in begun(16, hidden=0) if name.startswith("hidden.")]


def test_the_first_direction_is_the_first_that_was_drawn() -> None:
    drawn = np.array([2.04092, -2.55567, 0.41810, -0.56777])  # of NumPy's default generator with seed 3
    assert directions(np.random.default_rng(3), 5, 4)[0] == pytest.approx(drawn / np.linalg.norm(drawn), abs=1e-5)
