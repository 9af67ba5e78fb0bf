"""What the compiler makes of a named tuple that stands in a table: the address of its first number, and no more.

Numba hands a named tuple over array by array, and an array as seven words or more: with the hundreds of words that a
learner's arrays have, calls and inlining would take most of the time to compile. Here a group is one word, whoever
takes it, and a field is read from the table where it is used. Nobody writes to a table while kernels run, and the code
says so ("invariant"): LLVM reads a field once, before a loop, as it would keep the tuple's.

Imports Numba, so only where code is generated.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder, Value
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.datamodel import PrimitiveModel, register_default
from numba.core.imputils import lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, Signature, infer, infer_getattr, signature
from numba.np.arrayobj import make_array, populate_array
from numba.np.numpy_support import from_dtype

from streamrnn.core.declarations import DTYPES
from streamrnn.core.entries import NESTED, entries, fields_of

WORD = ir.IntType(64)


class GroupType(types.Type):  # type: ignore[misc]
    """A named tuple in a table, where T means this precision."""

    def __init__(self, group: Any, precision: types.Type) -> None:
        self.group, self.precision = group, precision
        super().__init__(name=f"{group.__name__}({precision})")

    @functools.cached_property
    def members(self) -> dict[str, tuple[int, types.Type]]:
        """By name where a field begins, and its type."""
        kinds = fields_of(self.group)
        starts = itertools.accumulate(map(entries, kinds), initial=0)
        places = zip(self.group._fields, starts, kinds, strict=False)
        return {name: (start, self._type_of(kind)) for name, start, kind in places}

    def _type_of(self, kind: str) -> types.Type:
        if kind in NESTED:
            return GroupType(NESTED[kind], self.precision)
        if kind in {"int", "float"}:
            return types.int64 if kind == "int" else types.float64
        dtype = from_dtype(np.dtype(DTYPES[kind[0]])) if kind[0] in DTYPES else self.precision
        return types.Array(dtype, int(kind[1]), "C")


@register_default(GroupType)
class _Address(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, WORD.as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    key = GroupType

    def generic_resolve(self, value: GroupType, attribute: str) -> types.Type | None:
        return value.members[attribute][1] if attribute in value.members else None


@infer
class _NumberedFields(AbstractTemplate):  # type: ignore[misc]
    key = "static_getitem"

    def generic(self, arguments: tuple[Any, ...], _named: Any) -> Signature | None:
        group, number = arguments
        if not isinstance(group, GroupType) or not isinstance(number, int):
            return None
        return signature(group.members[group.group._fields[number]][1], group, types.literal(number))


@lower_getattr_generic(GroupType)  # type: ignore[untyped-decorator]
def _named_field(context: BaseContext, builder: IRBuilder, group: GroupType, value: Value, name: str) -> Value:
    start, kind = group.members[name]
    return _field(context, builder, kind, builder.gep(value, [WORD(start)]))


@lower_builtin("static_getitem", GroupType, types.IntegerLiteral)  # type: ignore[untyped-decorator]
def _numbered_field(context: BaseContext, builder: IRBuilder, signed: Signature, arguments: list[Any]) -> Value:
    group, number = signed.args[0], signed.args[1].literal_value
    return _named_field(context, builder, group, arguments[0], group.group._fields[number])


def _field(context: BaseContext, builder: IRBuilder, kind: types.Type, place: Value) -> Value:
    """Code that makes a value of this type out of the entries from ``place`` on."""
    if isinstance(kind, GroupType):
        return place
    numbers = _loads(builder, place)
    if kind == types.int64:
        return next(numbers)
    if kind == types.float64:
        return builder.bitcast(next(numbers), context.get_value_type(types.float64))
    address, *shape = itertools.islice(numbers, 1 + kind.ndim)
    return array_at(context, builder, kind, address, shape)


def _loads(builder: IRBuilder, place: Value) -> Iterator[Value]:
    """One load for each entry that is asked for."""
    for k in itertools.count():
        number = builder.load(builder.gep(place, [WORD(k)]))
        number.set_metadata("invariant.load", builder.module.add_metadata([]))
        yield number


def group_at(context: BaseContext, builder: IRBuilder, table: types.Array, arguments: tuple[Value, Value]) -> Value:
    """Code of a reader: where the group begins that stands in a table from a place on."""
    source, start = arguments
    address: Value = builder.gep(make_array(table)(context, builder, source).data, [start])
    return address


def array_at(context: BaseContext, builder: IRBuilder, kind: types.Array, address: Value, shape: list[Value]) -> Value:
    """Code that makes an array of this type of memory that belongs to somebody else.

    It is Numba's own record of an array, filled in by hand. meminfo, the owner that is counted, stays empty: whoever
    holds the table keeps the memory, and kernels are compiled without reference counting.
    """
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
