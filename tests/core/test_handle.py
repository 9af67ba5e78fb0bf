"""A table of addresses gives back the arrays it was made of; arrays that it cannot stand for are refused."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.core import handle
from streamrnn.core.arrays import B1, F2, F3, I1, K1, T2, U1, Squares
from streamrnn.core.jit import JIT_DISABLED, jit
from streamrnn.core.kinds import CLOSE
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import hyper_of, layout_of, new_model, new_scratch, new_streams, plan_of
from streamrnn.learner.spec import LearnerSpec, ModelSpec, TargetSpec
from tests.learner.test_learner_matches_naive import one_by_one
from tests.support.learners import bits_of, bits_said, differing
from tests.support.logs import logs, part, specs

compiled = pytest.mark.skipif(JIT_DISABLED, reason="tables serve compiled code alone")


class Mixed(NamedTuple):
    """One of everything."""

    first: int
    own: T2
    rate: float
    inner: Squares
    cube: F3
    whole: I1
    name: U1
    flag: B1
    byte: K1
    empty: F2
    last: float


def mixed(dtype: type) -> Mixed:
    rng = np.random.default_rng(4)
    one = (rng.standard_normal(2) for _ in range(6))
    return Mixed(
        first=-7,
        own=rng.standard_normal((3, 5)).astype(dtype),
        rate=-0.125,
        inner=Squares(rng.standard_normal((2, 4)), rng.standard_normal((2, 4, 4)), *one),
        cube=rng.standard_normal((2, 3, 4)),
        whole=np.array([1, -(2**60)]),
        name=np.array([2**64 - 1], np.uint64),
        flag=np.array([True, False, True]),
        byte=np.array([255, 1], np.uint8),
        empty=np.zeros((0, 3)),
        last=1e300,
    )


if not JIT_DISABLED:
    _mixed_at = handle._unpacker(Mixed)

    @jit
    def overwrite(sample: Any, table: Any, start: int) -> tuple[int, float, float, int]:
        """Change one element of every array that the table names; the scalars are returned."""
        m = _mixed_at(sample, table, start)
        m.own[2, 4] = m.own.dtype.type(m.own[0, 1] + m.own[2, 3])
        m.inner.weight[1, 3] = m.inner.weight[0, 1]
        m.inner.root[1, 2, 3] = m.inner.root[1, 0, 2]
        m.inner.noise_count[1] = m.inner.noise_count[0]
        m.cube[1, 2, 3] = m.cube[0, 1, 2]
        m.whole[0] = m.whole[1]
        m.name[0] -= np.uint64(1)
        m.flag[1] = m.flag[0]
        m.byte[1] = m.byte[0]
        return m.first, m.rate, m.last, m.empty.shape[0] * 10 + m.empty.shape[1]


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_table_gives_back_every_kind_of_member(dtype: type) -> None:
    before, after = mixed(dtype), mixed(dtype)
    table = np.concatenate([[99, 98], handle.table_of(after)])
    assert overwrite(np.zeros(0, dtype), table, 2) == (-7, -0.125, 1e300, 3)
    before.own[2, 4] = before.own[0, 1] + before.own[2, 3]
    before.inner.weight[1, 3] = before.inner.weight[0, 1]
    before.inner.root[1, 2, 3] = before.inner.root[1, 0, 2]
    before.inner.noise_count[1] = before.inner.noise_count[0]
    before.cube[1, 2, 3] = before.cube[0, 1, 2]
    before.whole[0] = before.whole[1]
    before.name[0] -= np.uint64(1)
    before.flag[1] = before.flag[0]
    before.byte[1] = before.byte[0]
    for name, expected, actual in zip(Mixed._fields, before, after, strict=True):
        if name == "inner":
            assert [a.tolist() for a in actual] == [a.tolist() for a in expected]
        elif isinstance(expected, np.ndarray):
            assert actual.tolist() == expected.tolist(), name


def test_a_learner_s_table_names_every_array_once_where_the_kernels_look_for_it() -> None:
    spec = LearnerSpec(n_features=2, target=TargetSpec(fields=("y", "z")), model=ModelSpec(readout="rls", lags=3))
    layout = layout_of(spec)
    model = new_model(spec, layout.initialise(0, np.float32))
    groups = (plan_of(spec), hyper_of(spec), model, new_streams(spec), new_scratch(layout, spec, model.theta))
    table = handle.table_of(*groups)
    starts = [0, handle._HYPER, handle._MODEL, handle._STREAMS, handle._SCRATCH]
    assert starts == np.cumsum([0, *(len(handle.table_of(group)) for group in groups[:-1])]).tolist()
    for start, group in zip(starts, groups, strict=True):
        part = handle.table_of(group)
        np.testing.assert_array_equal(table[start : start + len(part)], part)
    for place, member in zip(places(groups[2]), model, strict=True):
        if isinstance(member, np.ndarray):
            here = starts[2] + place
            assert table[here] == member.ctypes.data
            assert table[here + 1 : here + 1 + member.ndim].tolist() == list(member.shape)


def places(group: Any) -> list[int]:
    """Where each member of a named tuple starts in its table."""
    widths = [handle._width(kind) for kind in handle._fields(group)]
    return np.cumsum([0, *widths[:-1]]).tolist()


@pytest.mark.parametrize("array", [
    np.zeros((4, 6))[:, ::2],
    np.zeros((6, 4)).T,
    np.broadcast_to(np.zeros(3), (2, 3)),
    np.zeros(3),
    np.zeros((1, 2, 3)),
], ids=["strided", "transposed", "read-only", "too few dimensions", "too many dimensions"])  # fmt: skip
def test_an_array_that_a_table_cannot_stand_for_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="C-contiguous, writable and 2-dimensional"):
        handle.table_of(mixed(np.float64)._replace(own=array))


def test_a_read_only_array_is_refused() -> None:
    array = np.zeros((2, 3))
    array.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        handle.table_of(mixed(np.float64)._replace(own=array))


@settings(max_examples=10 if JIT_DISABLED else 60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_single_records_and_blocks_give_the_same_bits(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(("float32", "float64")).flatmap(specs), label="spec")
    block = data.draw(logs(spec, closings=True), label="log")
    whole, single = Learner(spec, 7), Learner(spec, 7)
    parts = []  # sequences are closed by single calls alone
    for a, b in itertools.pairwise(sorted({0, *np.flatnonzero(block.kind == CLOSE).tolist(), len(block)})):
        parts += [one_by_one(whole, part(block, a, a + 1)), whole.process(part(block, a + 1, b))]
    said, said_singly = bits_said(*parts), one_by_one(single, block)
    assert differing(bits_said(said_singly), said) == []
    whole.digest = single.digest = 0  # of blocks alone
    assert differing(bits_of(single), bits_of(whole)) == []
