"""The arrays and numbers the kernels work on, grouped into named tuples.

Numba takes named tuples apart at compile time, so grouping costs nothing; every array is C-contiguous and writable.
Letters: S stream slots (one more row, always blank, stands for "never seen"), D inputs, U encoded features, H hidden
units, L layers, C vectors per layer state, O outputs, F target fields, Y target columns of a step, M remembered
predictions, P parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.core.layout import Tensors

Array = npt.NDArray[Any]

COUNTERS = (
    "updates",
    "windows",
    "windows_in_batch",
    "clipped",
    "nonfinite_losses",
    "nonfinite_gradients",
    "imputed",
    "sequences",
    "events",
    "labels",
    "labels_late",
    "labels_unmatched",
)
(
    UPDATES,
    WINDOWS,
    WINDOWS_IN_BATCH,
    CLIPPED,
    NONFINITE_LOSSES,
    NONFINITE_GRADIENTS,
    IMPUTED,
    SEQUENCES,
    EVENTS,
    LABELS,
    LABELS_LATE,
    LABELS_UNMATCHED,
) = range(len(COUNTERS))

GAUGES = ("grad_norm", "grad_norm_sum", "window_loss", "window_loss_sum", "scored", "loss_sum", "error_sum")
GRAD_NORM, GRAD_NORM_SUM, WINDOW_LOSS, WINDOW_LOSS_SUM, SCORED, LOSS_SUM, ERROR_SUM = range(len(GAUGES))


class Plan(NamedTuple):
    """Numbers fixed for a learner's life: sizes, switches, periods."""

    cell: int
    layers: int
    features: int  # U
    with_dt: int
    previous: int  # columns that show the previous target, flags excluded; 0 = not shown
    fields: int  # F
    classes: int  # 0 = regression
    loss: int
    k1: int
    k2: int
    stride: int  # a state is kept before every stride-th step
    batch_size: int
    known: int
    horizon: int
    scale: int
    shrinkage: float  # observations the partition is worth to a stream's target scale
    reset_after_ms: int  # -1 = never


class Hyper(NamedTuple):
    """Numbers of the optimiser and the loss."""

    optimizer: int
    lr: float
    momentum: float
    rmsprop_alpha: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float  # 0 = never clip
    huber_delta: float


class Model(NamedTuple):
    """What is learned, (P,) each in the model's precision, and the running statistics in float64."""

    theta: Array
    accumulated: Array  # sum of the gradients of the batch so far
    moment1: Array
    moment2: Array
    x_count: Array  # (U + 1,), the last entry is dt's
    x_mean: Array
    x_m2: Array
    y_count: Array  # (F,)
    y_mean: Array
    y_m2: Array
    counters: Array  # int64, see COUNTERS
    gauges: Array  # float64, see GAUGES


class Streams(NamedTuple):
    """Per stream, first axis S + 1."""

    state: Array  # (L, C, H): carried state
    before: Array  # (ceil(k2 / stride), L, C, H): carried states before the steps that can start a window
    x: Array  # (k2, D): standardised inputs, ring by step
    y: Array  # (k2, Y): standardised targets not yet injected, NaN = none; ring by step
    steps: Array  # () int64: steps of the sequence so far
    last_ms: Array  # () int64: latest time of an event of the sequence
    last_y: Array  # (F,) float64: newest known target of the sequence, NaN = none
    y_count: Array  # (F,) float64
    y_mean: Array
    y_m2: Array
    remembered: Array  # (M, O) float64: published predictions that will be scored later
    event: Array  # (M,) uint64: their events (labels only)
    event_step: Array  # (M,) int64: their step in the running sequence, -1 = an earlier one (labels only)
    event_count: Array  # () int64: events so far (labels only)


class Scratch(NamedTuple):
    """Work space of one learner; nothing in it outlives a record."""

    x: Array  # (k2, D)
    gates: Array  # (L, k2, G)
    h: Array  # (L, k2 + 1, H)
    c: Array  # (L, k2 + 1, H)
    aux: Array  # (L, k2, H)
    dh: Array  # (L, k2, H)
    carry: Array  # (2, H)
    d_ih: Array  # (k2, G)
    d_hh: Array  # (k2, G)
    raw: Array  # (O,)
    draw: Array  # (O,)
    grad: Array  # (P,)
    weights: Tensors  # views of theta
    grads: Tensors  # views of grad
    indicator: Array  # (U,) bool
    levels: Array  # (Q,) float64


class Records(NamedTuple):
    """A block of n records in log order and room for what is said about them."""

    slot: Array  # (n,) int64
    fresh: Array  # (n,) bool: the slot starts a new stream with this record
    time_ms: Array  # (n,) int64
    x: Array  # (n, U) float64, NaN = missing
    y: Array  # (n, F) float64, NaN = unknown
    end: Array  # (n,) bool
    kind: Array  # (n,) uint8
    event: Array  # (n,) uint64
    prediction: Array  # (n, O) float64, out; NaN for labels
    updates: Array  # (n,) int64, out
    loss: Array  # (n,) float64, out: mean loss over what this record let us score, NaN = nothing
    error: Array  # (n,) float64, out: mean absolute (0/1 for classes) error of the same
    grad_norm: Array  # (n,) float64, out: norm before clipping of the optimiser step it led to, NaN = none


def zeros_scratch(layout: Any, k2: int, theta: Array, indicator: Array, levels: Array) -> Scratch:
    """Work space for one network and window length."""
    L, H, G, D, O = layout.num_layers, layout.hidden_size, layout.gate_width, layout.n_inputs, layout.n_outputs  # noqa: E741

    def room(*shape: int) -> Array:
        return np.zeros(shape, theta.dtype)

    grad = np.zeros_like(theta)
    return Scratch(
        x=room(k2, D), gates=room(L, k2, G), h=room(L, k2 + 1, H), c=room(L, k2 + 1, H), aux=room(L, k2, H),
        dh=room(L, k2, H), carry=room(2, H), d_ih=room(k2, G), d_hh=room(k2, G), raw=room(O), draw=room(O), grad=grad,
        weights=layout.views(theta), grads=layout.views(grad), indicator=indicator, levels=levels,
    )  # fmt: skip
