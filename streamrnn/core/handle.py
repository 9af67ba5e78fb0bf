"""All arrays of a learner behind one table of addresses, so that a call into the kernels costs under a microsecond.

Numba takes apart every array it is given, on every call: with the hundred arrays of a learner that costs twenty times a
step of the network. A ``Handle`` does it once: scalars and the address and shape of each array go into one int64 table,
from which the entry point builds the same named tuples again. ``T`` in an annotation of ``arrays`` is the
model's precision.

The arrays must stay where they are: a handle keeps them alive, and nobody may resize them. Without the compiler
(NUMBA_DISABLE_JIT) the tuples are handed over as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import cgutils, types
from numba.core.types import BaseTuple  # type: ignore[attr-defined]
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from streamrnn.core import arrays
from streamrnn.core.jit import JIT_DISABLED, entry_point
from streamrnn.core.layout import Array, Tensors
from streamrnn.core.walk import walk

_DTYPES = {"F": types.float64, "I": types.int64, "U": types.uint64, "B": types.boolean, "K": types.uint8}
_GROUPS = {group.__name__: group for group in (arrays.Squares, arrays.Readout, Tensors)}


def _fields(group: Any) -> list[str]:
    """The annotations of a named tuple as they are written."""
    return [group.__annotations__[name].__forward_arg__ for name in group._fields]


def _width(kind: str) -> int:
    """Entries of the table that a field of this annotation takes."""
    if kind in {"int", "float"}:
        return 1
    if kind in _GROUPS:
        return sum(map(_width, _fields(_GROUPS[kind])))
    return 1 + int(kind[1])


def table_of(*groups: Any) -> Array:
    """The table (n,) int64 of some named tuples, one after the other."""
    entries: list[int] = []
    floats: list[int] = []

    def add(group: Any) -> None:
        for kind, value in zip(_fields(group), group, strict=True):
            if kind in _GROUPS:
                add(value)
            elif kind == "float":
                floats.append(len(entries))
                entries.append(0)
            elif kind == "int":
                entries.append(value)
            else:
                if not value.flags.c_contiguous or not value.flags.writeable or value.ndim != int(kind[1]):
                    raise ValueError(f"a kernel's array must be C-contiguous, writable and {kind[1]}-dimensional")
                entries.append(value.__array_interface__["data"][0])
                entries.extend(value.shape)

    for group in groups:
        add(group)
    table = np.array(entries, np.int64)
    values = [v for group in groups for k, v in zip(_fields(group), group, strict=True) if k == "float"]
    table[floats] = np.array(values, np.float64).view(np.int64)
    return table


def _unpacker(group: Any) -> Any:
    """An intrinsic ``(sample, table, start) -> group``: the named tuple standing at ``start`` of the table."""

    def typed(cls: Any, precision: Any) -> Any:
        members = []
        for kind in _fields(cls):
            if kind in _GROUPS:
                members.append(typed(_GROUPS[kind], precision))
            elif kind in {"int", "float"}:
                members.append(types.int64 if kind == "int" else types.float64)
            else:
                members.append(types.Array(_DTYPES.get(kind[0], precision), int(kind[1]), "C"))
        return BaseTuple.from_types(members, cls)

    @intrinsic
    def unpack(_context: Any, sample: Any, table: Any, start: Any) -> Any:  # noqa: ARG001
        result = typed(group, sample.dtype)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source = make_array(signature.args[1])(context, builder, arguments[1]).data
            intp = context.get_value_type(types.intp)
            position = 0

            def load() -> Any:
                nonlocal position
                value = builder.load(builder.gep(source, [builder.add(arguments[2], intp(position))]))
                position += 1
                return value

            def build(kind: Any) -> Any:
                if isinstance(kind, BaseTuple):
                    return context.make_tuple(builder, kind, [build(member) for member in kind])
                if kind == types.int64:
                    return load()
                if kind == types.float64:
                    return builder.bitcast(load(), context.get_value_type(types.float64))
                view = make_array(kind)(context, builder)
                data = builder.inttoptr(load(), view.data.type)
                shape = [load() for _ in range(kind.ndim)]
                size = intp(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
                strides: list[Any] = []
                stride = size
                for length in reversed(shape):
                    strides.insert(0, stride)
                    stride = builder.mul(stride, length)
                populate_array(
                    view, data=data, shape=cgutils.pack_array(builder, shape),
                    strides=cgutils.pack_array(builder, strides), itemsize=size, meminfo=None,
                )  # fmt: skip
                return view._getvalue()

            return build(result)

        return result(sample, table, types.intp), generate

    return unpack


_plan_at, _hyper_at, _model_at, _streams_at, _scratch_at, _records_at = map(
    _unpacker, (arrays.Plan, arrays.Hyper, arrays.Model, arrays.Streams, arrays.Scratch, arrays.Records)
)
_HYPER = sum(map(_width, _fields(arrays.Plan)))
_MODEL = _HYPER + sum(map(_width, _fields(arrays.Hyper)))
_STREAMS = _MODEL + sum(map(_width, _fields(arrays.Model)))
_SCRATCH = _STREAMS + sum(map(_width, _fields(arrays.Streams)))


@entry_point
def _walk_at(sample: Any, table: Any, records: Any) -> None:
    """``walk`` over the arrays that two tables name; sample (0,) tells the model's precision."""
    walk(
        _plan_at(sample, table, 0),
        _hyper_at(sample, table, _HYPER),
        _model_at(sample, table, _MODEL),
        _streams_at(sample, table, _STREAMS),
        _scratch_at(sample, table, _SCRATCH),
        _records_at(sample, records, 0),
    )


class Handle:
    """A learner's arrays, ready to be walked over."""

    def __init__(self, plan: arrays.Plan, hyper: arrays.Hyper, model: Any, streams: Any, scratch: Any) -> None:
        self._groups = (plan, hyper, model, streams, scratch)
        self._sample = np.zeros(0, model.theta.dtype)
        self._table = table_of(*self._groups)

    def walk(self, records: arrays.Records, table: Array | None = None) -> None:
        """Process records; ``table`` is ``table_of(records)`` where the caller kept it from an earlier call."""
        if JIT_DISABLED:
            walk(*self._groups, records)
        else:
            _walk_at(self._sample, self._table, table_of(records) if table is None else table)
