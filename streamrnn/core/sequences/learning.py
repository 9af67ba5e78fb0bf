"""A sequence is learned: its loss, the gradient by back-propagation through all its steps, and the optimiser's step.

Where the weights that predict are the ones that are learned, what the forward pass left still stands, and only what the
answer changed since is computed again: the scaling of numbers, and classes that it brought into use. As with single
steps (``core.tbptt``), a gradient that is not finite is counted and dropped, a batch is a sum of gradients, and of the
rows that are looked up only those in use are touched (``core.spans``): here of the encoder in both its directions, and
of the decoder, whose rows have another width.
"""

from __future__ import annotations

import math

from streamrnn.core import counts, descent, losses, optim
from streamrnn.core.arrays import T1, Hyper, Model, Plan, Scratch
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.sequences import averaging, ctc, decoder, heads, trunk
from streamrnn.core.sequences.arrays import AtWork, Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.kinds import LABEL, LABELS, SEQUENCE, TRANSCRIPT


@internal
def symbols_loss(sequence: SequencePlan, network: Network, work: SequenceScratch, at: AtWork, n: int) -> float:
    """Loss of the symbols in ``work.symbols``, for each of them; ``learn`` goes on from what it leaves.

    Of a transcript after ``scoring.read_out``. Infinity where no path says it.
    """
    if sequence.kind == TRANSCRIPT:
        nats = ctc.forward(work.log_probabilities[: at.steps], work.symbols[: at.elements], work.alpha)
        return nats / max(1, at.elements)
    taught = decoder.teach_symbols(sequence, network, work, at.steps, at.elements, n)
    return decoder.symbols_gradient(work, taught, n)


@internal
def known_elements(
    plan: Plan, sequence: SequencePlan, scratch: Scratch, work: SequenceScratch, at: AtWork, n: int
) -> int:
    """Elements of the loss that the answer makes known, where it is not symbols; ``absorb`` has brought it there."""
    known = ZERO
    for r in range(told_rows(sequence, at)):
        known += losses.known_elements(plan.loss, scratch.targets[0] if sequence.kind == LABEL else work.targets[r], n)
    return known


@jit
def told_rows(sequence: SequencePlan, at: AtWork) -> int:
    """Rows of raw outputs that have an element of the answer beside them, where it is not symbols."""
    return at.elements if sequence.kind == SEQUENCE else min(at.elements, at.steps)


@internal
def numbers_loss(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, network: Network, scratch: Scratch, work: SequenceScratch,
    at: AtWork, n: int, known: int,
) -> float:  # fmt: skip
    """Mean loss over the ``known`` elements of the answer, at least one, and ``work.dlogits`` of it.

    Of labels and classes, too: whatever is predicted element by element. After ``scoring.read_out``.
    """
    rows, value, share = told_rows(sequence, at), 0.0, work.dlogits.dtype.type(1.0 / known)
    if sequence.kind == SEQUENCE:
        decoder.teach_numbers(sequence, network, work, at.steps, work.targets[:rows], n)
    for r in range(rows):
        y, draw = scratch.targets[0] if sequence.kind == LABEL else work.targets[r], work.dlogits[r][:n]
        value += losses.loss_gradient(plan.loss, work.logits[r][:n], y, scratch.levels, hyper.huber_delta, draw)
        scale(draw, share)
    for r in range(rows, at.steps if sequence.kind == LABELS else rows):  # steps without a label
        work.dlogits[r, :] = work.dlogits.dtype.type(0)
    return value / known


@jit
def scale(v: T1, factor: float) -> None:
    """v (m,) *= factor, which is of v's precision."""
    for j in range(v.shape[0]):
        v[j] *= factor


@internal
def learn(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, scratch: Scratch, work: SequenceScratch,
    network: Network, at: AtWork, n: int, loss: float,
) -> bool:  # fmt: skip
    """From the loss and its ``work.dlogits``, or what ``symbols_loss`` left, to the weights. Whether they moved."""
    told = told_steps(sequence, at.elements)
    note_rows(sequence, network, work, at.steps, told)
    within = work.row_spans[: lay_out(plan, sequence, network, work, n)]
    descent.clear(within, scratch.grad)
    if sequence.kind == SEQUENCE:
        decoder.backward(sequence, network, work, at.steps, told, n)
    elif sequence.kind == LABEL:
        heads.label_backward(network, work, at.steps, n)
    else:
        if sequence.kind == TRANSCRIPT and math.isfinite(loss):
            share = 1.0 / max(1, at.elements)
            ctc.gradient(
                work.symbols[: at.elements], n, work.alpha, work.beta, work.log_probabilities, share,
                work.dlogits[: at.steps],
            )  # fmt: skip
        heads.steps_backward(network, work, at.steps, n)
    trunk.backward(network, at.steps)
    # Sums of squares in float64: the norm is finite exactly when every element is, so one test serves them all.
    norm = optim.global_norm(within, scratch.grad)
    if not descent.accept(model, loss, norm):
        return False
    taken = finish(plan, hyper, sequence, model, scratch, work, network, n, loss, norm)
    if taken and model.average.shape[0] > 0:
        decay = averaging.decay_after(sequence.average, model.counters[counts.UPDATES])
        averaging.absorb(model.average, model.theta, decay)
    return taken


@jit
def told_steps(sequence: SequencePlan, elements: int) -> int:
    """Steps of the decoder that say so many elements, the end of symbols among them."""
    return elements + (1 if sequence.end >= 0 else 0)


@internal
def finish(
    plan: Plan, hyper: Hyper, sequence: SequencePlan, model: Model, scratch: Scratch, work: SequenceScratch,
    network: Network, n: int, loss: float, norm: float,
) -> bool:  # fmt: skip
    """As ``descent.finish_window``: the optimiser step, if the gradient completes the batch."""
    gradient, mean = scratch.grad, 1.0
    if plan.lessons_per_step > 1:
        add_to_batch(plan, sequence, model, scratch, work, network, n, loss)
        if model.counters[counts.WINDOWS_IN_BATCH] < plan.lessons_per_step:
            return False
        note_batch(model, work)
        gradient, loss, mean = model.accumulated, model.accumulated_loss[0], 1.0 / plan.lessons_per_step
    within = work.row_spans[: lay_out(plan, sequence, network, work, n)]
    if plan.lessons_per_step > 1:
        norm = mean * optim.global_norm(within, gradient)  # clipping looks at the step to be made
    taken = descent.take_step(plan, hyper, model, within, gradient, scratch.step, loss, norm, mean)
    if plan.lessons_per_step > 1:  # dropped or not, the batch is over
        descent.end_batch(model, within)
    return taken


@internal
def add_to_batch(
    plan: Plan, sequence: SequencePlan, model: Model, scratch: Scratch, work: SequenceScratch, network: Network,
    n: int, loss: float,
) -> None:  # fmt: skip
    """scratch.grad, of that loss, joins the batch."""
    within = work.row_spans[: lay_out(plan, sequence, network, work, n)]
    for s in range(within.shape[0]):
        for p in range(within[s, 0], within[s, 1]):
            model.accumulated[p] += scratch.grad[p]
    for k in range(work.n_rows[0]):
        model.in_batch[work.rows[k]] = 1
    model.accumulated_loss[0] += loss
    model.counters[counts.WINDOWS_IN_BATCH] += 1


# -- which parameters a step concerns ---------------------------------------------------------------------------------


@internal
def note_rows(sequence: SequencePlan, network: Network, work: SequenceScratch, steps: int, told: int) -> None:
    """The rows in use are those that the encoder's steps look up, and then the decoder's, counted from W on."""
    forget_rows(work)
    for t in range(steps):
        for k in range(network.looked_up.shape[1]):
            if network.looked_up[t, k] >= 0:
                add_row(work, network.looked_up[t, k])
    for t in range(told if network.before.shape[1] > 0 else ZERO):
        add_row(work, sequence.rows + network.before[t, 0])


@internal
def note_batch(model: Model, work: SequenceScratch) -> None:
    """The rows in use are those of the whole batch."""
    forget_rows(work)
    for row in range(model.in_batch.shape[0]):
        if model.in_batch[row] != 0:
            add_row(work, row)


@internal
def forget_rows(work: SequenceScratch) -> None:
    """No row is in use."""
    for k in range(work.n_rows[0]):
        work.in_use[work.rows[k]] = False
    work.n_rows[0] = 0


@internal
def add_row(work: SequenceScratch, row: int) -> None:
    """One more row is in use, if it was not."""
    if not work.in_use[row]:
        work.in_use[row] = True
        work.rows[work.n_rows[0]] = row
        work.n_rows[0] += 1


@internal
def lay_out(plan: Plan, sequence: SequencePlan, network: Network, work: SequenceScratch, n: int) -> int:
    """Write the spans of the n outputs and the rows in use, and of all else, to work.row_spans; returns how many."""
    spans, m, width = work.row_spans, ZERO + 1, sequence.encoder_width
    spans[0, 0], spans[0, 1] = 0, plan.dense
    if plan.open_classes == 1:
        outputs, features = network.head_w.shape
        biases = plan.head + outputs * features
        spans[0, 1] = plan.head + n * features
        spans[1, 0], spans[1, 1] = biases, biases + n
        m += 1
    behind = plan.dense + sequence.directions * sequence.rows * width  # the decoder's rows
    for k in range(work.n_rows[0]):
        row = work.rows[k]
        if row >= sequence.rows:
            start = behind + (row - sequence.rows) * sequence.decoder_width
            spans[m, 0], spans[m, 1] = start, start + sequence.decoder_width
            m += 1
        for d in range(sequence.directions if row < sequence.rows else ZERO):
            start = plan.dense + (d * sequence.rows + row) * width
            spans[m, 0], spans[m, 1] = start, start + width
            m += 1
    return m
