"""What one event costs: from a dict in Python below 40 microseconds, in batches hardly more than the learner itself.

Timed are medians over many short pieces. Of several repeats the best one counts: whatever else runs on a machine makes
things slower, never faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamrnn import (
    Block,
    InputSpec,
    Learner,
    LearnerSpec,
    LearningSpec,
    ModelSpec,
    RNNRegressor,
    StreamSpec,
    TargetSpec,
)

FEATURES, HIDDEN, WINDOW = 8, 32, 16
MAX_US_PER_EVENT = 40.0
MAX_RATIO = 1.5
ROWS, REPEATS = 8_000, 9
NAMES = [f"f{i}" for i in range(FEATURES)]


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [n, FEATURES] and targets [n]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, FEATURES))
    return x, x[:, 0] - 0.5 * np.roll(x[:, 1], 1)


def model(**parameters: Any) -> RNNRegressor:
    """LSTM 32 with TBPTT(16, 16)."""
    return RNNRegressor(cell="lstm", hidden_size=HIDDEN, k1=WINDOW, k2=WINDOW, **parameters)


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_predicting_and_learning_one_event_takes_less_than_40_us(readout: str) -> None:
    x, y = data(400)
    pairs = list(zip((dict(zip(NAMES, row, strict=True)) for row in x.tolist()), y.tolist(), strict=True))
    subject = model(readout=readout)

    def piece() -> None:
        for row, target in pairs:
            subject.predict_one(row)
            subject.learn_one(row, target)

    for _ in range(3):
        piece()
    best = min(statistics.median(seconds(piece) for _ in range(15)) for _ in range(5))
    us_per_event = 1e6 * best / len(pairs)
    assert us_per_event < MAX_US_PER_EVENT


def test_learning_in_batches_costs_at_most_half_more_than_the_learner_alone() -> None:
    x, y = data(ROWS)
    X, target = pd.DataFrame(x, columns=NAMES), pd.Series(y)
    subject = model(readout="linear", previous_target=True)
    spec = LearnerSpec(
        n_features=FEATURES,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(cell="lstm", hidden_size=HIDDEN),
        learning=LearningSpec(k1=WINDOW, k2=WINDOW),
        inputs=InputSpec(dt=False, previous_target=True),
        streams=StreamSpec(max_streams=10_000),
    )
    learner = Learner(spec, seed=0)
    block = Block.events([b""] * ROWS, x, y[:, None].copy())
    times: dict[str, list[float]] = {"learn_many": [], "process": []}
    for _ in range(REPEATS):
        times["learn_many"].append(seconds(lambda: subject.learn_many(X, target)))
        times["process"].append(seconds(lambda: learner.process(block)))
    ratio = statistics.median(times["learn_many"]) / statistics.median(times["process"])
    assert ratio < MAX_RATIO, f"{ratio:.2f} times as long"
