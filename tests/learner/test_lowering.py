"""The weights that a learner begins with, where symbols are looked up and where they are predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from streamrnn import InputSpec, Learner, LearnerSpec, ModelSpec, TargetSpec
from streamrnn.core.layout import Layout
from streamrnn.learner.symbols import Symbols, TextSpec


def first_weights(target: TargetSpec, text: TextSpec | None = None) -> dict[str, npt.NDArray[Any]]:
    """Of a learner of 16 units with one number as its input, unless it reads texts."""
    spec = LearnerSpec(
        n_features=0 if text else 1, target=target, text=text,
        model=ModelSpec(hidden_size=16, readout="linear" if target.classes is None else "softmax"),
        inputs=InputSpec(dt=False, previous_target=True),
    )  # fmt: skip
    return Learner(spec, seed=3).get_weights()


@pytest.mark.parametrize("size", [20, 2_000])
def test_rows_that_are_looked_up_begin_with_a_deviation_of_one_however_many_there_are(size: int) -> None:
    classes = Symbols(values=tuple(map(str, range(size))))
    weights = first_weights(TargetSpec(fields=("y",), classes=classes, known="forecast"))
    columns = weights["rnn.weight_ih_l0"]
    assert columns.shape == (64, 1 + size + 1)  # the number, the classes, and whether one is known
    assert columns[:, 1:].std() == pytest.approx(1.0, abs=0.03)
    assert abs(columns[:, 1:]).max() <= np.sqrt(3)
    assert abs(columns[:, :1]).max() < 0.6


def test_the_head_begins_large_only_where_the_next_symbol_is_all_that_is_predicted() -> None:
    classes, letters = tuple("abcdefgh"), Symbols(bytes=True)
    texts = first_weights(TargetSpec(fields=("t",), classes=letters), TextSpec(mark_end=False))["head.weight"]
    forecast = first_weights(TargetSpec(fields=("y",), classes=classes, known="forecast"))["head.weight"]
    record = first_weights(TargetSpec(fields=("y",), classes=classes))["head.weight"]
    numbers = first_weights(TargetSpec(fields=("y",), known="forecast"))["head.weight"]
    assert abs(texts).max() == pytest.approx(0.5, abs=0.01)
    assert abs(forecast).max() == pytest.approx(0.5, abs=0.03)
    assert abs(record).max() < 0.06
    assert abs(numbers).max() < 0.07


def test_without_symbols_weights_begin_as_the_layout_says() -> None:
    spec = LearnerSpec(n_features=3, target=TargetSpec(fields=("y",)), model=ModelSpec(hidden_size=8))
    learner = Learner(spec, seed=3)
    layout: Layout = learner.layout
    expected = layout.get_weights(layout.initialise(3, np.float32))
    for name, weights in learner.get_weights().items():
        np.testing.assert_array_equal(weights, expected[name], name)
