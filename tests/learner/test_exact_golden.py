"""Exact cells reproduce the online runs of full backward differentiation, which carries nothing but states forwards."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.learner.learner import Learner
from tests.oracle.learner import NaiveLearner
from tests.support.golden import EXACT_CASES, exact_spec, load, run_block, tensors


def close(actual: object, expected: object, what: str) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10, err_msg=what)


def test_runs_cover_every_cell_loss_and_way_of_knowing_targets_with_a_hidden_layer_and_without() -> None:
    assert len(EXACT_CASES) == 3 * 2 * 2 * 2


@pytest.mark.parametrize("name", EXACT_CASES)
def test_learner_reproduces_the_run(name: str) -> None:
    case = load(name)
    learner = Learner(exact_spec(case), seed=0)
    learner.set_weights(tensors(case, "w"))
    said = learner.process(run_block(case))
    close(said.value, case["pred"], "predictions")
    close(said.grad_norm[np.isfinite(said.grad_norm)], case["grad_norm"], "gradient norms")
    close(learner.gauges()["window_loss_sum"], np.sum(case["update_loss"]), "losses")
    for key, expected in tensors(case, "v").items():
        close(learner.get_weights()[key], expected, key)


@pytest.mark.parametrize("name", EXACT_CASES)
def test_the_oracle_reproduces_the_run(name: str) -> None:
    case = load(name)
    naive = NaiveLearner(exact_spec(case), tensors(case, "w"))
    close(naive.process(run_block(case))[0], case["pred"], "predictions")
    close(naive.grad_norms, case["grad_norm"], "gradient norms")
