"""The slow, obvious networks of whole sequences: an encoder, what is read off it, and a decoder; forwards, in nodes.

Gradients come from ``sequences_tape``. Shapes and formulas are those of PyTorch's cells, of Sutskever et al. (2014) and
of Luong et al. (2015, the dot product, no input feeding). Letters: T steps, H units, E = H * directions, O outputs.

Weights are a dictionary under PyTorch's names: those of ``network``, with ``_reverse`` the backward ones,
``decoder.weight_ih_l0`` and so on for the decoder, ``attention.weight`` [E, 2E]. A symbol is a column of zeros and a
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tests.oracle.network import GATES, Array, Weights
from tests.oracle.sequences_tape import Node, joined, mean, sigmoid, softmax, stacked, tanh

State = tuple[Node, ...]  # (h,) or, for the LSTM, (h, c)
Nodes = dict[str, Node]
Kind = Literal["label", "labels", "transcript", "sequence"]


@dataclass(frozen=True)
class Shape:
    """What a network is made of."""

    cell: str
    kind: Kind
    n_inputs: int  # columns of the encoder's
    hidden: int
    layers: int
    n_outputs: int
    both: bool = False
    lookahead: int | None = None
    attention: bool = True
    n_before: int = 0  # columns of the decoder's: one for each symbol, or one for the number before

    @property
    def encoded(self) -> int:
        return self.hidden * (1 + self.both)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all weights."""
        out: dict[str, tuple[int, ...]] = {}
        for k in range(self.layers):
            for suffix in ("", "_reverse") if self.both else ("",):
                n_inputs = self.encoded if k else self.n_inputs
                out |= layer_tensors("rnn", f"l{k}{suffix}", GATES[self.cell], self.hidden, n_inputs)
        read = self.encoded
        if self.kind == "label":
            read = 2 * self.encoded
        if self.kind == "sequence":
            for k in range(self.layers):
                n_inputs = self.encoded if k else self.n_before
                out |= layer_tensors("decoder", f"l{k}", GATES[self.cell], self.encoded, n_inputs)
            if self.attention:
                out["attention.weight"] = (self.encoded, 2 * self.encoded)
        return out | {"head.weight": (self.n_outputs, read), "head.bias": (self.n_outputs,)}

    def random_weights(self, rng: np.random.Generator, scale: float = 0.5) -> Weights:
        """Uniform weights in [-scale, scale], biases too: no term of a formula is hidden by a zero."""
        return {name: rng.uniform(-scale, scale, shape) for name, shape in self.tensors().items()}


def layer_tensors(part: str, suffix: str, gates: int, hidden: int, n_inputs: int) -> dict[str, tuple[int, ...]]:
    rows = gates * hidden
    return {
        f"{part}.weight_ih_{suffix}": (rows, n_inputs),
        f"{part}.weight_hh_{suffix}": (rows, hidden),
        f"{part}.bias_ih_{suffix}": (rows,),
        f"{part}.bias_hh_{suffix}": (rows,),
    }


def as_nodes(weights: Weights) -> Nodes:
    return {name: Node(w) for name, w in weights.items()}


def step(cell: str, w: Nodes, part: str, suffix: str, x: Node, before: State) -> State:
    """The state after one step of one layer."""
    p = w[f"{part}.weight_ih_{suffix}"] @ x + w[f"{part}.bias_ih_{suffix}"]
    q = w[f"{part}.weight_hh_{suffix}"] @ before[0] + w[f"{part}.bias_hh_{suffix}"]
    if cell == "rnn":
        return (tanh(p + q),)
    if cell == "lstm":
        i, f, g, o = (p + q).split(4)
        c = sigmoid(f) * before[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c
    (p_r, p_z, p_n), (q_r, q_z, q_n) = p.split(3), q.split(3)
    r, z = sigmoid(p_r + q_r), sigmoid(p_z + q_z)
    n = tanh(p_n + r * q_n)
    return (n - z * n + z * before[0],)


def zero_state(cell: str, hidden: int) -> State:
    return tuple(Node(np.zeros(hidden)) for _ in range(2 if cell == "lstm" else 1))


@dataclass
class Encoding:
    """What an encoder makes of a sequence: a vector [E] for each step, and the final state of each layer."""

    steps: list[Node]
    final: list[list[State]]  # per layer: of forwards and, where there is one, of backwards

    @property
    def last(self) -> Node:
        """[forward's newest state, reverse's at the first step]"""
        return joined([state[0] for state in self.final[-1]])

    def carried(self) -> list[tuple[Array, ...]]:
        """The forward layers' final states."""
        return [tuple(part.value for part in directions[0]) for directions in self.final]


def run(shape: Shape, w: Nodes, suffix: str, xs: list[Node], before: State) -> list[State]:
    """The states after each step of one layer."""
    states = []
    for x in xs:
        before = step(shape.cell, w, "rnn", suffix, x, before)
        states.append(before)
    return states


def encode(shape: Shape, w: Nodes, xs: Array, before: list[tuple[Array, ...]] | None = None) -> Encoding:
    """Layer by layer; forwards from the state ``before``, per layer, and backwards from zero."""
    below, final = [Node(x) for x in xs], []
    for k in range(shape.layers):
        zero = zero_state(shape.cell, shape.hidden)
        ahead = run(shape, w, f"l{k}", below, zero if before is None else tuple(Node(part) for part in before[k]))
        final.append([ahead[-1]])
        outputs = [state[0] for state in ahead]
        if shape.both:
            back = backwards(shape, w, f"l{k}_reverse", below)
            final[-1].append(back[0])
            outputs = [joined([a, b[0]]) for a, b in zip(outputs, back, strict=True)]
        below = outputs
    return Encoding(below, final)


def backwards(shape: Shape, w: Nodes, suffix: str, xs: list[Node]) -> list[State]:
    """The states at each step of a pass from the end; with a lookahead each step has a pass of its own."""
    zero = zero_state(shape.cell, shape.hidden)
    if shape.lookahead is None:
        return run(shape, w, suffix, xs[::-1], zero)[::-1]
    ends = [min(t + shape.lookahead, len(xs) - 1) for t in range(len(xs))]
    return [run(shape, w, suffix, xs[t : end + 1][::-1], zero)[-1] for t, end in enumerate(ends)]


def head(w: Nodes, features: Node) -> Node:
    return w["head.weight"] @ features + w["head.bias"]


def label_output(w: Nodes, encoding: Encoding) -> Node:
    """The outputs [O] of a label for the whole."""
    return head(w, joined([mean(encoding.steps), encoding.last]))


def step_outputs(w: Nodes, encoding: Encoding) -> list[Node]:
    """The outputs [O] of each step."""
    return [head(w, features) for features in encoding.steps]


class Decoder:
    """What comes of an encoding, one element after the other; ``state`` may be kept and put back."""

    def __init__(self, shape: Shape, w: Nodes, encoding: Encoding) -> None:
        self.shape, self.w, self.encoding = shape, w, encoding
        self.state: list[State] = [
            tuple(joined(parts) for parts in zip(*directions, strict=True)) for directions in encoding.final
        ]
        self.looked: list[Array] = []  # of each step, how much at each step of the encoder

    def step(self, before: Array) -> Node:
        """The outputs [O] where ``before`` came before."""
        below, after = Node(before), []
        for k, state in enumerate(self.state):
            after.append(step(self.shape.cell, self.w, "decoder", f"l{k}", below, state))
            below = after[-1][0]
        self.state = after
        if self.shape.attention:
            below = self.attend(below)
        return head(self.w, below)

    def attend(self, h: Node) -> Node:
        """tanh(W [context, h])"""
        steps = stacked(self.encoding.steps)
        weights = softmax(steps @ h)
        self.looked.append(weights.value)
        return tanh(self.w["attention.weight"] @ joined([steps.turned @ weights, h]))


def one_hot(number: int, size: int) -> Array:
    return (np.arange(size) == number).astype(float)


def taught(shape: Shape, w: Nodes, encoding: Encoding, before: list[Array]) -> list[Node]:
    """The outputs of a decoder that is told the truth: ``before`` are what comes before each element."""
    decoder = Decoder(shape, w, encoding)
    return [decoder.step(x) for x in before]
