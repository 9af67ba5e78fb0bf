"""Learned from sequences of one length, and from sequences of many.

Both see as many records, in windows of 32 steps. The one kind asks for the cue after 128 steps only: no window ever
holds both. The other asks after 1 to 128 steps, each octave as often as any other: short ones teach to keep the cue,
and what keeps it for a while keeps it for longer. Judged with frozen weights, also over lags that never came up: a
target that is never known is never learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from streamrnn.demo.memory import gradients
from streamrnn.demo.memory.gradients import Shares
from streamrnn.demo.memory.networks import NETWORKS, Network, Weights, generator, recalling
from streamrnn.demo.memory.tasks import recall
from streamrnn.learner.learner import Learner

WINDOW: Final = 32
LONGEST: Final = 128
RECORDS: Final = 250_000
JUDGED_LAGS: Final = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
JUDGED: Final = 100
SEEDS: Final = range(3)

Kind = Literal["one", "many"]
KINDS: Final[tuple[Kind, ...]] = ("one", "many")


@dataclass(frozen=True)
class Learned:
    """What came of learning from one length or from many: by network, the share of right answers by lag, and the
    gradient afterwards."""

    right: dict[Network, dict[int, float]]
    gradient: dict[Network, Shares]


def measure(advance: Callable[[], None]) -> dict[Kind, Learned]:
    """Both kinds. Right answers are the median seed's: now and then one learns to recall, but not for as long."""
    found: dict[Kind, Learned] = {}
    for kind in KINDS:
        found[kind] = Learned({}, {})
        for network in NETWORKS:
            learned = []
            for seed in SEEDS:
                learned.append(weights_after(network, kind, seed))
                advance()
            right = [{lag: share_right(network, w, lag) for lag in JUDGED_LAGS} for w in learned]
            found[kind].right[network] = {lag: float(np.median([r[lag] for r in right])) for lag in JUDGED_LAGS}
            left = (gradients.left(network, seed, w) for seed, w in zip(SEEDS, learned, strict=True))
            found[kind].gradient[network] = gradients.mean(left)
    return found


def weights_after(network: Network, kind: Kind, seed: int) -> Weights:
    """The weights after as many records as both kinds see."""
    learner, rng = Learner(recalling(network, WINDOW), seed), generator(seed)
    done = 0
    while done < RECORDS:
        lags = np.full(10, LONGEST) if kind == "one" else LONGEST ** rng.uniform(size=50)
        block = recall(rng, np.round(lags).astype(np.int64))
        learner.process(block)
        done += len(block)
    return learner.get_weights()


def share_right(network: Network, weights: Weights, lag: int) -> float:
    """The share of cues that are recalled over this lag, without learning."""
    frozen = Learner(recalling(network, WINDOW), 0)
    frozen.set_weights(weights)
    block = recall(np.random.default_rng([34, lag]), np.full(JUDGED, lag))
    asked, cues = block.end, block.y[block.end, 0].copy()
    block.y[:] = np.nan
    said = frozen.process(block).value[asked].argmax(axis=1)
    return float(np.mean(said == cues))
