"""Where a decoder looks: dot attention over what the encoder says of each step, forward and backward side by side.

Letters: n steps of the decoder, T of the encoder, E = Hd the length of both their states. With the decoder's state h
and what the encoder says of its steps, s_1 ... s_T:

    w        =  softmax of h . s_1, ..., h . s_T        how much each step is looked at
    context  =  w_1 s_1 + ... + w_T s_T                 what is seen there
    a        =  tanh(W [context, h])                    what the head reads

Nothing of it is an input of the decoder, so that all its steps are done together when its states are known (Luong et
al. 2015, "dot", without input feeding). What a single step says is to the bit what it says among others.
"""

from __future__ import annotations

import numpy as np

from streamrnn.core.activations import exponential, tanh_inplace
from streamrnn.core.arrays import T1, T2
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import add_eight, add_outer, add_product, add_products, add_transposed, copy, dot
from streamrnn.core.losses import largest, total
from streamrnn.core.vector import fma


@jit
def forward(encoded: T2, h: T2, w: T2, weights: T2, context: T2, joined: T2, attended: T2) -> None:
    """attended (n, Hd) of the states h (n, Hd) that look at encoded (T, E), with the matrix w (2 Hd, Hd).

    Keeps for ``backward`` weights (n, >= T), context (n, Hd) and joined (n, 2 Hd) = [context, h].
    """
    zero, E = attended.dtype.type(0), encoded.shape[1]
    for t in range(h.shape[0]):
        look(encoded, h[t], weights[t][: encoded.shape[0]])
        context[t, :] = zero
        add_product(context[t], encoded, weights[t][: encoded.shape[0]])
        copy(joined[t][:E], context[t])
        copy(joined[t][E:], h[t])
        attended[t, :] = zero
    add_products(attended, w, joined)
    for t in range(h.shape[0]):
        tanh_inplace(attended[t])


@jit
def backward(
    encoded: T2, h: T2, w: T2, weights: T2, joined: T2, attended: T2, dattended: T2, djoined: T2, dweights: T2,
    dcontext: T2, dw: T2, dh: T2, dencoded: T2,
) -> None:  # fmt: skip
    """From dattended (n, Hd), which is overwritten: adds to dw and dencoded (T, E), overwrites dh (n, Hd).

    With d the gradient of what the tanh is taken of, ds that of the scores h . s and dw_k = dcontext . s_k:

        d    =  da (1 - a^2)                    [dcontext, dh]  =  W^T d
        ds   =  w (dw - sum of w dw)
        dh  +=  sum of ds_k s_k                 ds_k  +=  w_k dcontext + ds_k h     (of s_k)
    """
    one, zero, n, T, E = w.dtype.type(1), w.dtype.type(0), h.shape[0], encoded.shape[0], encoded.shape[1]
    for t in range(n):
        a, d = attended[t], dattended[t]
        for j in range(a.shape[0]):
            d[j] *= one - a[j] * a[j]
        djoined[t, :] = zero
    add_outer(dw, joined, dattended, n)
    add_transposed(djoined, w, dattended)
    for t in range(n):
        copy(dcontext[t], djoined[t][:E])
        copy(dh[t], djoined[t][E:])
        row, drow = weights[t][:T], dweights[t][:T]
        scores(encoded, dcontext[t], drow)
        softmax_backward(row, drow)
        add_product(dh[t], encoded, drow)
    add_outer(dencoded, weights[:n, :T], dcontext, n)
    add_outer(dencoded, dweights[:n, :T], h, n)


@internal
def look(encoded: T2, h: T1, weights: T1) -> None:
    """weights (T,) = softmax of encoded (T, E) @ h (E,)."""
    scores(encoded, h, weights)
    highest = largest(weights)
    for k in range(weights.shape[0]):
        weights[k] = weights.dtype.type(exponential(np.float64(weights[k]) - highest))
    share = weights.dtype.type(1.0 / total(weights))
    for k in range(weights.shape[0]):
        weights[k] *= share


@jit
def scores(rows: T2, v: T1, out: T1) -> None:
    """out (T,) = rows (T, E) @ v (E,)."""
    T = out.shape[0]
    out[:] = out.dtype.type(0)
    for k in range(0, T - 7, 8):
        add_eight(out, rows, v, k)
    for k in range(T - T % 8, T):
        out[k] = dot(rows[k], v)


@jit
def softmax_backward(weights: T1, d: T1) -> None:
    """d (T,), the gradient of the weights (T,), becomes that of the numbers whose softmax they are."""
    mean = d.dtype.type(0)
    for k in range(d.shape[0]):
        mean = fma(weights[k], d[k], mean)
    for k in range(d.shape[0]):
        d[k] = weights[k] * (d[k] - mean)
