"""The slow, obvious decoder: attention, teacher forcing, greedy and beam search in plain NumPy.

It stands on the cells of ``network``, shares no code with the kernels, and goes through one step at a time. Weights are
``decoder.weight_ih_l{k}`` [G, V or 1 or Hd] and so on, ``attention.weight`` [Hd, 2 Hd], where there is one, and
``head.weight`` [O, Hd] and ``head.bias`` [O]. Symbols are inputs as one-hot vectors. Dimensions: n steps of the
decoder, T of the encoder, Hd units.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.oracle.network import BACKWARD, FORWARD, State, Weights, softmax

Array = np.ndarray


@dataclass
class Gradients:
    """Of the decoder's weights, of ``encoded`` and, by layer, of the state it begins with."""

    weights: Weights
    encoded: Array
    start: State


@dataclass
class Decoder:
    """A decoder that looks at ``encoded`` [T, Hd] and begins with ``start``, by layer (h,) or (h, c)."""

    cell: str
    weights: Weights
    encoded: Array
    start: State

    def step(self, x: Array, state: State) -> tuple[Array, State, Any]:
        """Logits of a step with the input x, the state after it, and what its backward needs."""
        kept, after, below = [], [], x
        for k, before in enumerate(state):
            w = [self.weights[f"decoder.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            new, keep = FORWARD[self.cell](*w, below, before)
            kept.append((below, before[0], keep))
            after.append(new)
            below = new[0]
        looked, read, joined = None, below, None
        if "attention.weight" in self.weights:
            looked = softmax(self.encoded @ below)
            joined = np.concatenate([looked @ self.encoded, below])
            read = np.tanh(self.weights["attention.weight"] @ joined)
        logits = self.weights["head.weight"] @ read + self.weights["head.bias"]
        return logits, after, (kept, looked, joined, below, read)

    def run(self, inputs: Array) -> tuple[Array, list[Any]]:
        """Logits [n, O] of steps with inputs [n, I], and the tape."""
        logits, tape, state = [], [], self.start
        for x in inputs:
            out, state, kept = self.step(x, state)
            logits.append(out)
            tape.append(kept)
        return np.array(logits), tape

    def weights_of_attention(self, inputs: Array) -> Array:
        """Where each step looks, [n, T]."""
        return np.array([looked for _, looked, *_ in self.run(inputs)[1]])

    def backward(self, tape: list[Any], dlogits: Array) -> Gradients:
        """All gradients from that of the logits [n, O]."""
        grads = {name: np.zeros_like(w) for name, w in self.weights.items()}
        dencoded = np.zeros_like(self.encoded)
        d_state: State = [tuple(np.zeros_like(part) for part in layer) for layer in self.start]
        for (kept, looked, joined, h, read), d in zip(reversed(tape), reversed(dlogits), strict=True):
            grads["head.weight"] += np.outer(d, read)
            grads["head.bias"] += d
            d_above = self.weights["head.weight"].T @ d
            if looked is not None:
                d_inner = d_above * (1 - read * read)
                grads["attention.weight"] += np.outer(d_inner, joined)
                dcontext, d_above = np.split(self.weights["attention.weight"].T @ d_inner, 2)
                dlooked = self.encoded @ dcontext
                dscores = looked * (dlooked - looked @ dlooked)
                dencoded += np.outer(looked, dcontext) + np.outer(dscores, h)
                d_above = d_above + self.encoded.T @ dscores
            for k in reversed(range(len(self.start))):
                below, h_before, keep = kept[k]
                w_ih, w_hh = self.weights[f"decoder.weight_ih_l{k}"], self.weights[f"decoder.weight_hh_l{k}"]
                dh, *rest = d_state[k]
                d_above, d_state[k], dp, dq = BACKWARD[self.cell](w_ih, w_hh, keep, (dh + d_above, *rest))
                grads[f"decoder.weight_ih_l{k}"] += np.outer(dp, below)
                grads[f"decoder.bias_ih_l{k}"] += dp
                grads[f"decoder.weight_hh_l{k}"] += np.outer(dq, h_before)
                grads[f"decoder.bias_hh_l{k}"] += dq
        return Gradients(grads, dencoded, d_state)

    # ---- symbols

    def one_hot(self, symbols: list[int]) -> Array:
        return np.eye(self.weights["decoder.weight_ih_l0"].shape[1])[symbols]

    def inputs_of(self, symbols: list[int], end: int) -> Array:
        """Inputs of the steps that say these symbols and then the end."""
        return self.one_hot([end, *symbols])

    def log_probabilities(self, symbols: list[int], end: int, used: int) -> Array:
        """Of each symbol, and of the end behind them."""
        logits, _ = self.run(self.inputs_of(symbols, end))
        return np.array([np.log(softmax(z[:used]))[k] for z, k in zip(logits, [*symbols, end], strict=True)])

    def greedy(self, end: int, used: int, most: int) -> tuple[list[int], list[float]]:
        """The likeliest symbol at each step until that is the end, and the probabilities."""
        said: list[int] = []
        probabilities: list[float] = []
        state, before = self.start, end
        while len(said) < most:
            logits, state, _ = self.step(self.one_hot([before])[0], state)
            p = softmax(logits[:used])
            before = int(np.argmax(p))
            if before == end:
                break
            said.append(before)
            probabilities.append(float(p[before]))
        return said, probabilities

    def beam(self, end: int, used: int, most: int, width: int) -> list[int]:
        """The best of a beam: log-probability over length, the end counted; the ended take a place for good."""
        live: list[tuple[float, list[int], State]] = [(0.0, [], self.start)]
        ended: list[tuple[float, list[int]]] = []
        for _ in range(most):
            found = []
            for total, said, state in live:
                logits, after, _ = self.step(self.one_hot([said[-1] if said else end])[0], state)
                scores = total + np.log(softmax(logits[:used]))
                found += [(float(scores[k]), [*said, k], after) for k in range(used)]
            best = sorted(found, key=lambda one: -one[0])[: width - len(ended)]  # stable: ties stay in their order
            ended += [(total / len(said), said[:-1]) for total, said, _ in best if said[-1] == end]
            live = [one for one in best if one[1][-1] != end]
        ended += [(total / len(said), said) for total, said, _ in live]
        return max(ended, key=lambda one: one[0])[1]

    def exhaustive(self, end: int, used: int, most: int) -> list[int]:
        """The best of all there are, found by trying each."""
        others = [k for k in range(used) if k != end]
        scored = []
        for n in range(most + 1):
            for said in itertools.product(others, repeat=n):
                scores = self.log_probabilities(list(said), end, used)
                scored.append((float(scores.mean() if n < most else scores[:-1].mean()), list(said)))
        return max(scored, key=lambda one: one[0])[1]

    # ---- numbers

    def numbers(self, horizon: int) -> list[float]:
        """Each is the next input; of several levels the middle one."""
        said: list[float] = []
        state, before = self.start, 0.0
        for _ in range(horizon):
            logits, state, _ = self.step(np.array([before]), state)
            before = float(logits[len(logits) // 2])
            said.append(before)
        return said
