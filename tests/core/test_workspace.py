"""The table of layers wires each layer to its neighbours and its weights, and no two of them share a tape."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from streamrnn.core.arrays import Layer
from streamrnn.core.cells import CELLS
from streamrnn.core.layout import Layout
from streamrnn.core.tables import interpreted
from streamrnn.core.workspace import stack, zeros_scratch
from streamrnn.learner.lowering import layout_of, plan_of, sizes_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec


def network(cell: Any) -> tuple[LearnerSpec, Layout]:
    spec = LearnerSpec(
        n_features=2, target=TargetSpec(fields=("y",)), model=ModelSpec(cell=cell, hidden_size=5, num_layers=3)
    )
    return spec, layout_of(spec)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are one place in memory and one shape."""
    return a.ctypes.data == b.ctypes.data and a.shape == b.shape


@pytest.mark.parametrize("cell", list(CELLS))
def test_each_layer_reads_what_the_one_below_writes_and_hands_the_gradient_down(cell: str) -> None:
    spec, layout = network(cell)
    plan, theta = plan_of(spec), np.zeros(layout.size)
    x, grad = np.zeros((plan.k2, layout.n_inputs)), np.zeros_like(theta)
    looked_up = np.zeros((plan.k2, 2), np.int64)
    _, layers = stack(layout, plan, x, looked_up, theta, grad)
    assert layers[0].x is x
    assert layers[0].looked_up is looked_up
    assert all(layer.looked_up.shape == (plan.k2, 0) for layer in layers[1:])
    assert len(layers[0].dx) == 0  # nobody asks for the gradient of the inputs
    for below, layer in itertools.pairwise(layers):
        assert same(layer.x, below.state[0, 1:])
        assert same(layer.dx, below.dh)
    own = [array for layer in layers for array in (layer.gates, layer.state, layer.aux, layer.dh)]
    shared = [layers[0].carry, layers[0].d_ih, layers[0].d_hh]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations([*own, *shared], 2))


@pytest.mark.parametrize("cell", list(CELLS))
def test_the_table_names_the_weights_and_their_gradients_and_the_head_reads_the_top_layer(cell: str) -> None:
    spec, layout = network(cell)
    theta = layout.initialise(1, np.float32)
    columns = np.zeros(2, np.bool_), np.array([0.5]), np.full(2, np.nan), np.full(2, -1), np.ones(1, np.int64)
    scratch = zeros_scratch(layout, plan_of(spec), sizes_of(spec), theta, np.zeros((0, 0)), *columns)
    layers = [interpreted(Layer)(scratch.x, row, 0) for row in scratch.layers]
    for k, layer in enumerate(layers):
        for vector, w_ih, w_hh in ((theta, layer.w_ih, layer.w_hh), (scratch.grad, layer.dw_ih, layer.dw_hh)):
            named = layout.named(vector)
            assert same(w_ih, named[f"rnn.weight_ih_l{k}"].T)
            assert same(w_hh, named[f"rnn.weight_hh_l{k}"].T)
    assert same(scratch.h, layers[-1].state[0, 1:])
    assert same(scratch.dh, layers[-1].dh)
    assert same(scratch.head_w, layout.named(theta)["head.weight"])
    assert same(scratch.dhead_w, layout.named(scratch.grad)["head.weight"])
