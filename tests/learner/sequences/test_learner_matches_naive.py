"""The learner of sequences agrees with the naive one on any specification and log, however often it is restored."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.learner.block import Block
from streamrnn.learner.spec import LearnerSpec
from tests.support.logs import part
from tests.support.sequence_learners import Comparison, restored
from tests.support.sequence_logs import KINDS, chooser, log_of, sequence_logs, sequence_specs, spec_of

TOLERANCE = 1e-9
EXAMPLES = settings(
    max_examples=10 if numba.config.DISABLE_JIT else 30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def check_agreement(spec: LearnerSpec, block: Block, cuts: list[int], restores: bool = False) -> None:
    """Both are given the log piece by piece, and asked in between about what comes next."""
    both, start = Comparison(spec, TOLERANCE), 0
    for cut in [*sorted(cuts), len(block)]:
        both.process(part(block, start, min(cut, len(block))))
        start = min(cut, len(block))
        if restores:
            both.learner = restored(both.learner)
        both.check_questions(part(block, start, start + 4))
    both.check_state()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(st.data())
def test_float64_learner_of_whole_sequences_matches_the_naive_one(kind: str, data: st.DataObject) -> None:
    spec = data.draw(sequence_specs(kind=kind, chunks=False), label="spec")
    block = data.draw(sequence_logs(spec), label="log")
    check_agreement(spec, block, data.draw(st.lists(st.integers(0, 25), max_size=3), label="cuts"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(st.data())
def test_float64_learner_of_chunks_matches_the_naive_one_however_often_it_is_restored(
    kind: str, data: st.DataObject
) -> None:
    spec = data.draw(sequence_specs(kind=kind, chunks=True), label="spec")
    block = data.draw(sequence_logs(spec), label="log")
    check_agreement(spec, block, data.draw(st.lists(st.integers(0, 25), max_size=3), label="cuts"), restores=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_long_runs_match_the_naive_one(kind: str) -> None:
    for seed in range(2 if numba.config.DISABLE_JIT else 10):
        rng = np.random.default_rng(seed)
        spec = spec_of(chooser(rng), kind=kind)
        check_agreement(spec, log_of(spec, 120, chooser(rng), rng), [40, 80])
