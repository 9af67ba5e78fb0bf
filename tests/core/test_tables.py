"""A table of addresses gives back the arrays it was made of; arrays that it cannot stand for are refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from streamrnn.core import tables
from streamrnn.core.arrays import B1, F2, F3, I1, K1, T2, U1, Squares
from streamrnn.core.jit import jit


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


mixed_at = tables.reader(Mixed)
mixed_at_interpreted = tables.interpreted(Mixed)


def overwrite(m: Mixed) -> tuple[int, float, float, int]:
    """Change one element of every array; the scalars are returned."""
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


overwrite_compiled = jit(overwrite)


@jit
def compiled(sample: Any, table: Any, start: int) -> tuple[int, float, float, int]:
    return overwrite_compiled(mixed_at(sample, table, start))


def interpreted(sample: Any, table: Any, start: int) -> tuple[int, float, float, int]:
    return overwrite(mixed_at_interpreted(sample, table, start))


@pytest.mark.parametrize("through", [compiled, interpreted], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_table_gives_back_every_kind_of_member(dtype: type, through: Any) -> None:
    before, after = mixed(dtype), mixed(dtype)
    table = np.concatenate([[99, 98], tables.table_of(after)])
    assert through(np.zeros(0, dtype), table, 2) == (-7, -0.125, 1e300, 3)
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


@pytest.mark.parametrize("array", [
    np.zeros((4, 6))[:, ::2],
    np.zeros((6, 4)).T,
    np.broadcast_to(np.zeros(3), (2, 3)),
    np.zeros(3),
    np.zeros((1, 2, 3)),
], ids=["strided", "transposed", "read-only", "too few dimensions", "too many dimensions"])  # fmt: skip
def test_an_array_that_a_table_cannot_stand_for_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="C-contiguous, writable and 2-dimensional"):
        tables.table_of(mixed(np.float64)._replace(own=array))


def test_a_read_only_array_is_refused() -> None:
    array = np.zeros((2, 3))
    array.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        tables.table_of(mixed(np.float64)._replace(own=array))
