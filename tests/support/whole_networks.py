"""A network for whole sequences whose kernels are called one by one: weights, gradients, buffers that hold NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamrnn.core.arrays import Layer
from streamrnn.core.cells import CELLS
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.kinds import LABELS
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.core.sequences.workspace import Buffers, new_buffers, new_network, new_scratch
from streamrnn.core.tables import interpreted


def plan_with(**changes: Any) -> SequencePlan:
    """A plan of labels by step, read forwards, of up to twelve steps, unless it is said otherwise."""
    usual: dict[str, Any] = dict.fromkeys(SequencePlan._fields, 0)
    usual |= {
        "kind": LABELS,
        "directions": 1,
        "lookahead": -1,
        "stack": 1,
        "max_steps": 12,
        "max_symbols": 5,
        "end": -1,
    }
    return SequencePlan(**{**usual, "beam": 1, "average": 0.0, **changes})


class WholeNetwork:
    """One network over buffers in which nothing but what kernels write is a number."""

    def __init__(
        self, layout: SequenceLayout, plan: SequencePlan, theta: np.ndarray | None = None, lookups: int = 0
    ) -> None:
        self.layout, self.plan = layout, plan
        self.theta = layout.initialise(3, np.float64) if theta is None else theta
        self.grad = np.zeros_like(self.theta)
        precision: Any = self.theta.dtype
        self.buffers: Buffers = new_buffers(layout, plan, lookups, precision)
        self.network: Network = new_network(layout, self.theta, self.grad, self.buffers)
        self.work: SequenceScratch = new_scratch(layout, plan, layout.n_inputs, precision)
        self.unwrite()

    def unwrite(self) -> None:
        """Whatever a kernel reads it must have written before; but the state before a bounded pass stays zero."""
        for place, tape in enumerate(self.buffers.encoder + self.buffers.decoder):
            bounded = len(self.network.dlast) <= place < len(self.buffers.encoder)
            for name, array in tape._asdict().items():
                if name == "state":
                    array[:, int(bounded) :] = np.nan
                elif name != "looked_up":
                    array[...] = np.nan
        for array in (self.buffers.encoded, self.buffers.dencoded, self.buffers.dlast, self.buffers.inputs):
            array[...] = np.nan
        for array in self.work:
            if array.dtype.kind == "f":
                array[...] = np.nan

    def rows(self, table: np.ndarray) -> list[Layer]:
        """The layers that the rows of ``network.encoder`` or ``network.decoder`` name."""
        return [interpreted(Layer)(self.network.x, row, 0) for row in table]


def layout_of(
    cell: str, inputs: int = 3, hidden: int = 5, layers: int = 1, outputs: int = 2, **more: Any
) -> SequenceLayout:
    """A layout of these sizes, of labels by step unless it is said otherwise."""
    return SequenceLayout(CELLS[cell], inputs, hidden, layers, outputs, **{"kind": LABELS, **more})


def central_differences(
    arrays: dict[str, np.ndarray], value: Callable[[], float], step: float = 1e-5
) -> dict[str, Any]:
    """The derivative of ``value()`` with respect to each entry of these arrays, which are changed and put back."""
    found = {}
    for name, array in arrays.items():
        found[name] = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = value()
            array[index] = kept - step
            below = value()
            array[index] = kept
            found[name][index] = (above - below) / (2 * step)
    return found
