"""The LSTM whose units hear only themselves: one step, its traces, its gradient.

    f = sigm(F x + bF + wf c), z = tanh(Z x + bZ + wz c), c' = f c + (1 - f) z, handed up: sigm(O x + bO) c'
    J = clamp(f + (c - z) f (1 - f) wf + (1 - f) (1 - z^2) wz, -1, 1)
    TF'j = J TFj + (c - z) f (1 - f) vj, TZ'j = J TZj + (1 - f) (1 - z^2) vj, for each vj of [x, 1, c]

Without the clamp on J and the bounds on wf and wz (``constrain``) sensitivities grow without end. Rows of weights:
F (D), bF, wf, Z (D), bZ, wz, O (D), bO. Of traces: TF (D + 2), TZ (D + 2). Irie et al. 2023.
"""

from __future__ import annotations

from streamrnn.core.activations import sigmoid_inplace, tanh_inplace
from streamrnn.core.arrays import T1, T2
from streamrnn.core.jit import internal

F, Z, C, O, J, AF, AZ, BEFORE, DC, DO = range(10)  # noqa: E741
LARGEST_WF, LARGEST_WZ = 2.0, 4.0


@internal
def forward(w: T2, work: T2, state: T2, x: T1, out: T1) -> None:
    """out (N, ...) from state (1, U) and x (D,); nothing but it and work is written."""
    T = w.dtype.type
    one, D, N = T(1), x.shape[0], out.shape[0] - x.shape[0]
    f, z, o, c, new = work[F], work[Z], work[O], state[0], work[C]
    bf, wf, bz, wz, bo = w[D], w[D + 1], w[D + 2 + D], w[D + 2 + D + 1], w[2 * (D + 2) + D]
    for k in range(f.shape[0]):
        f[k], z[k], o[k] = bf[k] + wf[k] * c[k], bz[k] + wz[k] * c[k], bo[k]
    for j in range(D):
        ff, zz, oo, xj = w[j], w[D + 2 + j], w[2 * (D + 2) + j], x[j]
        for k in range(f.shape[0]):
            f[k] += ff[k] * xj
            z[k] += zz[k] * xj
            o[k] += oo[k] * xj
    sigmoid_inplace(f)
    tanh_inplace(z)
    sigmoid_inplace(o)
    for k in range(f.shape[0]):
        new[k] = f[k] * c[k] + (one - f[k]) * z[k]
    for k in range(N):
        out[k] = o[k] * new[k]


@internal
def advance(w: T2, work: T2, state: T2, traces: T2, x: T1) -> None:
    """traces (., U) and state (1, U) after the step that work is of."""
    T = w.dtype.type
    one, D = T(1), x.shape[0]
    f, z, c, jac, af, az = work[F], work[Z], state[0], work[J], work[AF], work[AZ]
    wf, wz = w[D + 1], w[D + 2 + D + 1]
    if traces.shape[0] > 0:
        for k in range(f.shape[0]):
            af[k] = (c[k] - z[k]) * f[k] * (one - f[k])
            az[k] = (one - f[k]) * (one - z[k] * z[k])
            jac[k] = min(max(f[k] + af[k] * wf[k] + az[k] * wz[k], -one), one)
        for j in range(D + 1):
            xj = x[j] if j < D else one
            decay_and_add(traces[j], jac, af, xj)
            decay_and_add(traces[D + 2 + j], jac, az, xj)
        tf, tz = traces[D + 1], traces[D + 2 + D + 1]
        for k in range(f.shape[0]):
            tf[k] = jac[k] * tf[k] + af[k] * c[k]
            tz[k] = jac[k] * tz[k] + az[k] * c[k]
    for k in range(f.shape[0]):
        c[k] = work[C, k]


@internal
def decay_and_add(trace: T1, jac: T1, a: T1, x: float) -> None:
    """trace (U,) = jac trace + a x."""
    for k in range(trace.shape[0]):
        trace[k] = jac[k] * trace[k] + a[k] * x


@internal
def gradient(dw: T2, work: T2, state: T2, traces: T2, x: T1, dh: T1) -> None:
    """dw (., U) += what dh (N, ...) comes to; state is the one after the step."""
    T = dw.dtype.type
    one, D, N = T(1), x.shape[0], dh.shape[0] - x.shape[0]
    o, c, dc, do = work[O], state[0], work[DC], work[DO]
    dc[:] = do[:] = T(0)
    for k in range(N):
        dc[k], do[k] = dh[k] * o[k], dh[k] * c[k] * o[k] * (one - o[k])
    for j in range(2 * (D + 2)):
        g, trace = dw[j], traces[j]
        for k in range(dc.shape[0]):
            g[k] += dc[k] * trace[k]
    for j in range(D + 1):
        g, xj = dw[2 * (D + 2) + j], x[j] if j < D else one
        for k in range(do.shape[0]):
            g[k] += do[k] * xj


@internal
def constrain(w: T2, n_rows: int) -> None:
    """What a unit says to itself stays within its bounds; n_rows = 3 D + 5."""
    T, D = w.dtype.type, (n_rows - 5) // 3
    wf, wz = w[D + 1], w[D + 2 + D + 1]
    for k in range(w.shape[1]):
        wf[k] = min(max(wf[k], T(-LARGEST_WF)), T(LARGEST_WF))
        wz[k] = min(max(wz[k], T(-LARGEST_WZ)), T(LARGEST_WZ))
