"""The three matrix products a recurrent step needs, over row-major matrices of shape (inputs, outputs).

    add_product      out  += v @ W        forward
    add_transposed   dv   += W @ dout     gradient of the input
    add_outer        dW   += V.T @ dOut   gradient of the weights, all steps of one window at once

No BLAS: its threading and blocking decide the order of additions. The inner loop always runs over the contiguous
output axis and takes four rows per pass (eight measured 15 % slower), so the vector of outputs is loaded and stored
once for four multiply-adds. LLVM vectorises each inner loop.
"""

from __future__ import annotations

from streamrnn.core.arrays import Array
from streamrnn.core.jit import jit


@jit
def copy(target: Array, source: Array) -> None:
    """target (m,) = source (m,). Numba's own array assignment may allocate a temporary for fear of overlap."""
    for j in range(target.shape[0]):
        target[j] = source[j]


@jit
def add_product(out: Array, w: Array, v: Array) -> None:
    """out (m,) += v (n,) @ w (n, m)."""
    n, m = v.shape[0], out.shape[0]
    whole = n // 4
    for block in range(whole):
        k = 4 * block
        a0, a1, a2, a3 = v[k], v[k + 1], v[k + 2], v[k + 3]
        # Rows are bound outside the loop: their addresses would otherwise be computed anew for every vector.
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        for j in range(m):
            out[j] += (a0 * w0[j] + a1 * w1[j]) + (a2 * w2[j] + a3 * w3[j])
    for k in range(4 * whole, n):
        a, row = v[k], w[k]
        for j in range(m):
            out[j] += a * row[j]


@jit
def add_transposed(dv: Array, w: Array, dout: Array) -> None:
    """dv (n,) += w (n, m) @ dout (m,)."""
    n, m = dv.shape[0], dout.shape[0]
    zero = dv.dtype.type(0)
    whole = n // 4
    for block in range(whole):
        k = 4 * block
        s0, s1, s2, s3 = zero, zero, zero, zero
        w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        for j in range(m):
            d = dout[j]
            s0 += w0[j] * d
            s1 += w1[j] * d
            s2 += w2[j] * d
            s3 += w3[j] * d
        dv[k] += s0
        dv[k + 1] += s1
        dv[k + 2] += s2
        dv[k + 3] += s3
    for k in range(4 * whole, n):
        s, row = zero, w[k]
        for j in range(m):
            s += row[j] * dout[j]
        dv[k] += s


@jit
def add_outer(dw: Array, v: Array, dout: Array, steps: int) -> None:
    """dw (n, m) += v[:steps].T (n, steps) @ dout[:steps] (steps, m)."""
    n, m = dw.shape
    whole = steps // 4
    for block in range(whole):
        t = 4 * block
        d0, d1, d2, d3 = dout[t], dout[t + 1], dout[t + 2], dout[t + 3]
        for k in range(n):
            row = dw[k]
            a0, a1, a2, a3 = v[t, k], v[t + 1, k], v[t + 2, k], v[t + 3, k]
            for j in range(m):
                row[j] += (a0 * d0[j] + a1 * d1[j]) + (a2 * d2[j] + a3 * d3[j])
    for t in range(4 * whole, steps):
        d = dout[t]
        for k in range(n):
            row, a = dw[k], v[t, k]
            for j in range(m):
                row[j] += a * d[j]


@jit
def add_rows(out: Array, rows: Array, steps: int) -> None:
    """out (m,) += the sum of rows[:steps] (steps, m)."""
    for t in range(steps):
        row = rows[t]
        for j in range(out.shape[0]):
            out[j] += row[j]
