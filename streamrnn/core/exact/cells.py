"""The cells whose gradient is carried along: which there are, and who computes each.

A unit's state depends on inputs and on itself alone, so its sensitivity to each of its weights is a number (of complex
units two) that is carried from step to step as the state is: its trace. ``forward`` steps from a state without changing
it, and leaves what else is needed in ``scratch.cell_work``; ``advance`` then has traces and state follow; ``gradient``
multiplies the traces with what comes from above. Letters: D inputs, U units padded to whole vectors, N real ones.

Of a step the order forward, advance, gradient is a must, and each is called once: they share the rows of ``cell_work``.
What forward left is used up by advance (the eLSTM's AF and AZ change their meaning there), and gradient writes over the
new state among it (the LRU's DR and DI), which by then is the carried one. Advance may stand alone behind forward.
"""

from __future__ import annotations

from streamrnn.core.arrays import K1, T1, T2, Plan, Scratch
from streamrnn.core.exact import constants, elstm, lru
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import copy

LRU, GLRU, ELSTM = 3, 4, 5
"""Beside the codes of ``core.cells``."""
STATES = {LRU: 2, GLRU: 2, ELSTM: 1}
"""Vectors of length U that are carried: real and imaginary parts, or c."""
_LRU_RUNS = ((False, 2), (True, 0), (True, 0))
TRACE_RUNS = {
    LRU: _LRU_RUNS,  # of lambda, of B; real parts, then imaginary ones, here and below
    GLRU: (*_LRU_RUNS, *((True, 1),) * 4),  # of F and I, each with its bias
    ELSTM: ((True, 2), (True, 2)),  # of f and z, each with its bias and its weight of c
}
"""Of each cell's sensitivities, run by run: whether there is one for each input, and how many come behind those."""


def rows(cell: int, n_inputs: int) -> int:
    """Vectors of length U that a cell's weights are."""
    D = n_inputs
    return {LRU: 2 + 2 * D, GLRU: 2 + 2 * D + 2 * (D + 1), ELSTM: 2 * (D + 2) + D + 1}[cell]


def traces(cell: int, n_inputs: int) -> int:
    """Vectors of length U that its sensitivities are."""
    return sum(of_inputs * n_inputs + more for of_inputs, more in TRACE_RUNS[cell])


@internal
def forward(plan: Plan, scratch: Scratch, state: T2, x: T1, out: T1) -> None:
    """out (N or 2 N, then D) = what the cell hands up of the step from state (C, U) at inputs x (D,), then x."""
    if plan.cell == ELSTM:
        elstm.forward(scratch.cell_w, scratch.cell_work, state, x, out)
    else:
        lru.forward(plan.cell == GLRU, scratch.cell_w, scratch.constants, scratch.cell_work, state, x, out)
    n = out.shape[0] - x.shape[0]
    copy(out[n:], x)


@internal
def advance(plan: Plan, scratch: Scratch, state: T2, traces: T2, shown: K1, x: T1) -> None:
    """After ``forward`` from that state and x: traces (., U) and state (C, U) follow; no traces: the state alone.

    shown (D,): 0 = the input was zero at this step and all before. Its traces are zero, and nobody looks at them.
    """
    if plan.cell == ELSTM:
        elstm.advance(scratch.cell_w, scratch.cell_work, state, traces, shown, x)
    else:
        lru.advance(plan.cell == GLRU, scratch.constants, scratch.cell_work, state, traces, shown, x)


@internal
def gradient(plan: Plan, scratch: Scratch, state: T2, traces: T2, shown: K1, x: T1, dh: T1) -> None:
    """scratch.dcell_w (., U) = what dh (N or 2 N, ...), the gradient of what was handed up, comes to."""
    if plan.cell == ELSTM:
        elstm.gradient(scratch.dcell_w, scratch.cell_work, state, traces, shown, x, dh)
    else:
        w, dw, lam, work = scratch.cell_w, scratch.dcell_w, scratch.constants, scratch.cell_work
        lru.gradient(plan.cell == GLRU, w, dw, lam, work, traces, shown, x, dh)


@jit
def prepare(plan: Plan, scratch: Scratch) -> None:
    """What follows from the weights, which are within their bounds and stay as they are."""
    if plan.cell != ELSTM:
        constants.write(scratch.cell_w[lru.NU], scratch.cell_w[lru.OM], scratch.constants)


@internal
def constrain(plan: Plan, scratch: Scratch, nu_least: float) -> None:
    """After an optimiser step: weights back within their bounds, and what follows from them."""
    if plan.cell == ELSTM:
        elstm.constrain(scratch.cell_w)
    else:
        constants.constrain(scratch.cell_w[lru.NU], scratch.cell_w[lru.OM], nu_least)
        prepare(plan, scratch)
