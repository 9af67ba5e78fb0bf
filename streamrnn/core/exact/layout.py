"""Names, shapes and places of the weights of an exact cell and its readout in theta, and how they begin.

Order in theta: the cell's rows, each U long (units padded to whole vectors; of the padding nothing is ever read, so its
gradient is zero); the hidden layer's weights (stored transposed) and biases; the head's. PyTorch has no such cells: the
names are those of their sources, the shapes PyTorch's (units first).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streamrnn.core.arrays import T2, Array
from streamrnn.core.declarations import zeros
from streamrnn.core.exact.cells import ELSTM, GLRU, STATES, rows, traces
from streamrnn.core.exact.constants import LARGEST_NU, LARGEST_OM, LEAST_OM, nu_least
from streamrnn.core.exact.elstm import LARGEST_WF, LARGEST_WZ, wf_row, wz_row
from streamrnn.core.exact.lru import NU, OM
from streamrnn.core.layout import Axes, Named, ReadoutTensors, cut
from streamrnn.core.vector import LANES

RADII = 0.9, 0.9999
"""Of units of the LRU and the GLRU, between which they begin."""
LEAST_PHASE = 1e-5
"""Phases are kept as their logarithm."""
SHORTEST, LONGEST = 10.0, 1_000.0
"""Time constants: the shortest of slow units, and the longest of the eLSTM's, at least."""
FASTEST = 0.05
"""Of the eLSTM's, after which a twentieth is left of a step's state: what it was told one step ago is only a difference
between units that forget at once and others. Where all remembered one step at least, a target that follows from the
input before took twice as many lessons, and 4 of 10 runs over Reber words kept making errors; none does now."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
OPEN_F = 5.0
"""A gate that forgets after 150 steps if its inputs say nothing."""


@dataclass(frozen=True)
class ExactLayout(Named):
    """Sizes of one network: ``cell`` code, D inputs, N hidden units, O outputs, M units of the hidden layer (0 = none).

    ``fixed``: a bank of filters, whose weights stay as they begin; ``alone``: it hears a series' own past, and nothing
    else.

    >>> ExactLayout(cell=5, n_inputs=8, hidden_size=32, n_outputs=1).size
    969
    """

    cell: int
    n_inputs: int
    hidden_size: int
    n_outputs: int
    hidden_layer: int = 0
    fixed: bool = False
    alone: bool = False

    num_layers = 1
    n_rows = 0
    gate_width = 0

    @property
    def units(self) -> int:
        """U: units padded to whole vectors."""
        return padded(self.hidden_size)

    @property
    def state_count(self) -> int:
        """C: vectors of length U that are carried."""
        return STATES[self.cell]

    @property
    def traces(self) -> int:
        """Vectors of length U that the sensitivities are."""
        return traces(self.cell, self.n_inputs)

    @property
    def slow(self) -> int:
        """Parameters, the first, that learn at a tenth of the rate: radii and phases."""
        return 0 if self.cell == ELSTM else 2 * self.units

    @property
    def read(self) -> int:
        """Numbers that are handed to the hidden layer, or where there is none to the head: the cell's, then inputs."""
        return self.hidden_size * (1 if self.cell == ELSTM else 2) + self.n_inputs

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes in theta's order."""
        M, O = self.hidden_layer, self.n_outputs  # noqa: E741
        head = M + self.n_inputs if M else self.read
        return [(rows(self.cell, self.n_inputs), self.units), (self.read if M else 0, M), (M,), (O, head), (O,)]

    @property
    def size(self) -> int:
        """P: number of parameters, the padding's counted."""
        return sum(map(math.prod, self.shapes))

    @property
    def padding(self) -> int:
        return rows(self.cell, self.n_inputs) * (self.units - self.hidden_size)

    @property
    def dense(self) -> int:
        """All of them: nothing is looked up."""
        return self.size

    @property
    def head(self) -> int:
        """Where the head's weights begin among the parameters."""
        return sum(map(math.prod, self.shapes[:-2]))

    def cell_rows(self, theta: Array) -> T2:
        """The cell's weights in theta."""
        view: Array = cut(theta, self.shapes)[0]
        return view

    def readout(self, theta: Array) -> ReadoutTensors:
        """What is between the cell and the outputs."""
        return ReadoutTensors(*cut(theta, self.shapes)[1:])

    def constrain(self, theta: Array, memory: int | str | None) -> None:
        """The cell's weights in theta within their bounds, in place, as they are after each optimiser step."""
        w, D = self.cell_rows(theta), self.n_inputs
        bounds = {wf_row(D): (-LARGEST_WF, LARGEST_WF), wz_row(D): (-LARGEST_WZ, LARGEST_WZ)}
        if self.cell != ELSTM:
            bounds = {NU: (nu_least(memory), LARGEST_NU), OM: (LEAST_OM, LARGEST_OM)}
        for row, (least, largest) in bounds.items():
            np.clip(w[row], w.dtype.type(least), w.dtype.type(largest), out=w[row])

    def named(self, theta: Array) -> dict[str, Array]:
        w, D = self.cell_rows(theta)[:, : self.hidden_size], self.n_inputs
        tensors: dict[str, Array] = {}
        at = 0

        def take(name: str, n: int | None = None) -> None:
            nonlocal at
            tensors[f"rnn.{name}"] = w[at] if n is None else w[at : at + n].T
            at += 1 if n is None else n

        if self.cell == ELSTM:
            for gate in "fz":
                take(f"weight_{gate}", D)
                take(f"bias_{gate}")
                take(f"weight_c{gate}")
            take("weight_o", D)
            take("bias_o")
        else:
            take("nu_log")
            take("theta_log")
            take("B_re", D)
            take("B_im", D)
            if self.cell == GLRU:
                for gate in "fi":
                    take(f"weight_{gate}", D)
                    take(f"bias_{gate}")
        hidden_w, hidden_b, head_w, head_b = self.readout(theta)
        if self.hidden_layer:
            tensors["hidden.weight"], tensors["hidden.bias"] = hidden_w.T, hidden_b
        if self.n_outputs:
            tensors["head.weight"], tensors["head.bias"] = head_w, head_b
        return tensors

    def axes(self, theta: Array) -> dict[str, Axes]:
        read = "hidden and inputs" if self.hidden_layer else "said and inputs"
        known = {
            "hidden.weight": Axes("hidden", "said and inputs"),
            "hidden.bias": Axes("hidden"),
            "head.weight": Axes("outputs", read),
            "head.bias": Axes("outputs"),
        }
        return {
            name: known.get(name) or Axes("units", "inputs" if view.ndim == 2 else None)
            for name, view in self.named(theta).items()
        }

    def initialise(self, seed: int, dtype: type, memory: int | None = None, *, symbols: bool = False) -> Array:  # noqa: ARG002
        """A fresh theta (P,), the same on every machine for the same seed.

        ``memory``: steps that matter; None: nobody said how far back it matters. Half of the units of the LRU and the
        GLRU begin with time constants up to ten times as long, the others as without it, since what is short is to be
        learned as well; those of the eLSTM are spread from FASTEST to ten times as long, and to LONGEST at least.
        """
        rng = np.random.Generator(np.random.PCG64(seed))
        theta = zeros(self.size, dtype)
        tensors = self.named(theta)
        if self.fixed:
            self._start_bank(rng, tensors)
            return theta
        if self.cell == ELSTM:
            self._start_elstm(rng, tensors, memory)
        else:
            self._start_lru(rng, tensors, memory)
        if self.hidden_layer:
            shape = tensors["hidden.weight"].shape
            tensors["hidden.weight"][...] = rng.standard_normal(shape) / math.sqrt(self.read + 1)
        if self.n_outputs:
            head = tensors["head.weight"]
            n = self.hidden_layer or head.shape[1]
            head[:, :n] = 0.1 * rng.standard_normal((len(head), n)) / math.sqrt(n)
        return theta

    def _start_lru(self, rng: np.random.Generator, tensors: dict[str, Array], memory: int | None) -> None:
        """Radii uniform on the ring, as in Orvieto et al. 2023, but for slow units; phases evenly spaced.

        Evenly spaced, no seed is without one that a lag needs. A slow unit turns by less than two radians while it
        forgets, so it holds what it was told instead of an average over its turns.
        """
        N, D = self.hidden_size, self.n_inputs
        slow = 0 if memory is None else N - N // 2
        steps = _time_constants(slow, SHORTEST, 10.0 * (memory or 1))
        squares = RADII[0] ** 2 + rng.random(N - slow) * (RADII[1] ** 2 - RADII[0] ** 2)
        phases = rng.permutation(math.pi * (np.arange(N - slow) + 0.5) / (N - slow))
        slow_phases = np.maximum(rng.random(slow) * 2.0 / steps, LEAST_PHASE)
        tensors["rnn.nu_log"][:] = np.log(np.concatenate([-0.5 * np.log(squares), -np.log1p(-1.0 / steps)]))
        tensors["rnn.theta_log"][:] = np.log(np.concatenate([phases, slow_phases]))
        for part in ("B_re", "B_im"):
            tensors[f"rnn.{part}"][...] = rng.standard_normal((N, D)) / math.sqrt(2 * D)
        if self.cell == GLRU:
            tensors["rnn.bias_f"][:] = OPEN_F
            tensors["rnn.bias_i"][:] = 1.0

    def _start_bank(self, rng: np.random.Generator, tensors: dict[str, Array]) -> None:
        """Filters that remember 1 to 12 steps under random tanh units.

        Radii are even in area from .3 to .92. Phases crowd at the slow end: where nothing but a series' own past is
        heard they go up to pi / 4, for what is faster is mostly noise to forecasts; inputs come as they like, and what
        one of them was a step ago takes phases up to pi. Which radius goes with which phase is not drawn but follows
        from the golden ratio, in whose multiples each newcomer falls into the widest gap: drawn, some seeds had gaps
        that they paid for by half as much error again. What a unit takes in has the same size for all, so that none
        idles; of tanh units, who each look in another direction, weights are of length 1: they bend, and do not yet say
        one of two things only.
        """
        N, D = self.hidden_size, self.n_inputs
        even = (np.arange(N) + 0.5) / N
        places = np.argsort(np.argsort(np.arange(N) * GOLDEN % 1.0))
        phases = math.pi / 4 * even**1.5 if self.alone else math.pi * even**3
        tensors["rnn.nu_log"][:] = np.log(-0.5 * np.log(0.3**2 + even * (0.92**2 - 0.3**2)))
        tensors["rnn.theta_log"][:] = np.log(phases[places])
        turned = 2 * math.pi * rng.random((N, D))
        tensors["rnn.B_re"][...] = np.cos(turned) * math.sqrt(2 / D)
        tensors["rnn.B_im"][...] = np.sin(turned) * math.sqrt(2 / D)
        if self.hidden_layer:
            weights = directions(rng, self.hidden_layer, self.read + 1)
            tensors["hidden.weight"][...], tensors["hidden.bias"][:] = weights[:, :-1], weights[:, -1]

    def _start_elstm(self, rng: np.random.Generator, tensors: dict[str, Array], memory: int | None) -> None:
        """A unit whose gate is sigmoid(log tau) keeps tau / (1 + tau) of its state, of which the time constant is about
        1 + tau; units hear nothing of their own at first."""
        N, D = self.hidden_size, self.n_inputs
        for gate, scale in (("f", 0.5), ("z", 1.0), ("o", 0.5)):
            tensors[f"rnn.weight_{gate}"][...] = scale * rng.standard_normal((N, D)) / math.sqrt(D)
        longest = max(LONGEST, 10.0 * (memory or 1))
        tensors["rnn.bias_f"][:] = np.log(_time_constants(N, FASTEST, longest))
        tensors["rnn.bias_o"][:] = 1.0


def padded(units: int) -> int:
    """Units as they stand in arrays: as many as fill whole vectors.

    >>> padded(5), padded(16)
    (8, 16)
    """
    return -(-units // LANES) * LANES


def _time_constants(n: int, shortest: float, longest: float) -> Array:
    """n steps from one to the other, evenly spaced by their logarithm."""
    at = (np.arange(n) + 0.5) / n
    steps: Array = np.exp(math.log(shortest) + at * (math.log(longest) - math.log(shortest)))
    return steps


def directions(rng: np.random.Generator, n: int, length: int) -> Array:
    """n random rows of length 1, any ``length`` of them that stand together at right angles (Gram and Schmidt).

    Written out for the reason that ``core.layout.orthogonal`` has.
    """
    rows = np.zeros((n, length))
    for i in range(n):
        others, row = rows[i - i % length : i], rng.standard_normal(length)
        row -= (others * (others * row).sum(axis=1)[:, None]).sum(axis=0)
        rows[i] = row / np.sqrt((row * row).sum())
    return rows
