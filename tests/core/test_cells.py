"""Each cell's forward and backward over a run of steps, against the naive cells and against central differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from streamrnn.core import cells
from streamrnn.core.arrays import Layer
from streamrnn.core.jit import jit
from tests.oracle.network import BACKWARD, FORWARD
from tests.support.slopes import slope

CELLS = list(cells.CELLS)  # each against a formula of its own: none may run as another's default
SIZES = [(1, 1, 1), (5, 3, 4), (9, 10, 9)]  # steps, inputs, hidden units: inside and beyond the unrolled blocks


@jit
def forward(layer: Layer, steps: int) -> None:
    """The kernel is part of its caller and cannot be called from Python."""
    cells.forward(layer, steps)


@jit
def backward(layer: Layer, steps: int) -> None:
    cells.backward(layer, steps)


@jit
def backward_from(layer: Layer, steps: int, before: np.ndarray) -> None:
    """before (1, H) becomes the gradient of the h before the run."""
    cells.backward_from(layer, steps)
    cells.hand_back(layer, 0, before)


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

    def layer(self) -> Layer:
        """The layer on a fresh tape filled with NaN: the kernel must write all it later reads."""
        (steps, inputs), hidden, rows, dtype = self.x.shape, len(self.h0), len(self.b_ih), self.x.dtype

        def unwritten(*shape: int) -> np.ndarray:
            return np.full(shape, np.nan, dtype)

        code = cells.CELLS[self.cell]
        state = unwritten(cells.STATES[code], steps + 1, hidden)
        state[:, 0] = (self.h0, self.c0)[: len(state)]
        return Layer(
            cell=code, x=self.x, looked_up=np.zeros((steps, 0), np.int64), w_ih=np.ascontiguousarray(self.w_ih.T),
            w_rows=np.zeros((0, rows), dtype), dw_rows=np.zeros((0, rows), dtype),
            w_hh=np.ascontiguousarray(self.w_hh.T),
            b_ih=self.b_ih, b_hh=self.b_hh, gates=unwritten(steps, rows), state=state, aux=unwritten(steps, hidden),
            dh=self.dh.copy(), dx=unwritten(steps, inputs), carry=unwritten(steps + 1, hidden),
            d_ih=unwritten(steps, rows), d_hh=unwritten(steps, rows), dw_ih=np.zeros((inputs, rows), dtype),
            dw_hh=np.zeros((hidden, rows), dtype),
            db_ih=np.zeros(rows, dtype), db_hh=np.zeros(rows, dtype),
        )  # fmt: skip

    def kernel_states(self) -> np.ndarray:
        """What the kernel's forward carries, (C, T + 1, H)."""
        layer = self.layer()
        forward(layer, len(self.x))
        return layer.state

    def kernel_gradients(self) -> dict[str, np.ndarray]:
        """All weight gradients in PyTorch's orientation, and that of x."""
        layer = self.layer()
        forward(layer, len(self.x))
        backward(layer, len(self.x))
        gradients = {"w_ih": layer.dw_ih.T, "w_hh": layer.dw_hh.T, "b_ih": layer.db_ih, "b_hh": layer.db_hh}
        return {**gradients, "x": layer.dx}

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
        states = run.kernel_states()
        np.testing.assert_allclose(states[0, 1:], h, rtol=0, atol=atol, err_msg=str(size))
        if cell == "lstm":
            np.testing.assert_allclose(states[1, 1:], c, rtol=0, atol=atol, err_msg=str(size))


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
    run = Run.random(cell, 4, 2, 3, np.float64)

    def value() -> float:
        return float((run.kernel_states()[0, 1:] * run.dh).sum())

    for name, gradient in run.kernel_gradients().items():
        assert gradient == pytest.approx(slope(value, getattr(run, name)), rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("in_place", [False, True])
def test_gradients_go_from_the_final_state_to_the_first(cell: str, in_place: bool) -> None:
    run, step, T = Run.random(cell, 4, 2, 3, np.float64), 1e-5, 4
    final_h, final_c = np.random.default_rng(5).uniform(-0.9, 0.9, (2, 3))

    def value() -> float:
        states = run.kernel_states()
        of_c = float((states[1, T] * final_c).sum()) if cell == "lstm" else 0.0
        return float((states[0, 1:] * run.dh).sum() + (states[0, T] * final_h).sum()) + of_c

    layer = run.layer()
    forward(layer, T)
    layer.dh[T - 1] += final_h
    layer.carry[T] = final_c
    before = layer.dh[:1] if in_place else np.full((1, 3), np.nan)
    backward_from(layer, T, before)
    found = {"w_ih": layer.dw_ih.T, "w_hh": layer.dw_hh.T, "b_ih": layer.db_ih, "b_hh": layer.db_hh, "x": layer.dx}
    found |= {"h0": before[0]} | ({"c0": layer.carry[0]} if cell == "lstm" else {})
    for name, gradient in found.items():
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
        whole = run.kernel_states()
        x, run_h, run_c = run.x, run.h0, run.c0
        for t in range(len(x)):
            single = Run(**{**vars(run), "x": np.ascontiguousarray(x[t : t + 1]), "h0": run_h, "c0": run_c})
            states = single.kernel_states()
            run_h, run_c = states[0, 1], states[-1, 1]
            assert run_h.tobytes() == whole[0, t + 1].tobytes()
