"""The three matrix products a recurrent step needs, over row-major matrices of shape (inputs, outputs).

    add_product      out  += v @ W        forward
    add_transposed   dv   += W @ dout     gradient of the input
    add_outer        dW   += V.T @ dOut   gradient of the weights, all steps of one window at once

No BLAS: its threading and blocking decide the order of additions. The inner loop always runs over the contiguous
output axis and takes eight rows (four in the reductions) per pass, so the vector of outputs is loaded and stored
once for eight multiply-adds. LLVM vectorises each inner loop.
"""

from __future__ import annotations

from typing import Any

from streamrnn.core.jit import jit


@jit
def copy(target: Any, source: Any) -> None:
    """target (m,) = source (m,). Numba's own array assignment may allocate a temporary for fear of overlap."""
    for j in range(target.shape[0]):
        target[j] = source[j]


@jit
def add_product(out: Any, w: Any, v: Any) -> None:
    """out (m,) += v (n,) @ w (n, m)."""
    n, m = v.shape[0], out.shape[0]
    whole = n // 8
    for block in range(whole):
        k = 8 * block
        a0, a1, a2, a3 = v[k], v[k + 1], v[k + 2], v[k + 3]
        a4, a5, a6, a7 = v[k + 4], v[k + 5], v[k + 6], v[k + 7]
        for j in range(m):
            out[j] += (
                (a0 * w[k, j] + a1 * w[k + 1, j])
                + (a2 * w[k + 2, j] + a3 * w[k + 3, j])
                + (a4 * w[k + 4, j] + a5 * w[k + 5, j])
                + (a6 * w[k + 6, j] + a7 * w[k + 7, j])
            )
    for k in range(8 * whole, n):
        a = v[k]
        for j in range(m):
            out[j] += a * w[k, j]


@jit
def add_transposed(dv: Any, w: Any, dout: Any) -> None:
    """dv (n,) += w (n, m) @ dout (m,)."""
    n, m = dv.shape[0], dout.shape[0]
    zero = dv.dtype.type(0)
    whole = n // 4
    for block in range(whole):
        k = 4 * block
        s0, s1, s2, s3 = zero, zero, zero, zero
        for j in range(m):
            d = dout[j]
            s0 += w[k, j] * d
            s1 += w[k + 1, j] * d
            s2 += w[k + 2, j] * d
            s3 += w[k + 3, j] * d
        dv[k] += s0
        dv[k + 1] += s1
        dv[k + 2] += s2
        dv[k + 3] += s3
    for k in range(4 * whole, n):
        s = zero
        for j in range(m):
            s += w[k, j] * dout[j]
        dv[k] += s


@jit
def add_outer(dw: Any, v: Any, dout: Any, steps: int) -> None:
    """dw (n, m) += v[:steps].T (n, steps) @ dout[:steps] (steps, m)."""
    n, m = dw.shape
    whole = steps // 8
    for k in range(n):
        row = dw[k]
        for block in range(whole):
            t = 8 * block
            a0, a1, a2, a3 = v[t, k], v[t + 1, k], v[t + 2, k], v[t + 3, k]
            a4, a5, a6, a7 = v[t + 4, k], v[t + 5, k], v[t + 6, k], v[t + 7, k]
            for j in range(m):
                row[j] += (
                    (a0 * dout[t, j] + a1 * dout[t + 1, j])
                    + (a2 * dout[t + 2, j] + a3 * dout[t + 3, j])
                    + (a4 * dout[t + 4, j] + a5 * dout[t + 5, j])
                    + (a6 * dout[t + 6, j] + a7 * dout[t + 7, j])
                )
        for t in range(8 * whole, steps):
            a = v[t, k]
            for j in range(m):
                row[j] += a * dout[t, j]


@jit
def add_rows(out: Any, rows: Any, steps: int) -> None:
    """out (m,) += the sum of rows[:steps] (steps, m)."""
    for t in range(steps):
        for j in range(out.shape[0]):
            out[j] += rows[t, j]
