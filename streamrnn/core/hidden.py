"""A tanh layer between state and readout.

z = tanh(h V + b), where h is what the trunk says of a step; of an exact cell its inputs are behind it, and behind z
once more, so that the readout sees them beside the layer. V is stored (read, M), so that inner loops run over units.
"""

from __future__ import annotations

from streamrnn.core.activations import tanh_inplace
from streamrnn.core.arrays import T1, Plan, Scratch
from streamrnn.core.jit import internal
from streamrnn.core.linear import add_outer_product, add_product, add_transposed_product, add_vector, copy


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
    """dh (the cell's part) += what scratch.dz, of what ``read`` made of h, comes to; adds to the weights' gradients."""
    one, M = h.dtype.type(1), plan.hidden
    z, dz = scratch.z[:M], scratch.dz[:M]
    for m in range(M):
        dz[m] *= one - z[m] * z[m]
    add_vector(scratch.dhidden_b, dz)
    add_outer_product(scratch.dhidden_w, h, dz)
    n = dh.shape[0] - plan.skip * scratch.x.shape[1]  # nobody asks for the gradient of the inputs
    add_transposed_product(dh[:n], scratch.hidden_w, dz)
