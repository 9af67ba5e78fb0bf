"""The trunk of a network for whole sequences: a stack of layers that reads forwards, or both ways.

A row of ``Network.encoder`` is a layer in one direction. One that reads from the end is, to its cell, a layer as any
other: its inputs are turned round beforehand, and its states are in the order in which it went through them, so that
its state behind the last step has seen the whole sequence. In the order of time, both directions are joined to what the
layer above reads and to ``encoded``, [forward, reverse].

**Look-ahead.** Where the reverse layer may see only ``L`` steps ahead of its step t, each step has a pass of its own,
which begins with zeros at min(t + L, T - 1) and ends at t. What the inputs say is the same in all of them and computed
once; the recursion runs L + 1 times as often, forward and backward. A pass is run again when its gradient is asked for,
so that one tape of L + 1 steps, the last row of the table, serves them all.
"""

from __future__ import annotations

from streamrnn.core import cells
from streamrnn.core.arrays import T2, T3, Array, Layer
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import add_vector, copy
from streamrnn.core.sequences.arrays import Network
from streamrnn.core.trunk import layer_at


@jit
def zero_state(network: Network) -> None:
    """A sequence starts from zero."""
    for row in range(network.dlast.shape[0]):
        state = layer_at(network.x, network.encoder[row], 0).state
        for part in range(state.shape[0]):
            state[part, 0, :] = state.dtype.type(0)


@jit
def load_state(network: Network, source: T3) -> None:
    """source (L, C, H) becomes the state before the first step, of a network that reads forwards alone."""
    for row in range(source.shape[0]):
        state = layer_at(network.x, network.encoder[row], 0).state
        for part in range(state.shape[0]):
            copy(state[part, 0], source[row, part])


@jit
def keep_state(network: Network, steps: int, target: T3) -> None:
    """target (L * directions, C, H) becomes the final state of each row, behind its ``steps`` steps."""
    for row in range(target.shape[0]):
        state = layer_at(network.x, network.encoder[row], 0).state
        for part in range(state.shape[0]):
            copy(target[row, part], state[part, steps])


@jit
def clear_gradients(network: Network, steps: int) -> None:
    """As long as no head has said how the loss depends on what the trunk says."""
    network.dencoded[:steps] = network.dencoded.dtype.type(0)
    network.dlast[:] = network.dlast.dtype.type(0)


@jit
def forward(network: Network, steps: int) -> None:
    """Run network.x[:steps] through all layers from the loaded states; what they say is in network.encoded[:steps]."""
    directions = network.encoded.shape[1] // network.dlast.shape[2]
    rows = network.dlast.shape[0]
    for row in range(rows):
        layer = layer_at(network.x, network.encoder[row], 0)
        if row % directions == 1:
            below = layer_at(network.x, network.encoder[row - 1], 0)
            turn_round(layer.x, below.x, steps)
            turn_round(layer.looked_up, below.looked_up, steps)
        if row % directions == 1 and network.encoder.shape[0] > rows:
            cells.hear_inputs(layer, steps)
            run_bounded(layer, layer_at(network.x, network.encoder[rows], 0), steps)
        else:
            cells.forward(layer, steps)
        if row % directions == 1:
            ahead = layer_at(network.x, network.encoder[row - 1], 0).state
            if row + 1 < rows:
                join(layer_at(network.x, network.encoder[row + 1], 0).x, ahead, layer.state, steps)
            else:
                join(network.encoded, ahead, layer.state, steps)


@jit
def backward(network: Network, steps: int) -> None:
    """Back-propagate network.dencoded[:steps] and network.dlast through all layers; adds the weights' gradients.

    From the states that forward left. Overwrites dencoded.
    """
    directions = network.encoded.shape[1] // network.dlast.shape[2]
    rows = network.dlast.shape[0]
    for row in range(rows - 1, -1, -1):
        layer = layer_at(network.x, network.encoder[row], 0)
        if directions == 2:
            if row >= rows - 2:
                take_apart(layer.dh, network.dencoded, row % 2, steps)
            elif row % 2 == 1:  # both layers above are done
                ahead = layer_at(network.x, network.encoder[row + 1], 0).dx
                add_turned(ahead, layer_at(network.x, network.encoder[row + 2], 0).dx, steps)
                take_apart(layer.dh, ahead, 1, steps)
            else:
                take_apart(layer.dh, layer_at(network.x, network.encoder[row + 2], 0).dx, 0, steps)
        add_vector(layer.dh[steps - 1], network.dlast[row, 0])
        copy(layer.carry[steps], network.dlast[row, network.dlast.shape[1] - 1])
        if row % directions == 1 and network.encoder.shape[0] > rows:
            back_bounded(layer, layer_at(network.x, network.encoder[rows], 0), steps)
            cells.add_input_gradients(layer, steps)
        else:
            cells.backward_from(layer, steps)


@internal
def run_bounded(layer: Layer, one: Layer, steps: int) -> None:
    """The states of a reverse layer whose gates have heard their inputs, each by a pass of its own on tape ``one``."""
    for t in range(steps):
        n = run_pass(layer, one, t)
        for part in range(layer.state.shape[0]):
            copy(layer.state[part, t + 1], one.state[part, n])


@internal
def run_pass(layer: Layer, one: Layer, t: int) -> int:
    """The pass that ends at step t, counted from the sequence's end. Returns its length.

    It begins with zeros: nobody writes to the first state of ``one``.
    """
    n: int = min(ZERO + t + 1, one.gates.shape[0])
    first = t + 1 - n
    for k in range(n):
        copy(one.gates[k], layer.gates[first + k])
    cells.run(one, n)
    return n


@internal
def back_bounded(layer: Layer, one: Layer, steps: int) -> None:
    """From layer.dh, and its carry behind the last step, to layer.d_ih; adds the recurrent weights' gradients."""
    layer.d_ih[:steps] = layer.d_ih.dtype.type(0)
    for t in range(steps):
        n = run_pass(layer, one, t)
        one.dh[:n] = one.dh.dtype.type(0)
        copy(one.dh[n - 1], layer.dh[t])
        cells.end_carry(one, n)
        if t == steps - 1:
            copy(one.carry[n], layer.carry[steps])
        cells.recur(one, n)
        for k in range(n):
            add_vector(layer.d_ih[t - n + 1 + k], one.d_ih[k])
        cells.add_recurrent_gradients(one, n)


@jit
def turn_round(target: Array, source: Array, steps: int) -> None:
    """target[:steps] becomes source[:steps] from its end to its beginning."""
    for t in range(steps):
        copy(target[t], source[steps - 1 - t])


@jit
def join(target: T2, ahead: T3, back: T3, steps: int) -> None:
    """target (T, 2 H) = [h forwards, h backwards] of each step in the order of time, from the states (C, T + 1, H)."""
    H = ahead.shape[2]
    for t in range(steps):
        copy(target[t, :H], ahead[0, t + 1])
        copy(target[t, H:], back[0, steps - t])


@jit
def take_apart(dh: T2, djoined: T2, reverse: int, steps: int) -> None:
    """dh (T, H) of one direction, in its own order, from the gradient of what ``join`` made."""
    H = dh.shape[1]
    for t in range(steps):
        if reverse == 1:
            copy(dh[steps - 1 - t], djoined[t, H:])
        else:
            copy(dh[t], djoined[t, :H])


@jit
def add_turned(target: T2, source: T2, steps: int) -> None:
    """target[:steps] += source[:steps] from its end to its beginning."""
    for t in range(steps):
        add_vector(target[t], source[steps - 1 - t])
