"""Every learning rule in the table does what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.handle import Handle
from streamrnn.core.kinds import RULES
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import hyper_of, layout_of, new_model, new_scratch, new_streams, plan_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec

CELLS = {"tbptt": "lstm", "rtrl": "glru", "fixed": "bank"}


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_moves_the_weights_but_the_one_that_learns_nothing_leaves_them_to_the_readout(rule: str) -> None:
    model = ModelSpec(cell=CELLS[rule], readout="rls")
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), model=model)
    assert plan_of(spec).rule == RULES[rule]
    learner, x = Learner(spec, 1), np.arange(9.0)[:, None]
    before = learner.get_weights()
    learner.process(Block.events([b"a"] * 9, x, x, end=np.arange(9) == 8))
    moved = {name for name, weights in learner.get_weights().items() if not np.array_equal(weights, before[name])}
    assert (moved == {"rls.weight"}) == (rule == "fixed")
    assert "rls.weight" in moved


def test_a_rule_that_is_in_no_table_is_refused_instead_of_never_learning() -> None:
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
    layout = layout_of(spec)
    model = new_model(spec, layout.initialise(0, np.float32))
    plan = plan_of(spec)._replace(rule=max(RULES.values()) + 1)
    with pytest.raises(ValueError, match=r"plan.rule is \d+, which no kernel knows; expected one of .*tbptt"):
        Handle(plan, hyper_of(spec), model, new_streams(spec), new_scratch(layout, spec, model.theta))
