"""Complex diagonal units, with gates (GLRU) and without (LRU, where f = i = 1): one step, its traces, its gradient.

    f = sigm(F x + bF), i = sigm(I x + bI), u = B x (complex)
    h'  = f lam h + g i u
    e'  = f lam e + f h                     of lam
    S'j = f lam Sj + g i xj                 of Bj
    F'j = f lam Fj + f (1 - f) xj lam h     of Fj, with x = 1 for its bias
    I'j = f lam Ij + g i (1 - i) xj u       of Ij, likewise

Rows of weights: nu, om, Re B (D), Im B (D), then F (D), bF, I (D), bI. Of traces: e, S, F, I, each real parts then
imaginary ones. h' is what is handed up: real parts, then imaginary ones. Eight units are at work at once.
"""

from __future__ import annotations

from streamrnn.core.activations import sigmoid_inplace
from streamrnn.core.arrays import K1, T1, T2
from streamrnn.core.exact.constants import EN, GAMMA, LAM_IM, LAM_RE, RATIO, THETA
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_product, copy
from streamrnn.core.vector import LANES, Vector, fma, load_8, mul, store, zeros_8

NU, OM, B = 0, 1, 2
UR, UI, HR, HI, F, I, DR, DI = range(8)  # noqa: E741
"""Rows of the work space."""


@internal
def forward(gated: bool, w: T2, constants: T2, work: T2, state: T2, x: T1, out: T1) -> None:
    """out (2 N, ...) from state (2, U) and x (D,); nothing but it and work is written."""
    D, N = x.shape[0], (out.shape[0] - x.shape[0]) // 2
    work[UR, :] = work[UI, :] = w.dtype.type(0)
    add_product(work[UR], w[B : B + D], x)
    add_product(work[UI], w[B + D : B + 2 * D], x)
    if gated:
        o = B + 2 * D
        copy(work[F], w[o + D])
        copy(work[I], w[o + D + 1 + D])
        add_product(work[F], w[o : o + D], x)
        add_product(work[I], w[o + D + 1 : o + D + 1 + D], x)
        sigmoid_inplace(work[F])
        sigmoid_inplace(work[I])
    for k in range(0, state.shape[1], LANES):
        a, b, g = factors(gated, constants, work, k)
        r, i = load_8(state[0], k), load_8(state[1], k)
        store(work[HR], k, fma(a, r, fma(minus(w, b), i, mul(g, load_8(work[UR], k)))))
        store(work[HI], k, fma(a, i, fma(b, r, mul(g, load_8(work[UI], k)))))
    copy(out[:N], work[HR])
    copy(out[N : 2 * N], work[HI])


@internal
def factors(gated: bool, constants: T2, work: T2, k: int) -> tuple[Vector, Vector, Vector]:
    """Re and Im of f lam, and g i, of the units k to k + 8."""
    a, b, g = load_8(constants[LAM_RE], k), load_8(constants[LAM_IM], k), load_8(constants[GAMMA], k)
    if gated:
        f = load_8(work[F], k)
        a, b, g = mul(f, a), mul(f, b), mul(load_8(work[I], k), g)
    return a, b, g


@internal
def minus(sample: T2, v: Vector) -> Vector:
    """-v, of sample's type."""
    return mul(sample.dtype.type(-1), v)


@internal
def advance(gated: bool, constants: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1) -> None:
    """traces (., U) and state (2, U) after the step that work is of."""
    if traces.shape[0] > 0:
        for k in range(0, state.shape[1], LANES):
            if gated:
                advance_gated(constants, work, state, traces, shown, x, k)
            else:
                advance_plain(constants, work, state, traces, shown, x, k)
    copy(state[0], work[HR])
    copy(state[1], work[HI])


@internal
def advance_plain(constants: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1, k: int) -> None:
    """Traces of the LRU's units k to k + 8."""
    D = x.shape[0]
    a, b, g = factors(False, constants, work, k)
    c, none = minus(state, b), zeros_8(x)
    turn_and_add(traces[0], traces[1], k, a, b, c, load_8(state[0], k), load_8(state[1], k))
    for j in range(D):
        if shown[j] != 0:
            turn_and_add(traces[2 + j], traces[2 + D + j], k, a, b, c, mul(x[j], g), none)


@internal
def advance_gated(constants: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1, k: int) -> None:
    """Traces of the GLRU's units k to k + 8."""
    D = x.shape[0]
    fs, gs, fo, go = 2, 2 + 2 * D, 2 + 2 * D + D + 1, 2 + 2 * D + 2 * (D + 1)  # S; F real, imaginary; I
    f, i, hr, hi = load_8(work[F], k), load_8(work[I], k), load_8(state[0], k), load_8(state[1], k)
    a, b, g = factors(True, constants, work, k)
    c, none = minus(state, b), zeros_8(x)
    turn_and_add(traces[0], traces[1], k, a, b, c, mul(f, hr), mul(f, hi))
    rest = fma(minus(state, f), f, f)  # f (1 - f)
    lr, li = mul(rest, load_8(constants[LAM_RE], k)), mul(rest, load_8(constants[LAM_IM], k))
    p, q = fma(lr, hr, mul(minus(state, li), hi)), fma(lr, hi, mul(li, hr))
    rest = fma(minus(state, g), i, g)  # g i (1 - i)
    s, t = mul(rest, load_8(work[UR], k)), mul(rest, load_8(work[UI], k))
    for j in range(D):
        if shown[j] != 0:
            turn_and_add(traces[fs + j], traces[fs + D + j], k, a, b, c, mul(x[j], g), none)
            turn_and_add(traces[gs + j], traces[fo + j], k, a, b, c, mul(x[j], p), mul(x[j], q))
            turn_and_add(traces[go + j], traces[go + D + 1 + j], k, a, b, c, mul(x[j], s), mul(x[j], t))
    turn_and_add(traces[gs + D], traces[fo + D], k, a, b, c, p, q)
    turn_and_add(traces[go + D], traces[go + D + 1 + D], k, a, b, c, s, t)


@internal
def turn_and_add(tr: T1, ti: T1, k: int, a: Vector, b: Vector, minus_b: Vector, p: Vector, q: Vector) -> None:
    """t[k : k + 8], complex, = (a + i b) t + (p + i q)."""
    r, i = load_8(tr, k), load_8(ti, k)
    store(tr, k, fma(a, r, fma(minus_b, i, p)))
    store(ti, k, fma(a, i, fma(b, r, q)))


@internal
def gradient(gated: bool, w: T2, dw: T2, constants: T2, work: T2, traces: T2, shown: K1, x: T1, dh: T1) -> None:
    """dw (., U) = what dh (2 N, ...), of Re h and Im h, comes to: with delta = dRe + i dIm, Re(conj(delta) trace)."""
    D, N = x.shape[0], (dh.shape[0] - x.shape[0]) // 2
    copy(work[DR, :N], dh[:N])
    copy(work[DI, :N], dh[N : 2 * N])
    work[DR, N:] = work[DI, N:] = w.dtype.type(0)
    for k in range(0, w.shape[1], LANES):
        dr, di = load_8(work[DR], k), load_8(work[DI], k)
        gradient_of_lam(w, dw, constants, traces, shown, D, k, dr, di)
        if gated:
            gradient_of_gate(dw, traces, shown, D, B + 2 * D, 2 + 2 * D, k, dr, di)
            gradient_of_gate(dw, traces, shown, D, B + 2 * D + D + 1, 2 + 2 * D + 2 * (D + 1), k, dr, di)


@internal
def gradient_of_lam(
    w: T2, dw: T2, constants: T2, traces: T2, shown: K1, D: int, k: int, dr: Vector, di: Vector
) -> None:
    """Of B, nu and om: dnu = Re(conj(delta) (q sum_j Bj Sj - exp(nu) lam e)), dom = th Re(conj(delta) i lam e)."""
    none = zeros_8(dw[0])
    br, bi, back = none, none, minus(w, dr)
    for j in range(D):
        if shown[j] != 0:
            sr, si = load_8(traces[2 + j], k), load_8(traces[2 + D + j], k)
            wr, wi = load_8(w[B + j], k), load_8(w[B + D + j], k)
            store(dw[B + j], k, fma(dr, sr, mul(di, si)))
            store(dw[B + D + j], k, fma(di, sr, mul(back, si)))
            br, bi = fma(minus(w, wi), si, fma(wr, sr, br)), fma(wi, sr, fma(wr, si, bi))
        else:
            store(dw[B + j], k, none)
            store(dw[B + D + j], k, none)
    lr, li, er, ei = (
        load_8(constants[LAM_RE], k),
        load_8(constants[LAM_IM], k),
        load_8(traces[0], k),
        load_8(traces[1], k),
    )
    q, en = load_8(constants[RATIO], k), minus(w, load_8(constants[EN], k))
    a, b = fma(lr, er, mul(minus(w, li), ei)), fma(lr, ei, mul(li, er))
    store(dw[NU], k, fma(dr, fma(q, br, mul(en, a)), mul(di, fma(q, bi, mul(en, b)))))
    store(dw[OM], k, mul(load_8(constants[THETA], k), fma(di, a, mul(back, b))))


@internal
def gradient_of_gate(dw: T2, traces: T2, shown: K1, D: int, row: int, at: int, k: int, dr: Vector, di: Vector) -> None:
    """Of a gate whose weights begin with ``row`` and whose traces begin ``at``."""
    for j in range(D + 1):
        if j == D or shown[j] != 0:
            real, imaginary = load_8(traces[at + j], k), load_8(traces[at + D + 1 + j], k)
            store(dw[row + j], k, fma(dr, real, mul(di, imaginary)))
        else:
            store(dw[row + j], k, zeros_8(dw[0]))
