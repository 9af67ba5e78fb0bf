"""What Python adds to the kernel is little: counted are calls of functions, which do not depend on the machine.

The times are in ``tests/bench/estimators``: one event by ``predict_one`` and ``learn_one`` takes tens of microseconds,
and in a batch hardly more than in the learner itself.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamrnn import RNNRegressor

FEW, MANY = 8, 64
"""Features."""
MAX_FUNCTIONS = 20
readouts = pytest.mark.parametrize("readout", ["linear", "rls"])


def calls(action: Callable[[], object]) -> tuple[Counter[str], Counter[str]]:
    """How often which function is called, those written in Python and those written in C."""
    python, native = Counter[str](), Counter[str]()

    def note(frame: Any, event: str, function: Any) -> None:
        if event == "call":
            python[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            native[getattr(function, "__qualname__", repr(function))] += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return python, native


def frame(n: int, features: int = FEW) -> tuple[pd.DataFrame, pd.Series]:
    x = np.random.default_rng(0).normal(size=(n, features))
    return pd.DataFrame(x, columns=[f"f{i}" for i in range(features)]), pd.Series(x[:, 0])


def taught(readout: str, features: int = FEW) -> RNNRegressor:
    """A model that has met its features and compiled what it needs."""
    model = RNNRegressor(hidden_size=32, k1=16, k2=16, readout=readout)
    X, y = frame(100, features)
    for x, target in zip(X.to_dict("records"), y.tolist(), strict=True):
        model.predict_one(x)
        model.learn_one(x, target)
    model.learn_many(X, y)
    return model


@readouts
@pytest.mark.parametrize("method", ["predict_one", "learn_one"])
def test_one_event_passes_through_few_functions_however_many_features_it_has(readout: str, method: str) -> None:
    counted = []
    for features in (FEW, MANY):
        model = taught(readout, features)
        x = {f"f{i}": 0.5 for i in range(features)}
        arguments = (x,) if method == "predict_one" else (x, 1.0)
        counted.append(calls(lambda: getattr(model, method)(*arguments)))  # noqa: B023
    (few, few_native), (many, many_native) = counted
    assert few.total() <= MAX_FUNCTIONS, few
    assert many == few
    assert many_native.total() - few_native.total() <= MANY - FEW  # one look into the event's dict for each


@readouts
def test_a_batch_is_one_call_of_the_learner_and_runs_no_python_for_each_row(readout: str) -> None:
    model = taught(readout)
    counted = []
    for rows in (1_000, 8_000):
        X, y = frame(rows)
        counted.append(calls(lambda: model.learn_many(X, y)))  # noqa: B023
    (short, short_native), (long, long_native) = counted
    assert (long, long_native) == (short, short_native)
    assert short["Foundation.process"] == 1
