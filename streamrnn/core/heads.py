"""Heads: from the states of the trunk to predictions, and back from a window's targets to the gradient of its states.

``predict`` reads the one state just computed. ``window_gradient`` owns a window whole: it is given a run's states h
(T, H), the inputs x (T, D) and lags beside them and the targets (T, Y), and gives the mean loss and dh (T, H), while
the gradient of its own weights is added to theirs. How states and targets belong together is the head's business alone;
the heads here look at each step by itself, so one loop serves both of them: a linear readout ``raw = W h + b``, learned
with the trunk, and the RLS readout, which has its own way of learning (see ``rls``) and through whose weights the trunk
is trained.
"""

from __future__ import annotations

from streamrnn.core import hidden, kinds, losses, rls
from streamrnn.core.arrays import F1, T1, T2, Hyper, Model, Plan, Scratch
from streamrnn.core.jit import ZERO, internal, jit
from streamrnn.core.linear import copy, dot
from streamrnn.core.vector import fma


@internal
def predict(plan: Plan, model: Model, scratch: Scratch, out: F1) -> None:
    """out (O,) float64: standardised values or probabilities, from the first state in scratch.

    Here and below, outputs that are not in use yet have no part: their probability is 0.
    """
    seen = hidden.read(plan, scratch, scratch.h[0], scratch.z)
    if plan.rls == 1:
        regressors(seen[: plan.n_read], scratch.x[0], scratch.lags[0], scratch.phi)
        rls.predict(model.readout, scratch.phi, plan.newest_at, scratch.workspace, scratch.expert_predictions, out)
    else:
        n = model.outputs_in_use[0]
        linear_forward(seen, scratch.head_w[:n], scratch.head_b[:n], scratch.raw[:n])
        losses.publish(plan.loss, scratch.raw[:n], out[:n])
        out[n:] = 0.0


@internal
def window_gradient(
    plan: Plan, hyper: Hyper, model: Model, scratch: Scratch, h: T2, x: T2, lags: T2, targets: T2, dh: T2, read: bool
) -> float:
    """Mean loss over the known elements of targets (T, Y), NaN = unknown; overwrites dh (T, H).

    ``read``: h is the one step that ``predict`` read last, with the same weights, so the hidden layer stands as it is.
    So does the raw output, unless several models predicted (RLS) or the target brought an output into use.
    """
    known = ZERO
    for t in range(h.shape[0]):
        known += losses.known_elements(plan.loss, targets[t], scratch.raw.shape[0])
    share = dh.dtype.type(1.0 / known)  # a window ends with a step whose target waits, so there is at least one
    total, n = 0.0, model.outputs_in_use[0]
    raw, draw = scratch.raw[:n], scratch.draw[:n]
    for t in range(h.shape[0]):
        dh[t, :] = dh.dtype.type(0)
        if losses.any_known(targets[t]):
            seen = h[t]
            if plan.hidden > 0:
                seen = scratch.z if read else hidden.read(plan, scratch, h[t], scratch.z)
            if not read or plan.rls == 1 or plan.open_classes == 1:
                raw_output(plan, model, scratch, seen, x[t], lags[t])
            total += losses.loss_gradient(plan.loss, raw, targets[t], scratch.levels, hyper.huber_delta, draw)
            for o in range(n):
                draw[o] *= share
            dseen = dh[t]
            if plan.hidden > 0:
                dseen = scratch.dz
                dseen[:] = dh.dtype.type(0)
            if plan.rls == 1:
                rls.backward(model.readout.full.weight, draw, dseen[: plan.n_read])
            else:
                linear_backward(seen, scratch.head_w[:n], draw, scratch.dhead_w[:n], scratch.dhead_b[:n], dseen)
            if plan.hidden > 0:
                hidden.backward(plan, scratch, h[t], dh[t])
    return total / known


@internal
def keep(plan: Plan, scratch: Scratch, made_from: T1) -> None:
    """made_from (kept,) = what the regressors in ``scratch.phi`` were made from, the constant left out.

    Of a layer whose weights stay as they are, that is what it read: a fraction of its units. A trained one would say
    something else by the time it is asked again, and least squares need what was said then.
    """
    lags = scratch.lags[0]
    n = made_from.shape[0] - lags.shape[0]
    if recalled_through_layer(plan):
        copy(made_from[:n], scratch.h[0])
    else:
        copy(made_from[:n], scratch.phi[:n])
    copy(made_from[n:], lags)


@internal
def recall(plan: Plan, scratch: Scratch, made_from: T1) -> None:
    """scratch.phi_replayed (R,) = the regressors made from that; the hidden layer reads it anew."""
    phi, n = scratch.phi_replayed, made_from.shape[0] - scratch.lags.shape[1]
    seen = made_from[:n]
    if recalled_through_layer(plan):
        seen = hidden.read(plan, scratch, seen, scratch.z)
        regressors(seen[: plan.n_read], made_from[n - scratch.x.shape[1] : n], made_from[n:], phi)
    else:
        copy(phi[: made_from.shape[0]], made_from)
        phi[made_from.shape[0]] = 1.0


@internal
def recalled_through_layer(plan: Plan) -> bool:
    """Whether regressors are kept as what a layer made them from, which says the same whenever it is asked."""
    return bool(plan.rule == kinds.FIXED and plan.hidden > 0)


@internal
def raw_output(plan: Plan, model: Model, scratch: Scratch, h: T1, x: T1, lags: T1) -> None:
    """scratch.raw (O,) from what is seen of a step, h, its inputs x (D,) and its lags."""
    if plan.rls == 1:
        # Not into scratch.phi: the record at work is learned from that after the window.
        regressors(h[: plan.n_read], x, lags, scratch.phi_replayed)
        rls.replay(model.readout, scratch.phi_replayed, scratch.raw)
    else:
        n = model.outputs_in_use[0]
        linear_forward(h, scratch.head_w[:n], scratch.head_b[:n], scratch.raw[:n])


@jit
def regressors(h: T1, x: T1, lags: T1, phi: F1) -> None:
    """phi (R,) of a step = [h, x, lags, 1]."""
    H, D = h.shape[0], x.shape[0]
    copy(phi[:H], h)
    copy(phi[H : H + D], x)
    copy(phi[H + D : phi.shape[0] - 1], lags)
    phi[phi.shape[0] - 1] = 1.0


@jit
def linear_forward(h: T1, w: T2, b: T1, raw: T1) -> None:
    """raw (O,) = w (O, H) h (H,) + b (O,)."""
    for o in range(raw.shape[0]):
        raw[o] = b[o] + dot(w[o], h)


@jit
def linear_backward(h: T1, w: T2, draw: T1, dw: T2, db: T1, dh: T1) -> None:
    """Adds to dw (O, H), db (O,) and dh (H,) from draw (O,), the gradient of the raw output."""
    zero = draw.dtype.type(0)
    for o in range(draw.shape[0]):
        d = draw[o]
        if d == zero:
            continue
        row, drow = w[o], dw[o]
        for j in range(h.shape[0]):
            drow[j] = fma(d, h[j], drow[j])
            dh[j] = fma(d, row[j], dh[j])
        db[o] += d
