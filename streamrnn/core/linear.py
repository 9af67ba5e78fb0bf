"""The matrix products a recurrent step needs, over row-major matrices of shape (inputs, outputs).

    add_product      out  += v @ W        forward, one step
    add_products     Out  += V @ W        forward, the inputs of all steps of one window at once
    add_transposed   dV   += dOut @ W.T   gradient of the inputs, of one step or of all at once
    add_outer        dW   += V.T @ dOut   gradient of the weights, all steps of one window at once
    add_transposed_product, add_outer_product  the same of one step

    add_looked_up     Out      += W[rows]  the products with one-hot vectors, which nobody has to multiply
    add_to_looked_up  dW[rows] += dOut     and their part in the gradient of the weights

No BLAS: its threading and blocking decide the order of additions. Here an output is what was there plus its products,
each added by ``fma``, in the order of the index that is summed over. Where that runs along the rows of W, in
``add_transposed`` and ``dot``, eight lanes share it: lane l adds its numbers l, l + 8, ..., then the lanes are added
up, and what is left of the row comes last. How many outputs are at work side by side changes no bit, and neither does
doing some twice: at widths that are no multiple of eight the last tile overlaps the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from streamrnn.core.arrays import Array
from streamrnn.core.jit import internal, jit
from streamrnn.core.vector import (
    LANES,
    Vector,
    add,
    fma,
    load_8,
    load_16,
    load_32,
    load_64,
    mul,
    store,
    total,
    totals_8,
    zeros_8,
)


@jit
def copy(target: Array, source: Array) -> None:
    """target (m,) = source (m,). Numba's own array assignment may allocate a temporary for fear of overlap."""
    for j in range(target.shape[0]):
        target[j] = source[j]


@internal
def product(out: Array, a: Array, b: Array) -> None:
    """out (m,) = a b, number by number; m is a multiple of eight."""
    for j in range(0, out.shape[0], LANES):
        store(out, j, mul(load_8(a, j), load_8(b, j)))


@jit
def dot(a: Array, b: Array) -> Vector:
    """a (n,) @ b (n,) in their precision."""
    n = a.shape[0]
    lanes = zeros_8(a)
    for j in range(0, n - 7, LANES):
        lanes = fma(load_8(a, j), load_8(b, j), lanes)
    s = total(lanes)
    for j in range(n - n % LANES, n):
        s = fma(a[j], b[j], s)
    return s


def _one_row(load: Callable[[Array, int], Vector]) -> Callable[..., Vector]:
    @internal
    def tile(out: Array, w: Array, v: Array, j: int) -> Vector:
        """out + v @ w, the columns from j on: as many as ``load`` loads."""
        x = load(out, j)
        for k in range(v.shape[0]):
            x = fma(v[k], load(w[k], j), x)
        return x

    return tile


Rows: TypeAlias = tuple[Array, Array, Array, Array]
Tiles: TypeAlias = tuple[Vector, Vector, Vector, Vector]


def _four_rows(load: Callable[[Array, int], Vector]) -> Callable[[Rows, Array, Rows, int], Tiles]:
    @internal
    def tile(out: Rows, w: Array, v: Rows, j: int) -> Tiles:
        """As ``_one_row`` for four rows of out and of v at once, so that w is loaded once for all."""
        v0, v1, v2, v3 = v
        x0, x1, x2, x3 = load(out[0], j), load(out[1], j), load(out[2], j), load(out[3], j)
        for k in range(w.shape[0]):
            row = load(w[k], j)
            x0, x1, x2, x3 = fma(v0[k], row, x0), fma(v1[k], row, x1), fma(v2[k], row, x2), fma(v3[k], row, x3)
        return x0, x1, x2, x3

    return tile


# As wide as registers allow: of sixteen, eight hold sums. Narrower ones wait for the fma before.
row_8, row_32, row_64 = _one_row(load_8), _one_row(load_32), _one_row(load_64)
rows_8, rows_16 = _four_rows(load_8), _four_rows(load_16)


@jit
def add_product(out: Array, w: Array, v: Array) -> None:
    """out (m,) += v (n,) @ w (n, m)."""
    m = out.shape[0]
    if m < LANES:
        for k in range(v.shape[0]):
            for j in range(m):
                out[j] = fma(v[k], w[k, j], out[j])
        return
    last = row_8(out, w, v, m - LANES) if m % LANES else zeros_8(out)  # before the others change what it starts from
    j = 0
    while j + 64 <= m:
        store(out, j, row_64(out, w, v, j))
        j += 64
    if j + 32 <= m:
        store(out, j, row_32(out, w, v, j))
        j += 32
    while j + LANES <= m:
        store(out, j, row_8(out, w, v, j))
        j += LANES
    if m % LANES:
        store(out, m - LANES, last)


@jit
def add_products(out: Array, w: Array, v: Array) -> None:
    """out (T, m) += v (T, n) @ w (n, m)."""
    T, m = out.shape
    whole, blank = T - T % 4 if m >= LANES else 0, zeros_8(w)
    for i in range(0, whole, 4):
        # Rows are bound outside the tiles: their addresses would otherwise be computed anew for every vector.
        four = (out[i], out[i + 1], out[i + 2], out[i + 3])
        v4 = (v[i], v[i + 1], v[i + 2], v[i + 3])
        last = rows_8(four, w, v4, m - LANES) if m % LANES else (blank, blank, blank, blank)
        for j in range(0, m - 15, 16):
            store_four(four, j, rows_16(four, w, v4, j))
        if m % 16 >= LANES:
            store_four(four, m - m % 16, rows_8(four, w, v4, m - m % 16))
        if m % LANES:
            store_four(four, m - LANES, last)
    for i in range(whole, T):
        add_product(out[i], w, v[i])


@internal
def store_four(out: Rows, j: int, tiles: Tiles) -> None:
    """A tile of four rows to its place."""
    store(out[0], j, tiles[0])
    store(out[1], j, tiles[1])
    store(out[2], j, tiles[2])
    store(out[3], j, tiles[3])


@jit
def add_transposed(dv: Array, w: Array, dout: Array) -> None:
    """dv (T, n) += dout (T, m) @ w (n, m).T."""
    T, n = dv.shape
    for k in range(0, n - 7, 8):
        # Rows outside, steps inside: eight rows stay in the nearest cache.
        for t in range(T):
            add_eight(dv[t], w, dout[t], k)
    for k in range(n - n % 8, n):
        for t in range(T):
            dv[t, k] += dot(w[k], dout[t])


@jit
def add_transposed_product(dv: Array, w: Array, dout: Array) -> None:
    """dv (n,) += w (n, m) @ dout (m,), of one step: the bits of ``add_transposed``."""
    n = dv.shape[0]
    for k in range(0, n - 7, 8):
        add_eight(dv, w, dout, k)
    for k in range(n - n % 8, n):
        dv[k] += dot(w[k], dout)


@internal
def add_eight(dv: Array, w: Array, dout: Array, k: int) -> None:
    """dv[k : k + 8] of one step: a row alone would wait for its own sum, and here eight sums of lanes become one."""
    m = dout.shape[0]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[k], w[k + 1], w[k + 2], w[k + 3], w[k + 4], w[k + 5], w[k + 6], w[k + 7]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = zeros_8(dout)
    for j in range(0, m - 7, LANES):
        d = load_8(dout, j)
        s0, s1 = fma(load_8(w0, j), d, s0), fma(load_8(w1, j), d, s1)
        s2, s3 = fma(load_8(w2, j), d, s2), fma(load_8(w3, j), d, s3)
        s4, s5 = fma(load_8(w4, j), d, s4), fma(load_8(w5, j), d, s5)
        s6, s7 = fma(load_8(w6, j), d, s6), fma(load_8(w7, j), d, s7)
    store(dv, k, add(load_8(dv, k), totals_8(s0, s1, s2, s3, s4, s5, s6, s7)))
    for j in range(m - m % LANES, m):
        for r in range(k, k + 8):
            dv[r] = fma(w[r, j], dout[j], dv[r])


@jit
def add_outer(dw: Array, v: Array, dout: Array, steps: int) -> None:
    """dw (n, m) += v[:steps].T (n, steps) @ dout[:steps] (steps, m)."""
    add_products(dw, dout[:steps], v[:steps].T)


@jit
def add_outer_product(dw: Array, v: Array, dout: Array) -> None:
    """dw (n, m) += v (n, 1) dout (1, m), of one step: the bits of ``add_outer``."""
    n, m = dw.shape
    for i in range(n):
        row, factor = dw[i], v[i]
        for j in range(0, m - 7, LANES):
            store(row, j, fma(factor, load_8(dout, j), load_8(row, j)))
        for j in range(m - m % LANES, m):
            row[j] = fma(factor, dout[j], row[j])


@jit
def add_looked_up(out: Array, w: Array, rows: Array) -> None:
    """out (T, m) += the rows of w (n, m) that rows (T, k) name for each step, one after the other; -1 = none."""
    for t in range(out.shape[0]):
        for k in range(rows.shape[1]):
            if rows[t, k] >= 0:
                add_vector(out[t], w[rows[t, k]])


@jit
def add_to_looked_up(dw: Array, rows: Array, dout: Array) -> None:
    """The rows of dw (n, m) that rows (T, k) name += dout (T, m), step by step."""
    for t in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            if rows[t, k] >= 0:
                add_vector(dw[rows[t, k]], dout[t])


@jit
def add_vector(out: Array, v: Array) -> None:
    """out (m,) += v (m,)."""
    for j in range(out.shape[0]):
        out[j] += v[j]


@jit
def add_rows(out: Array, rows: Array, steps: int) -> None:
    """out (m,) += the sum of rows[:steps] (steps, m)."""
    for t in range(steps):
        add_vector(out, rows[t])
