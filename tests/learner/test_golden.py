"""The learner reproduces PyTorch's online runs: predictions, gradient norms, losses, final weights and states."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.learner.learner import Learner
from tests.support.golden import RUN_CASES, last_states, last_stream, load, run_block, run_spec, tensors
from tests.support.learners import carried_state
from tests.support.logs import part


@pytest.mark.parametrize("name", RUN_CASES)
def test_learner_reproduces_pytorch_run(name: str) -> None:
    case = load(name)
    learner = Learner(run_spec(name, case), seed=0)
    learner.set_weights(tensors(case, "w"))
    block = run_block(case)
    # Record by record, so that the loss of every window can be read.
    values, norms, losses, windows = [], [], [], 0
    for i in range(len(block)):
        predictions = learner.process(part(block, i, i + 1))
        values.append(predictions.value[0])
        norms += predictions.grad_norm[np.isfinite(predictions.grad_norm)].tolist()
        if learner.counters()["windows"] > windows:
            windows += 1
            losses.append(learner.gauges()["window_loss"])

    close(np.reshape(values, case["pred"].shape), case["pred"])
    close(norms, case["grad_norm"])
    assert learner.counters()["gradient_clips"] == np.sum(case["grad_norm"] + 1e-6 > case["clip_norm"])
    assert windows == case.get("windows", len(norms))
    if "update_loss" in case:
        close(losses, case["update_loss"])
    for name_of_part, expected in last_states(case).items():
        close(carried_state(learner, last_stream(case))[name_of_part], expected)
    for key, expected in tensors(case, "v").items():
        close(learner.get_weights()[key], expected)


def close(actual: object, expected: object) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
