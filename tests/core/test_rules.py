"""Every learning rule in the table learns."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.core.handle import Handle
from streamrnn.core.rules import RULES
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import hyper_of, layout_of, new_model, new_scratch, new_streams, plan_of
from streamrnn.learner.spec import LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_moves_the_weights(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)), learning=LearningSpec(k1=1, k2=4))
    monkeypatch.setattr("streamrnn.learner.learner.plan_of", lambda of: plan_of(of)._replace(rule=RULES[rule]))
    learner, x = Learner(spec, 1), np.arange(9.0)[:, None]
    before = learner.get_weights()
    learner.process(Block.events([b"a"] * 9, x, x))
    assert not all(np.array_equal(weights, before[name]) for name, weights in learner.get_weights().items())


def test_a_rule_that_is_in_no_table_is_refused_instead_of_never_learning() -> None:
    spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
    layout = layout_of(spec)
    model = new_model(spec, layout.initialise(0, np.float32))
    plan = plan_of(spec)._replace(rule=max(RULES.values()) + 1)
    with pytest.raises(ValueError, match=r"plan.rule is \d+, which no kernel knows; expected one of .*tbptt"):
        Handle(plan, hyper_of(spec), model, new_streams(spec), new_scratch(layout, spec, model.theta))
