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

from streamrnn.core.arrays import Array, Model
from streamrnn.core.declarations import DTYPES, nested_in
from streamrnn.core.jit import intrinsic

if TYPE_CHECKING:
    from llvmlite.ir import IRBuilder, Value
    from numba.core.base import BaseContext
    from numba.core.types import Array as ArrayType
    from numba.core.types import Type

Group = TypeVar("Group")
Reader = Callable[[Array, Array, int], Group]

_NESTED = {group.__name__: group for group in nested_in(Model)}


def fields_of(group: Any) -> list[str]:
    """The annotations of a named tuple as they are written: "int", "float", "F2", "Squares" ..."""
    return [group.__annotations__[name].__forward_arg__ for name in group._fields]


def width(group: Any) -> int:
    """Entries of the table that a named tuple takes."""
    return sum(map(entries, fields_of(group)))


def entries(kind: str) -> int:
    """Entries that a field of this annotation takes."""
    if kind in _NESTED:
        return width(_NESTED[kind])
    return 1 if kind in {"int", "float"} else 1 + int(kind[1])


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
        if kind in _NESTED:
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

        result = _numba_type(group, sample.dtype)
        return result(sample, table, types.intp), _generate

    return read


def interpreted(group: Any) -> Reader[Any]:
    """``reader`` in Python."""

    def build(cls: Any, numbers: Iterator[int], precision: Any) -> Any:
        members: list[Any] = []
        for kind in fields_of(cls):
            if kind in _NESTED:
                members.append(build(_NESTED[kind], numbers, precision))
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


# ---- what the compiler makes of a reader; Numba is imported where code is generated, and nowhere else


def _generate(context: BaseContext, builder: IRBuilder, signature: Any, arguments: list[Value]) -> Value:
    """The code of a reader, written out where it is called."""
    from numba import types
    from numba.np.arrayobj import make_array

    source = make_array(signature.args[1])(context, builder, arguments[1]).data
    intp = context.get_value_type(types.intp)
    # Lazily, one load for each entry that ``_build`` asks for: only the fields know how many there are.
    places = (builder.add(arguments[2], intp(place)) for place in itertools.count())
    numbers = (builder.load(builder.gep(source, [place])) for place in places)
    return _build(context, builder, signature.return_type, numbers)


def _numba_type(group: Any, precision: Type) -> Type:
    """What the compiler calls the named tuple."""
    from numba import types
    from numba.np.numpy_support import from_dtype

    members = []
    for kind in fields_of(group):
        if kind in _NESTED:
            members.append(_numba_type(_NESTED[kind], precision))
        elif kind in {"int", "float"}:
            members.append(types.int64 if kind == "int" else types.float64)
        else:
            dtype = from_dtype(np.dtype(DTYPES[kind[0]])) if kind[0] in DTYPES else precision
            members.append(types.Array(dtype, int(kind[1]), "C"))
    whole: Type = types.BaseTuple.from_types(members, group)
    return whole


def _build(context: BaseContext, builder: IRBuilder, kind: Type, numbers: Iterator[Value]) -> Value:
    """Code that makes a value of this type out of the next entries."""
    from numba import types

    if isinstance(kind, types.BaseTuple):
        return context.make_tuple(builder, kind, [_build(context, builder, member, numbers) for member in kind])
    if kind == types.int64:
        return next(numbers)
    if kind == types.float64:
        return builder.bitcast(next(numbers), context.get_value_type(types.float64))
    assert isinstance(kind, types.Array)
    address, *shape = itertools.islice(numbers, 1 + kind.ndim)
    return array_at(context, builder, kind, address, shape)


def array_at(context: BaseContext, builder: IRBuilder, kind: ArrayType, address: Value, shape: list[Value]) -> Value:
    """Code that makes an array of this type of memory that belongs to somebody else.

    It is Numba's own record of an array, filled in by hand. meminfo, the owner that is counted, stays empty: whoever
    holds the table keeps the memory, and kernels are compiled without reference counting.
    """
    from numba import types
    from numba.core import cgutils
    from numba.np.arrayobj import make_array, populate_array

    view = make_array(kind)(context, builder)
    itemsize = context.get_value_type(types.intp)(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides: list[Value] = []  # C order: the last axis is the one whose entries are neighbours
    stride = itemsize
    for length in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, length)
    populate_array(
        view, data=builder.inttoptr(address, view.data.type), shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides), itemsize=itemsize, meminfo=None,
    )  # fmt: skip
    return view._getvalue()
