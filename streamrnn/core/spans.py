"""Which parameters a step concerns: spans of theta, from where to where.

All of them, where nothing is looked up. Of the rows that inputs look up only those in use: the gradient of the others
is zero, and neither weights nor moments of theirs are touched, as PyTorch's SparseAdam has it. So the price of a step
does not grow with the number of symbols. Of an open set of classes the outputs not yet in use are left alone, too.

In theta the rows to look up stand last, and before them the head: weights of the outputs, one row each, then biases.
"""

from __future__ import annotations

from streamrnn.core.arrays import Model, Plan, Scratch
from streamrnn.core.jit import ZERO, internal


@internal
def note_rows(scratch: Scratch, steps: int) -> None:
    """The rows in use are those that the first ``steps`` steps in scratch look up."""
    forget_rows(scratch)
    for t in range(steps):
        for k in range(scratch.looked_up.shape[1]):
            row = scratch.looked_up[t, k]
            if row >= 0:
                add_row(scratch, row)


@internal
def note_batch(model: Model, scratch: Scratch) -> None:
    """The rows in use are those of the whole batch."""
    forget_rows(scratch)
    for row in range(model.in_batch.shape[0]):
        if model.in_batch[row] != 0:
            add_row(scratch, row)


@internal
def forget_rows(scratch: Scratch) -> None:
    """No row is in use."""
    for i in range(scratch.n_rows[0]):
        scratch.in_use[scratch.rows[i]] = False
    scratch.n_rows[0] = 0


@internal
def add_row(scratch: Scratch, row: int) -> None:
    """One more row is in use, if it was not."""
    if not scratch.in_use[row]:
        scratch.in_use[row] = True
        scratch.rows[scratch.n_rows[0]] = row
        scratch.n_rows[0] += 1


@internal
def lay_out(plan: Plan, model: Model, scratch: Scratch) -> int:
    """Write the spans of the outputs and rows in use, and of all else, to scratch.spans; returns how many."""
    spans, n = scratch.spans, ZERO + 1
    spans[0, 0], spans[0, 1] = 0, plan.dense
    if plan.open_classes == 1:
        outputs, used = scratch.head_b.shape[0], model.outputs_in_use[0]
        biases = plan.head + outputs * scratch.head_w.shape[1]
        spans[0, 1] = plan.head + used * scratch.head_w.shape[1]
        spans[1, 0], spans[1, 1] = biases, biases + used
        n += 1
    for i in range(scratch.n_rows[0]):
        start = plan.dense + scratch.rows[i] * plan.width
        spans[n, 0], spans[n, 1] = start, start + plan.width
        n += 1
    return n
