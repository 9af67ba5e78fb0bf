"""Silence makes traces of an exact cell zero, not slow; and outside of the call the processor is as it was."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.jit import JIT_DISABLED, X86
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec


@pytest.mark.skipif(JIT_DISABLED or not X86, reason="the register is one of x86-64, and interpreted code keeps them")
@pytest.mark.parametrize(("cell", "gates"), [("glru", True), ("glru", False), ("elstm", True)])
def test_no_number_is_denormal_while_inputs_are_silent_and_none_is_lost_afterwards(cell: str, gates: bool) -> None:
    spec = LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(cell=cell, gates=gates, hidden_size=8),
        learning=LearningSpec(scale=False),
        inputs=InputSpec(dt=False, previous_target=False),
    )  # fmt: skip
    learner = Learner(spec, 0)
    x = np.zeros((30_000, 2))
    x[0] = 1.0
    for first in range(0, len(x), 1_000):
        part = x[first : first + 1_000]
        learner.process(Block.events([b"a"] * len(part), part, np.full((len(part), 1), np.nan)))
        traces = learner._per_stream.traces
        assert not np.any((traces != 0.0) & (np.abs(traces) < np.finfo(np.float32).tiny))
    small = np.float32(1e-40)
    assert small * np.float32(1.0) > 0.0
    assert np.array([1e-30], np.float32) * np.array([1e-10], np.float32) > 0.0
