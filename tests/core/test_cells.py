"""Each cell's forward and backward over a run of steps, against the naive cells and against central differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from streamrnn.core import cells
from tests.oracle.network import BACKWARD, FORWARD

CELLS = ("rnn", "lstm", "gru")
SIZES = [(1, 1, 1), (5, 3, 4), (9, 10, 9)]  # steps, inputs, hidden units: inside and beyond the unrolled blocks


@dataclass
class Run:
    """One layer over T steps, with weights in PyTorch's orientation and a random gradient from above."""

    cell: str
    x: np.ndarray
    w_ih: np.ndarray
    w_hh: np.ndarray
    b_ih: np.ndarray
    b_hh: np.ndarray
    h0: np.ndarray
    c0: np.ndarray
    dh: np.ndarray

    @classmethod
    def random(cls, cell: str, steps: int, inputs: int, hidden: int, dtype: Any) -> Run:
        rng, rows = np.random.default_rng(11), cells.GATES[cells.CELLS[cell]] * hidden

        def draw(*shape: int) -> np.ndarray:
            return rng.uniform(-0.9, 0.9, shape).astype(dtype)

        return cls(
            cell,
            draw(steps, inputs),
            draw(rows, inputs),
            draw(rows, hidden),
            draw(rows),
            draw(rows),
            draw(hidden),
            draw(hidden),
            draw(steps, hidden),
        )

    def kernel_forward(self) -> dict[str, np.ndarray]:
        """The kernel's forward on fresh tapes filled with NaN: it must write all it later reads."""
        steps, hidden, rows = len(self.x), len(self.h0), len(self.b_ih)
        dtype = self.x.dtype
        tape = {
            "gates": np.full((steps, rows), np.nan, dtype),
            "h": np.full((steps + 1, hidden), np.nan, dtype),
            "c": np.full((steps + 1, hidden), np.nan, dtype),
            "aux": np.full((steps, hidden), np.nan, dtype),
        }
        tape["h"][0], tape["c"][0] = self.h0, self.c0
        w_ih, w_hh = np.ascontiguousarray(self.w_ih.T), np.ascontiguousarray(self.w_hh.T)
        cells.forward(
            cells.CELLS[self.cell], steps, self.x, w_ih, w_hh, self.b_ih, self.b_hh,
            tape["gates"], tape["h"], tape["c"], tape["aux"],
        )  # fmt: skip
        return tape

    def kernel_gradients(self) -> dict[str, np.ndarray]:
        """All weight gradients in PyTorch's orientation, and d_ih, on which the gradient of x depends."""
        tape = self.kernel_forward()
        steps, hidden, rows = len(self.x), len(self.h0), len(self.b_ih)
        dtype = self.x.dtype
        dw_ih, dw_hh = np.zeros((self.x.shape[1], rows), dtype), np.zeros((hidden, rows), dtype)
        db_ih, db_hh = np.zeros(rows, dtype), np.zeros(rows, dtype)
        carry = np.full((2, hidden), np.nan, dtype)
        d_ih, d_hh = np.full((steps, rows), np.nan, dtype), np.full((steps, rows), np.nan, dtype)
        cells.backward(
            cells.CELLS[self.cell], steps, self.x, np.ascontiguousarray(self.w_hh.T), tape["gates"], tape["h"],
            tape["c"], tape["aux"], self.dh.copy(), carry, d_ih, d_hh, dw_ih, dw_hh, db_ih, db_hh,
        )  # fmt: skip
        return {"w_ih": dw_ih.T, "w_hh": dw_hh.T, "b_ih": db_ih, "b_hh": db_hh, "x": d_ih @ self.w_ih}

    def naive(self) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """h and c by step, and all gradients, from the oracle."""
        state: tuple[np.ndarray, ...] = (self.h0, self.c0) if self.cell == "lstm" else (self.h0,)
        before, tape, hs, cs = [], [], [], []
        for x in self.x:
            before.append(state[0])
            state, kept = FORWARD[self.cell](self.w_ih, self.w_hh, self.b_ih, self.b_hh, x, state)
            tape.append(kept)
            hs.append(state[0])
            cs.append(state[-1])
        grads = {name: np.zeros_like(getattr(self, name)) for name in ("w_ih", "w_hh", "b_ih", "b_hh", "x")}
        d_state = tuple(np.zeros_like(self.h0) for _ in state)
        for t in reversed(range(len(self.x))):
            d_after = (d_state[0] + self.dh[t], *d_state[1:])
            grads["x"][t], d_state, dp, dq = BACKWARD[self.cell](self.w_ih, self.w_hh, tape[t], d_after)
            grads["w_ih"] += np.outer(dp, self.x[t])
            grads["w_hh"] += np.outer(dq, before[t])
            grads["b_ih"] += dp
            grads["b_hh"] += dq
        return np.array(hs), np.array(cs), grads


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 3e-6), (np.float64, 1e-13)])
def test_forward_matches_the_naive_cell(cell: str, dtype: type, atol: float) -> None:
    for size in SIZES:
        run = Run.random(cell, *size, dtype)
        h, c, _ = run.naive()
        tape = run.kernel_forward()
        np.testing.assert_allclose(tape["h"][1:], h, rtol=0, atol=atol, err_msg=str(size))
        if cell == "lstm":
            np.testing.assert_allclose(tape["c"][1:], c, rtol=0, atol=atol, err_msg=str(size))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-5), (np.float64, 1e-12)])
def test_backward_matches_the_naive_cell(cell: str, dtype: type, tolerance: float) -> None:
    for size in SIZES:
        run = Run.random(cell, *size, dtype)
        expected = run.naive()[2]
        for name, gradient in run.kernel_gradients().items():
            np.testing.assert_allclose(
                gradient, expected[name], rtol=tolerance, atol=tolerance, err_msg=f"{name} {size}"
            )


@pytest.mark.parametrize("cell", CELLS)
def test_backward_matches_central_difference(cell: str) -> None:
    run, step = Run.random(cell, 4, 2, 3, np.float64), 1e-5

    def value() -> float:
        return float((run.kernel_forward()["h"][1:] * run.dh).sum())

    for name, gradient in run.kernel_gradients().items():
        array = getattr(run, name)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = value()
            array[index] = kept - step
            below = value()
            array[index] = kept
            assert gradient[index] == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-9), (name, index)


@pytest.mark.parametrize("cell", CELLS)
def test_a_run_equals_its_steps_one_by_one_to_the_bit(cell: str) -> None:
    """Prediction takes single steps and replay a whole window: with the same weights they must agree exactly."""
    for dtype in (np.float32, np.float64):
        run = Run.random(cell, 6, 5, 9, dtype)
        whole = run.kernel_forward()
        x, run_h, run_c = run.x, run.h0, run.c0
        for t in range(len(x)):
            single = Run(**{**vars(run), "x": np.ascontiguousarray(x[t : t + 1]), "h0": run_h, "c0": run_c})
            tape = single.kernel_forward()
            run_h, run_c = tape["h"][1], tape["c"][1]
            assert run_h.tobytes() == whole["h"][t + 1].tobytes()
