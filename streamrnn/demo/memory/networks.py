"""The networks that are compared, and the settings that they share.

All see the same records and have as many units. The learning rate is a third of the default, with which the RNN and
the LSTM bridge less in as many sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from streamrnn.demo.memory.tasks import CUES, SYMBOLS
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec

UNITS: Final = 32
LR: Final = 1e-3
CLIP_NORM: Final = 1.0
LONG: Final = 128
"""Steps over which half of the units remember at the start, where memory is long."""

Weights = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """A cell, and whether its gates are set to remember from the start (``model.memory``)."""

    name: str
    short: str
    cell: Literal["rnn", "gru", "lstm"]
    memory: int | None = None


NETWORKS: Final = (
    Network("RNN", "RNN", "rnn"),
    Network("GRU", "GRU", "gru"),
    Network("LSTM", "LSTM", "lstm"),
    Network("GRU with long memory", "GRU +", "gru", LONG),
    Network("LSTM with long memory", "LSTM +", "lstm", LONG),
)
PLAIN: Final = NETWORKS[:3]
PATIENT: Final = NETWORKS[3:]
"""Those that begin with long memory."""


def recalling(network: Network, k2: int, layers: int = 1) -> LearnerSpec:
    """The specification of a learner of ``tasks.recall``. Windows do not overlap: there is one target a sequence."""
    return LearnerSpec(
        n_features=SYMBOLS,
        indicator=(True,) * SYMBOLS,
        target=TargetSpec(fields=("cue",), classes=tuple(str(cue) for cue in range(CUES))),
        has_end=True,
        model=ModelSpec(
            cell=network.cell, hidden_size=UNITS, num_layers=layers, memory=network.memory, readout="softmax"
        ),
        learning=LearningSpec(k1=k2, k2=k2, lr=LR, clip_norm=CLIP_NORM),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def repeating(network: Network, steps: int, learning: dict[str, Any]) -> LearnerSpec:
    """The specification of a learner of ``tasks.repeat``, whose windows are whole sequences."""
    return LearnerSpec(
        n_features=1,
        target=TargetSpec(fields=("past",)),
        has_end=True,
        model=ModelSpec(cell=network.cell, hidden_size=UNITS, memory=network.memory),
        learning=LearningSpec(k1=steps, k2=steps, **learning),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def with_gain(learner: Learner, gain: float) -> Learner:
    """The learner, its recurrent weights made so many times as large. Those of an RNN begin orthogonal."""
    weights = learner.get_weights()
    learner.set_weights({**weights, "rnn.weight_hh_l0": gain * weights["rnn.weight_hh_l0"]})
    return learner


def generator(seed: int) -> np.random.Generator:
    """What draws the records of the run with this seed."""
    return np.random.default_rng([12, seed])
