"""The learner of sequences is a pure function of its log: no cut, no saving, no question leaves a trace in any bit."""

from __future__ import annotations

import copy
import pickle

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.learner.block import Block
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import LearnerSpec
from tests.support.learners import bits_of, differing
from tests.support.logs import part
from tests.support.sequence_learners import bits_of_sequences, restored
from tests.support.sequence_logs import KINDS, chooser, log_of, sequence_logs, sequence_specs, spec_of

EXAMPLES = settings(
    max_examples=10 if numba.config.DISABLE_JIT else 30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
cuts = st.lists(st.tuples(st.integers(0, 25), st.sampled_from(("on", "resume", "pickle"))), max_size=5)


def run_through(spec: LearnerSpec, block: Block, cuts: list[tuple[int, str]]) -> tuple[SequenceLearner, Predictions]:
    """A learner after the log, given in pieces; at each cut it goes on, or another one does from what it knew."""
    learner, parts, start = SequenceLearner(spec, seed=3), [], 0
    for cut, how in sorted(cuts):
        parts.append(learner.process(part(block, start, min(cut, len(block)))))
        start = min(cut, len(block))
        if how == "resume":
            learner = restored(learner)
        elif how == "pickle":
            learner = pickle.loads(pickle.dumps(learner))  # noqa: S301 - written a moment ago
    parts.append(learner.process(part(block, start, len(block))))
    return learner, Predictions.joined(parts)


def check_same_bits(spec: LearnerSpec, block: Block, cuts: list[tuple[int, str]]) -> None:
    whole, said = run_through(spec, copied(block), [])
    pieces, said_in_pieces = run_through(spec, copied(block), cuts)
    assert not differing(bits_of(whole), bits_of(pieces))
    assert not differing(bits_of_sequences(said), bits_of_sequences(said_in_pieces))
    assert whole.digest == pieces.digest


def copied(block: Block) -> Block:
    """A learner writes the numbers of classes into a block that it is given."""
    return copy.deepcopy(block)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(st.data())
def test_any_cut_of_the_log_and_any_restart_leave_the_same_bits(kind: str, dtype: str, data: st.DataObject) -> None:
    spec = data.draw(sequence_specs(kind=kind, dtype=dtype), label="spec")
    block = data.draw(sequence_logs(spec), label="log")
    check_same_bits(spec, block, data.draw(cuts, label="cuts"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["on", "resume", "pickle"])
def test_a_log_cut_between_all_records_leaves_the_same_bits(kind: str, how: str) -> None:
    for seed in range(2 if numba.config.DISABLE_JIT else 12):
        rng = np.random.default_rng(seed)
        spec = spec_of(chooser(rng), kind=kind, dtype="float32")
        block = log_of(spec, 30, chooser(rng), rng)
        check_same_bits(spec, block, [(n, how) for n in range(len(block))])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(st.data())
def test_questions_leave_no_trace_and_are_answered_with_what_the_records_will_be_told(
    kind: str, data: st.DataObject
) -> None:
    spec = data.draw(sequence_specs(kind=kind, dtype="float32"), label="spec")
    block = data.draw(sequence_logs(spec, 15), label="log")
    asked, silent = SequenceLearner(spec, seed=3), SequenceLearner(spec, seed=3)
    undisturbed = spec.streams.ttl_s is None and not spec.symbols
    for n in range(len(block)):
        record = part(copied(block), n, n + 1)
        before = bits_of(asked)
        answer = asked.predict(record)
        assert not differing(before, bits_of(asked))
        known = asked.knows(record.keys[0])
        told = asked.process(record)
        silent.process(part(copied(block), n, n + 1))
        if undisturbed and known and record.kind[0] == 0 and spec.streams.reset_after_s is None:
            assert answer.sequences is not None
            assert told.sequences is not None
            np.testing.assert_array_equal(answer.value, told.value)
            np.testing.assert_array_equal(answer.sequences.number, told.sequences.number)
            np.testing.assert_array_equal(answer.sequences.value, told.sequences.value)
    assert not differing(bits_of(asked), bits_of(silent))
