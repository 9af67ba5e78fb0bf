"""A handle's table names a learner's arrays where the kernels look for them; single calls and blocks are the same."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.core import handle
from streamrnn.core.entries import entries, fields_of
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import CLOSE
from streamrnn.core.tables import table_of
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import hyper_of, layout_of, new_model, new_scratch, new_streams, plan_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.learners import bits_of, bits_of_predictions, differing, one_by_one
from tests.support.logs import logs, part, specs


def test_a_learner_s_table_names_every_array_once_where_the_kernels_look_for_it() -> None:
    spec = LearnerSpec(n_features=2, target=TargetSpec(fields=("y", "z")), model=ModelSpec(readout="rls", lags=3))
    layout = layout_of(spec)
    model = new_model(spec, layout.initialise(0, np.float32))
    groups = (plan_of(spec), hyper_of(spec), model, new_streams(spec), new_scratch(layout, spec, model.theta))
    table = table_of(*groups)
    starts = [0, handle.HYPER, handle.MODEL, handle.STREAMS, handle.SCRATCH]
    assert starts == np.cumsum([0, *(len(table_of(group)) for group in groups[:-1])]).tolist()
    for start, group in zip(starts, groups, strict=True):
        part = table_of(group)
        np.testing.assert_array_equal(table[start : start + len(part)], part)
    for place, member in zip(places(model), model, strict=True):
        if isinstance(member, np.ndarray):
            here = starts[2] + place
            assert table[here] == member.ctypes.data
            assert table[here + 1 : here + 1 + member.ndim].tolist() == list(member.shape)


@pytest.mark.parametrize("field", list(handle.CODES))
def test_a_plan_with_a_code_that_no_kernel_knows_is_refused(field: str) -> None:
    """Kernels cannot raise: they would run whichever case comes last."""
    plan = plan_of(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))))
    for code in handle.CODES[field].values():
        handle.require_known_codes(plan._replace(**{field: code}))
    for code in (-1, 99):
        with pytest.raises(ValueError, match=f"plan.{field} is {code}, which no kernel knows"):
            handle.require_known_codes(plan._replace(**{field: code}))


def test_a_prepared_call_keeps_all_it_works_on_in_memory() -> None:
    learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))), 7)
    calls = learner._running._calls
    call = calls._handle.prepared(calls._records(1, np.empty((1, 1))))
    held = [weakref.ref(array) for array in (learner._model.theta, learner._per_stream.state)]
    del learner, calls
    assert all(array() is not None for array in held)
    call()
    del call
    assert all(array() is None for array in held)


def test_a_kernel_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))), 7)
    monkeypatch.setattr(learner._running._calls._handle, "_process", lambda *tables: len(tables))
    with pytest.raises(RuntimeError, match="a kernel failed with status 4"):
        learner.process(Block.events([b"a", b"a"], x=[[1.0], [1.0]], y=[[2.0], [2.0]]))


def places(group: Any) -> list[int]:
    """Where each member of a named tuple starts in its table."""
    return np.cumsum([0, *map(entries, fields_of(group)[:-1])]).tolist()


@settings(max_examples=10 if JIT_DISABLED else 60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_single_records_and_blocks_give_the_same_bits(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(("float32", "float64")).flatmap(specs), label="spec")
    block = data.draw(logs(spec, closings=True), label="log")
    whole, single = Learner(spec, 7), Learner(spec, 7)
    parts = []  # sequences are closed by single calls alone
    for a, b in itertools.pairwise(sorted({0, *np.flatnonzero(block.kind == CLOSE).tolist(), len(block)})):
        parts += [one_by_one(whole, part(block, a, a + 1)), whole.process(part(block, a + 1, b))]
    predictions, singly = bits_of_predictions(*parts), one_by_one(single, block)
    assert differing(bits_of_predictions(singly), predictions) == []
    whole.digest = single.digest = 0  # of blocks alone
    assert differing(bits_of(single), bits_of(whole)) == []
