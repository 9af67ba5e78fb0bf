"""Operations on vectors do in each lane what NumPy does with numbers, and add lanes in the order they promise.

The last test compiles kernels anew for other processors and at other levels of optimisation, and compares bits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamrnn.core.jit import FALLBACK_CPU, JIT_DISABLED, cpu_target, jit
from streamrnn.core.vector import (
    add,
    fma,
    load_8,
    load_16,
    load_32,
    load_64,
    mul,
    size,
    store,
    total,
    totals_8,
    widen,
    zeros_8,
)

LOADS = [load_8, load_16, load_32, load_64]


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> type:
    return request.param


@pytest.mark.parametrize("lanes", [8, 16, 32, 64])
def test_a_vector_is_read_and_written_from_any_place_on_and_touches_no_neighbour(lanes: int, dtype: type) -> None:
    load = LOADS[[8, 16, 32, 64].index(lanes)]

    @jit
    def move(target: Any, source: Any, to: int, start: int) -> None:
        store(target, to, load(source, start))

    source, target = np.arange(lanes + 9).astype(dtype), np.full(lanes + 9, -1, dtype)
    move(target, source, 5, 3)
    np.testing.assert_array_equal(target[5 : 5 + lanes], source[3 : 3 + lanes])
    assert set(target[:5]) | set(target[5 + lanes :]) == {-1}


def test_mul_takes_a_number_for_all_lanes(dtype: type) -> None:
    @jit
    def multiply(out: Any, a: Any, b: Any) -> None:
        store(out, 0, mul(a[1], load_8(b, 0)))
        store(out, 8, mul(load_8(a, 0), load_8(b, 0)))
        out[16] = mul(a[2], b[2])

    a, b = np.arange(16).reshape(2, 8).astype(dtype)
    out = np.zeros(17, dtype)
    multiply(out, a, b)
    np.testing.assert_array_equal(out, np.concatenate([a[1] * b, a * b, [a[2] * b[2]]]))


def test_size_is_that_of_each_lane(dtype: type) -> None:
    @jit
    def sizes(out: Any, a: Any) -> None:
        store(out, 0, size(load_8(a, 0)))

    a = np.array([-1.5, 2.0, -0.0, 0.0, -np.inf, 7.0, -3.0, 1e-30], dtype)
    out = np.full(8, -1, dtype)
    sizes(out, a)
    np.testing.assert_array_equal(out, np.abs(a))
    assert not np.signbit(out).any()


def test_fma_takes_a_number_for_all_lanes_and_numbers_alone(dtype: type) -> None:
    @jit
    def multiply(out: Any, a: Any, b: Any, c: Any) -> None:
        store(out, 0, fma(a[1], load_8(b, 0), load_8(c, 0)))
        store(out, 8, fma(load_8(a, 0), load_8(b, 0), add(load_8(c, 0), zeros_8(c))))
        out[16] = fma(a[0], b[0], c[0])

    a, b, c = np.arange(24).reshape(3, 8).astype(dtype)
    out = np.zeros(17, dtype)
    multiply(out, a, b, c)
    np.testing.assert_array_equal(out, [*(a[1] * b + c), *(a * b + c), a[0] * b[0] + c[0]])


@pytest.mark.skipif(JIT_DISABLED, reason="NumPy strides by itself")
def test_a_strided_array_is_refused_while_compiling() -> None:
    from numba.core.errors import TypingError

    @jit
    def read(v: Any) -> Any:
        return total(load_8(v, 0))

    @jit
    def write(v: Any) -> None:
        store(v, 0, zeros_8(v))

    for kernel in (read, write):
        with pytest.raises(TypingError, match="contiguous"):
            kernel(np.zeros(16)[::2])


@pytest.mark.skipif(
    JIT_DISABLED or cpu_target() == FALLBACK_CPU, reason="neither such a processor nor Python before 3.13 can"
)
def test_fma_rounds_once(dtype: type) -> None:
    @jit
    def rest(a: Any, out: Any) -> None:
        out[0] = fma(a[0], a[0], -(a[0] * a[0]))

    out = np.zeros(1, dtype)
    rest(np.array([1 + np.finfo(dtype).eps], dtype), out)
    assert out[0] == np.finfo(dtype).eps ** 2  # what rounding takes off the square


def test_lanes_are_added_as_neighbours_then_as_neighbouring_pairs(dtype: type) -> None:
    @jit
    def sums(rows: Any, out: Any) -> None:
        r = rows
        store(out, 0, totals_8(
            load_8(r[0], 0), load_8(r[1], 0), load_8(r[2], 0), load_8(r[3], 0),
            load_8(r[4], 0), load_8(r[5], 0), load_8(r[6], 0), load_8(r[7], 0),
        ))  # fmt: skip
        for k in range(8):
            out[8 + k] = total(load_8(r[k], 0))

    rows = np.random.default_rng(0).standard_normal((8, 8)).astype(dtype)
    a, b, c, d, e, f, g, h = rows.T
    expected = ((a + b) + (c + d)) + ((e + f) + (g + h))
    assert (expected != rows[:, ::-1].cumsum(axis=1)[:, -1]).any()  # here the order matters
    out = np.zeros(16, dtype)
    sums(rows, out)
    np.testing.assert_array_equal(out, np.tile(expected, 2))


def test_widening_keeps_every_number(dtype: type) -> None:
    @jit
    def wide(v: Any, out: Any) -> None:
        store(out, 0, widen(load_8(v, 0)))

    v, out = np.random.default_rng(0).standard_normal(8).astype(dtype), np.zeros(8)
    wide(v, out)
    np.testing.assert_array_equal(out, v)


# ---- one source, many builds

KERNELS = """
import hashlib
import numpy as np
from streamrnn.core import jit
jit.use_numba()
from streamrnn.core import cells, linear, optim
from streamrnn.core.activations import tanh_inplace

rng, found = np.random.default_rng(0), hashlib.sha256()
for H in (1, 5, 8, 13, 32):
    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    T, D, G = 7, 5, 4 * H
    x, w_ih, w_hh, b_ih, b_hh = draw(T, D), draw(D, G), draw(H, G), draw(G), draw(G)
    gates, h, c, u = draw(T, G), draw(T + 1, H), draw(T + 1, H), draw(T, H)
    dh, dc, d = draw(T, H), draw(T + 1, H), draw(T, G)
    cells.input_part(cells.LSTM, gates, b_ih, b_hh)
    linear.add_products(gates, w_ih, x)
    cells.lstm_forward(T, w_hh, gates, h, c, u)
    cells.lstm_backward(T, w_hh, gates, c, u, dh, dc, d)
    dw, db = draw(H, G), draw(G)
    linear.add_outer(dw, h, d, T)
    linear.add_rows(db, d, T)
    norm = optim.global_norm(np.array([[0, dw.size]]), dw.reshape(-1))
    for array in (gates, h, c, u, dh, d, dw, db, np.float64(norm)):
        found.update(array.tobytes())
print(jit.cpu_target(), found.hexdigest())
"""
BUILDS: dict[str, dict[str, str]] = {
    "without fused multiply-add in hardware": {"NUMBA_CPU_NAME": "x86-64"},
    "for AVX-512": {"NUMBA_CPU_NAME": "x86-64-v4"},
    "optimised less": {"NUMBA_OPT": "1"},
    "without vectorisers": {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"},
}


@pytest.fixture(scope="module")
def bits() -> Callable[[dict[str, str]], list[str]]:
    def run(environment: dict[str, str]) -> list[str]:
        command = [sys.executable, "-c", KERNELS]
        return subprocess.check_output(command, env={**os.environ, **environment}, text=True).split()

    return run


@pytest.fixture(scope="module")
def usual(bits: Callable[[dict[str, str]], list[str]]) -> list[str]:
    return bits({})


@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
@pytest.mark.parametrize("build", BUILDS)
def test_kernels_have_the_same_bits(build: str, usual: list[str], bits: Callable[..., list[str]]) -> None:
    if "512" in build:
        from llvmlite import binding as llvm

        if not llvm.get_host_cpu_features().get("avx512vl", False):
            pytest.skip("this machine has no AVX-512")
    target, digest = bits(BUILDS[build])
    assert target == BUILDS[build].get("NUMBA_CPU_NAME", usual[0])
    assert digest == usual[1]
