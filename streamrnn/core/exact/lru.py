"""Complex diagonal units, with gates (GLRU) and without (LRU, where f = i = 1): one step, its traces, its gradient.

    f = sigm(F x + bF), i = sigm(I x + bI), u = B x (complex)
    h'  = f lam h + g i u
    e'  = f lam e + f h                     of lam
    S'j = f lam Sj + g i xj                 of Bj
    F'j = f lam Fj + f (1 - f) xj lam h     of Fj, with x = 1 for its bias
    I'j = f lam Ij + g i (1 - i) xj u       of Ij, likewise

Rows of weights: nu, om, Re B (D), Im B (D), then F (D), bF, I (D), bI. Of traces: e, S, F, I, each real parts then
imaginary ones. h' is what is handed up: real parts, then imaginary ones.
"""

from __future__ import annotations

from streamrnn.core.activations import sigmoid_inplace
from streamrnn.core.arrays import K1, T1, T2
from streamrnn.core.exact.constants import EN, GAMMA, LAM_IM, LAM_RE, RATIO, THETA
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_product, copy, product
from streamrnn.core.vector import LANES, add, fma, load_8, mul, store, zeros_8

NU, OM, B = 0, 1, 2
UR, UI, HR, HI, F, I, A, BI, G, P, Q = range(11)  # noqa: E741
DR, DI, SUM_RE, SUM_IM = HR, HI, P, Q
"""Rows of the work space. The second line is of the gradient, and overlies the new state and what traces took in: it
can only be called when ``advance`` has had state and traces follow, and advance not again after it."""


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
    factors(gated, constants, work)
    step(work[A], work[BI], work[G], state[0], work[UR], work[HR], state[1], -1.0)
    step(work[A], work[BI], work[G], state[1], work[UI], work[HI], state[0], 1.0)
    copy(out[:N], work[HR])
    copy(out[N : 2 * N], work[HI])


@internal
def factors(gated: bool, constants: T2, work: T2) -> None:
    """Re and Im of f lam, and g i."""
    if gated:
        product(work[A], work[F], constants[LAM_RE])
        product(work[BI], work[F], constants[LAM_IM])
        product(work[G], work[I], constants[GAMMA])
    else:
        copy(work[A], constants[LAM_RE])
        copy(work[BI], constants[LAM_IM])
        copy(work[G], constants[GAMMA])


@internal
def step(a: T1, b: T1, g: T1, part: T1, u: T1, new: T1, other: T1, sign: float) -> None:
    """One part of the new state (U,) = a part + sign b other + g u."""
    signed = a.dtype.type(sign)
    for k in range(0, a.shape[0], LANES):
        turned = fma(mul(signed, load_8(b, k)), load_8(other, k), mul(load_8(g, k), load_8(u, k)))
        store(new, k, fma(load_8(a, k), load_8(part, k), turned))


@internal
def advance(gated: bool, constants: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1) -> None:
    """traces (., U) and state (2, U) after the step that work is of."""
    D, one, a, b = x.shape[0], x.dtype.type(1), work[A], work[BI]
    if traces.shape[0] > 0:
        copy(work[P], state[0])
        copy(work[Q], state[1])
        if gated:
            product(work[P], work[F], state[0])
            product(work[Q], work[F], state[1])
        turn_and_add(traces[0], traces[1], a, b, work[P], work[Q], one)
        for j in range(D):
            if shown[j] != 0:
                turn_and_add_real(traces[2 + j], traces[2 + D + j], a, b, work[G], x[j])
        if gated:
            slopes_of_f(constants, work, state)
            advance_gate(traces[2 + 2 * D :], work, shown, x)
            slopes_of_i(work)
            advance_gate(traces[2 + 2 * D + 2 * (D + 1) :], work, shown, x)
    copy(state[0], work[HR])
    copy(state[1], work[HI])


@internal
def slopes_of_f(constants: T2, work: T2, state: T2) -> None:
    """work[P] + i work[Q] = f (1 - f) lam h."""
    minus = work.dtype.type(-1)
    f, p, q, hr, hi = work[F], work[P], work[Q], state[0], state[1]
    for k in range(0, f.shape[0], LANES):
        rest = fma(mul(minus, load_8(f, k)), load_8(f, k), load_8(f, k))
        lr, li = mul(rest, load_8(constants[LAM_RE], k)), mul(rest, load_8(constants[LAM_IM], k))
        store(p, k, fma(lr, load_8(hr, k), mul(mul(minus, li), load_8(hi, k))))
        store(q, k, fma(lr, load_8(hi, k), mul(li, load_8(hr, k))))


@internal
def slopes_of_i(work: T2) -> None:
    """work[P] + i work[Q] = g i (1 - i) u."""
    minus = work.dtype.type(-1)
    i, g, p, q, ur, ui = work[I], work[G], work[P], work[Q], work[UR], work[UI]
    for k in range(0, i.shape[0], LANES):
        rest = fma(mul(minus, load_8(g, k)), load_8(i, k), load_8(g, k))
        store(p, k, mul(rest, load_8(ur, k)))
        store(q, k, mul(rest, load_8(ui, k)))


@internal
def advance_gate(traces: T2, work: T2, shown: K1, x: T1) -> None:
    """The traces of a gate, which stand first in traces: those of each input, then that of its bias."""
    D, a, b, p, q = x.shape[0], work[A], work[BI], work[P], work[Q]
    for j in range(D):
        if shown[j] != 0:
            turn_and_add(traces[j], traces[D + 1 + j], a, b, p, q, x[j])
    turn_and_add(traces[D], traces[D + 1 + D], a, b, p, q, x.dtype.type(1))


@internal
def turn_and_add(tr: T1, ti: T1, a: T1, b: T1, p: T1, q: T1, x: float) -> None:
    """t (U,), complex, = (a + i b) t + (p + i q) x."""
    minus = tr.dtype.type(-1)
    for k in range(0, tr.shape[0], LANES):
        real, imaginary, re, im = load_8(tr, k), load_8(ti, k), load_8(a, k), load_8(b, k)
        store(tr, k, fma(re, real, fma(mul(minus, im), imaginary, mul(x, load_8(p, k)))))
        store(ti, k, fma(re, imaginary, fma(im, real, mul(x, load_8(q, k)))))


@internal
def turn_and_add_real(tr: T1, ti: T1, a: T1, b: T1, p: T1, x: float) -> None:
    """t (U,), complex, = (a + i b) t + p x."""
    minus = tr.dtype.type(-1)
    for k in range(0, tr.shape[0], LANES):
        real, imaginary, re, im = load_8(tr, k), load_8(ti, k), load_8(a, k), load_8(b, k)
        store(tr, k, fma(re, real, fma(mul(minus, im), imaginary, mul(x, load_8(p, k)))))
        store(ti, k, fma(re, imaginary, mul(im, real)))


@internal
def gradient(gated: bool, w: T2, dw: T2, constants: T2, work: T2, traces: T2, shown: K1, x: T1, dh: T1) -> None:
    """dw (., U) = what dh (2 N, ...), of Re h and Im h, comes to: with delta = dRe + i dIm, Re(conj(delta) trace)."""
    D, N = x.shape[0], (dh.shape[0] - x.shape[0]) // 2
    copy(work[DR, :N], dh[:N])
    copy(work[DI, :N], dh[N : 2 * N])
    work[DR, N:] = work[DI, N:] = w.dtype.type(0)
    gradient_of_b(w, dw, work, traces, shown, D)
    gradient_of_lam(dw, constants, work, traces)
    if gated:
        gradient_of_gate(dw[B + 2 * D :], work, traces[2 + 2 * D :], shown, D)
        gradient_of_gate(dw[B + 2 * D + D + 1 :], work, traces[2 + 2 * D + 2 * (D + 1) :], shown, D)


@internal
def gradient_of_b(w: T2, dw: T2, work: T2, traces: T2, shown: K1, D: int) -> None:
    """Of B; work[SUM_RE] + i work[SUM_IM] = sum_j Bj Sj."""
    minus, dr, di, nothing = w.dtype.type(-1), work[DR], work[DI], zeros_8(w[0])
    for k in range(0, dr.shape[0], LANES):  # outside, so that the sums stay in registers
        down, right = load_8(dr, k), load_8(di, k)
        up, br, bi, less = mul(minus, down), nothing, nothing, nothing
        for j in range(D):
            gr, gi = dw[B + j], dw[B + D + j]
            if shown[j] == 0:
                store(gr, k, nothing)
                store(gi, k, nothing)
                continue
            real, imaginary = load_8(traces[2 + j], k), load_8(traces[2 + D + j], k)
            store(gr, k, fma(down, real, mul(right, imaginary)))
            store(gi, k, fma(right, real, mul(up, imaginary)))
            re, im = load_8(w[B + j], k), load_8(w[B + D + j], k)
            br, less = fma(re, real, br), fma(im, imaginary, less)
            bi = fma(re, imaginary, fma(im, real, bi))
        store(work[SUM_RE], k, add(br, mul(minus, less)))
        store(work[SUM_IM], k, bi)


@internal
def gradient_of_lam(dw: T2, constants: T2, work: T2, traces: T2) -> None:
    """Of nu and om: dnu = Re(conj(delta) (q sum_j Bj Sj - exp(nu) lam e)), dom = th Re(conj(delta) i lam e)."""
    minus = dw.dtype.type(-1)
    for k in range(0, dw.shape[1], LANES):
        dr, di, er, ei = load_8(work[DR], k), load_8(work[DI], k), load_8(traces[0], k), load_8(traces[1], k)
        lr, li = load_8(constants[LAM_RE], k), load_8(constants[LAM_IM], k)
        q, en = load_8(constants[RATIO], k), mul(minus, load_8(constants[EN], k))
        a, b = fma(lr, er, mul(mul(minus, li), ei)), fma(lr, ei, mul(li, er))
        real, imaginary = fma(q, load_8(work[SUM_RE], k), mul(en, a)), fma(q, load_8(work[SUM_IM], k), mul(en, b))
        store(dw[NU], k, fma(dr, real, mul(di, imaginary)))
        store(dw[OM], k, mul(load_8(constants[THETA], k), fma(di, a, mul(mul(minus, dr), b))))


@internal
def gradient_of_gate(dw: T2, work: T2, traces: T2, shown: K1, D: int) -> None:
    """Of a gate whose weights stand first in dw, and its traces first in traces."""
    dr, di = work[DR], work[DI]
    for j in range(D + 1):
        g, tr, ti = dw[j], traces[j], traces[D + 1 + j]
        if j < D and shown[j] == 0:
            g[:] = dw.dtype.type(0)
            continue
        for k in range(0, dr.shape[0], LANES):
            store(g, k, fma(load_8(dr, k), load_8(tr, k), mul(load_8(di, k), load_8(ti, k))))
