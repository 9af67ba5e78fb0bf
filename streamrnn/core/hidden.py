"""A tanh layer between state and readout.

z = tanh(h V + b), where h is what the trunk says of a step; of an exact cell its inputs are behind it, and behind z
once more, so that the readout sees them beside the layer. V is stored (read, M), so that inner loops run over units.
"""

from __future__ import annotations

from streamrnn.core.activations import tanh_inplace
from streamrnn.core.arrays import T1, Plan, Scratch
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_product, copy
from streamrnn.core.vector import fma


@internal
def read(plan: Plan, scratch: Scratch, h: T1, z: T1) -> T1:
    """What the readout sees of a step of which the trunk says h: h itself, or z, which is scratch.z.

    (Without reference counts a kernel returns arrays only that it was given.)
    """
    if plan.hidden == 0:
        return h
    M = plan.hidden
    units = z[:M]
    copy(units, scratch.hidden_b)
    add_product(units, scratch.hidden_w, h)
    tanh_inplace(units)
    if plan.skip == 1:
        copy(z[M:], scratch.x[0])
    return z


@internal
def backward(plan: Plan, scratch: Scratch, h: T1, dh: T1) -> None:
    """dh += scratch.dz's part, of what ``read`` made of h; adds to the gradients of the layer's weights."""
    T, M = h.dtype.type, plan.hidden
    z, dz = scratch.z[:M], scratch.dz[:M]
    for m in range(M):
        dz[m] *= T(1) - z[m] * z[m]
        scratch.dhidden_b[m] += dz[m]
    for j in range(h.shape[0]):
        row, drow, total = scratch.hidden_w[j], scratch.dhidden_w[j], T(0)
        for m in range(M):
            drow[m] = fma(h[j], dz[m], drow[m])
            total = fma(row[m], dz[m], total)
        dh[j] += total
