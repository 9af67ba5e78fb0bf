"""A learner's predictions and whole state as comparable bits, and how it is asked record by record."""

from __future__ import annotations

import numpy as np

from streamrnn.core.kinds import CLOSE
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec

Bits = dict[str, bytes]
BESIDE = ("texts", "sequences", "told")
"""What predictions hold besides an array with a number for each record."""


def bits_of(learner: Learner) -> Bits:
    """Every array that is saved, and the keys, bit for bit. Text is for reading a failure."""
    state = learner.state()
    bits = {f"model.{name}": array.tobytes() for name, array in state.model.items()}
    bits |= {f"streams.{name}": array.tobytes() for name, array in state.streams.items()}
    return bits | {"keys": repr(state.keys).encode(), "order": repr(learner.streams.keys()).encode()}


def bits_of_predictions(*parts: Predictions) -> Bits:
    """The predictions of consecutive blocks, bit for bit."""
    names = [name for name in Predictions.__slots__ if name not in BESIDE]
    bits = {name: np.concatenate([getattr(p, name) for p in parts]).tobytes() for name in names}
    for name in ("loss", "number"):
        bits[f"texts.{name}"] = b"".join(getattr(p.texts, name).tobytes() for p in parts if p.texts is not None)
    bits["texts.units"] = b"".join(np.diff(p.texts.bounds).tobytes() for p in parts if p.texts is not None)
    return bits


def one_by_one(learner: Learner, block: Block) -> Predictions:
    """What ``process`` says of the block, from single calls."""
    n, one = len(block), learner._one
    value = np.zeros((n, learner.spec.n_outputs))
    pairs = np.zeros((n, 2)), np.zeros((n, 2))
    predictions = Predictions(
        value,
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        pairs[0],
        np.zeros(n),
        pairs[1],
        np.zeros(n),
    )
    for i in range(len(block)):
        if block.kind[i] == CLOSE:
            learner.close(block.keys[i])
            predictions.value[i] = np.nan
        else:
            predictions.value[i] = learner.step(
                block.keys[i], block.kind[i], block.x[i], block.y[i], block.time_ms[i],
                end=block.end[i], event=block.event[i], symbols=[column[i] for column in block.symbols],
                label=None if block.labels is None else block.labels[i],
            )  # fmt: skip
        for name in [name for name in Predictions.__slots__[1:] if name not in BESIDE]:
            getattr(predictions, name)[i] = getattr(one, name)[0]
    return predictions


def differing(a: Bits, b: Bits) -> list[str]:
    """Names whose bits differ; empty when all agree."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def carried_state(learner: Learner, key: bytes) -> dict[str, np.ndarray]:
    """What is carried for one stream, each (num_layers, hidden_size): ``h`` and, for the LSTM, ``c``.

    Of complex units it is real and imaginary parts; of the eLSTM c alone.
    """
    state = learner.state()
    carried = state.streams["state"][state.keys.index(key)][..., : learner.spec.model.units].copy()
    return {name: carried[:, i] for i, name in enumerate("hc"[: learner.layout.state_count])}


def plain_spec(**changes: object) -> LearnerSpec:
    return LearnerSpec(n_features=2, target=TargetSpec(fields=("y",)), **changes)  # type: ignore[arg-type]


def plain_log(n: int, streams: int = 3, seed: int = 0) -> Block:
    rng = np.random.default_rng(seed)
    keys = [b"s%d" % i for i in rng.integers(0, streams, n)]
    time_ms = 1_700_000_000_000 + np.cumsum(rng.integers(0, 1000, n))
    return Block.events(keys, rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), time_ms=time_ms)
