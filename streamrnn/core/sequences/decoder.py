"""From encoder to decoder: what a second network says after the first has read the whole, and how both learn it.

The decoder is a stack of the same cells with as many units as the encoder has in both its directions together. Its
layers begin with the final states of the encoder's, and each of its steps is shown what was said at the one before:
in learning the truth ("teacher forcing"), in ``decoding`` its own words. Its first step is shown the end symbol, of
numbers 0. Symbols are looked up; numbers are the one input, standardised, and 0, their mean, where one is unknown.
Above its top layer come attention, where there is any, and the head (Sutskever et al. 2014; Luong et al. 2015).

Letters: n steps of the decoder, T of the encoder. ``network.encoded`` and the encoder's layers hold what the encoder's
run left there, T is at least 1, and of a head's outputs the first ``used`` are in use.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core import cells, losses
from streamrnn.core.arrays import F1, I1, T1, T2, Layer
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy
from streamrnn.core.sequences import attention
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.heads import readout_backward, readout_forward
from streamrnn.core.trunk import layer_at


@internal
def start(plan: SequencePlan, network: Network, T: int) -> None:
    """Layer l begins with the final states of the encoder's layer l: those of its directions, joined."""
    for row in range(network.decoder.shape[0]):
        state = layer_at(network.x, network.decoder[row], 0).state
        for d in range(plan.directions):
            final = layer_at(network.x, network.encoder[row * plan.directions + d], 0).state
            H = final.shape[2]
            for c in range(final.shape[0]):
                copy(state[c, 0][d * H : (d + 1) * H], final[c, T])


@jit
def teach_symbols(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, count: int, used: int) -> int:
    """Run over the ``count`` symbols in ``scratch.symbols`` and the end, put behind them; returns the steps."""
    scratch.symbols[count] = plan.end
    start(plan, network, T)
    show_symbols(plan, network, scratch.symbols, count + 1)
    forward(plan, network, scratch, T, count + 1, used)
    return count + 1


@jit
def teach_numbers(
    plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, numbers: T2, used: int
) -> int:
    """Run over numbers (n, 1), standardised, NaN = unknown; returns the steps."""
    n: int = ZERO + numbers.shape[0]
    start(plan, network, T)
    show_numbers(plan, network, numbers)
    forward(plan, network, scratch, T, n, used)
    return n


@internal
def show_first(plan: SequencePlan, network: Network) -> None:
    """What the first step is shown, while nothing has been said: the end symbol, or 0."""
    if plan.end < 0:
        network.inputs[0, 0] = network.inputs.dtype.type(0)
    else:
        network.before[0, 0] = plan.end


@internal
def show_symbols(plan: SequencePlan, network: Network, symbols: I1, n: int) -> None:
    """The inputs of n steps that say symbols (n,), at least one."""
    show_first(plan, network)
    for t in range(1, n):
        network.before[t, 0] = symbols[t - 1]


@internal
def show_numbers(plan: SequencePlan, network: Network, numbers: T2) -> None:
    """The inputs of the steps that say numbers (n, 1)."""
    show_first(plan, network)
    for t in range(1, numbers.shape[0]):
        number = numbers[t - 1, 0]
        network.inputs[t, 0] = network.inputs.dtype.type(0) if np.isnan(number) else number


@jit
def forward(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, n: int, used: int) -> None:
    """Run n steps from the states they begin with; ``scratch.logits`` receives what each step says."""
    for row in range(network.decoder.shape[0]):
        cells.forward(layer_at(network.x, network.decoder[row], 0), n)
    read_out(plan, network, scratch, T, ZERO, n, used)


@jit
def step(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, t: int, used: int) -> None:
    """One step, its inputs and the state before it at place 0, where the state after it is put as well.

    What it says goes to row t of ``scratch.logits``, and where it looks to that of ``scratch.weights``.
    """
    for row in range(network.decoder.shape[0]):
        cells.forward(layer_at(network.x, network.decoder[row], 0), ZERO + 1)
    read_out(plan, network, scratch, T, t, ZERO + 1, used)
    for row in range(network.decoder.shape[0]):
        state = layer_at(network.x, network.decoder[row], 0).state
        for c in range(state.shape[0]):
            copy(state[c, 0], state[c, 1])


@internal
def read_out(
    plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, first: int, n: int, used: int
) -> None:
    """Attention and head over the first n states; what they say goes to the rows from ``first`` on."""
    last = first + n
    if plan.attention == 1:
        attention.forward(
            network.encoded[:T], network.decoded[:n], network.attention_w, scratch.weights[first:last],
            scratch.context[first:last], scratch.joined[first:last], scratch.attended[first:last],
        )  # fmt: skip
    read = scratch.attended[first:last] if plan.attention == 1 else network.decoded[:n]
    readout_forward(network.head_w, network.head_b, read, used, scratch.logits[first:last])


@jit
def symbols_gradient(scratch: SequenceScratch, n: int, used: int) -> float:
    """Mean cross-entropy of the n symbols in ``scratch.symbols``, the end among them; ``scratch.dlogits`` of it."""
    loss, share = 0.0, scratch.dlogits.dtype.type(1.0 / n)
    for t in range(n):
        d = scratch.dlogits[t][:used]
        loss += losses.softmax_gradient(scratch.logits[t][:used], scratch.symbols[t], d)
        scale(d, share)
    return loss / n


@jit
def numbers_gradient(
    loss: int, scratch: SequenceScratch, numbers: T2, levels: F1, delta: float, n: int, used: int
) -> float:
    """Mean loss over those of numbers (n, 1) that are known, at least one; ``scratch.dlogits`` of it."""
    value, known = 0.0, ZERO
    for t in range(n):
        known += losses.known_elements(loss, numbers[t], used)
    share = scratch.dlogits.dtype.type(1.0 / known)
    for t in range(n):
        d = scratch.dlogits[t][:used]
        value += losses.loss_gradient(loss, scratch.logits[t][:used], numbers[t], levels, delta, d)
        scale(d, share)
    return value / known


@internal
def scale(v: T1, factor: float) -> None:
    """v (m,) *= factor, in v's precision."""
    for j in range(v.shape[0]):
        v[j] *= factor


@jit
def backward(plan: SequencePlan, network: Network, scratch: SequenceScratch, T: int, n: int, used: int) -> None:
    """Back-propagate ``scratch.dlogits`` of n steps to the decoder's own weights, whose gradients are added to.

    Overwrites ``network.dencoded[:T]`` and ``network.dlast``, from where the encoder goes on.
    """
    network.dencoded[:T] = network.dencoded.dtype.type(0)
    read, dread = network.decoded[:n], network.ddecoded[:n]
    if plan.attention == 1:
        read, dread = scratch.attended[:n], scratch.dattended[:n]
    dread[:] = dread.dtype.type(0)
    readout_backward(network.head_w, read, used, scratch.dlogits, network.dhead_w, network.dhead_b, dread)
    if plan.attention == 1:
        attention.backward(
            network.encoded[:T], network.decoded[:n], network.attention_w, scratch.weights[:n], scratch.joined[:n],
            scratch.attended[:n], scratch.dattended[:n], scratch.djoined[:n], scratch.dweights[:n],
            scratch.dcontext[:n], network.dattention_w, network.ddecoded[:n], network.dencoded[:T],
        )  # fmt: skip
    for row in range(network.decoder.shape[0] - 1, -1, -1):
        layer = layer_at(network.x, network.decoder[row], 0)
        cells.backward(layer, n)
        hand_back(plan, network, layer, row)


@internal
def hand_back(plan: SequencePlan, network: Network, layer: Layer, row: int) -> None:
    """The gradient of the state that a layer began with goes to those of the encoder's final states.

    To be asked right after the layer's ``cells.backward``: what that leaves is overwritten by the layer below. The h
    before the first step takes the place of its dh, which has served.
    """
    cells.hand_back(layer, ZERO, layer.dh[:1])
    for d in range(plan.directions):
        dlast = network.dlast[row * plan.directions + d]
        H = dlast.shape[1]
        copy(dlast[0], layer.dh[0][d * H : (d + 1) * H])
        if layer.cell == cells.LSTM:
            copy(dlast[1], layer.carry[0][d * H : (d + 1) * H])
