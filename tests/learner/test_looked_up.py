"""Inputs that are looked up are to the bit one-hot columns that are multiplied; gradients of their rows."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import numpy as np
import pytest

from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec

FIRST = "rnn.weight_ih_l0"
PAGES = Symbols(values=("p", "q", "r", "s"))
PLAIN = LearningSpec(k1=7, k2=8, optimizer="sgd", lr=1.0, clip_norm=None, polyak_bound=None)
"""One window of seven steps, after which each weight has lost its gradient."""

Cell = Literal["rnn", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")


def learner_of(
    cell: Cell, dtype: Literal["float32", "float64"], *, hidden: int = 5, layers: int = 1, **given: Any
) -> Learner:
    """A learner whose weights are all away from zero, biases too."""
    spec = LearnerSpec(
        model=ModelSpec(cell=cell, hidden_size=hidden, num_layers=layers, dtype=dtype, readout="softmax"),
        learning=PLAIN,
        **given,
    )
    learner, rng = Learner(spec, seed=1), np.random.default_rng(2)
    learner.set_weights({name: rng.uniform(-0.9, 0.9, w.shape) for name, w in learner.get_weights().items()})
    return learner


def log(records: int = 14) -> tuple[np.ndarray, list[str | None], np.ndarray]:
    """One number, one page (sometimes none, never ``s``) and one class of four for each record."""
    rng = np.random.default_rng(3)
    names: list[str | None] = ["p", "q", "r", None]
    pages = [names[k] for k in rng.choice(4, records, p=[0.5, 0.2, 0.2, 0.1])]
    return rng.normal(size=(records, 1)), pages, rng.integers(0, 4, (records, 1)).astype(float)


def block_of(x: np.ndarray, y: np.ndarray, *symbols: list[str | None]) -> Block:
    events = Block.events([b"a"] * len(x), x, y)
    return Block(*(getattr(events, name) for name in Block.__slots__[:7]), symbols=symbols)


def one_hot(pages: list[str | None]) -> np.ndarray:
    return np.array([[page == name for name in PAGES.values or ()] for page in pages], float)


@pytest.mark.parametrize(("cell", "dtype"), list(itertools.product(CELLS, ["float32", "float64"])))
def test_a_symbol_looked_up_is_a_one_hot_vector_multiplied_to_the_bit(
    cell: Cell, dtype: Literal["float32", "float64"]
) -> None:
    x, pages, y = log()
    target, inputs = TargetSpec(fields=("y",), classes=(0, 1, 2, 3)), InputSpec(dt=False, previous_target=False)
    by_index = learner_of(cell, dtype, n_features=1, symbols=(PAGES,), target=target, inputs=inputs)
    indicator = (False, True, True, True, True)
    multiplied = learner_of(cell, dtype, n_features=5, indicator=indicator, target=target, inputs=inputs)
    assert_same(by_index, block_of(x, y, pages), multiplied, block_of(np.hstack([x, one_hot(pages)]), y))


@pytest.mark.parametrize(("cell", "dtype"), list(itertools.product(CELLS, ["float32", "float64"])))
def test_a_previous_class_looked_up_is_a_one_hot_vector_with_a_flag_multiplied_to_the_bit(
    cell: Cell, dtype: Literal["float32", "float64"]
) -> None:
    x, _, y = log()
    target = TargetSpec(fields=("y",), known="forecast", classes=(0, 1, 2, 3))
    by_index = learner_of(cell, dtype, n_features=1, target=target, inputs=InputSpec(dt=False))
    indicator, inputs = (False, True, True, True, True, True), InputSpec(dt=False, previous_target=False)
    multiplied = learner_of(cell, dtype, n_features=6, indicator=indicator, target=target, inputs=inputs)
    columns = np.hstack([x, y == np.arange(4), np.ones_like(x)])
    assert_same(by_index, block_of(x, y), multiplied, block_of(columns, y))


def assert_same(by_index: Learner, symbols: Block, multiplied: Learner, columns: Block) -> None:
    """The same predictions until the first step, the same gradient in it, and thus the same weights behind it."""
    np.testing.assert_array_equal(by_index.get_weights()[FIRST], multiplied.get_weights()[FIRST])
    said = by_index.process(symbols.rows(slice(0, 7))), multiplied.process(columns.rows(slice(0, 7)))
    np.testing.assert_array_equal(said[0].value, said[1].value)
    assert by_index.counters()["updates"] == multiplied.counters()["updates"] == 1
    assert by_index.gauges()["window_loss"] == multiplied.gauges()["window_loss"]
    for name, w in multiplied.get_weights().items():
        np.testing.assert_array_equal(by_index.get_weights()[name], w, name)
    said = by_index.process(symbols.rows(slice(7, 13))), multiplied.process(columns.rows(slice(7, 13)))
    np.testing.assert_array_equal(said[0].value, said[1].value)


@pytest.mark.parametrize(("cell", "known"), list(itertools.product(CELLS, ["record", "forecast"])))
def test_gradients_of_rows_match_central_differences(cell: Cell, known: Literal["record", "forecast"]) -> None:
    x, pages, y = log(7)
    target = TargetSpec(fields=("y",), known=known, classes=(0, 1, 2, 3))
    given: dict[str, Any] = {"n_features": 1, "symbols": (PAGES,), "target": target, "inputs": InputSpec(dt=False)}
    given |= {"hidden": 3, "layers": 2}

    def run(weight: np.ndarray | None = None) -> Learner:
        learner = learner_of(cell, "float64", **given)
        if weight is not None:
            learner.set_weights(learner.get_weights() | {FIRST: weight})
        learner.process(block_of(x, y, pages))
        return learner

    weight, step = learner_of(cell, "float64", **given).get_weights()[FIRST], 1e-3
    gradient, expected = weight - run().get_weights()[FIRST], np.zeros_like(weight)
    for index in np.ndindex(weight.shape):
        losses = {}
        for steps in (-2, -1, 1, 2):  # two differences put together, whose errors of the second order cancel
            changed = weight.copy()
            changed[index] += steps * step
            losses[steps] = run(changed).gauges()["window_loss"]
        expected[index] = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / (12 * step)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)
    unused = np.flatnonzero(~expected.any(axis=0)).tolist()
    assert 4 in unused, "the page that never came"
    assert len(unused) < 5
