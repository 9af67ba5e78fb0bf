"""Heads of sequences: from what the trunk says to raw outputs, and back to its gradient.

One prediction for the whole reads [the mean over the steps, the last states], where the state that has seen all is the
forward layer's at the end, and the reverse layer's at the beginning. A prediction for each step reads what is said of
it. What outputs mean and which loss they have is none of a head's business. Of an open set of classes only the first n
outputs are in use; the others are neither computed nor learned. On the way back a head overwrites the gradient of what
the trunk says, and adds to that of its weights.
"""

from __future__ import annotations

from streamrnn.core.arrays import T1, T2
from streamrnn.core.heads import linear_backward, linear_forward
from streamrnn.core.jit import jit
from streamrnn.core.linear import add_eight, add_outer, add_product, add_vector, copy, dot
from streamrnn.core.sequences import trunk
from streamrnn.core.sequences.arrays import Network, SequenceScratch


@jit
def label_forward(network: Network, work: SequenceScratch, steps: int, n: int) -> None:
    """work.logits[0, :n] of the sequence in network.encoded[:steps]; work.pooled is for the way back."""
    E, H = network.encoded.shape[1], network.dlast.shape[2]
    mean, last = work.pooled[:E], work.pooled[E:]
    mean[:] = mean.dtype.type(0)
    for t in range(steps):
        add_vector(mean, network.encoded[t])
    share = mean.dtype.type(1.0 / steps)
    for j in range(E):
        mean[j] *= share
    copy(last[:H], network.encoded[steps - 1][:H])
    copy(last[H:], network.encoded[0][H:])
    label_raw(network, work, n)


@jit
def label_raw(network: Network, work: SequenceScratch, n: int) -> None:
    """work.logits[0, :n] from work.pooled."""
    linear_forward(work.pooled, network.head_w, network.head_b, work.logits[0][:n])


@jit
def label_backward(network: Network, work: SequenceScratch, steps: int, n: int) -> None:
    """From work.dlogits[0, :n] to network.dencoded[:steps], with network.dlast zero."""
    E, H = network.encoded.shape[1], network.dlast.shape[2]
    trunk.clear_gradients(network, steps)
    work.dpooled[:] = work.dpooled.dtype.type(0)
    draw = work.dlogits[0][:n]
    linear_backward(work.pooled, network.head_w, draw, network.dhead_w, network.dhead_b, work.dpooled)
    mean, last = work.dpooled[:E], work.dpooled[E:]
    share = mean.dtype.type(1.0 / steps)
    for j in range(E):
        mean[j] *= share
    for t in range(steps):
        add_vector(network.dencoded[t], mean)
    add_vector(network.dencoded[steps - 1][:H], last[:H])
    add_vector(network.dencoded[0][H:], last[H:])


@jit
def steps_forward(network: Network, work: SequenceScratch, steps: int, n: int) -> None:
    """work.logits[:steps, :n] of each step in network.encoded[:steps]."""
    readout_forward(network.head_w, network.head_b, network.encoded[:steps], n, work.logits)


@jit
def steps_backward(network: Network, work: SequenceScratch, steps: int, n: int) -> None:
    """From work.dlogits[:steps, :n] to network.dencoded[:steps], with network.dlast zero."""
    trunk.clear_gradients(network, steps)
    readout_backward(network.head_w, network.encoded[:steps], n, work.dlogits, network.dhead_w, network.dhead_b,
                     network.dencoded)  # fmt: skip


@jit
def readout_forward(w: T2, b: T1, states: T2, n: int, raw: T2) -> None:
    """raw[:T, :n] = states (T, features) @ w (O, features).T + b (O,), of all steps at once."""
    for t in range(states.shape[0]):
        copy(raw[t][:n], b)
    for o in range(0, n - 7, 8):
        # Rows outside, steps inside: eight rows stay in the nearest cache.
        for t in range(states.shape[0]):
            add_eight(raw[t], w, states[t], o)
    for o in range(n - n % 8, n):
        for t in range(states.shape[0]):
            raw[t, o] += dot(w[o], states[t])


@jit
def readout_backward(w: T2, states: T2, n: int, draw: T2, dw: T2, db: T1, dstates: T2) -> None:
    """Adds to dstates[:T], dw (O, features) and db (O,) from draw[:T, :n]."""
    for t in range(states.shape[0]):
        add_product(dstates[t], w[:n], draw[t][:n])
        add_vector(db[:n], draw[t])
    add_outer(dw[:n], draw, states, states.shape[0])
