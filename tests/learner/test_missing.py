"""What a missing feature counts as: its mean, a number, or the last value that the stream's sequence knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn import Block, Learner, LearnerSpec
from streamrnn.learner.growth import carry_over
from streamrnn.learner.spec import Imputed
from tests.support.small_learners import spec

N, FEATURES = 60, 3
GAPS = np.random.default_rng(1).random((N, FEATURES)) < 0.3
X = np.random.default_rng(2).normal(5.0, 2.0, (N, FEATURES))
KEYS = [b"a" if i % 3 else b"b" for i in range(N)]
ENDS = np.arange(N) % 20 == 19


def of(*missing: Imputed, scale: bool = True) -> LearnerSpec:
    return replace(spec(FEATURES, learning={"scale": scale}), missing=missing, has_end=True)


def block(x: Any, start: int = 0, stop: int = N) -> Block:
    y = np.cumsum(X[:, :1], axis=0)
    return Block.events(KEYS[start:stop], x[start:stop].copy(), y[start:stop], end=ENDS[start:stop])


def with_gaps(number: Any = np.nan) -> Any:
    return np.where(GAPS, number, X)


def begins() -> Any:
    """Which records are the first of a sequence of their stream."""
    first, running = np.zeros(N, np.bool_), set[bytes]()
    for i, key in enumerate(KEYS):
        first[i] = key not in running
        running.add(key)
        if ENDS[i]:
            running.remove(key)
    return first


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("number", [0.0, 1.0, -3.5])
def test_a_number_is_as_good_as_given(number: float, scale: bool) -> None:
    left_out, given = Learner(of(*[number] * FEATURES, scale=scale), 1), Learner(of(scale=scale), 1)
    np.testing.assert_array_equal(
        left_out.process(block(with_gaps())).value, given.process(block(with_gaps(number))).value
    )
    assert left_out.counters()["imputed_inputs"] == GAPS.sum()
    assert given.counters()["imputed_inputs"] == 0


def test_a_last_value_is_that_of_the_stream_s_sequence() -> None:
    x = np.where(GAPS & ~begins()[:, None], np.nan, X)
    by_hand, last = x.copy(), dict[bytes, Any]()
    for i, key in enumerate(KEYS):
        by_hand[i] = last[key] = np.where(np.isnan(x[i]), last.get(key, np.nan), x[i])
    left_out, given = Learner(of(*["last"] * FEATURES, scale=False), 1), Learner(of(scale=False), 1)
    np.testing.assert_array_equal(left_out.process(block(x)).value, given.process(block(by_hand)).value)


def test_before_a_first_value_the_last_one_is_the_mean() -> None:
    learner = Learner(of("last", "mean", "mean"), 1)
    learner.process(block(X, 0, 20))  # the record 19 ends the sequence of its stream
    key, other = KEYS[19], next(key for key in KEYS if key != KEYS[19])
    gap, mean = np.array([[np.nan, 5.0, 5.0]]), learner._model.x_mean[0]

    def value(key: bytes, x: Any) -> float:
        return float(learner.predict(Block.events([key], x, [[np.nan]])).value[0, 0])

    assert value(key, gap) == pytest.approx(value(key, np.array([[mean, 5.0, 5.0]])), abs=1e-6)
    last = X[max(i for i in range(20) if KEYS[i] == other), 0]
    assert value(other, gap) == value(other, np.array([[last, 5.0, 5.0]]))
    assert value(b"new", gap) == pytest.approx(value(b"new", np.array([[mean, 5.0, 5.0]])), abs=1e-6)


@pytest.mark.parametrize("cut", [1, 17, 40])
def test_last_values_are_saved_and_any_cut_gives_the_same(cut: int) -> None:
    what = of("last", 0.0, "last")
    whole, first, second = (Learner(what, 1) for _ in range(3))
    expected = whole.process(block(with_gaps())).value
    first.process(block(with_gaps(), 0, cut))
    second.resume(first.state())
    np.testing.assert_array_equal(second.process(block(with_gaps(), cut)).value, expected[cut:])


def test_memory_is_taken_by_those_features_only_whose_last_value_is_kept() -> None:
    sizes = [Learner(of(*missing), 1).state().streams["last_x"].shape[1] for missing in ((), ("mean", 0.0, "last"))]
    assert sizes == [0, 1]


def test_last_values_move_with_their_features() -> None:
    old = Learner(of("last", "mean", "last"), 1)
    old.process(block(with_gaps()))
    wider = replace(spec(4), missing=("mean", "last", "last", "last"), has_end=True)
    grown = Learner(wider, 2)
    carry_over(old.state(), grown, [3, 0, 1])  # the third column, one of two kept ones, becomes the second
    before, now = old.state().streams["last_x"], grown.state().streams["last_x"]
    np.testing.assert_array_equal(now[:, [2, 0]], before)
    assert np.isnan(now[:, 1]).all()
    without = Learner(replace(wider, missing=()), 2)
    carry_over(grown.state(), without, range(4))
    assert without.state().streams["last_x"].shape[1] == 0


def test_a_specification_says_it_for_each_feature_or_for_none() -> None:
    with pytest.raises(ValueError, match="missing: needs 3 entries, got 1"):
        of("last")
