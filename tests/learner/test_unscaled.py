"""One absurd input that nobody scales: it passes, whatever the cell, and what it left behind in traces does, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core.inputs import LARGEST
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec

CELLS: tuple[dict[str, Any], ...] = (
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "elstm"},
    {"cell": "glru"},
    {"cell": "glru", "gates": False},
    {"cell": "glru", "hidden_layer": 8},
    {"cell": "bank", "readout": "rls"},
)
STEPS, STREAMS, AT = 400, 4, 200


def learner(**model: Any) -> Learner:
    spec = LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(hidden_size=8, **model),
        learning=LearningSpec(scale=False),
    )
    return Learner(spec, seed=1)


def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((STEPS * STREAMS, 2))


def events(x: np.ndarray, y: np.ndarray) -> Block:
    n = len(x)
    return Block.events([b"%d" % (i % STREAMS) for i in range(n)], x, y[:, None], time_ms=np.arange(n) * 1_000)


@pytest.mark.parametrize("absurd", [1e30, -1e30, 1e99])
@pytest.mark.parametrize("model", CELLS, ids=str)
def test_an_absurd_input_leaves_no_lesson_behind_that_is_not_finite(model: dict[str, Any], absurd: float) -> None:
    x = inputs()
    y = np.tanh(x[:, 0]) + 0.5 * np.roll(x[:, 1], STREAMS)
    clean = np.abs(learner(**model).process(events(x, y)).value[:, 0] - y)
    x[AT * STREAMS, 0] = absurd
    met = learner(**model)
    said = met.process(events(x, y)).value[:, 0]
    state = met.state()
    assert np.isfinite(said).all()
    assert met.counters()["windows_dropped_loss"] == met.counters()["windows_dropped_gradient"] == 0
    assert np.isfinite(state.streams["state"]).all()
    assert np.isfinite(state.streams["traces"]).all()
    assert state.model["x_clamped"].tolist() == [1, 0, 0]  # the last is the time between records
    others = (np.arange(len(y)) > AT * STREAMS) & (np.arange(len(y)) % STREAMS != 0)
    # Least squares go through an absurd regressor, and remember that they did.
    most = 1.5 if model["cell"] == "bank" else 1.3
    assert np.abs(said - y)[others].mean() < most * clean[others].mean()


def test_an_input_is_shown_as_it_is_up_to_the_bound() -> None:
    x, y = inputs(), np.zeros(STEPS * STREAMS)
    one, other = learner(cell="elstm"), learner(cell="elstm")
    x[-1, 0] = LARGEST
    below = one.process(events(x, y)).value
    x[-1, 0] = 10 * LARGEST
    np.testing.assert_array_equal(other.process(events(x, y)).value, below)
    x[-1, 0] = 0.5 * LARGEST
    before = learner(cell="glru", gates=False).process(events(x, y)).value[-1, 0]
    x[-1, 0] = LARGEST
    assert learner(cell="glru", gates=False).process(events(x, y)).value[-1, 0] == pytest.approx(2 * before, rel=1e-3)


@pytest.mark.parametrize("cell", ["elstm", "glru"])
@pytest.mark.parametrize("left", [np.nan, np.inf])
def test_traces_that_do_not_fit_begin_anew(cell: str, left: float) -> None:
    x = inputs()
    y = np.tanh(x[:, 0])
    met = learner(cell=cell)
    met.process(events(x, y))
    state = met.state()
    state.streams["traces"][0] = left
    again = learner(cell=cell)
    again.resume(state)
    before = again.counters()["windows_dropped_gradient"]
    again.process(events(x, y))
    assert again.counters()["windows_dropped_gradient"] == before + 1
    traces = again.state().streams["traces"]
    assert np.isfinite(traces).all()
    assert traces[0].any()


@pytest.mark.parametrize("hidden_layer", [0, 8])
def test_what_a_bank_keeps_of_large_inputs_may_be_handed_over(hidden_layer: int) -> None:
    """Filters ring for many times what comes in; what waits for a forecast's target keeps them as they are."""
    spec = LearnerSpec(
        n_features=1,
        target=TargetSpec(fields=("y",), known="forecast", horizon=3),
        model=ModelSpec(cell="bank", readout="rls", hidden_layer=hidden_layer),
        learning=LearningSpec(scale=False),
    )
    met, n = Learner(spec, seed=1), 300
    y = np.random.default_rng(0).standard_normal((n, 1))
    met.process(Block.events([b"a"] * n, np.full((n, 1), 9e5), y, time_ms=np.arange(n) * 1_000))
    state = met.state()
    assert np.abs(state.streams["regressors"]).max() > 2e6
    Learner(spec, seed=1).resume(state)
