"""Complex diagonal units, with gates (GLRU) and without (LRU, where f = i = 1): one step, its traces, its gradient.

    f = sigm(F x + bF), i = sigm(I x + bI), u = B x (complex)
    h'  = f lam h + g i u
    e'  = f lam e + f h                     of lam
    S'j = f lam Sj + g i xj                 of Bj
    F'j = f lam Fj + f (1 - f) xj lam h     of Fj, with x = 1 for its bias
    I'j = f lam Ij + g i (1 - i) xj u       of Ij, likewise

Rows of weights: nu, om, Re B (D), Im B (D), then F (D), bF, I (D), bI. Of traces: e, S, F, I, each real parts then
imaginary ones. Of the work space: see the names below. h' is what is handed up: real parts, then imaginary ones.
"""

from __future__ import annotations

import math

import numpy as np

from streamrnn.core.activations import sigmoid_inplace
from streamrnn.core.arrays import T1, T2
from streamrnn.core.jit import internal

NU, OM, B = 0, 1, 2
UR, UI, HR, HI, F, I, A, BI, P, Q = range(10)  # noqa: E741
LARGEST_OM = 1.1447
"""log(pi), nearly."""


@internal
def write_constants(w: T2, constants: T2) -> None:
    """constants (6, U) = Re lam, Im lam, g, q, exp(nu), th of the weights w."""
    T = w.dtype.type
    for k in range(w.shape[1]):
        en, th = math.exp(np.float64(w[NU, k])), math.exp(np.float64(w[OM, k]))
        r, g2 = math.exp(-en), -math.expm1(-2.0 * en)
        constants[0, k], constants[1, k] = T(r * math.cos(th)), T(r * math.sin(th))
        constants[2, k], constants[3, k] = T(math.sqrt(g2)), T(r * r * en / g2)
        constants[4, k], constants[5, k] = T(en), T(th)


@internal
def constrain(w: T2, nu_least: float) -> None:
    """Radius and phase within their bounds."""
    T = w.dtype.type
    for k in range(w.shape[1]):
        w[NU, k] = min(max(w[NU, k], T(nu_least)), T(2.0))
        w[OM, k] = min(w[OM, k], T(LARGEST_OM))


@internal
def forward(gated: bool, w: T2, constants: T2, work: T2, state: T2, x: T1, out: T1) -> None:
    """out (2 N, ...) from state (2, U) and x (D,); nothing but it and work is written."""
    T = w.dtype.type
    D, N = x.shape[0], (out.shape[0] - x.shape[0]) // 2
    ur, ui, hr, hi = work[UR], work[UI], work[HR], work[HI]
    ur[:] = ui[:] = T(0)
    for j in range(D):
        re, im, xj = w[B + j], w[B + D + j], x[j]
        for k in range(ur.shape[0]):
            ur[k] += re[k] * xj
            ui[k] += im[k] * xj
    lr, li, g, sr, si = constants[0], constants[1], constants[2], state[0], state[1]
    if gated:
        f, i, o = work[F], work[I], B + 2 * D
        bf, bi = w[o + D], w[o + D + 1 + D]
        for k in range(f.shape[0]):
            f[k], i[k] = bf[k], bi[k]
        for j in range(D):
            wf, wi, xj = w[o + j], w[o + D + 1 + j], x[j]
            for k in range(f.shape[0]):
                f[k] += wf[k] * xj
                i[k] += wi[k] * xj
        sigmoid_inplace(f)
        sigmoid_inplace(i)
        for k in range(f.shape[0]):
            a, b, c = f[k] * lr[k], f[k] * li[k], g[k] * i[k]
            hr[k] = a * sr[k] - b * si[k] + c * ur[k]
            hi[k] = a * si[k] + b * sr[k] + c * ui[k]
    else:
        for k in range(ur.shape[0]):
            hr[k] = lr[k] * sr[k] - li[k] * si[k] + g[k] * ur[k]
            hi[k] = lr[k] * si[k] + li[k] * sr[k] + g[k] * ui[k]
    for k in range(N):
        out[k], out[N + k] = hr[k], hi[k]


@internal
def advance(gated: bool, constants: T2, work: T2, state: T2, traces: T2, x: T1) -> None:
    """traces (., U) and state (2, U) after the step that work is of."""
    if traces.shape[0] > 0:
        if gated:
            advance_gated(constants, work, state, traces, x)
        else:
            advance_plain(constants, state, traces, x)
    for k in range(state.shape[1]):
        state[0, k], state[1, k] = work[HR, k], work[HI, k]


@internal
def advance_plain(constants: T2, state: T2, traces: T2, x: T1) -> None:
    """Traces of the LRU."""
    lr, li, g, hr, hi, D = constants[0], constants[1], constants[2], state[0], state[1], x.shape[0]
    turn_and_add(traces[0], traces[1], lr, li, hr, hi)
    for j in range(D):
        turn_and_add_real(traces[2 + j], traces[2 + D + j], lr, li, g, x[j])


@internal
def advance_gated(constants: T2, work: T2, state: T2, traces: T2, x: T1) -> None:
    """Traces of the GLRU."""
    T = state.dtype.type
    one, D = T(1), x.shape[0]
    lr, li, g, hr, hi, f, i = constants[0], constants[1], constants[2], state[0], state[1], work[F], work[I]
    a, b, p, q = work[A], work[BI], work[P], work[Q]
    for k in range(f.shape[0]):
        a[k], b[k] = f[k] * lr[k], f[k] * li[k]
        p[k], q[k] = f[k] * hr[k], f[k] * hi[k]
    turn_and_add(traces[0], traces[1], a, b, p, q)
    for k in range(f.shape[0]):
        p[k] = g[k] * i[k]
    for j in range(D):
        turn_and_add_real(traces[2 + j], traces[2 + D + j], a, b, p, x[j])
    o = 2 + 2 * D
    for k in range(f.shape[0]):
        ff = f[k] * (one - f[k])
        p[k], q[k] = ff * (lr[k] * hr[k] - li[k] * hi[k]), ff * (lr[k] * hi[k] + li[k] * hr[k])
    for j in range(D + 1):
        turn_and_add_scaled(traces[o + j], traces[o + D + 1 + j], a, b, p, q, x[j] if j < D else one)
    o += 2 * (D + 1)
    for k in range(f.shape[0]):
        gi = g[k] * i[k] * (one - i[k])
        p[k], q[k] = gi * work[UR, k], gi * work[UI, k]
    for j in range(D + 1):
        turn_and_add_scaled(traces[o + j], traces[o + D + 1 + j], a, b, p, q, x[j] if j < D else one)


@internal
def turn_and_add(tr: T1, ti: T1, a: T1, b: T1, p: T1, q: T1) -> None:
    """t (U,) complex = (a + i b) t + (p + i q)."""
    for k in range(tr.shape[0]):
        r, i = tr[k], ti[k]
        tr[k] = a[k] * r - b[k] * i + p[k]
        ti[k] = a[k] * i + b[k] * r + q[k]


@internal
def turn_and_add_real(tr: T1, ti: T1, a: T1, b: T1, p: T1, x: float) -> None:
    """t (U,) complex = (a + i b) t + p x."""
    for k in range(tr.shape[0]):
        r, i = tr[k], ti[k]
        tr[k] = a[k] * r - b[k] * i + p[k] * x
        ti[k] = a[k] * i + b[k] * r


@internal
def turn_and_add_scaled(tr: T1, ti: T1, a: T1, b: T1, p: T1, q: T1, x: float) -> None:
    """t (U,) complex = (a + i b) t + (p + i q) x."""
    for k in range(tr.shape[0]):
        r, i = tr[k], ti[k]
        tr[k] = a[k] * r - b[k] * i + p[k] * x
        ti[k] = a[k] * i + b[k] * r + q[k] * x


@internal
def gradient(gated: bool, w: T2, dw: T2, constants: T2, work: T2, traces: T2, x: T1, dh: T1) -> None:
    """dw (., U) += what dh (2 N, ...), of Re h and Im h, comes to: with delta = dRe + i dIm, Re(conj(delta) trace).

    dnu += Re(conj(delta) (q sum_j Bj Sj - exp(nu) lam e)), dom += th Re(conj(delta) i lam e)
    """
    T = w.dtype.type
    D, N = x.shape[0], (dh.shape[0] - x.shape[0]) // 2
    dr, di, br, bi = work[HR], work[HI], work[P], work[Q]
    dr[:] = di[:] = br[:] = bi[:] = T(0)
    for k in range(N):
        dr[k], di[k] = dh[k], dh[N + k]
    for j in range(D):
        sr, si, wr, wi = traces[2 + j], traces[2 + D + j], w[B + j], w[B + D + j]
        gr, gi = dw[B + j], dw[B + D + j]
        for k in range(dr.shape[0]):
            gr[k] += dr[k] * sr[k] + di[k] * si[k]
            gi[k] += di[k] * sr[k] - dr[k] * si[k]
            br[k] += wr[k] * sr[k] - wi[k] * si[k]
            bi[k] += wr[k] * si[k] + wi[k] * sr[k]
    lr, li, q, en, th = constants[0], constants[1], constants[3], constants[4], constants[5]
    er, ei = traces[0], traces[1]
    gn, go = dw[NU], dw[OM]
    for k in range(dr.shape[0]):
        a, b = lr[k] * er[k] - li[k] * ei[k], lr[k] * ei[k] + li[k] * er[k]
        gn[k] += dr[k] * (q[k] * br[k] - en[k] * a) + di[k] * (q[k] * bi[k] - en[k] * b)
        go[k] += th[k] * (di[k] * a - dr[k] * b)
    if gated:
        o = 2 + 2 * D
        for half in range(2):
            at = o + half * 2 * (D + 1)
            for j in range(D + 1):
                tr, ti, g = traces[at + j], traces[at + D + 1 + j], dw[o + half * (D + 1) + j]
                for k in range(dr.shape[0]):
                    g[k] += dr[k] * tr[k] + di[k] * ti[k]
