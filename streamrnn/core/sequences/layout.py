"""Names, shapes and places of every tensor of a network for whole sequences inside the flat vector theta.

As ``core.layout``, whose rules hold here too. Order in theta: the encoder's layers from the inputs upwards, each
forwards and then, where it reads both ways, backwards in time (w_ih (I, G), w_hh (H, G), b_ih (G,), b_hh (G,)); the
decoder's layers likewise; attention (2 Hd, Hd); the head's weight (O, features) and bias (O,); last the rows that are
looked up: the encoder's (W, G), its reverse's (W, G), the decoder's (V, Gd). PyTorch's names: ``rnn.weight_ih_l0``,
``rnn.weight_ih_l0_reverse``, ..., ``decoder.weight_ih_l0``, ..., ``attention.weight`` (Hd, 2 Hd), ``head.weight``.

Above the first layer a step's input is what the layer below says of it, [forward, reverse] joined, E = H * directions.
The decoder begins with the encoder's final states, so it has Hd = E units. The head reads E numbers, or where one
prediction is made for the whole, 2 E: the mean over the steps, and the last states.

Initial weights: those of ``core.layout``, the decoder's as the encoder's but without spread memory, which is a matter
of long inputs; attention Glorot uniform. Rows that a GRU looks up begin narrower, see ``ROWS``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamrnn.core.arrays import T1, T2, Array
from streamrnn.core.cells import GATES, GRU, OPEN_GATE, STATES
from streamrnn.core.declarations import zeros
from streamrnn.core.layout import APART, SYMBOLS_HEAD, Axes, LayerTensors, Named, cut, orthogonal, spread_memory
from streamrnn.core.sequences.kinds import LABEL, SEQUENCE

REVERSE = "_reverse"
"""Behind the names of a layer that reads from the end, as PyTorch has it."""


ROWS = {GRU: 0.35}
"""Deviation of the first rows that a cell looks up, where it is not 1. Of spelled words that it learned to pronounce,
each scored before it was learned: of the second thousand a phoneme cost 0.83 nats instead of 1.09, of the eighth 0.45
instead of 0.53. LSTM and Elman's cell gain nothing by it."""


class SequenceTensors(NamedTuple):
    """Views into one flat vector, as the kernels use them (for weights, gradients alike)."""

    encoder: tuple[LayerTensors, ...]  # l0, l0_reverse, l1, ...
    decoder: tuple[LayerTensors, ...]
    attention: T2  # (2 Hd, Hd); (0, Hd) without it
    head_w: T2  # (O, features)
    head_b: T1  # (O,)
    rows: tuple[T2, ...]  # (W, G) for each direction
    decoder_rows: T2  # (V, Gd)


@dataclass(frozen=True)
class SequenceLayout(Named):
    """Sizes of one network: as ``core.layout.Layout``, and what is predicted, directions and the decoder's inputs.

    Parameters
    ----------
    cell, n_inputs, hidden_size, num_layers, n_outputs, n_rows
        As there: D inputs that are multiplied, H units of each direction, O outputs, W rows that inputs look up.
    directions
        1 = forward, 2 = both.
    kind
        What is predicted, see ``kinds``; a sequence has a decoder.
    n_decoder_inputs, n_decoder_rows
        Of the decoder: 1 where it is shown the number before, else 0; V rows for the symbol before.
    attention
        Whether the decoder looks at the encoder's steps.

    >>> SequenceLayout(cell=2, n_inputs=12, hidden_size=32, num_layers=1, n_outputs=9, directions=2).size
    9993
    """

    cell: int
    n_inputs: int
    hidden_size: int
    num_layers: int
    n_outputs: int
    n_rows: int = 0
    directions: int = 1
    kind: int = LABEL
    n_decoder_inputs: int = 0
    n_decoder_rows: int = 0
    attention: bool = False

    @property
    def gate_width(self) -> int:
        """G: length of the vector of all gates of one direction."""
        return GATES[self.cell] * self.hidden_size

    @property
    def state_count(self) -> int:
        """Vectors of length H a layer carries."""
        return STATES[self.cell]

    @property
    def encoded_size(self) -> int:
        """E: numbers that the top layer says of a step."""
        return self.hidden_size * self.directions

    @property
    def decoder_layers(self) -> int:
        """Layers of the decoder; 0 = there is none."""
        return self.num_layers if self.kind == SEQUENCE else 0

    @property
    def decoder_size(self) -> int:
        """Hd: its units."""
        return self.encoded_size

    @property
    def decoder_gate_width(self) -> int:
        """Gd: length of the vector of all its gates."""
        return GATES[self.cell] * self.decoder_size

    @property
    def head_inputs(self) -> int:
        """Numbers that the head reads."""
        return self.encoded_size * (2 if self.kind == LABEL else 1)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes in theta's order."""
        G, Gd, E, O = self.gate_width, self.decoder_gate_width, self.encoded_size, self.n_outputs  # noqa: E741
        layers: list[tuple[int, ...]] = []
        for layer in range(self.num_layers):
            width = E if layer else self.n_inputs
            layers += [(width, G), (self.hidden_size, G), (G,), (G,)] * self.directions
        for layer in range(self.decoder_layers):
            layers += [(E if layer else self.n_decoder_inputs, Gd), (E, Gd), (Gd,), (Gd,)]
        attention = (2 * E if self.attention else 0, E)
        rows = [(self.n_rows, G)] * self.directions
        return [*layers, attention, (O, self.head_inputs), (O,), *rows, (self.n_decoder_rows, Gd)]

    @property
    def size(self) -> int:
        """P: number of parameters."""
        return sum(map(math.prod, self.shapes))

    @property
    def dense(self) -> int:
        """How many parameters stand before the rows that are looked up."""
        rows = self.directions * self.n_rows * self.gate_width
        return self.size - rows - self.n_decoder_rows * self.decoder_gate_width

    @property
    def head(self) -> int:
        """Where the head's weights begin among the parameters."""
        return self.dense - self.n_outputs * (self.head_inputs + 1)

    def views(self, theta: Array) -> SequenceTensors:
        """Cut theta (P,) into its tensors without copying."""
        pieces = iter(cut(theta, self.shapes))

        def layers(n: int) -> tuple[LayerTensors, ...]:
            return tuple(LayerTensors(*(next(pieces) for _ in LayerTensors._fields)) for _ in range(n))

        return SequenceTensors(
            encoder=layers(self.num_layers * self.directions),
            decoder=layers(self.decoder_layers),
            attention=next(pieces),
            head_w=next(pieces),
            head_b=next(pieces),
            rows=tuple(next(pieces) for _ in range(self.directions)),
            decoder_rows=next(pieces),
        )

    def named(self, theta: Array) -> dict[str, Array]:
        """PyTorch's names to views of theta in PyTorch's shapes (transposed views, writable).

        Columns of input weights that are looked up are apart, under the matrix's name with ``APART`` behind it.
        """
        return {name: view for name, view, _ in self._tensors(theta)}

    def axes(self, theta: Array) -> dict[str, Axes]:
        """What the rows and columns of each of these stand for."""
        return {name: axes for name, _, axes in self._tensors(theta)}

    def _tensors(self, theta: Array) -> Iterator[tuple[str, Array, Axes]]:
        v = self.views(theta)
        for row, layer in enumerate(v.encoder):
            k, reverse = divmod(row, self.directions)
            inputs = "encoded" if k else "inputs"
            yield from _layer_tensors(f"rnn.{{}}_l{k}{REVERSE * reverse}", layer, "gates", inputs, "units")
        for k, layer in enumerate(v.decoder):
            inputs = "decoder units" if k else "decoder inputs"
            yield from _layer_tensors(f"decoder.{{}}_l{k}", layer, "decoder gates", inputs, "decoder units")
        if self.attention:
            yield "attention.weight", v.attention.T, Axes("decoder units", "context")
        if self.n_outputs:
            read = {LABEL: "pooled", SEQUENCE: "decoder units"}.get(self.kind, "encoded")
            yield "head.weight", v.head_w, Axes("outputs", read)
            yield "head.bias", v.head_b, Axes("outputs")
        if self.n_rows:
            for reverse, rows in enumerate(v.rows):
                yield f"rnn.weight_ih_l0{REVERSE * reverse}{APART}", rows.T, Axes("gates", "rows")
        if self.n_decoder_rows:
            yield f"decoder.weight_ih_l0{APART}", v.decoder_rows.T, Axes("decoder gates", "decoder rows")

    def initialise(self, seed: int, dtype: type, memory: int | None = None, *, symbols: bool = False) -> Array:
        """A fresh theta (P,), the same on every machine for the same seed.

        ``memory``: steps, None = none is spread. ``symbols``: the head begins wide, as for a stream's next symbol.
        """
        rng = np.random.Generator(np.random.PCG64(seed))
        theta = zeros(self.size, dtype)
        tensors = self.named(theta)
        for name, view in tensors.items():
            units = len(view) // GATES[self.cell]
            if ".weight_hh" in name:
                for gate in range(GATES[self.cell]):
                    view[gate * units : (gate + 1) * units] = orthogonal(rng, units)
            elif ".weight_ih" in name and not name.endswith(APART):
                apart = tensors.get(name + APART, view[:, :0])
                bound = math.sqrt(6.0 / (view.shape[1] + apart.shape[1] + units))
                view[...] = rng.uniform(-bound, bound, view.shape)
                # Each input is one row, whatever the number of symbols.
                bound = math.sqrt(3.0) * ROWS.get(self.cell, 1.0)
                apart[...] = rng.uniform(-bound, bound, apart.shape)
            elif name == "attention.weight":
                bound = math.sqrt(6.0 / sum(view.shape))
                view[...] = rng.uniform(-bound, bound, view.shape)
            elif name == "head.weight":
                bound = SYMBOLS_HEAD if symbols else 0.1 * math.sqrt(6.0 / sum(view.shape))
                view[...] = rng.uniform(-bound, bound, view.shape)
            elif ".bias_ih" in name:
                if self.cell in OPEN_GATE:
                    gate = OPEN_GATE[self.cell]
                    view[gate * units : (gate + 1) * units] = 1.0
                if memory is not None and name.startswith("rnn."):
                    spread_memory(view, self.cell, units, memory)
        return theta


def _layer_tensors(
    name: str, layer: LayerTensors, gates: str, inputs: str, units: str
) -> Iterator[tuple[str, Array, Axes]]:
    yield name.format("weight_ih"), layer.w_ih.T, Axes(gates, inputs)
    yield name.format("weight_hh"), layer.w_hh.T, Axes(gates, units)
    yield name.format("bias_ih"), layer.b_ih, Axes(gates)
    yield name.format("bias_hh"), layer.b_hh, Axes(gates)
