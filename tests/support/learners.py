"""A learner's whole state as comparable bits, and the state it carries for one stream."""

from __future__ import annotations

import numpy as np

from streamrnn.learner.learner import Learner, Predictions

Bits = dict[str, bytes]


def bits_of(learner: Learner) -> Bits:
    """Every array that is saved, and the keys, bit for bit. Text is for reading a failure."""
    state = learner.state()
    bits = {f"model.{name}": array.tobytes() for name, array in state.model.items()}
    bits |= {f"streams.{name}": array.tobytes() for name, array in state.streams.items()}
    return bits | {"keys": repr(state.keys).encode(), "order": repr(learner.streams.keys()).encode()}


def bits_of_predictions(*parts: Predictions) -> Bits:
    """The predictions of consecutive blocks, bit for bit."""
    names = ("value", "updates", "loss", "error", "grad_norm")
    return {name: np.concatenate([getattr(p, name) for p in parts]).tobytes() for name in names}


def differing(a: Bits, b: Bits) -> list[str]:
    """Names whose bits differ; empty when all agree."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def carried_state(learner: Learner, key: bytes) -> dict[str, np.ndarray]:
    """What is carried for one stream: ``h`` and, for the LSTM, ``c``, each (num_layers, hidden_size)."""
    state = learner.state()
    carried = state.streams["state"][state.keys.index(key)].copy()
    return {name: carried[:, i] for i, name in enumerate("hc"[: learner.layout.state_count])}
