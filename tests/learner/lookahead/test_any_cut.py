"""The learner that looks ahead is a pure function of its log: no cut, no saving, no question leaves a trace in any bit.

And whatever happens to streams, each event is told of exactly once, in its stream's order.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamrnn.learner.streams
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.lookahead.waiting import waiting_events
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.spec import InputSpec, LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.learners import BESIDE, Bits, bits_of, differing
from tests.support.logs import logs, part
from tests.support.lookahead_logs import lookahead_specs

EXAMPLES = settings(
    max_examples=20 if numba.config.DISABLE_JIT else 100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
cuts = st.lists(st.tuples(st.integers(0, 50), st.sampled_from(("on", "resume", "pickle"))), max_size=5)
PRECISIONS = ("float32", "float64")


@pytest.fixture(autouse=True, scope="module")
def _one_idle_stream_leaves_with_a_record() -> Iterator[None]:
    """So that others wait for their turn, though these logs have few streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamrnn.learner.streams, "IDLE_AT_ONCE", 1)
        yield


def run_through(spec: LearnerSpec, block: Block, cuts: list[tuple[int, str]]) -> tuple[LookaheadLearner, Predictions]:
    """A learner after the log, given in pieces; at each cut it goes on, or another one does from what it knew."""
    learner, parts, start = LookaheadLearner(spec, seed=3), [], 0
    block = copy.deepcopy(block)  # a learner writes the numbers of classes into a block that it is given
    for cut, how in sorted(cuts):
        parts.append(learner.process(part(block, start, min(cut, len(block)))))
        start = min(cut, len(block))
        if how == "resume":
            state, learner = copy.deepcopy(learner.state()), LookaheadLearner(spec, seed=4)
            learner.resume(state)
        elif how == "pickle":
            learner = pickle.loads(pickle.dumps(learner))  # noqa: S301 - written a moment ago
    parts.append(learner.process(part(block, start, len(block))))
    return learner, Predictions.joined(parts)


def bits_of_told(said: Predictions) -> Bits:
    told = said.told
    assert told is not None
    bits = {name: getattr(said, name).tobytes() for name in Predictions.__slots__ if name not in BESIDE}
    bits |= {f"told.{name}": getattr(told, name).tobytes() for name in ("row", "event", "time_ms", "y")}
    return bits | {"told.keys": repr(told.keys).encode(), "told.n_records": repr(told.n_records).encode()}


def check_same_bits(spec: LearnerSpec, block: Block, cuts: list[tuple[int, str]]) -> None:
    whole, said = run_through(spec, block, [])
    pieces, said_in_pieces = run_through(spec, block, cuts)
    assert not differing(bits_of(whole), bits_of(pieces))  # type: ignore[arg-type]
    assert not differing(bits_of_told(said), bits_of_told(said_in_pieces))
    assert whole.digest == pieces.digest


@pytest.mark.slow
@pytest.mark.parametrize("dtype", PRECISIONS)
@EXAMPLES
@given(st.data())
def test_any_cut_of_the_log_and_any_restart_leave_the_same_bits(dtype: str, data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs(dtype), label="spec")
    block = data.draw(logs(spec), label="log")
    check_same_bits(spec, block, data.draw(cuts, label="cuts"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("how", ["on", "resume", "pickle"])
@settings(EXAMPLES, max_examples=4 if numba.config.DISABLE_JIT else 20)
@given(st.data())
def test_a_log_cut_between_all_records_leaves_the_same_bits(how: str, dtype: str, data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs(dtype), label="spec")
    block = data.draw(logs(spec, 30), label="log")
    check_same_bits(spec, block, [(n, how) for n in range(len(block))])


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_questions_leave_no_trace(data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs("float32"), label="spec")
    block = data.draw(logs(spec, 20), label="log")
    learner = LookaheadLearner(spec, seed=3)
    for n in range(len(block)):
        before = bits_of(learner)  # type: ignore[arg-type]
        learner.predict(part(copy.deepcopy(block), n, n + 3))
        assert not differing(before, bits_of(learner))  # type: ignore[arg-type]
        learner.process(part(block, n, n + 1))


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_each_event_is_told_of_exactly_once_and_in_order_or_still_waits(data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs("float32"), label="spec")
    block = data.draw(logs(spec), label="log")
    learner, said = run_through(spec, block, data.draw(cuts, label="cuts"))
    told, events = said.told, np.flatnonzero(block.kind == EVENT)
    assert told is not None
    for key in set(block.keys):
        came = [int(block.event[i]) for i in events if block.keys[i] == key]
        of_key = [event for event, of in zip(told.event.tolist(), told.keys, strict=True) if of == key]
        waiting = waiting_events(learner.row_of(key), spec).event.tolist() if learner.knows(key) else []
        assert [*of_key, *waiting] == came
    assert learner.counters()["records_predicted"] == len(told.event)
    assert np.isfinite(said.value).all()
    times = dict(zip(block.event.tolist(), block.time_ms.tolist(), strict=True))
    assert told.time_ms.tolist() == [times[event] for event in told.event.tolist()]


def test_what_was_said_of_a_record_as_the_last_one_is_said_of_it_when_it_is() -> None:
    """A question is answered as the record would be told of, were it to end its sequence there and then."""
    for seed in range(5):
        spec = LearnerSpec(
            n_features=2, target=TargetSpec(fields=("y",)), has_end=True, inputs=InputSpec(previous_target=False),
            model=ModelSpec(direction="both", lookahead=1 + seed, hidden_size=3, dtype="float64"),
        )  # fmt: skip
        rng = np.random.default_rng(seed)
        block = Block.events(
            [b"a"] * 9, x=rng.normal(size=(9, 2)), y=np.full((9, 1), np.nan), event=np.arange(1, 10),
            end=[False] * 8 + [True], time_ms=np.arange(9) * 1000,
        )  # fmt: skip
        learner = LookaheadLearner(spec, seed=seed)
        learner.process(part(block, 0, 8))
        asked = learner.predict(part(block, 8, 9))
        said = learner.process(part(block, 8, 9))
        np.testing.assert_allclose(asked.value[0], said.value[-1], rtol=1e-12)
