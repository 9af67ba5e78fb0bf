"""What was learned moves into another learner while events wait: these go on waiting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.learner.block import Block
from streamrnn.learner.growth import carry_over
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.lookahead.waiting import waiting_events
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.logs import part
from tests.support.lookahead_logs import pair

CHANGES: dict[str, dict[str, Any]] = {
    "longer windows": {"learning": {"k1": 3, "k2": 9}},
    "shorter windows": {"learning": {"k1": 2, "k2": 3}},
    "no ends": {"has_end": False},
    "gaps": {"streams": StreamSpec(reset_after_s=1e6)},
    "units": {"model": {"hidden_size": 6}},
    "inputs": {"n_features": 3},
    "room for more streams": {"streams": StreamSpec(max_streams=200_000)},
    "a class more": {"target": TargetSpec(fields=("y",), classes=("p", "q", "r"))},
}

NUMBERS: dict[str, Any] = {"target": TargetSpec(fields=("y",)), "model": {"readout": "linear"}}


def spec_of(**given: Any) -> LearnerSpec:
    model = {"direction": "both", "lookahead": 3, "hidden_size": 4, "dtype": "float64", "readout": "softmax"}
    learning = {"k1": 2, "k2": 4, "lr": 1e-12, "optimizer": "sgd"}  # nothing moves: what is said stays comparable
    return LearnerSpec(**{
        "n_features": 2, "target": TargetSpec(fields=("y",), classes=("p", "q")), "has_end": True,
        "inputs": InputSpec(previous_target=False), **given,
        "model": ModelSpec(**(model | given.get("model", {}))),
        "learning": LearningSpec(**(learning | given.get("learning", {}))),
    })  # fmt: skip


def log_of(n: int, columns: int = 2, *, numbers: bool = False) -> Block:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(n, 1)) if numbers else rng.integers(0, 2, (n, 1)).astype(float)
    x = np.zeros((n, columns))
    x[:, :2] = rng.normal(size=(n, 2))
    keys = [b"abc"[k : k + 1] for k in rng.integers(0, 3, n)]
    return Block.events(keys, x=x, y=y, event=np.arange(1, n + 1), time_ms=1000 * np.arange(n))


def grown(learner: LookaheadLearner, new: LearnerSpec) -> LookaheadLearner:
    larger = LookaheadLearner(new, seed=2)
    carry_over(learner.state(), larger, range(learner.spec.n_features))
    return larger


def told_of(said: Predictions) -> tuple[list[int], list[bytes]]:
    assert said.told is not None
    return said.told.event.tolist(), said.told.keys


@pytest.mark.parametrize("change", CHANGES)
def test_what_waits_goes_on_waiting_and_the_same_is_said_of_it(change: str) -> None:
    old, new = spec_of(), spec_of(**CHANGES[change])
    stays, moves = LookaheadLearner(old, 1), LookaheadLearner(old, 1)
    first, rest = part(log_of(60), 0, 40), part(log_of(60), 40, 60)
    for learner in (stays, moves):
        learner.process(first)
    moves = grown(moves, new)
    for key in (b"a", b"b", b"c"):
        before, now = waiting_events(stays.row_of(key), old), waiting_events(moves.row_of(key), new)
        for one, other in zip(before, now, strict=True):
            np.testing.assert_array_equal(one, other)
    expected, said = stays.process(rest), moves.process(part(log_of(60, new.n_features), 40, 60))
    assert told_of(said) == told_of(expected)
    if change == "a class more":  # which has a little of the probability
        share = said.value[:, :2] / said.value[:, :2].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(share, expected.value, rtol=1e-6)
    else:
        np.testing.assert_allclose(said.value, expected.value, rtol=1e-6)
    assert moves.counters()["windows"] > stays.counters()["windows"] // 2


@pytest.mark.parametrize(("k1", "k2"), [(2, 4), (1, 3), (4, 8)])
def test_shorter_windows_are_those_of_who_had_them_all_along(k1: int, k2: int) -> None:
    """Where a sequence may end at any step each window begins with a state that was kept."""
    old = spec_of(
        learning={"k1": 4, "k2": 8, "lr": 0.05}, target=TargetSpec(fields=("y",)), model={"readout": "linear"}
    )
    new = replace(old, learning=replace(old.learning, k1=k1, k2=k2))
    learner, naive = pair(old)
    block = log_of(40, numbers=True)
    block.keys[:] = [b"a"] * 40
    first, rest = part(block, 0, 23), part(block, 23, 40)  # of 23 events 20 are told of, and learned
    learner.process(first)
    naive.process(first)
    learner, naive.spec = grown(learner, new), new
    said, before = learner.process(rest), len(naive.told)
    naive.process(rest)
    np.testing.assert_allclose(said.value, [one.value for one in naive.told[before:]], rtol=1e-9)
    assert learner.counters()["windows"] == naive.counts["windows"]


def test_longer_windows_are_whole_once_so_many_steps_have_come() -> None:
    """Until then they begin with the oldest step that is there; behind that no trace of the change is left."""
    old = spec_of(
        learning={"k1": 2, "k2": 4, "lr": 1e-12}, target=TargetSpec(fields=("y",)), model={"readout": "linear"}
    )
    new = replace(old, learning=replace(old.learning, k1=4, k2=8))
    moves, always = LookaheadLearner(old, 1), LookaheadLearner(new, 1)
    block = log_of(60, numbers=True)
    block.keys[:] = [b"a"] * 60
    moves.process(part(block, 0, 27))
    always.process(part(block, 0, 27))
    moves = grown(moves, new)
    said, expected = moves.process(part(block, 27, 60)), always.process(part(block, 27, 60))
    learned = np.flatnonzero(~np.isnan(expected.grad_norm))
    late = learned[learned > 10]
    assert len(late) > 3
    np.testing.assert_allclose(said.grad_norm[late], expected.grad_norm[late], rtol=1e-6)


def test_another_look_ahead_is_refused() -> None:
    learner = LookaheadLearner(spec_of(), 1)
    with pytest.raises(ValueError, match=r"model\.lookahead"):
        grown(learner, spec_of(model={"lookahead": 4}))


def test_room_for_fewer_streams_is_refused_as_their_events_would_be_lost() -> None:
    """Even where there are few enough of them: a job file is looked at without knowing which streams there are."""
    learner = LookaheadLearner(spec_of(streams=StreamSpec(max_streams=5)), 1)
    learner.process(log_of(10))
    with pytest.raises(ValueError, match=r"streams\.max_streams: 5 in what was learned, 4 here: .*never be predicted"):
        grown(learner, spec_of(streams=StreamSpec(max_streams=4)))
