"""The arrays of a learner of sequences are refused where a kernel would not know what to do with them."""

from __future__ import annotations

from typing import Any

import pytest

from streamrnn.core.sequences.handle import SequenceHandle
from streamrnn.learner.lowering import hyper_of, plan_of
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.sequences.lowering import (
    new_networks,
    new_sequence_scratch,
    new_step_scratch,
    sequence_plan_of,
)
from tests.support.whole_sequences import spec_with


@pytest.mark.parametrize(
    ("plan", "sequence", "message"),
    [({"loss": 99}, {}, "plan.loss is 99"), ({}, {"kind": 5}, "sequence.kind is 5, which no kernel knows")],
)
def test_a_code_that_no_kernel_knows_is_refused(plan: Any, sequence: Any, message: str) -> None:
    spec = spec_with("label")
    learner = SequenceLearner(spec, 0)
    scratch = new_step_scratch(spec, learner._model.theta)
    with pytest.raises(ValueError, match=message):
        SequenceHandle(
            plan_of(spec)._replace(**plan), hyper_of(spec), sequence_plan_of(spec)._replace(**sequence),
            learner._model, learner._per_stream, scratch, new_sequence_scratch(spec),
            *new_networks(spec, learner._model, scratch),
        )  # fmt: skip
