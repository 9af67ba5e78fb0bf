"""Futures that are imagined: on a copy of the stream, which is told what each of its records turned out to be."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, TargetSpec
from streamrnn.learner.block import EVENT


def learner_of(classes: bool, **target: object) -> Learner:
    rng = np.random.default_rng(5)
    model = ModelSpec(hidden_size=5, readout="softmax" if classes else "rls", dtype="float64", lags=0 if classes else 3)
    spec = LearnerSpec(
        n_features=1,
        target=TargetSpec(fields=("y",), classes=("a", "b", "c") if classes else None, **target),  # type: ignore[arg-type]
        model=model,
        learning=LearningSpec(k1=2, k2=8, lr=0.05),
    )
    learner = Learner(spec, seed=1)
    x, y = rng.normal(size=(60, 1)), rng.integers(0, 3, (60, 1)).astype(float)
    learner.process(Block.events([b"s", b"t"] * 30, x, y))
    return learner


@pytest.mark.parametrize("classes", [True, False])
def test_a_record_that_turned_out_some_way_is_imagined_as_if_it_had_come(classes: bool) -> None:
    """Only weights and statistics stay: they are what an imagined record does not change."""
    learner, twin = learner_of(classes), learner_of(classes)
    learner.imagine(b"s")
    predictions = []
    for x, y in ((0.5, 2.0), (-0.5, 0.0), (0.1, 1.0)):
        predictions.append(learner.imagine_one([x]).copy())
        learner.turned_out(y)
    frozen = twin.row_of(b"s")
    state = {name: array.copy() for name, array in twin.state().model.items()}
    for (x, y), imagined in zip(((0.5, 2.0), (-0.5, 0.0), (0.1, 1.0)), predictions, strict=True):
        np.testing.assert_array_equal(imagined, twin.step(b"s", EVENT, [x], y))
        for name, array in twin.model_arrays().items():
            array[...] = state[name]
        for name in ("y_count", "y_mean", "y_m2", "y_watch"):
            frozen[name][...] = learner.row_of(b"s")[name]


@pytest.mark.parametrize("classes", [True, False])
def test_without_being_told_the_next_record_follows_the_newest_value_that_the_stream_knew(classes: bool) -> None:
    learner = learner_of(classes)
    told = []
    for value in (None, np.nan, float(learner.row_of(b"s")["newest"][0])):
        learner.imagine(b"s")
        learner.imagine_one([0.5])
        if value is not None:
            learner.turned_out(value)
        told.append(learner.imagine_one([0.5])[0])
    if classes:
        assert told[0] == told[1] == told[2]
    else:  # the value that is told is a lag, too
        assert told[0] == told[1] != told[2]


def test_what_a_record_turned_out_to_be_decides_what_comes_next_and_leaves_the_stream_alone() -> None:
    learner = learner_of(classes=True)
    before = {name: array.copy() for name, array in learner.row_of(b"s").items()}
    found = set()
    for value in (0.0, 1.0, 2.0):
        learner.imagine(b"s")
        learner.imagine_one([0.5])
        learner.turned_out(value)
        found.add(tuple(learner.imagine_one([0.5])))
    assert len(found) == 3
    for name, array in learner.row_of(b"s").items():
        np.testing.assert_array_equal(array, before[name])


def test_a_class_that_there_is_not_is_refused() -> None:
    learner = learner_of(classes=True)
    learner.imagine(b"s")
    for value in (3.0, -1.0, 0.5):
        with pytest.raises(ValueError, match="class indices outside 0 to 2"):
            learner.turned_out(value)
        with pytest.raises(ValueError, match=r"y: .* is no class; expected a whole number from 0 to 2"):
            learner.imagine_one([0.5], value)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_of_a_forecast_of_classes_the_record_itself_says_its_class(cell: str) -> None:
    """Frozen as above: each imagined forecast is what the same record would have led to."""
    learner, twin = forecasting(cell), forecasting(cell)
    learner.imagine(b"s")
    imagined = [learner.imagine_one((), y).copy() for y in (2.0, 0.0, 1.0, 1.0)]
    frozen = {name: array.copy() for name, array in twin.state().model.items()}
    for y, said in zip((2.0, 0.0, 1.0, 1.0), imagined, strict=True):
        np.testing.assert_array_equal(said, twin.step(b"s", EVENT, (), y))
        for name, array in twin.model_arrays().items():
            array[...] = frozen[name]
    assert len({tuple(said) for said in imagined}) == 4


def test_streams_are_imagined_one_after_the_other_and_nothing_of_the_learner_changes() -> None:
    learner = learner_of(classes=True)
    before = learner.state().copy()
    alone = {}
    for key in (b"s", b"t", b"never seen"):
        learner.imagine(key)
        alone[key] = [learner.imagine_one([0.5]).tolist()]
        learner.turned_out(1.0)
        alone[key].append(learner.imagine_one([0.5]).tolist())
    for key in (b"t", b"never seen", b"s"):
        learner.imagine(key)
        again = [learner.imagine_one([0.5]).tolist()]
        learner.turned_out(1.0)
        assert [*again, learner.imagine_one([0.5]).tolist()] == alone[key]
    assert len({str(said) for said in alone.values()}) == 3
    after = learner.state()
    for was, now in ((before.model, after.model), (before.streams, after.streams)):
        for name, array in was.items():
            np.testing.assert_array_equal(array, now[name], err_msg=name)
    assert after.keys == before.keys


def forecasting(cell: str) -> Learner:
    """One that forecasts the next class of two streams, and is shown nothing else."""
    spec = LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("y",), known="forecast", classes=("a", "b", "c")),
        model=ModelSpec(cell=cell, hidden_size=5, readout="softmax", dtype="float64"),  # type: ignore[arg-type]
        learning=LearningSpec(k1=2, k2=8, lr=0.05),
        inputs=InputSpec(dt=False),
    )
    learner = Learner(spec, seed=1)
    y = np.random.default_rng(5).integers(0, 3, (60, 1)).astype(float)
    learner.process(Block.events([b"s", b"t"] * 30, np.zeros((60, 0)), y))
    return learner
