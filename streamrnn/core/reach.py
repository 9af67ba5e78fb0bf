"""How far back a gradient reaches: its norm at the state so many steps before the newest known target of a window.

A network learns from j steps back only what the gradient still says there; where it vanishes on the way (Hochreiter
1991; Bengio et al. 1994; Pascanu et al. 2013) whatever happened before is not learned, however large k2 is. So of a
window now and then the gradient of the loss of one step alone, the newest whose target is known, is followed back: the
sum of all losses would hide the vanishing, since every step on the way injects its own.

The state j steps back is all that the network hands on from step to step, h of every layer and the LSTM's c, which is
its long memory. With respect to it means: as if the remaining j steps began from there. For j = 0 that is the h which
the head reads. Norms are those of all these vectors together, for j = 0, 1, 2, 4, ... as far as the window has steps.

A window reaches no further than it is long, up to its newest known target. How long the longest are depends on how late
targets become known (those of forecasts and labels do after their step), and on how long sequences are. So one that is
longer than the one measured last is measured at once, and after ``EVERY`` windows one as long again is waited for; but
not for ever. Decided by the count of windows, so any cut of the log measures the same ones.
"""

from __future__ import annotations

import math

from streamrnn.core import cells, counts, losses, optim, trunk
from streamrnn.core.arrays import Model, Plan, Scratch
from streamrnn.core.jit import ZERO, internal, jit

EVERY = 128
"""Windows from one that is measured to the next: it takes about a quarter of the time that a window takes."""
PATIENCE = 512
"""Windows after which a shorter one is measured, too."""


@internal
def due(model: Model, steps: int) -> bool:
    """Whether the window just accepted, of that many steps, is to be measured. The first one always is."""
    since = model.counters[counts.WINDOWS] - model.gauges[counts.REACH_WINDOW]
    longest = model.gauges[counts.REACH_STEPS]
    return bool(steps > longest or (since >= EVERY and steps == longest) or since >= PATIENCE)


@jit
def measure(plan: Plan, model: Model, scratch: Scratch, steps: int) -> None:
    """Writes model.state_gradient from the tape of the first ``steps`` steps in scratch, whose last one has a target.

    Called behind the window's own backward pass, of which the newest step's dh is left as the head gave it. It is not
    inlined, although that means copying the tuples: otherwise all learning is three per cent slower.
    """
    newest = steps - 1
    scratch.dh[:newest] = scratch.dh.dtype.type(0)
    norms = model.state_gradient
    norms[:] = 0.0
    norms[0] = optim.inner_product(scratch.dh[newest], scratch.dh[newest])
    for row in range(scratch.layers.shape[0] - 1, -1, -1):
        layer = trunk.layer_at(scratch.x, scratch.layers[row], 0)
        cells.propagate(layer, steps)
        for i in range(1, norms.shape[0]):
            if steps_back(i) <= steps:
                norms[i] += cells.square_handed_back(layer, steps - steps_back(i), scratch.carried)
        cells.propagate_to_inputs(layer, steps)
    # The head divided by all known elements of the window, of which those of the newest step are a part.
    known, share = ZERO, ZERO
    for t in range(steps):
        share = losses.known_elements(plan.loss, scratch.targets[t], scratch.raw.shape[0])
        known += share
    for i in range(norms.shape[0]):
        norms[i] = math.sqrt(norms[i]) * (known / share)
    model.gauges[counts.REACH_WINDOW] = model.counters[counts.WINDOWS]
    model.gauges[counts.REACH_STEPS] = steps


@jit
def steps_back(i: int) -> int:
    """Which state entry i is of: 0, 1, 2, 4, 8, ... steps back."""
    return 0 if i == 0 else 1 << (i - 1)


def entries(k2: int) -> int:
    """How many there are up to k2 steps back.

    >>> [entries(k2) for k2 in (1, 2, 3, 4, 32)]
    [2, 3, 3, 4, 7]
    """
    return k2.bit_length() + 1
