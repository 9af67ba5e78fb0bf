"""How much of the gradient is left so many steps back, measured by the kernel itself (``core.reach``).

One sequence of the recall task goes through a learner whose window covers it. The gradient is that of the loss of the
answer alone, with respect to the state 1, 2, 4, ... 128 steps before it (h, and the LSTM's c); given is its norm over
that with respect to the h which the answer is read from. The first window of a learner is always measured, before
anything was learned from it. Means over seeds are geometric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from streamrnn.demo.memory.networks import NETWORKS, Network, Weights, generator, recalling
from streamrnn.demo.memory.tasks import recall
from streamrnn.learner.gauges import state_gradient_norms
from streamrnn.learner.learner import Learner

SPAN: Final = 128
SEEDS: Final = range(8)
SMALLEST: Final = 1e-38
"""About the smallest that float32 tells from zero."""

Shares = dict[int, float]
"""By steps back, the share of the gradient that is left."""


def at_the_start(network: Network, layers: int = 1) -> Shares:
    """Before anything was learned."""
    return mean(left(network, seed, None, layers) for seed in SEEDS)


def left(network: Network, seed: int, weights: Weights | None, layers: int = 1) -> Shares:
    """Of one sequence; with initial weights, unless some are given."""
    learner = Learner(recalling(network, SPAN, layers), seed)
    if weights is not None:
        learner.set_weights(weights)
    learner.process(recall(generator(seed), np.array([SPAN])))
    return shares(learner)


def shares(learner: Learner) -> Shares:
    """What is left in the window that the learner measured last."""
    norms = state_gradient_norms(learner.model_arrays())
    return {back: norm / max(norms[0], SMALLEST) for back, norm in norms.items()}


def mean(several: Iterable[Shares]) -> Shares:
    """Their geometric mean."""
    rows = list(several)
    return {back: float(np.exp(np.mean([np.log(max(row[back], SMALLEST)) for row in rows]))) for back in rows[0]}


def measure(advance: Callable[[], None]) -> dict[Network, Shares]:
    """At the start, by network."""
    found = {}
    for network in NETWORKS:
        found[network] = at_the_start(network)
        advance()
    return found
