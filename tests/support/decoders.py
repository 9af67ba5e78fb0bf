"""A decoder above an encoder that has run already, drawn at random: as arrays for the kernels, and as the slow twin.

What the kernels must write before they read it is filled with NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamrnn.core.arrays import Layer
from streamrnn.core.cells import CELLS, GATES, STATES
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.tables import table_of
from tests.oracle.decoder import Decoder, Gradients

Array = np.ndarray


@dataclass
class Case:
    """What is drawn: ``symbols`` classes, of which ``used`` are in use, or numbers of so many ``levels``."""

    cell: str = "lstm"
    layers: int = 1
    directions: int = 2
    attention: bool = True
    symbols: int = 5
    used: int = 5
    levels: int = 0
    units: int = 3  # H, of each direction
    T: int = 4
    most: int = 6
    beam: int = 1
    end: int = 1
    dtype: Any = np.float64
    seed: int = 5
    scale: float = 0.9

    @property
    def outputs(self) -> int:
        return self.levels or self.symbols

    @property
    def steps(self) -> int:
        """M."""
        return self.most + (0 if self.levels else 1)


class Built:
    """The kernels' arrays of a case, and their weights by PyTorch's names as views of the same memory."""

    def __init__(self, case: Case) -> None:
        self.case, self.rng = case, np.random.default_rng(case.seed)
        self.H, self.Hd = case.units, case.units * case.directions
        self.C, self.code = STATES[CELLS[case.cell]], CELLS[case.cell]
        self.G = GATES[self.code] * self.Hd
        self.S = case.T + 2
        self.alive: list[Any] = []
        self.weights: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.finals = [self.final() for _ in range(case.layers * case.directions)]
        self.network = self.make_network()
        self.scratch = self.make_scratch()
        self.plan = self.make_plan()

    # ---- arrays

    def draw(self, *shape: int) -> Array:
        return self.rng.uniform(-self.case.scale, self.case.scale, shape).astype(self.case.dtype)

    def blank(self, *shape: int) -> Array:
        return np.full(shape, np.nan, self.case.dtype)

    def tensor(self, name: str, *shape: int, transposed: bool = False) -> tuple[Array, Array]:
        """Random weights and the zeros that their gradient is added to."""
        w, dw = self.draw(*shape), np.zeros(shape, self.case.dtype)
        self.weights[name], self.gradients[name] = (w.T, dw.T) if transposed else (w, dw)
        return w, dw

    def final(self) -> Layer:
        """A layer of the encoder, of which nothing but its states is looked at."""
        state = self.blank(self.C, self.S + 1, self.H)
        state[:, self.case.T] = self.draw(self.C, self.H)
        return self.layer_of(self.blank(self.S, 0), self.H, state, {})

    def layer_of(self, x: Array, H: int, state: Array, given: dict[str, Any]) -> Layer:
        steps, G = len(x), GATES[self.code] * H
        none = np.zeros((0, G), self.case.dtype)
        layer = Layer(
            cell=self.code, x=x, looked_up=np.zeros((steps, 0), np.int64), w_ih=none, w_rows=none,
            w_hh=self.blank(H, G), b_ih=self.blank(G), b_hh=self.blank(G), gates=self.blank(steps, G), state=state,
            aux=self.blank(steps, H), dh=self.blank(steps, H), dx=self.blank(0, x.shape[1]),
            carry=self.blank(steps + 1, H), d_ih=self.blank(steps, G), d_hh=self.blank(steps, G), dw_ih=none,
            dw_rows=none, dw_hh=self.blank(H, G), db_ih=self.blank(G), db_hh=self.blank(G),
        )._replace(**given)  # fmt: skip
        self.alive.append(layer)
        return layer

    def decoder_layers(self, inputs: Array, before: Array) -> list[Layer]:
        layers: list[Layer] = []
        x, dx, looked_up = inputs, inputs[:0], before
        for k in range(self.case.layers):
            name = f"decoder.weight_ih_l{k}"
            if k == 0 and self.case.symbols:
                rows, drows = self.tensor(name, self.case.symbols, self.G, transposed=True)
                w_ih = dw_ih = rows[:0]
            else:
                w_ih, dw_ih = self.tensor(name, x.shape[1], self.G, transposed=True)
                rows, drows = w_ih[:0], dw_ih[:0]
            w_hh, dw_hh = self.tensor(f"decoder.weight_hh_l{k}", self.Hd, self.G, transposed=True)
            b_ih, db_ih = self.tensor(f"decoder.bias_ih_l{k}", self.G)
            b_hh, db_hh = self.tensor(f"decoder.bias_hh_l{k}", self.G)
            state = self.blank(self.C, self.case.steps + 1, self.Hd)
            given: dict[str, Any] = {"looked_up": looked_up, "w_ih": w_ih, "w_rows": rows, "w_hh": w_hh, "dx": dx}
            given |= {"dw_ih": dw_ih, "dw_rows": drows, "dw_hh": dw_hh}
            given |= {"b_ih": b_ih, "b_hh": b_hh, "db_ih": db_ih, "db_hh": db_hh}
            if layers:
                given |= {"carry": layers[0].carry, "d_ih": layers[0].d_ih, "d_hh": layers[0].d_hh}
            layers.append(self.layer_of(x, self.Hd, state, given))
            x, dx, looked_up = state[0, 1:], layers[-1].dh, before[:, :0].copy()
        return layers

    def make_network(self) -> Network:
        case, M = self.case, self.case.steps
        inputs = self.blank(M, 1 if case.levels else 0)
        before = np.full((M, 0 if case.levels else 1), -1, np.int64)
        layers = self.decoder_layers(inputs, before)
        w, dw = self.blank(0, self.Hd), self.blank(0, self.Hd)
        if case.attention:
            w, dw = self.tensor("attention.weight", 2 * self.Hd, self.Hd, transposed=True)
        head_w, dhead_w = self.tensor("head.weight", case.outputs, self.Hd)
        head_b, dhead_b = self.tensor("head.bias", case.outputs)
        encoded = self.blank(self.S, self.Hd)
        encoded[: case.T] = self.draw(case.T, self.Hd)
        return Network(
            encoder=np.stack([table_of(layer) for layer in self.finals]),
            decoder=np.stack([table_of(layer) for layer in layers]), x=self.blank(self.S, 0),
            looked_up=np.zeros((self.S, 0), np.int64), encoded=encoded, dencoded=self.blank(self.S, self.Hd),
            dlast=self.blank(case.layers * case.directions, self.C, self.H), inputs=inputs, before=before,
            decoded=layers[-1].state[0, 1:], ddecoded=layers[-1].dh, attention_w=w, dattention_w=dw, head_w=head_w,
            head_b=head_b, dhead_w=dhead_w, dhead_b=dhead_b, tape=self.blank(0),
        )  # fmt: skip

    def make_scratch(self) -> SequenceScratch:
        case, M, B = self.case, self.case.steps, self.case.beam
        Hd, O = self.Hd, case.outputs  # noqa: E741
        width = max(self.S, M)
        shapes = {"logits": (width, O), "dlogits": (width, O), "weights": (M, self.S), "dweights": (M, self.S)}
        shapes |= dict.fromkeys(("context", "dcontext", "attended", "dattended"), (M, Hd))
        shapes |= {"joined": (M, 2 * Hd), "djoined": (M, 2 * Hd), "beam_states": (2 * B, case.layers * self.C, Hd)}
        arrays: dict[str, Array] = {name: self.blank(*shape) for name, shape in shapes.items()}
        arrays |= {"log_probabilities": np.full((width, O), np.nan), "beam_scores": np.full((2 * B, 1), np.nan)}
        arrays |= {"beam_symbols": np.full((2 * B, M + 1), -9), "beam_numbers": np.full((2 * B, 2), -9)}
        arrays |= {"symbols": np.full(M, -9), "said": np.full(width + 1, -9), "said_value": np.full(width + 1, np.nan)}
        return unused(SequenceScratch, case.dtype)._replace(**arrays)

    def make_plan(self) -> SequencePlan:
        case = self.case
        return unused(SequencePlan, case.dtype)._replace(
            directions=case.directions,
            max_symbols=case.most,
            end=-1 if case.levels else case.end,
            attention=int(case.attention),
            beam=case.beam,
        )

    # ---- the twin, and what it says of gradients

    def twin(self) -> Decoder:
        """In float64, whatever the precision of the kernels; a view of today's weights and states."""
        d, T = self.case.directions, self.case.T
        start = [
            tuple(
                np.concatenate([layer.state[c, T] for layer in self.finals[k * d : (k + 1) * d]]).astype(np.float64)
                for c in range(self.C)
            )
            for k in range(self.case.layers)
        ]
        weights = {name: w.astype(np.float64) for name, w in self.weights.items()}
        return Decoder(self.case.cell, weights, self.network.encoded[:T].astype(np.float64), start)

    def gradients_written(self) -> Gradients:
        """What the kernels left behind."""
        d = self.case.directions
        start = [
            tuple(np.concatenate(list(self.network.dlast[k * d : (k + 1) * d, c])) for c in range(self.C))
            for k in range(self.case.layers)
        ]
        return Gradients(self.gradients, self.network.dencoded[: self.case.T], start)


def unused(group: Any, dtype: Any) -> Any:
    """A named tuple of arrays without elements and of numbers that mean nothing."""
    kinds = {"F": np.float64, "I": np.int64, "B": np.bool_, "K": np.uint8, "T": dtype}
    values = []
    for name in group._fields:
        kind = group.__annotations__[name].__forward_arg__
        if kind in {"int", "float"}:
            values.append(-9 if kind == "int" else np.nan)
        else:
            values.append(np.zeros((0,) * int(kind[1]), kinds[kind[0]]))
    return group(*values)
