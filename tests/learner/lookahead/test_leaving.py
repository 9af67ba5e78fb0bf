"""Streams and sequences that end: what waits is told with the record that ends them, before anything else happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn.core.kinds import EVENT, FORGET
from streamrnn.learner.block import Block
from streamrnn.learner.consistency import RuleError
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.lookahead.waiting import waiting, waiting_events
from streamrnn.learner.lowering import bytes_per_slot, bytes_per_stream
from streamrnn.learner.making import new_learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec

Record = tuple[str, int]
"""Its stream, and its time in seconds; "-a" is the tombstone of stream "a", "a." the end of its sequence."""


def spec_of(lookahead: int = 2, **given: Any) -> LearnerSpec:
    return LearnerSpec(**{
        "n_features": 1, "target": TargetSpec(fields=("y",)), "has_end": True,
        "inputs": InputSpec(previous_target=False),
        "model": ModelSpec(direction="both", lookahead=lookahead, hidden_size=3),
        "learning": LearningSpec(k1=2, k2=4), **given,
    })  # fmt: skip


def block_of(*records: Record) -> Block:
    """Events are numbered from 1 on, tombstones counted."""
    n, rng = len(records), np.random.default_rng(0)
    return Block.events(
        [name.strip("-.").encode() for name, _ in records],
        x=rng.normal(size=(n, 1)), y=rng.normal(size=(n, 1)), time_ms=[1000 * seconds for _, seconds in records],
        end=[name.endswith(".") for name, _ in records], event=np.arange(1, n + 1),
        kind=[FORGET if name.startswith("-") else EVENT for name, _ in records],
    )  # fmt: skip


def told_with(learner: LookaheadLearner, block: Block) -> list[tuple[int, list[str]]]:
    """With which records something came out, and what: "a1" is event 1 of stream a."""
    told = learner.process(block).told
    assert told is not None
    names = [key.decode() + str(event) for key, event in zip(told.keys, told.event.tolist(), strict=True)]
    return [(row + 1, [n for n, at in zip(names, told.row.tolist(), strict=True) if at == row])
            for row in sorted(set(told.row.tolist()))]  # fmt: skip


def test_an_event_is_told_of_with_the_one_so_many_steps_on_and_all_that_wait_with_the_last() -> None:
    block = block_of(("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5), ("a.", 6), ("a", 7), ("b", 8))
    told = told_with(LookaheadLearner(spec_of(), 1), block)
    assert told == [(4, ["a1"]), (6, ["a3", "a4", "a6"]), (8, ["b2"])]


def test_a_gap_ends_the_sequence_before_the_record_behind_it() -> None:
    learner = LookaheadLearner(spec_of(streams=StreamSpec(reset_after_s=10.0)), 1)
    assert told_with(learner, block_of(("a", 1), ("a", 2), ("a", 30), ("a", 31), ("a", 32))) == [
        (3, ["a1", "a2"]),
        (5, ["a3"]),
    ]
    assert learner.counters()["sequences_ended"] == 1


def test_a_tombstone_tells_of_what_waits_and_learns_nothing() -> None:
    learner = LookaheadLearner(spec_of(), 1)
    assert told_with(learner, block_of(("a", 1), ("a", 2), ("-a", 3), ("a", 4), ("a", 5))) == [(3, ["a1", "a2"])]
    counters = learner.counters()
    assert (counters["windows"], counters["sequences_ended"], counters["evictions_tombstone"]) == (0, 0, 1)
    assert learner.gauges()["scored"] == 2
    assert learner.target_statistics().count.tolist() == [2.0]
    assert learner.knows(b"a")


def test_a_stream_that_was_idle_for_too_long_is_told_of_before_the_record_at_which_it_leaves() -> None:
    learner = LookaheadLearner(spec_of(streams=StreamSpec(ttl_s=10.0)), 1)
    block = block_of(("a", 1), ("b", 2), ("c", 3), ("c", 9), ("c", 16), ("a", 17))
    # Both leave with one record, the least recently seen first, and c's own events come out behind them.
    assert told_with(learner, block) == [(5, ["a1", "b2", "c3"])]
    assert learner.counters()["windows"] == 0


def test_a_stream_that_comes_back_too_late_is_told_of_before_its_record_begins_it_anew() -> None:
    learner = LookaheadLearner(spec_of(streams=StreamSpec(ttl_s=10.0)), 1)
    assert told_with(learner, block_of(("a", 1), ("a", 2), ("a", 20), ("a", 21), ("a.", 22))) == [
        (3, ["a1", "a2"]),
        (5, ["a3", "a4", "a5"]),
    ]


@pytest.mark.parametrize("bound", ["streams", "bytes"])
def test_a_stream_that_leaves_for_another_is_told_of_before_that_one_has_its_slot(bound: str) -> None:
    spec = spec_of(streams=StreamSpec(max_streams=2))
    if bound == "bytes":
        spec = spec_of(streams=StreamSpec(max_streams=9, max_bytes=2 * bytes_per_slot(spec) + 4))
    learner = LookaheadLearner(spec, 1)
    told = told_with(learner, block_of(("a", 1), ("b", 2), ("b", 3), ("c", 4), ("a", 5), ("c.", 6)))
    assert told == [(4, ["a1"]), (5, ["b2", "b3"]), (6, ["c4", "c6"])]
    assert learner.counters()["evictions_capacity"] == 2


def test_many_streams_that_leave_within_a_block_are_told_of_as_one_by_one() -> None:
    spec = spec_of(streams=StreamSpec(max_streams=3, ttl_s=20.0))
    rng = np.random.default_rng(5)
    block = block_of(*[("abcdefgh"[k], 3 * i) for i, k in enumerate(rng.integers(0, 8, 300))])
    whole, single = LookaheadLearner(spec, 1), LookaheadLearner(spec, 1)
    told = whole.process(block).told
    assert told is not None
    parts = [single.process(block.rows(slice(i, i + 1))).told for i in range(300)]
    assert told.keys == [key for part in parts if part is not None for key in part.keys]
    assert told.event.tolist() == [event for part in parts if part is not None for event in part.event.tolist()]
    assert whole.counters() == single.counters()
    assert whole.counters()["evictions_capacity"] > 100
    assert whole.digest == single.digest


def test_closing_a_stream_tells_of_what_waits_and_learns_it() -> None:
    learner = LookaheadLearner(spec_of(), 1)
    learner.process(block_of(("a", 1), ("a", 2), ("a", 3)))
    said = learner.close(b"a")
    assert said.told is not None
    assert said.told.event.tolist() == [2, 3]
    assert said.told.keys == [b"a", b"a"]
    assert learner.counters()["windows"] == 2
    assert len(learner.close(b"a").value) == len(learner.close(b"nobody").value) == 0
    with pytest.raises(ValueError, match="has_end"):
        LookaheadLearner(spec_of(has_end=False), 1).close(b"a")


def test_a_record_s_own_time_is_told_and_not_the_one_that_is_believed() -> None:
    learner = LookaheadLearner(spec_of(1, streams=StreamSpec(max_time_jump_s=100.0)), 1)
    told = learner.process(block_of(("a", 1), ("a", 2), ("a", 10**6), ("a", 3))).told
    assert told is not None
    assert told.time_ms.tolist() == [1000, 2000, 10**9]


def test_what_waits_can_be_read_from_the_arrays_of_a_stream() -> None:
    spec = spec_of(3)
    learner = LookaheadLearner(spec, 1)
    block = block_of(("a", 1), ("b", 2), ("a", 3), ("a", 4), ("a", 5), ("a", 6))
    learner.process(block)
    state = learner.state()
    assert dict(zip(state.keys, waiting(state.streams, spec).tolist(), strict=True)) == {b"a": 3, b"b": 1}
    waits = waiting_events(learner.row_of(b"a"), spec)
    assert waits.event.tolist() == [4, 5, 6]
    assert waits.time_ms.tolist() == [4000, 5000, 6000]
    np.testing.assert_array_equal(waits.y, block.y[3:])


def test_a_class_may_be_predicted_once_it_or_one_that_came_later_was_looked_at() -> None:
    """A state with classes that have a number, and may not be predicted yet, is taken up."""
    target = TargetSpec(fields=("y",), classes=Symbols(open=True, max=5))
    model = ModelSpec(direction="both", lookahead=2, hidden_size=3, readout="softmax")
    learner = LookaheadLearner(spec_of(target=target, model=model), 1)

    def labelled(labels: list[str], *records: Record) -> Block:
        block = block_of(*records)
        return Block(**{name: getattr(block, name) for name in Block.__slots__} | {"labels": labels})

    said = learner.process(labelled(["p", "q", "r", "s"], ("a", 1), ("a", 2), ("a", 3), ("b.", 4)))
    assert said.told is not None
    assert said.told.y[:, 0].tolist() == [1.0, 4.0]
    assert said.value[0, 1:].tolist() == [0.0] * 5
    assert (said.value[1] > 0).tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(said.loss, -np.log(said.value[:, 0]), atol=1e-6)  # both are scored as "other"
    other = LookaheadLearner(learner.spec, 2)
    other.resume(learner.state())
    forged = learner.state().copy()
    forged.streams["ahead_y"][0] = 5.0
    with pytest.raises(ValueError, match="'ahead_y' names classes that are none of the 5 that came"):
        LookaheadLearner(learner.spec, 2).resume(forged)
    again = other.process(labelled(["q"], ("a.", 9)))
    assert again.told is not None
    assert again.told.y[:, 0].tolist() == [2.0, 3.0, 2.0]
    # Number 4 was looked at, of another stream, so those before it are scored as themselves.
    assert (again.value[0] > 0).tolist() == [True, True, True, True, True, False]
    np.testing.assert_allclose(again.loss[:2], -np.log([again.value[0, 2], again.value[1, 3]]), rtol=1e-5)


def test_a_stream_takes_its_inputs_states_and_what_waits() -> None:
    """k2 + L inputs, ceil(k2 / k1) + 1 states, coordinates and targets of L + 1 events beside those of other jobs."""
    for lookahead in (1, 4):
        spec = spec_of(lookahead, has_end=False, learning=LearningSpec(k1=3, k2=7), n_features=5)
        without = spec_of(lookahead, has_end=False, learning=LearningSpec(k1=3, k2=7), n_features=5)
        assert bytes_per_stream(spec) == bytes_per_stream(without)
        forward = LearnerSpec(
            n_features=5, target=spec.target, inputs=spec.inputs, model=ModelSpec(hidden_size=3),
            learning=spec.learning,
        )  # fmt: skip
        inputs, waits = 4 * (5 + 1) * lookahead, (lookahead + 1) * (8 + 8 + 8)
        assert bytes_per_stream(spec) - bytes_per_stream(forward) == inputs + waits


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"model": ModelSpec(direction="both")}, "model.lookahead"),
        ({"model": ModelSpec(direction="both", lookahead=0)}, "model.lookahead"),
        ({"model": ModelSpec(direction="both", lookahead=1, readout="rls")}, "model.readout"),
        ({"inputs": InputSpec()}, "inputs.previous_target"),
        ({"target": TargetSpec(fields=("y",), known="forecast")}, "target.known"),
        ({"target": TargetSpec(fields=("y",), known="label", event_field="e", label_field="l")}, "target.known"),
        ({"learning": LearningSpec(average=0.9)}, "learning.average"),
        (
            {
                "target": TargetSpec(fields=("y",), classes=Symbols(bytes=True)), "text": TextSpec(unit="byte"),
                "model": ModelSpec(direction="both", lookahead=1, readout="softmax"), "inputs": InputSpec(),
            },
            "model.direction",
        ),
    ],
)  # fmt: skip
def test_what_cannot_wait_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(RuleError) as told:
        spec_of(**given)
    assert f"{told.value.section}.{told.value.field}" == field


def test_a_specification_that_looks_ahead_asks_for_this_learner_and_the_kernels_of_sequences() -> None:
    spec = spec_of()
    assert (spec.looks_ahead, spec.kernels) == (True, "sequences")
    assert isinstance(new_learner(spec, 1), LookaheadLearner)
    assert not LearnerSpec(n_features=1, target=spec.target).looks_ahead
