"""Names, shapes and places of every tensor inside the flat vector theta, and the initial weights.

PyTorch's names at the border (``rnn.weight_ih_l0`` ... ``head.bias``), one contiguous vector inside, so that an
optimiser is one loop. Order in theta: per layer w_ih (D or H, G), w_hh (H, G), b_ih (G,), b_hh (G,), from the inputs
upwards; then the head's weight (O, H) and bias (O,). Matrices of layers are stored transposed, see ``cells``. Of the
input weights those that inputs look up stand last of all, (W, G), a row for each: to PyTorch they are the last columns
of ``rnn.weight_ih_l0``, and what is looked up a one-hot vector.

Initial weights: input matrices Glorot uniform, recurrent blocks orthogonal (one per gate; Saxe et al. 2014), biases
zero but the LSTM's forget bias of one (Jozefowicz et al. 2015), the head a tenth of Glorot so that first predictions
stay near the running mean. Rows that inputs look up begin with variance 1, as embeddings do. Where a stream's next
symbol is all that is predicted the head begins wide, or the trunk would learn little while the head is small. With a
memory of T steps half of a layer's units begin with time constants spread over it (Tallec & Ollivier 2018), see
``spread_memory``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamrnn.core.arrays import T1, T2, Array
from streamrnn.core.cells import GATES, KEEPING_GATE, OPEN_GATE, STATES, WRITING_GATE
from streamrnn.core.declarations import zeros


class LayerTensors(NamedTuple):
    """One layer's part of a flat vector; I is the length of its input vectors."""

    w_ih: T2  # (I, G)
    w_hh: T2  # (H, G)
    b_ih: T1  # (G,)
    b_hh: T1  # (G,)


SYMBOLS_HEAD = 0.5
"""Bound of the head's first weights then. With rows of variance 1, text costs 1.91 bits a byte instead of 2.06."""

FIRST = "rnn.weight_ih_l0"
APART = ", looked up"
"""Behind the name of a matrix: its last columns, which are looked up and, here inside, a tensor of their own."""
LOOKED_UP = FIRST + APART


class ReadoutTensors(NamedTuple):
    """Views into one flat vector of what stands between the trunk and the outputs."""

    hidden_w: T2  # (read, M); (0, 0) where there is no hidden layer
    hidden_b: T1  # (M,)
    head_w: T2  # (O, M or read)
    head_b: T1  # (O,)


class Tensors(NamedTuple):
    """Views into one flat vector, as the kernels use them (for weights, gradients alike)."""

    layers: tuple[LayerTensors, ...]  # from the inputs upwards
    hidden_w: T2
    hidden_b: T1
    head_w: T2  # (O, H)
    head_b: T1  # (O,)
    rows: T2  # (W, G)


def cut(vector: Array, shapes: Iterable[tuple[int, ...]]) -> list[Array]:
    """Views of these shapes, one after the other from the vector's start, without copying."""
    views, start = [], 0
    for shape in shapes:
        length = math.prod(shape)
        views.append(vector[start : start + length].reshape(shape))
        start += length
    return views


class Axes(NamedTuple):
    """What the rows and the columns of a tensor in PyTorch's shape stand for; a bias has no columns.

    "gates" and "decoder gates" (gate by gate, in each the units), "units" of one direction, "encoded" (all units of
    the directions, one after the other), "pooled" (twice that), "decoder units" (as "encoded", whose states they begin
    with), "context" (what attention sees, then the decoder's own units), "inputs", "rows", "decoder inputs",
    "decoder rows", "outputs".
    """

    rows: str
    columns: str | None = None


class Named(ABC):
    """What is a flat vector inside, and named tensors in PyTorch's shapes at the border."""

    hidden_size: int

    @property
    def units(self) -> int:
        """Units as they stand in arrays; where nothing is said, there is no padding."""
        return self.hidden_size

    @property
    def traces(self) -> int:
        """Vectors of length U that sensitivities are; where nothing is said, none are carried."""
        return 0

    @abstractmethod
    def named(self, theta: Array) -> dict[str, Array]:
        """PyTorch's names to views of theta in PyTorch's shapes (transposed views, writable).

        Columns of input weights that are looked up are apart, under the matrix's name with ``APART`` behind it.
        """

    @property
    def padding(self) -> int:
        """Numbers of theta that belong to no tensor: they fill up vectors."""
        return 0

    @abstractmethod
    def axes(self, theta: Array) -> dict[str, Axes]:
        """What the rows and columns of each of these stand for."""

    def get_weights(self, theta: Array) -> dict[str, Array]:
        """Copies of all tensors under PyTorch's names."""
        tensors = self.named(theta)
        for apart in [name for name in tensors if name.endswith(APART)]:
            whole = apart.removesuffix(APART)
            tensors[whole] = np.hstack([tensors[whole], tensors.pop(apart)])
        return {name: np.array(view, order="C") for name, view in tensors.items()}

    def set_weights(self, theta: Array, weights: Mapping[str, Array]) -> None:
        """Overwrite theta (P,) from PyTorch's names; every tensor must be there in its shape and be finite.

        Raises ValueError naming the tensors that are missing, unknown, of another shape or not finite.
        """
        mine = self.named(theta)
        shapes = {name: view.shape for name, view in mine.items()}
        for apart in [name for name in mine if name.endswith(APART)]:
            rows, columns = shapes[apart.removesuffix(APART)]
            shapes[apart.removesuffix(APART)] = (rows, columns + shapes.pop(apart)[1])
        if missing := sorted(shapes.keys() - weights.keys()):
            raise ValueError(f"weights: missing {missing}; expected {sorted(shapes)}")
        if unknown := sorted(weights.keys() - shapes.keys()):
            raise ValueError(f"weights: unknown {unknown}; expected {sorted(shapes)}")
        for name, shape in shapes.items():
            given = np.asarray(weights[name])
            if given.shape != shape:
                raise ValueError(f"weights: {name} has shape {given.shape}, expected {shape}")
            if not np.isfinite(given).all():
                raise ValueError(f"weights: {name} holds values that are not finite")
        for name, view in mine.items():
            given = np.asarray(weights[name.removesuffix(APART)])
            columns = view.shape[-1]
            view[...] = given[..., given.shape[-1] - columns :] if name.endswith(APART) else given[..., :columns]


@dataclass(frozen=True)
class Layout(Named):
    """Sizes of one network: ``cell`` code, D inputs that are multiplied, H hidden units, L layers, O outputs (0 where
    the readout is not part of theta), W rows for inputs that are looked up, M units of the layer between state and
    readout (0 = there is none).

    >>> Layout(cell=1, n_inputs=8, hidden_size=32, num_layers=1, n_outputs=1).size
    5409
    """

    cell: int
    n_inputs: int
    hidden_size: int
    num_layers: int
    n_outputs: int
    n_rows: int = 0
    hidden_layer: int = 0

    @property
    def gate_width(self) -> int:
        """G: length of the vector of all gates."""
        return GATES[self.cell] * self.hidden_size

    @property
    def state_count(self) -> int:
        """Vectors of length H a layer carries."""
        return STATES[self.cell]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes in theta's order."""
        H, G, O = self.hidden_size, self.gate_width, self.n_outputs  # noqa: E741
        inputs = (self.n_inputs, *[H] * (self.num_layers - 1))
        layers = [shape for I in inputs for shape in ((I, G), (H, G), (G,), (G,))]  # noqa: E741
        M = self.hidden_layer
        return [*layers, (H if M else 0, M), (M,), (O, M or H), (O,), (self.n_rows, G)]

    @property
    def size(self) -> int:
        """P: number of parameters."""
        return sum(map(math.prod, self.shapes))

    @property
    def dense(self) -> int:
        """How many parameters stand before the rows that are looked up."""
        return self.size - self.n_rows * self.gate_width

    @property
    def head(self) -> int:
        """Where the head's weights begin among the parameters."""
        return self.dense - self.n_outputs * ((self.hidden_layer or self.hidden_size) + 1)

    def views(self, theta: Array) -> Tensors:
        """Cut theta (P,) into its tensors without copying."""
        *rest, hidden_w, hidden_b, head_w, head_b, rows = cut(theta, self.shapes)
        size = len(LayerTensors._fields)
        layers = tuple(LayerTensors(*rest[size * k : size * (k + 1)]) for k in range(self.num_layers))
        return Tensors(layers, hidden_w, hidden_b, head_w, head_b, rows)

    def readout(self, theta: Array) -> ReadoutTensors:
        """What is between the trunk and the outputs."""
        views = self.views(theta)
        return ReadoutTensors(views.hidden_w, views.hidden_b, views.head_w, views.head_b)

    def named(self, theta: Array) -> dict[str, Array]:
        v = self.views(theta)
        tensors: dict[str, Array] = {}
        for k, layer in enumerate(v.layers):
            tensors[f"rnn.weight_ih_l{k}"] = layer.w_ih.T
            tensors[f"rnn.weight_hh_l{k}"] = layer.w_hh.T
            tensors[f"rnn.bias_ih_l{k}"] = layer.b_ih
            tensors[f"rnn.bias_hh_l{k}"] = layer.b_hh
        if self.hidden_layer:
            tensors["hidden.weight"] = v.hidden_w.T
            tensors["hidden.bias"] = v.hidden_b
        if self.n_outputs:
            tensors["head.weight"] = v.head_w
            tensors["head.bias"] = v.head_b
        if self.n_rows:
            tensors[LOOKED_UP] = v.rows.T
        return tensors

    def axes(self, theta: Array) -> dict[str, Axes]:
        columns = {FIRST: "inputs", LOOKED_UP: "rows"} | ({"head.weight": "hidden"} if self.hidden_layer else {})
        of_part = {"rnn": "gates", "hidden": "hidden", "head": "outputs"}

        def of(name: str, view: Array) -> Axes:
            rows = of_part[name.partition(".")[0]]
            return Axes(rows, columns.get(name, "units") if view.ndim == 2 else None)

        return {name: of(name, view) for name, view in self.named(theta).items()}

    def initialise(self, seed: int, dtype: type, memory: int | None = None, *, symbols: bool = False) -> Array:
        """A fresh theta (P,), the same on every machine for the same seed.

        ``memory``: steps, None = none is spread. ``symbols``: a stream's next symbol is all that is predicted.
        """
        rng = np.random.Generator(np.random.PCG64(seed))
        theta = zeros(self.size, dtype)
        H = self.hidden_size
        for name, view in self.named(theta).items():
            if name.startswith("rnn.weight_hh"):
                for gate in range(GATES[self.cell]):
                    view[gate * H : (gate + 1) * H] = orthogonal(rng, H)
            elif name == FIRST:
                bound = np.sqrt(6.0 / (self.n_inputs + self.n_rows + H))
                drawn = rng.uniform(-bound, bound, (self.gate_width, self.n_inputs + self.n_rows))
                view[...], looked_up = np.split(drawn, [self.n_inputs], axis=1)
                # Each input is one row, whatever the number of symbols: their bound becomes that of variance 1.
                self.views(theta).rows.T[...] = looked_up * (math.sqrt(3.0) / bound)
            elif name.startswith("rnn.weight_ih") and name != LOOKED_UP:
                bound = np.sqrt(6.0 / (view.shape[1] + H))
                view[...] = rng.uniform(-bound, bound, view.shape)
            elif name == "hidden.weight":
                bound = np.sqrt(6.0 / (view.shape[0] + view.shape[1]))
                view[...] = rng.uniform(-bound, bound, view.shape)
            elif name == "head.weight":
                bound = SYMBOLS_HEAD if symbols else 0.1 * np.sqrt(6.0 / (view.shape[0] + H))
                view[...] = rng.uniform(-bound, bound, view.shape)
            elif name.startswith("rnn.bias_ih") and self.cell in OPEN_GATE:
                gate = OPEN_GATE[self.cell]
                view[gate * H : (gate + 1) * H] = 1.0
            if memory is not None and name.startswith("rnn.bias_ih"):
                spread_memory(view, self.cell, H, memory)
        return theta


def spread_memory(bias: Array, cell: int, hidden_size: int, memory: int) -> None:
    """Let the first half of a layer's units forget after 2 to ``memory`` steps each, by their part of b_ih (G,).

    A unit that keeps the share sigmoid(b) of its state forgets with the time constant 1 / (1 - sigmoid(b)), which is
    1 + exp(b). Hence b = log u on the gate that keeps, u spread evenly over [1, T - 1], and -b on the gate that writes
    where that is another one. The source draws u at random; evenly spread, no seed is without long memory. Half of the
    units only: the others learn tasks of short memory as fast as ever. Elman's cell has no gates.
    """
    units = (hidden_size + 1) // 2
    log_u = np.log(1.0 + (memory - 2.0) * (np.arange(units) + 0.5) / units)
    if cell in KEEPING_GATE:
        at = KEEPING_GATE[cell] * hidden_size
        bias[at : at + units] = log_u
    if cell in WRITING_GATE:
        at = WRITING_GATE[cell] * hidden_size
        bias[at : at + units] = -log_u


def orthogonal(rng: np.random.Generator, n: int) -> Array:
    """A random orthogonal (n, n) matrix by Householder reflections.

    Written out instead of np.linalg.qr, whose BLAS blocking may differ in the last bits between machines.
    """
    q = np.eye(n)
    for k in range(n - 1):
        v = rng.standard_normal(n - k)
        sign = 1.0 if v[0] >= 0 else -1.0
        v[0] += sign * np.sqrt((v * v).sum())
        scale = 2.0 / (v * v).sum()
        block = q[:, k:]
        block -= scale * (block * v).sum(axis=1)[:, None] * v[None, :]
        q[:, k] *= -sign
    return q
