"""Named tuples of arrays as one row of numbers, so that a call into the kernels costs under a microsecond.

Numba takes apart every array it is given, on every call: with the hundred arrays of a learner that costs twenty times a
step of the network. A table does it once. It is a vector of int64 in the order of the tuple's fields: an integer as it
is, a float by its bits, an array as its address and its shape, a nested tuple field by field. ``reader`` gives the way
back. What is where follows from the annotations in ``arrays`` alone.

The arrays must stay where they are: whoever holds a table keeps them alive, and nobody may resize them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from streamrnn.core.arrays import Array
from streamrnn.core.declarations import DTYPES
from streamrnn.core.entries import NESTED, fields_of
from streamrnn.core.jit import intrinsic

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Array as ArrayType
    from numba.core.types import Type

Group = TypeVar("Group")
Reader = Callable[[Array, Array, int], Group]


def table_of(*groups: Any) -> Array:
    """The table (n,) int64 of some named tuples, one after the other.

    Raises ValueError for an array that an address and a shape do not describe.
    """
    return np.fromiter(itertools.chain.from_iterable(map(_numbers, groups)), np.int64)


def address_of(table: Array) -> int:
    """Where a table's numbers are."""
    return int(table.__array_interface__["data"][0])


def _numbers(group: Any) -> Iterator[int]:
    for kind, value in zip(fields_of(group), group, strict=True):
        if kind in NESTED:
            yield from _numbers(value)
        elif kind == "int":
            yield value
        elif kind == "float":
            yield int(np.float64(value).view(np.int64))
        else:
            if not value.flags.c_contiguous or not value.flags.writeable or value.ndim != int(kind[1]):
                raise ValueError(f"a kernel's array must be C-contiguous, writable and {kind[1]}-dimensional")
            yield value.__array_interface__["data"][0]
            yield from value.shape


def reader(group: Callable[..., Group]) -> Reader[Group]:
    """A function ``(sample, table, start) -> group``: the named tuple that stands in the table from ``start`` on.

    ``sample`` tells by its type what T means, the model's precision. Kernels call it, and so does Python where the
    compiler is off. Numba can make an array of an address too (``carray``), but not the nested tuples around it.
    """

    @intrinsic(interpreted(group))
    def read(_context: BaseContext, sample: ArrayType, table: Type, _start: Type) -> Any:
        from numba import types

        from streamrnn.core.numba_tables import GroupType, group_at

        def generate(context: BaseContext, builder: IRBuilder, signature: Any, arguments: list[Value]) -> Value:
            return group_at(context, builder, signature.args[1], (arguments[1], arguments[2]))

        return GroupType(group, sample.dtype)(sample, table, types.intp), generate

    return read


def interpreted(group: Any) -> Reader[Any]:
    """``reader`` in Python."""

    def build(cls: Any, numbers: Iterator[int], precision: Any) -> Any:
        members: list[Any] = []
        for kind in fields_of(cls):
            if kind in NESTED:
                members.append(build(NESTED[kind], numbers, precision))
            elif kind == "int":
                members.append(next(numbers))
            elif kind == "float":
                members.append(float(np.int64(next(numbers)).view(np.float64)))
            else:
                address, shape = next(numbers), tuple(itertools.islice(numbers, int(kind[1])))
                typestr = np.dtype(DTYPES.get(kind[0], precision)).str
                memory = {"data": (address, False), "shape": shape, "typestr": typestr, "version": 3}
                # No memory is reserved for an array without elements, so there may be none at its address.
                there = SimpleNamespace(__array_interface__=memory)
                members.append(np.asarray(there) if math.prod(shape) else np.zeros(shape, typestr))
        return cls(*members)

    return lambda sample, table, start: build(group, iter(table[start:].tolist()), sample.dtype)
