"""The LSTM whose units hear only themselves: one step, its traces, its gradient.

    f = sigm(F x + bF + wf c), z = tanh(Z x + bZ + wz c), c' = f c + (1 - f) z, handed up: sigm(O x + bO) c'
    J = clamp(f + (c - z) f (1 - f) wf + (1 - f) (1 - z^2) wz, -1, 1)
    TF'j = J TFj + (c - z) f (1 - f) vj, TZ'j = J TZj + (1 - f) (1 - z^2) vj, for each vj of [x, 1, c]

Without the clamp on J and the bounds on wf and wz (``constrain``) sensitivities grow without end. Rows of weights:
F (D), bF, wf, Z (D), bZ, wz, O (D), bO. Of traces: TF (D + 2), TZ (D + 2). Irie et al. 2023.
"""

from __future__ import annotations

from streamrnn.core.activations import sigmoid_inplace, tanh_inplace
from streamrnn.core.arrays import K1, T1, T2
from streamrnn.core.exact.constants import bound
from streamrnn.core.jit import internal, jit
from streamrnn.core.linear import add_product, copy, product
from streamrnn.core.vector import LANES, fma, load_8, mul, store

F, Z, C, O, J, AF, AZ, DC, DO = range(9)  # noqa: E741
"""Rows of the work space. AF and AZ are slopes by pre-activations only until ``advance`` is at the traces of wf and wz,
for which it multiplies both with c: nobody may read them afterwards, nor advance twice."""
LARGEST_WF, LARGEST_WZ = 2.0, 4.0


@jit
def wf_row(D: int) -> int:
    """Where wf stands among the rows of weights."""
    return D + 1


@jit
def wz_row(D: int) -> int:
    """Where wz does."""
    return D + 2 + D + 1


@internal
def forward(w: T2, work: T2, state: T2, x: T1, out: T1) -> None:
    """out (N, ...) from state (1, U) and x (D,); nothing but it and work is written."""
    D, N = x.shape[0], out.shape[0] - x.shape[0]
    z_row, o_row = D + 2, 2 * (D + 2)
    f, z, o, c, new = work[F], work[Z], work[O], state[0], work[C]
    add_own(f, w[D], w[wf_row(D)], c)
    add_own(z, w[z_row + D], w[wz_row(D)], c)
    copy(o, w[o_row + D])
    add_product(f, w[:D], x)
    add_product(z, w[z_row : z_row + D], x)
    add_product(o, w[o_row : o_row + D], x)
    sigmoid_inplace(f)
    tanh_inplace(z)
    sigmoid_inplace(o)
    for k in range(f.shape[0]):
        new[k] = fma(f[k], c[k] - z[k], z[k])
    for k in range(N):
        out[k] = o[k] * new[k]


@internal
def add_own(out: T1, b: T1, own: T1, c: T1) -> None:
    """out (U,) = b + own c."""
    for k in range(out.shape[0]):
        out[k] = fma(own[k], c[k], b[k])


@internal
def advance(w: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1) -> None:
    """traces (., U) and state (1, U) after the step that work is of."""
    D, c = x.shape[0], state[0]
    if traces.shape[0] > 0:
        slopes(work[F], work[Z], c, work[AF], work[AZ])
        jacobian(work[F], work[AF], work[AZ], w[wf_row(D)], w[wz_row(D)], work[J])
        tf, tz, jac, af, az = traces[: D + 2], traces[D + 2 :], work[J], work[AF], work[AZ]
        for j in range(D):
            if shown[j] != 0:
                decay_and_add(tf[j], tz[j], jac, af, az, x[j])
        decay_and_add(tf[D], tz[D], jac, af, az, w.dtype.type(1))
        for k in range(c.shape[0]):
            af[k] *= c[k]
            az[k] *= c[k]
        decay_and_add(tf[D + 1], tz[D + 1], jac, af, az, w.dtype.type(1))
    copy(c, work[C])


@internal
def slopes(f: T1, z: T1, c: T1, af: T1, az: T1) -> None:
    """af (U,) and az (U,): how the step's c follows the pre-activations of f and z."""
    one = f.dtype.type(1)
    for k in range(f.shape[0]):
        af[k] = (c[k] - z[k]) * f[k] * (one - f[k])
        az[k] = (one - f[k]) * (one - z[k] * z[k])


@internal
def jacobian(f: T1, af: T1, az: T1, wf: T1, wz: T1, jac: T1) -> None:
    """jac (U,): how it follows the c before."""
    one = f.dtype.type(1)
    for k in range(f.shape[0]):
        jac[k] = min(max(f[k] + af[k] * wf[k] + az[k] * wz[k], -one), one)


@internal
def decay_and_add(tf: T1, tz: T1, jac: T1, af: T1, az: T1, x: float) -> None:
    """tf (U,) = jac tf + af x, and tz likewise."""
    for k in range(0, jac.shape[0], LANES):
        j = load_8(jac, k)
        store(tf, k, fma(j, load_8(tf, k), mul(x, load_8(af, k))))
        store(tz, k, fma(j, load_8(tz, k), mul(x, load_8(az, k))))


@internal
def gradient(dw: T2, work: T2, state: T2, traces: T2, shown: K1, x: T1, dh: T1) -> None:
    """dw (., U) = what dh (N, ...) comes to; state is the one after the step."""
    one, D, N = dw.dtype.type(1), x.shape[0], dh.shape[0] - x.shape[0]
    o, c, dc, do, o_row = work[O], state[0], work[DC], work[DO], 2 * (D + 2)
    dc[N:] = do[N:] = dw.dtype.type(0)
    for k in range(N):
        dc[k] = dh[k] * o[k]
        do[k] = dh[k] * c[k] * o[k] * (one - o[k])
    copy(dw[o_row + D], do)
    for j in range(D):
        scaled(dw[o_row + j], do, x[j])
    for j in range(D + 2):
        if j >= D or shown[j] != 0:
            product(dw[j], dc, traces[j])
            product(dw[D + 2 + j], dc, traces[D + 2 + j])
        else:
            dw[j, :] = dw[D + 2 + j, :] = dw.dtype.type(0)


@internal
def scaled(out: T1, v: T1, factor: float) -> None:
    """out (U,) = factor v."""
    for k in range(0, out.shape[0], LANES):
        store(out, k, mul(factor, load_8(v, k)))


@internal
def constrain(w: T2) -> None:
    """What a unit says to itself, among w (3 D + 5, U), stays within its bounds."""
    D = (w.shape[0] - 5) // 3
    bound(w[wf_row(D)], -LARGEST_WF, LARGEST_WF)
    bound(w[wz_row(D)], -LARGEST_WZ, LARGEST_WZ)
