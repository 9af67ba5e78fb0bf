"""Elman RNN, LSTM and GRU: one layer over a run of steps, forward and backward side by side.

Letters: T steps, D inputs, H hidden units, G = gates * H. Formulas, gate order (LSTM i f g o, GRU r z n, reset applied
after the recurrent product) and both biases are PyTorch's; matrices are stored transposed, (D, G) and (H, G), so
that the inner loops run over the gates. A single step is a run of length one: prediction and replay share the code.

Forward writes ``h`` and ``c``, the parts of a layer's state (row 0 is the one before the run, row t + 1 the one after
step t), and the tape its backward reads: ``gates`` after their non-linearity and ``aux`` (LSTM: tanh(c); GRU:
W_hn h + b_hn). Backward takes ``dh`` (T, H), the loss's gradient with respect to each h from above, overwrites it,
writes the gradients of both pre-activations (``d_ih``, ``d_hh``; they differ only for the GRU's n gate) and adds the
weights' gradients. What a cell carries is its own business: outside, a state is C vectors. In formulas a prime marks
what stands after the step (h', c'), and ``di`` is the gradient of gate i's pre-activation.

A kernel cannot raise, so the last case of each choice is the default; ``Layout`` knows no other codes than these.
Sources: Elman 1990; Hochreiter & Schmidhuber 1997 with Gers et al. 2000's forget gate; Cho et al. 2014.
"""

from __future__ import annotations

from streamrnn.core.activations import sigmoid_inplace, tanh_inplace
from streamrnn.core.arrays import T1, T2, Layer
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import (
    add_looked_up,
    add_outer,
    add_product,
    add_products,
    add_rows,
    add_to_looked_up,
    add_transposed,
    copy,
)
from streamrnn.core.optim import inner_product
from streamrnn.core.vector import fma

RNN, LSTM, GRU = 0, 1, 2
CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
GATES = {RNN: 1, LSTM: 4, GRU: 3}
"""Gate vectors per cell: G = GATES[cell] * H."""
STATES = {RNN: 1, LSTM: 2, GRU: 1}
"""C: vectors of length H carried from step to step: h, and c for the LSTM."""
OPEN_GATE = {LSTM: 1}
"""The gate whose bias starts at one, so that a fresh cell remembers: the LSTM's forget gate."""
KEEPING_GATE = {LSTM: 1, GRU: 1}
"""The gate that says how much of the state stays: f, and z in h' = (1 - z) n + z h, which says what is written too."""
WRITING_GATE = {LSTM: 0}
"""The gate that says how much is written, where it is another one."""


@internal
def forward(layer: Layer, steps: int) -> None:
    """Run the first ``steps`` steps of one layer."""
    hear_inputs(layer, steps)
    run(layer, steps)


@internal
def hear_inputs(layer: Layer, steps: int) -> None:
    """gates = what the inputs and the biases say, of all steps at once."""
    gates = layer.gates[:steps]
    input_part(layer.cell, gates, layer.b_ih, layer.b_hh)
    add_products(gates, layer.w_ih, layer.x)
    add_looked_up(gates, layer.w_rows, layer.looked_up)


@internal
def run(layer: Layer, steps: int) -> None:
    """The recursion alone, of steps whose gates have heard their inputs."""
    h = layer.state[0]
    if layer.cell == LSTM:
        lstm_forward(steps, layer.w_hh, layer.gates, h, layer.state[1], layer.aux)
    elif layer.cell == GRU:
        gru_forward(steps, layer.w_hh, layer.b_hh, layer.gates, h, layer.aux, layer.d_hh[0])
    else:
        rnn_forward(steps, layer.w_hh, layer.gates, h)


@internal
def backward(layer: Layer, steps: int) -> None:
    """Back-propagate through one layer from its dh; adds to its dw_* and db_*, overwrites dh, dx, d_ih and d_hh."""
    end_carry(layer, steps)
    backward_from(layer, steps)


@internal
def backward_from(layer: Layer, steps: int) -> None:
    """The same where the loss looks at the final state, too: of h that gradient is part of the last dh, and of the
    LSTM's c the caller has put it into carry[steps]."""
    recur(layer, steps)
    # Weights last, all steps at once: the recursion needs the pre-activations' gradients only.
    add_recurrent_gradients(layer, steps)
    add_input_gradients(layer, steps)
    propagate_to_inputs(layer, steps)


@internal
def add_recurrent_gradients(layer: Layer, steps: int) -> None:
    """dw_hh and db_hh, from the gradients of the pre-activations."""
    recurrent = layer.d_hh if layer.cell == GRU else layer.d_ih
    add_outer(layer.dw_hh, layer.state[0], recurrent, steps)
    add_rows(layer.db_hh, recurrent, steps)


@internal
def add_input_gradients(layer: Layer, steps: int) -> None:
    """dw_ih, dw_rows and db_ih likewise."""
    add_outer(layer.dw_ih, layer.x, layer.d_ih, steps)
    add_to_looked_up(layer.dw_rows, layer.looked_up[:steps], layer.d_ih)
    add_rows(layer.db_ih, layer.d_ih, steps)


@internal
def propagate(layer: Layer, steps: int) -> None:
    """The recursion alone, from the last step to the first: overwrites dh, d_ih, d_hh and carry."""
    end_carry(layer, steps)
    recur(layer, steps)


@internal
def end_carry(layer: Layer, steps: int) -> None:
    """Nothing comes back from behind the last step."""
    layer.carry[steps, :] = layer.carry.dtype.type(0)


@internal
def recur(layer: Layer, steps: int) -> None:
    """The recursion from what stands in dh, and of the LSTM in carry[steps]."""
    h = layer.state[0]
    if layer.cell == LSTM:
        lstm_backward(steps, layer.w_hh, layer.gates, layer.state[1], layer.aux, layer.dh, layer.carry, layer.d_ih)
    elif layer.cell == GRU:
        gru_backward(steps, layer.w_hh, layer.gates, h, layer.aux, layer.dh, layer.d_ih, layer.d_hh)
    else:
        rnn_backward(steps, layer.w_hh, h, layer.dh, layer.d_ih)


@internal
def propagate_to_inputs(layer: Layer, steps: int) -> None:
    """The gradient of the inputs follows from those of the pre-activations."""
    dx = layer.dx[:steps]  # no row where nobody asks for the gradient of the inputs
    dx[:] = dx.dtype.type(0)
    add_transposed(dx, layer.w_ih, layer.d_ih)


@internal
def hand_back(layer: Layer, t: int, dh: T2) -> None:
    """dh (1, H) becomes the gradient of the h before step t, as far as it comes from that step and those behind it.

    To be asked after the recursion; that of the LSTM's c is carry[t]. dh may be the layer's own dh[t : t + 1]. From
    above the layer the h before step t may receive more, which is left out: there it is an output, not what is carried.
    """
    H = dh.shape[1]
    if layer.cell == GRU:
        z = layer.gates[t, H : 2 * H]
        for j in range(H):
            dh[0, j] = layer.dh[t, j] * z[j]
        add_transposed(dh, layer.w_hh, layer.d_hh[t : t + 1])
    else:
        dh[0, :] = dh.dtype.type(0)
        add_transposed(dh, layer.w_hh, layer.d_ih[t : t + 1])


@internal
def square_handed_back(layer: Layer, t: int, dh: T2) -> float:
    """Square of the norm of what ``hand_back`` writes to dh (1, H), and of the LSTM's carry[t]."""
    hand_back(layer, t, dh)
    square = inner_product(dh[0], dh[0])
    return square + inner_product(layer.carry[t], layer.carry[t]) if layer.cell == LSTM else square


@jit
def input_part(cell: int, gates: T2, b_ih: T1, b_hh: T1) -> None:
    """gates (T, G) = b_ih + b_hh, and of the GRU, whose reset gate scales what comes with b_hh, b_ih.

    Added to it is W_ih x, of all steps at once: only what comes from h has to wait.
    """
    for t in range(gates.shape[0]):
        a = gates[t]
        if cell == GRU:
            copy(a, b_ih)
        else:
            for j in range(a.shape[0]):
                a[j] = b_ih[j] + b_hh[j]


@jit
def rnn_forward(steps: int, w_hh: T2, gates: T2, h: T2) -> None:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh); here and below the input's part is in ``gates`` already."""
    for t in range(steps):
        a = gates[t]
        add_product(a, w_hh, h[t])
        tanh_inplace(a)
        copy(h[t + 1], a)


@jit
def rnn_backward(steps: int, w_hh: T2, h: T2, dh: T2, d: T2) -> None:
    """d = dh (1 - h'^2), the gradient of the pre-activation; the dh of the step before receives W_hh d."""
    one = h.dtype.type(1)
    for t in range(steps - 1, -1, -1):
        dh_t, d_t, h_t = dh[t], d[t], h[t + 1]
        for j in range(h_t.shape[0]):
            d_t[j] = dh_t[j] * (one - h_t[j] * h_t[j])
        if t > 0:
            add_transposed(dh[t - 1 : t], w_hh, d[t : t + 1])


@jit
def lstm_forward(steps: int, w_hh: T2, gates: T2, h: T2, c: T2, tanh_c: T2) -> None:
    """c' = f c + i g, h' = o tanh(c')."""
    H = h.shape[1]
    for t in range(steps):
        a = gates[t]
        add_product(a, w_hh, h[t])
        sigmoid_inplace(a[: 2 * H])
        tanh_inplace(a[2 * H : 3 * H])
        sigmoid_inplace(a[3 * H :])
        i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        c_old, c_new, u, h_new = c[t], c[t + 1], tanh_c[t], h[t + 1]
        for j in range(H):
            c_new[j] = fma(f[j], c_old[j], i[j] * g[j])
        copy(u, c_new)
        tanh_inplace(u)
        for j in range(H):
            h_new[j] = o[j] * u[j]


@jit
def lstm_backward(steps: int, w_hh: T2, gates: T2, c: T2, tanh_c: T2, dh: T2, dc: T2, d: T2) -> None:
    """Gradients of the four pre-activations; dc (T + 1, H) is carried from step to step, from the last to the first.

    dc[T], of the final c, is the caller's.

    With u = tanh(c') of the step's own new c', and c the one before it:

        dc  +=  dh o (1 - u^2)         to what came down from the step after
        di   =  dc g i (1 - i)
        df   =  dc c f (1 - f)
        dg   =  dc i (1 - g^2)
        do   =  dh u o (1 - o)

    To the step before go dc f as its dc, and W_hh [di df dg do] on top of its dh.
    """
    H = tanh_c.shape[1]
    one = gates.dtype.type(1)
    for t in range(steps - 1, -1, -1):
        a, d_t, dh_t, u, c_old, dc_old, dc_new = gates[t], d[t], dh[t], tanh_c[t], c[t], dc[t], dc[t + 1]
        i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        di, df, dg, do = d_t[:H], d_t[H : 2 * H], d_t[2 * H : 3 * H], d_t[3 * H :]
        for j in range(H):
            dc_j = dc_new[j] + dh_t[j] * o[j] * (one - u[j] * u[j])
            di[j] = dc_j * g[j] * i[j] * (one - i[j])
            df[j] = dc_j * c_old[j] * f[j] * (one - f[j])
            dg[j] = dc_j * i[j] * (one - g[j] * g[j])
            do[j] = dh_t[j] * u[j] * o[j] * (one - o[j])
            dc_old[j] = dc_j * f[j]
        if t > 0:
            add_transposed(dh[t - 1 : t], w_hh, d[t : t + 1])


@jit
def gru_forward(steps: int, w_hh: T2, b_hh: T1, gates: T2, h: T2, recurrent_n: T2, recurrent: T1) -> None:
    """h' = (1 - z) n + z h with n = tanh(W_in x + b_in + r (W_hn h + b_hn)); ``recurrent`` (G,) is work space."""
    H = h.shape[1]
    for t in range(steps):
        a, q, h_old, h_new = gates[t], recurrent_n[t], h[t], h[t + 1]
        rz, r, z, n = a[: 2 * H], a[:H], a[H : 2 * H], a[2 * H :]
        copy(recurrent, b_hh)
        add_product(recurrent, w_hh, h_old)
        copy(q, recurrent[2 * H :])
        for j in range(2 * H):
            rz[j] += recurrent[j]
        sigmoid_inplace(rz)
        for j in range(H):
            n[j] = fma(r[j], q[j], n[j])
        tanh_inplace(n)
        for j in range(H):
            h_new[j] = fma(z[j], h_old[j] - n[j], n[j])


@jit
def gru_backward(steps: int, w_hh: T2, gates: T2, h: T2, recurrent_n: T2, dh: T2, d_ih: T2, d_hh: T2) -> None:
    """Gradients of the pre-activations on the input side, d_ih, and on the recurrent side, d_hh.

    With q = W_hn h + b_hn, which r scales, and h the state before the step:

        dn  =  dh (1 - z) (1 - n^2)
        dz  =  dh (h - n) z (1 - z)
        dr  =  dn q r (1 - r)

    They are both sides' but for n, whose recurrent side receives dn r. To the dh of the step before go dh z, since
    h' keeps that share of h, and W_hh [dr dz dn*r].
    """
    H = h.shape[1]
    one = gates.dtype.type(1)
    for t in range(steps - 1, -1, -1):
        a, q, h_old, dh_t = gates[t], recurrent_n[t], h[t], dh[t]
        r, z, n = a[:H], a[H : 2 * H], a[2 * H :]
        di, dr = d_ih[t], d_hh[t]
        di_r, di_z, di_n = di[:H], di[H : 2 * H], di[2 * H :]
        dr_r, dr_z, dr_n = dr[:H], dr[H : 2 * H], dr[2 * H :]
        for j in range(H):
            dn = dh_t[j] * (one - z[j]) * (one - n[j] * n[j])
            dz = dh_t[j] * (h_old[j] - n[j]) * z[j] * (one - z[j])
            dr_gate = dn * q[j] * r[j] * (one - r[j])
            di_n[j] = dn
            dr_n[j] = dn * r[j]
            di_z[j] = dz
            dr_z[j] = dz
            di_r[j] = dr_gate
            dr_r[j] = dr_gate
        if t > 0:
            dh_before = dh[t - 1]
            for j in range(H):
                dh_before[j] += dh_t[j] * z[j]
            add_transposed(dh[t - 1 : t], w_hh, d_hh[t : t + 1])
