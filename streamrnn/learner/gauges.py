"""How does it learn? Numbers that are worked out from a learner's arrays when somebody looks at them.

Each function takes the arrays of a state's model, of a learner at work (``Learner.model_arrays``) as well as of a
checkpoint. What is not known is left out, or None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core import counts, drift, reach, rls

Arrays = Mapping[str, npt.NDArray[Any]]

EXPERTS = {rls.FULL: "network", rls.PLAIN: "linear", rls.STILL: "baseline", rls.REPEAT: "last"}
"""The experts of the RLS readout by what they are to a reader. The baseline is the running mean, or what forecasts are
differences to."""
REACHED = 0.01
"""The share of the gradient's norm at the newest step that is still enough to learn from."""


def finite(value: float | None) -> float | None:
    """The value; None where it is no number that can be shown, as after steps that went out of all bounds."""
    return value if value is not None and math.isfinite(value) else None


def weight_norm(model: Arrays) -> float:
    """Euclidean norm of the network's weights, also where they are fixed; those of readout rls are not among them."""
    return float(np.sqrt(np.square(model["theta"], dtype=np.float64).sum()))


def update_to_weight_ratio(model: Arrays) -> float | None:
    """Norm of the newest optimiser step that was measured, over that of the weights; None before the first."""
    if not model["counters"][counts.WINDOWS] or not model["counters"][counts.UPDATES]:
        return None  # of a warm start the steps are known, and no window is
    weights, ratio = weight_norm(model), float(model["gauges"][counts.UPDATE_NORM])
    return ratio / weights if weights > 0.0 else None


def steps_followed(model: Arrays) -> list[int]:
    """How many steps back gradients may be followed: 0, 1, 2, 4, ... up to k2."""
    return [reach.steps_back(i) for i in range(len(model["state_gradient"]))]


def state_gradient_norms(model: Arrays) -> dict[int, float]:
    """Norm of the loss's gradient with respect to the state 0, 1, 2, 4, ... steps back, of the newest window measured.

    As many as that window had steps for; none before the first.
    """
    steps = model["gauges"][counts.REACH_STEPS]
    norms = zip(steps_followed(model), model["state_gradient"].tolist(), strict=True)
    return {back: norm for back, norm in norms if back <= steps and steps > 0}


def gradient_reach_steps(norms: Mapping[int, float]) -> int | None:
    """The most steps back at which a norm of ``state_gradient_norms`` is more than 1 % of what it is at 0.

    >>> gradient_reach_steps({0: 2.0, 1: 1.0, 2: 0.3, 4: 0.019})
    2
    """
    return max((back for back, norm in norms.items() if norm > REACHED * norms[0]), default=0) if norms else None


def mixture_shares(model: Arrays) -> dict[str, float]:
    """The share of each expert in the mean that the RLS readout predicts, averaged over outputs; none without it.

    What a model says is itself drawn to the last value as long as its weights are uncertain; that is not told apart.
    """
    shares = [
        rls.shares(losses, count)
        for losses, count in zip(model["readout_losses"].tolist(), model["readout_loss_count"].tolist(), strict=True)
    ]
    return {EXPERTS[e]: sum(share[e] for share in shares) / len(shares) for e in EXPERTS} if shares else {}


def input_drift(model: Arrays) -> npt.NDArray[np.float64]:
    """Of each encoded feature, and of dt at last: fast mean minus slow mean (``core.drift``), in deviations; (U+1,).

    NaN where nothing is known yet: the means are the same until the fast one forgets.
    """
    means, count, m2 = model["x_drift"], model["x_count"], model["x_m2"]
    known = means[:, drift.COUNT] > drift.FAST
    variance = np.where(known & (m2 > 0.0), m2 / np.maximum(count, 1.0), 1.0)
    distance: npt.NDArray[np.float64] = (means[:, drift.FAST_MEAN] - means[:, drift.SLOW_MEAN]) / np.sqrt(variance)
    return np.where(known & np.isfinite(distance), distance, math.nan)
