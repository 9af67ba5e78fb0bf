"""The learner reproduces PyTorch's online runs: predictions, gradient norms, losses, final weights and states."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.block import Block
from streamrnn.learner import Learner
from tests.golden import RUN_CASES, load, run_arrays, run_spec, tensors


@pytest.mark.parametrize("name", RUN_CASES)
def test_learner_reproduces_pytorch_run(name: str) -> None:
    case = load(name)
    learner = Learner(run_spec(name, case), seed=0)
    learner.set_weights(tensors(case, "w"))
    block = Block(**vars(run_arrays(case)))
    # Record by record, so that the gradient norm after every optimiser step can be read.
    values, norms, losses = [], [], []
    for i in range(len(block)):
        before = learner.counters()
        values.append(learner.process(rows(block, i, i + 1)).value[0])
        after, gauges = learner.counters(), learner.gauges()
        norms += [gauges["grad_norm"]] * (after["updates"] - before["updates"])
        losses += [gauges["window_loss"]] * (after["windows"] - before["windows"])

    close(np.reshape(values, case["pred"].shape), case["pred"])
    close(norms, case["grad_norm"])
    if "windows" in case:
        assert learner.counters()["windows"] == case["windows"]
    if "update_loss" in case:
        close(losses, case["update_loss"])
        for part, state in learner.stream_state(b"stream-0").items():
            close(state, case[f"last_{part}"])
    for key, expected in tensors(case, "v").items():
        close(learner.get_weights()[key], expected)
    clipped = int(np.sum(case["grad_norm"] + 1e-6 > case["clip_norm"]))
    assert learner.counters()["clipped"] == clipped
    assert math.isfinite(learner.gauges()["grad_norm_sum"])


def rows(block: Block, start: int, stop: int) -> Block:
    """A part of a block."""
    return Block(*(getattr(block, name)[start:stop] for name in Block.__slots__))


def close(actual: object, expected: object) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
