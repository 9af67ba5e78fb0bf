"""The work space of one learner: allocated once, cut into the arrays that kernels write to while a record is at work.

Here the network becomes a table: one row per layer, from the inputs upwards, that names its weights, its part of the
tape and whose gradient it writes. Kernels loop over the rows and know of no first or last layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from streamrnn.core.arrays import Array, Layer, Plan, Scratch
from streamrnn.core.declarations import zeros
from streamrnn.core.entries import width
from streamrnn.core.exact.layout import ExactLayout
from streamrnn.core.layout import Layout, cut
from streamrnn.core.tables import table_of


def zeros_scratch(
    layout: Layout | ExactLayout,
    plan: Plan,
    sizes: Mapping[str, int],
    theta: Array,
    codes: Array,
    indicator: Array,
    levels: Array,
    imputed: Array,
    last_at: Array,
    ahead: Array,
) -> Scratch:
    """Work space for one network with weights theta (P,); ``sizes`` has the length of each axis that arrays name."""
    D, O, F, Y, R, K = (sizes[axis] for axis in ("D", "O", "F", "Y", "R", "K"))  # noqa: E741

    def blank(*shape: int) -> Array:
        return zeros(shape, theta.dtype)

    x, grad, n = blank(K, D), blank(*theta.shape), len(indicator) + 1
    looked_up, W = np.full((K, sizes["lookups"]), -1, np.int64), sizes["W"]
    w, dw, beside = layout.readout(theta), layout.readout(grad), D if plan.skip and plan.hidden else 0
    trunk = trunk_of(layout, plan, x, looked_up, theta, grad)
    return Scratch(
        x=x, looked_up=looked_up, rows=np.zeros(W, np.int64), n_rows=np.zeros(1, np.int64),
        in_use=np.zeros(W, np.bool_), spans=np.zeros((2 + W, 2), np.int64),
        lags=blank(K, sizes["lags"]), targets=blank(K, Y),
        head_w=w.head_w, head_b=w.head_b, dhead_w=dw.head_w, dhead_b=dw.head_b,
        constants=blank(6, layout.units), cell_work=blank(11, layout.units), codes=codes, **trunk._asdict(),
        hidden_w=w.hidden_w, hidden_b=w.hidden_b, dhidden_w=dw.hidden_w, dhidden_b=dw.hidden_b,
        z=blank(plan.hidden + beside), dz=blank(plan.hidden + beside),
        prediction=np.zeros(O), raw=blank(O), draw=blank(O), grad=grad, step=blank(*theta.shape),
        carried=blank(1, layout.hidden_size),
        phi=zeros(R, np.float64), phi_replayed=zeros(R, np.float64), scaling=np.zeros((F, 3)),
        expert_predictions=np.zeros((O, 2)), workspace=zeros((2, R), np.float64), counted=np.full(F, np.nan),
        reached=np.full(F, np.nan), rivals=np.zeros((F, 2)), scored=np.zeros(8), text=np.zeros(2),
        kept=np.full(F, np.nan), scales=np.zeros((F, 4)),
        values=np.zeros(n), widths=np.zeros(n), standardised=np.zeros(n),
        indicator=indicator, levels=levels, imputed=imputed, last_at=last_at, ahead=ahead,
    )  # fmt: skip


class Trunk(NamedTuple):
    """The part of the work space that is the trunk's."""

    layers: Array
    tape: Array
    h: Array
    dh: Array
    cell_w: Array
    dcell_w: Array


def trunk_of(layout: Layout | ExactLayout, plan: Plan, x: Array, looked_up: Array, theta: Array, grad: Array) -> Trunk:
    """Of layers that are run over a window; or of a cell whose gradient is carried along, of which it is one step."""
    if isinstance(layout, ExactLayout):
        h, dh = zeros((1, layout.read), theta.dtype), zeros((1, layout.read), theta.dtype)
        no_layers = np.zeros((0, width(Layer)), np.int64)
        return Trunk(no_layers, zeros(0, theta.dtype), h, dh, layout.cell_rows(theta), layout.cell_rows(grad))
    tape, layers = stack(layout, plan, x, looked_up, theta, grad)
    none, top = theta[:0].reshape(0, layout.units), layers[-1]
    return Trunk(np.stack([table_of(layer) for layer in layers]), tape, top.state[0, 1:], top.dh, none, none)


def stack(
    layout: Layout, plan: Plan, x: Array, looked_up: Array, theta: Array, grad: Array
) -> tuple[Array, list[Layer]]:
    """The tape, and the layers over inputs x (k2, D) and those that are looked up, which write to it."""
    H, G, C, T = layout.hidden_size, layout.gate_width, layout.state_count, plan.k2
    shared = [(T + 1, H), (T, G), (T, G)]  # carry, d_ih and d_hh: backward goes through one layer at a time
    own = [(T, G), (C, T + 1, H), (T, H), (T, H)]
    shapes = shared + own * layout.num_layers
    tape = zeros(sum(map(math.prod, shapes)), theta.dtype)
    pieces = iter(cut(tape, shapes))
    carry, d_ih, d_hh = next(pieces), next(pieces), next(pieces)
    layers: list[Layer] = []
    dx, rows, drows = x[:0], layout.views(theta).rows, layout.views(grad).rows
    for w, dw in zip(layout.views(theta).layers, layout.views(grad).layers, strict=True):
        gates, state, aux, dh = next(pieces), next(pieces), next(pieces), next(pieces)
        layers.append(Layer(
            cell=layout.cell, x=x, looked_up=looked_up, w_ih=w.w_ih, w_rows=rows, w_hh=w.w_hh, b_ih=w.b_ih,
            b_hh=w.b_hh, gates=gates, state=state, aux=aux, dh=dh, dx=dx, carry=carry, d_ih=d_ih, d_hh=d_hh,
            dw_ih=dw.w_ih, dw_rows=drows, dw_hh=dw.w_hh, db_ih=dw.b_ih, db_hh=dw.b_hh,
        ))  # fmt: skip
        looked_up, rows, drows = looked_up[:, :0].copy(), rows[:0], drows[:0]
        x, dx = state[0, 1:], dh  # the layer above reads this one's h, and writes what this one's backward reads
    return tape, layers
