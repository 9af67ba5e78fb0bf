"""The longest lag that is bridged when every sequence is as long.

A lag counts as bridged when, after at most 5,000 sequences, 95 % of the newest 200 answers were right, each given
before it was learned from; with three of five seeds, as single ones differ by a factor of two. It is doubled until
that fails, each time from the start.

A window of k2 steps ends at the answer. The cue is in it when the lag is shorter than k2; what lies before acts on it
only through the state it begins from, which no gradient improves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from streamrnn.demo.memory.networks import NETWORKS, Network, generator, recalling
from streamrnn.demo.memory.tasks import recall
from streamrnn.learner.learner import Learner

LAGS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
WINDOWS: Final = (8, 32, 128)
LAYERS: Final = (1, 2, 3)
DEEP_WINDOW: Final = 32
SEQUENCES, JUDGED, RIGHT = 5_000, 200, 0.95
SEEDS: Final = 5
_CHUNK: Final = 100

Lags = dict[int, dict[Network, int]]
"""By k2, or by layers, the longest lag that each network bridges; 0 = none."""


def longest(network: Network, k2: int, layers: int = 1) -> int:
    """The longest lag that is bridged, 0 where none is."""
    bridged = 0
    for lag in LAGS:
        if not _is_bridged(network, k2, lag, layers):
            break
        bridged = lag
    return bridged


def _is_bridged(network: Network, k2: int, lag: int, layers: int) -> bool:
    """Whether most seeds bridge it; no more are tried than it takes to know."""
    tried = [0, 0]
    for seed in range(SEEDS):
        tried[sequences_needed(network, k2, lag, seed, layers) is not None] += 1
        if max(tried) > SEEDS // 2:
            break
    return tried[True] > tried[False]


def sequences_needed(network: Network, k2: int, lag: int, seed: int, layers: int = 1) -> int | None:
    """Sequences until the lag is bridged; None when it is not."""
    learner, rng = Learner(recalling(network, k2, layers), seed), generator(seed)
    wrong = np.empty(0)
    while len(wrong) < SEQUENCES:
        block = recall(rng, np.full(_CHUNK, lag))
        wrong = np.append(wrong, learner.process(block).error[block.end])
        if len(wrong) >= JUDGED and wrong[-JUDGED:].mean() <= 1 - RIGHT:
            return len(wrong)
    return None


def by_window(advance: Callable[[], None]) -> Lags:
    """For each k2, with one layer."""
    found: Lags = {k2: {} for k2 in WINDOWS}
    for k2 in WINDOWS:
        for network in NETWORKS:
            found[k2][network] = longest(network, k2)
            advance()
    return found


def by_layers(known: dict[Network, int], advance: Callable[[], None]) -> Lags:
    """For each number of layers, with k2 = 32. ``known`` is what one layer bridges."""
    found: Lags = {1: known}
    for layers in LAYERS[1:]:
        found[layers] = {}
        for network in NETWORKS:
            found[layers][network] = longest(network, DEEP_WINDOW, layers)
            advance()
    return found


def cpu_us(network: Network, layers: int) -> float:
    """Microseconds of CPU that a record takes: predicting, and learning from windows that cover every record."""
    learner = Learner(recalling(network, DEEP_WINDOW, layers), 0)
    block = recall(generator(0), np.full(500, DEEP_WINDOW - 1))
    learner.process(block)  # what is done first takes longer
    began = time.process_time()
    learner.process(block)
    return 1e6 * (time.process_time() - began) / len(block)
