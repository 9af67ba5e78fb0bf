"""Recurrent weights twice as large as they should be: gradients explode, and what clipping does about it.

Plain SGD takes the gradient as it is, so that a single one that exploded throws the weights out of all bounds, from
where every later gradient overflows. Such a window is not learned from: the learner counts and drops it. Clipping
shortens the gradient to a norm of 1 and leaves its direction (Pascanu et al. 2013). Bounds of the learner's own beyond
clipping (``polyak_bound``) are off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streamrnn.demo.memory import gradients
from streamrnn.demo.memory.networks import NETWORKS, Network, generator, repeating, with_gain
from streamrnn.demo.memory.tasks import repeat
from streamrnn.learner.learner import Learner

GAIN: Final = 2.0
STEPS: Final = 64
WINDOWS: Final = 3_000
SEEDS: Final = range(3)
CLIPS: Final = (None, 1.0)
_LAST: Final = 500

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """What came of it. ``loss`` is that of each window, of the first seed; 1 is what the mean as answer would cost.

    ``growth`` is the gradient 64 steps back over that at the newest step, ``unusable`` the share of windows that were
    not finite, ``error`` the loss of the last 500 windows; infinite where that overflowed.
    """

    loss: Floats
    growth: float
    unusable: float
    error: float


def measure(advance: Callable[[], None]) -> dict[float | None, dict[Network, Course]]:
    """By clipping norm (None: without) and network."""
    found: dict[float | None, dict[Network, Course]] = {clip: {} for clip in CLIPS}
    for clip in CLIPS:
        for network in NETWORKS:
            found[clip][network] = course(network, clip)
            advance()
    return found


def course(network: Network, clip: float | None, gain: float = GAIN) -> Course:
    """Means over seeds, of the growth a geometric one."""
    learning = {"optimizer": "sgd", "lr": 0.2, "clip_norm": clip, "polyak_bound": None}
    losses, unusable, growths = [], 0, []
    for seed in SEEDS:
        growths.append(_growth(network, gain, seed, learning))
        learner = with_gain(Learner(repeating(network, STEPS, learning), seed), gain)
        losses.append(_by_window(learner.process(repeat(generator(seed), WINDOWS, STEPS)).loss))
        counters = learner.counters()
        unusable += counters["windows_dropped_gradient"] + counters["windows_dropped_loss"]
    return Course(
        loss=losses[0],
        growth=gradients.mean(growths)[STEPS],
        unusable=unusable / (len(SEEDS) * WINDOWS),
        error=float(np.mean([loss[-_LAST:].mean() for loss in losses])),
    )


def _growth(network: Network, gain: float, seed: int, learning: dict[str, Any]) -> gradients.Shares:
    learner = with_gain(Learner(repeating(network, STEPS, learning), seed), gain)
    learner.process(repeat(generator(seed), 1, STEPS))
    return gradients.shares(learner)


def _by_window(loss: Floats) -> Floats:
    """The mean loss of each window's scored records; infinite where one overflowed and so could not be scored."""
    scored = loss.reshape(WINDOWS, STEPS)[:, 2:]
    means: Floats = np.where(np.isfinite(scored), scored, np.inf).mean(axis=1)
    return means
