"""The trunk: a stack of recurrent layers over a run of steps, forward and backward.

A layer is a row of a table (see ``arrays.Layer``). It reads where its row says and writes where the next one reads, so
these loops know neither how many layers there are nor which cell each is.
"""

from __future__ import annotations

from streamrnn.core import cells
from streamrnn.core.arrays import T3, Layer, Scratch
from streamrnn.core.jit import internal
from streamrnn.core.linear import copy
from streamrnn.core.tables import reader

layer_at = reader(Layer)


@internal
def zero_state(scratch: Scratch) -> None:
    """A sequence starts from zero."""
    for row in range(scratch.layers.shape[0]):
        state = layer_at(scratch.x, scratch.layers[row], 0).state
        for part in range(state.shape[0]):
            state[part, 0, :] = state.dtype.type(0)


@internal
def load_state(source: T3, scratch: Scratch) -> None:
    """source (L, C, H) becomes the state before the run."""
    for row in range(scratch.layers.shape[0]):
        state = layer_at(scratch.x, scratch.layers[row], 0).state
        for part in range(state.shape[0]):
            copy(state[part, 0], source[row, part])


@internal
def keep_state(scratch: Scratch, target: T3) -> None:
    """target (L, C, H) becomes the state after the first step of the run."""
    for row in range(scratch.layers.shape[0]):
        state = layer_at(scratch.x, scratch.layers[row], 0).state
        for part in range(state.shape[0]):
            copy(target[row, part], state[part, 1])


@internal
def forward(scratch: Scratch, steps: int) -> None:
    """Run scratch.x[:steps] through all layers from the loaded state; the head finds scratch.h[:steps]."""
    for row in range(scratch.layers.shape[0]):
        cells.forward(layer_at(scratch.x, scratch.layers[row], 0), steps)


@internal
def backward(scratch: Scratch, steps: int) -> None:
    """Back-propagate scratch.dh[:steps] through all layers; adds the weights' gradients to scratch.grad."""
    for row in range(scratch.layers.shape[0] - 1, -1, -1):
        cells.backward(layer_at(scratch.x, scratch.layers[row], 0), steps)
