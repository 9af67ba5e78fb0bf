"""The work space of a learner of whole sequences: allocated once, for both sets of its weights.

Here the network becomes tables, one row per layer and direction (see ``arrays.Network``). ``Buffers`` are what layers
write to, and belong to no set of weights; ``network`` is one set of weights over them. Memory is handed out as zeros,
which the system provides when they are first written to: what a long sequence would need costs nothing until one comes.
It grows with the most steps alone, also where each step has a backward pass of its own: that tape is of one pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from streamrnn.core.arrays import I2, T1, T2, T3, Array, Layer
from streamrnn.core.declarations import CACHE_LINE, zeros
from streamrnn.core.entries import width
from streamrnn.core.layout import LayerTensors, cut
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.kinds import LABEL, SEQUENCE, TRANSCRIPT
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.core.tables import table_of

BEAM_SCORES = 8
"""Columns of what beams keep as floats ..."""
BEAM_NUMBERS = 8
"""... and as whole numbers."""


class Tape(NamedTuple):
    """What one layer writes over T steps in one direction: fields of ``core.arrays.Layer``."""

    x: T2
    looked_up: I2
    gates: T2
    state: T3
    aux: T2
    dh: T2
    dx: T2
    carry: T2
    d_ih: T2
    d_hh: T2


class Buffers(NamedTuple):
    """What the layers of a network write to. A ``Network`` over them keeps them alive."""

    encoder: tuple[Tape, ...]  # as the rows of ``Network.encoder``
    decoder: tuple[Tape, ...]
    x: T2
    looked_up: I2
    encoded: T2
    dencoded: T2
    dlast: T3
    inputs: T2
    before: I2
    tape: T1  # what all tapes are parts of


def most_answers(plan: SequencePlan) -> int:
    """M: the most symbols of an answer and its end."""
    return plan.max_symbols + (plan.end >= 0)


def new_buffers(layout: SequenceLayout, plan: SequencePlan, lookups: int, precision: npt.DTypeLike) -> Buffers:
    """Buffers for sequences of up to ``plan.max_steps`` steps, each of which looks up so many rows."""
    S, E, rows = plan.max_steps, layout.encoded_size, layout.num_layers * layout.directions
    # For both directions at once, so that either view keeps it alive.
    looked_up, reversed_rows = np.full((2, S, lookups), -1, np.int64)
    x, M = zeros((S, layout.n_inputs), precision), most_answers(plan) if layout.decoder_layers else 0
    inputs = zeros((M, layout.n_decoder_inputs), precision)
    before = np.full((M, int(layout.n_decoder_rows > 0)), -1, np.int64)
    tape, pieces = _cut_at_lines(_shapes(layout, S, plan.lookahead, M), precision)
    encoder = _encoder_tapes(layout, plan.lookahead, x, (looked_up, reversed_rows), pieces)
    top, both = encoder[rows - 1], layout.directions == 2
    return Buffers(
        encoder=encoder,
        decoder=_decoder_tapes(layout, inputs, before, pieces),
        x=x,
        looked_up=looked_up,
        encoded=zeros((S, E), precision) if both else top.state[0, 1:],
        dencoded=zeros((S, E), precision) if both else top.dh,
        dlast=zeros((rows, layout.state_count, layout.hidden_size), precision),
        inputs=inputs,
        before=before,
        tape=tape,
    )


Shapes: TypeAlias = list[tuple[int, ...]]
Pieces: TypeAlias = Iterator[Array]


def _shapes(layout: SequenceLayout, S: int, lookahead: int, M: int) -> Shapes:
    """What tapes are cut into, in the order in which ``_encoder_tapes`` and ``_decoder_tapes`` take it."""
    C, H, G, E = layout.state_count, layout.hidden_size, layout.gate_width, layout.encoded_size
    shapes = _shared(S, H, G) + [(S if layout.num_layers > 1 else 0, E)] * layout.directions
    for row in range(layout.num_layers * layout.directions):
        shapes += [(S, layout.n_inputs if row < layout.directions else E), *_own(C, S, H, G)]
    if lookahead >= 0:
        steps = min(lookahead + 1, S)
        shapes += _shared(steps, H, G) + _own(C, steps, H, G)
    return (
        shapes
        + _shared(M, E, layout.decoder_gate_width)
        + _own(C, M, E, layout.decoder_gate_width) * (layout.decoder_layers)
    )


def _shared(T: int, H: int, G: int) -> Shapes:
    """carry, d_ih and d_hh: backward goes through one layer at a time."""
    return [(T + 1, H), (T, G), (T, G)]


def _own(C: int, T: int, H: int, G: int) -> Shapes:
    """gates, state, aux and dh."""
    return [(T, G), (C, T + 1, H), (T, H), (T, H)]


def _cut_at_lines(shapes: Shapes, precision: npt.DTypeLike) -> tuple[Array, Pieces]:
    """A vector and pieces of it in these shapes, each of which begins at a cache line."""
    line = CACHE_LINE // np.dtype(precision).itemsize
    lengths = [-(-math.prod(shape) // line) * line for shape in shapes]
    tape = zeros(sum(lengths), precision)
    starts = itertools.accumulate(lengths, initial=0)
    return tape, iter([cut(tape[start:], [shape])[0] for start, shape in zip(starts, shapes, strict=False)])


def _encoder_tapes(
    layout: SequenceLayout, lookahead: int, x: Array, looked_up: tuple[Array, Array], pieces: Pieces
) -> tuple[Tape, ...]:
    """One for each layer and direction; behind them, where the backward pass of a step is bounded, that of such a pass.

    A reverse layer has inputs of its own, turned round. Above the first layer the gradients of both directions' inputs
    are kept until they are joined.
    """
    shared, none = _take(pieces, 3), looked_up[0][:, :0]
    dxs, both = _take(pieces, layout.directions), layout.directions == 2
    tapes: list[Tape] = []
    for row in range(layout.num_layers * layout.directions):
        layer, reverse = divmod(row, layout.directions)
        inputs = next(pieces)
        if layer == 0:
            wiring = inputs if reverse else x, looked_up[reverse], x[:0]
        elif both:
            wiring = inputs, none.copy(), dxs[reverse]
        else:
            wiring = tapes[-1].state[0, 1:], none.copy(), tapes[-1].dh
        tapes.append(_tape(wiring, shared, pieces))
    if lookahead >= 0:
        tapes.append(_tape((x[:0], none[:0].copy(), x[:0]), _take(pieces, 3), pieces))
    return tuple(tapes)


def _decoder_tapes(layout: SequenceLayout, inputs: Array, before: Array, pieces: Pieces) -> tuple[Tape, ...]:
    shared = _take(pieces, 3)
    tapes: list[Tape] = []
    wiring = inputs, before, inputs[:0]
    for _ in range(layout.decoder_layers):
        tapes.append(_tape(wiring, shared, pieces))
        wiring = tapes[-1].state[0, 1:], before[:, :0].copy(), tapes[-1].dh
    return tuple(tapes)


def _tape(wiring: tuple[Array, Array, Array], shared: list[Array], pieces: Pieces) -> Tape:
    """Over inputs x, rows that are looked up, and the gradient dx that is handed down."""
    (x, looked_up, dx), (carry, d_ih, d_hh) = wiring, shared
    gates, state, aux, dh = _take(pieces, 4)
    return Tape(x, looked_up, gates, state, aux, dh, dx, carry, d_ih, d_hh)


def _take(pieces: Pieces, n: int) -> list[Array]:
    return list(itertools.islice(pieces, n))


def new_network(layout: SequenceLayout, theta: Array, grad: Array, buffers: Buffers) -> Network:
    """The weights theta (P,) over these buffers; their gradients are added to grad (P,)."""
    w, dw = layout.views(theta), layout.views(grad)
    places = [*range(len(w.encoder)), 1]  # a bounded pass, where there is one, has the reverse layer's weights
    encoder = [
        _layer(layout.cell, tape, (w.encoder[row], dw.encoder[row]), _looked_up(w.rows, row), _looked_up(dw.rows, row))
        for row, tape in zip(places, buffers.encoder, strict=False)
    ]
    decoder = [
        _layer(layout.cell, tape, (w.decoder[k], dw.decoder[k]), _looked_up((w.decoder_rows,), k),
               _looked_up((dw.decoder_rows,), k))
        for k, tape in enumerate(buffers.decoder)
    ]  # fmt: skip
    top, nothing = decoder[-1] if decoder else None, buffers.dencoded[:0]
    return Network(
        encoder=_table(encoder), decoder=_table(decoder),
        x=buffers.x, looked_up=buffers.looked_up, encoded=buffers.encoded, dencoded=buffers.dencoded,
        dlast=buffers.dlast, inputs=buffers.inputs, before=buffers.before,
        decoded=top.state[0, 1:] if top else nothing, ddecoded=top.dh if top else nothing,
        attention_w=w.attention, dattention_w=dw.attention,
        head_w=w.head_w, head_b=w.head_b, dhead_w=dw.head_w, dhead_b=dw.head_b, tape=buffers.tape,
    )  # fmt: skip


def _looked_up(rows: tuple[Array, ...], row: int) -> Array:
    """The rows that a layer looks up: those of its direction, and none above the first layer."""
    return rows[row] if row < len(rows) else rows[0][:0]


def _layer(cell: int, tape: Tape, tensors: tuple[LayerTensors, LayerTensors], rows: Array, drows: Array) -> Layer:
    w, dw = tensors
    return Layer(
        cell=cell, **tape._asdict(), w_ih=w.w_ih, w_rows=rows, w_hh=w.w_hh, b_ih=w.b_ih, b_hh=w.b_hh,
        dw_ih=dw.w_ih, dw_rows=drows, dw_hh=dw.w_hh, db_ih=dw.b_ih, db_hh=dw.b_hh,
    )  # fmt: skip


def _table(layers: list[Layer]) -> Array:
    return np.array([table_of(layer) for layer in layers], np.int64).reshape(len(layers), width(Layer))


def new_scratch(layout: SequenceLayout, plan: SequencePlan, columns: int, precision: npt.DTypeLike) -> SequenceScratch:
    """Work space of one learner; the steps of a sequence have so many ``columns`` that are standardised."""
    S, B = plan.max_steps, max(1, plan.beam)
    M, E, O = most_answers(plan), layout.encoded_size, layout.n_outputs  # noqa: E741
    decodes, attends = layout.kind == SEQUENCE, layout.kind == SEQUENCE and layout.attention
    told = 1 if layout.kind == LABEL else max(S, M)  # rows of raw outputs
    seen, looked = (M, S) if attends else (0, 0)
    paths = (S, 2 * M + 1) if layout.kind == TRANSCRIPT else (0, 0)
    n_rows = layout.n_rows + layout.n_decoder_rows

    def blank(*shape: int) -> Array:
        return zeros(shape, precision)

    def whole(*shape: int) -> Array:
        return np.zeros(shape, np.int64)

    return SequenceScratch(
        pooled=blank(2 * E), dpooled=blank(2 * E), logits=blank(told, O), dlogits=blank(told, O),
        weights=blank(seen, looked), dweights=blank(seen, looked), context=blank(seen, E), dcontext=blank(seen, E),
        attended=blank(seen, E), dattended=blank(seen, E), joined=blank(seen, 2 * E), djoined=blank(seen, 2 * E),
        answer=np.zeros(max(S, M)), targets=blank(max(S, M), 1),
        symbols=whole(M), alpha=np.zeros(paths), beta=np.zeros((2, paths[1])), log_probabilities=np.zeros((told, O)),
        beam_scores=np.zeros((2 * B, BEAM_SCORES)), beam_symbols=whole(2 * B, M + 1),
        beam_numbers=whole(2 * B, BEAM_NUMBERS),
        beam_states=blank(2 * B if decodes else 0, layout.num_layers * layout.state_count, E),
        distances=whole(2, M + 2), said=whole(max(S, M) + 1), said_value=np.zeros(max(S, M) + 1),
        mean=np.zeros(columns), deviation=np.zeros(columns),
        row_spans=whole(2 + layout.directions * layout.n_rows + layout.n_decoder_rows, 2),
        in_use=np.zeros(n_rows, np.bool_), rows=whole(n_rows), n_rows=whole(1),
    )  # fmt: skip
