"""Exact cells by themselves: what they carry along is the slope of their states, within the bounds they keep."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from streamrnn.core.arrays import Array
from streamrnn.core.exact import constants, elstm, lru
from streamrnn.core.exact.cells import ELSTM, GLRU, LRU, STATES, rows, traces
from streamrnn.core.jit import jit
from streamrnn.core.vector import LANES
from tests.support.slopes import slope

D, STEPS = 4, 12
CELLS = pytest.mark.parametrize("cell", [LRU, GLRU, ELSTM], ids=["lru", "glru", "elstm"])


class Cell(NamedTuple):
    """One cell of N units and all that its kernels read and write."""

    w: Array
    dw: Array
    lam: Array
    work: Array
    state: Array
    trace: Array
    shown: Array
    out: Array
    dh: Array
    total: Array


@jit
def run(kind: int, skip: bool, c: Cell, xs: Array, deltas: Array) -> float:
    """The loss sum delta_t . out_t of inputs xs (T, D), from zero; c.total becomes the sum of the gradients."""
    loss = 0.0
    if kind != ELSTM:
        constants.write(c.w[lru.NU], c.w[lru.OM], c.lam)
    for t in range(xs.shape[0]):
        x, gated = xs[t], kind == GLRU
        for j in range(x.shape[0]):
            if x[j] != 0.0 or not skip:
                c.shown[j] = 1
        if kind == ELSTM:
            elstm.forward(c.w, c.work, c.state, x, c.out)
            elstm.advance(c.w, c.work, c.state, c.trace, c.shown, x)
        else:
            lru.forward(gated, c.w, c.lam, c.work, c.state, x, c.out)
            lru.advance(gated, c.lam, c.work, c.state, c.trace, c.shown, x)
        for k in range(c.dh.shape[0]):
            c.dh[k] = deltas[t, k]
            loss += c.dh[k] * c.out[k]
        if kind == ELSTM:
            elstm.gradient(c.dw, c.work, c.state, c.trace, c.shown, x, c.dh)
        else:
            lru.gradient(gated, c.w, c.dw, c.lam, c.work, c.trace, c.shown, x, c.dh)
        for i in range(c.dw.shape[0]):
            for k in range(c.dw.shape[1]):
                c.total[i, k] += c.dw[i, k]
    return loss


def cell_of(kind: int, units: int, dtype: type = np.float64, seed: int = 0) -> Cell:
    """Random weights, of the padding as well; what is written over begins with numbers that would be seen."""
    U = -(-units // LANES) * LANES
    w = 0.5 * np.random.default_rng(seed).standard_normal((rows(kind, D), U))
    if kind != ELSTM:
        w[lru.NU] -= 2.0
    else:  # so that no step back is held within its bounds: that would be no slope
        w[elstm.wf_row(D)] *= 0.2
        w[elstm.wz_row(D)] *= 0.2
    read = units * STATES[kind] + D
    return Cell(
        w.astype(dtype), np.full(w.shape, 7.0, dtype), np.zeros((6, U), dtype), np.full((11, U), 7.0, dtype),
        np.zeros((STATES[kind], U), dtype), np.zeros((traces(kind, D), U), dtype), np.zeros(D, np.uint8),
        np.zeros(read, dtype), np.zeros(read, dtype), np.zeros(w.shape, dtype),
    )  # fmt: skip


def from_zero(kind: int, cell: Cell, xs: Array, deltas: Array, *, skip: bool = True) -> float:
    for array in (cell.state, cell.trace, cell.shown, cell.total):
        array[:] = 0
    return run(kind, skip, cell, xs, deltas)


def inputs_and_deltas(kind: int, units: int, dtype: type = np.float64) -> tuple[Array, Array]:
    """The second input is silent at first, the third always; inputs themselves have no gradient."""
    rng = np.random.default_rng(1)
    xs, deltas = rng.standard_normal((STEPS, D)), rng.standard_normal((STEPS, units * STATES[kind] + D))
    xs[:5, 1] = xs[:, 2] = 0.0
    deltas[:, -D:] = 0.0
    return xs.astype(dtype), deltas.astype(dtype)


@CELLS
@pytest.mark.parametrize("units", [5, 8, 19])
def test_gradients_are_central_differences_and_padding_has_none(cell: int, units: int) -> None:
    subject, (xs, deltas) = cell_of(cell, units), inputs_and_deltas(cell, units)
    from_zero(cell, subject, xs, deltas)
    gradient = subject.total.copy()
    expected = slope(lambda: from_zero(cell, subject, xs, deltas), subject.w)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(gradient[:, units:], 0.0)
    assert (gradient[:, :units] != 0.0).mean() > 0.6


@CELLS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_were_never_shown_are_left_out_with_the_same_bits(cell: int, dtype: type) -> None:
    subject, (xs, deltas) = cell_of(cell, 9, dtype), inputs_and_deltas(cell, 9, dtype)
    loss = from_zero(cell, subject, xs, deltas, skip=False)
    everything = [array.copy() for array in (subject.total, subject.trace, subject.state)]
    assert subject.shown.tolist() == [1, 1, 1, 1]
    assert from_zero(cell, subject, xs, deltas) == loss
    assert subject.shown.tolist() == [1, 1, 0, 1]
    for array, expected in zip((subject.total, subject.trace, subject.state), everything, strict=True):
        np.testing.assert_array_equal(array, expected)
    subject.trace[2 if cell == ELSTM else 4] = np.nan  # of the third input: nobody looks at it
    subject.total[:] = 0
    run(cell, True, subject, xs[:1], deltas[:1])
    assert np.isfinite(subject.total).all()


@CELLS
def test_what_stands_in_the_padding_changes_nothing(cell: int) -> None:
    subject, (xs, deltas) = cell_of(cell, 11), inputs_and_deltas(cell, 11)
    loss = from_zero(cell, subject, xs, deltas)
    gradient, state = subject.total.copy(), subject.state.copy()
    subject.w[:, 11:] += 0.3
    assert from_zero(cell, subject, xs, deltas) == loss
    np.testing.assert_array_equal(subject.total, gradient)
    np.testing.assert_array_equal(subject.state[:, :11], state[:, :11])


@CELLS
def test_a_step_without_traces_moves_the_state_alone(cell: int) -> None:
    subject, (xs, deltas) = cell_of(cell, 8), inputs_and_deltas(cell, 8)
    from_zero(cell, subject, xs, deltas)
    blind = subject._replace(trace=np.zeros((0, 8)), state=np.zeros_like(subject.state))
    step_without_traces(cell, blind, xs)
    np.testing.assert_array_equal(blind.state, subject.state)


@jit
def step_without_traces(kind: int, c: Cell, xs: Array) -> None:
    for t in range(xs.shape[0]):
        if kind == ELSTM:
            elstm.forward(c.w, c.work, c.state, xs[t], c.out)
            elstm.advance(c.w, c.work, c.state, c.trace, c.shown, xs[t])
        else:
            lru.forward(kind == GLRU, c.w, c.lam, c.work, c.state, xs[t], c.out)
            lru.advance(kind == GLRU, c.lam, c.work, c.state, c.trace, c.shown, xs[t])


def test_a_step_back_of_an_elstm_neither_grows_nor_turns_over() -> None:
    """c = 10 and f = 1/2: J = 1/2 + 10/4 wf, which is held within -1 and 1."""
    for wf, factor in ((2.0, 1.0), (-2.0, -1.0), (0.1, 0.75)):
        subject = cell_of(ELSTM, 8)
        subject.w[:] = 0.0
        subject.w[elstm.wf_row(D)] = wf
        subject.w[D] = -10.0 * wf  # f = sigm(0)
        subject.state[:], subject.trace[:] = 10.0, 3.0
        step_without_traces(ELSTM, subject, np.zeros((1, D)))
        np.testing.assert_allclose(subject.trace[D], factor * 3.0 + 10.0 * 0.25, rtol=1e-12)


@jit
def constrain_elstm(w: Array) -> None:
    elstm.constrain(w)


def test_what_units_say_to_themselves_is_bounded_and_nothing_else_is() -> None:
    w = np.full((rows(ELSTM, D), 8), 100.0)
    w[:, ::2] = -100.0
    expected = w.copy()
    expected[elstm.wf_row(D)] *= 0.02
    expected[elstm.wz_row(D)] *= 0.04
    constrain_elstm(w)
    np.testing.assert_allclose(w, expected)
