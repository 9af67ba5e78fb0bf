"""The learner that looks ahead agrees with the naive one on any specification and log, however often it is restored."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamrnn.learner.streams
from streamrnn.core.counts import COUNTS, EVICTIONS
from streamrnn.learner.block import Block
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.lookahead.learner import LookaheadLearner
from streamrnn.learner.lookahead.waiting import waiting_events
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.skill import rivals_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import EVICTIONS_IN_USE
from tests.oracle.lookahead import Ahead, NaiveLookaheadLearner
from tests.oracle.reach import drift_means
from tests.support.learners import carried_state
from tests.support.logs import logs, part
from tests.support.lookahead_logs import lookahead_specs, pair, pieces, processed

EXAMPLES = settings(
    max_examples=30 if numba.config.DISABLE_JIT else 150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
SHARED_COUNTS = [
    count.name
    for count in (*COUNTS, *EVICTIONS, EVICTIONS_IN_USE, *JUMPS)
    if count.name not in {"updates", "windows_in_batch"}
]


@pytest.fixture(autouse=True, scope="module")
def _one_idle_stream_leaves_with_a_record() -> Iterator[None]:
    """So that others wait for their turn, though these logs have few streams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamrnn.learner.streams, "IDLE_AT_ONCE", 1)
        yield


def restored(learner: LookaheadLearner) -> LookaheadLearner:
    """Another learner, which knows what this one does."""
    other = LookaheadLearner(learner.spec, seed=2)
    other.resume(copy.deepcopy(learner.state()))
    return other


def check_agreement(spec: LearnerSpec, block: Block, cuts: list[int], tolerance: float, restores: bool = False) -> None:
    """Feed both learners the log, piece by piece, ask both in between, and compare everything that can be seen."""

    def close(actual: object, expected: object, what: str) -> None:
        if np.size(actual) or np.size(expected):
            np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)

    learner, naive = pair(spec)
    parts, start = [], 0
    for piece in pieces(block, cuts):
        parts.append(processed(learner, piece))
        start += len(piece)
        if restores:
            learner = restored(learner)
        naive.process(piece)
        rest = part(block, start, start + 3)
        asked = learner.predict(rest)
        assert asked.told is None
        close(asked.value, naive.predict(rest), "questions")
    check_told(Predictions.joined(parts), naive, close)
    check_state(learner, naive, close)


def check_told(said: Predictions, naive: NaiveLookaheadLearner, close) -> None:  # type: ignore[no-untyped-def]
    """The same predictions of the same events with the same records, and the same scores."""
    told = said.told
    assert told is not None
    assert told.row.tolist() == [one.at for one in naive.told]
    assert told.keys == [one.key for one in naive.told]
    assert told.event.tolist() == [one.event for one in naive.told]
    assert told.time_ms.tolist() == [one.time_ms for one in naive.told]
    if not naive.spec.target.is_open:
        close(told.y, [one.y for one in naive.told], "targets")
    close(said.value, [one.value for one in naive.told], "predictions")
    assert said.updates.tolist() == [one.updates for one in naive.told]
    close(said.loss, [loss for loss, _ in naive.scores], "losses")
    close(said.error, [error for _, error in naive.scores], "errors")
    close(said.rivals, naive.rival_scores, "errors of the rivals")
    close(said.width, naive.widths, "widths of intervals")
    norms = np.full(len(said.value), np.nan)
    for prediction, norm in naive.steps:
        norms[prediction] = norm
    close(said.grad_norm, norms, "gradient norms")
    for rank, surprise in zip(said.rank, naive.ranked, strict=True):
        if surprise is None:
            assert np.isnan(rank).all()
        else:
            error = 1e-6 * (1 + surprise.loss)
            least, most = surprise.ranks(-error), surprise.ranks(error)
            np.testing.assert_array_equal(np.isnan(rank), np.isnan(least))
            assert not np.any((rank < np.array(least) - 1e-9) | (rank > np.array(most) + 1e-9))


def check_state(learner: LookaheadLearner, naive: NaiveLookaheadLearner, close) -> None:  # type: ignore[no-untyped-def]
    """Counts, weights, statistics, states, and what waits."""
    counts, spec = learner.counters(), learner.spec
    assert {name: counts[name] for name in SHARED_COUNTS} == {name: naive.counts[name] for name in SHARED_COUNTS}
    assert counts["updates"] == naive.updates
    for name, weights in learner.get_weights().items():
        close(weights, naive.weights[name], name)
    assert learner.streams.keys() == list(naive.streams)
    for key, stream in naive.streams.items():
        sequence = stream.sequence
        assert isinstance(sequence, Ahead)
        for i, (name, state) in enumerate(carried_state(learner, key).items()):  # type: ignore[arg-type]
            close(state, [layer[i] for layer in sequence.state], f"{name} of {key!r}")
        waiting = waiting_events(learner.row_of(key), spec)
        assert waiting.event.tolist() == [record.event for record in sequence.waiting]
        assert waiting.time_ms.tolist() == [record.time_ms for record in sequence.waiting]
    arrays = learner.state().model
    close(arrays["recent_errors"], [naive.rivals.recent(i) for i in naive.rivals.fields], "errors of all")
    assert arrays["x_clamped"][: spec.n_features].tolist() == naive.x_clamped
    assert arrays["y_clamped"].tolist() == naive.y_clamped
    for column, values in enumerate(naive.drifting):
        _, _, _, fast, slow = arrays["x_drift"][column]
        close((fast, slow), drift_means(values), f"drift of input {column}")
    pairs = [*zip(learner.vocabularies, naive.vocabularies, strict=True)]
    if learner.classes is not None and naive.classes is not None:
        pairs.append((learner.classes, naive.classes))
        if naive.classes.open:
            assert arrays["outputs_in_use"].tolist() == [naive.in_use]
    for mine, theirs in pairs:
        assert mine.overflowed == theirs.overflowed
        if theirs.open:
            assert [mine.label(number) for number in range(mine.known)] == theirs.numbered
    assert len(rivals_of(spec)) == 2


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_learner_that_looks_ahead_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs(), label="spec")
    block = data.draw(logs(spec, closings=True), label="log")
    check_agreement(spec, block, data.draw(st.lists(st.integers(0, 50), max_size=3), label="cuts"), 1e-9)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_a_learner_that_is_restored_between_records_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(lookahead_specs(), label="spec")
    block = data.draw(logs(spec), label="log")
    cuts = data.draw(st.lists(st.integers(0, 50), max_size=3), label="cuts")
    check_agreement(spec, block, cuts, 1e-9, restores=True)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float32_learner_that_looks_ahead_matches_the_naive_one(data: st.DataObject) -> None:
    # Adam and RMSprop divide by the gradient's own size, which turns rounding of a tiny gradient into a large step.
    spec = data.draw(lookahead_specs("float32", ("sgd", "momentum")), label="spec")
    check_agreement(spec, data.draw(logs(spec, 25), label="log"), [], 5e-4)
